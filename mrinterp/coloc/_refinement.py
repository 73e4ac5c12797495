"""Leaving local optima of a sum of single effects: refit without each credible set, then with it again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.sparse.credible_sets import credible_sets
from mrinterp.stats.sparse.susie import NEGLIGIBLE, SusieFit

__all__ = ["refine"]

Array = NDArray[np.float64]

_MOST_ROUNDS = 20


def refine(
    fit: SusieFit,
    solve: Callable[[int, Array | None, SusieFit | None], SusieFit],
    ld: Array,
    coverage: float,
    min_abs_corr: float,
    weights: Array | None,
) -> SusieFit:
    """Search for a higher evidence bound around each trait's credible sets.

    Parameters
    ----------
    fit : SusieFit
        Fits of T traits.
    solve : callable
        ``solve(t, prior_weights, start)`` fits trait ``t`` of the block again.
    ld, coverage, min_abs_corr
        As in `credible_sets`.
    weights : ndarray (J,) or None
        The prior weights of the fit.

    Returns
    -------
    SusieFit
        With the traits replaced for which a refit from another start reached a higher bound.
    """
    J = fit.alpha.shape[-1]
    base = np.full(J, 1.0 / J) if weights is None else weights
    for t in range(len(fit.alpha)):
        best = fit.take(np.array([t]))
        for _ in range(_MOST_ROUNDS):
            better = best
            for found in credible_sets(
                best.alpha, best.prior_variance > NEGLIGIBLE, ld, coverage, min_abs_corr
            )[0]:
                without = base.copy()
                without[found.members] = 0.0
                if not without.any():
                    continue
                moved = solve(t, without, None)
                again = solve(t, weights, moved)
                if again.elbo[0] > better.elbo[0] + 1e-6:
                    better = again
            if better is best:
                break
            best = better
        fit = fit.put(np.array([t]), best)
    return fit
