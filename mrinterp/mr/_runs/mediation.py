"""Network MR over two sites: which later features carry the effect of an early one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_level, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Changes, Panel
from mrinterp.mr._runs.run_level import DEAD, checked_rank
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.mediated_effects import MediatedEffects
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.mediation import mediated_parts
from mrinterp.stats.tests.tails import critical_value

__all__ = ["mediated_effects"]

Array = NDArray[np.float64]

NAME = "mediated effects"
FEWEST_FAMILIES, ROWS_PER_COLUMN = 10, 3
DETERMINED = 1e-3
"""Share of a later feature's variance, given the early site and the other columns, below which its effect cannot be told."""

NO_SHARE = "no mediated share: the total effect may be 0"


def mediated_effects(
    early: Panel,
    late: Panel | None = None,
    *,
    early_rank: int | None = None,
    late_rank: int | None = None,
    level: float = 0.95,
) -> MediatedEffects | NotApplicable:
    """Split the effect of every feature of an early site into what a later site's features carry, and what goes past them.

    Parameters
    ----------
    early : Panel
        Runs with the features of the early site, F of them.
    late : Panel, optional
        The same runs with the features of the later site, M of them, and the same outcomes. None, as a study of one site has
        it, does not apply.
    early_rank, late_rank : int, optional
        Components of each site's bypass that are held; default the panels'.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    MediatedEffects or NotApplicable
        ``NotApplicable`` for one site, fewer than 10 families, fewer than 3 runs per column, or later features that the early
        site determines.

    Raises
    ------
    InputError
        For panels of other runs or outcomes, or ranks that they do not have.

    Notes
    -----
    Two regressions of within-prompt changes: later features and bypass on early features and bypass (a); the outcome on all of
    them (b, direct). Through later feature j: a_j b_j; total = direct + sum over j + what the later bypass carries, exactly.
    Intervals: delete-one-family jackknife. Where the early site listed is complete, the later one is a function of it: nothing of
    it moves by itself, and its effects cannot be told (``NotApplicable``); list less of the early bypass, or perturb between.

    Not valid where what moves later features and outcome together is in neither bypass, an unlisted rest of the early site that is
    correlated with the listed features included: its effect is laid on them; where effects of the early features
    on later ones or of these on the outcome are curved, the shares are those of the linear parts.

    Source: mediation by two regressions, VanderWeele 2015, Explanation in Causal Inference, chapter 2; network MR, Burgess et
    al. 2015, 10.1093/ije/dyu176.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> mrinterp.mr.mediated_effects(panel).reason
    'one site: mediation is asked between the features of two, read in the same runs'
    """
    checked_type(early, "early", Panel, "mrinterp.from_arrays makes one of arrays")
    level = checked_level(level)
    if late is None:
        why = "one site: mediation is asked between the features of two, read in the same runs"
        return NotApplicable(why, NAME)
    checked_type(late, "late", Panel, "Give the same runs at the later site")
    _same_runs(early, late)
    one, two = early.changes(), late.changes()
    X, R = one.features, one.bypass[:, : _rank(early, one, early_rank)]
    M, S = two.features, two.bypass[:, : _rank(late, two, late_rank)]
    moved = changes_beyond_rounding(X, np.asarray(early.features))
    carried = changes_beyond_rounding(M, np.asarray(late.features))
    Z = np.concatenate([X[:, moved], R, M[:, carried], S], axis=1)
    codes, families = families_of(one.family)
    why = _too_little(Z, len(families), moved, carried)
    if why:
        return NotApplicable(why, NAME)
    left = _left(Z)
    F, r, m = int(moved.sum()), R.shape[1], int(carried.sum())
    fixed = [
        n
        for n, v in zip(np.array(late.feature_names)[carried], left[F + r : F + r + m], strict=True)
        if v < DETERMINED
    ]
    if len(fixed) == m or (left[: F + r] < DETERMINED**2).any():
        why = "the runs cannot tell the early site's features and the later ones apart: one determines the other"
        return NotApplicable(why, NAME)
    Y = one.outcomes
    sums = ((Z[codes == c].T @ Z[codes == c], Z[codes == c].T @ Y[codes == c]) for c in range(len(families)))
    try:
        estimate, error = mediated_parts((Z.T @ Z, Z.T @ Y), sums, (F, r, m))
    except np.linalg.LinAlgError:
        return NotApplicable("one family alone tells some of the columns apart: give more families", NAME)
    meta = {"families": len(families), "ranks": [r, S.shape[1]], "determined": fixed}
    return _made(early, late, estimate, error, moved, carried, level, float(len(families) - 1), meta)


def _rank(panel: Panel, change: Changes, rank: int | None) -> int:
    return checked_rank(panel.rank if rank is None else rank, change.bypass.shape[1])


def _same_runs(early: Panel, late: Panel) -> None:
    for name in ("prompt", "family", "kind"):
        one, two = early.runs[name].to_numpy(), late.runs[name].to_numpy()
        if len(one) != len(two) or (one != two).any():
            raise InputError(
                "late", f"other runs than the early panel's ({name})", "Read both sites in the same runs"
            )
    if early.outcome_names != late.outcome_names:
        found = f"outcomes {list(late.outcome_names)}, not {list(early.outcome_names)}"
        raise InputError("late", found, "Read both sites beside the same outcomes")
    if not np.allclose(early.outcomes, late.outcomes, rtol=1e-4, atol=1e-8, equal_nan=True):
        raise InputError("late", "other values of the outcomes", "Read both sites in the same runs")


def _too_little(Z: Array, families: int, moved: NDArray[np.bool_], carried: NDArray[np.bool_]) -> str:
    if families < FEWEST_FAMILIES:
        return f"{families} families, of {FEWEST_FAMILIES} that it needs"
    if len(Z) < ROWS_PER_COLUMN * Z.shape[1]:
        return f"{len(Z)} runs for {Z.shape[1]} columns, of 3 per column that it needs: lower the ranks"
    if not moved.any() or not carried.any():
        return f"nothing moves the features of the {'early' if not moved.any() else 'later'} site"
    return ""


def _left(Z: Array) -> Array:
    """Share of every column that the others leave; 0 where they cannot be told apart at all."""
    unit = Z / np.maximum(np.sqrt((Z**2).sum(axis=0)), 1e-300)
    values, vectors = np.linalg.eigh(unit.T @ unit)
    return np.asarray(1.0 / (vectors**2 / np.maximum(values, 1e-15)).sum(axis=1))


def _made(
    early: Panel,
    late: Panel,
    estimate: dict[str, Array],
    error: dict[str, Array],
    moved: NDArray[np.bool_],
    carried: NDArray[np.bool_],
    level: float,
    df: float,
    meta: dict[str, Any],
) -> MediatedEffects:
    """Parts put in their places among all features; no share where the total's interval holds 0."""
    F, M, O = len(moved), len(carried), len(early.outcome_names)

    def wide(values: Array, shape: tuple[int, ...]) -> Array:
        out = np.full(shape, np.nan)
        if len(shape) == 2:
            out[moved] = values
        else:
            out[np.ix_(moved, carried)] = values
            out[np.ix_(moved, ~carried)] = 0.0
        return out

    fields = {n: wide(v, (F, M, O) if n == "through" else (F, O)) for n, v in estimate.items()}
    fields |= {f"{n}_se": wide(v, (F, M, O) if n == "through" else (F, O)) for n, v in error.items()}
    with np.errstate(invalid="ignore"):
        unsure = ~(np.abs(fields["total"]) > critical_value(level, df) * fields["total_se"])
    fields["share"][unsure], fields["share_se"][unsure] = np.nan, np.nan
    status = np.where(unsure, NO_SHARE, "ok").astype(object)
    status[~moved] = DEAD
    return MediatedEffects(
        features=early.feature_names,
        mediators=late.feature_names,
        outcomes=early.outcome_names,
        **fields,
        status=status,
        df=df,
        level=level,
        unit=f"{early.units['outcome']} per {early.units['feature']}",
        meta=meta,
    )
