"""How far a design's noise moves each feature at single tokens, in natural standard deviations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.knockouts._token_groups import token_groups
from mrinterp.models._cut import CutNetwork
from mrinterp.positions import EachToken
from mrinterp.results._contrast_levels import NATURAL_SD, ContrastLevels
from mrinterp.scan._reader import block_noise

__all__ = ["noise_moves"]

Array = NDArray[np.float64]

RUNS = 256
"""Noise runs of the discovery split that are looked at."""


def noise_moves(network: CutNetwork, design: Design, basis: Basis, levels: ContrastLevels) -> Array | None:
    """Root mean square change of every feature by the design's noise, (F,), each token in its own class's natural sd.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design.
    levels : ContrastLevels
        Natural sd of a token is (high - low) / 2.563 of its class.

    Returns
    -------
    ndarray (F,) or None
        About 1 where the noise is as large as natural changes. nan for a feature that varies at no token; None where the
        design has no noise.
    """
    rows = design.rows("discovery", ("noise",))[:RUNS]
    if not len(rows):
        return None
    seen = network.viewing(basis.dictionary)
    if network.position is not None:
        seen = replace(seen, position=EachToken(network.position))
    inputs, block = design.runs["input"].to_numpy(), int(design.settings["block"])
    clean = design.runs["clean"].to_numpy()
    width = levels.high - levels.low
    F, last = len(levels.features), len(levels.groups) - 1
    square, count = np.zeros(F), np.zeros(F)
    for a in range(0, len(rows), block):
        some = rows[a : a + block]
        noisy = seen.run(inputs[some], noise=block_noise(design, some), cut=False).features
        still = seen.run(inputs[clean[some]], cut=False).features
        groups = token_groups(network.inputs.take(inputs[some]))
        column = np.array([levels.groups.index(n) if n in levels.groups else last for n in groups.names])
        place = np.where(groups.code >= 0, column[groups.code], last)
        change = (noisy - still).reshape(*place.shape, F)
        sd = width.T[place] / NATURAL_SD
        counted = (groups.code >= 0)[..., None] & (sd > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            square += np.where(counted, (change / sd) ** 2, 0.0).sum(axis=(0, 1))
        count += counted.sum(axis=(0, 1))
    return np.sqrt(np.divide(square, count, out=np.full(F, np.nan), where=count > 0))
