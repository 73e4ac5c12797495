"""Identification cards: what a claim is, what identifies it, what was checked, and what would overturn it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.basis import MOVED
from mrinterp.diagnostics._diagnose import diagnose
from mrinterp.diagnostics._sensitivity import sensitivity
from mrinterp.evidence._apply import Facts
from mrinterp.evidence._facts import GradedStudy
from mrinterp.results._diagnosis import ASSUMPTIONS, COLOURS
from mrinterp.results._estimates import Estimates

__all__ = ["ESTIMANDS", "cards"]

ESTIMANDS = {
    "rectified": "contrast",
    "site_experiment": "averaged",
}
"""Estimand of what claims rest on; of every other rung it is the local slope."""

_CLAIMS = {
    "contrast": "Causal: what the outcome does when this feature is set from its low to its high natural value wherever it is read,"
    " everything downstream free to respond (total effect of a natural contrast, per natural sd).",
    "averaged": "Causal: what the outcome does when this feature is set from low to high while all other features are at random"
    " (total effect, averaged over the other features' settings, per natural sd).",
    "local slope": "Causal under the assumptions below: what a small change of this feature does, the rest of the cut held"
    " (a local slope; it says nothing of changes of natural size, and never that there is no effect).",
}
_STRATEGIES = {
    "contrast": "Intervention on the network: knockouts of families drawn at random, blind, with a gradient on all families"
    " as a control variate. Nothing is held against a correlation.",
    "averaged": "Randomized experiment at the site: every feature low or high at random in the same runs.",
    "local slope": "Randomized perturbations of the input as instruments: Mendelian randomization, joint in all features and the"
    " bypass of the cut.",
}
_KNOCKOUT_ASSUMPTIONS = (
    "natural values: what is written is what the network shows by itself (read-back and support: {written})",
    "families: those knocked out stand for others (drawn at random; held against {judge})",
    "specificity: {specific}",
)


def cards(study: GradedStudy, facts: Facts) -> pd.DataFrame:
    """The five answers of every claim.

    Parameters
    ----------
    study : GradedStudy
        A finished one.
    facts : Facts
        Of its claims.

    Returns
    -------
    DataFrame
        ``feature, outcome, item, answer``, five rows a claim.
    """
    table = study.results
    estimand = table["rests_on"].map(ESTIMANDS).fillna("local slope")
    stress, consequence = _stressed(study, table, estimand.to_numpy(dtype=object))
    answers = {
        "claim": estimand.map(_CLAIMS),
        "strategy": estimand.map(_STRATEGIES),
        "assumptions": pd.Series(
            _assumptions(study, facts, estimand.to_numpy(dtype=object)), index=table.index
        ),
        "stress": pd.Series(stress, index=table.index),
        "consequence": pd.Series(consequence, index=table.index),
    }
    parts = [table[["feature", "outcome"]].assign(item=item, answer=said) for item, said in answers.items()]
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _assumptions(study: GradedStudy, facts: Facts, estimand: NDArray[np.object_]) -> list[str]:
    """Per claim every assumption, the checks that attacked it and what they found; untested ones are named."""
    table = study.results
    asked = _asked(diagnose(study).findings, table)  # type: ignore[arg-type]
    leakage = _leakage(study)
    slope = estimand == "local slope"
    lines = []
    for k, feature in enumerate(table["feature"].tolist()):
        own = [] if slope[k] else _of_knockouts(facts, k, leakage.get(feature, np.nan))
        names = ASSUMPTIONS if slope[k] else ("knockouts",)
        own += [f"{name}: {ASSUMPTIONS[name]} ({asked[name][k] or 'not tested'})" for name in names]
        lines.append("; ".join(own) + ".")
    return lines


def _asked(findings: pd.DataFrame, table: pd.DataFrame) -> dict[str, NDArray[np.object_]]:
    """By assumption, for every claim the checks that bear on it and what they found; "" where there is none."""
    asked = {name: np.full(len(table), "", dtype=object) for name in ASSUMPTIONS}
    keys = ["feature", "outcome"]
    bearing = findings[findings["bears"].astype(bool)]
    place = pd.MultiIndex.from_frame(table[keys]).get_indexer(pd.MultiIndex.from_frame(bearing[keys]))
    check = bearing["check"].str.split(":").str[0]
    said = check + " " + bearing["colour"].map(COLOURS)
    groups: Any = bearing.assign(said=said).groupby(["assumption", "said"], sort=False).indices
    for (name, words), rows in groups.items():
        at = np.unique(place[rows])
        held = asked[name][at]
        asked[name][at] = np.where(held == "", words, held + ", " + words)
    return asked


def _leakage(study: GradedStudy) -> dict[str, float]:
    contrast = study.knockouts.get("contrast")
    return {} if contrast is None else dict(zip(contrast.features, contrast.leakage.tolist(), strict=True))


def _of_knockouts(facts: Facts, k: int, leakage: float) -> list[str]:
    written = "in order" if facts.true["written_as_meant"][k] else str(facts.values["knockout_flag"][k])
    judge = "knockouts of other families" if facts.true["judge_known"][k] else "nothing"
    return [
        a.format(written=written, judge=judge, specific=_specific(leakage)) for a in _KNOCKOUT_ASSUMPTIONS
    ]


def _specific(leakage: float) -> str:
    """Whether writing the feature moved another one, by what was read in the edited runs themselves."""
    if leakage != leakage:
        return "whether writing this feature moves another is not known"
    if leakage > MOVED:
        return f"does not hold, writing this feature moves another by up to {leakage:.2g} units: the effect is of the write"
    return f"writing this feature moves no other (largest leakage {leakage:.1g} units)"


def _stressed(
    study: GradedStudy, table: pd.DataFrame, estimand: NDArray[np.object_]
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """How strongly one assumption must fail to bring the interval to the region, and what changes then."""
    stress = np.full(
        len(table), "Does not apply, because there is no estimate with an interval.", dtype=object
    )
    after = np.full(len(table), "Nothing: there is no claim that could fall.", dtype=object)
    rests_on, verdict = (table[c].to_numpy(dtype=object) for c in ("rests_on", "verdict"))
    rope = np.asarray(study.agreement.meta["rope"], dtype=float)
    for rung in dict.fromkeys(rests_on):
        rows = np.flatnonzero(rests_on == rung)
        made = study.estimates.get(rung)
        robustness = _robustness(made, rope, table.iloc[rows])
        numbers = table.iloc[rows][["effect", "ci_lower", "ci_upper"]].to_numpy(dtype=float)
        at = rope[
            pd.Index(study.estimates["within"].outcomes).get_indexer(pd.Index(table["outcome"].iloc[rows]))
        ]
        for row, (effect, lower, upper), half, value in zip(rows, numbers, at, robustness, strict=True):
            near = lower if effect > 0 else -upper
            if not np.isfinite(near):
                continue
            room = half - max(abs(lower), abs(upper))
            if verdict[row] == "negligible" and room >= 0:
                stress[row] = _absence(room, half, estimand[row])
                after[row] = (
                    "It is no longer shown absent: the verdict becomes indeterminate, and the grade E."
                )
                continue
            stress[row] = _strength(near - half, effect, estimand[row], value)
            after[row] = _consequence(str(verdict[row]), near - half)
    return stress, after


def _robustness(made: Estimates | None, rope: NDArray[np.float64], rows: pd.DataFrame) -> NDArray[np.float64]:
    """Partial R2 of a confounder that would do it; nan where the claim rests on no regression."""
    if made is None:
        return np.full(len(rows), np.nan)
    place = (
        pd.Index(made.exposures).get_indexer(pd.Index(rows["feature"])),
        pd.Index(made.outcomes).get_indexer(pd.Index(rows["outcome"])),
    )
    found: NDArray[np.float64] = sensitivity(made, rope.tolist()).robustness[place]
    return found


def _absence(room: float, half: float, estimand: str) -> str:
    """What it takes to bring an interval out of the region in which it lies."""
    cause = (
        "something unmeasured that moves both"
        if estimand == "local slope"
        else "an error common to all knockouts"
    )
    return (
        f"That nothing hides the effect: {cause} (repair downstream, values that never occur together) would have to take away"
        f" {room:.2g}, {room / half:.0%} of the half width of the region, for the interval to leave it."
    )


def _strength(distance: float, effect: float, estimand: str, robustness: float) -> str:
    if distance <= 0:
        return (
            "Its interval touches the region of practical equivalence as it is: no failure is needed. It would have to move by"
            f" {-distance:.2g} to lie outside."
        )
    share = f"{distance:.2g}, {distance / abs(effect):.0%} of the estimate"
    if estimand == "local slope":
        part = f"{robustness:.1%}" if np.isfinite(robustness) else "an unknown share"
        return (
            "Nothing unmeasured moves feature and outcome together: something that is not in the cut and explains"
            f" {part} of what is left of both would bring the interval to the region ({share})."
        )
    return (
        "Natural values: an error common to all knockouts (values that the network never shows together, or repair"
        f" downstream that hides a path) would have to be as large as {share}, to bring the interval to the region."
    )


def _consequence(verdict: str, distance: float) -> str:
    if distance <= 0:
        return "Nothing: it is not called causal."
    if verdict != "causal":
        return "It is not called causal as it is; its grade stays, the estimate becomes less certain."
    return "The verdict becomes indeterminate, E1 falls to 1 point or none, and the grade to D or E."
