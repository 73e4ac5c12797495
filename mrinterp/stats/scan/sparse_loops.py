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
def _row_sums(data, rows, a, end, z, to):  # type: ignore[no-untyped-def]
    """Adds to ``to`` (K,) the rows of z of entries a to end - 1 times their values: four at a time, so that sums are
    read and written a quarter as often."""
    K, e = z.shape[1], a
    while e + 4 <= end:
        i, j, p, q = rows[e], rows[e + 1], rows[e + 2], rows[e + 3]
        v, w, x, y = data[e], data[e + 1], data[e + 2], data[e + 3]
        for k in range(K):
            to[k] += (v * z[i, k] + w * z[j, k]) + (x * z[p, k] + y * z[q, k])
        e += 4
    while e < end:
        i, v = rows[e], data[e]
        for k in range(K):
            to[k] += v * z[i, k]
        e += 1


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def plain_sums(data, rows, ends, z, basis, group, size, sums, square, along):  # type: ignore[no-untyped-def]
    """Products of columns with doses z (n, K) and a basis (n, q).

    The columns' entries are ``data`` at ``rows``, of column j from ``ends[j]`` to ``ends[j + 1]``. Fills ``sums`` (B, K),
    ``square`` (B,) within groups and ``along`` (B, q).
    """
    Q = basis.shape[1]
    for j in range(len(sums)):
        to = sums[j]
        to[:] = 0.0
        along[j] = 0.0
        _row_sums(data, rows, ends[j], ends[j + 1], z, to)
        for e in range(ends[j], ends[j + 1]):
            for q in range(Q):
                along[j, q] += np.float64(data[e]) * basis[rows[e], q]
        square[j] = _squares(data, rows, ends[j], ends[j + 1], group, size)


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def plain_effects(data, rows, ends, z, basis, group, size, total, scale, cancels, beta, se, near):  # type: ignore[no-untyped-def]
    """Effects and errors (B, K) of every column, errors alike in all runs; ``near`` (B, K): pairs of which most of the
    variance cancels. Returns how many they are; see `plain_sums` for the rest."""
    K, Q = z.shape[1], basis.shape[1]
    many, nothing = 0, z.dtype.type(0)
    for j in range(len(beta)):
        to, error = beta[j], se[j]
        to[:] = 0.0
        near[j] = False
        left = _squares(data, rows, ends[j], ends[j + 1], group, size)
        _row_sums(data, rows, ends[j], ends[j + 1], z, to)
        for q in range(Q):
            along = 0.0
            for e in range(ends[j], ends[j + 1]):
                along += np.float64(data[e]) * basis[rows[e], q]
            left -= along * along
        if not left > 0.0:
            for k in range(K):
                to[k], error[k] = 0.0 * total[k], 0.0 * scale[k]
            continue
        whole, floor = z.dtype.type(left), z.dtype.type(left / cancels)
        lack = nothing
        for k in range(K):
            rest = whole - to[k] * to[k] * total[k]
            lack += floor - rest if rest < floor else nothing
        if lack > nothing:  # rarely: a flag per pair costs more than the sums of all of them
            for k in range(K):
                near[j, k] = whole - to[k] * to[k] * total[k] < floor
                many += near[j, k]
        for k in range(K):
            slope = to[k] * total[k]
            error[k] = np.sqrt(max(whole - slope * to[k], nothing) * scale[k])
            to[k] = slope
    return many


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _lone_scores(  # type: ignore[no-untyped-def]
    value, row, count, z, family, weights, square, lin, squares
):
    """Adds the scores of families with one entry each, four at a time: the ``count`` first of ``value`` and ``row``."""
    K, L, n = z.shape[1], weights.shape[1], 0
    while n + 4 <= count:
        i, j, p, q = row[n], row[n + 1], row[n + 2], row[n + 3]
        a, b, c, d = family[i], family[j], family[p], family[q]
        v, w, x, y = value[n], value[n + 1], value[n + 2], value[n + 3]
        for k in range(K):
            lin[0, k] += (v * z[i, k] + w * z[j, k]) + (x * z[p, k] + y * z[q, k])
        vv, ww, xx, yy = v * v, w * w, x * x, y * y
        for k in range(K):
            squares[k] += (
                square[a, k] * (vv * (z[i, k] * z[i, k])) + square[b, k] * (ww * (z[j, k] * z[j, k]))
            ) + (square[c, k] * (xx * (z[p, k] * z[p, k])) + square[d, k] * (yy * (z[q, k] * z[q, k])))
        for m in range(1, L):
            for k in range(K):
                lin[m, k] += (weights[a, m, k] * (v * z[i, k]) + weights[b, m, k] * (w * z[j, k])) + (
                    weights[c, m, k] * (x * z[p, k]) + weights[d, m, k] * (y * z[q, k])
                )
        n += 4
    while n < count:
        i, v = row[n], value[n]
        a = family[i]
        for k in range(K):
            lin[0, k] += v * z[i, k]
        for k in range(K):
            squares[k] += square[a, k] * (v * z[i, k]) * (v * z[i, k])
        for m in range(1, L):
            for k in range(K):
                lin[m, k] += weights[a, m, k] * (v * z[i, k])
        n += 1


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _scores(  # type: ignore[no-untyped-def]
    data, rows, a, end, z, family, weights, square, one, value, row, lin, squares
):
    """Sums of the scores of families in which a column has entries a to end - 1: lin (L, K) and squares (K,).

    The first of the weights are 1; ``square`` (C, K) are the squared factors of the families. ``one``, ``value`` and
    ``row`` are room for a family's score and for entries that are alone in their family.
    """
    K, L = z.shape[1], weights.shape[1]
    lin[:] = 0.0
    squares[:] = 0.0
    e, count = a, 0
    while e < end:
        c, first = family[rows[e]], e
        e += 1
        while e < end and family[rows[e]] == c:
            e += 1
        if e == first + 1:
            value[count], row[count] = data[first], rows[first]
            count += 1
            continue
        one[:] = 0.0
        _row_sums(data, rows, first, e, z, one)
        for k in range(K):
            lin[0, k] += one[k]
        for k in range(K):
            squares[k] += square[c, k] * (one[k] * one[k])
        for m in range(1, L):
            for k in range(K):
                lin[m, k] += weights[c, m, k] * one[k]
    _lone_scores(value, row, count, z, family, weights, square, lin, squares)


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def score_effects(  # type: ignore[no-untyped-def]
    data,
    rows,
    ends,
    z,
    family,
    weights,
    square,
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

    ``weights`` (C, L, K) with L = 2 + O + q, the first of them 1, ``square`` (C, K) squared factors of the families;
    ``less`` (2 + O, q, K) and ``bend`` (q, q, K): what the basis (n, q) of covariates takes from the sums. Returns how many pairs are ``near`` to cancelling.
    """
    K, L, Q = z.shape[1], weights.shape[1], basis.shape[1]
    one, squares = np.empty_like(z[0]), np.empty_like(z[0])
    lin, along = np.zeros((L, K), z.dtype), np.zeros(Q)
    value, row = np.empty(len(weights), data.dtype), np.empty(len(weights), rows.dtype)
    many, nothing = 0, z.dtype.type(0)
    least = z.dtype.type(1.0 / cancels)
    for j in range(len(beta)):
        slope, error = beta[j], se[j]
        a, end = ends[j], ends[j + 1]
        near[j] = False
        left = _squares(data, rows, a, end, group, size)
        if not left > 0.0:
            for k in range(K):
                slope[k], error[k] = 0.0 * total[k], 0.0 * scale[k]
            cov[:, j] = 0.0
            continue
        _scores(data, rows, a, end, z, family, weights, square, one, value, row, lin, squares)
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
        lack = nothing
        for k in range(K):
            b = lin[0, k] * total[k]
            meat = squares[k] - b * (lin[1, k] + lin[1, k] - b * mass[k])
            floor = least * squares[k]
            lack += floor - meat if meat < floor else nothing
            slope[k] = b
            one[k] = meat
        if lack > nothing:
            for k in range(K):
                near[j, k] = one[k] < least * squares[k]
                many += near[j, k]
        for k in range(K):
            error[k] = np.sqrt(max(one[k], nothing) * scale[k])
        for o in range(len(cov)):
            for k in range(K):
                cov[o, j, k] = (lin[2 + o, k] - slope[k] * outcome_mass[o, k]) * scale[k]
    return many
