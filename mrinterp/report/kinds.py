"""Kinds of knockout side by side, as the page and the terminal show them: never pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mrinterp.report.claims import Feature, ropes
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.numbers import Cell, Precision, plain

__all__ = ["kinds_section", "kinds_sentences", "whole_sentences"]

_DIFFER = -np.log10(0.05)


@dataclass(frozen=True)
class KindsOfFeature:
    """One feature and outcome: a cell and a verdict per kind, the test of their equality, what to know."""

    feature: Feature
    effects: list[tuple[Cell, str]]
    q: str
    evidence: str
    i2: str
    differs: bool
    notes: list[tuple[str, str]]


def kinds_section(study: FinishedStudy, features: list[Feature]) -> dict[str, Any] | None:
    """What the section prints, features in the order of the page; None where only one kind was run."""
    made = study.kinds
    if made is None:
        return None
    lower, upper = made.interval()
    tested = study.equivalence.set_index(["kind", "feature", "outcome"])["verdict"].to_dict()
    precision = {o: Precision.of(rope) for o, rope in ropes(study).items()}
    place = {n: f for f, n in enumerate(made.features)}, {n: o for o, n in enumerate(made.outcomes)}
    rows = []
    for row in features:
        if row.name not in place[0] or row.outcome not in place[1]:
            continue
        f, o = place[0][row.name], place[1][row.outcome]
        cells = [
            precision[row.outcome].cell(made.effect[k, f, o], lower[k, f, o], upper[k, f, o])
            for k in range(len(made.kinds))
        ]
        verdicts = [tested.get((kind, row.name, row.outcome), "") for kind in made.kinds]
        q, df = made.q[f, o], made.q_df[f, o]
        rows.append(
            KindsOfFeature(
                row,
                list(zip(cells, verdicts, strict=True)),
                f"{plain(q, '.1f')} ({df:.0f})" if np.isfinite(q) else plain(q),
                plain(made.q_neglog10p[f, o], ".1f"),
                plain(made.i2[f, o]),
                bool(made.q_neglog10p[f, o] > _DIFFER),
                [(k, w) for k, w in zip(made.kinds, made.flags[:, f], strict=True) if w],
            )
        )
    return {
        "kinds": list(zip(made.kinds, made.labels, strict=True)),
        "rows": rows,
        "paired": made.paired,
        "families": made.families,
        "sentences": kinds_sentences(study),
    }


def whole_sentences(study: FinishedStudy) -> list[str]:
    """What heads and subspaces do as wholes, a sentence each; sizes, since several coordinates have no sign."""
    lines = []
    for made in study.whole_features.values():
        by = "resampled" if made.kind == "resample" else "set to its mean"
        for r in made.rms_equivalence(rope_sd=study.header["plan"]["estimation"]["rope"]).to_dict("records"):
            p = Precision.of(r["rope"])
            size, low, high = (p.signed(r[k]).removeprefix("+") for k in ("rms", "rms_lower", "rms_upper"))
            lines.append(
                f"{r['feature']} as a whole, {by}: moves {r['outcome']} by {size} (root mean square; {low} to {high}, each end"
                f" at 95%), {r['verdict']}"
            )
    return lines


def kinds_sentences(study: FinishedStudy) -> list[str]:
    """How many effects differ between kinds, how many are shown to be negligible by each, and how many are
    flagged."""
    made = study.kinds
    if made is None:
        return []
    known, differ = np.isfinite(made.q_neglog10p), made.q_neglog10p > _DIFFER
    middle = (
        f", median I2 {np.median(made.i2[np.isfinite(made.i2)]):.2f}" if np.isfinite(made.i2).any() else ""
    )
    lines = [
        f"The {len(made.kinds)} kinds of knockout ({', '.join(made.kinds)}) differ at p < .05 in"
        f" {int(differ.sum())} of {int(known.sum())} effects ({0.05 * known.sum():.1f} expected if none differs){middle};"
        " they are not pooled."
    ]
    table = study.equivalence
    counts = [
        f"{kind} {int((part['verdict'] == 'negligible').sum())} of {len(part)}"
        for kind in made.kinds
        if len(part := table[table["kind"] == kind])
    ]
    if counts:
        lines.append(f"Shown to be negligible (two one-sided tests, each at 5%): {', '.join(counts)}.")
    even = list(dict.fromkeys(table["outcome"][table["verdict"] == "not applicable"]))
    if even:
        lines.append(
            f"No verdict applies to {', '.join(even)}: least at the clean run, it has no slope there, and an effect"
            " per unit near zero says nothing. Its mean effect by kinds that go one way does."
        )
    flagged = [f"{k} {n}" for k, n in zip(made.kinds, (made.flags != "").sum(axis=1), strict=True) if n]
    if flagged:
        lines.append(f"Flagged features: {', '.join(flagged)} of {len(made.features)}.")
    return lines
