"""How long assumption cards take, by the number of features: runs as arrays, and the effects of a scan of them.

    python benchmarks/diagnostics/diagnose_speed.py

Seconds of processor time on one thread (``OMP_NUM_THREADS=1``), so that a busy machine does not change them. Writes
benchmarks/results/diagnostics_diagnose_speed.md.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import mrinterp
from mrinterp.diagnostics import diagnose
from mrinterp.scan import marginal_scan

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_diagnose_speed.md"
FAMILIES, PROMPTS, RUNS, DOSES = 100, 2, 6, 64
SIZES = (100, 500, 1_000, 10_000)


def panel_of(features: int) -> mrinterp.Panel:
    """Runs in which doses move all features, and the first ten features move the outcome."""
    rng = np.random.default_rng(0)
    P = FAMILIES * PROMPTS
    prompt, clean = np.repeat(np.arange(P), RUNS + 1), np.tile(np.arange(RUNS + 1) == 0, P)
    doses = rng.standard_normal((len(prompt), DOSES)) * (~clean)[:, None]
    state = rng.standard_normal((P, features))[prompt]
    moved = (
        doses @ rng.standard_normal((DOSES, features)) / 8
        + 0.5 * rng.standard_normal((len(prompt), features)) * (~clean)[:, None]
    )
    values = state + moved
    outcome = values[:, :10].sum(axis=1) + 0.5 * rng.standard_normal(len(prompt))
    return mrinterp.from_arrays(
        doses=doses,
        features=values,
        outcomes=outcome[:, None],
        prompt=prompt,
        family=prompt // PROMPTS,
        clean=clean,
    )


def main() -> None:
    """Time, and write."""
    rows = []
    for features in SIZES:
        panel = panel_of(features)
        start = time.process_time()
        cards = diagnose(panel)
        took = time.process_time() - start
        scan = marginal_scan(panel)
        start = time.process_time()
        of_scan = diagnose(scan)
        some = cards.findings
        left = some.loc[(some["check"] == "screen of features") & (some["colour"] == "green"), "feature"]
        causes = left.isin(panel.feature_names[:10]).sum()
        screen = f"{len(left)}, {causes}" if len(left) else "all fitted together"
        rows.append(
            f"| {features:,} | {took:.1f} | {cards.findings['check'].nunique()} | {screen} | {time.process_time() - start:.1f} |"
            f" {of_scan.findings['check'].nunique()} |"
        )
        print(rows[-1], flush=True)
    runs = FAMILIES * PROMPTS * (RUNS + 1)
    lines = [
        "# Assumption cards: time by number of features",
        "",
        f"Written by `OMP_NUM_THREADS=1 python benchmarks/diagnostics/diagnose_speed.py`: {runs:,} runs, {DOSES} doses, one outcome;"
        " seconds of processor time. Where features are no fewer than runs, or more than 1,000, they are not fitted together: up to 40 that"
        " explain the outcome on half of the families have cards from the other half (*screened*; of the ten that act), the others'"
        " cards say so, and whose effect each shows is said of all.",
        "",
        "| features | of the runs, s | checks | screened, of them causes | of the scan's effects, s | checks |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
