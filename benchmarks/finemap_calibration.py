"""Do credible sets cover at their level, and are inclusion probabilities calibrated, with 1 to 3 causes?

    python benchmarks/finemap_calibration.py [--traits 500] [--out benchmarks/results]

Writes ``finemap_coverage.csv``, ``finemap_calibration.csv`` and ``finemap_calibration.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.coloc._finemap import SusieOptions, finemap_summary
from mrinterp.plots._study.calibration_curve import calibration_curve
from mrinterp.plots._style import save

J, RUNS = 200, 1000


def doses(rng: np.random.Generator, rho: float) -> np.ndarray:
    """Standardized doses in blocks of 50, correlated as an autoregression."""
    x = rng.standard_normal((RUNS, J))
    for j in range(1, J):
        if j % 50:
            x[:, j] = rho * x[:, j - 1] + np.sqrt(1 - rho**2) * x[:, j]
    x -= x.mean(0)
    return x / x.std(0, ddof=1)


def study(
    rng: np.random.Generator, causes: int, share: float, traits: int, rho: float
) -> tuple[dict, np.ndarray, np.ndarray]:
    """Coverage row, inclusion probabilities and truth of one setting; ``share`` of variance per cause."""
    x = doses(rng, rho)
    truth = np.zeros((traits, J), bool)
    y = rng.standard_normal((traits, RUNS))
    for t in range(traits):
        chosen = rng.choice(J, causes, replace=False)
        truth[t, chosen] = True
        y[t] += x[:, chosen] @ (np.sqrt(share / (1 - share)) * rng.choice([-1.0, 1.0], causes))
    y -= y.mean(1, keepdims=True)
    r = y @ x / (np.linalg.norm(y, axis=1, keepdims=True) * np.sqrt(RUNS - 1))
    z = r * np.sqrt((RUNS - 2) / (1 - r * r))
    fit = finemap_summary(z, x.T @ x / (RUNS - 1), RUNS, options=SusieOptions(max_iter=500))
    sets = [(t, s) for t in range(traits) for s in fit.sets[t]]
    hit = np.array([truth[t, list(s.positions)].any() for t, s in sets])
    found = np.array([any(j in s.positions for s in fit.sets[t]) for t, j in np.argwhere(truth)])
    row = {
        "causes": causes,
        "variance_per_cause": share,
        "correlation": rho,
        "traits": traits,
        "sets": len(sets),
        "coverage": hit.mean(),
        "mc_error": np.sqrt(hit.mean() * (1 - hit.mean()) / len(hit)),
        "power": found.mean(),
        "median_size": float(np.median([len(s.members) for _, s in sets])),
        "converged": fit.converged.mean(),
    }
    return row, fit.pip, truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traits", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rng, rows, curves = np.random.default_rng(20261), [], []
    edges = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0 + 1e-12])
    for causes in (1, 2, 3):
        stated, happened = [], []
        for share in (0.02, 0.05):
            for rho in (0.8, 0.97):
                row, pip, truth = study(rng, causes, share, arguments.traits, rho)
                rows.append(row)
                stated.append(pip.ravel())
                happened.append(truth.ravel())
        p, hit = np.concatenate(stated), np.concatenate(happened)
        which = np.digitize(p, edges) - 1
        for b in range(len(edges) - 1):
            inside = which == b
            if inside.sum() >= 20:
                label = f"{causes} cause{'s' * (causes > 1)}"
                curves.append(
                    {
                        "setting": label,
                        "bin": f"{edges[b]:.2f}-{min(edges[b + 1], 1):.2f}",
                        "stated": p[inside].mean(),
                        "observed": hit[inside].mean(),
                        "count": int(inside.sum()),
                    }
                )
    coverage, calibration = pd.DataFrame(rows), pd.DataFrame(curves)
    arguments.out.mkdir(parents=True, exist_ok=True)
    coverage.round(4).to_csv(arguments.out / "finemap_coverage.csv", index=False)
    calibration.round(4).to_csv(arguments.out / "finemap_calibration.csv", index=False)
    save(calibration_curve(calibration), arguments.out / "finemap_calibration.png")
    print(coverage.round(3).to_string(index=False))
    print(calibration.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
