"""Is PP.H4 calibrated? Pairs of traits drawn from the model itself, and from three worlds that break it.

    python benchmarks/coloc_calibration.py [--pairs 20000] [--out benchmarks/results]

Writes ``coloc_calibration.csv`` and ``coloc_calibration.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.coloc._misfit import one_cause_misfit
from mrinterp.plots._study.calibration_curve import calibration_curve
from mrinterp.plots._style import save
from mrinterp.stats.bayes_factors.wakefield import (
    bivariate_distinct_log_sum,
    bivariate_log_bayes_factors,
    hypothesis_log_sums,
    hypothesis_posterior,
    log_bayes_factor,
    pairwise_log_sums,
)

J, RUNS, PRIOR_SD = 40, 1000, 0.15
P1, P12 = 0.01, 0.004


def correlation(rho: float) -> np.ndarray:
    """Blocks of 10 instruments correlated as an autoregression."""
    lag = np.abs(np.subtract.outer(np.arange(J), np.arange(J)))
    return np.where(np.equal.outer(np.arange(J) // 10, np.arange(J) // 10), rho**lag, 0.0)


def draw_hypotheses(rng: np.random.Generator, pairs: int) -> np.ndarray:
    """Hypothesis of each pair, from the prior that the analysis uses."""
    weight = np.array([1.0, J * P1, J * P1, J * (J - 1) * P1 * P1, J * P12])
    return rng.choice(5, pairs, p=weight / weight.sum())


def draw_effects(
    rng: np.random.Generator, truth: np.ndarray, prior_sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """Causal effects (pairs, J) of both traits."""
    pairs, rows = len(truth), np.arange(len(truth))
    first = rng.integers(0, J, pairs)
    second = (first + rng.integers(1, J, pairs)) % J
    x, y = np.zeros((pairs, J)), np.zeros((pairs, J))
    x[rows, first] = np.isin(truth, (1, 3, 4)) * rng.normal(0, prior_sd, pairs)
    where = np.where(truth == 3, second, first)
    y[rows, where] = np.isin(truth, (2, 3, 4)) * rng.normal(0, prior_sd, pairs)
    return x, y


def observe(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, ld: np.ndarray, overlap: float
) -> tuple[np.ndarray, ...]:
    """Marginal effects with errors N(0, ld / RUNS), correlated between the traits by ``overlap``."""
    root = np.linalg.cholesky(ld + 1e-9 * np.eye(J))
    noise = rng.standard_normal((2, *x.shape))
    noise[1] = overlap * noise[0] + np.sqrt(1 - overlap**2) * noise[1]
    return x @ ld + noise[0] @ root.T / np.sqrt(RUNS), y @ ld + noise[1] @ root.T / np.sqrt(RUNS)


def posterior(
    bx: np.ndarray, by: np.ndarray, overlap: float | None, ld: np.ndarray | None = None
) -> np.ndarray:
    """PP.H0 to PP.H4 of each pair (bivariate where an error correlation is given)."""
    v, w = 1.0 / RUNS, PRIOR_SD**2
    sums = np.empty((len(bx), 4))
    if overlap is None:
        lx, ly = log_bayes_factor(bx, v, w), log_bayes_factor(by, v, w)
        both = lx + ly
    else:
        lx, ly, both = bivariate_log_bayes_factors(bx, np.array(v), by, np.array(v), overlap, w, w)
        arrays = bx / v**0.5, by / v**0.5, np.full_like(bx, w / v), np.full_like(bx, w / v)
        distinct = [
            bivariate_distinct_log_sum(*(a[i : i + 500] for a in arrays), overlap, ld)
            for i in range(0, len(bx), 500)
        ]
    for h, values in enumerate((lx, ly, lx + pairwise_log_sums(ly), both)):
        top = values.max(-1)
        sums[:, h] = np.log(np.exp(values - top[:, None]).sum(-1)) + top
    if overlap is not None:
        sums[:, 2] = np.concatenate(distinct)
    else:  # the batched kernel must say the same
        check = np.array([hypothesis_log_sums(lx[i : i + 1], ly[i : i + 1])[0][0, 0] for i in range(20)])
        assert np.allclose(check, sums[:20], rtol=1e-10)
    return hypothesis_posterior(sums, P1, P1, P12)


def bins(setting: str, stated: np.ndarray, happened: np.ndarray) -> list[dict[str, object]]:
    """One row per bin of the stated probability."""
    edges = np.array([0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 1.0 + 1e-12])
    which = np.digitize(stated, edges) - 1
    return [
        {
            "setting": setting,
            "bin": f"{edges[b]:.2f}-{min(edges[b + 1], 1):.2f}",
            "stated": stated[which == b].mean(),
            "observed": happened[which == b].mean(),
            "count": int((which == b).sum()),
        }
        for b in range(len(edges) - 1)
        if (which == b).sum() >= 20
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rng, rows = np.random.default_rng(20260), []
    ld = correlation(0.8)
    truth = draw_hypotheses(rng, arguments.pairs)
    x, y = draw_effects(rng, truth, PRIOR_SD)
    bx, by = observe(rng, x, y, ld, 0.0)
    rows += bins("model holds", posterior(bx, by, None)[:, 4], truth == 4)
    cx, cy = observe(rng, x, y, ld, 0.9)
    rows += bins("errors correlated .9, plain", posterior(cx, cy, None)[:, 4], truth == 4)
    rows += bins("errors correlated .9, bivariate", posterior(cx, cy, 0.9, ld)[:, 4], truth == 4)
    wx, wy = draw_effects(rng, truth, 3 * PRIOR_SD)
    bx, by = observe(rng, wx, wy, ld, 0.0)
    rows += bins("effects 3 times the prior", posterior(bx, by, None)[:, 4], truth == 4)
    # dense: every allele of an uncorrelated locus acts on both traits in proportion
    dense = rng.normal(0, PRIOR_SD, (2000, J))
    bx, by = observe(rng, dense, 0.7 * dense, np.eye(J), 0.0)
    pp = posterior(bx, by, None)
    caught = (one_cause_misfit(bx * np.sqrt(RUNS), np.eye(bx.shape[1])).causes > 1) | (
        one_cause_misfit(by * np.sqrt(RUNS), np.eye(by.shape[1])).causes > 1
    )
    frame = pd.DataFrame(rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    frame.round(4).to_csv(arguments.out / "coloc_calibration.csv", index=False)
    save(calibration_curve(frame), arguments.out / "coloc_calibration.png")
    dense_row = pd.DataFrame(
        [{"loci": 2000, "pp_h3_above_.8": (pp[:, 3] > 0.8).mean(), "answered_not_applicable": caught.mean()}]
    )
    dense_row.round(4).to_csv(arguments.out / "coloc_dense.csv", index=False)
    print(frame.round(3).to_string(index=False))
    print(dense_row.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
