"""Multivariable PRESSO: leave-one-out residuals against their null, outliers, and what removing them changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_draws
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.mr._univariable.presso import ALL_OUT, MOST_OUT
from mrinterp.stats.profile.likelihood import KnownErrors
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["mv_presso"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@joint_estimator(
    "mv_presso",
    "MV-PRESSO (outlier-corrected where outliers are found)",
    assumes=(
        "instruments are independent of one another",
        "less than half of the instruments are outliers, and the rest are valid (under balanced pleiotropy of"
        " all it removes the largest, and intervals are too narrow)",
        "removing outliers on the same data does not count (the interval is too narrow where some were removed)",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Verbanck, Chen, Neale & Do 2018 Nat Genet, doi:10.1038/s41588-018-0099-7",
    beyond=3,
    subtracts="nothing",
)
def mv_presso(
    data: JointData,
    *,
    draws: int = 1000,
    seed: int = 0,
    alpha: float = 0.05,
    floor: bool = True,
) -> Fit:
    """MV-IVW without the instruments that stand out from what is expected under no pleiotropy.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    draws, seed : int
        Simulation of the global test and of the distortion test.
    alpha : float
        Level of the global test and, Bonferroni-corrected, of the outlier test.
    floor : bool
        Whether the residual variance is at least 1 (the R package uses it as it is).

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds ``rss``, ``global_p``, ``raw_estimate``, ``raw_se``,
        ``distortion`` = (raw - corrected)/|corrected| and its ``distortion_p``; flags ``outliers``.

    Notes
    -----
    Leave-one-out fits are closed form: the residual without instrument j is e_j/(1 - h_j). Each draw of the
    global test redraws all effects around b_j and b_j'theta_-j and refits. The residual of the outlier
    test at the observed theta_-j is exactly normal with variance [theta_-j;-1]'Sigma_j[theta_-j;-1], so
    that its p needs no draws. The distortion of each exposure is compared with removing as many
    instruments at random. Not valid where half of the instruments or more are invalid. Exposures' errors
    enter the null, not the estimate: it serves either design where instruments are strong. After outliers
    are removed its level does not hold under balanced pleiotropy of all instruments (type-I error .12 to
    .15 in ``benchmarks/mr_simulations.py``).
    """
    draws = checked_draws(draws, "option 'draws' of 'mv_presso'")
    J, F, O = data.size
    beta, se, raw, raw_se = (np.full((F, O), np.nan) for _ in range(4))
    rss, global_p = np.full(O, np.nan), np.full(O, np.nan)
    distortion, distortion_p = np.full((F, O), np.nan), np.full((F, O), np.nan)
    outliers, words = np.zeros((O, J), bool), np.full(O, "ok", dtype=object)
    for rows in outcome_blocks(O, 8 * J * F):
        errors = data.outcome_errors(rows)
        w = data.weight[rows]
        theta, left_out, apart = _leave_one_out(data.b[None], data.g[rows], w)
        rss[rows] = (w * apart**2).sum(axis=1)
        expected = np.einsum("jk,njk->nj", data.b, left_out)
        global_p[rows] = _global_p(errors, expected, w, rss[rows], draws, seed)
        z2 = apart**2 / _residual_variance(errors, left_out)
        p = np.minimum(two_sided_p(neglog10p_chi2(z2, 1.0)) * J, 1.0)
        found = (p < alpha) & (global_p[rows] < alpha)[:, None]
        all_out = (~found).sum(axis=1) <= F
        found[all_out] = False
        outliers[rows] = found
        words[rows] = np.select([all_out, 2 * found.sum(axis=1) > J], [ALL_OUT, MOST_OUT], "ok")
        raw[:, rows], raw_se[:, rows] = _fit_kept(data, rows, np.ones_like(found), floor)
        beta[:, rows], se[:, rows] = _fit_kept(data, rows, ~found, floor)
    for o in np.flatnonzero(outliers.any(axis=1)):  # each has its own number of removed instruments
        distortion[:, o] = (raw[:, o] - beta[:, o]) / np.abs(beta[:, o])
        distortion_p[:, o] = _distortion_p(
            data, int(o), int(outliers[o].sum()), distortion[:, o], draws, seed
        )
    details = {"rss": np.broadcast_to(rss, (F, O)), "global_p": np.broadcast_to(global_p, (F, O))}
    details |= {"raw_estimate": raw, "raw_se": raw_se, "distortion": distortion, "distortion_p": distortion_p}
    meta = {"draws": draws, "seed": seed}
    flags = {"outliers": np.broadcast_to(outliers, (F, O, J))}
    df = np.broadcast_to(J - F - outliers.sum(axis=1).astype(float), (F, O))
    return Fit(beta, se, df, details=details, meta=meta, flags=flags, status=words)


def _leave_one_out(b: Array, g: Array, w: Array) -> tuple[Array, Array, Array]:
    """theta (N, K), theta without each instrument (N, J, K) and the residual there (N, J); b (1 or N, J, K)."""
    weighted = b * w[:, :, None]
    inverse = np.linalg.inv(np.matmul(weighted.transpose(0, 2, 1), b))
    theta = np.matmul(inverse, np.matmul(weighted.transpose(0, 2, 1), g[:, :, None]))[:, :, 0]
    e = g - np.matmul(b, theta[:, :, None])[:, :, 0]
    pull = np.matmul(weighted, inverse)
    apart = e / np.maximum(1.0 - (pull * b).sum(axis=2), 1e-12)
    return theta, theta[:, None, :] - pull * apart[:, :, None], apart


def _residual_variance(errors: KnownErrors, theta: Array) -> Array:
    """[theta_j;-1]'Sigma_j[theta_j;-1] for a theta of its own at every instrument (N, J)."""
    v = np.einsum("njk,jkl,njl->nj", theta, errors.sigma_xx, theta, optimize=True) + errors.var_y
    return v if errors.sigma_xy is None else v - 2.0 * (errors.sigma_xy * theta).sum(axis=2)


def _global_p(errors: KnownErrors, expected: Array, w: Array, rss: Array, draws: int, seed: int) -> Array:
    """Share of redrawn data sets whose leave-one-out sum of squares reaches the observed one (n,)."""
    n, J, K = errors.size
    null = KnownErrors(errors.beta_x, expected, errors.var_y, errors.sigma_xx, errors.sigma_xy)
    reached = np.zeros(n)
    rng = np.random.default_rng(seed)  # the same draws for every outcome, whichever stand beside it
    for part in outcome_blocks(draws, n * 6 * J * K):
        rows = np.tile(np.arange(n), len(part))
        normals = np.repeat(rng.standard_normal((len(part), J, K + 1)), n, axis=0)
        drawn = null.take(rows).redraw(normals)
        apart = _leave_one_out(drawn.beta_x, drawn.beta_y, w[rows])[2]
        total = (w[rows] * apart**2).sum(axis=1).reshape(len(part), n)
        reached += (total >= rss).sum(axis=0)
    return np.asarray((reached + 1.0) / (draws + 1.0))


def _fit_kept(data: JointData, rows: NDArray[np.int_], kept: Bools, floor: bool) -> tuple[Array, Array]:
    """MV-IVW on each outcome's kept instruments, (K, n)."""
    K = data.size[1]
    a = data.weight[rows] * kept
    inverse = np.linalg.inv(np.matmul(data.b.T[None] * a[:, None, :], data.b))
    theta = np.matmul(inverse, ((a * data.g[rows]) @ data.b)[..., None])[..., 0]
    e = data.g[rows] - theta @ data.b.T
    sigma2 = (a * e * e).sum(axis=1) / (kept.sum(axis=1) - K)
    sigma2 = np.maximum(sigma2, 1.0) if floor else sigma2
    return theta.T, np.sqrt(np.einsum("nkk->nk", inverse) * sigma2[:, None]).T


def _distortion_p(data: JointData, o: int, removed: int, seen: Array, draws: int, seed: int) -> Array:
    """Per exposure, the share of random removals of as many instruments that move the estimate as much (K,)."""
    J, K, _ = data.size
    # [seed, 1]: a stream of its own, so that this test's draws are not those of the global one.
    kept = np.argsort(np.random.default_rng([seed, 1]).random((draws, J)), axis=1) >= removed
    a = data.weight[o] * kept
    outer = (data.b[:, :, None] * data.b[:, None, :]).reshape(J, K * K)
    theta = np.linalg.solve((a @ outer).reshape(draws, K, K), ((a * data.g[o]) @ data.b)[..., None])[..., 0]
    w = data.weight[o]
    raw = np.linalg.solve((data.b.T * w) @ data.b, (data.b.T * w) @ data.g[o])
    moved = np.abs((raw - theta) / np.abs(theta))
    return np.asarray(((moved >= np.abs(seen)).sum(axis=0) + 1.0) / (draws + 1.0))
