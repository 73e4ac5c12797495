"""The table of all estimated effects: its columns, and every row in the page's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.report.columns import EXACT, FeatureTable, slugs_of
from mrinterp.report.effects.source import EXCLUDES, INCLUDES, NO_ESTIMATE, EffectsSource
from mrinterp.report.numbers import plain, significant, significant_cell
from mrinterp.report.packed import Packer, shown_text

__all__ = ["LOOKS", "effects_table", "rows_as_text", "short_label"]

LOOKS = {EXCLUDES: "causal", INCLUDES: "indeterminate", NO_ESTIMATE: "negligible"}
"""How the words of intervals look: as the verdicts of studies do."""
LARGEST_EVIDENCE = 9999.0


def short_label(label: str) -> str:
    """A method's name without what stands in brackets."""
    return label.split(" (")[0]


def effects_table(source: EffectsSource, part: pd.DataFrame, linked: pd.DataFrame) -> FeatureTable:
    """Pack rows of the source's table, in the order of exposures.

    Parameters
    ----------
    source : EffectsSource
    part, linked : DataFrame
        Rows to pack; and those that a fragment of their own links.
    """
    names, outcomes = source.primary.exposures, source.primary.outcomes
    at = {n: k for k, n in enumerate(names)}
    number = {o: k for k, o in enumerate(outcomes)}
    key = part["outcome"].map(number).to_numpy() * len(names) + part["feature"].map(at).to_numpy()
    table = part.iloc[np.argsort(key, kind="stable")]
    pairs = list(zip(table["feature"].tolist(), table["outcome"].tolist(), strict=True))
    place = {pair: k for k, pair in enumerate(pairs)}
    short = {n: short_name(n) for n in names}
    several = len(outcomes) > 1
    wanted = [p for p in zip(linked["feature"], linked["outcome"], strict=True) if p in place]
    slugs = slugs_of(wanted, place, short, several)
    packer = _packed(source, table, at, several)
    display = _display(source, {c["key"] for c in packer.columns})
    header = {
        "outcomes": [{"name": shown_text(o, 120), "rope": 0.0, "unit": shown_text(source.unit, 120)} for o in outcomes],
        "decimals": [None] * len(outcomes),
        "several": several,
        "interval": f"{100 * source.level:.4g}% interval",
        "noun": "effects" if several else source.noun,
        "across": f"{source.noun}, in their order",
        "looks": LOOKS,
        "filters": [["outcome", "Outcome"], ["grade", "Grade"], ["verdict", "Interval"], ["against", "Other methods"]],
        "display": display,
        "csv": [c["key"] for c in packer.columns if c["key"] not in ("short", "feature")],
        "slugs": slugs,
    }  # fmt: skip
    return FeatureTable(packer.text(header), display, place, slugs, at)


def short_name(name: str) -> str:
    """What the page calls an exposure."""
    return shown_text(name, 80)


def _packed(source: EffectsSource, table: pd.DataFrame, at: dict[str, int], several: bool) -> Packer:
    packer = Packer(len(table), 64 if len(table) <= EXACT else 32)
    packer.names("short", [short_name(n) for n in table["feature"]])
    packer.names("name", table["feature"].tolist())
    packer.words("feature", [str(at[f]) for f in table["feature"]])
    if several:
        packer.words("outcome", table["outcome"].to_numpy())
    grade = np.array(
        [source.grades.by_pair[p] for p in zip(table["feature"], table["outcome"], strict=True)], dtype=object
    )
    packer.words("grade", grade)
    for key in ("verdict", "against", "status"):
        packer.words(key, table[key].to_numpy())
    if table["label"].astype(bool).any():
        packer.words("label", table["label"].to_numpy())
    for key, column in (("effect", "effect"), ("lower", "ci_lower"), ("upper", "ci_upper"), ("se", "se"), ("q", "q"),
                        ("n", "n"), ("strength", "strength"), ("i2", "i2")):  # fmt: skip
        if np.isfinite(table[column].to_numpy(float)).any():
            packer.numbers(key, table[column])
    packer.numbers("evidence", np.minimum(table["neglog10p"].to_numpy(float), LARGEST_EVIDENCE))
    for other in source.results[1:]:
        for end in ("", "_lower", "_upper"):
            packer.numbers(f"{other.method}{end}", table[f"{other.method}{end}"])
    return packer


def _display(source: EffectsSource, known: set[str]) -> list[dict[str, Any]]:
    name = "Feature" if source.source == "runs" else "Exposure"
    columns: list[dict[str, Any]] = [
        {"key": "short", "title": name, "kind": "name"},
        {"key": "label", "title": "Responds to", "kind": "text", "class": "label"},
        {"key": "outcome", "title": "Outcome", "kind": "text", "class": "label"},
        {"key": "grade", "title": "Grade", "kind": "text", "class": "grade"},
        {"key": "effect", "title": short_label(source.primary.label), "kind": "effect", "lower": "lower", "upper": "upper"},
        {"key": "verdict", "title": "Interval", "kind": "verdict", "below": "against"},
        {"key": "q", "title": "q", "kind": "plain"},
        {"key": "evidence", "title": "\N{MINUS SIGN}log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} p", "kind": "plain", "digits": 1},
        *(
            {"key": r.method, "title": short_label(r.label), "kind": "effect", "lower": f"{r.method}_lower", "upper": f"{r.method}_upper"}
            for r in source.results[1:]
        ),
        {"key": "n", "title": counted(source), "kind": "plain", "digits": 0},
        {"key": "strength", "title": "Mean F", "kind": "plain", "digits": 1},
        {"key": "i2", "title": "I\N{SUPERSCRIPT TWO}", "kind": "plain", "digits": 0, "percent": True},
        {"key": "status", "title": "Status", "kind": "note"},
    ]  # fmt: skip
    return [c for c in columns if c["key"] in known]


def counted(source: EffectsSource) -> str:
    """What the number behind an estimate counts."""
    words = str(source.primary.meta.get("counted", "instruments"))
    return words[:1].upper() + words[1:]


def rows_as_text(
    source: EffectsSource, part: pd.DataFrame, display: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows as the page writes them without a script, cell for cell what the script shows."""
    rows = []
    for row in part.to_dict("records"):
        cells: dict[str, Any] = {
            "name": row["feature"],
            "outcome": shown_text(row["outcome"]),
            "grade": source.grades.by_pair[row["feature"], row["outcome"]],
            "look": LOOKS[row["verdict"]],
            "ceiling": row["against"],
            "status": shown_text(row["status"]),
        }
        for d in display:
            key = d["key"]
            if d["kind"] == "effect":
                ends = ("ci_lower", "ci_upper") if key == "effect" else (f"{key}_lower", f"{key}_upper")
                cells[key] = significant_cell(row[key], row[ends[0]], row[ends[1]])
            elif d["kind"] == "plain":
                cells[key] = _plain(row["neglog10p" if key == "evidence" else key], d)
            elif key == "short":
                cells[key] = short_name(row["feature"])
            elif key not in cells:
                cells[key] = shown_text(row[key])
        rows.append(cells)
    return rows


def _plain(value: float, column: dict[str, Any]) -> str:
    if "digits" not in column:
        return significant(value).removeprefix("+")
    value = min(value, LARGEST_EVIDENCE) * (100 if column.get("percent") else 1)
    return plain(value, f".{column['digits']}f") + (
        "%" if column.get("percent") and np.isfinite(value) else ""
    )
