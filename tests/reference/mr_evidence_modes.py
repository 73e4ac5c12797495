"""Evidence for modes: ours has the higher kernel density, one point of the published grid away."""

from __future__ import annotations

import numpy as np
from scipy import stats

from tests.reference.mr_cases import Case, Entry
from tests.reference.mr_fits import Values


def _weights(case: Case, kind: str, penalized_about: float | None) -> np.ndarray:
    """Inverse variances of the ratios, second order (delta) or as if the exposure's effect had no error."""
    d = case.data
    b, s, g, t = d.beta_x[0], d.se_x[0], d.beta_y[0], d.se_y[0]
    if kind == "unweighted":
        return np.ones(len(b))
    w = b**2 / (t**2 + (g / b * s) ** 2 if kind == "delta" else t**2)
    if penalized_about is not None:
        w = w * np.minimum(1.0, 20.0 * stats.chi2.sf(w * (g / b - penalized_about) ** 2, 1))
    return w


def one_step_of_their_grid(case: Case, entry: Entry, ours: Values) -> bool:
    """Where they differ it is by one point of their grid, and the kernels sum to more at ours."""
    args = entry.args
    if entry.method_id.startswith("tsmr"):
        mine, theirs = ours["b"], entry.results["b"]
        kinds = ["unweighted", "delta", "delta", "unweighted", "nome"]
    else:
        mine, theirs = [ours["estimate"]], [entry.results["estimate"]]
        weighted = "delta" if args["stderror"] == "delta" else "nome"
        kinds = [weighted if args["weighting"] == "weighted" else "unweighted"]
    r = case.data.beta_y[0] / case.data.beta_x[0]
    mad = 1.4826 * np.median(np.abs(r - np.median(r)))
    h = args["phi"] * 0.9 * min(r.std(ddof=1), mad) / len(r) ** 0.2
    step = (np.ptp(r) + 6.0 * h) / 511
    differ = [i for i, (x, y) in enumerate(zip(mine, theirs, strict=True)) if abs(x - y) > 1e-6 * step]
    for i in differ:
        w = _weights(case, kinds[i], mine[1] if i == 2 else None)

        def density(at: float, w: np.ndarray = w) -> float:
            return float(w @ np.exp(-0.5 * ((at - r) / h) ** 2))

        one_apart = abs(abs(mine[i] - theirs[i]) / step - 1.0) < 1e-6
        if not (one_apart and density(mine[i]) >= density(theirs[i])):
            return False
    return bool(differ)
