"""Loops over sparse traits: each entry is read once, and a family without an entry costs nothing (numba).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["plain_effects", "plain_sums", "score_effects"]

_REORDER = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order (vector registers); nan and infinity keep their meaning."""


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _squares(data, rows, a, z, group, size):  # type: ignore[no-untyped-def]
    """Sum of squares of a column within groups, its entries a to z - 1 sorted by row; size (G,) of the groups."""
    whole, taken, part = 0.0, 0.0, 0.0
    for e in range(a, z):
        value = np.float64(data[e])
        whole += value * value
        part += value
        if e + 1 == z or group[rows[e + 1]] != group[rows[e]]:
            if len(size):
                taken += part * part / size[group[rows[e]]]
            part = 0.0
    left = whole - taken
    return left if left > 1e-12 * whole else 0.0


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def plain_sums(data, rows, ends, z, basis, group, size, sums, square, along):  # type: ignore[no-untyped-def]
    """Products of columns with doses z (n, K) and a basis (n, q).

    The columns' entries are ``data`` at ``rows``, of column j from ``ends[j]`` to ``ends[j + 1]``. Fills ``sums`` (B, K),
    ``square`` (B,) within groups and ``along`` (B, q).
    """
    K, Q = z.shape[1], basis.shape[1]
    for j in range(len(sums)):
        to = sums[j]
        to[:] = 0.0
        along[j] = 0.0
        for e in range(ends[j], ends[j + 1]):
            value, dose = data[e], z[rows[e]]
            for k in range(K):
                to[k] += value * dose[k]
            for q in range(Q):
                along[j, q] += np.float64(value) * basis[rows[e], q]
        square[j] = _squares(data, rows, ends[j], ends[j + 1], group, size)


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def plain_effects(data, rows, ends, z, basis, group, size, total, scale, cancels, beta, se, near):  # type: ignore[no-untyped-def]
    """Effects and errors (B, K) of every column, errors alike in all runs; ``near`` (B, K): pairs of which most of the
    variance cancels. Returns how many they are; see `plain_sums` for the rest."""
    K, Q = z.shape[1], basis.shape[1]
    many = 0
    for j in range(len(beta)):
        to, error, flag = beta[j], se[j], near[j]
        to[:] = 0.0
        left = _squares(data, rows, ends[j], ends[j + 1], group, size)
        for e in range(ends[j], ends[j + 1]):
            value, dose = data[e], z[rows[e]]
            for k in range(K):
                to[k] += value * dose[k]
        for q in range(Q):
            along = 0.0
            for e in range(ends[j], ends[j + 1]):
                along += np.float64(data[e]) * basis[rows[e], q]
            left -= along * along
        if not left > 0.0:
            for k in range(K):
                to[k], error[k], flag[k] = 0.0 * total[k], 0.0 * scale[k], False
            continue
        whole, floor = z.dtype.type(left), z.dtype.type(left / cancels)
        few = 0
        for k in range(K):
            slope = to[k] * total[k]
            rest = whole - slope * to[k]
            flag[k] = rest < floor
            few += rest < floor
            to[k] = slope
            error[k] = np.sqrt(max(rest, z.dtype.type(0)) * scale[k])
        many += few
    return many


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _scores(data, rows, a, end, z, family, weights, grow, one, lin, squares):  # type: ignore[no-untyped-def]
    """Sums of the scores of families in which a column has entries a to end - 1: lin (L, K) and squares (K,)."""
    K, L = z.shape[1], weights.shape[1]
    lin[:] = 0.0
    squares[:] = 0.0
    e = a
    while e < end:
        c = family[rows[e]]
        value, dose = data[e], z[rows[e]]
        for k in range(K):
            one[k] = value * dose[k]
        e += 1
        while e < end and family[rows[e]] == c:
            value, dose = data[e], z[rows[e]]
            for k in range(K):
                one[k] += value * dose[k]
            e += 1
        g = grow[c]
        for k in range(K):
            squares[k] += (g[k] * one[k]) * (g[k] * one[k])
        for m in range(L):
            w, t = weights[c, m], lin[m]
            for k in range(K):
                t[k] += w[k] * one[k]


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def score_effects(  # type: ignore[no-untyped-def]
    data,
    rows,
    ends,
    z,
    family,
    weights,
    grow,
    basis,
    less,
    bend,
    group,
    size,
    total,
    mass,
    outcome_mass,
    scale,
    cancels,
    beta,
    se,
    cov,
    near,
):
    """Effects and errors (B, K) of every column and covariances with outcomes (O, B, K), errors clustered by family.

    ``weights`` (C, L, K) with L = 2 + O + q; ``less`` (2 + O, q, K) and ``bend`` (q, q, K): what the basis (n, q) of
    covariates takes from the sums. Returns how many pairs are ``near`` to cancelling.
    """
    K, L, Q = z.shape[1], weights.shape[1], basis.shape[1]
    one, squares = np.empty_like(z[0]), np.empty_like(z[0])
    lin, along = np.zeros((L, K), z.dtype), np.zeros(Q)
    many = 0
    for j in range(len(beta)):
        slope, error, flag = beta[j], se[j], near[j]
        a, end = ends[j], ends[j + 1]
        left = _squares(data, rows, a, end, group, size)
        if not left > 0.0:
            for k in range(K):
                slope[k], error[k], flag[k] = 0.0 * total[k], 0.0 * scale[k], False
            cov[:, j] = 0.0
            continue
        _scores(data, rows, a, end, z, family, weights, grow, one, lin, squares)
        for q in range(Q):
            along[q] = 0.0
            for e in range(a, end):
                along[q] += np.float64(data[e]) * basis[rows[e], q]
            for k in range(K):
                squares[k] -= 2.0 * along[q] * lin[L - Q + q, k]
        for q in range(Q):
            for k in range(K):
                for p in range(Q):
                    squares[k] += along[q] * along[p] * bend[q, p, k]
                for m in range(L - Q):
                    lin[m, k] -= along[q] * less[m, q, k]
        few = 0
        for k in range(K):
            b = lin[0, k] * total[k]
            meat = squares[k] - b * (2.0 * lin[1, k] - b * mass[k])
            far = meat * cancels < squares[k]
            flag[k] = far
            few += far
            slope[k] = b
            error[k] = np.sqrt(max(meat, 0.0) * scale[k])
        many += few
        for o in range(len(cov)):
            for k in range(K):
                cov[o, j, k] = (lin[2 + o, k] - slope[k] * outcome_mass[o, k]) * scale[k]
    return many
