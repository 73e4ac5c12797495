"""Run-level instrumental variables on the doses: two-stage least squares, LIML and GMM."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_matrix

from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.mr._engine.registry import estimator
from mrinterp.mr._runs.run_level import RunData, run_data
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["INSTRUMENTS_PER_COLUMN", "carried_rank", "gmm", "liml", "tsls"]

Array = NDArray[np.float64]

INSTRUMENTS_PER_COLUMN = 3
"""Doses that every exposure column needs: with fewer, first-stage noise takes the estimate over."""

INDEPENDENT = 1e-6
"""Share of a dose's variance that the doses before it must leave for their Cholesky factor to be exact to 1e-9."""

ASSUMES = (
    "the doses act on the outcome only through the features and the bypass components listed",
    "the instruments are jointly strong",
)


@estimator(
    "tsls",
    "two-stage least squares",
    kind="run",
    assumes=ASSUMES,
    reference="Angrist & Imbens 1995, 10.1080/01621459.1995.10476535",
)
def tsls(panel: Panel, rank: int | None = None) -> Estimates:
    """Effects of all features jointly, instrumented by the doses; bypass components are exposures too.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; never more than leave `INSTRUMENTS_PER_COLUMN` doses for every exposure
        (with one dose a column the correlation with knockouts falls from .95 to .25:
        ``benchmarks/minilm_choices.py``). The
        status says where it was lowered.

    Returns
    -------
    Estimates
        (F, O), every feature given the others; ``n_instruments`` counts the doses.

    Raises
    ------
    InputError
        With fewer instruments than features and five.

    Notes
    -----
    On within-prompt changes, errors clustered by family (CR1, t on C - 1), by the Cholesky factor of the doses;
    through ``linearmodels``, with which it agrees, where the doses nearly depend on one another.
    Not valid with weak instruments: read it beside the within regression. Placebos stay out.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.tsls(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1)
    1.0
    """
    return _estimated("tsls", "two-stage least squares", panel, rank)


@estimator(
    "liml",
    "limited-information maximum likelihood",
    kind="run",
    assumes=(*ASSUMES, "errors are homoskedastic (the point estimate; the interval is clustered)"),
    reference="Anderson & Rubin 1949, 10.1214/aoms/1177730090",
)
def liml(panel: Panel, rank: int | None = None) -> Estimates:
    """As `tsls`, by limited-information maximum likelihood: less biased with many weak instruments.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; lowered to what the doses can identify (the status says so).

    Returns
    -------
    Estimates
        (F, O), every feature given the others; ``n_instruments`` counts the doses.

    Raises
    ------
    InputError
        With fewer doses that vary than features and five.

    Notes
    -----
    The point estimate assumes homoskedastic errors; the interval is clustered by family. Not valid where doses
    act around the cut, as every estimate on doses.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.liml(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1)
    1.0
    """
    return _estimated("liml", "limited-information maximum likelihood", panel, rank)


@estimator(
    "gmm",
    "two-step generalized method of moments",
    kind="run",
    assumes=ASSUMES,
    reference="Hansen 1982, 10.2307/1912775",
)
def gmm(panel: Panel, rank: int | None = None) -> Estimates:
    """As `tsls`, by two-step GMM with a weight matrix clustered by family.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; lowered to what the doses can identify (the status says so).

    Returns
    -------
    Estimates
        (F, O), every feature given the others; ``n_instruments`` counts the doses.

    Raises
    ------
    InputError
        With fewer doses that vary than features and five.

    Notes
    -----
    Optimistic with families not many times the instruments (type-I error .10 to .16 at 24 doses and 60 families
    in ``benchmarks/mr_simulations.py``: prefer `tsls`). Not valid with more instruments than families: the weight matrix is then singular, and the cells
    say so.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.gmm(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1)
    1.0
    """
    return _estimated("gmm", "two-step generalized method of moments", panel, rank)


def carried_rank(data: RunData, J: int) -> tuple[RunData, str]:
    """The data with no more bypass components than the doses carry, and a note where it was lowered."""
    p, asked = data.X.shape[1], data.R.shape[1]
    if p + 5 > J:
        raise InputError("instruments", f"{J} that vary for {p} features", _more_doses(data, J, p + 5))
    carried = max(J // INSTRUMENTS_PER_COLUMN - p, 0)
    if asked <= carried:
        return data, ""
    note = f"bypass rank lowered from {asked} to {carried}, so that every column has {INSTRUMENTS_PER_COLUMN} doses"
    return data.with_bypass(range(carried)), note


def _more_doses(data: RunData, J: int, needed: int) -> str:
    """What to change where too few doses vary by themselves: the runs are too few, or the instruments are."""
    varying = data.doses().shape[1]
    if varying > J:
        return (
            f"Dose-based estimates need at least {needed}. {varying} doses vary, but in {len(data.X)} runs only {J} of"
            " them independently: add runs, or instruments that are not sums of others"
        )
    noise = data.panel.instruments["kind"].eq("noise").any() if "kind" in data.panel.instruments else False
    how = "more noise directions per token class" if noise else "more instruments"
    return f"Dose-based estimates need at least {needed}: give {how}; the features are not too many"


def _estimated(method: str, words: str, panel: Panel, rank: int | None) -> Estimates:
    data = run_data(panel, rank)
    doses = data.doses()
    J = int(np.linalg.matrix_rank(doses.T @ doses)) if doses.shape[1] else 0
    if (
        0 < J < doses.shape[1]
    ):  # fewer runs than doses: the same space, by as many columns as it has dimensions
        left_axes, size, _ = np.linalg.svd(doses, full_matrices=False)
        doses = left_axes[:, :J] * size[:J]
    data, note = carried_rank(data, J)
    left = data.partial_variance()
    data = data.full_rank()
    X = np.concatenate([data.X, data.R], axis=1)
    scale = np.sqrt((X**2).mean(axis=0))
    scale[scale == 0] = 1.0
    p, C, N = data.X.shape[1], data.families, len(X)
    O = data.Y.shape[1]
    beta, se = np.full((p, O), np.nan), np.full((p, O), np.nan)
    if method == "gmm" and C <= J:
        note = f"not applicable: {J} instruments and {C} families give a singular weight matrix; use tsls or liml"
    else:
        family = families_of(data.change.family)[0]
        small = C / (C - 1) * (N - 1) / max(N - X.shape[1] - data.change.absorbed, 1)
        moving, scaled = np.flatnonzero(~data.flat), X / scale
        fitted = _two_stages(data.Y[:, moving], scaled, doses, family, p, small) if method == "tsls" else None
        if fitted is not None:
            beta[:, moving], se[:, moving] = fitted
        for o in moving if fitted is None else ():
            beta[:, o], se[:, o] = _fit_one(method, data.Y[:, o], scaled, doses, family, p, small)
        beta, se = beta / scale[:p, None], se / scale[:p, None]
    return data.estimates(
        method,
        f"{words} on {J} doses, bypass rank {data.R.shape[1]}",
        beta,
        se,
        df=float(C - 1),
        count=J,
        counted="instruments",
        note=note,
        partial=left,
        meta={"rank": data.R.shape[1], "instruments": J, "covariance": "CR1"},
    )


def _two_stages(
    Y: Array, X: Array, doses: Array, family: NDArray[np.int_], p: int, small: float
) -> tuple[Array, Array] | None:
    """Effects and errors (p, O) of the first columns of X; None where the doses nearly depend on one another."""
    Z = doses / np.sqrt((doses**2).sum(axis=0))
    try:
        factor = cholesky(Z.T @ Z, lower=True)
    except LinAlgError:
        return None
    if np.diag(factor).min() ** 2 < INDEPENDENT:
        return None
    first = solve_triangular(factor, Z.T @ np.concatenate([X, Y], axis=1), lower=True)
    # The second stage by QR: projected columns may be far more alike than the doses are.
    q, r = np.linalg.qr(first[:, : X.shape[1]])
    size = np.abs(np.diag(r))
    if size.min() < INDEPENDENT * size.max():
        return None
    theta = solve_triangular(r, q.T @ first[:, X.shape[1] :])
    # What one unit of a run's residual adds to each effect: a row of (X'PX)^-1 X'P.
    pull = Z @ solve_triangular(
        factor, q @ solve_triangular(r, np.eye(len(r))[:, :p], trans="T"), lower=True, trans="T"
    )
    residual = Y - X @ theta
    member = csr_matrix((np.ones(len(family)), (family, np.arange(len(family)))))
    squares = [((member @ (pull * e[:, None])) ** 2).sum(axis=0) for e in residual.T]
    return theta[:p], np.sqrt(np.stack(squares, axis=1) * small)


def _fit_one(
    method: str, y: Array, X: Array, doses: Array, family: NDArray[np.int_], p: int, small: float
) -> tuple[Array, Array]:
    from linearmodels.iv import IV2SLS, IVGMM, IVLIML

    options: dict[str, Any] = {"cov_type": "clustered", "clusters": family}
    if method == "gmm":
        result = IVGMM(y, None, X, doses, weight_type="clustered", clusters=family).fit(
            iter_limit=2, **options
        )
    else:
        try:
            result = {"tsls": IV2SLS, "liml": IVLIML}[method](y, None, X, doses).fit(**options)
        except ValueError:  # no residuals, so no ratio of them to minimize: both are then the exact solution
            result = IVLIML(y, None, X, doses, kappa=1.0).fit(**options)
    covariance = np.asarray(result.cov)[:p, :p]
    return np.asarray(result.params)[:p], np.sqrt(np.diag(covariance) * small)
