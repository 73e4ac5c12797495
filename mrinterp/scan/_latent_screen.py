"""Which latents of a large dictionary go with an outcome on discovery: a study's candidates, and a bound of those left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.adapters._like_lengths import blocks_of
from mrinterp.core.design import Design
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._reader import SCAN_STREAM, block_noise, shards
from mrinterp.scan._shard_stores import MappedShards

__all__ = ["screened_latents"]

Array = NDArray[np.float64]

LEVEL = 0.05
"""Probability that any latent passes without an association, and that any that is left out exceeds the bound."""

FEWEST = 10
"""Families that a latent must change in for its error, clustered by family, to be worth anything."""


LATENTS = 4096
"""Latents whose sums over all families are held at once."""


@dataclass(frozen=True, eq=False)
class LatentScreen:
    """Correlation of every latent's change with every outcome's over the discovery runs, with errors clustered by family.

    Parameters
    ----------
    correlation, se : ndarray (F, O)
        Through the origin, since changes are against the clean run; nan where either never changes.
    moving : ndarray (F,) of int
        Families in which each latent changes.
    families : int
    """

    correlation: Array
    se: Array
    moving: NDArray[np.int_]
    families: int

    @property
    def score(self) -> Array:
        """Largest correlation over its error of every latent (F,); 0 where it cannot be told."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(self.correlation) / self.se
        t[~np.isfinite(t) | (self.moving < FEWEST)[:, None]] = 0.0
        return np.asarray(t.max(axis=1))

    @property
    def critical(self) -> float:
        """Score that no latent without an association passes, with probability 1 - `LEVEL` (Bonferroni)."""
        return float(special.stdtrit(self.families - 1, 1.0 - LEVEL / (2.0 * self.correlation.size)))

    def facts(self, chosen: NDArray[np.int_]) -> dict[str, Any]:
        """What is said of the latents that were not chosen.

        Parameters
        ----------
        chosen : ndarray (K,) of int
            Rows of those that were.
        """
        left = np.ones(len(self.correlation), dtype=bool)
        left[chosen] = False
        known = left & (self.moving >= FEWEST)
        r, se = np.abs(self.correlation[known]), self.se[known]
        with np.errstate(divide="ignore", invalid="ignore"):  # Fisher's scale keeps the bound below 1
            bound = np.tanh(np.arctanh(np.minimum(r, 1 - 1e-12)) + self.critical * se / (1 - r**2))
        passed = self.score > self.critical
        return {
            "latents": len(left),
            "changing": int((self.moving > 0).sum()),
            "passed": int(passed.sum()),
            "passed_left_out": int((passed & left).sum()),
            "taken": len(chosen),
            "families": self.families,
            "missed_at_most": float(np.nanmax(bound, initial=0.0)),
            "unbounded": int((left & (self.moving > 0) & (self.moving < FEWEST)).sum()),
            "level": LEVEL,
        }


def screened_latents(
    network: CutNetwork, design: Design, kind: str, folder: Path | None = None
) -> LatentScreen:
    """Read all latents in the discovery runs of one kind, block by block: what is kept are sums over families.

    Parameters
    ----------
    network : CutNetwork
        Viewing all latents.
    kind : str
        Of perturbation: the one that the study estimates from.
    folder : Path, optional
        Where finished shards are kept.

    Notes
    -----
    Bounds associations, *not valid* as a bound of effects: a cause whose association other features cancel has none. Errors are
    those of a correlation, linearized, by families; t on families - 1 degrees of freedom.
    """
    rows, runs = design.rows("discovery", (kind,)), design.runs
    inputs, clean = runs["input"].to_numpy(), runs["clean"].to_numpy()
    names, family = np.unique(runs["family"].to_numpy()[rows].astype(str), return_inverse=True)

    def work(a: int, b: int) -> dict[str, NDArray[Any]]:
        here = rows[a:b]
        before, first = np.unique(clean[here], return_inverse=True)
        new = network.run(inputs[here], noise=block_noise(design, here), draw=(SCAN_STREAM, here), cut=False)
        old = network.run(inputs[before], draw=(SCAN_STREAM, before), cut=False)
        x = new.features.astype(float) - old.features[first]
        y = new.outcome.astype(float) - old.outcome[first]
        of, at = np.unique(family[a:b], return_inverse=True)
        member = (at == np.arange(len(of))[:, None]).astype(float)
        xy = np.stack([member @ (x * y[:, o, None]) for o in range(y.shape[1])], axis=2)
        return {"family": of, "xx": member @ x**2, "xy": xy, "yy": member @ y**2}

    grid = list(blocks_of((np.arange(len(rows)),), int(design.settings["block"])))
    place = folder and folder / "screen"
    found = shards(grid, lambda here: work(here[0], here[-1] + 1), place, "screen of latents", MappedShards())
    return _from_parts([part for _, part in found], len(names))


def _from_parts(parts: list[dict[str, NDArray[Any]]], families: int) -> LatentScreen:
    """From sums over the families of some runs each, some latents at a time: in the order of the runs, whoever made them."""
    F, O = parts[0]["xy"].shape[1:]
    yy = np.zeros((families, O))
    for part in parts:
        np.add.at(yy, part["family"], part["yy"])
    r, se, moving = np.empty((F, O)), np.empty((F, O)), np.empty(F, np.int64)
    for a in range(0, F, LATENTS):
        here = slice(a, a + LATENTS)
        xx, xy = np.zeros((families, len(moving[here]))), np.zeros((families, len(moving[here]), O))
        for part in parts:
            np.add.at(xx, part["family"], part["xx"][:, here])
            np.add.at(xy, part["family"], part["xy"][:, here])
        r[here], se[here], moving[here] = _correlations(xx, yy, xy)
    return LatentScreen(r, se, moving, families)


def _correlations(xx: Array, yy: Array, xy: Array) -> tuple[Array, Array, NDArray[np.int_]]:
    """Correlations and errors (F, O) and families in which a latent changes (F,), from sums of every family: squares of
    latents (C, F) and outcomes (C, O), and products (C, F, O)."""
    C, X, Y = len(xx), xx.sum(axis=0), yy.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(X[:, None] * Y)
        r = xy.sum(axis=0) * scale
        # What a family adds to the correlation, to first order: its product, less its share of both sums of squares.
        share = (xx / X)[:, :, None] + (yy / Y)[:, None, :]
        se = np.sqrt(C / (C - 1.0) * ((xy * scale - 0.5 * r * share) ** 2).sum(axis=0))
    r[~np.isfinite(scale)] = se[~np.isfinite(scale)] = np.nan
    return r, se, (xx > 0).sum(axis=0)
