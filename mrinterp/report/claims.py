"""The answer: what was tested, what is claimed, and whether other families and the knockouts agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.design import SPLITS
from mrinterp.core.plan import FEWEST_FAMILIES, MIN_FAMILIES
from mrinterp.report.chosen import place_word
from mrinterp.report.finished import FinishedStudy, primary_and_screen
from mrinterp.report.numbers import Cell, Precision, plain
from mrinterp.report.order import caution
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._check import Check
from mrinterp.results._claims import GRADES

__all__ = [
    "Feature",
    "alarms",
    "answer",
    "closing",
    "features",
    "few_families",
    "ladder_words",
    "resting",
    "ropes",
    "rungs_in_words",
    "short_names",
    "unit",
    "with_ladder",
]

SHOWN_CLAIMS = 10
_VERDICTS = ("causal", "negligible", "not negligible: sign varies", "indeterminate", "not applicable")
_BEARINGS = ("confirmed", "size not resolved", "size disagrees", "contradicted", "no knockout")
PASSES = ("forward", "resumed", "backward")
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
    """How knockouts on other families bear on a causal claim, in sign and size."""
    replication: Cell
    replicated: str
    resampled: str
    ceiling: str
    """Best grade that the claim can reach, and what keeps it from a better one; nothing where nothing does."""
    fires: str
    """Share of tokens at which a feature fires that rarely does, else nothing; its effect is then per firing."""
    as_it_is: Cell
    """What its firing does: the outcome as it is less that at the feature's low value."""
    move: str
    gradient: Cell
    univariable: Cell
    status: str

    @property
    def they_say(self) -> str:
        """How other families bear on a causal claim; of other features, the verdict of their knockouts."""
        return self.against or self.knockout_verdict


def _without_site(names: Sequence[str]) -> list[str]:
    """Names of features without their site, where all lie at one site."""
    sites = {n.rsplit(":", 1)[0] for n in names}
    one = len(sites) == 1 and all(":" in n for n in names)
    return [n.rsplit(":", 1)[-1] for n in names] if one else list(names)


def ladder_words(study: FinishedStudy) -> dict[tuple[str, str], str]:
    """What the rungs of the ladder say of each other, by feature and outcome; nothing of claims whose rungs agree."""
    told = ["contrasts", "local slopes", "finding"]
    table = study.ladder[["feature", "outcome", *told]]
    rows = table[(table[told] != "").any(axis=1)].to_dict("records")
    return {(r["feature"], r["outcome"]): "; ".join(filter(None, (r[k] for k in told))) for r in rows}


def with_ladder(study: FinishedStudy, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the results whose status says, beside its own, which rungs contradict which."""
    words = ladder_words(study)
    keys = zip(table["feature"], table["outcome"], table["status"], strict=True)
    said = [
        "; ".join(filter(None, ["" if s == "ok" and words.get((f, o)) else str(s), words.get((f, o), "")]))
        for f, o, s in keys
    ]
    return table.assign(status=pd.Series(said, index=table.index, dtype=object))


def ropes(study: FinishedStudy) -> dict[str, float]:
    """Half width of the region of practical equivalence, by outcome."""
    return dict(zip(study.estimates["within"].outcomes, study.agreement.meta["rope"], strict=True))


def short_names(study: FinishedStudy) -> dict[str, str]:
    """Full name of every tested feature to its name without the site."""
    names = list(dict.fromkeys(study.results["feature"].tolist()))
    return dict(zip(names, _without_site(names), strict=True))


def features(study: FinishedStudy, table: pd.DataFrame | None = None) -> list[Feature]:
    """All tested features, or those of some rows of the results, largest effect first."""
    _, screen = primary_and_screen(study)
    rope, table = ropes(study), with_ladder(study, study.results if table is None else table)
    short = short_names(study)
    sd = dict(zip(rope, np.atleast_1d(study.basis.meta.get("outcome_sd", np.nan)), strict=False))
    rows = []
    for r in table.to_dict(orient="records"):
        p = Precision.of(rope[r["outcome"]])
        rows.append(
            Feature(
                r["feature"],
                short[r["feature"]],
                r["label"],
                r["outcome"],
                unit(study) + (", per firing" if r["per_firing"] else ""),
                p.cell(r["effect"], r["ci_lower"], r["ci_upper"]),
                plain(abs(r["effect"]) / sd.get(r["outcome"], np.nan)),
                str(r["verdict"]),
                p.cell(r["knockout"], r["knockout_lower"], r["knockout_upper"]),
                str(r["knockout_verdict"]),
                str(r["confirmed"]),
                p.cell(r["replication"], r["replication_lower"], r["replication_upper"]),
                _replicated(r),
                p.signed(r["resampled"]).removeprefix("+"),
                f"{r['ceiling']} at most: {r['doubted'] or r['ceiling_why']}" if r["ceiling_why"] else "",
                plain(r["share_firing"], ".1%") if r["per_firing"] else "",
                p.cell(r["as_it_is"], r["as_it_is_lower"], r["as_it_is_upper"]),
                plain(r["move"], ".2f"),
                _rung(r, "gradient", p),
                _rung(r, screen, p),
                str(r["status"]),
            )
        )
    return rows


def unit(study: FinishedStudy) -> str:
    """What effects are in: that of the rung that claims rest on."""
    return study.estimates[str(study.results["rests_on"].iloc[0])].unit


_RESTS = {
    "rectified": "knockouts to the high and the low natural value of every {token} on {families} families drawn blind"
    " ({chosen}), with a gradient on all {all_families}",
    "site_experiment": "all features set to high or low at random",
    "within_calibrated": "instruments, widened by the bias that was measured against matched shifts: local slopes",
    "within": "instruments alone, whose bias was not measured: local slopes",
}


_CHOSEN = {"plan": "as many as the plan says", "all there are": "all there are"}


def resting(study: FinishedStudy) -> str:
    """What claims rest on, why, and how many passes it took, in one sentence or two."""
    name = str(study.results["rests_on"].iloc[0])
    meta = study.estimates[name].meta
    chosen = study.pilot.get("chosen_by", "plan")
    words = _RESTS.get(name, name).format(
        families=meta.get("families", ""),
        token=place_word(study),
        all_families=meta.get("all_families", ""),
        chosen=_CHOSEN.get(chosen, f"chosen by {chosen}"),
    )
    return f"They rest on {words}."


def rungs_in_words(study: FinishedStudy) -> list[str]:
    """One line a rung: coverage of knockouts of its own estimand, half width, passes."""
    several, lines = len(ropes(study)) > 1, []
    for r in study.rungs.to_dict("records"):
        spent = ", ".join(f"{r[k]:,} {k}" for k in PASSES if r[k]) or "none of its own"
        held = (
            f"coverage {r['coverage']:.2f} ({r['coverage_lower']:.2f} to {r['coverage_upper']:.2f})"
            if r["coverage"] == r["coverage"]
            else "coverage not known"
        )
        label = r["label"] + (f", {r['outcome']}" if several else "")
        wide = (
            f"half width {r['half_width']:.2g} ROPE" if r["half_width"] == r["half_width"] else "no estimate"
        )
        doubted = f"; doubted: {r['doubted']}" if r["doubted"] else ""
        lines.append(f"{label:<56} {held} of the {r['compared_with']}; {wide}; passes: {spent}{doubted}")
    return lines


def passes_in_words(study: FinishedStudy) -> str:
    """Passes of the network behind the claims, by kind; nothing where they were not counted."""
    counted = study.estimates[str(study.results["rests_on"].iloc[0])].meta.get("passes", {})
    words = {
        "forward": "forward passes",
        "resumed": "resumed at the edited layer",
        "backward": "backward passes",
    }
    return ", ".join(f"{counted[k]:,} {w}" for k, w in words.items() if counted.get(k))


def _rung(row: Mapping[Any, Any], name: str, precision: Precision) -> Cell:
    """What a rung says on the scale of contrasts."""
    if name not in row:
        return _ABSENT
    return precision.cell(row[name], row[f"{name}_lower"], row[f"{name}_upper"])


def _replicated(row: Mapping[Any, Any]) -> str:
    """How the estimate on other families bears on the first one."""
    value, lower, upper = (row[f"replication{end}"] for end in ("", "_lower", "_upper"))
    if not np.isfinite([value, lower, upper]).all():
        return "no estimate"
    sign = "same" if np.sign(value) == np.sign(row["effect"]) else "opposite"
    return f"{sign} sign, interval {'excludes' if lower > 0 or upper < 0 else 'includes'} 0"


def answer(study: FinishedStudy, rows: list[Feature]) -> dict[str, Any]:
    """What stands first on the page."""
    claims = [r for r in rows if r.verdict == "causal"]
    plan, counts = study.header["plan"], study.results["verdict"].value_counts()
    return {
        "tested": len(study.results),
        "counts": {v: int(counts.get(v, 0)) for v in _VERDICTS},
        "claims": claims[:SHOWN_CLAIMS],
        "more_claims": len(claims) - len(claims[:SHOWN_CLAIMS]),
        "against": {k: sum(r.against == k for r in claims) for k in _BEARINGS},
        "against_it": {
            (r["feature"], r["outcome"]): r["contradiction"]
            for r in study.claims.claims.to_dict("records")
            if r["contradiction"]
        },
        "contradicted": [r for r in claims if r.against == "contradicted"],
        "replication": _rerun(study, claims),
        "ropes": [
            (outcome, Precision.of(v).signed(v).removeprefix("+"), unit(study))
            for outcome, v in ropes(study).items()
        ],
        "rope_fraction": plan["estimation"]["rope"],
        "random": _baseline(study),
        "cautions": _cautions(study),
        "closing": closing(study),
        "resting": resting(study),
        "passes": passes_in_words(study),
        "described": bool(study.results["label"].astype(bool).any()),
    }


def closing(study: FinishedStudy) -> str:
    """What the study has shown, in a sentence or two for somebody who knows nothing of it."""
    claims = study.claims
    counts, frame = claims.counts, claims.to_frame()
    outcomes = ", ".join(dict.fromkeys(frame["outcome"].astype(str)))
    shown = sum(counts.get(g, 0) for g in "ABC")
    best = next((g for g in "ABC" if g in counts), "")
    words = {
        "D": "only suggestive",
        "Z": "shown to have no effect of a size that matters",
        "X": "contradicted by other evidence of the same run",
        "R": "refuted",
        "E": "open",
    }
    rest = [
        f"{counts[g]} {'is' if counts[g] == 1 else 'are'} {said}" for g, said in words.items() if g in counts
    ]
    rest += [f"{counts['N']} could not be evaluated"] if "N" in counts else []
    head = f"In short: of {len(frame)} tested {'effect' if len(frame) == 1 else 'effects'} on {outcomes},"
    some = (
        f" {shown} {'is' if shown == 1 else 'are'} supported ({GRADES[best]} evidence at best, grade {best})"
        if best
        else " none is supported"
    )
    explored = " No record shows that the plan was fixed first, so that all of this is exploratory." * bool(
        frame["exploratory"].any()
    )
    return f"{head}{some}{'; ' if rest else ''}{'; '.join(rest)}.{explored} A grade counts evidence; it is no probability."


def _rerun(study: FinishedStudy, claims: list[Feature]) -> dict[str, Any] | None:
    """Share of the causal claims that the replication split repeats."""
    if study.results["replication"].isna().all():
        return None
    counts = {
        "repeated": sum(c.replicated == "same sign, interval excludes 0" for c in claims),
        "undecided": sum(c.replicated == "same sign, interval includes 0" for c in claims),
        "opposite": sum(c.replicated.startswith("opposite") for c in claims),
        "missing": sum(c.replicated == "no estimate" for c in claims),
    }
    share = plain(counts["repeated"] / len(claims), ".0%") if claims else ""
    return counts | {"share": share, "claims": len(claims)}


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


def alarms(study: FinishedStudy) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Checks that failed or warn: those that bear on claims, and those of rungs that no claim rests on."""
    of_claims = [c.to_dict() for c in study.claim_checks if isinstance(c, Check) and c.verdict != "passed"]
    failed = [c for c in [*study.checks, *of_claims] if c["verdict"] not in ("passed", "not applicable")]
    said, rests = set(study.results["doubted"].str.split(", ").explode()), set(study.results["rests_on"])
    bearing = [
        c for c in failed if not c.get("rungs") or rests & set(c["rungs"]) or c["name"].split(":")[0] in said
    ]
    return bearing, [c for c in failed if c not in bearing]


def _cautions(study: FinishedStudy) -> list[str]:
    """What a reader must know before believing the intervals."""
    bearing, _ = alarms(study)
    out = [
        f"Check {c['verdict']}: {c['name']}. {c['note']} {c.get('next_step') or ''}".rstrip() for c in bearing
    ]
    out += few_families(study)
    out += _values_from(study)
    out += _held_back(study)
    out += caution(study)
    earlier = study.header["earlier_plans"]
    if earlier:
        out.append(
            f"{earlier} other {'plan' if earlier == 1 else 'plans'} on the same network and outcome beside"
            " this one: findings selected among plans hold less often."
        )
    tested = len(study.results)
    drawn = any(k.meta.get("sampled_outcomes") for k in study.knockouts.values())
    but = (
        " but those of what is called causal of an outcome that is drawn (false coverage rate 5%)"
        if drawn
        else ""
    )
    out.append(
        f"Each interval has level 95% by itself; none is adjusted for the {tested} effects tested{but}."
    )
    return out


def few_families(study: FinishedStudy) -> list[str]:
    """What few families leave standing: nothing, in a rehearsal; claims on contrasts, in a small study."""
    families = study.design.families("estimation")
    if families >= MIN_FAMILIES:
        return []
    rung = str(study.results["rests_on"].iloc[0])
    knocked = int(study.estimates[rung].meta.get("families", 0))
    every = sum(study.design.families(split) for split in SPLITS)
    if rung != "rectified" or knocked < FEWEST_FAMILIES or every < MIN_FAMILIES:
        return [
            f"A rehearsal: {families} families in the estimation split, default inference needs"
            f" {MIN_FAMILIES}. Intervals are not for inference."
        ]
    return [
        f"A small study: {every} families in all, {families} in the estimation split. Claims rest on contrasts of"
        f" {knocked} families, whose intervals allow for so few; estimates by instruments need {MIN_FAMILIES}, and theirs are"
        " not for inference. Features were learned on"
        f" {study.design.families('discovery')} families, and each half of the replication families is as small: that a"
        " claim is not confirmed says little here."
    ]


def _values_from(study: FinishedStudy) -> list[str]:
    """What low and high values were learned from, where claims rest on contrasts of them."""
    rung = str(study.results["rests_on"].iloc[0])
    said = study.estimates[rung].meta.get("levels_from") if rung in study.estimates else None
    return [f"Low and high values of features: {said}."] if said else []


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
