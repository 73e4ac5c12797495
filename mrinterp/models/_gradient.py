"""The gradient along each feature's write direction: the cheapest of the methods that are compared."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._like_lengths import LikeLengths
from mrinterp.core.basis import Dictionary
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.models._cut import CutNetwork
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["gradient_estimates", "outcomes_without_gradient"]


def outcomes_without_gradient(network: CutNetwork, rows: NDArray[np.int_]) -> dict[str, str]:
    """Outcomes that no gradient passes through, by name, and why; tried on the given inputs."""
    inputs, outcome = network.inputs.take(rows), network.outcome.take(rows)
    with torch.enable_grad():
        output = network.adapter.run(
            inputs.tensors, write={network.site: lambda h: h.detach().clone().requires_grad_(True)}
        ).output
        return outcome.without_gradient(output, inputs.mask_or_ones)


def gradient_estimates(network: CutNetwork, design: Design, dictionary: Dictionary, split: str) -> Estimates:
    """Mean directional derivative over the clean prompts of a split, error clustered by family.

    Of several outcomes, those without a gradient are nan, and their status says why.

    Raises
    ------
    InputError
        Where no outcome has one.

    Notes
    -----
    The local effect of an infinitesimal shift along the write direction wherever features are read.
    It needs a differentiable outcome and one backward pass; where that exists it is hard to beat.
    """
    rows = design.rows(split, ("clean",))
    inputs = design.runs["input"].to_numpy()[rows]
    lacking = outcomes_without_gradient(network, inputs[:1])
    names = network.outcome.names
    chosen = np.array([o for o, name in enumerate(names) if name not in lacking], dtype=int)
    if not len(chosen):
        name, why = next(iter(lacking.items()))
        raise InputError(f"gradient of {name!r}", why, "Leave the gradient out")
    N, F, O = len(rows), len(dictionary.names), len(names)
    block = int(design.settings["block"])
    like = LikeLengths.of(network.lengths[inputs], block)
    values = np.empty((N, F, len(chosen)))
    for part in like.blocks(block):
        g = network.gradient(inputs[part], chosen, int(like.length[part[0]]))
        values[part] = np.einsum("now,fw->nfo", g, dictionary.write)
    mean, se, df = clustered_mean(values.reshape(N, -1), design.runs["family"].to_numpy()[rows])
    return Estimates(
        method="gradient",
        label="gradient along the write direction",
        exposures=dictionary.names,
        outcomes=names,
        beta=_spread(mean.reshape(F, -1), chosen, O),
        se=_spread(se.reshape(F, -1), chosen, O),
        status=np.array(
            [[f"no gradient: {lacking[n]}" if n in lacking else "ok" for n in names]] * F, dtype=object
        ),
        n_instruments=np.full((F, O), N),
        df=np.full((F, O), df),
        assumes=("the outcome is differentiable and close to linear over the size of change that matters",),
        reference="Simonyan et al. 2013, arXiv:1312.6034",
        unit=f"outcome unit per {dictionary.unit}",
        meta={"counted": "prompts", "split": split},
    )


def _spread(values: NDArray, columns: NDArray[np.int_], count: int) -> NDArray:
    out = np.full((len(values), count), np.nan)
    out[:, columns] = values
    return out
