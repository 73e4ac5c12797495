"""How often are one cause rejected, a right LD blamed, and a wrong one caught?

    python benchmarks/ld_checks.py [--traits 200] [--out benchmarks/results]

Writes ``ld_checks.csv``: one row per locus, kind of effects and kind of LD, with the share of traits for which the
misfit check needs more than one cause, and of those whose z-scores are said to contradict the LD (test of few causes
and of many), with and without the sample size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.coloc._misfit import one_cause_misfit
from mrinterp.core.ld import check_ld

LOCI = ((40, 0.9, 5000), (20, 0.6, 2000), (60, 0.8, 600))
"""Instruments, correlation of neighbors, and runs."""


def draw(rng: np.random.Generator, size: int, rho: float, runs: int) -> np.ndarray:
    """Doses, standardized, neighbors correlated as an autoregression."""
    ld = rho ** np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    doses = rng.standard_normal((runs, size)) @ np.linalg.cholesky(ld).T
    return (doses - doses.mean(0)) / doses.std(0)


def z_scores(rng: np.random.Generator, doses: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """Marginal z of traits with these effects (T, J) and unit noise."""
    runs = len(doses)
    y = doses @ effects.T + rng.standard_normal((runs, len(effects)))
    r = ((y - y.mean(0)) / y.std(0)).T @ doses / runs
    return r * np.sqrt((runs - 2) / (1 - r * r))


def kinds_of_effects(rng: np.random.Generator, size: int, traits: int) -> dict[str, np.ndarray]:
    """Effects (T, J): none, one cause that explains a share, three causes, all instruments."""
    out = {"none": np.zeros((traits, size))}
    for share in (0.05, 0.33, 0.5, 0.7):
        one = np.zeros((traits, size))
        one[np.arange(traits), rng.integers(0, size, traits)] = np.sqrt(share / (1 - share))
        out[f"one cause, R^2 {share}"] = one
    three = rng.random((traits, size)).argsort(axis=1) < 3
    out["three causes of .35"] = three * rng.choice([-0.35, 0.35], (traits, size))
    out["all, sd .05"] = rng.normal(0, 0.05, (traits, size))
    return out


def kinds_of_ld(
    rng: np.random.Generator, doses: np.ndarray, rho: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """LD, and the sign that each instrument's effect takes against it."""
    runs, size = doses.shape
    same, ones = np.corrcoef(doses.T), np.ones(size)
    other = np.corrcoef(draw(rng, size, rho, runs).T)
    order = rng.permutation(size)
    return {
        "same runs": (same, ones),
        "other runs": (other, ones),
        "a third of alleles swapped": (same, np.where(np.arange(size) % 3 == 0, -1.0, 1.0)),
        "another order": (same[np.ix_(order, order)], ones),
    }


def main() -> None:
    """Simulate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traits", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rng, rows = np.random.default_rng(0), []
    for size, rho, runs in LOCI:
        doses = draw(rng, size, rho, runs)
        names = [str(j) for j in range(size)]
        matrices = kinds_of_ld(rng, doses, rho)
        for effects, values in kinds_of_effects(rng, size, arguments.traits).items():
            z = z_scores(rng, doses, values)
            for kind, (ld, sign) in matrices.items():
                row: dict[str, object] = {"instruments": size, "runs": runs, "effects": effects, "ld": kind}
                for word, n in (("", np.full(len(z), float(runs))), (", no n", None)):
                    row[f"more than one cause{word}"] = (
                        one_cause_misfit(z * sign, ld, n=n).causes > 1
                    ).mean()
                    for test, dense in (("few", False), ("many", True)):
                        found = check_ld(z * sign, ld, names, n, dense=dense).reasons
                        row[f"contradiction, {test}{word}"] = np.mean([why != "" for why in found])
                rows.append(row)
    frame = pd.DataFrame(rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    frame.round(3).to_csv(arguments.out / "ld_checks.csv", index=False)
    print(frame.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
