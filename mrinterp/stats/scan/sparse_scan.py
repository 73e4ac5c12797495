"""Effects of K doses on sparse traits: work grows with the entries, not with runs times traits."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.scan.block_scan import Scanned, Scanner

__all__ = ["SparseScanner"]

Array = NDArray[np.float64]


class SparseScanner:
    """The same numbers as a `Scanner`'s, for traits in compressed columns.

    Sums over the runs of a prompt, and over a family, are needed only where a trait has an entry there: means within
    prompts need no dense row. What is not offered for sparse traits (errors by run, joint effects with errors
    clustered by family) is computed on dense blocks, with the same result.

    Parameters
    ----------
    scanner : Scanner
        The design.
    rows : int, optional
        Rows of the traits, where those behind the last that counts are clean runs.
    again : bool
        Use the arrays of results again for a thread's next block: for callers who copy what they keep.
    """

    def __init__(self, scanner: Scanner, rows: int | None = None, again: bool = False) -> None:
        self.scanner, self.again, self._own = scanner, again, threading.local()
        side, how = scanner.side, scanner.side.within
        self.dense = (side.joint and side.errors != "homoskedastic") or side.errors in ("HC3", "HC1")
        dtype = scanner.dtype
        self.z = np.ascontiguousarray(side.read[side.place], dtype)
        self.basis = np.ascontiguousarray(how.basis)
        self.group = np.zeros(len(how.rows), np.int64)
        self.size = np.zeros(0)
        if not len(how.reference):
            self.size = np.diff(how.starts).astype(float)
            self.group = np.repeat(np.arange(len(self.size)), np.diff(how.starts))
        starts = scanner.family_starts
        with np.errstate(divide="ignore"):
            self.by = np.where(side.total > 0, 1.0 / side.total, np.nan).astype(dtype)
        self.scale = side.scale.astype(dtype)
        self.mass, self.outcome_mass = scanner.mass.astype(dtype), scanner.outcome_mass.astype(dtype)
        self.place = np.full(int(how.rows.max(initial=-1)) + 1 if rows is None else rows, -1, np.int64)
        self.place[how.rows] = np.arange(len(how.rows))
        self.family = np.searchsorted(starts, side.place, side="right") - 1
        if self.dense or not scanner.clustered:
            return
        first = scanner.weights
        along = np.zeros((self.basis.shape[1], *side.mass.shape))
        for q in range(len(along)):
            np.add.at(along[q], self.family, side.z[side.place] * self.basis[:, q : q + 1])
        weights = np.concatenate([first, side.grow**2 * along])
        self.weights = np.ascontiguousarray(weights.transpose(1, 0, 2), dtype)
        self.square = np.ascontiguousarray(side.grow**2, dtype)
        # What covariates take from the sums: a family's score is that of its entries less the basis' part.
        self.less = np.einsum("lck,qck->lqk", first, along)
        self.bend = np.einsum("ck,qck,pck->qpk", side.grow**2, along, along)

    def ordered(self, traits: Any, first: int, last: int) -> sparse.csc_array:
        """Columns first to last - 1, their rows those of the design: families and groups together."""
        how = self.scanner.side.within
        if len(how.reference):
            part = sparse.csr_array(traits[:, first:last])
            found = sparse.csc_array(part[how.rows] - part[how.reference])
            found.sort_indices()
            return found
        ends = np.asarray(traits.indptr[first : last + 1], np.int64)
        entries = slice(ends[0], ends[-1])
        place, data = self.place[traits.indices[entries]], traits.data[entries]
        ends = ends - ends[0]
        keep = place >= 0
        if not keep.all():
            kept = np.concatenate([[0], np.cumsum(keep)])
            ends, place, data = kept[ends], place[keep], data[keep]
        found = sparse.csc_array((data, place, ends), shape=(len(how.rows), last - first))
        rising = np.ones(len(place), bool)
        rising[1:] = place[1:] > place[:-1]
        rising[ends[:-1][ends[:-1] < len(place)]] = True
        if not rising.all():
            found.sort_indices()
        return found

    def block(self, traits: Any, first: int, last: int) -> Scanned:
        """Effects of all doses on traits first to last - 1 of a sparse matrix (N, J); results (K, B) as of `Scanner`."""
        if self.dense:
            part = np.asarray(traits[:, first:last].toarray(), self.scanner.dtype)
            return self.scanner.block(np.ascontiguousarray(part), 0, last - first)
        columns = self.ordered(traits, first, last)
        if not np.isfinite(columns.data).all():
            entry = int(np.flatnonzero(~np.isfinite(columns.data))[0])
            raise ValueError(
                f"column {first + int(np.searchsorted(columns.indptr, entry, side='right')) - 1}"
            )
        data = np.ascontiguousarray(columns.data, self.scanner.dtype)
        args = (data, columns.indices.astype(np.int64), columns.indptr.astype(np.int64), self.z)
        if self.scanner.clustered:
            return self._clustered(args, columns)
        return self._alike(args, columns)

    def _alike(self, args: tuple[Any, ...], columns: sparse.csc_array) -> Scanned:
        """Errors alike in all runs."""
        from mrinterp.stats.scan.sparse_loops import plain_effects

        side = self.scanner.side
        if side.joint:
            return self._alike_jointly(args, columns)
        found, near = self._room(columns.shape[1])
        more = (self.basis, self.group, self.size, self.by, self.scale, self.scanner.cancels)
        if plain_effects(*args, *more, found.beta.T, found.se.T, near):  # type: ignore[call-arg]
            self._once_more(near, columns, found)
        outcomes = self.scanner.outcomes
        if outcomes is not None:
            across = self._across(columns, outcomes.change[side.place])
            for o, y in enumerate(outcomes.beta):
                found.cov[o] = (across[o] - found.beta * (y * side.total)[:, None]) * side.scale[:, None]
        return found

    def _room(self, B: int) -> tuple[Scanned, NDArray[np.bool_]]:
        """Arrays for B traits that are filled trait by trait, and for what is computed once more.

        With ``again`` they are those of this thread's last block of that size: new memory costs more than the sums.
        """
        K, O, dtype = self.scanner.side.instruments, len(self.scanner.outcome_mass), self.scanner.dtype
        held = getattr(self._own, "room", None)
        if self.again and held is not None and held[1].shape == (B, K):
            return held  # type: ignore[no-any-return]
        beta, se, cov = np.empty((B, K), dtype), np.empty((B, K), dtype), np.empty((O, B, K), dtype)
        self._own.room = Scanned(beta.T, se.T, cov.transpose(0, 2, 1)), np.empty((B, K), np.bool_)
        return self._own.room  # type: ignore[no-any-return]

    def _across(self, columns: sparse.csc_array, left: Array) -> Array:
        """Products (O, B) of what outcomes leave (n, O) with the columns; both within groups, the basis taken out."""
        left = left - self.basis @ (self.basis.T @ left)
        return np.asarray((columns.T @ left).T)

    def _alike_jointly(self, args: tuple[Any, ...], columns: sparse.csc_array) -> Scanned:
        """The same with the other doses held fixed."""
        from mrinterp.stats.scan.sparse_loops import plain_sums

        side, dtype = self.scanner.side, self.scanner.dtype
        B, K, Q = columns.shape[1], side.instruments, self.basis.shape[1]
        beta, square, along = np.empty((B, K), dtype), np.empty(B), np.empty((B, Q))
        plain_sums(*args, self.basis, self.group, self.size, beta, square, along)  # type: ignore[call-arg]
        explained = np.einsum("bk,kl,bl->b", beta, side.z.T @ side.z, beta, optimize=True)
        left = np.maximum(square - (along**2).sum(axis=1) - explained, 0.0)
        found = Scanned(beta.T, np.sqrt(np.outer(side.scale, left)).astype(dtype), self.scanner.empty(B).cov)
        outcomes = self.scanner.outcomes
        if outcomes is not None:
            rest = outcomes.change[side.place] - side.z[side.place] @ outcomes.beta.T
            found.cov[:] = side.scale[None, :, None] * self._across(columns, rest)[:, None, :]
        return found

    def _clustered(self, args: tuple[Any, ...], columns: sparse.csc_array) -> Scanned:
        """Errors clustered by family."""
        from mrinterp.stats.scan.sparse_loops import score_effects

        scanner = self.scanner
        found, near = self._room(columns.shape[1])
        more = (
            self.family,
            self.weights,
            self.square,
            self.basis,
            self.less,
            self.bend,
            self.group,
            self.size,
            self.by,
        )
        sizes = (self.mass, self.outcome_mass, self.scale, scanner.cancels)
        into = (found.beta.T, found.se.T, found.cov.transpose(0, 2, 1))
        if score_effects(*args, *more, *sizes, *into, near):  # type: ignore[call-arg]
            self._once_more(near, columns, found)
        return found

    def _once_more(self, near: NDArray[np.bool_], columns: sparse.csc_array, found: Scanned) -> None:
        """Pairs (B, K) of which most of the variance cancels, from dense columns in float64."""
        which = np.flatnonzero(near.any(axis=1))
        scanner = self.scanner
        for some in np.array_split(which, -(-len(which) // 256)) if len(which) else []:
            x = np.zeros((scanner.side.rows, len(some)))
            plain = columns[:, some].toarray().astype(float)
            if len(self.size):
                plain -= np.repeat(
                    np.add.reduceat(plain, scanner.side.within.starts[:-1], axis=0) / self.size[:, None],
                    self.size.astype(int),
                    axis=0,
                )
            plain -= self.basis @ (self.basis.T @ plain)
            plain[:, ~changes_beyond_rounding(plain, columns[:, some].toarray())] = 0.0
            x[scanner.side.place] = plain
            scanner.again(x, near[some].T, some, found)
