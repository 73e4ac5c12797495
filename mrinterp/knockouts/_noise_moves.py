"""How far a design's noise moves each feature at single tokens, in natural standard deviations; and the scale to choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.design import Design
from mrinterp.core.plan import NOISE_MOVES
from mrinterp.knockouts._token_groups import token_groups
from mrinterp.models._cut import CutNetwork
from mrinterp.positions import EachToken
from mrinterp.results._contrast_levels import NATURAL_SD, ContrastLevels
from mrinterp.scan._reader import block_noise

__all__ = ["choose_noise", "noise_moves"]

Array = NDArray[np.float64]

RUNS = 256
"""Noise runs of the discovery split that are looked at; half of them where a scale is chosen, since it is tried often."""

START, ROUNDS, FARTHEST = 0.04, 6, 16.0
"""First scale tried; how often it is corrected, by how much at most at a time."""

ENOUGH = 0.95
"""Share within the bounds, of features and of features at single classes, from which on nothing more is tried."""


@dataclass(frozen=True, eq=False)
class NoiseProbe:
    """Noise runs of the discovery split, to be run at any scale.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design; its view reads the features at single tokens.
    rows : ndarray of int
        Noise runs of the design.
    levels : ContrastLevels
        Natural sd of a token is (high - low) / 2.563 of its class.
    """

    network: CutNetwork
    design: Design
    rows: NDArray[np.int_]
    levels: ContrastLevels

    @classmethod
    def of(
        cls, network: CutNetwork, design: Design, dictionary: Dictionary, levels: ContrastLevels, runs: int
    ) -> NoiseProbe:
        """The first noise runs of the discovery split."""
        seen = network.viewing(dictionary)
        if network.position is not None:
            seen = replace(seen, position=EachToken(network.position))
        return cls(seen, design, design.rows("discovery", ("noise",))[:runs], levels)

    def moves(self, scale: Array | None = None) -> Array:
        """Root mean square change (F, K + 1) of every feature, in natural sd: at the tokens of each group of the levels
        (the last: tokens of no known group), then at all of them together; nan where it does not vary.

        Parameters
        ----------
        scale : ndarray (C,), optional
            By which the noise of each of the design's token classes is multiplied.
        """
        inputs, clean = (self.design.runs[n].to_numpy() for n in ("input", "clean"))
        block, levels = int(self.design.settings["block"]), self.levels
        width, last = levels.high - levels.low, len(levels.groups) - 1
        F, K = width.shape
        square, count = np.zeros((F, K)), np.zeros((F, K))
        for a in range(0, len(self.rows), block):
            some = self.rows[a : a + block]
            noise = block_noise(self.design, some)
            noise = noise if noise is None or scale is None else (noise * scale[:, None]).astype(np.float32)
            noisy = self.network.run(inputs[some], noise=noise, cut=False).features
            still = self.network.run(inputs[clean[some]], cut=False).features
            groups = token_groups(self.network.inputs.take(inputs[some]))
            column = np.array([levels.groups.index(n) if n in levels.groups else last for n in groups.names])
            place = np.where(groups.code >= 0, column[groups.code], last)
            change = (noisy - still).reshape(*place.shape, F)
            sd = width.T[place] / NATURAL_SD
            counted = (groups.code >= 0)[..., None] & (sd > 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                size = np.where(counted, (change / sd) ** 2, 0.0)
            for k in np.unique(place):
                square[:, k] += size[place == k].sum(axis=0)
                count[:, k] += counted[place == k].sum(axis=0)
        square, count = (np.column_stack([x, x.sum(axis=1)]) for x in (square, count))
        return np.sqrt(np.divide(square, count, out=np.full((F, K + 1), np.nan), where=count > 0))


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
    if not len(design.rows("discovery", ("noise",))):
        return None
    return NoiseProbe.of(network, design, basis.dictionary, levels, RUNS).moves()[:, -1]


def choose_noise(
    network: CutNetwork, design: Design, dictionary: Dictionary, levels: ContrastLevels
) -> dict[str, Any]:
    """The scale of the noise, by token class, at which most features move by about as much as nature moves them.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design, whose noise has scale 1.

    Returns
    -------
    dict
        ``scale`` by token class; ``within``, share of the features that it moves by .5 to 1.5 natural sd; ``moves``,
        median move by token class where features are read; ``tried``, the shares of the scales that were tried.

    Notes
    -----
    A scale is tried on 128 noise runs of the discovery split, then that of each class is multiplied by what would bring
    most features within the bounds, at this class's tokens and at all tokens together, if moves grew in proportion (for a
    class where no feature is read: at all tokens), up to six times; of those tried the one is taken with most features, and most features at single classes, within the
    bounds. A feature that no scale in common with the others
    moves naturally stays outside, and its estimate says so.
    """
    names = design.settings["position_classes"][: len(design.noise_directions)]
    probe = NoiseProbe.of(network, design, dictionary, levels, RUNS // 2)
    column = [levels.groups.index(n) if n in levels.groups else -1 for n in names]
    scale, best, tried = np.full(len(names), START), None, []
    for _ in range(ROUNDS):
        moves = probe.moves(scale)
        within = (_within(moves[:, -1]), _within(moves))
        tried.append(within[0])
        if best is None or sum(within) > sum(best[0]):
            best = (within, scale, moves)
        step = np.array([_factor(moves[:, [k, -1] if k >= 0 else [-1]]) for k in column])
        if min(within) >= ENOUGH or (np.abs(np.log(step)) < 0.05).all():
            break
        scale = np.array([float(f"{s:.2g}") for s in scale * step])
    assert best is not None
    (share, _), scale, moves = best
    median = {
        n: float(np.nanmedian(moves[:, k])) for n, k in zip(names, column, strict=True) if _seen(moves, k)
    }
    return {
        "scale": dict(zip(names, scale.tolist(), strict=True)),
        "within": share,
        "moves": median,
        "tried": tried,
    }


def _within(moves: Array) -> float:
    """Share of the known moves that are about natural."""
    known = moves[np.isfinite(moves)]
    return float(((known >= NOISE_MOVES[0]) & (known <= NOISE_MOVES[1])).mean()) if len(known) else 0.0


def _seen(moves: Array, column: int) -> bool:
    return column >= 0 and bool(np.isfinite(moves[:, column]).any())


def _factor(moves: Array) -> float:
    """What most of the moves are multiplied by to lie within the bounds, their median as near to 1 as that allows."""
    known = moves[np.isfinite(moves)]
    middle = float(np.median(known)) if len(known) else 1.0
    if middle == 0:
        return FARTHEST
    grid = np.exp(np.linspace(-np.log(FARTHEST), np.log(FARTHEST), 201))
    moved = grid[:, None] * known
    share = ((moved >= NOISE_MOVES[0]) & (moved <= NOISE_MOVES[1])).mean(axis=1)
    order = np.lexsort((np.abs(np.log(grid * middle)), -share))
    return float(grid[order[0]])
