"""Are worlds what they say they are? Truth of trained and real networks, family by family, over seeds.

    python benchmarks/effects/world_truths.py [--families NAME ...] [--seeds 2] [--full] [--work runs/bench/networks]

For every development family whose network is trained or real: how many of its features are causal, the smallest and largest effect
of causes, the largest of what is none, and impostors, all in units of the ROPE per natural sd. Writes
``benchmarks/results/world_truths.md``; finished worlds are kept in ``world_truths.csv`` beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.worlds import world_families

RESULTS = Path(__file__).parents[1] / "results"


def of_family(name: str, seed: int, small: bool, work: Path) -> dict[str, object]:
    """One row of a family's world."""
    world = world_families()[name].make(seed, small, work)
    truth = world.truth
    size = np.abs(truth.effects["contrast"]) / NATURAL_SD / truth.rope
    rms = truth.effects["resample rms"] / np.sqrt(2) / truth.rope
    either, causal = np.maximum(size, rms).max(axis=1), truth.causal.any(axis=1)
    return {
        "family": name,
        "seed": seed,
        "small": small,
        "features": len(causal),
        "causal": int(causal.sum()),
        "least_cause": either[causal].min() if causal.any() else np.nan,
        "most_cause": either[causal].max() if causal.any() else np.nan,
        "most_other": either[~causal].max() if (~causal).any() else np.nan,
        "impostors": int((truth.borrows_from >= 0).sum()),
    }


def page(table: pd.DataFrame, command: str) -> str:
    """What the worlds hold, as text."""
    shown = table.drop(columns="small").rename(columns=lambda name: name.replace("_", " "))
    lines = [
        "# What trained and real worlds hold",
        "",
        f"`{command}`. Features that exhaustive knockouts find causal; the smallest and largest effect of",
        "causes and the largest of all others, in units of the region of practical equivalence per natural sd (the larger of contrast and",
        "resampling); impostors: features without an effect that accompany a cause.",
        "",
    ]
    lines += [f"| {' | '.join(shown.columns)} |", f"|{'---|' * shown.shape[1]}"]
    lines += [
        f"| {' | '.join(x if isinstance(x, str) else f'{x:.3g}' for x in row)} |" for row in shown.to_numpy()
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run what is not done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained = [f.name for f in world_families().values() if f.trained and f.part == "development"]
    parser.add_argument("--families", nargs="*", default=trained, choices=trained)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("runs/bench/networks"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "world_truths.csv"
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    done = {(r["family"], r["seed"], r["small"]) for r in rows}
    for job in ((name, s, not given.full) for name in given.families for s in range(given.seeds)):
        if job not in done:
            rows.append(of_family(*job, given.work))
            pd.DataFrame(rows).round(4).to_csv(path, index=False)
            print(rows[-1], flush=True)
    table = pd.read_csv(path)
    mine = table[(table["small"] != given.full) & (table["seed"] < given.seeds)]
    command = (
        f"python benchmarks/effects/world_truths.py --seeds {given.seeds}{' --full' if given.full else ''}"
    )
    path.with_suffix(".md").write_text(page(mine, command))


if __name__ == "__main__":
    main()
