"""Which checks of summary statistics have power in the designs that we scan: Q, Egger's intercept, PRESSO, GRIP.

    python benchmarks/diagnostics/summary_power.py [--draws 1000]

`check_power` on scans of one network in which every instrument is noise shared by all runs, and on the same effects as if two
samples had given them. Then what `diagnose` takes for 10,000 features. Writes benchmarks/results/diagnostics_summary_power.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import mrinterp
from mrinterp.diagnostics import check_power, diagnose
from mrinterp.scan import marginal_scan
from mrinterp.worlds import linear_world

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_summary_power.md"
FEATURES = 10_000


def rows(table: pd.DataFrame, design: str) -> list[str]:
    """Lines of the page."""
    found = []
    for (check,), part in table.groupby(["check"], sort=False):
        least = ["none" if np.isinf(v) else f"{v:.2f}" for v in part["in_errors"]]
        found.append(f"| {design} | {check} | {part['alarm'].mean():.3f} | {least[0]} | {least[1]} |")
    return found


def wide_panel(features: int, seed: int = 0) -> mrinterp.Panel:
    """40 families, 2 prompts each, 4 runs a prompt, of many features that 20 doses move."""
    rng = np.random.default_rng(seed)
    prompt, clean = np.repeat(np.arange(80), 5), np.tile(np.arange(5) == 0, 80)
    doses = rng.standard_normal((400, 20)) * ~clean[:, None]
    x = doses @ rng.standard_normal((20, features)) + rng.standard_normal((400, features)) * ~clean[:, None]
    y = x[:, :1] + rng.standard_normal((400, 1)) * ~clean[:, None]
    return mrinterp.from_arrays(
        doses=doses, features=x, outcomes=y, prompt=prompt, family=prompt // 2, clean=clean
    )


def timed(source: object) -> tuple[float, int]:
    """Seconds of the processor that the cards take, and how many there are."""
    start = time.process_time()
    cards = diagnose(source).to_frame()  # type: ignore[arg-type]
    return time.process_time() - start, len(cards)


def clocked(features: int) -> str:
    """What cards of many features take, of a scan and of runs."""
    panel = wide_panel(features)
    sources = {"a scan": marginal_scan(panel), "runs as arrays": panel}
    return "; ".join(
        f"{what}: {s:.1f} s for {n:,} cards" for what, (s, n) in ((w, timed(x)) for w, x in sources.items())
    )


def main() -> None:
    """The designs, then the clock."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--features", type=int, default=FEATURES, help="of the clock; 0: leave it out")
    given = parser.parse_args()
    draws, features = given.draws, given.features
    scan = marginal_scan(linear_world(0).panel)
    lines = []
    for design, errors in (("one scan, shared noise", True), ("two samples", False)):
        lines += rows(check_power(scan.to_mrdata(with_errors=errors), "cause", "y", draws=draws), design)
    clock = (
        f"Cards of {features:,} features (processor time of one core): {clocked(features)}."
        if features
        else "Cards of very many features: not measured in this run."
    )
    RESULTS.write_text(
        f"""# Power of the checks of summary statistics, in our designs

Written by `benchmarks/diagnostics/summary_power.py --draws {draws}`: 24 instruments, the effects and errors of a scan (60 families,
2,400 runs). False alarms at .05 without pleiotropy, and the smallest pleiotropy that is found with chance .8, in median errors of
the outcome's effects: of random sign, and all towards the exposure's sign (*none*: not at 12).

| design | check | false alarms | random sign | one sign |
|---|---|---|---|---|
{chr(10).join(lines)}

Where one scan gives both effects, their errors are shared: Q and PRESSO with unrelated errors never alarm by chance and need more than
twice the pleiotropy that Q with the design's own covariance finds. `diagnose` makes both.

{clock}
"""
    )
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
