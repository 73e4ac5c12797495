"""The correlation of each feature with each outcome over the prompts, as a slope per unit."""

from __future__ import annotations

import numpy as np

from mrinterp.attribution._method import attribution_estimates, token_mean, varying
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.through_origin import through_origin

__all__ = ["correlation"]

CELLS = 4_000_000
"""Prompts x features x outcomes held at once: 32 MB of float64."""


def correlation(bench: Bench, features: Features | str | int | None = None) -> Estimates | NotApplicable:
    """Slope of each outcome on each feature, one at a time, over the clean prompts.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view.

    Returns
    -------
    Estimates
        Outcome units per unit of the feature, by simple regression with intercept; ``details["correlation"]``
        is Pearson's r. Errors leave one family out (CR3, t on Satterthwaite's degrees of freedom).
    NotApplicable
        For fewer than three prompts.

    Raises
    ------
    InputError
        For a feature that the view does not have.

    Notes
    -----
    Not valid as an effect: a feature that merely lights up beside the cause has the cause's slope. It needs no
    gradient and no edit, so it also works for sampled and discrete outcomes.

    Where every token has a value of its own, the mean over an input's own tokens stands for it.

    Examples
    --------
    >>> from mrinterp.attribution import correlation
    >>> from mrinterp.worlds import gated_world
    >>> found = correlation(gated_world().bench())["silent", "output"]  # a companion that does nothing
    >>> found.ci_lower > 0.5, found.details["correlation"] > 0.9
    (True, True)
    """
    numbers = feature_numbers(bench, features)
    if bench.prompts < 3:
        return NotApplicable(
            f"{bench.prompts} prompts: a slope with intercept needs at least three", "correlation"
        )
    x, y = token_mean(bench, bench.values), bench.clean
    x, y = np.where(varying(x), x - x.mean(axis=0), 0.0), y - y.mean(axis=0)
    step = max(CELLS // (len(x) * y.shape[1]), 1)
    parts = [
        through_origin(
            x[:, a : a + step],
            np.broadcast_to(y[:, None], (len(y), x[:, a : a + step].shape[1], y.shape[1])),
            bench.family,
        )
        for a in range(0, x.shape[1], step)
    ]
    beta, se, df = (np.concatenate([part[k] for part in parts]) for k in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = beta * np.sqrt((x**2).sum(axis=0)[:, None] / (y**2).sum(axis=0))
    status = np.full(beta.shape, "ok", dtype=object)
    status[:, np.ptp(bench.clean, axis=0) == 0] = "the outcome does not vary over these prompts"
    status[~(x != 0).any(axis=0)] = "the feature does not vary over these prompts"
    return attribution_estimates(
        bench,
        numbers,
        method="correlation",
        label="correlation over prompts",
        beta=beta,
        se=se,
        df=df,
        status=status,
        assumes=("nothing else differs between prompts in which the feature differs (it does)",),
        details={"correlation": r},
    )
