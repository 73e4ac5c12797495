"""Weighted least absolute deviations without an intercept, many problems at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_absolute_deviations"]

Array = NDArray[np.float64]


def least_absolute_deviations(
    design: Array, outcome: Array, weights: Array, max_iterations: int = 80
) -> Array:
    """Coefficients (N, K) that minimize Sum_j w_j |y_j - x_j'theta| for N problems.

    Parameters
    ----------
    design : ndarray (1 or N, J, K)
    outcome, weights : ndarray (N, J)
        Weights are positive and multiply the absolute residual.

    Notes
    -----
    Primal-dual interior point (predictor-corrector) on the bounded dual program
    max y'd, X'd = 0, |d| <= 1/2, then a step to the vertex through the K smallest residuals, which is the
    exact solution where it is unique. Where the minimum is not unique one of the minima is returned.
    Source: Portnoy & Koenker 1997 Stat Sci, doi:10.1214/ss/1030037960.
    """
    N, J = outcome.shape
    K = design.shape[2]
    x = design * weights[:, :, None]
    y = outcome * weights
    unit_y = np.maximum(np.abs(y).max(axis=1), 1e-300)
    unit_x = np.maximum(np.sqrt((x**2).mean(axis=1)), 1e-300)
    x, y = x / unit_x[:, None, :], y / unit_y[:, None]
    theta = _interior_point(x, y, max_iterations)
    theta = _to_vertex(x, y, theta)
    return np.asarray(theta * unit_y[:, None] / unit_x).reshape(N, K)


def _solve(gram: Array, right: Array) -> Array:
    K = gram.shape[1]
    size = np.einsum("nkk->n", gram)
    return np.asarray(
        np.linalg.solve(gram + (1e-13 * size)[:, None, None] * np.eye(K), right[..., None])[..., 0]
    )


def _interior_point(x: Array, y: Array, max_iterations: int) -> Array:
    """Multipliers theta (N, K) of the bounded program; x (N, J, K), y (N, J) of unit size."""
    N, J, K = x.shape
    xt = x.transpose(0, 2, 1)
    theta = _solve(np.matmul(xt, x), np.matmul(xt, y[..., None])[..., 0])
    a = np.full((N, J), 0.5)
    r = y - np.matmul(x, theta[..., None])[..., 0]
    floor = 0.1 * np.abs(r).mean(axis=1, keepdims=True) + 1e-10
    up, down = np.maximum(r, 0.0) + floor, np.maximum(-r, 0.0) + floor  # up - down = r
    active = np.arange(N)
    for _ in range(max_iterations):
        X, A, U, D = x[active], a[active], up[active], down[active]
        B = 1.0 - A
        gap = (A * D + B * U).sum(axis=1)
        keep = gap > 1e-13 * J
        if not keep.any():
            break
        active, X, A, U, D, B, gap = (v[keep] for v in (active, X, A, U, D, B, gap))
        q = 1.0 / (D / A + U / B)
        gram = np.matmul(X.transpose(0, 2, 1) * q[:, None, :], X)
        step = _direction(X, gram, q, A, B, U, D, -A * D, -B * U)
        mu = _complementarity(A, B, U, D, step, gap)
        da, du, dd, _ = step
        step = _direction(X, gram, q, A, B, U, D, mu - A * D - da * dd, mu - B * U + da * du)
        da, du, dd, dt = step
        pa, pd = _lengths(A, B, U, D, da, du, dd)
        a[active] = np.clip(A + pa * da, 1e-16, 1.0 - 1e-16)
        up[active], down[active] = np.maximum(U + pd * du, 1e-300), np.maximum(D + pd * dd, 1e-300)
        theta[active] += pd * dt
    return theta


def _direction(
    X: Array, gram: Array, q: Array, A: Array, B: Array, U: Array, D: Array, left: Array, right: Array
) -> tuple[Array, Array, Array, Array]:
    """Newton step (da, dup, ddown, dtheta) towards A D = left + A D and B U = right + B U."""
    free = left / A - right / B
    dt = _solve(gram, np.matmul(X.transpose(0, 2, 1), (q * free)[..., None])[..., 0])
    da = q * (free - np.matmul(X, dt[..., None])[..., 0])
    return da, (right + U * da) / B, (left - D * da) / A, dt


def _lengths(A: Array, B: Array, U: Array, D: Array, da: Array, du: Array, dd: Array) -> tuple[Array, Array]:
    """Primal and dual step lengths that keep everything positive, (N, 1) each."""

    def longest(value: Array, change: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(change < 0, -value / change, np.inf)
        return np.asarray(ratio.min(axis=1, keepdims=True))

    primal = np.minimum(longest(A, da), longest(B, -da))
    dual = np.minimum(longest(U, du), longest(D, dd))
    return np.minimum(1.0, 0.9995 * primal), np.minimum(1.0, 0.9995 * dual)


def _complementarity(A: Array, B: Array, U: Array, D: Array, step: tuple[Array, ...], gap: Array) -> Array:
    """Mehrotra's target for the average complementarity, (N, 1)."""
    da, du, dd, _ = step
    pa, pd = _lengths(A, B, U, D, da, du, dd)
    after = ((A + pa * da) * (D + pd * dd) + (B - pa * da) * (U + pd * du)).sum(axis=1)
    return np.asarray(((after / gap) ** 3 * gap / (2 * A.shape[1]))[:, None])


def _to_vertex(x: Array, y: Array, theta: Array) -> Array:
    """Pass exactly through the K smallest residuals where that does not raise the sum."""
    K = x.shape[2]
    r = y - np.matmul(x, theta[..., None])[..., 0]
    nearest = np.argsort(np.abs(r), axis=1)[:, :K]
    square = np.take_along_axis(x, nearest[:, :, None], axis=1)
    right = np.take_along_axis(y, nearest, axis=1)
    good = np.abs(np.linalg.det(square)) > 1e-12
    square[~good] = np.eye(K)
    exact = np.linalg.solve(square, right[..., None])[..., 0]
    new = np.abs(y - np.matmul(x, exact[..., None])[..., 0]).sum(axis=1)
    better = good & (new <= np.abs(r).sum(axis=1) * (1.0 + 1e-12))
    return np.where(better[:, None], exact, theta)
