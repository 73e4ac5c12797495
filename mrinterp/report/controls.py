"""Negative controls in words: whether they stayed silent, before anything that was found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mrinterp.report.finished import FinishedStudy
from mrinterp.results._negative_controls import (
    DIFFERENCES,
    PLACEBO_EDITS,
    RANDOM_DIRECTIONS,
    REINITIALIZED,
    NegativeControls,
    is_control,
)

__all__ = [
    "calibrated_evidence",
    "control_checks",
    "control_words",
    "controls_in_a_line",
    "failed_controls",
    "null_in_words",
]

OF_KNOCKOUTS = (DIFFERENCES, PLACEBO_EDITS, RANDOM_DIRECTIONS)
ON_KNOCKOUTS = {"rectified", "site_experiment"}
LEVEL = 0.05


def control_checks(study: FinishedStudy) -> list[dict[str, Any]]:
    """The checks of negative controls, as plain dictionaries."""
    of_claims = [c.to_dict() for c in study.claim_checks if is_control(c.name)]
    return [*(c for c in study.checks if is_control(c["name"])), *of_claims]


def failed_controls(study: FinishedStudy) -> str:
    """What stands first of a study whose negative controls found something; nothing where they did not."""
    every = [c["name"] for c in control_checks(study) if c["verdict"] == "failed"]
    failed = [n for n in every if n.partition(":")[0] != REINITIALIZED]
    untaught = f"Negative controls failed ({', '.join(n for n in every if n not in failed)}): the network does the same with weights"
    untaught += " drawn anew. Claims are not about what it has learned."
    if not failed:
        return untaught if every else ""
    knocked = [n for n in failed if n.partition(":")[0] in OF_KNOCKOUTS]
    what = [
        w
        for w, some in (("knockouts", knocked), ("estimates by instruments", len(failed) > len(knocked)))
        if some
    ]
    rests = set(study.results["rests_on"]) <= ON_KNOCKOUTS
    if rests and not knocked:
        but = "Claims rest on knockouts, which have controls of their own"
    else:
        but = "All claims rest on them" if bool(knocked) == rests else "No claim rests on them"
    return (
        f"Negative controls failed ({', '.join(failed)}): {' and '.join(what)} are not calibrated. {but}."
        + (f" {untaught}" if len(every) > len(failed) else "")
    )


def control_words(study: FinishedStudy) -> list[str]:
    """What every set of controls showed, those that do not apply with the reason, and the empirical null."""
    return [
        f"{c['name']}: {c['verdict'] if c['verdict'] != 'not applicable' else 'does not apply'}. {c['note']}"
        for c in control_checks(study)
    ]


def controls_in_a_line(study: FinishedStudy) -> str:
    """The same for a terminal: how many sets passed; nothing where one failed, which stands first."""
    counts = [c["verdict"] for c in control_checks(study)]
    passed, warned = counts.count("passed"), counts.count("warning")
    if failed_controls(study) or not passed + warned:
        return ""
    return f"Negative controls: {passed} passed" + (f", {warned} with a warning." if warned else ".")


def null_in_words(study: FinishedStudy) -> str:
    """The verdict in a line where nothing failed, with the null that claims were held against."""
    checks = control_checks(study)
    done = [c["name"] for c in checks if c["verdict"] != "not applicable"]
    warned = [c["name"] for c in checks if c["verdict"] == "warning"]
    if not done:
        return "Negative controls: none in this study."
    head = (
        ""
        if failed_controls(study)
        else f"Negative controls passed ({', '.join(n for n in done if n not in warned)})"
    )
    head += f"; {', '.join(warned)}: warning" if warned and head else ""
    null, evidence = study.controls.get("claims"), calibrated_evidence(study)
    if not isinstance(null, NegativeControls) or evidence.isna().all():
        return f"{head}." if head else ""
    causal = study.results["verdict"] == "causal"
    kept = int((evidence[causal] > -np.log10(LEVEL)).sum())
    words = (
        f"Empirical null of what claims rest on: z-scores of mean {null.mean:+.2f} and sd {null.sd:.2f} ({len(null.z)}"
        f" controls, as good as {null.effective:.3g}); held against it, p stays below {LEVEL:g} for {kept} of"
        f" {int(causal.sum())} causal claims"
    )
    return f"{head}. {words}." if head else f"{words}."


def calibrated_evidence(study: FinishedStudy) -> pd.Series:
    """-log10 p of every claim against the empirical null of its rung, nan where none is known; in the order of the results."""
    null, table = study.controls.get("claims"), study.results
    if not isinstance(null, NegativeControls) or not null.exposures:
        return pd.Series(np.nan, index=table.index)
    row, column = pd.Index(null.exposures), pd.Index(null.outcomes)
    f, o = row.get_indexer(pd.Index(table["feature"])), column.get_indexer(pd.Index(table["outcome"]))
    found = np.where((f >= 0) & (o >= 0), null.calibrated_neglog10p[f, o], np.nan)
    first = str(table["rests_on"].iloc[0])
    return pd.Series(np.where(table["rests_on"] == first, found, np.nan), index=table.index)
