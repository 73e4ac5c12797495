"""One-draw outcomes redrawn: do intervals cover what was chosen for being large?

    python benchmarks/effects/redrawn_draws.py [--redraws 200] [--out benchmarks/results]

As `redrawn_studies.py`, contrasts of sampled outcomes only. Features are called causal at a false discovery rate of .05. Three
intervals: *plain*, level .95; *adjusted* for R chosen of K, level 1 - .05 R/K, as a study's results have them for what is
called (`mrinterp.effects`; Benjamini & Yekutieli 2005, 10.1198/016214504000001907); *shrunk* toward 0 by the spread over the
study's features (empirical Bayes), which was tried and not adopted. Writes ``redrawn_draws.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from redrawn_studies import (
    DESIGNS,
    HERE,
    SCALES,
    covered,
    false_coverage_rate,
    redraws,
    runs_of,
    stand_out,
)
from truth_tables import TruthTable, read

from mrinterp.stats.tests.tails import critical_value

Array = np.ndarray
DRAWN = SCALES.index("sampled")


def cells(table: TruthTable, network: str, count: int) -> list[dict[str, object]]:
    """A row per outcome and design."""
    rows = []
    for outcome, name in enumerate(table.outcomes):
        runs = runs_of(table, outcome, "contrast")
        for design, size in DESIGNS.items():
            one = {k: v[..., DRAWN] for k, v in redraws(runs, size, count, seed=7).items()}
            rows.append({"network": network, "outcome": name, "design": design} | scores(one))
    return rows


def scores(one: dict[str, Array]) -> dict[str, object]:
    """A cell's numbers, from R studies of K features: arrays (R, K)."""
    b, half, df = one["rectified"], one["rectified_half"], one["df"]
    K, se = b.shape[1], half / critical_value(0.95, df)
    called = (np.abs(b) > half + 1) & stand_out(one)
    size = np.nan_to_num(np.abs(b), nan=-1)
    ten = size >= np.sort(size, axis=1)[:, -min(10, K)][:, None]
    chosen = 1 - 0.05 * np.maximum(called.sum(axis=1), 1) / K
    adjusted = np.stack([critical_value(level, d) for level, d in zip(chosen, df, strict=True)]) * se
    of_ten = critical_value(1 - 0.05 * min(10, K) / K, df) * se
    spread = np.maximum(np.nanmean(b**2 - se**2, axis=1, keepdims=True), 0)
    weight = spread / (spread + se**2)

    def hit(estimate: Array, width: Array) -> Array:
        return covered(estimate, width, one["truth"], one["truth_half"])

    plain, wide, shrunk = hit(b, half), hit(b, adjusted), hit(weight * b, np.sqrt(weight) * half)
    return {
        "called per study": called.sum(axis=1).mean(),
        "called, plain": _mean(plain[called]),
        "adjusted": _mean(wide[called]),
        "shrunk": _mean(shrunk[called]),
        "misses per study, plain": false_coverage_rate(plain, called),
        "adjusted ": false_coverage_rate(wide, called),
        "width over plain": np.median((adjusted / half)[called]) if called.any() else np.nan,
        "ten largest, plain": _mean(plain[ten]),
        "adjusted for ten": _mean(hit(b, of_ten)[ten]),
        "shrunk ": _mean(shrunk[ten]),
    }


def _mean(x: Array) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if known.size else np.nan


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--redraws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    paths = sorted((HERE / "truth").glob("*.npz"))
    frame = pd.DataFrame([row for path in paths for row in cells(read(path), path.stem, given.redraws)])
    words = frame.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x))
    high, share = frame.iloc[:, 3:], 0.9
    lines = [
        "# One-draw outcomes: what was chosen for being large",
        "",
        f"`python benchmarks/effects/redrawn_draws.py --redraws {given.redraws}`: studies a cell, natural contrasts, one draw of the",
        "outcome a run. `called`: causal at a false discovery rate of .05. `adjusted`: level 1 - .05 R/K for R chosen of K, as",
        "results have it for what is called. `shrunk`: toward 0 by the spread over features; tried, not adopted. `misses per study`:",
        "share of the called features whose interval misses, mean over studies (none called: 0).",
        "",
        f"| {' | '.join(frame)} |",
        f"|{'---|' * len(frame.columns)}",
        *(f"| {' | '.join(row)} |" for row in words.to_numpy()),
        "",
        "Cells of .90 or more: "
        + ", ".join(
            f"{name.strip()} {int((high[name] >= share).sum())} of {int(high[name].notna().sum())}"
            for name in ("called, plain", "adjusted", "ten largest, plain", "adjusted for ten")
        )
        + f". Misses per study at most .05: plain {int((high['misses per study, plain'] <= 0.05).sum())}, adjusted"
        f" {int((high['adjusted '] <= 0.05).sum())} of {len(frame)}; worst {high['misses per study, plain'].max():.3f} and"
        f" {high['adjusted '].max():.3f}.",
        "Where few studies call anything, the few features that are called stay covered less than .90 by any interval of this",
        "kind: the rate is held over all studies. The ten largest are covered by the level 1 - .05 x 10/K, up to 1.25 times as wide;",
        "results keep the plain interval for what is not called.",
    ]
    (given.out / "redrawn_draws.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
