"""Are worlds what they say they are? Truth of trained and real networks, family by family, over seeds.

    python benchmarks/effects/world_truths.py [--families NAME ...] [--seeds 2] [--full] [--organisms 100] [--work runs/worlds]

For every family whose network is trained or real: how many of its features are causal, the largest and smallest effect of
causes, the largest of what is none, and impostors that turned out to be causes of their own, all in units of the ROPE per
natural sd. For organisms: accuracy, and whether exhaustive knockouts find exactly the fields of the rule. Finished worlds are
kept in ``world_truths.csv`` and ``organisms.csv`` in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mrinterp.worlds import exhaustive_truth, organism, world_families

RESULTS = Path(__file__).parent.parent / "results"
NATURAL_SD = 2.563


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


def of_organism(number: int, work: Path) -> dict[str, object]:
    """One organism: its accuracy, and its rule as knockouts find it."""
    made = organism(number, 60, folder=work)
    truth = exhaustive_truth(made.bench(block=256))
    found = set(np.flatnonzero(truth.causal[:, 0]).tolist())
    return {
        "number": number,
        "depth": made.depth,
        "rule": str(made.rule),
        "fields": len(made.rule.fields),
        "accuracy": made.accuracy,
        "exact": found == set(made.rule.fields),
        "missed": len(set(made.rule.fields) - found),
        "decoys_found": len(found & set(made.decoy_of)),
    }


def main() -> None:
    """Run what is not done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained = [f.name for f in world_families().values() if f.trained]
    parser.add_argument("--families", nargs="*", default=trained, choices=trained)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--organisms", type=int, default=100)
    parser.add_argument("--work", type=Path, default=Path("runs/worlds"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for file, keys, jobs in (
        ("organisms.csv", ["number"], [(n,) for n in range(given.organisms)]),
        (
            "world_truths.csv",
            ["family", "seed", "small"],
            [(name, s, not given.full) for name in given.families for s in range(given.seeds)],
        ),
    ):
        path = RESULTS / file
        rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
        done = {tuple(r[k] for k in keys) for r in rows}
        for job in jobs:
            if job in done:
                continue
            rows.append(of_organism(*job, given.work) if len(job) == 1 else of_family(*job, given.work))
            pd.DataFrame(rows).round(4).to_csv(path, index=False)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
