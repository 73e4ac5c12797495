"""Evidence for the test of direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from mrinterp.diagnostics._steiger import steiger_test
from mrinterp.results._check import NotApplicable
from tests.reference.mr_cases import Case, Entry
from tests.reference.mr_fits import Values


def _r2(case: Case, extra: int) -> list[np.ndarray]:
    """r^2 of exposure and outcome from normal p-values, F quantiles on n - 2 + extra degrees of freedom."""
    d, out = case.data, []
    for beta, se, n in ((d.beta_x[0], d.se_x[0], "n_exp"), (d.beta_y[0], d.se_y[0], "n_out")):
        size = case.meta[n]
        f = stats.t.isf(stats.norm.sf(np.abs(beta / se)), size - 2 + extra) ** 2
        out.append(f / (f + size - 2))
    return out


def quantile_on_one_degree_too_many(case: Case, entry: Entry, ours: Values) -> bool:
    """With F quantiles on n - 1 degrees of freedom their numbers come out, on n - 2 ours."""
    theirs, mine = entry.results, ours
    for extra, numbers in ((1, theirs), (0, mine)):
        x, y = _r2(case, extra)
        if "r_exposure" in numbers:
            pairs = [(numbers["r_exposure"], np.sqrt(x)), (numbers["r_outcome"], np.sqrt(y))]
        else:
            pairs = [(numbers["snp_r2.exposure"], x.sum()), (numbers["snp_r2.outcome"], y.sum())]
        if not all(np.allclose(a, b, rtol=1e-6) for a, b in pairs):
            return False
    return True


def strongest_is_lost(case: Case, entry: Entry, ours: Values) -> bool:
    """Theirs is the sum over the instruments whose p is a number above 0; ours has the others too."""
    z = np.abs(case.data.beta_x[0] / case.data.se_x[0])
    lost = 2.0 * stats.norm.sf(z) == 0.0
    n = case.meta["n_exp"]
    left = np.sum(z[~lost] ** 2 / (z[~lost] ** 2 + n - 2))
    everything = np.sum(z**2 / (z**2 + n - 2))
    return bool(
        lost.any()
        and np.isclose(left, entry.results["snp_r2.exposure"], rtol=5e-3)
        and np.isclose(everything, ours["snp_r2.exposure"], rtol=5e-3)
    )


def does_not_apply(case: Case, entry: Entry, ours: Values) -> bool:
    """A squared correlation above 1 in their own result; ours is a reason instead of a number."""
    n_x, n_y = np.array([case.meta["n_exp"]]), np.array([case.meta["n_out"]])
    check = steiger_test(replace(case.data, n_x=n_x, n_y=n_y, ld=None))
    return (
        entry.results["r2_exp"] > 1 and isinstance(check, NotApplicable) and "more than all" in check.reason
    )
