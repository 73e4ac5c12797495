"""Which bypass rank to adjust for: by what predicts (double selection), by stability of the estimates, none, or all.

    python benchmarks/diagnostics/rank.py [worlds]

Runs of six features in a stream of 40 components. *complete*: the features are all that the outcome reads, and the components
beside them follow them closely, so that adjusting leaves little of each feature. *left out*: another cause, which moves with two
of the features, is among the first 25 components. *nothing beside*: the components are independent of everything. Bases and
rank of double selection are chosen on other families, as a study does; the path and the estimate are of the same runs. Writes
benchmarks/results/diagnostics_rank.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import mrinterp
from mrinterp.mr import rank_path, stable_rank
from mrinterp.scan._bypass import choose_rank, nested_order

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_rank.md"
GRID = [0, 1, 2, 5, 10, 25, 40]
SLOPES = np.array([1.0, 0.0, -0.5, 0.0, 0.3, 0.0])
KINDS = ("complete", "left out", "nothing beside")


def runs(kind: str, seed: int, families: int = 60) -> tuple[mrinterp.Panel, int]:
    """A panel whose bypass is in the order of double selection, and the rank that this chooses."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    per, C = 10, 2 * families
    family = np.repeat(np.arange(C), per)
    clean = np.tile(np.arange(per) == 0, C)
    x = rng.standard_normal((len(family), 6)) @ np.linalg.cholesky(0.5 * np.eye(6) + 0.5).T
    beside = rng.standard_normal((len(family), 40))
    if kind == "complete":
        beside[:, :30] = x @ rng.standard_normal((6, 30)) / 2 + 0.15 * beside[:, :30]
    hidden = 0.8 * x[:, 1] + 0.6 * rng.standard_normal(len(x))
    if kind == "left out":
        beside[:, 20] = hidden + 0.1 * beside[:, 20]
        x[:, 3] += 0.5 * hidden
    size = 1 + 0.2 * rng.standard_normal(C)[family]
    y = (x @ SLOPES) * size + 0.5 * rng.standard_normal(len(x)) + 0.7 * hidden * (kind == "left out")
    moved = ~clean[:, None]
    x, beside, y = x * moved, beside * moved, y[:, None] * moved
    first = family < families
    keep = first & ~clean
    order = nested_order(x[keep], beside[keep], y[keep])
    chosen, _ = choose_rank(x[keep], beside[keep][:, order], y[keep], family[keep], 40)
    rest = ~first
    panel = mrinterp.from_arrays(
        doses=moved[rest] * 1.0,
        features=x[rest],
        outcomes=y[rest],
        prompt=family[rest],
        family=family[rest],
        bypass=beside[rest][:, order],
        clean=clean[rest],
    )
    return panel, int(chosen)


def main(worlds: int) -> None:
    """Simulate, estimate, write the page."""
    lines = []
    for kind in KINDS:
        found: dict[str, list[np.ndarray]] = {}
        ranks: dict[str, list[int]] = {"double selection": [], "stability": []}
        for seed in range(worlds):
            panel, chosen = runs(kind, seed)
            path = rank_path(panel, sorted({*GRID, chosen}), "CR1")
            stable = int(stable_rank(path)["rank"].item())
            by = {"none": 0, "all": 40, "double selection": chosen, "stability": stable}
            ranks["double selection"].append(chosen)
            ranks["stability"].append(stable)
            for name, rank in by.items():
                own = path[path["rank"] == rank]
                b, low, high = (own[c].to_numpy() for c in ("estimate", "ci_lower", "ci_upper"))
                row = np.stack([b - SLOPES, (low <= SLOPES) & (high >= SLOPES), (high - low) / 2], axis=1)
                found.setdefault(name, []).append(row)
        for name, rows in found.items():
            error, inside, half = np.moveaxis(np.array(rows), 2, 0)
            rank = f"{np.median(ranks[name]):.0f}" if name in ranks else {"none": "0", "all": "40"}[name]
            lines.append(
                f"| {kind} | {name} | {rank} | {np.sqrt((error**2).mean()):.3f} | {inside.mean():.3f} | {np.median(half):.3f} |"
            )
    page = [
        "# Bypass rank: by prediction or by stability",
        "",
        f"`python benchmarks/diagnostics/rank.py {worlds}`. Of six features, with 60 families; intervals of the chosen rank as if"
        " it had been given. *Stability*: `mrinterp.mr.stable_rank` on the grid 0, 1, 2, 5, 10, 25, 40.",
        "",
        "| runs | rank chosen by | median rank | root mean square error | coverage | median half width |",
        "|---|---|---|---|---|---|",
        *lines,
    ]
    RESULTS.write_text("\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
