"""The gradient along each feature's write direction: the cheap rung of every ladder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Dictionary
from mrinterp.core.design import Design
from mrinterp.core.estimates import Estimates
from mrinterp.models.cut import CutNetwork
from mrinterp.models.text import TokenArrays
from mrinterp.stats.clustered import clustered_mean

__all__ = ["gradient_estimates"]


def gradient_estimates(
    network: CutNetwork, design: Design, tokens: TokenArrays, dictionary: Dictionary, split: str
) -> Estimates:
    """Mean directional derivative over the clean prompts of a split, error clustered by family.

    Notes
    -----
    The local effect of an infinitesimal shift along the write direction at every token. It needs a
    differentiable outcome and one backward pass; where that exists it is hard to beat.
    """
    rows = design.rows(split, ("clean",))
    inputs = design.runs["input"].to_numpy()[rows]
    block = int(design.settings["block"])
    parts: list[NDArray] = []
    for a in range(0, len(rows), block):
        g = network.gradient(tokens.take(inputs[a : a + block]))
        parts.append(np.einsum("now,fw->nfo", g, dictionary.write))
    values = np.concatenate(parts)
    N, F, O = values.shape
    mean, se, df = clustered_mean(values.reshape(N, -1), design.runs["family"].to_numpy()[rows])
    return Estimates(
        "gradient",
        "gradient along the write direction",
        dictionary.names,
        network.outcome.names,
        mean.reshape(F, O),
        se.reshape(F, O),
        np.full((F, O), "ok", dtype=object),
        np.full((F, O), N),
        df=np.full((F, O), df),
        assumes=("the outcome is differentiable and close to linear over the size of change that matters",),
        reference="Simonyan et al. 2013, arXiv:1312.6034",
        unit=f"outcome unit per {dictionary.unit}",
        meta={"counted": "prompts", "split": split},
    )
