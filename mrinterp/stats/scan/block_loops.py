"""Loops over one block of traits: changes within prompts, sums of families' scores, effects with errors (numba).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["alike", "changes", "effects", "exact", "family_sums", "mean_squares"]

_REORDER = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order (vector registers); nan and infinity keep their meaning."""


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def changes(x, rows, starts, reference, place, first, last, out, square, level):  # type: ignore[no-untyped-def]
    """Changes of columns first to last - 1 of x (N, J), group by group, into the padded ``out`` (rows, B).

    ``square`` (B,): their sums of squares; ``level`` (B,): largest absolute mean of a group, or value of a clean run.
    Sums of up to 32 rows are taken in the precision of ``out``, those beyond in float64.
    """
    B = last - first
    part, mean, whole, some = np.zeros_like(out[0]), np.zeros_like(out[0]), np.empty(B), np.zeros_like(out[0])
    square[:] = 0.0
    level[:] = 0.0
    held = 0
    for g in range(len(starts) - 1):
        a, z = starts[g], starts[g + 1]
        if len(reference) == 0:
            whole[:] = 0.0
            for i in range(a, z, 32):
                part[:] = 0.0
                for h in range(i, min(i + 32, z)):
                    row = x[rows[h], first:last]
                    for j in range(B):
                        part[j] += row[j]
                for j in range(B):
                    whole[j] += part[j]
            by = 1.0 / (z - a)
            for j in range(B):
                mean[j] = whole[j] * by
                level[j] = max(level[j], abs(whole[j] * by))
        for i in range(a, z):
            row, to = x[rows[i], first:last], out[place[i]]
            if len(reference) != 0:
                clean = x[reference[i], first:last]
                for j in range(B):
                    mean[j] = clean[j]
                    level[j] = max(level[j], abs(np.float64(clean[j])))
            for j in range(B):
                to[j] = row[j] - mean[j]
                some[j] += to[j] * to[j]
            held += 1
            if held == 32:
                for j in range(B):
                    square[j] += some[j]
                    some[j] = 0.0
                held = 0
    for j in range(B):
        square[j] += some[j]


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def alike(product, total, scale, square, cancels, beta, se):  # type: ignore[no-untyped-def]
    """Effects and errors (K, B) from products with doses, errors alike in all runs; returns how many pairs cancel."""
    K, B = product.shape
    many = 0
    floor = np.empty_like(product[0])
    left = np.empty_like(product[0])
    for j in range(B):
        left[j] = square[j]
        floor[j] = square[j] / cancels
    for k in range(K):
        by, weight = product.dtype.type(1.0 / total[k]), product.dtype.type(scale[k])
        p, b, e = product[k], beta[k], se[k]
        few = 0
        for j in range(B):
            slope = p[j] * by
            rest = left[j] - slope * p[j]
            few += rest < floor[j]
            b[j] = slope
            e[j] = np.sqrt(max(rest, p.dtype.type(0)) * weight)
        many += few
        if not total[k] > 0.0:
            b[:], e[:] = np.nan, np.nan
    return many


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def family_sums(a, weights, grow, lin, squares):  # type: ignore[no-untyped-def]
    """Add the products a (G, K, B) of a few families to their sums.

    ``lin`` (L, K, B) gets sum_g weights[l, g, k] a[g, k], ``squares`` (K, B) sum_g (grow[g, k] a[g, k])^2.
    """
    G, K, B = a.shape
    L = len(weights)
    for k in range(K):
        to = squares[k]
        g = 0
        if G == 4:
            p0, p1, p2, p3 = a[0, k], a[1, k], a[2, k], a[3, k]
            q0, q1, q2, q3 = grow[0, k], grow[1, k], grow[2, k], grow[3, k]
            q0, q1, q2, q3 = q0 * q0, q1 * q1, q2 * q2, q3 * q3
            w0, w1, w2, w3 = weights[0, 0, k], weights[0, 1, k], weights[0, 2, k], weights[0, 3, k]
            v0, v1, v2, v3 = weights[1, 0, k], weights[1, 1, k], weights[1, 2, k], weights[1, 3, k]
            one, two = lin[0, k], lin[1, k]
            for j in range(B):
                to[j] += (q0 * p0[j] * p0[j] + q1 * p1[j] * p1[j]) + (q2 * p2[j] * p2[j] + q3 * p3[j] * p3[j])
                one[j] += w0 * p0[j] + w1 * p1[j] + w2 * p2[j] + w3 * p3[j]
                two[j] += v0 * p0[j] + v1 * p1[j] + v2 * p2[j] + v3 * p3[j]
            for m in range(2, L):
                w0, w1, w2, w3 = weights[m, 0, k], weights[m, 1, k], weights[m, 2, k], weights[m, 3, k]
                one = lin[m, k]
                for j in range(B):
                    one[j] += w0 * p0[j] + w1 * p1[j] + w2 * p2[j] + w3 * p3[j]
            continue
        while g < G:
            p0, q0 = a[g, k], grow[g, k] * grow[g, k]
            for j in range(B):
                to[j] += q0 * p0[j] * p0[j]
            for m in range(L):
                w0, one = weights[m, g, k], lin[m, k]
                for j in range(B):
                    one[j] += w0 * p0[j]
            g += 1


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def effects(lin, squares, total, mass, outcome_mass, scale, cancels, beta, se, cov, doubtful):  # type: ignore[no-untyped-def]
    """Effects (K, B), errors (K, B) and covariances with outcomes (O, K, B) from sums of families' scores.

    ``lin`` (2 + O, K, B) and ``squares`` (K, B) as `family_sums` leaves them, ``mass`` (K,) sum (g s)^2 and ``outcome_mass``
    (O, K) sum g s e_y. ``doubtful`` (K, B): pairs of which more than ``cancels`` times the variance cancels; returns
    how many there are.
    """
    K, B = squares.shape
    many = 0
    for k in range(K):
        if not total[k] > 0.0:
            beta[k], se[k], cov[:, k] = np.nan, np.nan, np.nan
            continue
        for j in range(B):
            slope = lin[0, k, j] / total[k]
            whole = np.float64(squares[k, j])
            meat = whole - 2.0 * slope * lin[1, k, j] + slope * slope * mass[k]
            far = meat * cancels < whole
            doubtful[k, j] = far
            many += far
            beta[k, j] = slope
            se[k, j] = np.sqrt(max(meat, 0.0) * scale[k])
        for o in range(len(cov)):
            for j in range(B):
                slope = lin[0, k, j] / total[k]
                cov[o, k, j] = (lin[2 + o, k, j] - slope * outcome_mass[o, k]) * scale[k]
    return many


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def exact(x, z, starts, total, grow, scale, alike, doubtful, beta, se):  # type: ignore[no-untyped-def]
    """Effects and errors of doubtful pairs once more, in float64: a family's score a_c - beta s_c is formed before it
    is squared. ``starts`` (C + 1,) are the families' first rows of x (rows, B) and first columns of z (K, rows);
    ``alike``: errors are alike in all runs, so that squares of residuals are summed instead."""
    n = len(x)
    column = np.empty(n)
    for j in range(x.shape[1]):
        copied = False
        for k in range(len(z)):
            if not doubtful[k, j]:
                continue
            if not copied:
                for i in range(n):
                    column[i] = x[i, j]
                copied = True
            dose, slope = z[k], 0.0
            for i in range(n):
                slope += dose[i] * column[i]
            slope /= total[k]
            meat = 0.0
            if alike:
                for i in range(n):
                    rest = column[i] - slope * dose[i]
                    meat += rest * rest
            for c in range(0 if alike else len(starts) - 1):
                score = 0.0
                for i in range(starts[c], starts[c + 1]):
                    score += dose[i] * (column[i] - slope * dose[i])
                score *= grow[c, k]
                meat += score * score
            beta[k, j] = slope
            se[k, j] = np.sqrt(meat * scale[k])


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def mean_squares(beta, se, use, out):  # type: ignore[no-untyped-def]
    """Mean over the doses in ``use`` of squared effects over errors (K, B), into (B,); nan for traits without error."""
    K, B = beta.shape
    many = 0
    total = np.zeros(B)
    for k in range(K):
        if use[k]:
            many += 1
            b, e = beta[k], se[k]
            for j in range(B):
                t = b[j] / e[j]
                total[j] += t * t if e[j] > 0 else 0.0
    for j in range(B):
        out[j] = total[j] / many if many > 0 and total[j] > 0.0 else np.nan
