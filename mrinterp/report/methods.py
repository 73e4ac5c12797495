"""How well each method agreed with the knockouts, what it assumes, and whom it misled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrinterp.report.claims import Feature, ropes
from mrinterp.report.finished import FinishedStudy, primary_and_screen
from mrinterp.report.numbers import Cell, Precision, plain

__all__ = ["agreement_rows", "assumptions", "cross_table", "misled", "ranked_classes"]

_VERDICTS = ("causal", "indeterminate", "negligible")
WEAK_F = 10.0
"""First-stage F below which an instrument is called weak (Staiger & Stock 1997, doi:10.2307/2171753)."""


def agreement_rows(study: FinishedStudy) -> list[dict[str, Any]]:
    """Every method against the matched knockouts."""
    primary, _ = primary_and_screen(study)
    several = study.agreement.scores["outcome"].nunique() > 1

    def cell(row: Mapping[Any, Any], name: str) -> Cell:
        low, high = row[f"{name}_lower"], row[f"{name}_upper"]
        return Cell(plain(row[name]), f"{plain(low)} to {plain(high)}" if low == low and high == high else "")

    def drawn(row: Mapping[Any, Any], name: str, form: str = ".2f") -> Cell:
        low, high = (row.get(f"{name}_boot_{end}", float("nan")) for end in ("lower", "upper"))
        value = plain(row.get(name, float("nan")), form)
        return Cell(value, f"{plain(low, form)} to {plain(high, form)}" if low == low else "")

    return [
        {
            "label": f"{row['label']}, {row['outcome']}" if several else row["label"],
            "primary": row["method"] == primary,
            "correlation": cell(row, "correlation"),
            "slope": cell(row, "slope"),
            "coverage": cell(row, "coverage"),
            "missing": int(row["missing"]),
            "coverage_alone": drawn(row, "coverage_alone"),
            "york_slope": drawn(row, "york_slope"),
            "rank_correlation": drawn(row, "rank_correlation"),
            "kendall": drawn(row, "kendall"),
            "sign": drawn(row, "sign_concordance", ".0%"),
            "causal_sign": drawn(row, "causal_sign_concordance", ".0%"),
            "auroc": drawn(row, "auroc"),
            "auprc": drawn(row, "auprc"),
            "reason": row.get("reason", ""),
        }
        for row in study.agreement.scores.to_dict(orient="records")
    ]


def ranked_classes(study: FinishedStudy) -> dict[str, Any]:
    """How many features the knockouts sort into causal and negligible, what ranks them, and the draws."""
    rows = study.agreement.scores.drop_duplicates("outcome").to_dict(orient="records")
    counts = [
        f"{int(r.get('knockout_causal', 0))} causal and {int(r.get('knockout_negligible', 0))} negligible"
        for r in rows
    ]
    meta = study.agreement.meta
    words = {"z": "size in standard errors"}.get(meta.get("ranked_by", ""), "size of the estimate")
    return {
        "counts": "; ".join(counts),
        "by_chance": "; ".join(plain(r.get("base_rate", float("nan"))) for r in rows),
        "ranked_by": words,
        "draws": meta.get("draws", 0),
        "resampled": meta.get("resampled", "features"),
    }


def cross_table(study: FinishedStudy) -> list[tuple[str, list[int]]]:
    """Verdicts of the estimate (down) against verdicts of the knockout (across)."""
    pairs = study.results[["verdict", "knockout_verdict"]].value_counts().to_dict()
    return [(v, [int(pairs.get((v, k), 0)) for k in _VERDICTS]) for v in _VERDICTS]


def misled(study: FinishedStudy, rows: list[Feature]) -> dict[str, Any]:
    """Features that univariable MR calls significant and the knockout finds negligible; those of the rows given are named."""
    by_key = {(r.name, r.outcome): r for r in rows}
    found, every = [], study.agreement.misled.to_dict(orient="records")
    for r in every:
        if (r["exposure"], r["outcome"]) not in by_key:
            continue
        row = by_key[(r["exposure"], r["outcome"])]
        p = Precision.of(ropes(study)[r["outcome"]])
        estimate = p.cell(r["estimate"], r["ci_lower"], r["ci_upper"])
        shift = p.cell(r["knockout"], r["knockout_lower"], r["knockout_upper"])
        found.append((row, estimate, plain(r["neglog10p"], ".1f"), shift))
    meta = study.agreement.meta
    labels = dict(zip(study.agreement.scores["method"], study.agreement.scores["label"], strict=True))
    return {
        "rows": found,
        "count": len(every),
        "screen": labels.get(meta["screen"], meta["screen"]),
        "significant": meta["screen_significant"],
        "tested": len(study.results),
        "weak": _weak(study, meta["screen"]),
    }


def _weak(study: FinishedStudy, screen: str) -> str:
    """Median first-stage F of the screen's instruments where they are weak one by one, else nothing."""
    named = f"manipulation: {screen.removeprefix('ivw_')}"
    f = next((c["statistic"] for c in study.checks if c["name"] == named), None)
    return plain(f, ".1f") if f is not None and f < WEAK_F else ""


def assumptions(study: FinishedStudy) -> list[dict[str, Any]]:
    """What each estimate is conditional on, and its source; equal entries once."""
    entries: dict[tuple[Any, ...], dict[str, Any]] = {}
    said = dict(zip(study.agreement.scores["method"], study.agreement.scores["label"], strict=True))
    for name, e in study.estimates.items():
        label = said.get(name, e.label)
        key = (e.assumes, e.reference)
        if key in entries:
            entries[key]["labels"].append(label)
        else:
            entries[key] = {"labels": [label], "assumes": list(e.assumes), "reference": e.reference}
    return list(entries.values())
