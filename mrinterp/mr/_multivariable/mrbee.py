"""Bias-corrected estimating equations for several exposures with overlapping samples (MRBEE, MV-dIVW)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.mr._engine.inference import choice
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.stats.profile.inference import positive_inverse
from mrinterp.stats.profile.likelihood import minimize_profile

__all__ = ["mrbee"]

Array = NDArray[np.float64]

WEAK = (
    "the corrected moment matrix is not positive definite: the instruments do not tell these exposures"
    " apart beyond estimation error; use srivw, or fewer exposures"
)


@joint_estimator(
    "mrbee",
    "MRBEE (bias-corrected, overlap)",
    assumes=(
        "instruments are independent of one another",
        "pleiotropy is balanced and independent of the instruments' strength, apart from removed outliers",
        "the errors' covariance is known",
    ),
    reference="Lorincz-Comi et al. 2024 HGG Advances, doi:10.1016/j.xhgg.2024.100290",
    beyond=2,
)
def mrbee(
    data: JointData,
    *,
    small_sample: str = "leverage",
    outliers: str = "keep",
    outlier_level: float = 0.05,
    draws: int = 0,
    seed: int = 0,
) -> Fit:
    """Solve Sum w_j(b_j b_j' - Sxx_j) theta = Sum w_j(b_j g_j - sxy_j) for all outcomes at once.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    small_sample : {"leverage", "factor"}
        Residuals divided by 1 - leverage (floored at .25), or the sandwich times J/(J - F).
    outliers : {"keep", "remove"}
        Remove instruments whose standardized residual is significant at ``outlier_level``/J, and
        repeat until the set is stable. The sandwich then does not hold its level: give ``draws``.
    draws, seed : int
        Bootstrap over instruments for the standard error (0: sandwich), removal repeated in each draw.

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds ``lambda_str`` and ``n_outliers``; flags ``outliers``.

    Notes
    -----
    Not valid when ``lambda_str`` is below about 7 (use `srivw`), nor in paired within-prompt designs,
    where the errors that it subtracts are themselves causal. Overdispersion (balanced pleiotropy) and
    overlap are both covered by the sandwich Sum E_j E_j', E_j = w_j[b_j e_j + Sxx_j theta - sxy_j].
    Cost for O outcomes with proportional weights: one K x K factorization and products of total size
    O K^2 (J + K). Source: Lorincz-Comi et al. 2024, doi:10.1016/j.xhgg.2024.100290.
    """
    choice("small_sample", small_sample, ("leverage", "factor"))
    choice("outliers", outliers, ("keep", "remove"))
    J, F, O = data.size
    kept = np.ones((O, J), bool)
    if outliers == "remove":
        kept = _remove_outliers(data, outlier_level)
    beta, se, words = _fit(data, kept, small_sample)
    if draws:
        rng = np.random.default_rng(seed)
        se = _bootstrap(data, kept, beta, draws, rng, outlier_level if outliers == "remove" else None)
        se[np.isnan(beta)] = np.nan
    elif outliers == "remove":
        for o in np.flatnonzero(~kept.all(axis=1) & (words == "ok")):
            words[o] = "the error ignores that outliers were selected: ask for draws to bootstrap it"
    details = {
        "lambda_str": np.full((F, O), data.strength()),
        "n_outliers": np.broadcast_to((~kept).sum(axis=1).astype(float), (F, O)),
    }
    meta = {"small_sample": small_sample, "draws": draws, "seed": seed}
    flags = {"outliers": np.broadcast_to(~kept, (F, O, J))} if outliers == "remove" else {}
    return Fit(beta, se, status=words, details=details, meta=meta, flags=flags)


def _fit(
    data: JointData, kept: NDArray[np.bool_], small_sample: str
) -> tuple[Array, Array, NDArray[np.object_]]:
    """Estimates and sandwich errors (F, O) and a word per outcome."""
    J, K, O = data.size
    words = np.full(O, "ok", dtype=object)
    if data.shared is not None and kept.all():
        beta, se, definite = _fit_shared(data, data.shared, small_sample)
        words[:] = "ok" if definite else WEAK
        return beta, se, words
    beta, se = np.full((K, O), np.nan), np.full((K, O), np.nan)
    moments = data.corrected()
    for rows in outcome_blocks(O, 4 * J * K + 4 * K * K):
        a = data.weight[rows] * kept[rows]
        theta, inverse, ok = _solve((a @ moments).reshape(-1, K, K), data.cross(a, rows))
        e, _, m = data.outcome_errors(rows).residuals(theta)
        factor = np.ones(len(rows))
        if small_sample == "leverage":
            e = e / (1.0 - _leverage(data.b, a))
        else:
            used = kept[rows].sum(axis=1)
            factor = used / np.maximum(used - K, 1)
        scores = a[:, :, None] * (data.b * e[:, :, None] + m)
        spread = np.matmul(scores, inverse.transpose(0, 2, 1))
        beta[:, rows] = theta.T
        se[:, rows] = np.sqrt((spread**2).sum(axis=1) * factor[:, None]).T
        words[rows[~ok]] = WEAK
    return beta, se, words


def _leverage(b: Array, a: Array) -> Array:
    """a_j b_j'(B'AB)^-1 b_j for weights a (N, J), capped so that 1 - h is at least .25."""
    gram = np.matmul(b.T[None] * a[:, None, :], b)
    solved = np.linalg.solve(gram, np.broadcast_to(b.T, (len(a), *b.T.shape)))
    return np.minimum(a * np.einsum("jk,nkj->nj", b, solved), 0.75)


def _solve(h: Array, c: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """theta (N, K) and inverses of H (N, K, K); nan and False where H is not positive definite."""
    inverse, ok = positive_inverse(h, 1e-10)
    return np.matmul(inverse, c[:, :, None])[:, :, 0], inverse, ok


def _fit_shared(data: JointData, weight: Array, small_sample: str) -> tuple[Array, Array, bool]:
    """One H for all outcomes; the sandwich's diagonal from matrix products.

    (H^-1 E_j)_k = A_jk e_j + T_jk theta - (H^-1 w_j sxy_j)_k with A_j = H^-1 w_j b_j and
    T_j = H^-1 w_j Sxx_j. Without sxy its sum of squares over j needs only Sum_j A_jk T_jkl e_j and
    Sum_j T_jkl T_jkm, which are products with the residuals and with theta.
    """
    J, K, O = data.size
    h = (weight @ data.corrected()).reshape(1, K, K)
    theta, inverse, ok = _solve(h, data.cross(weight, np.arange(O)))
    if not ok[0]:
        return np.full((K, O), np.nan), np.full((K, O), np.nan), False
    theta = theta.T
    A = (weight[:, None] * data.b) @ inverse[0]
    T = np.matmul(inverse[0], weight[:, None, None] * data.sigma_xx)
    e = data.g.T - data.b @ theta
    factor = J / (J - K)
    if small_sample == "leverage":
        e, factor = e / (1.0 - _leverage(data.b, weight[None])[0])[:, None], 1.0
    total = (A * A).T @ (e * e)
    across = T.transpose(1, 2, 0)  # (k, l, j)
    left = np.concatenate(
        [2.0 * A.T[:, None, :] * across, np.matmul(across, across.transpose(0, 2, 1))], axis=2
    ).reshape(K * K, J + K)
    for rows in outcome_blocks(O, 8 * K * K + (0 if data.sigma_xy is None else 3 * J * K)):
        right = np.concatenate([e[:, rows], theta[:, rows]])
        part = (left @ right).reshape(K, K, len(rows))
        total[:, rows] += np.einsum("klo,lo->ko", part, theta[:, rows])
        if data.sigma_xy is not None:
            taken = np.matmul(data.sigma_xy[rows] * weight[:, None], inverse[0].T)
            score = A * e[:, rows].T[:, :, None] + np.einsum("jkl,lo->ojk", T, theta[:, rows])
            total[:, rows] += (taken * (taken - 2.0 * score)).sum(axis=1).T
    return theta, np.sqrt(np.maximum(total, 0.0) * factor), True


def _screen(data: JointData, rows: NDArray[np.int_], theta: Array, level: float) -> NDArray[np.bool_]:
    """Which instruments' standardized residuals are not significant, (len(rows), J)."""
    e, v, _ = data.outcome_errors(rows).residuals(theta)
    limit = special.chdtri(1, level / e.shape[1])
    return np.asarray(e * e <= limit * np.maximum(v, 1e-300))


def _remove_outliers(data: JointData, level: float) -> NDArray[np.bool_]:
    """Instruments (O, J) that stay: iterated from the minimum of Huber's profile loss."""
    J, K, O = data.size
    kept = np.ones((O, J), bool)
    for rows in outcome_blocks(O, 8 * J * K):
        start = _solve_rows(data, rows, np.ones((len(rows), J), bool))
        start = minimize_profile(data.outcome_errors(rows), np.nan_to_num(start), "huber").theta
        kept[rows] = _iterate_removal(
            data, rows, _screen(data, rows, start, level), level, np.ones((len(rows), J))
        )
    return kept


def _solve_rows(data: JointData, rows: NDArray[np.int_], used: Array) -> Array:
    K = data.size[1]
    a = data.weight[rows] * used
    return _solve((a @ data.corrected()).reshape(-1, K, K), data.cross(a, rows))[0]


def _iterate_removal(
    data: JointData, rows: NDArray[np.int_], kept: NDArray[np.bool_], level: float, counts: Array
) -> NDArray[np.bool_]:
    """Refit and screen until no set changes (at most 20 times); too few left means none is removed."""
    needed = data.size[1] + 2
    for _ in range(20):
        kept = np.where(((kept * counts) > 0).sum(axis=1, keepdims=True) >= needed, kept, True)
        theta = _solve_rows(data, rows, kept * counts)
        new = np.where(
            np.isfinite(theta).all(axis=1, keepdims=True),
            _screen(data, rows, np.nan_to_num(theta), level),
            kept,
        )
        if (new == kept).all():
            break
        kept = new
    return np.asarray(kept)


def _bootstrap(
    data: JointData,
    kept: NDArray[np.bool_],
    beta: Array,
    draws: int,
    rng: np.random.Generator,
    level: float | None,
) -> Array:
    """Standard deviation over resampled instruments, (F, O); draws without an estimate are left out."""
    J, K, O = data.size
    counts = rng.multinomial(J, np.full(J, 1.0 / J), size=draws).astype(float)
    n, mean, square = np.zeros(O), np.zeros((O, K)), np.zeros((O, K))
    everything = np.arange(O)
    for part in outcome_blocks(draws, O * (2 * J + 2 * K * K)):
        rows = np.tile(everything, len(part))
        drawn = np.repeat(counts[part], O, axis=0)
        stay = np.ones((len(rows), J), bool)
        if level is not None:
            stay = _iterate_removal(data, rows, kept[rows], level, drawn)
        theta = (_solve_rows(data, rows, stay * drawn) - np.nan_to_num(beta.T)[rows]).reshape(len(part), O, K)
        good = np.asarray(np.isfinite(theta).all(axis=2))
        theta = np.where(good[:, :, None], theta, 0.0)
        n, mean, square = n + good.sum(axis=0), mean + theta.sum(axis=0), square + (theta**2).sum(axis=0)
    n = np.maximum(n, 2.0)[:, None]
    return np.sqrt(np.maximum(square - mean**2 / n, 0.0) / (n - 1.0)).T
