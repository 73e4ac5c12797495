"""Divergence from the clean run, whose logits are computed block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.outcomes._logit_outcomes import logits_at
from mrinterp.outcomes._target_outcomes import KLToClean
from mrinterp.positions import LAST_TOKEN, PositionRule

__all__ = ["CleanDivergence"]


@dataclass(frozen=True, eq=False)
class CleanDivergence:
    """KL(clean || run) for the inputs of a design, in nats.

    Parameters
    ----------
    adapter : Adapter
    inputs : ModelInputs
        All N inputs.
    clean : ndarray (N,) of int
        Input that is each one's clean one.
    position : PositionRule

    Notes
    -----
    Clean logits are as wide as the vocabulary: they are computed for the distinct clean inputs of each
    block (`take`) and kept no longer than it.
    """

    even: ClassVar[bool] = True
    adapter: Adapter
    inputs: ModelInputs
    clean: NDArray[np.int_]
    position: PositionRule = LAST_TOKEN
    name: str = "kl_to_clean"

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Any) -> KLToClean:
        """The outcome of some of the inputs, with their clean logits."""
        distinct, place = np.unique(self.clean[np.asarray(rows)], return_inverse=True)
        inputs = self.inputs.take(distinct)
        with torch.no_grad():
            logits = logits_at(self.adapter.run(inputs.tensors).output, inputs.given_mask, self.position)
        return KLToClean(logits[torch.as_tensor(place, device=logits.device)], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (N, 1) of all inputs."""
        return self.take(np.arange(len(self.inputs)))(output, mask)
