"""Constrained maximum likelihood for several exposures: a limited number of instruments may be invalid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.core.shown import A_WHILE, counted
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.stats.profile.inference import positive_inverse
from mrinterp.stats.profile.likelihood import KnownErrors, minimize_profile, profile_derivatives
from mrinterp.stats.profile.losses import find_loss

__all__ = ["mv_cml"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

_TRIED = 30
"""Small sets of instruments that are fitted for every one from which the search starts."""

_ROUNDS = 8
"""Rounds in which solutions of neighbouring numbers of invalid instruments are tried as starts."""


@joint_estimator(
    "mv_cml",
    "MV constrained maximum likelihood",
    assumes=(
        "instruments are independent of one another",
        "valid instruments form the largest group that agrees on one set of effects",
        "valid instruments have no pleiotropy at all (under balanced pleiotropy of all, intervals are too narrow)",
        "the errors' covariance is known",
    ),
    reference="Lin, Xue & Pan 2023 Am J Hum Genet, doi:10.1016/j.ajhg.2023.02.014",
    beyond=2,
    most_exposures=100,
)
def mv_cml(
    data: JointData,
    *,
    n_x: Array | None = None,
    n_y: Array | None = None,
    n: float | None = None,
    max_invalid: int | None = None,
    starts: int = 10,
    draws: int = 0,
    seed: int = 0,
) -> Fit:
    """Maximize the likelihood with at most q instruments acting on the outcome directly; BIC chooses q.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    n_x, n_y : ndarray (F,), (O,), optional
        Sample sizes; the smallest is the default of ``n``.
    n : float, optional
        Sample size in BIC = q log n + 2 nll: the smallest study, or the number of prompt families. Where
        no size is known, the n for which an instrument is called invalid when its squared standardized residual
        passes the Bonferroni limit (.05/J) of chi2(1). ``meta["sensitivity_to_n"]`` has n/10 and 10 n.
    max_invalid : int, optional
        Largest q, half the instruments by default.
    starts, seed : int
        The search starts from this many of 30 times as many fits to small random sets of instruments: those whose
        likelihood is highest. With one start it stops at local optima more often.
    draws : int
        Data perturbation: estimates are the mean, errors the spread over this many redrawn data sets
        (100 to 200), which carries the uncertainty about which instruments are invalid. 0: the error
        ignores it and is too small.

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds ``n_invalid`` and ``bic``; flags ``outliers`` (invalid ones).

    Notes
    -----
    Profiling out the instruments' true effects and the direct effects r_j leaves
    min over theta of the sum of the J - q smallest e_j^2 / v_j(theta), with v_j the full variance of e_j
    (overlap included): least trimmed squares of profile residuals, solved by Newton steps with the
    trimmed set chosen anew at each. The objective is the published one; the search is ours. It may end
    in a local minimum; ``tests/mr/test_mr_joint_properties.py`` compares it with 30 times as many starts. Not valid
    under balanced pleiotropy of all instruments (type-I error .15, Monte-Carlo error .04, where there are effects, in
    ``benchmarks/mr_simulations.py``, with redrawn data: use `grapple`). Source: Lin et al. 2023, doi:10.1016/j.ajhg.2023.02.014.
    """
    J, F, O = data.size
    if n is None and n_x is not None and n_y is not None:
        n = float(min(np.min(n_x), np.min(n_y)))
    size = float(np.exp(special.chdtri(1, 0.05 / J))) if n is None else float(n)
    most = int(np.clip(J // 2 if max_invalid is None else max_invalid, 0, J - F - 1))
    rng = np.random.default_rng(seed)
    pools = _pools(rng.random((_TRIED * starts, J)), F)
    beta, se = np.full((F, O), np.nan), np.full((F, O), np.nan)
    invalid, bic = np.zeros((O, J), bool), np.full(O, np.nan)
    sensitivity = {f"{s:.3g}": np.empty((F, O)) for s in (size / 10, size, size * 10)}
    words = np.full(O, "ok", dtype=object)
    for rows in outcome_blocks(O, 4 * J * F * max((most + 1) * (starts + 1), len(pools))):
        errors = data.outcome_errors(rows)
        path = _path(errors, _pool_starts(data, rows, pools), most, starts)
        for scale, store in zip((0.1, 1.0, 10.0), sensitivity.values(), strict=True):
            store[:, rows] = _choose(path, size * scale)[0].T
        theta, q, bic[rows] = _choose(path, size)
        beta[:, rows], se[:, rows], invalid[rows], ok = _information(errors, theta, q)
        words[rows[~ok]] = (
            "the information about the effects is not positive: instruments too weak for these exposures"
        )
        if draws:
            mean, spread, used = _perturb(errors, path, q, size, draws, seed, theta, 20.0 * se[:, rows].T)
            beta[:, rows], se[:, rows] = mean.T, spread.T
            few = used < 0.95 * draws
            words[rows[few & ok]] = (
                "more than 5% of the redrawn data sets did not identify the effects: instruments are weak"
            )
            beta[:, rows[used < 0.5 * draws]], se[:, rows[used < 0.5 * draws]] = np.nan, np.nan
    shown = {k: v.tolist() for k, v in sensitivity.items()} if O <= 16 else {}
    meta = {"n": size, "seed": seed, "draws": draws, "sensitivity_to_n": shown}
    details = {
        "n_invalid": np.broadcast_to(invalid.sum(axis=1).astype(float), (F, O)),
        "bic": np.broadcast_to(bic, (F, O)),
    }
    return Fit(
        beta,
        se,
        status=words,
        details=details,
        meta=meta,
        flags={"outliers": np.broadcast_to(invalid, (F, O, J))},
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """Best fit for every number q of invalid instruments: theta (n, Q, K), trimmed sum of squares (n, Q)."""

    theta: Array
    rss: Array


def _pools(order: Array, exposures: int) -> Array:
    """Which instruments each fit uses, (fits + 1, J): all, then sets just large enough, then sets twice as large.

    The smaller the set, the likelier that none of its instruments is invalid; the larger, the less noise.
    """
    rank = np.argsort(np.argsort(order, axis=1), axis=1)
    size = np.where(np.arange(len(order)) % 2 == 0, exposures, 2 * exposures + 2)
    return np.concatenate([np.ones((1, order.shape[1])), rank < size[:, None]]).astype(float)


def _pool_starts(data: JointData, rows: Ints, used: Array) -> Array:
    """Least squares on each set of instruments, (rows, sets, K)."""
    K = data.size[1]
    J = data.size[0]
    a = data.weight[rows][:, None, :] * used[None]
    outer = (data.b[:, :, None] * data.b[:, None, :]).reshape(J, K * K)
    gram = (a @ outer).reshape(len(rows), -1, K, K)
    gram = gram + 1e-8 * np.einsum("nskk->ns", gram)[:, :, None, None] * np.eye(K)
    right = (a * data.g[rows][:, None, :]) @ data.b
    return np.asarray(np.linalg.solve(gram, right[..., None])[..., 0])


def _run(errors: KnownErrors, problems: Ints, theta: Array, q: Ints) -> tuple[Array, Array]:
    """Minimize the trimmed sum of squares of each problem; theta and twice the objective."""
    ends = minimize_profile(errors.take(problems), theta, "l2", trim=q)
    return ends.theta, 2.0 * np.where(np.isfinite(ends.value), ends.value, np.inf)


def _path(errors: KnownErrors, tried: Array, most: int, starts: int) -> _Path:
    """The best of the fits tried as starts at a few q, then every q from the nearest, until no neighbour's improves it."""
    n, C, K = tried.shape
    anchors = np.unique(np.linspace(0, most, 9).round().astype(int))
    e, v, _ = errors.take(np.repeat(np.arange(n), C)).residuals(tried.reshape(n * C, K))
    sums = np.cumsum(np.sort((e * e / v).reshape(n, C, -1), axis=2), axis=2)[:, :, e.shape[1] - anchors - 1]
    order = np.argsort(sums, axis=1, kind="stable")[:, : max(starts, 1)]  # (n, S, anchors)
    first = np.take_along_axis(tried[:, :, None, :], order[..., None], axis=1)
    S = first.shape[1]
    problems = np.repeat(np.arange(n), S * len(anchors))
    theta, rss = _run(errors, problems, first.reshape(-1, K), np.tile(anchors, n * S))
    best = np.argmin(rss.reshape(n, S, -1), axis=1)[:, None, :, None]
    solved = np.take_along_axis(theta.reshape(n, S, len(anchors), K), best, axis=1)[:, 0]
    q = np.arange(most + 1)
    below = np.searchsorted(anchors, q, side="right") - 1
    above = np.minimum(below + 1, len(anchors) - 1)
    path = _Path(solved[:, below], np.full((n, len(q)), np.inf))
    path = _improve(errors, _improve(errors, path, solved[:, below]), solved[:, above])
    for _ in range(_ROUNDS):
        better = path
        for shift in (1, -1):
            better = _improve(errors, better, np.roll(path.theta, shift, axis=1))
        gain, path = path.rss - better.rss, better
        if gain.max() < 1e-9:
            break
    return path


def _improve(errors: KnownErrors, path: _Path, starts: Array) -> _Path:
    """Try one more start for every q."""
    n, Q, K = path.theta.shape
    theta, rss = _run(errors, np.repeat(np.arange(n), Q), starts.reshape(n * Q, K), np.tile(np.arange(Q), n))
    theta, rss = theta.reshape(n, Q, K), rss.reshape(n, Q)
    better = rss < path.rss
    return _Path(np.where(better[..., None], theta, path.theta), np.where(better, rss, path.rss))


def _choose(path: _Path, size: float) -> tuple[Array, Ints, Array]:
    """theta (n, K), q and BIC (n,) of the smallest BIC = q log n + trimmed sum of squares."""
    bic = path.rss + np.arange(path.rss.shape[1]) * np.log(size)
    q = np.argmin(bic, axis=1)
    at = np.arange(len(q))
    return path.theta[at, q], q, bic[at, q]


def _information(
    errors: KnownErrors, theta: Array, q: Ints
) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """theta and errors from the observed information (K, n), the invalid set (n, J), and where it is positive."""
    e, v, _ = errors.residuals(theta)
    rank = np.argsort(np.argsort(e * e / v, axis=1), axis=1)
    invalid = rank >= (e.shape[1] - q)[:, None]
    hessian = profile_derivatives(errors, theta, find_loss("l2"), trim=q)[2]
    inverse, ok = positive_inverse(hessian)
    se = np.sqrt(np.einsum("nkk->nk", inverse))
    beta = theta.copy()
    beta[~ok] = np.nan
    return beta.T, se.T, invalid, ok


def _perturb(
    errors: KnownErrors,
    path: _Path,
    q: Ints,
    size: float,
    draws: int,
    seed: int,
    centre: Array,
    reach: Array,
) -> tuple[Array, Array, Array]:
    """Mean and spread (n, K) of the estimate over redrawn data sets, and how many draws (n,) they rest on.

    Started from the path. A draw whose minimum lies further than ``reach`` from ``centre`` has run away
    along a direction that its instruments do not identify and is left out.
    """
    n, J, K = errors.size
    most = int(min(path.rss.shape[1] - 1, 2 * q.max() + 10))
    count, total, square = np.zeros(n), np.zeros((n, K)), np.zeros((n, K))
    start = _Path(path.theta[:, : most + 1], np.full((n, most + 1), np.inf))
    rng = np.random.default_rng([seed, 1])  # the same draws for every outcome, whichever stand beside it
    # Each draw is one batch over outcomes and q, which bounds the memory.
    for _ in counted(range(draws), "mv_cml: redrawn data", "draw", A_WHILE):
        drawn = errors.redraw(rng.standard_normal((1, J, K + 1)))
        fitted = _improve(drawn, start, start.theta)
        fitted = _improve(drawn, fitted, np.roll(fitted.theta, 1, axis=1))
        away = _choose(fitted, size)[0] - centre
        good = (np.abs(away) <= reach).all(axis=1)
        away[~good] = 0.0
        count, total, square = count + good, total + away, square + away**2
    safe = np.maximum(count, 2.0)[:, None]
    spread = np.sqrt(np.maximum(square - total**2 / safe, 0.0) / (safe - 1.0))
    return centre + total / safe, spread, count
