"""The answer, the methods paragraph and the STROBE-MR items of estimated effects."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrinterp.report.effects.grades import WEAK
from mrinterp.report.effects.source import ALPHA, EXCLUDES, NO_ESTIMATE, EffectsSource
from mrinterp.report.effects.table import short_label
from mrinterp.report.twin.methods_text import ALWAYS, listed_references
from mrinterp.report.twin.strobe import BLANK, Item, strobe_items
from mrinterp.results._check import Check
from mrinterp.results._claims import GRADES

__all__ = [
    "cautions",
    "closing",
    "effects_strobe",
    "methods_words",
    "references_used",
    "resting_words",
    "told_settings",
]

NAMED = 12
"""Weak exposures that one sentence names."""


def closing(source: EffectsSource) -> str:
    """What was found, in a sentence for somebody who knows nothing of it."""
    table = source.table
    excludes = int((table["verdict"] == EXCLUDES).sum())
    standing = int(((table["q"] < ALPHA) & (table["verdict"] == EXCLUDES)).sum())
    against = int((table["contradiction"] != "").sum())
    percent = f"{100 * source.level:.4g}%"
    said = (
        f"{_count(len(table), 'effect was', 'effects were')} tested; for {excludes} of them the {percent} interval excludes 0"
        if excludes
        else f"{_count(len(table), 'effect was', 'effects were')} tested, and no {percent} interval excludes 0"
    )
    said += f" ({standing} at a false discovery rate of {ALPHA:.0%})" if excludes else ""
    said += f"; {against} {'is' if against == 1 else 'are'} contradicted by another method" if against else ""
    return f"{said}. {_graded_words(source)} These are estimates that rest on assumptions, not knockouts: a screen of what to test, not a finding."


def _graded_words(source: EffectsSource) -> str:
    """How many effects have which grade, and which is the best that they could have."""
    counts = ", ".join(f"{n:,} {g} ({GRADES[g]})" for g, n in source.grades.counts.items())
    return (
        f"Graded: {counts}; D is the best grade without knockouts, a second sample and a plan hashed first."
    )


def resting_words(source: EffectsSource) -> str:
    """What the answer rests on."""
    first = source.primary
    of = (
        "runs that were in hand"
        if source.source == "runs"
        else f"a table of {_count(len(source.data.instruments), 'instrument', 'instruments')}"
    )
    return f"The answer rests on {first.label} from {of}. Its bias was not measured here: there is no knockout to hold it against."


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def cautions(source: EffectsSource) -> list[str]:
    """What must be known before the numbers are believed."""
    table, data = source.table, source.data
    lines = []
    weak = [data.exposures[k] for k in np.flatnonzero(source.strength < WEAK)]
    if weak:
        named = ", ".join(weak[:NAMED]) + (f" and {len(weak) - NAMED} more" if len(weak) > NAMED else "")
        lines.append(f"Weak instruments (mean F below {WEAK:g}): estimates of {named} are biased.")
    disagree = int((table["q_p"] < ALPHA).sum())
    if disagree:
        lines.append(f"Instruments disagree beyond their errors for {disagree} of {len(table)} effects (Q): some act around the exposure.")  # fmt: skip
    tilted = int((table["intercept_p"] < ALPHA).sum())
    if tilted:
        lines.append(f"Directional pleiotropy is seen for {tilted} of {len(table)} effects (MR-Egger's intercept).")  # fmt: skip
    lost = int((table["verdict"] == NO_ESTIMATE).sum())
    if lost:
        first = str(table.loc[table["verdict"] == NO_ESTIMATE, "status"].iloc[0])
        lines.append(f"{_count(lost, 'effect has', 'effects have')} no estimate; the first reason: {first}.")
    if len(data.dropped):
        lines.append(f"{_count(len(data.dropped), 'instrument was', 'instruments were')} dropped; the reasons stand under Instruments.")  # fmt: skip
    for assumption, check in source.checks:
        if isinstance(check, Check) and check.verdict == "failed":
            lines.append(f"A check of {assumption} failed: {check.name}. {check.note}")
    shown = {r.method for r in source.results} - {source.primary.method, *source.alike}
    if len(source.primary.exposures) > 1 and shown & {r.method for r in source.single}:
        lines.append("Univariable methods take a correlated exposure's effect for their own: where they differ from the joint ones, the joint ones answer the question.")  # fmt: skip
    lines.append(f"Each interval has level {100 * source.level:.4g}% by itself; q counts all that were tested ({len(table)}).")  # fmt: skip
    lines.append("An interval that includes 0 does not show that there is no effect.")
    return [*lines, *(str(n) for n in data.meta.get("notes", []))]


def references_used(source: EffectsSource) -> list[str]:
    """References of the methods that gave a number, each once."""
    made = [r.reference for r in (*source.results, *source.single) if np.isfinite(r.beta).any()]
    benjamini, _, statement = ALWAYS
    return listed_references([*made, benjamini, statement])


def methods_words(source: EffectsSource) -> str:
    """What was done, in a paragraph that a methods section can begin with."""
    F, O, J = source.data.shape
    others = ", ".join(short_label(r.label) for r in source.results[1:])
    given = "; ".join(f"{k} {v}" for k, v in told_settings(source) if k not in ("methods", "level"))
    dropped = len(source.data.dropped)
    of = "runs within prompts" if source.source == "runs" else "summary statistics"
    return " ".join(
        [
            f"Effects of {_count(F, source.noun[:-1], source.noun)} on {_count(O, 'outcome', 'outcomes')} ({', '.join(source.data.outcomes)})"
            f" were estimated from {of} by Mendelian randomization with mrinterp {source.versions.get('mrinterp', '')},"
            f" with {_count(J, 'instrument', 'instruments')}{f' ({dropped} dropped)' if dropped else ''}.",
            f"The method reported first is {source.primary.label}{f'; also used: {others}' if others else ''}.",
            f"Intervals have level {100 * source.level:.4g}%; q is Benjamini and Hochberg's over {_count(len(source.table), 'effect', 'effects')}.",
            *([f"Settings: {given}."] if given else []),
            "No plan was hashed before outcomes were read: the analysis is exploratory, and no knockout was run.",
        ]
    )  # fmt: skip


def told_settings(source: EffectsSource) -> list[tuple[str, str]]:
    """How the data were read and the estimates made, in words."""
    return [(k, _told(v)) for k, v in source.settings.items() if v not in (None, "", (), [], {})]


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items() if v not in ({}, ""))
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def effects_strobe(source: EffectsSource) -> list[Item]:
    """The 20 items, as far as a program can fill them.

    Source: Skrivankova et al. 2021, 10.1001/jama.2021.18236.
    """
    F, _, J = source.data.shape
    outcomes = ", ".join(source.data.outcomes)
    assumed = list(dict.fromkeys(a for r in source.results for a in r.assumes))
    labels = "; ".join(short_label(r.label) for r in source.results)
    strong = ", ".join(f"{x} {f:.3g}" for x, f in list(zip(source.data.exposures, source.strength, strict=True))[:NAMED])  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in source.versions.items())
    lost = "; ".join(f"{n} {reason}" for reason, n in source.data.dropped["reason"].value_counts().items())
    largest = "; ".join(
        f"{r['feature']} on {r['outcome']} {r['effect']:+.3g} ({r['ci_lower']:+.3g} to {r['ci_upper']:+.3g})"
        for r in source.table.head(10).to_dict("records")
        if np.isfinite(r["effect"])
    )
    where = "Runs that were in hand" if source.source == "runs" else "A table of summary statistics"
    rows = [
        ("title", "title and abstract", f"{source.title}. {closing(source)}"),
        ("introduction", "background", BLANK),
        ("introduction", "objectives", f"Which of {F} {source.noun} change {outcomes}, and by how much."),
        ("methods", "study design and data sources", f"{where}: {J} instruments, {F} {source.noun}. Where it comes from, a person must say: {BLANK}"),
        ("methods", "assumptions", "; ".join(assumed) or "none stated"),
        ("methods", "main analysis", resting_words(source)),
        ("methods", "assessment of assumptions", "Strength (F), heterogeneity (Q), MR-Egger's intercept, leave-one-out, Steiger's direction, agreement of methods; as far as they apply."),
        ("methods", "sensitivity and additional analyses", f"Every method: {labels}."),
        ("methods", "software and preregistration", f"{versions}. Not preregistered as far as this program knows. Data: {source.digest}."),
        ("results", "descriptive data", f"{J} instruments kept{f', dropped: {lost}' if lost else ''}. Mean F: {strong}."),
        ("results", "main results", largest or "no estimate"),
        ("results", "assessment of assumptions", " ".join(cautions(source))),
        ("results", "sensitivity and additional analyses", "The table of all effects has every method's estimate and interval."),
        ("discussion", "key results", closing(source)),
        ("discussion", "limitations", f"{resting_words(source)} {' '.join(cautions(source)[:3])}"),
        ("discussion", "interpretation", BLANK),
        ("discussion", "generalizability", "To data drawn like these; nothing else was tested."),
        ("other", "funding", BLANK),
        ("other", "data and data sharing", f"claims.csv holds every estimate; {source.command or 'the same call'} repeats them."),
        ("other", "conflicts of interest", BLANK),
    ]  # fmt: skip
    return strobe_items(rows)
