"""The short table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.provenance import installed_versions
from mrinterp.core.shown import bytes_in_words, time_in_words
from mrinterp.report.chosen import noise_in_words, scale_in_words, tokens_in_words
from mrinterp.report.claims import (
    alarms,
    closing,
    few_families,
    ladder_words,
    resting,
    ropes,
    rungs_in_words,
    unit,
)
from mrinterp.report.controls import control_checks, controls_in_a_line, failed_controls, null_in_words
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.flow import leaks_in_words
from mrinterp.report.kinds import kinds_sentences, whole_sentences
from mrinterp.report.numbers import Precision
from mrinterp.report.order import blind, caution
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.paths_to_outcome import NO_PATH

__all__ = [
    "cost_text",
    "precision_text",
    "rerun_text",
    "summary_record",
    "summary_text",
    "sweep_cost_text",
]

OF_THE_DICTIONARY = ("autoencoder", "latents left out")
"""Checks that are told whatever their verdict: how much of the site the features are."""


def summary_text(study: FinishedStudy, top: int = 16) -> str:
    """Feature, effect with interval and unit, verdict, what other families say; then how well each method agreed.

    Parameters
    ----------
    study : Study
        A finished one.
    top : int
        Features shown, largest effects first; the rest is counted and lies in the run folder.
    """
    outcomes = list(study.estimates["within"].outcomes)
    held = [*_agreement(study), *_impostors(study), *kinds_sentences(study), _read_back(study)]
    held += [f"{c['name']}: {c['note']}" for c in study.checks if c["name"] in OF_THE_DICTIONARY]
    held += [line for line in (noise_in_words(study), scale_in_words(study)) if line]
    return "\n".join(
        [
            *filter(None, [failed_controls(study)]),
            study.header["plan"]["title"],
            f"Effects on {', '.join(outcomes)}, in {unit(study)}.",
            resting(study),
            *filter(None, [tokens_in_words(study), controls_in_a_line(study)]),
            "",
            *_largest(study, top),
            "",
            _tested(study, top),
            *_ceilings(study),
            *_sets(study),
            *whole_sentences(study),
            "",
            "What every rung took, and how it held:",
            *(f"  {line}" for line in rungs_in_words(study)),
            "",
            f"Local slopes, compared with the {blind(study)}matched shifts:",
            *(f"  {line}" for line in held),
            "",
            *few_families(study),
            *caution(study),
            *_checks(study),
            *_ending(study),
        ]
    )


def summary_record(study: FinishedStudy) -> dict[str, Any]:
    """What `summary_text` says, for machines: every effect with its verdict, failed checks, where everything lies.

    Parameters
    ----------
    study : Study
        A finished one.
    """
    every = [*study.checks, *(c.to_dict() for c in study.claim_checks)]
    return {
        "negative_controls": {
            "failed": failed_controls(study),
            "null": null_in_words(study),
            "checks": control_checks(study),
        },
        "title": study.header["plan"]["title"],
        "folder": str(study.out),
        "page": str(Path(study.out) / "report.html"),
        "unit": unit(study),
        "rests_on": resting(study),
        "ropes": ropes(study),
        "verdicts": {str(v): int(n) for v, n in study.results["verdict"].value_counts().items()},
        "results": study.results.to_dict("records"),
        "grades": study.claims.counts,
        "claims": study.claims.to_frame().to_dict("records"),
        "checks": [c for c in every if c["verdict"] not in ("passed", "not applicable")],
        "rules": study.header["rules_hash"],
        "candidates": study.header["candidates_hash"],
        "earlier_plans": study.header["earlier_plans"],
    }


def _largest(study: FinishedStudy, top: int) -> list[str]:
    """The table of the largest effects, one line a feature and outcome."""
    named = ("outcome",) if len(ropes(study)) > 1 else ()
    head = (
        "feature",
        "responds to",
        *named,
        "effect",
        "95% interval",
        "verdict",
        "other families",
        "say",
        "grade",
    )
    rows = [head]
    grades, against = study.claims.to_frame()["grade"], _against(study)
    ladder = ladder_words(study)
    for r in study.results.assign(grade=grades).head(top).to_dict("records"):
        known, d = r["effect"] == r["effect"], Precision.of(ropes(study)[r["outcome"]]).decimals
        rows.append(
            (
                r["feature"].rsplit(":", 1)[-1],
                r["label"],
                *(r[n] for n in named),
                f"{r['effect']:+.{d}f}" if known else "none",
                f"[{r['ci_lower']:+.{d}f}, {r['ci_upper']:+.{d}f}]" if known else "not identified",
                r["verdict"] + _said_of(r),
                f"{r['knockout']:+.{d}f}" if r["knockout"] == r["knockout"] else "none",
                r["confirmed"] or r["knockout_verdict"],
                r["grade"]
                + against.get((r["feature"], r["outcome"]), "")
                + (f"; {said}" if (said := ladder.get((r["feature"], r["outcome"]))) else ""),
            )
        )
    return _aligned(rows)


def _against(study: FinishedStudy) -> dict[tuple[str, str], str]:
    """What kinds of evidence speak against a claim, by name; `mrinterp grade` has the numbers."""
    said = study.claims.domains
    named = said[said["points"] < 0].groupby(["feature", "outcome"])["title"].agg(", ".join).reset_index()
    return {(r["feature"], r["outcome"]): f", against it: {r['title']}" for r in named.to_dict("records")}


def _said_of(row: Mapping[Any, Any]) -> str:
    """What a claim's line says beside its verdict: that there is no path, or which checks failed."""
    if row["status"] == NO_PATH:
        return f": {NO_PATH}"
    return f", specification doubted: {row['doubted']}" if row["doubted"] else ""


def _sets(study: FinishedStudy) -> list[str]:
    """Features that the runs cannot tell apart have no verdict of their own: what holds of each set."""
    found = study.estimates["within"].sets(list(ropes(study).values()))
    return [f"Sets that count as one claim ({len(found)}):", *(f"  {s}" for s in found)] if found else []


def _tested(study: FinishedStudy, top: int) -> str:
    """How many effects got which verdict, against which region, and how many are not shown."""
    several, table = len(ropes(study)) > 1, study.results
    counts = ", ".join(f"{n} {v}" for v, n in table["verdict"].value_counts().items())
    each = ", ".join(
        f"+-{r:.{Precision.of(r).decimals}f}{f' ({o})' if several else ''}" for o, r in ropes(study).items()
    )
    said = (
        f"{len(table)} {_noun(study)} tested: {counts} (region of practical equivalence {each})."
        f" {max(len(table) - top, 0)} not shown."
    )
    rare = table.loc[table["per_firing"], "share_firing"]
    if rare.empty:
        return said
    lowest, highest = (f"{x:.2g}" for x in (rare.min(), rare.max()))
    return (
        f"{said} {len(rare)} are per firing (at a share of {lowest} to {highest} of where it is read): results.parquet has"
        " Y(as it is) - Y(low) beside them, as_it_is."
    )


def _ceilings(study: FinishedStudy) -> list[str]:
    """The best grade that the claims can reach, whatever they show, and why."""
    bounded = study.results[study.results["ceiling_why"] != ""]
    counts = bounded.groupby(["ceiling", "ceiling_why"]).size().reset_index(name="count").to_dict("records")
    said = ", ".join(f"{r['ceiling']} for {r['count']} ({r['ceiling_why']})" for r in counts)
    return [f"Best grade that they can reach (N: not evaluable): {said}."] if said else []


def _agreement(study: FinishedStudy) -> list[str]:
    """How well every method agreed with the knockouts, and whom univariable MR misled."""
    several, summary, meta = len(ropes(study)) > 1, study.agreement.scores, study.agreement.meta
    silent, lines = summary["correlation"].isna(), []
    if silent.any():
        few = "fewer than 4 features with an effect, or effects all alike"
        lines.append(f"agreement is not computed for {silent.sum()} of {len(summary)} comparisons ({few}).")
    for s in summary[~silent].to_dict("records"):
        lines.append(
            f"{s['label'] + (', ' + s['outcome'] if several else ''):<62} correlation {s['correlation']:+.3f}"
            f"  slope {s['slope']:.2f}"
            f"  coverage {s['coverage']:.2f} ({s['coverage_lower']:.2f} to {s['coverage_upper']:.2f})"
            f"{_area(s)}, {s['missing']} missing"
        )
    lines.append(
        f"univariable MR called {meta['screen_significant']} of {len(study.results)} {_noun(study)} significant;"
        f" the knockout finds {len(study.agreement.misled)} of those negligible."
    )
    return lines


SHOWN_IMPOSTORS = 3


def _impostors(study: FinishedStudy) -> list[str]:
    """Features that show more of another's effect than of their own, the clearest of each outcome."""
    found = study.borrowed
    if isinstance(found, NotApplicable):
        return []
    several, lines = len(found.outcomes) > 1, []
    for outcome in found.outcomes:
        shown = found.shown_by_others(outcome)
        if not shown:
            continue
        on = f" on {outcome}" if several else ""
        lines.append(
            f"By itself, {len(shown)} of {len(found.features)} show more of another's effect{on} than of their own:"
        )
        site = found.features[0].rpartition(":")[0] + ":"
        lines += [f"  {found.short(one, outcome).replace(site, '')}" for one in shown[:SHOWN_IMPOSTORS]]
    return lines


def _noun(study: FinishedStudy) -> str:
    return "effects" if len(ropes(study)) > 1 else "features"


def _area(row: Mapping[Any, Any]) -> str:
    """How well a method ranks causal above negligible features, where both are there."""
    area = row.get("auroc", float("nan"))
    return f"  AUROC {area:.2f}" if area == area else ""


def _read_back(study: FinishedStudy) -> str:
    """Whether writing a feature and reading all of them back gives the identity."""
    matrix = study.basis.dictionary.read_back
    diagonal, rest = np.diag(matrix), np.abs(matrix - np.diag(np.diag(matrix)))
    how = "W A" if study.basis.dictionary.read is not None else "measured"
    said = (
        f"read-back matrix {how} ({len(matrix)} x {len(matrix)}, basis/read_back.csv): diagonal"
        f" {diagonal.min():.6f} to {diagonal.max():.6f}, largest other entry {rest.max():.1e}."
    )
    return " ".join(filter(None, [said, leaks_in_words(study.basis.dictionary)]))


def _checks(study: FinishedStudy) -> list[str]:
    """What failed or warns; apart from that what does so of rungs that no claim rests on, since it costs the claims nothing."""
    bearing, marked = alarms(study)

    def said(checks: list[dict[str, Any]]) -> list[str]:
        return [f"  {c['verdict']}: {c['name']}. {c['note']}" for c in checks]

    lines = ["Checks:", *said(bearing)] if bearing else ["Checks of what claims rest on: all passed."]
    return [*lines, "Checks of rungs that no claim rests on:", *said(marked)] if marked else lines


def _ending(study: FinishedStudy) -> list[str]:
    """Hashes, plans tried before, and where the page lies."""
    header, earlier = study.header, study.header["earlier_plans"]
    return [
        f"Rules {header['rules_hash'][:12]}, candidates {header['candidates_hash'][:12]},"
        f" {earlier} earlier {'plan' if earlier == 1 else 'plans'} on this network and outcome beside this folder.",
        f"{closing(study)} Why, claim by claim: mrinterp grade {study.out} --feature NAME.",
        f"The page to read is {Path(study.out) / 'report.html'}; everything is in {study.out}.",
    ]


def rerun_text(claims: pd.DataFrame, versions: dict[str, str]) -> str:
    """How many claims came out again, those that did not, and what else is installed than then."""
    counts = claims["same"].value_counts()
    lines = [f"{len(claims)} claims repeated: " + ", ".join(f"{n} {v}" for v, n in counts.items()) + "."]
    for c in claims[~claims["same"].isin(["identical", "agrees"])].to_dict("records"):
        lines.append(
            f"  {c['feature']} on {c['outcome']}: {c['effect']:+.4g} ({c['verdict']}) then,"
            f" {c['effect_again']:+.4g} ({c['verdict_again']}) now, {c['difference']:+.1f} standard errors."
        )
    lines.append(
        "The same specification was repeated: it shows that the run can be reproduced, not that its claims hold; a bias comes"
        " out again. mrinterp rerun RUN_DIR --differently takes another seed and another scale of the noise."
    )
    now = installed_versions()
    changed = [f"{k} {v} then, {now.get(k, 'absent')} now" for k, v in versions.items() if now.get(k) != v]
    lines.append("Versions are the same." if not changed else "Versions differ: " + "; ".join(changed) + ".")
    return "\n".join(lines)


def cost_text(cost: dict[str, float]) -> str:
    """Runs of the network, time and memory of a study that has not been run."""
    return "\n".join(
        [
            f"Runs of the network: {cost['scan_runs']:,.0f} scan + {cost['knockout_runs']:,.0f} knockouts, about"
            f" {time_in_words(cost['seconds'])} ({cost['seconds_per_block']:.2f} s per block of {cost['block']:.0f},"
            f" {cost['seconds_per_edited_block']:.2f} s edited, measured now) and the estimates.",
            f"Memory: about {bytes_in_words(cost['bytes'])} beyond the libraries; disk: about {bytes_in_words(cost['disk'])}.",
        ]
    )


def sweep_cost_text(costs: pd.DataFrame) -> str:
    """What a sweep will take: a line for every study, and all together.

    Parameters
    ----------
    costs : DataFrame
        `Sweep.cost`.
    """
    lines = [
        f"  {c['study']}: {c['runs']:,.0f} runs, about {time_in_words(c['seconds'])}, {bytes_in_words(c['bytes'])}"
        for c in costs.to_dict("records")
    ]
    total = (
        f"{len(costs)} studies, one after the other: {costs['runs'].sum():,.0f} runs, about"
        f" {time_in_words(costs['seconds'].sum())}, at most {bytes_in_words(costs['bytes'].max())} of memory;"
        f" disk: about {bytes_in_words(costs['disk'].sum())}."
    )
    return "\n".join([total, *lines])


def precision_text(found: pd.DataFrame | NotApplicable, rope: float) -> str:
    """How wide the intervals of a study that has not been run will be, and what they can show.

    Parameters
    ----------
    found : DataFrame or NotApplicable
        `Study.expected_precision`.
    rope : float
        Half width of the region of practical equivalence, in sd of the outcome.
    """
    if isinstance(found, NotApplicable):
        return f"Expected intervals: not known before the run: {found.reason}."
    several = found["outcome"].nunique() > 1
    on = "" if several else f" on {found['outcome'].iloc[0]}"
    head = ("families", "prediction", "in sd", "in ROPE", "no effect shown", "causal from")
    rows: list[tuple[str, ...]] = [("outcome", *head) if several else head]
    for r in found.to_dict("records"):
        unknown = np.isnan(r["half_width"])
        numbers = (
            ("not known: none of the stand-ins changed it", "", "", "")
            if unknown
            else (
                f"{r['half_width']:.2g}",
                f"{r['in_ropes']:.2g}",
                f"{r['absence']:.0%}",
                f"{r['causal_from']:.2g}",
            )
        )
        knocked = f"{r['families']} of {r['all_families']}, {r['prompts']} each"
        row = (knocked, r["prediction"].removeprefix("correlation "), *numbers)
        rows.append((r["outcome"], *row) if several else row)
    return "\n".join(
        [
            f"Expected half width of 95% intervals{on}, per natural sd, by the prediction's correlation across prompts:",
            *(f"  {line}" for line in _aligned(rows)),
            f"  ROPE: {rope:g} sd of the outcome. No effect shown: chance that a feature without any is called negligible. Causal"
            " from: effect, in ROPE, found with chance 80%.",
            f"  Measured on {found['measured_on'].iloc[0]}: right within about 1.5 times.",
        ]
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
