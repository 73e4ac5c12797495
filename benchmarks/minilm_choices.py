"""Two choices of the design, measured: doses per column, and what marginal effects are taken against.

``python benchmarks/minilm_choices.py`` reads the first study of ``minilm_agreement.py`` (run that first)
and writes ``benchmarks/results/minilm_choices.md``. About a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mrinterp.core.sumstats import SumStats
from mrinterp.mr._runs import run_iv
from mrinterp.scan._marginal import marginal_scan
from mrinterp.stats.agreement.agreement import agree
from mrinterp.study import Study

HERE = Path(__file__).parent


def placebo_square(stats: SumStats) -> float:
    """Mean square of the placebos' z-scores: 1 where the screen is right."""
    placebo = stats.instruments["placebo"].to_numpy(dtype=bool)
    return float(np.nanmean((stats.beta[:, placebo] / stats.se[:, placebo]) ** 2))


def main() -> None:
    """Measure both and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/minilm_agreement/seed0"))
    study = Study.open(parser.parse_args().run)
    panel, truth = study.panel.select(kinds=("noise",)), study.knockouts["shift"]
    lines = [
        "Two-stage least squares on 768 doses, held against the matched knockouts:",
        "",
        "| bypass components | doses per column | correlation | slope | median error |",
        "|---|---|---|---|---|",
    ]
    allowed = run_iv.INSTRUMENTS_PER_COLUMN
    run_iv.INSTRUMENTS_PER_COLUMN = 1
    for rank in (0, 50, 100, 208, 300, 500, 715):
        e = run_iv.tsls(panel, rank)
        a = agree(e.beta[:, 0], e.se[:, 0], truth.effect[:, 0], truth.se[:, 0], truth.df)
        columns = len(e.exposures) + e.meta["rank"]
        lines.append(
            f"| {e.meta['rank']} | {e.meta['instruments'] / columns:.1f} | {a.correlation:.3f} | {a.slope:.2f}"
            f" | {np.median(e.se):.4f} |"
        )
    run_iv.INSTRUMENTS_PER_COLUMN = allowed
    lines += [
        "",
        "Mean square of the z-scores of no-op doses (1 expected), marginal effects taken against:",
        "",
    ]
    lines += ["| | noise runs | slot runs |", "|---|---|---|"]
    for words, factorial in (("the prompt's perturbed runs", True), ("the clean run", False)):
        squares = [placebo_square(marginal_scan(study.panel, kind, factorial)) for kind in ("noise", "slot")]
        lines.append(f"| {words} | {squares[0]:.2f} | {squares[1]:.2f} |")
    (HERE / "results" / "minilm_choices.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
