"""The short table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.provenance import installed_versions
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.kinds import kinds_sentences

__all__ = ["cost_text", "rerun_text", "summary_text"]


def summary_text(study: FinishedStudy, top: int = 16) -> str:
    """Feature, effect with interval and unit, knockout, verdict; then how well each method agreed.

    Parameters
    ----------
    study : Study
        A finished one.
    top : int
        Features shown, largest effects first; the rest is counted and lies in the run folder.
    """
    header, table = study.header, study.results
    outcomes, unit = list(study.estimates["within"].outcomes), study.basis.dictionary.unit
    several = len(outcomes) > 1
    lines = [
        header["plan"]["title"],
        f"Effects on {', '.join(outcomes)}, in outcome units per {unit} of the feature.",
        "",
    ]
    named = ("outcome",) if several else ()
    rows = [
        ("feature", "responds to", *named, "effect", "95% interval", "knockout", "verdict", "knockout says")
    ]
    for r in table.head(top).to_dict("records"):
        rows.append(
            (
                r["feature"].rsplit(":", 1)[-1],
                r["label"],
                *((r["outcome"],) if several else ()),
                f"{r['effect']:+.4f}" if r["effect"] == r["effect"] else "none",
                f"[{r['ci_lower']:+.4f}, {r['ci_upper']:+.4f}]"
                if r["effect"] == r["effect"]
                else "not identified",
                f"{r['knockout']:+.4f}",
                r["verdict"],
                r["knockout_verdict"],
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = ", ".join(f"{n} {v}" for v, n in table["verdict"].value_counts().items())
    ropes = study.agreement.meta["rope"]
    each = [f"+-{r:.4f}{f' ({o})' if several else ''}" for o, r in zip(outcomes, ropes, strict=True)]
    tested = "effects" if several else "features"
    lines += [
        "",
        f"{len(table)} {tested} tested: {counts} (region of practical equivalence {', '.join(each)})."
        f" {max(len(table) - top, 0)} not shown.",
    ]
    lines += ["", "Held against the blind knockouts:"]
    summary = study.agreement.summary
    silent = summary["correlation"].isna()
    if silent.any():
        few = "fewer than 4 features with an effect, or effects all alike"
        lines.append(f"  agreement is not computed for {silent.sum()} of {len(summary)} comparisons ({few}).")
    for s in summary[~silent].to_dict("records"):
        lines.append(
            f"  {s['label'] + (', ' + s['outcome'] if several else ''):<62} correlation {s['correlation']:+.3f}  slope {s['slope']:.2f}"
            f"  coverage {s['coverage']:.2f} ({s['coverage_lower']:.2f} to {s['coverage_upper']:.2f})"
            f"{_area(s)}, {s['missing']} missing"
        )
    misled, meta = study.agreement.misled, study.agreement.meta
    lines.append(
        f"  univariable MR called {meta['screen_significant']} of {len(table)} {tested} significant;"
        f" the knockout finds {len(misled)} of those negligible."
    )
    lines += [f"  {line}" for line in kinds_sentences(study)]
    d = study.basis.dictionary
    matrix = d.read_back
    diagonal, rest = np.diag(matrix), np.abs(matrix - np.diag(np.diag(matrix)))
    lines.append(
        f"  read-back matrix W A ({len(matrix)} x {len(matrix)}, basis/read_back.csv): diagonal {diagonal.min():.6f} to"
        f" {diagonal.max():.6f}, largest other entry {rest.max():.1e}."
    )
    lines += [f"  {c['name']}: {c['note']}" for c in study.checks if c["name"] == "autoencoder"]
    failed = [c for c in study.checks if c["verdict"] not in ("passed", "not applicable")]
    lines += ["", "Checks: all passed." if not failed else "Checks:"]
    lines += [f"  {c['verdict']}: {c['name']}. {c['note']}" for c in failed]
    lines += [
        f"Rules {header['rules_hash'][:12]}, candidates {header['candidates_hash'][:12]},"
        f" {header['earlier_plans']} earlier plans on this network and outcome beside this folder.",
        f"The page to read is {Path(study.out) / 'report.html'}; everything is in {study.out}.",
    ]
    return "\n".join(lines)


def _area(row: Mapping[Any, Any]) -> str:
    """How well a method ranks causal above negligible features, where both are there."""
    area = row.get("auroc", float("nan"))
    return f"  AUROC {area:.2f}" if area == area else ""


def rerun_text(claims: pd.DataFrame, versions: dict[str, str]) -> str:
    """How many claims came out again, those that did not, and what else is installed than then."""
    counts = claims["same"].value_counts()
    lines = [f"{len(claims)} claims repeated: " + ", ".join(f"{n} {v}" for v, n in counts.items()) + "."]
    for c in claims[~claims["same"].isin(["identical", "agrees"])].to_dict("records"):
        lines.append(
            f"  {c['feature']} on {c['outcome']}: {c['effect']:+.4g} ({c['verdict']}) then,"
            f" {c['effect_again']:+.4g} ({c['verdict_again']}) now, {c['difference']:+.1f} standard errors."
        )
    now = installed_versions()
    changed = [f"{k} {v} then, {now.get(k, 'absent')} now" for k, v in versions.items() if now.get(k) != v]
    lines.append("Versions are the same." if not changed else "Versions differ: " + "; ".join(changed) + ".")
    return "\n".join(lines)


def cost_text(cost: dict[str, float]) -> str:
    """Forward passes, time and memory of a study that has not been run."""
    return "\n".join(
        [
            f"Forward passes: {cost['runs']:,.0f} runs in blocks of {cost['block']:.0f}"
            f" ({cost['scan_runs']:,.0f} scan, {cost['knockout_runs']:,.0f} knockouts).",
            f"Time: about {cost['seconds'] / 60:.1f} minutes ({cost['seconds_per_block']:.2f} s per block, measured now), estimates not counted.",
            f"Memory: about {cost['bytes'] / 2**30:.1f} GiB beyond the libraries; disk: about {cost['disk'] / 2**30:.2f} GiB.",
        ]
    )
