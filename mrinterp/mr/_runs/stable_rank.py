"""Which bypass rank the estimates of a path agree on, and where the path contradicts itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_number, checked_type
from mrinterp.core.errors import InputError
from mrinterp.stats.tests.tails import critical_value

__all__ = ["sign_changes", "stable_rank"]

Array = NDArray[np.float64]

WIDE = 10.0
"""Times the narrowest half width of a feature over the ranks beyond which a rank does not identify it."""

NEEDED = ("rank", "exposure", "outcome", "estimate", "se", "ci_lower", "ci_upper")


def stable_rank(path: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """The smallest bypass rank whose estimates no larger rank contradicts, for each outcome.

    Parameters
    ----------
    path : DataFrame
        `rank_path`'s, best on a grid that starts at 0, 1, 2, 5, 10: the smaller ranks are where partial variance identifies
        most.
    level : float
        Probability that a rank which is enough is passed over, over all features and larger ranks together.

    Returns
    -------
    DataFrame
        One row per outcome: ``rank``; ``identified``, the largest rank at which every feature that has an estimate at the
        smallest one has an interval at most 10 times its narrowest; ``tried``, how many ranks; ``worst``, the largest
        difference from a later rank, in its errors, at the rank before the chosen one (nan where the first was enough).

    Raises
    ------
    InputError
        For a table that is no path, or a level beyond .5.

    Notes
    -----
    The difference of two estimates of one path has the variance se'^2 - se^2 where the smaller rank is enough (Hausman), taken as
    at least a quarter of se'^2 + se^2, since families differ. Larger ranks cost variance alone where the smaller is enough; where
    it is not, paths that it leaves open bias it. Not valid where no rank closes them: estimates can agree and be wrong.

    Source: Lepski's principle: Lepskii 1991, 10.1137/1135065; Hausman 1978, 10.2307/1913827.

    Examples
    --------
    >>> import mrinterp
    >>> path = mrinterp.mr.rank_path(mrinterp.worlds.linear_world(0).panel, [0, 1, 2, 3])
    >>> mrinterp.mr.stable_rank(path)["rank"].item()
    3
    """
    checked_number(level, "level", least=1e-9, most=0.5)
    rows = []
    for outcome, own in _checked(path).groupby("outcome", sort=False):
        beta, se = (
            own.pivot_table(values=v, index="rank", columns="exposure", dropna=False)
            for v in ("estimate", "se")
        )
        ranks = beta.index.to_numpy()
        b, s = beta.to_numpy(dtype=float), se.to_numpy(dtype=float)
        known = np.isfinite(b[0]) & np.isfinite(s[0])
        b, s = b[:, known], s[:, known]
        with np.errstate(invalid="ignore"):
            wide = s > WIDE * np.nanmin(s, axis=0, initial=np.inf)
        fine = ~(wide | ~np.isfinite(s)).any(axis=1)
        last = int(np.flatnonzero(np.cumprod(fine))[-1]) if fine[0] else 0
        chosen, worst = _smallest(b[: last + 1], s[: last + 1], level)
        rows.append((outcome, int(ranks[chosen]), int(ranks[last]), len(ranks), worst))
    return pd.DataFrame(rows, columns=["outcome", "rank", "identified", "tried", "worst"])


def _smallest(b: Array, s: Array, level: float) -> tuple[int, float]:
    """Place of the first rank that agrees with all later ones, and how far the one before it was off."""
    R, F = b.shape
    critical = float(critical_value(1 - level / max(F * (R - 1), 1), np.inf))
    worst = float("nan")
    for r in range(R):
        variance = np.maximum(s[r + 1 :] ** 2 - s[r] ** 2, 0.25 * (s[r + 1 :] ** 2 + s[r] ** 2))
        gap = np.abs(b[r + 1 :] - b[r]) / np.sqrt(np.maximum(variance, 1e-300))
        if not gap.size or float(gap.max()) <= critical:
            return r, worst
        worst = float(gap.max())
    return R - 1, worst


def sign_changes(path: pd.DataFrame) -> pd.DataFrame:
    """Features whose interval excludes 0 on one side at one bypass rank, and on the other side at another: no number of theirs
    can be given as an effect.

    Parameters
    ----------
    path : DataFrame
        `rank_path`'s.

    Returns
    -------
    DataFrame
        One row per feature and outcome that does: ``exposure, outcome, rank_up, up, rank_down, down``, the ranks at which its
        interval lies the farthest above and below 0, and the estimates there.

    Raises
    ------
    InputError
        For a table that is no path.

    Examples
    --------
    >>> import mrinterp
    >>> path = mrinterp.mr.rank_path(mrinterp.worlds.linear_world(0).panel, [0, 3])
    >>> len(mrinterp.mr.sign_changes(path))
    0
    """
    rows = []
    for (exposure, outcome), own in _checked(path).groupby(["exposure", "outcome"], sort=False):
        above, below = own[own["ci_lower"] > 0], own[own["ci_upper"] < 0]
        if above.empty or below.empty:
            continue
        up, down = above.sort_values("ci_lower").iloc[-1], below.sort_values("ci_upper").iloc[0]
        rows.append((exposure, outcome, int(up["rank"]), up["estimate"], int(down["rank"]), down["estimate"]))
    return pd.DataFrame(rows, columns=["exposure", "outcome", "rank_up", "up", "rank_down", "down"])


def _checked(path: pd.DataFrame) -> pd.DataFrame:
    checked_type(path, "path", pd.DataFrame, "mrinterp.mr.rank_path makes one")
    lacking = [c for c in NEEDED if c not in path]
    if lacking or path.empty:
        found = f"no column {lacking[0]!r}" if lacking else "no rows"
        raise InputError("path", found, "Give the table that mrinterp.mr.rank_path returns")
    return path
