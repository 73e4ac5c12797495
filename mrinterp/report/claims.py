"""The answer: what was tested, what is claimed, and whether other families and the knockouts agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrinterp.core.plan import MIN_FAMILIES
from mrinterp.report.finished import FinishedStudy, primary_and_screen
from mrinterp.report.numbers import Cell, Precision, plain
from mrinterp.report.order import caution
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._estimates import Estimates

__all__ = [
    "Feature",
    "answer",
    "features",
    "ropes",
]

SHOWN_CLAIMS = 10
_VERDICTS = ("causal", "negligible", "indeterminate", "not applicable")
_BEARINGS = ("confirmed", "not decided", "contradicted")
_ABSENT = Cell()
_MORE_FIT = 0.02
"""Gain in cross-validated R2 beyond the ceiling that a reader should know of."""


@dataclass(frozen=True)
class Feature:
    """One row of the table of all tested features, ready to print."""

    name: str
    short: str
    label: str
    outcome: str
    unit: str
    effect: Cell
    in_sd: str
    verdict: str
    knockout: Cell
    knockout_verdict: str
    against: str
    """How the knockout bears on a causal claim: confirmed, not decided or contradicted."""
    replication: Cell
    replicated: str
    gradient: Cell
    univariable: Cell
    status: str


def short_name(name: str, names: Sequence[str]) -> str:
    """A feature's name without its site, where all features lie at one site."""
    sites = {n.rsplit(":", 1)[0] for n in names}
    return name.rsplit(":", 1)[-1] if len(sites) == 1 and all(":" in n for n in names) else name


def ropes(study: FinishedStudy) -> dict[str, float]:
    """Half width of the region of practical equivalence, by outcome."""
    return dict(zip(study.estimates["within"].outcomes, study.agreement.meta["rope"], strict=True))


def features(study: FinishedStudy) -> list[Feature]:
    """All tested features, largest effect first."""
    primary, screen = primary_and_screen(study)
    rope, table = ropes(study), study.results
    names = list(dict.fromkeys(table["feature"]))
    sd = dict(zip(rope, np.atleast_1d(study.basis.meta.get("outcome_sd", np.nan)), strict=False))
    rows = []
    for r in table.to_dict(orient="records"):
        p, key = Precision.of(rope[r["outcome"]]), (r["feature"], r["outcome"])
        other, replicated = _replication(study.estimates.get("replication"), key, r["effect"], p)
        rows.append(
            Feature(
                r["feature"],
                short_name(r["feature"], names),
                r["label"],
                r["outcome"],
                study.estimates[primary].unit,
                p.cell(r["effect"], r["ci_lower"], r["ci_upper"]),
                plain(abs(r["effect"]) / sd.get(r["outcome"], np.nan)),
                str(r["verdict"]),
                p.cell(r["knockout"], r["knockout_lower"], r["knockout_upper"]),
                str(r["knockout_verdict"]),
                _against(r),
                other,
                replicated,
                _cell(study.estimates.get("gradient"), key, p),
                _cell(study.estimates.get(screen), key, p),
                str(r["status"]),
            )
        )
    return rows


def _cell(estimates: Estimates | None, key: tuple[str, str], precision: Precision) -> Cell:
    if estimates is None or key[0] not in estimates.exposures or key[1] not in estimates.outcomes:
        return _ABSENT
    e = estimates[key]
    return precision.cell(e.beta, e.ci_lower, e.ci_upper)


def _replication(
    estimates: Estimates | None, key: tuple[str, str], effect: float, precision: Precision
) -> tuple[Cell, str]:
    """The estimate on other families, and how it bears on the first one."""
    cell = _cell(estimates, key, precision)
    if estimates is None or cell is _ABSENT or not cell.interval:
        return cell, "no estimate"
    e = estimates[key]
    apart = e.ci_lower > 0 or e.ci_upper < 0
    if np.sign(e.beta) != np.sign(effect):
        return cell, "opposite sign, interval excludes 0" if apart else "opposite sign, interval includes 0"
    return cell, "same sign, interval excludes 0" if apart else "same sign, interval includes 0"


def _against(row: Mapping[Any, Any]) -> str:
    """How the knockout bears on a causal claim."""
    if row["verdict"] != "causal":
        return ""
    opposite = row["knockout"] * row["effect"] < 0
    excludes = row["knockout_lower"] > 0 or row["knockout_upper"] < 0
    if row["knockout_verdict"] == "negligible" or (opposite and excludes):
        return "contradicted"
    return "confirmed" if row["knockout_verdict"] == "causal" else "not decided"


def answer(study: FinishedStudy, rows: list[Feature]) -> dict[str, Any]:
    """What stands first on the page."""
    claims = [r for r in rows if r.verdict == "causal"]
    plan = study.header["plan"]
    return {
        "tested": len(rows),
        "counts": {v: sum(r.verdict == v for r in rows) for v in _VERDICTS},
        "claims": claims[:SHOWN_CLAIMS],
        "more_claims": len(claims) - len(claims[:SHOWN_CLAIMS]),
        "against": {k: sum(r.against == k for r in claims) for k in _BEARINGS},
        "missed": sum(r.verdict != "causal" and r.knockout_verdict == "causal" for r in rows),
        "contradicted": [r for r in claims if r.against == "contradicted"],
        "replication": _rerun(study, claims),
        "ropes": [
            (outcome, Precision.of(v).signed(v).removeprefix("+"), study.estimates["within"].unit)
            for outcome, v in ropes(study).items()
        ],
        "rope_fraction": plan["estimation"]["rope"],
        "random": _baseline(study),
        "cautions": _cautions(study),
        "described": any(r.label for r in rows),
    }


def _rerun(study: FinishedStudy, claims: list[Feature]) -> dict[str, Any] | None:
    """Share of the causal claims that the replication split repeats."""
    if "replication" not in study.estimates:
        return None
    counts = {
        "repeated": sum(c.replicated == "same sign, interval excludes 0" for c in claims),
        "undecided": sum(c.replicated == "same sign, interval includes 0" for c in claims),
        "opposite": sum(c.replicated.startswith("opposite") for c in claims),
        "missing": sum(c.replicated == "no estimate" for c in claims),
    }
    share = plain(counts["repeated"] / len(claims), ".0%") if claims else ""
    kind = study.header["plan"]["estimation"]["kind"]
    return counts | {"share": share, "claims": len(claims), "kind": kind}


def _baseline(study: FinishedStudy) -> dict[str, Any] | None:
    """Knockout effects of random directions, and how many claimed features stand out from them."""
    held = study.against_random
    if not isinstance(held, AgainstRandom):
        return None
    outcome = held.outcomes[0]
    size = np.abs(held.control[:, 0])
    if not np.isfinite(size).any():
        return None
    claimed = study.results[(study.results["verdict"] == "causal") & (study.results["outcome"] == outcome)]
    first = [name for name, rank in zip(held.features, held.rank[:, 0], strict=True) if rank == 1]
    p = Precision.of(ropes(study)[outcome])
    return {
        "count": len(size),
        "median": p.signed(float(np.nanmedian(size))).removeprefix("+"),
        "largest": p.signed(float(np.nanmax(size))).removeprefix("+"),
        "beyond": int(claimed["feature"].isin(first).sum()),
        "claims": len(claimed),
    }


def _cautions(study: FinishedStudy) -> list[str]:
    """What a reader must know before believing the intervals."""
    out = [
        f"Check {c['verdict']}: {c['name']}. {c['note']}"
        for c in study.checks
        if c["verdict"] in ("failed", "warning")
    ]
    families = study.design.families("estimation")
    if families < MIN_FAMILIES:
        out.append(
            f"A rehearsal: {families} families in the estimation split, default inference needs"
            f" {MIN_FAMILIES}. Intervals are not for inference."
        )
    primary, _ = primary_and_screen(study)
    summary = study.agreement.scores
    for s in summary[summary["method"] == primary].to_dict(orient="records"):
        if s["coverage_upper"] < 0.95:
            out.append(
                f"On this run 95% intervals of estimate and knockout together covered {s['coverage']:.0%}"
                f" of the knockouts of {s['outcome']} ({s['coverage_lower']:.0%} to"
                f" {s['coverage_upper']:.0%}): read the intervals as too narrow."
            )
    out += _held_back(study)
    out += caution(study)
    earlier = study.header["earlier_plans"]
    if earlier:
        out.append(
            f"{earlier} other {'plan' if earlier == 1 else 'plans'} on the same network and outcome beside"
            " this one: findings selected among plans hold less often."
        )
    tested = len(study.results)
    out.append(f"Each interval has level 95% by itself; none is adjusted for the {tested} effects tested.")
    return out


def _held_back(study: FinishedStudy) -> list[str]:
    """Whether bypass components beyond the ceiling would still have explained more on discovery."""
    path, ceiling = study.basis.path, study.basis.meta.get("ceiling")
    beyond = path[path["rank"] > (np.inf if ceiling is None else ceiling)]
    if study.basis.rank not in set(path["rank"]) or beyond.empty:
        return []
    at = path.set_index("rank").loc[study.basis.rank]
    more = [
        f"{what} (R\N{SUPERSCRIPT TWO} {at[c]:.2f} with {study.basis.rank}, up to {beyond[c].max():.2f} with more)"
        for c, what in (("outcome_r2", "the outcome"), ("feature_r2", "the features"))
        if beyond[c].max() > at[c] + _MORE_FIT
    ]
    if not more:
        return []
    return [
        f"Families and runs support {ceiling} components of the rest of the cut; on the discovery split more of them"
        f" explained {' and '.join(more)} better. Paths through what is not held fixed stay in every estimate."
    ]
