"""Tests of MR's equation on worlds that are right and worlds that are not: alarms by family of worlds.

    python benchmarks/diagnostics/specification.py [--worlds 200]

For every development family with runs (`mrinterp.worlds`): the share of worlds in which each test of
`specification_checks` fails, in which any of them does, and in which some features cannot be told apart (which is about the
features, not about the equation). Worlds whose ``broken`` is empty are right: their share is a false alarm, 5% at most. Writes
benchmarks/results/diagnostics_specification.{csv,md}.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from mrinterp.diagnostics import identification_checks, specification_checks
from mrinterp.results import Check
from mrinterp.worlds import WorldFamily, world_families

RESULTS = Path(__file__).parents[1] / "results"
APART = "features told apart"
LARGE = ("sparse codes",)
"""Worlds of a thousand features: a tenth as many."""


def alarms(family: WorldFamily, worlds: int) -> pd.DataFrame:
    """One row per world and test."""
    rows = []
    for seed in range(worlds):
        world = family.make(seed)
        if world.panel is None:
            break
        kind = next(k for k in world.panel.runs["kind"] if k != "clean")
        for check in [*specification_checks(world.panel), identification_checks(world.panel, kind, 20)[-1]]:
            if isinstance(check, Check):
                name = check.name.split(":")[0]
                told = check.verdict != "passed" and (check.verdict == "failed" or name == APART)
                rows.append((family.name, seed, name, told, ", ".join(sorted(world.broken))))
    return pd.DataFrame(rows, columns=["family", "seed", "test", "alarm", "broken"])


def page(table: pd.DataFrame) -> str:
    """Shares by family and test, with exact intervals of any alarm."""
    lines = [
        "# Tests of MR's equation: alarms on worlds with known causes",
        "",
        "`python benchmarks/diagnostics/specification.py`. Share of worlds in which a test fails; *any* with its exact 95%",
        "interval. Families whose equation is right (nothing broken) should alarm in 5% at most. The last column is about the",
        "features and not counted as an alarm: exact copies, or more columns than the runs can tell apart.",
        "",
    ]
    tests = list(dict.fromkeys(table["test"]))
    lines += [f"| worlds | what is broken | n | any | {' | '.join(tests)} |", "|" + "---|" * (len(tests) + 4)]
    for (family, broken), rows in table.groupby(["family", "broken"], sort=False):
        any_ = rows[rows["test"] != APART].groupby("seed")["alarm"].any()
        lower, upper = proportion_confint(int(any_.sum()), len(any_), method="beta")
        shares = rows.groupby("test")["alarm"].mean()
        cells = " | ".join(f"{shares[t]:.2f}" if t in shares else "none" for t in tests)
        lines.append(
            f"| {family} | {broken or 'nothing'} | {len(any_)} | {any_.mean():.3f} ({lower:.3f} to {upper:.3f}) | {cells} |"
        )
    right = (
        table[(table["broken"] == "") & (table["test"] != APART)].groupby(["family", "seed"])["alarm"].any()
    )
    lower, upper = proportion_confint(int(right.sum()), len(right), method="beta")
    lines += [
        "",
        f"All {len(right)} worlds whose equation is right: {right.mean():.3f} ({lower:.3f} to {upper:.3f}).",
        "",
        "`none`: the test does not apply, most often because features and bypass explain the outcome to the last digit.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """All development families that have runs and are made in seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=200)
    given = parser.parse_args()
    families = [
        f for f in world_families().values() if f.part == "development" and not getattr(f, "slow", False)
    ]
    made = [alarms(f, given.worlds // 10 if f.name in LARGE else given.worlds) for f in families]
    table = pd.concat([m for m in made if len(m)], ignore_index=True)
    table.to_csv(RESULTS / "diagnostics_specification.csv", index=False)
    (RESULTS / "diagnostics_specification.md").write_text(page(table))
    print(page(table))


if __name__ == "__main__":
    main()
