"""What closes the gap between intervals and knockouts: more of the cut, up to all of it.

``python benchmarks/minilm_complete_cut.py`` takes the first study of ``minilm_agreement.py`` (run that
first), runs 36 fresh noise runs per prompt of its estimation split, and repeats the within regression
with more and more of the cut held fixed; the last rank is all of it (token mean and every position
class). Writes ``benchmarks/results/minilm_complete_cut.md``. About 10 minutes and 3 GB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.scan._reader import block_noise
from mrinterp.stats.agreement.agreement import agree
from mrinterp.stats.clustered.least_squares import clustered_least_squares
from mrinterp.study import Study

HERE = Path(__file__).parent


def changes(study: Study, repeats: int, seed: int) -> tuple[np.ndarray, ...]:
    """Changes of token mean, deviations and outcome of fresh noise runs; family of each."""
    design, network = study.design, study._network
    rows = design.rows("estimation", ("clean",))
    inputs, family = design.runs["input"].to_numpy()[rows], design.runs["family"].to_numpy()[rows]
    rng = np.random.default_rng(seed)
    noisy = design.columns("noise")
    block = int(design.settings["block"])
    parts = []
    for _ in tqdm(range(repeats), desc="noise runs", unit="pass"):
        for a in range(0, len(rows), block):
            chunk = slice(a, a + block)
            doses = np.zeros((len(rows[chunk]), design.doses.shape[1]), np.float32)
            doses[:, noisy] = rng.standard_normal((len(doses), len(noisy)))
            clean = network.run(inputs[chunk])
            moved = network.run(inputs[chunk], noise=block_noise(design, np.arange(len(doses)), doses))
            parts.append(
                (
                    moved.mean - clean.mean,
                    (moved.deviation - clean.deviation).astype(np.float32),
                    moved.outcome - clean.outcome,
                    family[chunk],
                )
            )
    mean, deviation, outcome, families = (np.concatenate(p) for p in zip(*parts, strict=True))
    return mean, deviation, outcome, families


def row(name: str, beta: np.ndarray, se: np.ndarray, truth: KnockoutEffects) -> str:
    """One line of the table."""
    a = agree(beta[:, 0], se[:, 0], truth.effect[:, 0], truth.se[:, 0], truth.df)
    z = (beta - truth.effect)[:, 0] / np.hypot(se[:, 0], truth.se[:, 0])
    return (
        f"| {name} | {a.correlation:.3f} | {a.slope:.2f} | {a.coverage:.2f} ({a.coverage_lower:.2f} to {a.coverage_upper:.2f})"
        f" | {np.mean(z**2):.2f} | {np.median(se):.4f} |"
    )


def main() -> None:
    """Fit at growing ranks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/minilm_agreement/seed0"))
    parser.add_argument("--repeats", type=int, default=36)
    options = parser.parse_args()
    study = Study.open(options.run)
    truth: KnockoutEffects = study.knockouts["shift"]
    primary: Estimates = study.estimates["within"]
    mean, deviation, outcome, family = changes(study, options.repeats, seed=5)
    d = study.basis.dictionary
    X, rest = mean @ d.read.T, mean @ study.basis.mean_directions.T
    sample = deviation[: len(deviation) // 3].astype(float)
    directions = np.linalg.eigh(sample.T @ sample)[1][:, ::-1]
    # Class deviations sum to zero over the classes: one class's dimensions are fixed by the others.
    width, classes = mean.shape[1], deviation.shape[1] // mean.shape[1]
    whole = (classes - 1) * width
    lines = [
        "| held fixed beside the features | correlation | slope | coverage | mean square z | median error |",
        "|---|---|---|---|---|---|",
        row(
            f"study: {primary.meta['rank']} components, {primary.n_instruments[0, 0]} runs",
            primary.beta,
            primary.se,
            truth,
        ),
    ]
    for r in (100, 500, 1000, 1800, whole):
        Z = np.concatenate([X, rest, deviation @ directions[:, :r].astype(np.float32)], axis=1)
        fit = clustered_least_squares(Z, outcome, family, X.shape[1], "CR3")
        share = "all of the cut" if r == whole else f"{rest.shape[1] + r} components"
        lines.append(row(f"{share}, {len(Z)} runs", fit.beta, fit.se, truth))
        print(lines[-1], flush=True)
    lines += [
        "",
        "Coverage of the knockout by estimate and knockout errors together; mean square z is 1 where errors are right.",
    ]
    (HERE / "results" / "minilm_complete_cut.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
