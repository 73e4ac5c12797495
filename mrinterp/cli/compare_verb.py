"""The verb ``compare``: two finished runs, claim by claim."""

from __future__ import annotations

from typing import Any

import click
import pandas as pd

from mrinterp.cli.grade_verb import opened_run
from mrinterp.cli.verbs import answer, answering, example, voice

__all__ = ["compare", "survival_text"]

SHOWN = 20
"""Claims in the short answer, those that differ first; ``--verbose`` lists all."""
ORDER = ("different beyond error", "not compared", "same within errors", "identical")


@click.command(
    "compare",
    short_help="Two finished runs, claim by claim: the same or different beyond error.",
    epilog=example("mrinterp compare runs/a runs/b"),
)
@click.argument("run_dir")
@click.argument("other_dir")
@answering
def compare(run_dir: str, other_dir: str) -> None:
    """Compare the claims of two finished runs: the same within errors or different beyond them, and what else differs.

    Features are matched by their directions, not by their names. Exit code 0 whatever comes out.
    """
    found = opened_run(run_dir).compare(opened_run(other_dir))
    answer(lambda: comparison_text(found), {"claims": found.to_dict("records")})


def comparison_text(found: pd.DataFrame) -> str:
    """How many claims are the same, and a line for each, those that differ first."""
    counts = found["same"].value_counts()
    lines = [f"{len(found)} claims: " + ", ".join(f"{counts[w]} {w}" for w in ORDER if w in counts) + "."]
    reasons = found.loc[found["same"] == ORDER[0], "reason"].unique()
    lines += [f"What differs between the runs: {r}." for r in reasons]
    lines += [] if ORDER[0] in counts else [_none_differs(counts)]
    ordered = found.assign(order=found["same"].map(ORDER.index)).sort_values("order", kind="stable")
    some = ordered if voice().verbose else ordered.head(SHOWN)
    lines += [_line({str(k): v for k, v in row.items()}) for row in some.to_dict("records")]
    lines += [f"and {len(found) - len(some)} more (--verbose lists all)"] if len(some) < len(found) else []
    if "same within errors" in counts:
        lines.append(
            "Same within errors is no proof of sameness: each line says what would have been found with chance 80%."
        )
    return "\n".join(lines)


def _none_differs(counts: pd.Series) -> str:
    """That no claim is different, of how many that is said, and of how many nothing is."""
    compared = int(counts.sum() - counts.get("not compared", 0))
    if not compared:
        return "No claim of one run is about a feature and outcome of the other: nothing is said of any."
    left = f"; of the {counts['not compared']} others nothing is said" if "not compared" in counts else ""
    return f"None of the {compared} claims that both runs make differs beyond error{left}."


def survival_text(found: pd.DataFrame, run_dir: str) -> str:
    """Whether the claims of a run survived another seed and another scale of the noise, those that did not first.

    Parameters
    ----------
    found : DataFrame
        What `Study.rerun` (differently) returns.
    run_dir : str
        Folder of the first run.
    """
    from mrinterp.results._claims import SURVIVAL

    counts = found["survived"].value_counts()
    causal = int((found["verdict"] == "causal").sum())
    lines = [
        f"The study was carried out again, with {found['label'].iloc[0]}. Of {causal} causal claims"
        f" {counts.get('survives', 0)} survive: causal there too, with the same sign and half to twice the size.",
        f"All {len(found)}: " + ", ".join(f"{counts[w]} {w}" for w in SURVIVAL if w in counts) + ".",
    ]
    ordered = found.assign(order=found["survived"].map(SURVIVAL.index)).sort_values("order", kind="stable")
    some = ordered if voice().verbose else ordered.head(SHOWN)
    lines += [_line({str(k): v for k, v in row.items()}, row["survived"]) for row in some.to_dict("records")]
    lines += [f"and {len(found) - len(some)} more (--verbose lists all)"] if len(some) < len(found) else []
    if not found["differs"].all():
        lines.append(
            "Seed and network are the same: a bias comes out again, and the grades do not count this run."
        )
    lines.append(
        "What both runs do alike (the same inputs, outcome and network) may be wrong in both. The grades read this now:"
        f" mrinterp grade {run_dir}; the page: mrinterp report {run_dir}."
    )
    return "\n".join(lines)


def _line(row: dict[str, Any], said: str = "") -> str:
    name = row["feature"].rsplit(":", 1)[-1]
    head = f"  {name} on {row['outcome']}: {said or row['same']}"
    if row["same"] == "not compared":
        return f"{head}: {row['reason']}"
    renamed = (
        ""
        if row["feature_other"] == row["feature"]
        else f" (there {row['feature_other'].rsplit(':', 1)[-1]})"
    )
    return (
        f"{head}{renamed}, {row['effect']:+.3g} here ({row['verdict']}, {row['grade']}), {row['effect_other']:+.3g} there"
        f" ({row['verdict_other']}, {row['grade_other']}), {row['difference']:+.1f} errors; detectable {row['detectable']:.2g}"
    )
