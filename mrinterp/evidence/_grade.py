"""Grades of a study's claims: rules applied to facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.evidence._apply import Facts, bounded, ceilings_of, decided, lacking, scored
from mrinterp.evidence._cards import ESTIMANDS, cards
from mrinterp.evidence._facts import GradedStudy, facts_of
from mrinterp.evidence._rules import DEFAULT, read_rules
from mrinterp.results._claims import GRADES, Claims

__all__ = ["grade"]

Words = NDArray[np.object_]

_NUMBERS = ("effect", "ci_lower", "ci_upper")


def grade(study: GradedStudy, rules: str = DEFAULT) -> Claims:
    """Grade every claim of a finished study: rules applied to what the study has computed.

    Parameters
    ----------
    study : Study
        A finished one; `Study.claims` has the grades that it stored.
    rules : str
        One of `rule_versions`.

    Returns
    -------
    Claims
        In the order of the study's results.

    Raises
    ------
    InputError
        For rules of another name.

    Notes
    -----
    Nothing is estimated here: points come from stored estimates, knockouts and checks. A domain of which a study computes
    nothing gives no points and says so. Not valid as a probability: how often claims of a grade are true was measured on
    worlds with known causes (docs/grades.md).

    Examples
    --------
    >>> from mrinterp import InputError
    >>> from mrinterp.evidence import grade
    >>> try:
    ...     grade(None, rules="MIG-0")
    ... except InputError as error:
    ...     print(error)
    rules: 'MIG-0'. Did you mean 'MIG-4' or 'MIG-3' or 'MIG-2'?
    """
    table = read_rules(rules)
    facts = facts_of(study)
    results = study.results
    points, domains = scored(table, facts, results)
    ceiling, why = ceilings_of(table, facts, results)
    letters = bounded(decided(table, facts, points), ceiling)
    size = _sizes(facts)
    contradiction = _contradictions(domains, results)
    frame = pd.DataFrame(
        {
            "feature": results["feature"],
            "outcome": results["outcome"],
            "label": results["label"],
            "grade": letters,
            "points": points["points"],
            "size": size,
            "contradiction": contradiction,
            "lacking": lacking(table, facts, points, letters, ceiling, why),
            "ceiling": ceiling,
            "ceiling_why": why,
            "exploratory": ~facts.true["hashed_first"],
            "sentence": "",
            "effect": results["effect"],
            "ci_lower": results["ci_lower"],
            "ci_upper": results["ci_upper"],
            "rope": facts.values["rope"],
            "unit": _units(study, results),
            "verdict": results["verdict"],
            "rests_on": results["rests_on"],
            "estimand": results["rests_on"].map(ESTIMANDS).fillna("local slope"),
            **{d.name: points[d.name] for d in table.domains},
        }
    )
    told = frame[["feature", "outcome", "grade", "points", "size", "exploratory", *_NUMBERS, "verdict"]]
    frame["sentence"] = [_sentence({str(k): v for k, v in row.items()}) for row in told.to_dict("records")]
    meta = {"rules": table.version, "rules_digest": table.digest, "about": table.about, "tested": len(frame)}
    meta["other_runs"] = len(getattr(study, "other_runs", {}))
    return Claims(claims=frame, domains=domains, cards=cards(study, facts), meta=meta)


def _sizes(facts: Facts) -> Words:
    """How knockouts on other families bear on a claim's size, in words."""
    t, ratio = facts.true, facts.values["ratio"]
    words = np.where(t["judge_known"], "size not resolved", "no knockout").astype(object)
    words[t["size_confirmed"]] = "confirmed"
    disagrees = t["size_disagrees"]
    words[disagrees] = [f"same direction, size disagrees (x{r:.2g})" for r in ratio[disagrees]]
    words[t["judge_known"] & (t["judge_opposite"] | t["judge_inside"])] = "contradicted"
    words[~t["outside_region"]] = ""
    return words


def _contradictions(domains: pd.DataFrame, results: pd.DataFrame) -> list[str]:
    """Reasons of domains that speak against a claim; also that other families call causal what it does not."""
    against = domains[domains["points"] < 0]
    reasons = (against["title"] + ": " + against["reason"]).tolist()
    said: dict[tuple[str, str], str] = {}
    for pair, words in zip(zip(against["feature"], against["outcome"], strict=True), reasons, strict=True):
        said[pair] = f"{said[pair]}; {words}" if pair in said else words
    columns = ["feature", "outcome", "verdict", "knockout_verdict"]
    found = []
    for feature, outcome, verdict, judged in results[columns].itertuples(index=False, name=None):
        words = [said[feature, outcome]] if (feature, outcome) in said else []
        if verdict == "negligible" and judged == "causal":
            words.append("knockouts of other families call it causal")
        found.append("; ".join(words))
    return found


def _units(study: GradedStudy, results: pd.DataFrame) -> list[str]:
    units = {n: e.unit for n, e in study.estimates.items()}
    default = units.get("rectified", "")
    return [units.get(rung, default) for rung in results["rests_on"]]


def _sentence(row: Mapping[str, Any]) -> str:
    """One claim in a sentence."""
    head = f"{row['feature']} on {row['outcome']}: {row['grade']}, {GRADES[row['grade']]}"
    if row["effect"] != row["effect"]:
        return f"{head}; there is no estimate."
    effect = f"{row['effect']:+.3g} ({row['ci_lower']:+.3g} to {row['ci_upper']:+.3g})"
    points = f"{row['points']:.0f} point{'' if row['points'] == 1 else 's'}"
    said = f"{head} ({points}): {effect}, {row['verdict']}"
    said += f", {row['size']}" if row["size"] else ""
    return said + (", exploratory." if row["exploratory"] else ".")
