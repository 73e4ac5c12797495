"""Fifty causes among 16,384 correlated latents: who finds them, at what rate of false discoveries, in what time.

    python benchmarks/truth/sparse_codes.py [--worlds 5] [--small]

Worlds of the family "sparse codes" (Zipf firing, children that fire only with their parents; 16,000 runs of 400 families). Writes
``benchmarks/results/sparse_codes.md``, and keeps every finished world's row in ``sparse_codes.csv`` beside it: the same command
goes on from there.

``screen and joint fit`` is the default: `mrinterp.scan.screen_features` on half of the families, the within regression of the
candidates on the other half, `claim_verdicts` with ``screened=True``. Beside it what is usually done on the clean runs: the
correlation with the outcome at a false discovery rate of 5% (Benjamini-Hochberg), and model-X knockoffs at 5% among the 500
latents that correlate most on one half of the clean runs, on the other half (all 16,384 at once are more than the 2,000 clean runs:
their covariance has no inverse).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import mrinterp
from mrinterp.bench import bench_methods
from mrinterp.stats.sparse.knockoffs import knockoff_filter

RESULTS = Path(__file__).parents[1] / "results"
KEPT = 500
RATE = 0.05
STRONG = 5.0


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of every column with y; 0 for columns that never fire."""
    x, y = x - x.mean(axis=0), y - y.mean()
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    return np.divide(x.T @ y, scale, out=np.zeros(x.shape[1]), where=scale > 0)


def answers(world: mrinterp.worlds.World) -> dict[str, tuple[np.ndarray, float]]:
    """Called causal (F,), and seconds, by method."""
    runs, found = world.sparse, {}
    start = time.perf_counter()
    default = bench_methods()["default"].run(world, world.seed)
    found["screen and joint fit"] = default.causal[:, 0], time.perf_counter() - start
    start = time.perf_counter()
    clean = np.flatnonzero(runs.clean)
    x, y = runs.activations[clean].toarray(), runs.outcomes[clean, 0]
    r = correlations(x, y)
    p = 2 * stats.t.sf(np.abs(r) * np.sqrt((len(y) - 2) / (1 - r**2)), len(y) - 2)
    found["correlation"] = stats.false_discovery_control(p) <= RATE, time.perf_counter() - start
    start = time.perf_counter()
    first = np.random.default_rng([world.seed, 35]).permutation(len(y)) < len(y) // 2
    top = np.argsort(-np.abs(correlations(x[first], y[first])), kind="stable")[:KEPT]
    selected = np.zeros(x.shape[1], dtype=bool)
    selected[top] = knockoff_filter(x[~first][:, top], y[~first], RATE, world.seed).selected
    found["knockoffs"] = selected, time.perf_counter() - start
    return found


def rows_of(seed: int, small: bool) -> list[dict[str, object]]:
    """One row a method."""
    world = mrinterp.worlds.world_families()["sparse codes"].make(seed, small)
    causal, size = world.truth.causal[:, 0], np.abs(world.truth.effects["slope"][:, 0])
    strong = causal & (size >= STRONG * world.truth.rope[0])
    return [
        {
            "seed": seed,
            "small": small,
            "method": name,
            "latents": len(causal),
            "causes": int(causal.sum()),
            "called": int(called.sum()),
            "wrong": int((called & ~causal).sum()),
            "found": int((called & causal).sum()),
            "strong": int(strong.sum()),
            "strong_found": int((called & strong).sum()),
            "seconds": round(seconds, 1),
        }
        for name, (called, seconds) in answers(world).items()
    ]


def written(table: pd.DataFrame) -> str:
    """The table of means over worlds, with intervals over worlds."""
    lines = [
        "# Fifty causes among 16,384 latents",
        "",
        f"`python benchmarks/truth/sparse_codes.py --worlds {table['seed'].nunique()}`. False discovery rate: share of what is called that is"
        " no cause, mean over worlds",
        "with its 95% interval (t); power: share of the causes of five regions and more that are called. Seconds: of the method alone,"
        " one thread.",
        "",
        "| method | worlds | latents | false discovery rate | power | called | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in table.groupby("method", sort=False):
        rate = np.where(rows["called"] > 0, rows["wrong"] / np.maximum(rows["called"], 1), 0.0)
        power = (rows["strong_found"] / rows["strong"].replace(0, np.nan)).mean()
        half = (
            stats.t.ppf(0.975, len(rate) - 1) * rate.std(ddof=1) / np.sqrt(len(rate))
            if len(rate) > 1
            else np.nan
        )
        lines.append(
            f"| {name} | {len(rows)} | {int(rows['latents'].iloc[0]):,} | {rate.mean():.3f} ({max(rate.mean() - half, 0):.3f} to"
            f" {min(rate.mean() + half, 1):.3f}) | {power:.2f} | {rows['called'].mean():.0f} | {rows['seconds'].median():.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    path = RESULTS / "sparse_codes.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["seed", "small"])
    for seed in range(given.worlds):
        if not ((table["seed"] == seed) & (table["small"] == given.small)).any():
            table = pd.concat([table, pd.DataFrame(rows_of(seed, given.small))], ignore_index=True)
            table.to_csv(path, index=False)
    full = table[(table["small"] == given.small) & (table["seed"] < given.worlds)]
    text = written(full)
    if not given.small:
        (RESULTS / "sparse_codes.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
