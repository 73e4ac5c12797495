"""Differentiable runs of edited inputs at one site, begun from activations that are computed once."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.adapters._adapter import Adapter
from mrinterp.features._feature_view import ChannelMap, FeatureView
from mrinterp.models._resumption import Resumption
from mrinterp.positions import Position

__all__ = ["SiteRuns"]

Rows = NDArray[np.int_]


class SiteRuns:
    """Clean activations and scores of all inputs at a site, and runs of base inputs edited there.

    Parameters
    ----------
    adapter : Adapter
    task : AbstractionTask
    site : str
    rule : Position, optional
    block : int
        Inputs per forward pass of the clean runs.
    """

    def __init__(
        self, adapter: Adapter, task: AbstractionTask, site: str, rule: Position | None, block: int
    ) -> None:
        self.adapter, self.site, self.rule = adapter, site, rule
        self.inputs, self.classes = task.inputs, task.classes
        self.resumption = Resumption.before(adapter, site)
        held, clean, starts = [], [], []
        for a in range(0, len(self.inputs), block):
            part = self.inputs.take(np.arange(a, min(a + block, len(self.inputs))))
            with torch.no_grad():
                run = adapter.run(part.tensors, read=[site])
                held.append(run.activations[site].clone())
                clean.append(self.classes(run.output, part.mask_or_ones))
            start = None if self.resumption is None else self.resumption.activation(part, self.classes)
            if start is None:
                self.resumption = None
            else:
                starts.append(start)
        self.held, self.clean = torch.cat(held), torch.cat(clean)
        # Joined outside inference mode: autograd refuses tensors that were made in it.
        self.starts = torch.cat(starts) if self.resumption is not None else None
        self.feature_map = self.held.ndim == 4
        self.width = self.held.shape[1 if self.feature_map else -1]

    def scores(self, view: Any, base: Rows, source: Rows) -> torch.Tensor:
        """Scores (n, classes) of base inputs with the view's values from their sources."""
        fitting: FeatureView = ChannelMap(view) if self.feature_map else view
        given = self.inputs.take(base)
        at = torch.from_numpy(source).to(self.held.device)
        values = fitting.read(self.held[at], self.inputs.take(source).at(self.rule))
        places = given.at(self.rule)
        begin: Any = nullcontext()
        if self.starts is not None and self.resumption is not None:
            begin = self.resumption.begin(self.starts[torch.from_numpy(base).to(self.starts.device)])
        with torch.enable_grad(), begin:
            write = {self.site: lambda h: fitting.write(h, values, places)}
            output = self.adapter.run(given.tensors, write=write).output
            return self.classes(output, given.mask_or_ones)
