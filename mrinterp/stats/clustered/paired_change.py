"""Before and after on the same inputs, group by group, with errors clustered by family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered.family_draws import bootstrap_ratio
from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.tests.tails import critical_value

__all__ = ["paired_change"]

Array = NDArray[np.float64]

COLUMNS = ("before", "after", "change", "se", "lower", "upper", "boot_lower", "boot_upper", "changed")


@dataclass(frozen=True, eq=False)
class PairedChange:
    """Means of G groups of inputs before and after, for O outcomes.

    ``before, after, change, se, lower, upper, boot_lower, boot_upper, changed`` (G, O), ``changed`` the
    share of inputs whose outcome moved by more than the floor; ``inputs, families, df`` (G,).
    nan for a group without inputs; no interval with fewer than two families.
    """

    before: Array
    after: Array
    change: Array
    se: Array
    lower: Array
    upper: Array
    boot_lower: Array
    boot_upper: Array
    changed: Array
    inputs: NDArray[np.int_]
    families: NDArray[np.int_]
    df: Array

    def columns(self) -> dict[str, Array]:
        """Every number by name, raveled group by group."""
        return {name: np.ravel(getattr(self, name)) for name in COLUMNS}


def paired_change(
    before: Array,
    after: Array,
    members: NDArray[np.bool_],
    family: NDArray[Any],
    floor: float | Array = 0.0,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedChange:
    """Mean change of every group, inputs alike.

    Parameters
    ----------
    before, after : ndarray (N, O)
    members : ndarray (G, N) of bool
        Groups may overlap.
    family : ndarray (N,)
        Cluster of each input; one family may stand in several groups.
    floor : float or array (O,)
        Changes up to this do not count as changes.
    draws, seed : int
        Of the family bootstrap; every group is drawn with the same families.
    level : float

    Notes
    -----
    t on families of the group minus one. Where no input changed at all the interval has width zero,
    which says nothing about inputs that were not seen.
    """
    G, (N, O) = len(members), before.shape
    difference = after - before
    found = {k: np.full((G, O), np.nan) for k in ("before", "after", "change", "se", "changed")}
    df = np.zeros(G)
    for g, rows in enumerate(members):
        if not rows.any():
            continue
        found["before"][g], found["after"][g] = before[rows].mean(axis=0), after[rows].mean(axis=0)
        found["change"][g], found["se"][g], df[g] = clustered_mean(difference[rows], family[rows])
        found["changed"][g] = (np.abs(difference[rows]) > floor).mean(axis=0)
    half = np.where(df > 0, critical_value(level, np.maximum(df, 1.0)), np.nan)[:, None] * found["se"]
    chosen = members.T[:, :, None]
    top = np.where(chosen, difference[:, None, :], 0.0).reshape(N, G * O)
    below = np.broadcast_to(chosen, (N, G, O)).reshape(N, G * O).astype(float)
    ends = [e.reshape(G, O) for e in bootstrap_ratio(top, below, family, draws, seed, level)]
    families = np.array([len(np.unique(family[rows])) for rows in members])
    boot_lower, boot_upper = (np.where(families[:, None] > 1, e, np.nan) for e in ends)
    return PairedChange(
        found["before"],
        found["after"],
        found["change"],
        found["se"],
        found["change"] - half,
        found["change"] + half,
        boot_lower,
        boot_upper,
        found["changed"],
        members.sum(axis=1),
        families,
        df,
    )
