"""The correlation of each feature with each outcome over the prompts, as a slope per unit."""

from __future__ import annotations

import numpy as np

from mrinterp.attribution._method import comparator_estimates, token_mean, varying
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.through_origin import through_origin

__all__ = ["correlation"]

CELLS = 4_000_000
"""Prompts x features x outcomes held at once."""


def correlation(bench: Bench) -> Estimates:
    """Slope of each outcome on each feature, one at a time, over the clean prompts.

    Parameters
    ----------
    bench : Bench

    Returns
    -------
    Estimates
        Simple regression with intercept; ``details["correlation"]`` is Pearson's r. Errors leave one
        family out (CR3, t on Satterthwaite's degrees of freedom).

    Raises
    ------
    InputError
        For fewer than three prompts.

    Notes
    -----
    Where every token has a value of its own, the mean over an input's own tokens stands for it.

    Not an effect: a feature that merely lights up beside the cause has the cause's slope. It needs no
    gradient and no edit, so it also stands for sampled and discrete outcomes.
    """
    if bench.prompts < 3:
        raise InputError("prompts", f"{bench.prompts}", "A slope with intercept needs at least three")
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
    return comparator_estimates(
        bench,
        "correlation",
        "correlation over prompts",
        beta,
        se,
        df,
        status,
        ("nothing else differs between prompts in which the feature differs (it does)",),
        "",
        {"correlation": r},
    )
