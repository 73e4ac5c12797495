"""Rules applied to facts: points of every domain with reasons, ceilings, grades, and what the next grade needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.effects._ceiling import CEILINGS
from mrinterp.evidence._fact_names import FACTS
from mrinterp.evidence._rules import SCALE, Condition, Domain, Level, Rules

__all__ = ["Facts", "bounded", "ceiling_letters", "ceilings_of", "decided", "lacking", "points_of", "scored"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Words = NDArray[np.object_]


@dataclass(frozen=True)
class Facts:
    """What is true of C claims, and the numbers and words that reasons quote.

    Parameters
    ----------
    true : dict of str to ndarray (C,)
        By the names of `FACTS`.
    values : dict of str to ndarray (C,)
        Numbers, or words.
    """

    true: dict[str, Bools]
    values: dict[str, NDArray[Any]]

    def only(self, rows: NDArray[np.int_]) -> Facts:
        """Those of some claims, by their places."""
        parts = ({n: a[rows] for n, a in held.items()} for held in (self.true, self.values))
        return Facts(*parts)


def _all(
    when: tuple[Condition, ...], true: Mapping[str, Bools], points: Mapping[str, Array], count: int
) -> Bools:
    """Where all conditions hold."""
    found = np.ones(count, dtype=bool)
    for condition in when:
        found &= condition.holds(true, points)
    return found


def scored(rules: Rules, facts: Facts, results: pd.DataFrame) -> tuple[dict[str, Array], pd.DataFrame]:
    """Points of every domain (nan: does not apply), their sum and their least; and the reasons, a row per claim and domain."""
    points, uncounted = points_of(rules, facts, len(results))
    parts = []
    for domain in rules.domains:
        reasons = _reasons(domain, facts, len(results))
        quiet = uncounted.get(domain.name)
        if quiet is not None:
            reasons[quiet] = [f"{said}; it does not count, since nothing else speaks against the claim" for said in reasons[quiet]]  # fmt: skip
        part = results[["feature", "outcome"]].assign(domain=domain.name, title=domain.title)
        parts.append(part.assign(points=points[domain.name], reason=reasons))
    domains = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    return points, domains


def points_of(rules: Rules, facts: Facts, count: int) -> tuple[dict[str, Array], dict[str, Bools]]:
    """Points of every domain, with their sum and their least; and by domain where points against a claim do not count."""
    points: dict[str, Array] = {}
    for domain in rules.domains:
        own = np.zeros(count)
        for level, here in _levels(domain, facts, count):
            own[here] = level.points if level in domain.levels else np.nan
        for extra in domain.extras:
            own[np.isfinite(own) & _all(extra.when, facts.true, {}, count)] += extra.points
        points[domain.name] = own
    none = np.zeros((1, count))
    deciding = [points[d.name] for d in rules.domains if d.counts_alone]
    least = np.nanmin(np.concatenate([none, *(p[None] for p in deciding)]), axis=0)
    uncounted = {d.name: (points[d.name] < 0) & (least >= 0) for d in rules.domains if not d.counts_alone}
    for name, here in uncounted.items():
        points[name][here] = 0.0
    every = np.array([points[d.name] for d in rules.domains])
    points["points"] = np.nansum(every, axis=0)
    points["least"] = np.nanmin(np.concatenate([every, none]), axis=0)
    return points, uncounted


def _levels(domain: Domain, facts: Facts, count: int) -> Iterator[tuple[Level, Bools]]:
    """Levels of a domain, also those by which it does not apply, each with the claims of which it is the first that holds."""
    open_ = np.ones(count, dtype=bool)
    for level in (*domain.not_applicable, *domain.levels):
        here = open_ & _all(level.when, facts.true, {}, count)
        open_ &= ~here
        yield level, here


def _reasons(domain: Domain, facts: Facts, count: int) -> Words:
    """Reasons of one domain's points."""
    reasons = np.full(count, "", dtype=object)
    applies, other = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    for level, here in _levels(domain, facts, count):
        counts = level in domain.levels
        reasons[here] = _said(("" if counts else "does not apply, because ") + level.words, facts, here)
        applies &= counts | ~here
        other &= ~here
    reasons[other] = _said(domain.otherwise, facts, other)
    for extra in domain.extras:
        here = applies & _all(extra.when, facts.true, {}, count)
        reasons[here] = [
            f"{a}; {b}" for a, b in zip(reasons[here], _said(extra.words, facts, here), strict=True)
        ]
    return reasons


def _said(words: str, facts: Facts, here: Bools) -> list[str]:
    """A sentence with every claim's own numbers."""
    if "{" not in words:
        return [words] * int(here.sum())
    chosen = {name: values[here] for name, values in facts.values.items() if "{" + name in words}
    return [words.format(**dict(zip(chosen, row, strict=True))) for row in zip(*chosen.values(), strict=True)]


def ceilings_of(rules: Rules, facts: Facts, results: pd.DataFrame) -> tuple[Words, Words]:
    """The best grade that a claim can reach, and what keeps it from a better one."""
    found, why = ceiling_letters(rules, facts, results), np.full(len(results), "", dtype=object)

    def add(here: Bools, words: Sequence[str]) -> None:
        for k, said in zip(np.flatnonzero(here), words, strict=True):
            why[k] = f"{why[k]}; {said}" if why[k] else said

    if rules.stored_ceilings:
        doubted = results["doubted"].to_numpy(dtype=object)
        stored = results["ceiling_why"].to_numpy(dtype=object)
        stored = np.where(
            (doubted != "") & (stored == "specification doubted"), stored + ": " + doubted, stored
        )
        letters = results["ceiling"].to_numpy(dtype=object)
        here = (letters != CEILINGS[""]) & (letters == found)
        add(here, stored[here].tolist())
    for gate in rules.gates:
        here = _all(gate.when, facts.true, {}, len(results)) & (found == gate.grade)
        add(here, _said(gate.words, facts, here))
    return found, why


def ceiling_letters(rules: Rules, facts: Facts, results: pd.DataFrame) -> Words:
    """The best grade that a claim can reach: the lowest of its gates, and of the ceilings that its study has found."""
    order = (*SCALE, "N")
    rank = np.zeros(len(results), dtype=int)
    if rules.stored_ceilings:
        rank = np.maximum(rank, pd.Index(order).get_indexer(pd.Index(results["ceiling"])))
    for gate in rules.gates:
        here = _all(gate.when, facts.true, {}, len(results))
        rank[here] = np.maximum(rank[here], order.index(gate.grade))
    return np.array(order, dtype=object)[rank]


def decided(rules: Rules, facts: Facts, points: Mapping[str, Array]) -> Words:
    """The first decision whose conditions hold."""
    count = len(points["points"])
    found, open_ = np.full(count, "", dtype=object), np.ones(count, dtype=bool)
    for decision in rules.decisions:
        here = open_ & _all(decision.when, facts.true, points, count)
        found[here], open_ = decision.grade, open_ & ~here
    return found


def bounded(decided: Words, ceiling: Words) -> Words:
    """Decisions below their ceilings; what is not on the scale stays, unless it cannot be evaluated."""
    out = decided.copy()
    for letter in SCALE:
        here = (ceiling == letter) & np.isin(decided, list(SCALE[: SCALE.index(letter)]))
        out[here] = letter
    out[ceiling == "N"] = "N"
    return out


def lacking(
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
