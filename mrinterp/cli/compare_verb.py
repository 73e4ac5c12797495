"""The verb ``compare``: two finished runs, claim by claim."""

from __future__ import annotations

from typing import Any

import click
import pandas as pd

from mrinterp.cli.grade_verb import opened_run
from mrinterp.cli.verbs import answer, answering, example, voice

__all__ = ["compare", "comparison_text"]

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
    ordered = found.assign(order=found["same"].map(ORDER.index)).sort_values("order", kind="stable")
    some = ordered if voice().verbose else ordered.head(SHOWN)
    lines += [_line({str(k): v for k, v in row.items()}) for row in some.to_dict("records")]
    lines += [f"and {len(found) - len(some)} more (--verbose lists all)"] if len(some) < len(found) else []
    if "same within errors" in counts:
        lines.append(
            "Same within errors is no proof of sameness: each line says what would have been found with chance 80%."
        )
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    name = row["feature"].rsplit(":", 1)[-1]
    head = f"  {name} on {row['outcome']}: {row['same']}"
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
