"""What the table of all tested features holds: its columns, and every feature's row in the page's data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.report.numbers import Precision
from mrinterp.report.packed import Packer, shown_text

__all__ = ["EXACT", "FeatureTable", "feature_table", "slugs_of"]

MANY = 100_000
"""Rows beyond which effects and errors travel as 16-bit numbers, and what else a row says stays in the run folder."""
EXACT = 5_000
"""Rows up to which numbers travel as they are."""
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class FeatureTable:
    """All rows in the order of the dictionary, as the page's script takes them.

    ``place`` is where every row of the results (largest effect first) stands in that order; ``slugs`` are the
    fragments of the rows that have one, by place.
    """

    data: str
    display: list[dict[str, Any]]
    place: dict[tuple[str, str], int]
    slugs: dict[int, str]
    features: dict[str, int]


def slug(short: str, outcome: str = "") -> str:
    """The fragment that links a claim: readable where its name is, and the same in every run.

    Examples
    --------
    >>> slug("c05"), slug("c05", "sentiment gap")
    ('claim-c05', 'claim-c05-sentiment-gap')
    """
    words = "-".join(w for w in (short, outcome) if w)
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", words).strip("-")
    if len(plain) > 48 or not plain or (plain != words and not re.fullmatch(r"[\w. -]+", words, re.ASCII)):
        plain = f"{plain[:24].strip('-')}-{hashlib.sha256(words.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"claim-{plain}"


def feature_table(
    results: pd.DataFrame,
    ropes: Mapping[str, float],
    units: Mapping[str, str],
    *,
    short: Mapping[str, str],
    screen: str = "",
    order: Sequence[str] = (),
    linked: Sequence[tuple[str, str]] = (),
    grades: Mapping[tuple[str, str], str] | None = None,
) -> FeatureTable:
    """Pack the results of a study, or a table like them, for the page.

    Parameters
    ----------
    results : DataFrame
        At least ``feature, outcome, effect, ci_lower, ci_upper, verdict``; other columns of `Study.results` are shown
        where they are.
    ropes, units : mapping
        Half width of the region of practical equivalence, and unit, by outcome.
    short : mapping
        Full name of a feature to what the page calls it.
    screen : str
        Name of the column of the univariable screen.
    order : sequence of str
        Features in the order of the dictionary; default as the results have them.
    linked : sequence of (feature, outcome)
        Rows that a fragment of their own links.
    grades : mapping, optional
        Grade of a claim by feature and outcome.
    """
    names = list(order) or list(dict.fromkeys(results["feature"]))
    outcomes = list(ropes)
    at = {n: k for k, n in enumerate(names)}
    number = {o: k for k, o in enumerate(outcomes)}
    key = results["outcome"].map(number).to_numpy() * len(names) + results["feature"].map(at).to_numpy()
    table = results.iloc[np.argsort(key, kind="stable")]
    pairs = list(zip(table["feature"].tolist(), table["outcome"].tolist(), strict=True))
    place = {pair: k for k, pair in enumerate(pairs)}
    several = len(outcomes) > 1
    slugs = slugs_of([p for p in linked if p in place], place, short, several)
    graded = [grades.get(p, "") for p in pairs] if grades else None
    packer = _packed(table, at, short, screen, ropes, several, graded)
    known = {c["key"] for c in packer.columns}
    display = [d for d in _DISPLAY if d["key"] in known]
    header = {
        "outcomes": [
            {"name": shown_text(o, 120), "rope": _finite(ropes[o]), "unit": shown_text(units[o], 120)}
            for o in outcomes
        ],
        "decimals": [Precision.of(ropes[o]).decimals for o in outcomes],
        "several": several,
        "display": display,
        "csv": [c["key"] for c in packer.columns if c["key"] not in ("short", "feature")],
        "slugs": slugs,
    }
    return FeatureTable(packer.text(header), display, place, slugs, at)


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0


def slugs_of(
    linked: Sequence[tuple[str, str]],
    place: Mapping[tuple[str, str], int],
    short: Mapping[str, str],
    several: bool,
) -> dict[int, str]:
    """The fragment of every linked row, by its place; each once."""
    made: dict[int, str] = {}
    taken: set[str] = set()
    for feature, outcome in linked:
        words = slug(short[feature], outcome if several else "")
        if words in taken:
            words = slug(f"{short[feature]} {feature}\x00", outcome if several else "")
        taken.add(words)
        made[place[feature, outcome]] = words
    return made


def _effect(key: str, title: str, name: str = "", **more: Any) -> dict[str, Any]:
    ends = (
        {"lower": "lower", "upper": "upper"}
        if key == "effect"
        else {"lower": f"{key}_lower", "upper": f"{key}_upper"}
    )
    return {"key": key, "title": title, "kind": "effect", **ends, **more}


_DISPLAY: list[dict[str, Any]] = [
    {"key": "short", "title": "Feature", "kind": "name"},
    {"key": "label", "title": "Responds to", "kind": "text", "class": "label"},
    {"key": "outcome", "title": "Outcome", "kind": "text", "class": "label"},
    {"key": "grade", "title": "Grade", "kind": "text", "class": "grade"},
    _effect("effect", "Effect"),
    {"key": "verdict", "title": "Verdict", "kind": "verdict", "below": "ceiling"},
    _effect("knockout", "Other families"),
    {"key": "they_say", "title": "They say", "kind": "verdict"},
    _effect("replication", "Replication"),
    {"key": "resampled", "title": "Resampled", "kind": "plain"},
    {
        "key": "fires",
        "title": "Fires at",
        "kind": "plain",
        "digits": 1,
        "percent": True,
        "absent": "everywhere",
    },
    _effect("as_it_is", "As it is, less low"),
    {"key": "move", "title": "Moves the reading by", "kind": "plain", "digits": 2},
    _effect("gradient", "Gradient, extrapolated"),
    _effect("univariable", "Univariable IVW, extrapolated"),
    {"key": "status", "title": "Status", "kind": "note"},
]


def _packed(
    table: pd.DataFrame,
    at: Mapping[str, int],
    short: Mapping[str, str],
    screen: str,
    ropes: Mapping[str, float],
    several: bool,
    graded: list[str] | None,
) -> Packer:
    n = len(table)
    bits = 64 if n <= EXACT else 32 if n <= MANY else 16
    rope = next(iter(ropes.values()))
    packer = Packer(n, bits, rope if bits == 16 and np.isfinite(rope) and rope > 0 else 1.0)
    features = table["feature"].tolist()
    shorts = [short[f] for f in features]
    packer.names("short", shorts)
    if bits != 16 and shorts != features:
        packer.names("name", features)
    # Number of the feature, under which cards hold what outcomes share.
    numbers = [at[f] for f in features]
    if numbers == list(range(len(at))) * len(ropes):
        packer.columns.append(
            {"key": "feature", "type": "runs", "runs": [["", 0, 0, len(at)] for _ in ropes]}
        )
    else:
        packer.words("feature", [str(k) for k in numbers])
    if several:
        packer.words("outcome", table["outcome"].to_numpy())
    packer.words("verdict", table["verdict"].to_numpy())
    if graded is not None and any(graded):
        packer.words("grade", graded)
    if "confirmed" in table:
        packer.words("against", table["confirmed"].fillna("").to_numpy())
    if bits == 16:
        _many(packer, table)
    else:
        _full(packer, table, screen)
    return packer


def _many(packer: Packer, table: pd.DataFrame) -> None:
    """Effect and error of the claim and of other families."""
    for key, low, high, given in (
        ("effect", "lower", "upper", ("effect", "ci_lower", "ci_upper")),
        ("knockout", "knockout_lower", "knockout_upper", ("knockout", "knockout_lower", "knockout_upper")),
    ):
        if not set(given) <= set(table):
            continue
        value, lower, upper = (table[c].to_numpy(float) for c in given)
        packer.numbers(key, value)
        packer.numbers(f"{key}_error", (upper - lower) / (2 * _Z95))
        packer.half_widths(key, f"{key}_error", {low: -_Z95, high: _Z95})


def _full(packer: Packer, table: pd.DataFrame, screen: str) -> None:
    """Everything that a row says."""
    triples = [("effect", "effect", "ci_lower", "ci_upper")]
    triples += [
        (key, own, f"{own}_lower", f"{own}_upper")
        for key, own in (
            ("knockout", "knockout"),
            ("replication", "replication"),
            ("gradient", "gradient"),
            ("univariable", screen),
        )
    ]
    rare = "per_firing" in table and table["per_firing"].astype(bool).any()
    if rare:
        packer.numbers("fires", table["share_firing"].where(table["per_firing"].astype(bool)))
        triples.append(("as_it_is", "as_it_is", "as_it_is_lower", "as_it_is_upper"))
    for key, value, lower, upper in triples:
        if value in table:
            packer.numbers(key, table[value])
            packer.numbers("lower" if key == "effect" else f"{key}_lower", table[lower])
            packer.numbers("upper" if key == "effect" else f"{key}_upper", table[upper])
    for key, own in (("resampled", "resampled"), ("move", "move"), ("evidence", "neglog10p")):
        if own in table:
            packer.numbers(key, np.minimum(table[own].to_numpy(float), 9999.0))
    if {"confirmed", "knockout_verdict"} <= set(table):
        bearing = table["confirmed"].fillna("")
        packer.words("they_say", bearing.where(bearing != "", table["knockout_verdict"]).to_numpy())
    for key, own in (("label", "label"), ("status", "status")):
        if own in table:
            packer.words(key, table[own].fillna("").to_numpy())
    if "ceiling_why" in table:
        why = (
            table["doubted"].where(table["doubted"].astype(bool), table["ceiling_why"])
            if "doubted" in table
            else table["ceiling_why"]
        )
        said = [
            f"{c} at most: {w}" if y else ""
            for c, w, y in zip(table["ceiling"], why, table["ceiling_why"], strict=True)
        ]
        packer.words("ceiling", said)
