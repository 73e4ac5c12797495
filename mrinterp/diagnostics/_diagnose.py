"""Assumption cards from any door: a finished study, runs as arrays, a table of summary statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.core.plan import MIN_FAMILIES
from mrinterp.core.sumstats import SumStats
from mrinterp.diagnostics._assumptions import assumption_checks
from mrinterp.diagnostics._borrowed import borrowed_effects
from mrinterp.diagnostics._borrowed_runs import MOST_JOINT, screened
from mrinterp.diagnostics._check_power import error_covariance, own_q
from mrinterp.diagnostics._manipulation import identification_checks, placebo_check
from mrinterp.diagnostics._sensitivity import sensitivity
from mrinterp.diagnostics._specification import specification_checks
from mrinterp.diagnostics._steiger import steiger_test
from mrinterp.diagnostics._study_controls import mr_control_checks, random_sign_controls
from mrinterp.mr._engine.driver import run_mr
from mrinterp.mr._runs.run_level import run_data
from mrinterp.mr._runs.within import within
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._diagnosis import Diagnosis
from mrinterp.results._negative_controls import RANDOM_SIGNS

__all__ = ["diagnose"]

Array = NDArray[np.float64]

ASSUMPTION = {
    "manipulation": "relevance",
    "first stage": "relevance",
    "conditional strength": "relevance",
    "moved by doses of their own": "relevance",
    "placebo instruments": "exclusion",
    "doses beyond the cut": "exclusion",
    "over-identification": "exclusion",
    "heterogeneity of instruments": "exclusion",
    "Egger intercept": "exclusion",
    "heterogeneity beyond the design's errors": "exclusion",
    "least squares against two stages": "exchangeability",
    "sign over bypass ranks": "exclusion",
    "curvature": "linearity",
    "slope changes with size": "linearity",
    "balance of doses": "exchangeability",
    "within against between prompts": "exchangeability",
    "sensitivity": "exchangeability",
    "kinds of perturbation agree": "exclusion",
    "carried by one family": "exclusion",
    "share of the bypass": "exclusion",
    "share of invalid instruments": "exclusion",
    "up and down": "linearity",
    "overlap": "linearity",
    "subgroups of prompts": "homogeneity",
    "subgroups by attributes": "homogeneity",
    "sign in new families": "homogeneity",
    "doses move it one way": "homogeneity",
    "shrinkage on other families": "selection",
    "screen of features": "selection",
    "path to the outcome": "direction",
    "Steiger": "direction",
    "outcomes out of reach": "exclusion",
    "outcomes with random signs": "data",
    "differences between families": "knockouts",
    "placebo edits": "knockouts",
    "writes read back": "knockouts",
    "latents that share instruments": "relevance",
    "past the dictionary": "exclusion",
    "random directions": "knockouts",
    "permuted dictionary": "knockouts",
    "network drawn anew": "data",
    "rungs that agree, local slopes": "knockouts",
    "rungs that agree, contrasts": "knockouts",
    "claims on other families": "knockouts",
    "MR against matched shifts": "knockouts",
}
"""Which assumption a check attacks, by the name before its colon; all others are about the data."""
COLOUR = {"passed": "green", "warning": "amber", "failed": "red", "not applicable": "grey"}
WEAK, FIRM = 3.0, 10.0
"""F statistics below which an exposure is not moved, and weakly moved."""
LEVEL, FEWEST_INSTRUMENTS = 0.05, 3
MOST_TOGETHER, MOST_APART = 1_000, 4_000
"""Features of runs that are fitted together, where the runs allow it, and exposures that are taken apart: more take minutes."""
SCREEN, FEWEST_FAMILIES = "screen of features", 10
"""A screen's name, and the families that it must leave."""
ROPE = 0.02
"""Half width of the region of practical equivalence of runs without a plan, in sd of the clean outcome (a plan's default)."""
FRAGILE = 0.01
"""Partial R2 of something unmeasured below which a claim is easily undone."""
FEW_INVALID = 0.1
"""Share of the instruments on which a claim may hang."""
STRENGTHS = ("first stage", "conditional strength")
STEPS = {
    "first stage": "More instruments, or an estimator for weak ones (anderson_rubin_set)",
    "conditional strength": "More instruments, or estimators for weak ones (mrbee, srivw, anderson_rubin_set)",
    "heterogeneity of instruments": "Pleiotropy, or errors that are too small: use robust estimators (grapple,"
    " weighted_median) and name the outliers (presso)",
    "heterogeneity beyond the design's errors": "Instruments act on the outcome on other ways: estimate features jointly, with"
    " the bypass (within), and ask which check has power (check_power)",
    "Egger intercept": "Read egger and robust estimators beside it: instruments act on the outcome on another way",
    "share of invalid instruments": "A few instruments carry it: look at them one by one (leave_one_out)",
    "Steiger": "Ask whether the outcome comes first: instruments explain it better than the exposure",
}
"""What to do about a failed check of summary statistics."""
POWER = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
"""Errors that a parameter must be away from 0 to be found with chance .8 at level .05."""


COMPANY = "whose effect it shows"
COMPANY_STEP = "By itself it shows what another feature does: estimate both together"


class FinishedStudy(Protocol):
    """What a study must have for its cards."""

    @property
    def checks(self) -> list[dict[str, Any]]: ...
    @property
    def claim_checks(self) -> list[Check | NotApplicable]: ...
    @property
    def results(self) -> pd.DataFrame: ...


def diagnose(
    source: FinishedStudy | Panel | SumStats | MRData, features: Sequence[str] | None = None
) -> Diagnosis:
    """Which assumptions of every claim were checked, which failed, and what to do.

    Parameters
    ----------
    source : Study, Panel, SumStats or MRData
        A finished study; runs as arrays, whose claims rest on the within regression; a scan's effects or other summary
        statistics, whose claims rest on one exposure at a time.
    features : list of str, optional
        Names; default all.

    Returns
    -------
    Diagnosis
        One card per feature and outcome, of runs with more features than can be fitted together for the up to 40 that a screen on
        half of the families leaves (the others' say so): green (checked, nothing found), grey (nothing tested), amber, red, with reasons. Checks
        of rungs that a claim does not rest on are listed and do not colour it.

    Raises
    ------
    InputError
        For another source, or unknown features.

    Notes
    -----
    Green says that what was tried found nothing, not that the claim is true. Of summary statistics the heterogeneity of the
    instruments and the Egger intercept each name what they could have found with chance .8: a check without power is grey.

    Examples
    --------
    >>> import mrinterp
    >>> cards = mrinterp.diagnostics.diagnose(mrinterp.worlds.linear_world(0).panel).to_frame()
    >>> cards.loc[cards["feature"] == "silent", "colour"].item()
    'green'
    """
    source = source.to_mrdata(with_sizes=True) if isinstance(source, SumStats) else source
    if isinstance(source, Panel):
        apart: BorrowedEffects | NotApplicable | None = _taken_apart(source)
        findings, what = _of_runs(source), "panel"
    elif isinstance(source, MRData):
        findings, what = _of_summaries(source), "summary statistics"
        apart = _taken_apart(source) if len(source.instruments) >= FEWEST_INSTRUMENTS else None
    else:
        if not hasattr(type(source), "claim_checks"):
            raise InputError("source", shown(source), "Give a finished study, a Panel or MRData")
        claims = [tuple(row) for row in source.results[["feature", "outcome", "rests_on", "bias"]].to_numpy()]
        made = [*source.checks, *(c.to_dict() for c in source.claim_checks)]
        findings, what, apart = _about_claims(claims, made), "study", getattr(source, "borrowed", None)
        findings = pd.concat([findings, _robust(source.results)], ignore_index=True)
    if apart is not None:
        findings = pd.concat([findings, _company(findings, apart, what)], ignore_index=True)
    found = Diagnosis(findings=findings, meta={"source": what})
    return found if features is None else found.only(features)


Claim = tuple[str, str, str, str]
"""Feature, outcome, the rung that the claim rests on, and what is known of its bias."""

DOUBTFUL = ("amber", "red")
COLUMNS = ("feature", "outcome", "assumption", "check", "colour", "reason", "next_step", "bears")


def _about_claims(claims: Sequence[Claim], checks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per claim and check that is about its outcome, check by check."""
    feature, outcome, rests_on, bias = (np.array([c[k] for c in claims], dtype=object) for k in range(4))
    rung = np.where((rests_on == "within_calibrated") & (bias != "measured"), "within", rests_on)
    parts: list[pd.DataFrame] = []
    for check in checks:
        head, _, tail = check["name"].partition(": ")
        named, rungs = list(check.get("features") or ()), list(check.get("rungs") or ())
        about = check["outcome"] if "outcome" in check else tail if (outcome == tail).any() else ""
        at = np.flatnonzero(outcome == about) if about else np.arange(len(claims))
        colour = np.full(len(at), COLOUR[check["verdict"]], dtype=object)
        if named:
            colour[~np.isin(feature[at].astype(str), named)] = "green"
        part = {
            "feature": feature[at],
            "outcome": outcome[at],
            "assumption": ASSUMPTION.get(head, "data"),
            "check": check["name"],
            "colour": colour,
            "reason": str(check.get("note") or ""),
            "next_step": np.where(
                np.isin(colour.astype(str), DOUBTFUL), str(check.get("next_step") or ""), ""
            ),
            "bears": np.isin(rung[at].astype(str), rungs) if rungs else np.ones(len(at), dtype=bool),
        }
        if len(at):
            parts.append(pd.DataFrame(part, columns=list(COLUMNS)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _of_runs(panel: Panel) -> pd.DataFrame:
    """Every check of runs, and what it takes to bring the within regression down, a row per claim."""
    kinds = [k for k in dict.fromkeys(panel.runs["kind"]) if k != "clean"]
    claims = [(f, o, "within", "unmeasured") for f in panel.feature_names for o in panel.outcome_names]
    # So many are not searched for copies, nor fitted together: it takes minutes, and the runs cannot tell them apart.
    many = len(panel.feature_names) > min(MOST_TOGETHER, max(MOST_JOINT, len(panel.runs)))
    if not many:
        data = run_data(panel)
        many = data.X.shape[1] + data.R.shape[1] + data.change.absorbed >= len(data.Y)
    if many:
        return _of_many(panel, claims)
    checks = [
        *identification_checks(panel, kinds[0], MIN_FAMILIES),
        *specification_checks(panel),
        *assumption_checks(panel),
        placebo_check(panel),
        _signs(panel),
    ]
    found = within(panel)
    clean = (panel.runs["kind"] == "clean").to_numpy()
    values = np.asarray(panel.outcomes, dtype=float)[clean if clean.sum() > 1 else slice(None)]
    robust = sensitivity(found, (ROPE * values.std(axis=0)).tolist()).to_frame()
    table = robust.rename(columns={"exposure": "feature"}).assign(rests_on="within")
    return pd.concat(
        [_about_claims(claims, [c.to_dict() for c in checks]), _robust(table)], ignore_index=True
    )


def _of_many(panel: Panel, claims: Sequence[Claim]) -> pd.DataFrame:
    """Every check of the features that a screen on half of the families leaves, on the other half; of the others, that they were
    screened out."""
    chosen = screened(panel)
    if chosen is None or chosen[0].families < FEWEST_FAMILIES:
        why = (
            "no feature explains the outcome beyond chance on half of the families"
            if chosen is None
            else f"{chosen[0].families} families are left after a screen on the others; {FEWEST_FAMILIES} are needed"
        )
        none = NotApplicable(f"{why}: effects of all together are not identified", "within regression")
        return _about_claims(claims, [none.to_dict(), placebo_check(panel).to_dict()])
    few, families = chosen
    left = [c for c in claims if c[0] in set(few.feature_names)]
    said = f"one of {len(few.feature_names)} of {len(panel.feature_names):,} features that explain the outcomes on {families} families"
    passed = {
        "name": SCREEN,
        "verdict": "passed",
        "note": f"{said}; everything below is of {few.families} others.",
    }
    out = NotApplicable(
        f"on {families} families {len(few.feature_names)} other features explain the outcomes, and this one adds no more than chance;"
        " its effect by itself: diagnose mrinterp.scan.marginal_scan's effects",
        SCREEN,
    )
    rest = [c for c in claims if c[0] not in set(few.feature_names)]
    parts = [_about_claims(left, [passed]), _of_runs(few), _about_claims(rest, [out.to_dict()])]
    return pd.concat(parts, ignore_index=True)


def _signs(panel: Panel) -> Check | NotApplicable:
    found = random_sign_controls(panel)
    return mr_control_checks({RANDOM_SIGNS: found})[0]


def _robust(table: pd.DataFrame) -> pd.DataFrame:
    """One number a claim, of the estimate by instruments: what something unmeasured must explain to undo it."""
    rows = []
    for r in table.to_dict("records") if "robustness" in table else ():
        value = float(r["robustness"])
        small = value < FRAGILE
        said = (
            f"an unmeasured feature that explains {value:.1%} of what is left of it and of the outcome brings the interval by"
            " instruments to the region of practical equivalence."
            if value > 0
            else "the interval by instruments touches the region of practical equivalence as it is: there is nothing to undo."
            if value == 0
            else "there is no estimate by instruments."
        )
        shade = "grey" if not value > 0 else "amber" if small else "green"
        step = (
            "Rest the claim on knockouts: little that is not listed would undo it" if shade == "amber" else ""
        )
        bears = r["rests_on"] in ("within", "within_calibrated")
        name = f"sensitivity: {r['outcome']}"
        rows.append((r["feature"], r["outcome"], "exchangeability", name, shade, said, step, bears))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _taken_apart(source: Panel | MRData) -> BorrowedEffects | NotApplicable:
    count = len(source.feature_names if isinstance(source, Panel) else source.exposures)
    if isinstance(source, MRData) and count > MOST_APART:
        why = f"{count:,} features; up to {MOST_APART:,} are taken apart: give borrowed_effects those that matter"
        return NotApplicable(why, COMPANY)
    try:
        return borrowed_effects(source)
    except (
        InputError
    ) as error:  # such as correlated instruments: one row of a card, no reason to refuse the others
        return NotApplicable(f"{error}".rstrip("."), COMPANY)


def _company(findings: pd.DataFrame, apart: BorrowedEffects | NotApplicable, what: str) -> pd.DataFrame:
    """Whose effect each feature shows by itself: a row per claim. It bears on claims that rest on one exposure at a time."""
    claims = [tuple(c) for c in findings[["feature", "outcome"]].drop_duplicates().to_numpy()]
    if isinstance(apart, NotApplicable):
        said = dict.fromkeys(claims, ("grey", f"{apart.reason}."))
    else:
        shades = np.where(apart.main_source >= 0, "amber", "green")
        shades = np.where(np.isfinite(apart.total), shades, "grey")
        notes = zip(apart.shorts().items(), shades.ravel().tolist(), strict=True)
        said = {cell: (shade, f"{note}.") for (cell, note), shade in notes}
    bears = what == "summary statistics"
    rows = [
        (
            f,
            o,
            "exchangeability",
            f"{COMPANY}: {o}",
            *said[f, o],
            COMPANY_STEP * (said[f, o][0] == "amber"),
            bears,
        )
        for f, o in claims
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_summaries(data: MRData) -> pd.DataFrame:
    """Strength, heterogeneity, Egger's intercept and direction of every exposure on every outcome."""
    F, O, J = data.shape
    cells = list(product(range(F), range(O)))
    if J < FEWEST_INSTRUMENTS:
        why = f"{J} instruments; they are held against each other from {FEWEST_INSTRUMENTS}"
        return _rows(data, cells, "heterogeneity of instruments", ["grey"] * len(cells), [why] * len(cells))
    exact, egger = (run_mr(data, [m])[0].details for m in ("max_likelihood", "egger"))
    parts = [_strength(data, cells, "first stage", egger["f"][:, 0])]
    joint = run_mr(data, ["mv_ivw"])[0].details if 1 < F < J - 1 else {}
    if "conditional_f" in joint:
        parts.append(_strength(data, cells, "conditional strength", joint["conditional_f"][:, 0]))
    parts += [_heterogeneity(data, cells, exact), _intercept(data, cells, egger), _direction(data, cells)]
    parts += [_invalid(data, cells)]
    parts += [] if error_covariance(data) is None else [_own_heterogeneity(data, cells)]
    return pd.concat(parts, ignore_index=True)


def _rows(
    data: MRData, cells: Sequence[tuple[int, int]], name: str, colours: Sequence[str], reasons: Sequence[str]
) -> pd.DataFrame:
    """Findings of one check of summary statistics, a row per exposure and outcome."""
    doubtful = {"amber", "red"}
    return pd.DataFrame(
        {
            "feature": [data.exposures[f] for f, _ in cells],
            "outcome": [data.outcomes[o] for _, o in cells],
            "assumption": ASSUMPTION[name],
            "check": [f"{name}: {data.outcomes[o]}" if name not in STRENGTHS else name for _, o in cells],
            "colour": list(colours),
            "reason": list(reasons),
            "next_step": [STEPS[name] if c in doubtful else "" for c in colours],
            "bears": True,
        },
        columns=list(COLUMNS),
    )


def _strength(data: MRData, cells: Sequence[tuple[int, int]], name: str, F: Array) -> pd.DataFrame:
    shades = np.where(F >= FIRM, "green", np.where(F >= WEAK, "amber", "red"))
    shades = np.where(np.isfinite(F), shades, "grey")
    return _rows(data, cells, name, [str(shades[f]) for f, _ in cells], [f"F {F[f]:.1f}." for f, _ in cells])


def _heterogeneity(
    data: MRData, cells: Sequence[tuple[int, int]], exact: Mapping[str, Array]
) -> pd.DataFrame:
    q, p, df = exact["q"], exact["q_p"], len(data.instruments) - 1
    # Variance of the instruments, over that of their errors, at which Q exceeds its .95 point with chance .8.
    size = np.sqrt(stats.chi2.isf(0.05, df) / stats.chi2.isf(0.8, df))
    power = f"errors {size:.1f} times as large as given would have been found with chance .8"
    return _rows(
        data,
        cells,
        "heterogeneity of instruments",
        [_colour(p[c]) for c in cells],
        [f"Q {q[c]:.1f} on {df}, p = {p[c]:.2g}; {power}." for c in cells],
    )


def _own_heterogeneity(data: MRData, cells: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Q about inverse-variance weighting with the covariance that the design's errors have: runs that give both effects share
    their noise, and errors taken as unrelated are then too large for Q ever to fire."""
    q, df = own_q(data)
    p = stats.chi2.sf(q, df)
    said = [f"Q {q[c]:.1f} on {df[c]:.0f} with the errors' own covariance, p = {p[c]:.2g}." for c in cells]
    name = "heterogeneity beyond the design's errors"
    return _rows(data, cells, name, [_colour(p[c]) for c in cells], said)


def _intercept(data: MRData, cells: Sequence[tuple[int, int]], egger: Mapping[str, Array]) -> pd.DataFrame:
    a, se, p = (egger[n] for n in ("intercept", "intercept_se", "intercept_p"))
    return _rows(
        data,
        cells,
        "Egger intercept",
        [_colour(p[c]) for c in cells],
        [
            f"intercept {a[c]:+.3g}, p = {p[c]:.2g}; {POWER * se[c]:.2g} would have been found with chance .8."
            for c in cells
        ],
    )


def _invalid(data: MRData, cells: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """The smallest share of instruments whose removal brings inverse-variance weighting to 0: its breakdown point."""
    share = sensitivity(run_mr(data, ["ivw"])[0], data=data).breakdown
    shades = np.where(share > FEW_INVALID, "green", np.where(share > 0, "amber", "grey"))
    said = {
        "grey": "the interval holds 0 as it is, or there is none: there is nothing to undo.",
        "green": "{:.0%} of the instruments must be invalid, in one direction, to bring the interval to 0.",
    }
    said["amber"] = said["green"]
    reasons = [said[str(shades[c])].format(share[c]) for c in cells]
    return _rows(data, cells, "share of invalid instruments", [str(shades[c]) for c in cells], reasons)


def _direction(data: MRData, cells: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Steiger's test; one answer for all cells where sample sizes are not known. Of runs of a network it colors no claim: every
    dose moves many features at once, so that it compares how well each is read, not which comes first."""
    if data.n_x is None or data.n_y is None:
        why = steiger_test(data, data.exposures[0], data.outcomes[0])
        reason = why.reason if isinstance(why, NotApplicable) else why.note
        return _rows(data, cells, "Steiger", ["grey"] * len(cells), [reason] * len(cells))
    found = [steiger_test(data, data.exposures[f], data.outcomes[o]) for f, o in cells]
    colours = ["grey" if isinstance(c, NotApplicable) else COLOUR[c.verdict] for c in found]
    reasons = [c.reason if isinstance(c, NotApplicable) else c.note for c in found]
    return _rows(data, cells, "Steiger", colours, reasons).assign(bears=data.design != "paired")


def _colour(p: float) -> str:
    return "grey" if p != p else "red" if p < LEVEL else "green"
