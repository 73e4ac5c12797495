"""What other methods would have concluded from the inputs as they are, and whose effect a feature shows there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.checks import checked_fraction, checked_level, checked_type
from mrinterp.core.panel import Panel
from mrinterp.diagnostics._borrowed_runs import (
    MOST_JOINT,
    given_effects,
    grouped,
    made_result,
    near_copies,
    share_explained,
)
from mrinterp.mr._runs.observational import observational
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.borrowed import Layout, borrowed_parts, run_sums
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.probe import PENALTIES, jackknifed_probe
from mrinterp.stats.sparse.knockoffs import knockoff_filter

__all__ = ["BESIDE", "beside_it", "natural_borrowed"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

BESIDE = {
    "correlation": "Pearson's r over the inputs as they are",
    "probe": "coefficient of a ridge probe on all features, outcome sd per feature sd",
    "top_inputs": "how much higher the outcome is at the inputs that move the feature most, in its sd",
    "knockoffs": "lasso coefficient less that of the feature's knockoff",
}
"""Methods that read the inputs as they are, and what their numbers are."""

TOP, LEAST_TOP = 0.05, 10
"""Share of inputs that count as those that move a feature most, and how many at least."""

FOLDS, FEWEST_FAMILIES = 10, 10
"""Groups of families that the probe leaves out, and families below which nothing is said."""

NAME = "other methods on the inputs as they are"


def natural_borrowed(
    panel: Panel, effects: Estimates | None = None, *, level: float = 0.95
) -> BorrowedEffects | NotApplicable:
    """Take every feature's slope over unperturbed inputs apart: its own part, and what it borrows from its company there.

    Parameters
    ----------
    panel : Panel
        Its clean runs are used; all runs where there are none. Up to 400 features, of which those with numbers in
        ``effects`` are the sources.
    effects : Estimates, optional
        What each feature does, in outcome units per unit of the feature, from knockouts; default a joint least squares fit of
        the same inputs, which is confounded where a cause is not among the features.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    BorrowedEffects or NotApplicable
        As `borrowed_effects`, of deviations from the mean over all inputs. ``NotApplicable`` with fewer than 10 families, or
        fewer than three inputs per feature.

    Raises
    ------
    InputError
        For data of another type, or effects without the sources.

    Notes
    -----
    `borrowed_effects` says whose effect a feature shows under perturbations; this one, whose it shows to a probe or to who
    looks at the inputs that move it. What the listed features do not explain is ``left``: curvature, or a cause that is not
    listed. Intervals: delete-one-family jackknife.

    Source: the omitted-variable formula (Angrist & Pischke 2009, Mostly Harmless Econometrics, section 3.2.2).

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.diagnostics.natural_borrowed(mrinterp.worlds.world_families()["twins"].make(0).panel)
    >>> found["twin", "answer"].source
    'cause'
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    level = checked_level(level)
    name = "natural borrowed effects"
    chosen = _clean(panel)
    x, y = _centered(chosen.features), _centered(chosen.outcomes)
    codes, families = families_of(chosen.runs["family"].to_numpy())
    varies = changes_beyond_rounding(x, np.asarray(chosen.features, dtype=float))
    live = np.flatnonzero(varies)
    known = live
    if effects is not None:
        has = np.isfinite(effects.beta + effects.se).all(axis=1)
        known = live[[panel.feature_names[k] in np.array(effects.exposures)[has] for k in live]]
    if len(families) < FEWEST_FAMILIES:
        return NotApplicable(f"{len(families)} families, of 10 that it needs", name)
    if not len(known) or len(known) > MOST_JOINT or 3 * len(known) > len(x):
        return NotApplicable(f"{len(known)} sources among {len(x)} inputs", name)
    base, columns = x[:, known], x[:, live]
    found = grouped(panel.feature_names, [], known, live, base)
    Z = base[:, found.order]
    own, spanned, near = near_copies(Z, columns, found, len(known))
    given = None
    if effects is not None:
        given = given_effects(effects, panel.feature_names, panel.outcome_names, known[found.order], 0)
    clusters = (run_sums(*(a[codes == c] for a in (Z, columns, y))) for c in range(len(families)))
    try:
        parts = borrowed_parts(run_sums(Z, columns, y), clusters, Layout(found.starts, own, spanned), given)
    except np.linalg.LinAlgError:
        return NotApplicable("the inputs cannot tell some of the features apart", name)
    unit = f"{panel.units['outcome']} per {panel.units['feature']}"
    meta = {"level_of": "inputs as they are", "clusters": len(families), "rank": 0, "chosen": ""}
    if effects is None:
        meta["fit"] = share_explained(Z, y, parts.effects)
    still = dict.fromkeys(np.flatnonzero(~varies).tolist(), "it does not vary over these inputs")
    return made_result(
        panel.feature_names,
        panel.outcome_names,
        found.names,
        parts,
        live,
        own,
        near,
        found.starts,
        {},
        unit,
        level,
        meta,
        still,
    )


def beside_it(
    panel: Panel, effects: Estimates | None = None, *, rate: float = 0.05, seed: int = 0
) -> pd.DataFrame | NotApplicable:
    """What a correlation ranking, a probe, the top inputs and model-X knockoffs would have concluded of every feature.

    Parameters
    ----------
    panel : Panel
        Its clean runs are used; all runs where there are none.
    effects : Estimates, optional
        What each feature does, from knockouts: whose effect it shows is said by them (`natural_borrowed`).
    rate : float
        False discovery rate of every method, over the features of an outcome.
    seed : int
        Of the knockoffs.

    Returns
    -------
    DataFrame or NotApplicable
        One row per feature and outcome: ``feature, outcome``; for each method its number (``correlation, probe, top_inputs,
        knockoffs``, as `BESIDE` says) and ``<method>_says``: ``drives it``, ``does not``, or why it says nothing; ``company``,
        the feature whose effect it mostly shows over these inputs, or the few that cannot be ranked, as "a and b" (empty: its own,
        nothing beyond error, or it cannot be said), and ``taken_apart``, the sentence; ``moves_with, moves_with_r``: the
        feature that it moves with most while all others are held fixed, and that partial correlation.
        ``NotApplicable`` with fewer than 10 families.

    Raises
    ------
    InputError
        For data of another type, or a rate outside 0 to 1.

    Notes
    -----
    None of these is valid as a statement about what a change of the feature does. Errors are clustered by family but for
    knockoffs, which take inputs as independent. Below 1/rate features knockoff+ can select none, and the first knockoff
    filter, which holds a modified rate, stands in. The top inputs are the 5% (at least 10) with the highest values: what who
    reads them would see in common.

    Examples
    --------
    >>> import mrinterp
    >>> table = mrinterp.diagnostics.beside_it(mrinterp.worlds.world_families()["twins"].make(0).panel)
    >>> table.loc[table["feature"] == "twin", "correlation_says"].item()  # it only accompanies the cause
    'drives it'
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    rate = checked_fraction(rate, "rate")
    chosen = _clean(panel)
    codes, families = families_of(chosen.runs["family"].to_numpy())
    if len(families) < FEWEST_FAMILIES:
        return NotApplicable(f"{len(families)} families, of {FEWEST_FAMILIES} that it needs", NAME)
    F, O = len(panel.feature_names), len(panel.outcome_names)
    found = {
        "correlation": _correlations(chosen, rate),
        "probe": _probe(chosen, codes, rate),
        "top_inputs": _top_inputs(chosen, rate),
        "knockoffs": _knockoffs(chosen, rate, seed),
    }
    table = pd.DataFrame(
        {"feature": np.repeat(panel.feature_names, O), "outcome": np.tile(panel.outcome_names, F)}
    )
    for name, (number, says) in found.items():
        table[name], table[f"{name}_says"] = number.ravel(), says.ravel()
    table["moves_with"], table["moves_with_r"] = (np.repeat(v, O) for v in _moves_with(chosen))
    apart = natural_borrowed(panel, effects)
    if isinstance(apart, NotApplicable):
        return table.assign(company="", taken_apart=apart.reason)
    shown = {(f, o) for o in apart.outcomes for f in apart.shown_by_others(o)}
    said = apart.shorts()
    company = [" and ".join(apart.company(*cell)) if cell in shown else "" for cell in said]
    return table.assign(company=company, taken_apart=list(said.values()))


def _moves_with(panel: Panel) -> tuple[NDArray, Array]:
    """The feature that each moves with most, all others held fixed, and the partial correlation; empty where none varies."""
    x, names = _centered(panel.features), np.array([*panel.feature_names, ""], dtype=object)
    F = x.shape[1]
    varies = np.flatnonzero(changes_beyond_rounding(x, np.asarray(panel.features, dtype=float)))
    if not 2 <= len(varies) <= min(MOST_JOINT, len(x) // 3):
        return np.full(F, "", dtype=object), np.full(F, np.nan)
    unit = x[:, varies] / np.sqrt((x[:, varies] ** 2).sum(axis=0))
    precision = np.linalg.pinv(unit.T @ unit, hermitian=True)
    size = np.sqrt(np.maximum(np.diag(precision), 1e-300))
    partial = -precision / np.outer(size, size)
    np.fill_diagonal(partial, 0.0)
    most = np.abs(partial).argmax(axis=1)
    who, r = np.full(F, F), np.full(F, np.nan)
    who[varies], r[varies] = varies[most], partial[np.arange(len(varies)), most]
    return names[who], r


def _clean(panel: Panel) -> Panel:
    return panel.clean() if (panel.runs["kind"] == "clean").any() else panel


def _centered(values: NDArray) -> Array:
    some = np.asarray(values, dtype=float)
    return np.asarray(some - some.mean(axis=0))


def _said(p: Array, rate: float) -> NDArray:
    """Words (F, O) for p-values, by false discovery rate within an outcome; nan: nothing was tested."""
    out = np.full(p.shape, "it does not vary", dtype=object)
    for o in range(p.shape[1]):
        some = np.isfinite(p[:, o])
        if some.any():
            adjusted = stats.false_discovery_control(np.clip(p[some, o], 0.0, 1.0))
            out[some, o] = np.where(adjusted <= rate, "drives it", "does not")
    return out


def _correlations(panel: Panel, rate: float) -> tuple[Array, NDArray]:
    found = observational(panel)
    sd_x, sd_y = (np.asarray(a, dtype=float).std(axis=0) for a in (panel.features, panel.outcomes))
    with np.errstate(divide="ignore", invalid="ignore"):
        return found.beta * sd_x[:, None] / sd_y, _said(10.0**-found.neglog10p, rate)


def _top_inputs(panel: Panel, rate: float) -> tuple[Array, NDArray]:
    """Mean outcome at the inputs with the highest values, less that at the others."""
    x = np.asarray(panel.features, dtype=float)
    most = min(max(LEAST_TOP, round(TOP * len(x))), len(x) // 2)
    top = np.zeros_like(x)
    np.put_along_axis(top, np.argsort(-x, axis=0, kind="stable")[:most], 1.0, axis=0)
    top *= np.ptp(x, axis=0) > 0
    found = observational(replace(panel, features=top))
    with np.errstate(divide="ignore", invalid="ignore"):
        return found.beta / np.asarray(panel.outcomes, dtype=float).std(axis=0), _said(
            10.0**-found.neglog10p, rate
        )


def _probe(panel: Panel, codes: NDArray[np.int_], rate: float) -> tuple[Array, NDArray]:
    x, y = _centered(panel.features), np.asarray(panel.outcomes, dtype=float)
    sd = x.std(axis=0)
    varies = changes_beyond_rounding(x, np.asarray(panel.features, dtype=float))
    number = np.full((x.shape[1], y.shape[1]), np.nan)
    p = number.copy()
    groups = min(FOLDS, int(codes.max()) + 1)
    if x.shape[1] > MOST_JOINT:
        why = f"does not apply: {x.shape[1]} features, more than {MOST_JOINT}"
        return number, np.full(number.shape, why, dtype=object)
    for o in range(y.shape[1]):
        if np.ptp(y[:, o]) == 0 or not varies.any():
            continue
        b, se, _ = jackknifed_probe(
            x[:, varies] / sd[varies], _centered(y[:, [o]])[:, 0], codes, groups, PENALTIES
        )
        number[varies, o] = b / y[:, o].std()
        with np.errstate(divide="ignore", invalid="ignore"):
            p[varies, o] = 2 * stats.t.sf(np.abs(b) / se, groups - 1)
    return number, _said(p, rate)


def _knockoffs(panel: Panel, rate: float, seed: int) -> tuple[Array, NDArray]:
    x, y = np.asarray(panel.features, dtype=float), np.asarray(panel.outcomes, dtype=float)
    F, O = x.shape[1], y.shape[1]
    if F > MOST_JOINT or len(x) < 2 * F:
        why = f"does not apply: {F} features for {len(x)} inputs, or more than {MOST_JOINT}"
        return np.full((F, O), np.nan), np.full((F, O), why, dtype=object)
    made = [knockoff_filter(x, y[:, o], rate, seed, int(1 / rate <= F)) for o in range(O)]
    says = np.stack([np.where(m.selected, "drives it", "does not") for m in made], axis=1)
    return np.stack([m.statistic for m in made], axis=1), says.astype(object)
