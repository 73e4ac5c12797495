"""How much of each column's univariable slope is its own, and how much it borrows from named other columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["BorrowedParts", "Layout", "Sums", "borrowed_parts", "forward_choice", "run_sums"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]


class Sums(NamedTuple):
    """Products summed over rows, of d base columns (the sources), F columns that are taken apart and O outcomes.

    ``base`` (d, d), ``across`` (d, F), ``square`` (F,), ``base_out`` (d, O), ``out`` (F, O). Where the errors of the
    columns are known these five are free of them; ``plain_square`` (F,) and ``plain_out`` (F, O) are as measured.
    """

    base: Array
    across: Array
    square: Array
    base_out: Array
    out: Array
    plain_square: Array
    plain_out: Array

    def without(self, part: Sums) -> Sums:
        """The same less the sums over some of the rows."""
        return Sums(*(whole - some for whole, some in zip(self, part, strict=True)))


@dataclass(frozen=True, eq=False)
class Layout:
    """Which columns belong together.

    ``starts`` (S,): the first base column of every source; columns of one source stand side by side. ``own`` (F,):
    the source that a column itself belongs to, -1 for none. ``spanned`` (F,): whether the base columns make the
    column up entirely, so that nothing of it is left beside them.
    """

    starts: Ints
    own: Ints
    spanned: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BorrowedParts:
    """Parts of F univariable slopes for O outcomes; each ``*_se`` is a jackknife over clusters.

    ``total`` (F, O) as measured = ``own`` (F, O) + ``borrowed`` (F, S, O) summed over sources + ``left`` (F, O).
    ``cosine`` (F, d) of every column with the base columns; ``effects`` (d, O) of the base columns jointly;
    ``own_and_largest_se`` (F, O) of the sum of the own part and the largest borrowed one, which is ``largest`` (F, O).
    """

    total: Array
    total_se: Array
    own: Array
    own_se: Array
    borrowed: Array
    borrowed_se: Array
    left: Array
    left_se: Array
    largest: Ints
    own_and_largest_se: Array
    cosine: Array
    effects: Array
    clusters: int


def run_sums(base: Array, columns: Array, outcomes: Array) -> Sums:
    """Sums over rows (N, d), (N, F) and (N, O) without errors to be subtracted."""
    square, out = np.einsum("nf,nf->f", columns, columns), columns.T @ outcomes
    return Sums(base.T @ base, base.T @ columns, square, base.T @ outcomes, out, square, out)


def borrowed_parts(
    whole: Sums, clusters: Iterable[Sums], layout: Layout, given: tuple[Array, Array] | None = None
) -> BorrowedParts:
    """Take F univariable slopes apart by the joint effects of d base columns.

    Parameters
    ----------
    whole : Sums
        Over all rows.
    clusters : iterable of Sums
        Over the rows of one cluster each.
    layout : Layout
    given : tuple of ndarray (d, O), optional
        Effects of the base columns and their standard errors, from elsewhere; by default least squares of the
        outcomes on them. Parts then need not add up: what they leave is in ``left``.

    Returns
    -------
    BorrowedParts

    Raises
    ------
    numpy.linalg.LinAlgError
        Where the base columns' products have no positive definite matrix.

    Notes
    -----
    With H and c the products, MV = H^-1 c, UV_k = c_k / H_kk and d_lk = H_lk / H_kk, UV_k is the sum of MV_l d_lk over
    all l, exactly. A column outside the base is fitted beside it, one such column at a time (Frisch, Waugh & Lovell).
    Errors: the delete-one-cluster jackknife of the whole decomposition, in closed form, factor (C - 1)/C about the
    estimate. Not valid with few clusters, or where one of them alone tells two columns apart.
    """
    total, own, borrowed, left = _parts(whole, layout, None if given is None else given[0])
    largest = np.argmax(np.abs(borrowed), axis=1)
    squares = [np.zeros_like(a) for a in (total, own, borrowed, left, total)]
    count = 0
    pair = own + _at(borrowed, largest)
    for part in clusters:
        count += 1
        again = _parts(whole.without(part), layout, None if given is None else given[0])
        with np.errstate(invalid="ignore"):
            both = again[1] + _at(again[2], largest)
            for square, new, old in zip(
                squares, (*again, both), (total, own, borrowed, left, pair), strict=True
            ):
                square += (new - old) ** 2
    share = (count - 1) / max(count, 1)
    se = [np.sqrt(share * square) for square in squares]
    slopes = whole.across / whole.square
    if given is not None:
        se = _with_given_errors(se, slopes, given[1], layout)
    length = np.sqrt(np.maximum(np.outer(whole.square, np.diag(whole.base)), 1e-300))
    theta = _solved(whole.base, whole.base_out) if given is None else given[0]
    return BorrowedParts(
        total,
        se[0],
        own,
        se[1],
        borrowed,
        se[2],
        left,
        se[3],
        largest,
        se[4],
        np.clip(whole.across.T / length, -1.0, 1.0),
        theta,
        count,
    )


def _parts(m: Sums, layout: Layout, theta: Array | None) -> tuple[Array, Array, Array, Array]:
    """total, own, borrowed and left of the sums m."""
    beside = np.flatnonzero(~layout.spanned) if theta is None else np.zeros(0, int)
    slopes = m.across / m.square
    extra = np.zeros_like(m.out)
    if theta is None:
        solved = _solved(m.base, np.concatenate([m.base_out, m.across[:, beside]], axis=1))
        theta, made_of = np.split(solved, [m.base_out.shape[1]], axis=1)
        rest = m.square[beside] - (m.across[:, beside] * made_of).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing is left of it without one cluster
            extra[beside] = (m.out[beside] - made_of.T @ m.base_out) / rest[:, None]
    parts = theta[:, None, :] * slopes[:, :, None]
    if len(beside):
        with np.errstate(invalid="ignore"):
            parts[:, beside] -= (made_of * slopes[:, beside])[:, :, None] * extra[beside]
    borrowed = np.add.reduceat(parts, layout.starts, axis=0).transpose(1, 0, 2)
    mine = np.flatnonzero(layout.own >= 0)
    extra[mine] += borrowed[mine, layout.own[mine]]
    borrowed[mine, layout.own[mine]] = 0.0
    total = m.plain_out / m.plain_square[:, None]
    return total, extra, borrowed, total - extra - borrowed.sum(axis=1)


def _at(borrowed: Array, largest: Ints) -> Array:
    """The borrowed part (F, O) of one source each."""
    return np.take_along_axis(borrowed, largest[:, None, :], axis=1)[:, 0]


def _solved(base: Array, right: Array) -> Array:
    """base^-1 right, columns first put on one scale."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(base), 1e-300))
    factor = linalg.cho_factor(base * np.outer(scale, scale), check_finite=False)
    found = linalg.cho_solve(factor, right * scale[:, None], check_finite=False)
    return np.asarray(found * scale[:, None])


def _with_given_errors(se: list[Array], slopes: Array, theta_se: Array, layout: Layout) -> list[Array]:
    """Adds the errors of effects from elsewhere, which are independent of these rows and of one another."""
    each = (slopes[:, :, None] * theta_se[:, None, :]) ** 2
    more = np.add.reduceat(each, layout.starts, axis=0).transpose(1, 0, 2)
    mine = np.flatnonzero(layout.own >= 0)
    own = np.zeros_like(se[1])
    own[mine] = more[mine, layout.own[mine]]
    all_of_it = more.sum(axis=1)
    more[mine, layout.own[mine]] = 0.0
    added = (np.zeros_like(own), own, more, all_of_it, all_of_it)
    return [np.sqrt(s**2 + m) for s, m in zip(se, added, strict=True)]


def forward_choice(columns: Array, outcomes: Array, held: Array, most: int) -> list[int]:
    """Columns (N, F) that explain the outcomes (N, O) best, one after the other, beside those of ``held`` (N, r).

    Orthogonal matching pursuit; it stops after ``most``, or where the best of the F gains no more than the largest of
    F columns of noise would.
    """
    N, F = columns.shape
    Q = linalg.orth(held) if held.shape[1] else np.zeros((N, 0))
    rest = outcomes - Q @ (Q.T @ outcomes)
    length = np.einsum("nf,nf->f", columns, columns)
    size = length - ((Q.T @ columns) ** 2).sum(axis=0)
    chosen: list[int] = []
    for _ in range(min(most, F)):
        free = size > 1e-4 * length
        free[chosen] = False
        spread = np.maximum((rest**2).sum(axis=0), 1e-300)
        gain = ((columns.T @ rest) ** 2 / spread).max(axis=1) / np.where(free, size, np.inf)
        best = int(np.argmax(gain))
        if not free[best] or gain[best] * N < 2.0 * np.log(F) + np.log(N):
            break
        chosen.append(best)
        q = columns[:, best] - Q @ (Q.T @ columns[:, best])
        q -= Q @ (Q.T @ q)
        q /= np.linalg.norm(q)
        Q = np.concatenate([Q, q[:, None]], axis=1)
        rest = rest - q[:, None] * (q @ rest)
        size = size - (q @ columns) ** 2
    return chosen
