"""Derivative of outcomes by a feature's value: the gradient taken through the view's write."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.features._feature_view import FeatureView
from mrinterp.outcomes._outcome import Outcome, check_is_outcome, check_outcome
from mrinterp.positions import Position
from mrinterp.results._check import NotApplicable

__all__ = ["CHANGED_IN_PLACE", "write_gradient"]

Array = NDArray[np.float64]

CHANGED_IN_PLACE = "the network changes in place what its own gradient needs: no gradient comes back"


def write_gradient(
    adapter: Adapter,
    site: str,
    view: FeatureView,
    inputs: ModelInputs,
    outcome: Outcome,
    position: Position | None = None,
    values: Array | None = None,
) -> tuple[Array, Array] | NotApplicable:
    """Outcomes of one block, and their derivatives by the values that are written.

    Parameters
    ----------
    adapter : Adapter
    site : str
    view : FeatureView
        F features, all written at once.
    inputs : ModelInputs
        The block's n inputs.
    outcome : Outcome
        For these n inputs.
    position : Position, optional
        Needed where there is a token axis.
    values : ndarray (n, F) or (n, T * F), optional
        Written values at which the derivative is taken, shaped as the view reads them. Default: the
        values that are there.

    Returns
    -------
    outcome : ndarray (n, O)
    gradient : ndarray (n, O, F) or (n, O, T * F)
        Outcome units per unit of the feature, everything else at the site held as `FeatureView.write`
        holds it: for directions the derivative along the write direction, for SAE latents along the
        decoder's row, also where the latent is zero. Zero on padding.
    NotApplicable
        Where no gradient comes back: a discrete outcome, one computed outside torch, an adapter
        that runs without recording, or a network that changes in place what its gradient needs.

    Notes
    -----
    One forward and O backward passes, whatever F is. A step or a saturated unit has gradient zero
    and an effect all the same: this is the local slope and no more.

    Source: Simonyan et al. 2013, arXiv:1312.6034.
    """
    check_is_outcome(outcome)
    positions = inputs.at(position)
    box: dict[str, torch.Tensor] = {}

    def open_leaf(h: torch.Tensor) -> torch.Tensor:
        h = h.detach()
        with torch.no_grad():
            present = view.read(h, positions)
        wanted = present if values is None else torch.from_numpy(values).to(present)
        box["leaf"] = wanted.clone().requires_grad_(True)
        return view.write(h, box["leaf"], positions)

    with torch.inference_mode(False), torch.enable_grad():
        output = adapter.run(inputs.tensors, write={site: open_leaf}).output
        y = _recorded(outcome, output, inputs.mask_or_ones)
        if isinstance(y, NotApplicable):
            return y
        parts = []
        for o in range(y.shape[1]):
            more = o + 1 < y.shape[1]
            try:
                (g,) = torch.autograd.grad(y[:, o].sum(), box["leaf"], retain_graph=more, allow_unused=True)
            except RuntimeError as e:
                if "inplace operation" not in str(e):
                    raise
                return NotApplicable(CHANGED_IN_PLACE, "gradient")
            # An outcome that does not depend on the site has derivative zero.
            parts.append(torch.zeros_like(box["leaf"]) if g is None else g)
    found = y.detach().double().cpu().numpy()
    check_outcome(found, outcome.names, len(inputs))
    return found, torch.stack(parts, 1).double().cpu().numpy()


def _recorded(outcome: Outcome, output: Any, mask: torch.Tensor) -> torch.Tensor | NotApplicable:
    """Outcomes (n, O) with their graph, or why there is none."""
    name = ", ".join(outcome.names)
    try:
        y = outcome(output, mask)
    except RuntimeError as e:
        if "requires grad" not in str(e):
            raise
        return NotApplicable(f"outcome {name} is computed outside torch: no gradient comes back", "gradient")
    if not isinstance(y, torch.Tensor) or not y.requires_grad:
        reason = (
            f"outcome {name} has no gradient: it is discrete (a label, a comparison), computed"
            " outside torch, or run without recording"
        )
        return NotApplicable(reason, "gradient")
    return y.unsqueeze(1) if y.ndim == 1 else y
