"""Grades of a study's claims: rules applied to facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.effects._ceiling import CEILINGS
from mrinterp.evidence._cards import ESTIMANDS, cards
from mrinterp.evidence._fact_names import FACTS
from mrinterp.evidence._facts import Facts, GradedStudy, facts_of
from mrinterp.evidence._rules import DEFAULT, SCALE, Condition, Domain, Level, Rules, read_rules
from mrinterp.results._claims import GRADES, Claims

__all__ = ["grade"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
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
    rules: 'MIG-0'. Did you mean 'MIG-3' or 'MIG-2' or 'MIG-1'?
    """
    table = read_rules(rules)
    facts = facts_of(study)
    results = study.results
    points, domains = _scored(table, facts, results)
    ceiling, why = _ceilings(table, facts, results)
    decided = _decided(table, facts, points)
    letters = _under(decided, ceiling)
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
            "lacking": _lacking(table, facts, points, letters, ceiling, why),
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


def _all(
    when: tuple[Condition, ...], true: Mapping[str, Bools], points: Mapping[str, Array], count: int
) -> Bools:
    """Where all conditions hold."""
    found = np.ones(count, dtype=bool)
    for condition in when:
        found &= condition.holds(true, points)
    return found


def _scored(rules: Rules, facts: Facts, results: pd.DataFrame) -> tuple[dict[str, Array], pd.DataFrame]:
    """Points of every domain (nan: does not apply), their sum and their least; and the reasons, a row per claim and domain."""
    points: dict[str, Array] = {}
    parts = []
    for domain in rules.domains:
        points[domain.name], reasons = _domain(domain, facts, len(results))
        part = results[["feature", "outcome"]].assign(domain=domain.name, title=domain.title)
        parts.append(part.assign(points=points[domain.name], reason=reasons))
    every = np.array(list(points.values()))
    points["points"] = np.nansum(every, axis=0)
    points["least"] = np.nanmin(np.concatenate([every, np.zeros((1, len(results)))]), axis=0)
    domains = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    return points, domains


def _domain(domain: Domain, facts: Facts, count: int) -> tuple[Array, Words]:
    """Points and reasons of one domain."""
    points, reasons = np.zeros(count), np.full(count, "", dtype=object)
    open_ = np.ones(count, dtype=bool)
    for level, value, lead in [
        *((one, np.nan, "does not apply, because ") for one in domain.not_applicable),
        *((one, float(one.points), "") for one in domain.levels),
        (Level(0, (), domain.otherwise), 0.0, ""),
    ]:
        here = open_ & _all(level.when, facts.true, {}, count)
        points[here] = value
        reasons[here] = _said(lead + level.words, facts, here)
        open_ &= ~here
    for extra in domain.extras:
        here = np.isfinite(points) & _all(extra.when, facts.true, {}, count)
        points[here] += extra.points
        reasons[here] = [
            f"{a}; {b}" for a, b in zip(reasons[here], _said(extra.words, facts, here), strict=True)
        ]
    return points, reasons


def _said(words: str, facts: Facts, here: Bools) -> list[str]:
    """A sentence with every claim's own numbers."""
    if "{" not in words:
        return [words] * int(here.sum())
    chosen = {name: values[here] for name, values in facts.values.items() if "{" + name in words}
    return [words.format(**dict(zip(chosen, row, strict=True))) for row in zip(*chosen.values(), strict=True)]


def _ceilings(rules: Rules, facts: Facts, results: pd.DataFrame) -> tuple[Words, Words]:
    """The best grade that a claim can reach, and what keeps it from a better one."""
    order = {g: k for k, g in enumerate((*SCALE, "N"))}
    found, why = np.full(len(results), "A", dtype=object), np.full(len(results), "", dtype=object)

    def lower(here: Bools, grade: Words, words: Words | list[str]) -> None:
        for k, letter, said in zip(np.flatnonzero(here), grade, words, strict=True):
            if order[letter] > order[found[k]]:
                found[k], why[k] = letter, said
            elif letter == found[k] and letter != "A":
                why[k] = f"{why[k]}; {said}"

    if rules.stored_ceilings:
        doubted = results["doubted"].to_numpy(dtype=object)
        stored = results["ceiling_why"].to_numpy(dtype=object)
        stored = np.where(
            (doubted != "") & (stored == "specification doubted"), stored + ": " + doubted, stored
        )
        letters = results["ceiling"].to_numpy(dtype=object)
        lower(letters != CEILINGS[""], letters[letters != CEILINGS[""]], stored[letters != CEILINGS[""]])
    for gate in rules.gates:
        here = _all(gate.when, facts.true, {}, len(results))
        lower(here, np.full(int(here.sum()), gate.grade, dtype=object), _said(gate.words, facts, here))
    return found, why


def _decided(rules: Rules, facts: Facts, points: Mapping[str, Array]) -> Words:
    """The first decision whose conditions hold."""
    count = len(points["points"])
    found, open_ = np.full(count, "", dtype=object), np.ones(count, dtype=bool)
    for decision in rules.decisions:
        here = open_ & _all(decision.when, facts.true, points, count)
        found[here], open_ = decision.grade, open_ & ~here
    return found


def _under(decided: Words, ceiling: Words) -> Words:
    """Decisions below their ceilings; what is not on the scale stays, unless it cannot be evaluated."""
    out = decided.copy()
    for letter in SCALE:
        here = (ceiling == letter) & np.isin(decided, list(SCALE[: SCALE.index(letter)]))
        out[here] = letter
    out[ceiling == "N"] = "N"
    return out


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


def _lacking(
    rules: Rules, facts: Facts, points: Mapping[str, Array], letters: Words, ceiling: Words, why: Words
) -> list[str]:
    """What is missing for the next better grade: conditions that do not hold, and the ceiling."""
    asks = {d.name: (d.title, d.more) for d in rules.domains}
    unmet = {
        d.grade: [(_wanted(c, asks), ~c.holds(facts.true, points), c) for c in d.when]
        for d in rules.decisions
        if d.grade in SCALE
    }
    lines = []
    for k, letter in enumerate(letters):
        if letter == "N":
            lines.append(f"it cannot be evaluated: {why[k]}")
        elif letter not in SCALE or letter == SCALE[0]:
            lines.append("")
        else:
            better = SCALE[SCALE.index(letter) - 1]
            said = [_has(words, c, points, k) for words, missing, c in unmet[better] if missing[k]]
            bounded = SCALE.index(ceiling[k]) > SCALE.index(better) if ceiling[k] in SCALE else False
            needs = [f"{better} needs {'; '.join(said)}"] if said else []
            lines.append(". ".join([*needs, *([f"{better} is out of reach: {why[k]}"] if bounded else [])]))
    return lines


def _wanted(condition: Condition, asks: Mapping[str, tuple[str, str]]) -> str:
    """A condition in words."""
    if condition.compared is None:
        return f"it is needed that {FACTS[condition.fact]}"
    name, _, number = condition.compared
    if name == "points":
        return f"at least {number} points in all"
    if name == "least":
        return "nothing against it, at least 0 points in every domain"
    title, more = asks[name]
    return f"at least {number} for {name} ({title}{': ' + more if more else ''})"


def _has(words: str, condition: Condition, points: Mapping[str, Array], k: int) -> str:
    if condition.compared is None or condition.compared[0] == "least":
        return words
    value = points[condition.compared[0]][k]
    return f"{words}, it has {'none, since it does not apply' if value != value else f'{value:.0f}'}"


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
    said = f"{head} ({row['points']:.0f} points): {effect}, {row['verdict']}"
    said += f", {row['size']}" if row["size"] else ""
    return said + (", exploratory." if row["exploratory"] else ".")
