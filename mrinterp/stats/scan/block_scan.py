"""Effects of K doses on one block of dense traits after the other, with errors, from matrix products."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered.dependence import STILL, changes_beyond_rounding
from mrinterp.stats.scan.dose_side import Chunk, DoseSide

__all__ = ["Outcomes", "Scanned", "Scanner", "outcome_side"]

Array = NDArray[np.float64]

CANCELS = 4.0
"""How many times the variance may cancel in single precision before a pair is computed again in double: its error
then stays below 3e-7 of itself."""

TILE = 256
"""Doses that are multiplied at once, so that sums stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes (n, O) whose error covariance with every trait is asked for: changes, effects (O, K), families' scores."""

    change: Array
    beta: Array
    score: Array


@dataclass(frozen=True, eq=False)
class Scanned:
    """Effects and errors (K, B) of one block of traits, covariances of errors with outcomes (O, K, B)."""

    beta: NDArray[Any]
    se: NDArray[Any]
    cov: NDArray[Any]


@dataclass(frozen=True, eq=False)
class ChunkSums:
    """Sums over the families of some of ``chunks`` chunks: products with weights (L, K, B) and squares (K, B) of scores.

    They stand at the nodes of one binary tree over all chunks, (level, place), and two are added as soon as both halves
    of a node are there. So the bytes of the whole do not depend on how the chunks were parted, nor on the order in which
    the parts came.
    """

    chunks: int
    nodes: dict[tuple[int, int], tuple[NDArray[Any], NDArray[Any]]]

    def merged(self, other: ChunkSums) -> ChunkSums:
        """These and those of other chunks."""
        if self.chunks != other.chunks or self.nodes.keys() & other.nodes.keys():
            raise ValueError("sums of another design, or of the same chunk twice")
        nodes, level, count = self.nodes | other.nodes, 0, self.chunks
        while count > 1:
            for place in range(0, count, 2):
                left, right = (level, place), (level, place + 1)
                if place + 1 == count and left in nodes:
                    nodes[level + 1, place // 2] = nodes.pop(left)
                elif left in nodes and right in nodes:
                    a, b = nodes.pop(left), nodes.pop(right)
                    nodes[level + 1, place // 2] = (a[0] + b[0], a[1] + b[1])
            level, count = level + 1, -(-count // 2)
        return ChunkSums(self.chunks, nodes)

    @property
    def whole(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The sums over all chunks.

        Raises
        ------
        ValueError
            Where some are missing.
        """
        if len(self.nodes) != 1 or (self.chunks - 1).bit_length() != next(iter(self.nodes))[0]:
            raise ValueError("sums of some chunks are missing")
        return next(iter(self.nodes.values()))


class BlockScanner(Protocol):
    """What effects are computed with, on whatever device: one block of traits, whose numbers are its own."""

    def block(self, x: Any, first: int, last: int) -> Scanned:
        """Effects of all doses on traits first to last - 1 of x (N, J)."""
        ...


class Scanner:
    """One design, many blocks of traits; every block's numbers depend on that block alone.

    Parameters
    ----------
    side : DoseSide
    outcomes : Outcomes, optional
        Those whose error covariance is wanted.
    precision : {"float32", "float64"}
        Of products inside a chunk; sums across chunks are float64.
    """

    def __init__(
        self,
        side: DoseSide,
        outcomes: Outcomes | None = None,
        precision: str = "float32",
    ) -> None:
        self.side, self.outcomes = side, outcomes
        self.dtype = np.dtype(precision)
        self.cancels = CANCELS if precision == "float32" else 1e10
        self.read = np.ascontiguousarray(side.read, self.dtype)
        self.clustered = side.errors in ("CR3", "CR1")
        self.products = NumpyProducts(self)
        self.basis = np.zeros((side.rows, side.within.basis.shape[1]), self.dtype)
        self.basis[side.place] = side.within.basis
        self.across = np.ascontiguousarray(side.z.T)
        self.mass = np.einsum("ck,ck->k", side.grow**2 * side.mass, side.mass)
        self.outcome_mass = np.zeros((0, side.instruments))
        if outcomes is not None:
            self.outcome_mass = np.einsum("ock,ck->ok", outcomes.score, side.grow * side.mass)
        self._own = threading.local()

    @property
    def weights(self) -> Array:
        """Of families' scores (L, C, K): 1, g^2 s, and g e of every outcome."""
        side = self.side
        if side.joint:
            first, second = np.zeros_like(side.mass), np.zeros_like(side.mass)
        else:
            first, second = np.ones_like(side.mass), side.grow**2 * side.mass
        own = [] if self.outcomes is None else [side.grow * e for e in self.outcomes.score]
        return np.stack([first, second, *own])

    def change(self, x: NDArray[Any], first: int, last: int) -> tuple[NDArray[Any], Array]:
        """Changes (rows, B) of columns first to last - 1, in the padded order, and their sums of squares (B,); columns
        that never change beyond rounding are 0.

        Raises
        ------
        ValueError
            For a value that is not finite: its column.
        """
        from mrinterp.stats.scan.block_loops import changes

        side, B = self.side, last - first
        out = getattr(self._own, "out", None)  # every thread keeps its own, with zeros where rows are padded
        if out is None or out.shape[1] != B:
            out = self._own.out = np.zeros((side.rows, B), self.dtype)
        square, level = np.empty(B), np.empty(B)
        how = side.within
        changes(x, how.rows, how.starts, how.reference, side.place, first, last, out, square, level)
        if not np.isfinite(square).all():
            raise ValueError(f"column {first + int(np.flatnonzero(~np.isfinite(square))[0])}")
        self._still(x, first, out, square, level)
        if self.basis.shape[1]:
            along = self.basis.T @ out
            out -= self.basis @ along
            square = np.maximum(square - np.einsum("qb,qb->b", along, along, dtype=float), 0.0)
        return out, square

    def _still(self, x: NDArray[Any], first: int, out: NDArray[Any], square: Array, level: Array) -> None:
        """Set columns to 0 whose changes are no more than the rounding of their values."""
        rows = self.side.within.rows
        size = np.sqrt(square / max(len(rows), 1))
        near = np.flatnonzero(size <= 4.0 * STILL * np.finfo(np.float32).eps * level)
        if len(near):
            values = np.asarray(x[rows][:, first + near])
            change = out[self.side.place][:, near].astype(float)
            near = near[~changes_beyond_rounding(change, values)]
            out[:, near], square[near] = 0.0, 0.0

    def block(self, x: NDArray[Any], first: int, last: int, into: Scanned | None = None) -> Scanned:
        """Effects of all doses on traits first to last - 1 of x (N, J), written ``into`` arrays (K, B) where given."""
        change, square = self.change(x, first, last)
        found = self.empty(last - first) if into is None else into
        if self.side.joint:
            self._joint(change, square, found)
        elif self.clustered:
            self.finish(self.sums(change), change, found)
        elif self.side.errors == "homoskedastic":
            self._alike(change, square, found)
        else:
            self._by_run(change, found)
        return found

    def empty(self, B: int) -> Scanned:
        """Arrays for the results of B traits."""
        K, O = self.side.instruments, 0 if self.outcomes is None else len(self.outcomes.score)
        beta, se, cov = (np.empty(shape, self.dtype) for shape in ((K, B), (K, B), (O, K, B)))
        return Scanned(beta, se, cov)

    def sums(self, change: NDArray[Any], chunks: range | None = None) -> ChunkSums:
        """Sums over some chunks (all by default); those of others can be merged with them."""
        side = self.side
        found = ChunkSums(len(side.chunks), {})
        for number in range(len(side.chunks)) if chunks is None else chunks:
            chunk = side.chunks[number]
            lin, squares = self.products.sums(chunk, number, change[chunk.first : chunk.last])
            if len(side.chunks) > 1:
                lin, squares = lin.astype(float), squares.astype(float)
            found = found.merged(ChunkSums(len(side.chunks), {(0, number): (lin, squares)}))
        return found

    def finish(self, sums: ChunkSums, change: NDArray[Any], found: Scanned) -> None:
        """Effects and errors from the sums over all families."""
        from mrinterp.stats.scan.block_loops import effects

        side = self.side
        lin, squares = sums.whole
        B = squares.shape[1]
        doubtful = np.zeros((side.instruments, B), np.bool_)
        many = effects(
            lin,
            squares,
            side.total,
            self.mass,
            self.outcome_mass,
            np.nan_to_num(side.scale),
            self.cancels,
            found.beta,
            found.se,
            found.cov,
            doubtful,
        )
        if many and self.dtype == np.float32:
            self.again(change, doubtful, None, found)

    def again(
        self,
        change: NDArray[Any],
        doubtful: NDArray[np.bool_],
        columns: NDArray[np.int_] | None,
        found: Scanned,
    ) -> None:
        """Doubtful pairs (K, B) of changes (rows, B), once more in float64; ``columns`` (B,) of the results."""
        from mrinterp.stats.scan.block_loops import exact

        side = self.side
        beta, se = (a if columns is None else a[:, columns] for a in (found.beta, found.se))
        design = (self.across, self.family_starts, side.total, side.grow, np.nan_to_num(side.scale))
        exact(change, *design, not self.clustered, doubtful, beta, se)
        if columns is not None:
            found.beta[:, columns], found.se[:, columns] = beta, se

    @property
    def family_starts(self) -> NDArray[np.int64]:
        """First padded row of every family, in the order of `DoseSide.mass`."""
        tall = [t for chunk in self.side.chunks for _, many, t in chunk.batches for _ in range(many)]
        return np.concatenate([[0], np.cumsum(tall)]).astype(np.int64)

    def _alike(self, change: NDArray[Any], square: Array, found: Scanned) -> None:
        """Errors alike in all runs."""
        from mrinterp.stats.scan.block_loops import alike

        side = self.side
        product = np.matmul(self.read.T, change)
        many = alike(product, side.total, side.scale, square, self.cancels, found.beta, found.se)
        if many and self.dtype == np.float32:
            with np.errstate(divide="ignore", invalid="ignore"):
                explained = product.astype(float) ** 2 / side.total[:, None]
            near = (explained > square * (1.0 - 1.0 / self.cancels)) & (square > 0)
            self.again(change, near, None, found)
        if self.outcomes is not None:
            across = self.outcomes.change.T @ change
            for o, y in enumerate(self.outcomes.beta):
                found.cov[o] = (across[o] - found.beta * (y * side.total)[:, None]) * side.scale[:, None]

    def _by_run(self, change: NDArray[Any], found: Scanned) -> None:
        """Errors of every run on its own: three products, of powers of doses and changes."""
        side = self.side
        square, cube, mass = self.run_squares
        lin = np.stack([self.read.T @ change, cube.astype(self.dtype).T @ change])
        whole = square.astype(self.dtype).T @ (change * change)
        own = np.zeros((len(found.cov), side.instruments))
        if self.outcomes is not None:
            more = []
            for o in range(len(own)):
                weight = self.outcome_run_weight(o)
                more.append(weight.astype(self.dtype).T @ change)
                own[o] = np.einsum("nk,nk->k", weight, side.z)
            lin = np.concatenate([lin, np.stack(more)])
        from mrinterp.stats.scan.block_loops import effects

        doubtful = np.zeros(whole.shape, np.bool_)
        args = (side.total, mass, own, np.nan_to_num(side.scale), self.cancels)
        many = effects(lin, whole, *args, found.beta, found.se, found.cov, doubtful)
        if many and self.dtype == np.float32:
            k, j = np.nonzero(doubtful)
            for one in np.array_split(np.arange(len(k)), -(-len(k) // 1024)):
                z, x = side.z[:, k[one]], change[:, j[one]].astype(float)
                slope = np.einsum("np,np->p", z, x) / side.total[k[one]]
                meat = np.einsum("np,np->p", square[:, k[one]], (x - z * slope) ** 2)
                found.beta[k[one], j[one]], found.se[k[one], j[one]] = (
                    slope,
                    np.sqrt(meat * side.scale[k[one]]),
                )

    @property
    def run_grow(self) -> Array:
        """Factor (rows, 1) or (rows, K) of every run's residual: the jackknife of runs, or 1."""
        side = self.side
        wide = 1 if side.joint else side.instruments
        grow = np.zeros((side.rows, wide))
        grow[side.place] = 1.0 / np.maximum(1.0 - side.leverage, 1e-8) if side.errors == "HC3" else 1.0
        return grow

    @cached_property
    def run_squares(self) -> tuple[Array, Array, Array]:
        """Of errors by run: (g z)^2 and (g z)^2 z (rows, K), and sums of (g z)^2 z^2 (K,)."""
        z = self.side.z
        square = (self.run_grow * z) ** 2
        return square, square * z, np.einsum("nk,nk->k", square, z**2)

    def outcome_run_weight(self, o: int) -> Array:
        """Of errors by run: what changes are multiplied with (rows, K) for their covariance with outcome ``o``."""
        assert self.outcomes is not None
        rest = self.outcomes.change[:, o : o + 1] - self.side.z * self.outcomes.beta[o]
        return np.asarray(self.run_squares[0] * rest)

    def outcome_residual(self, o: int) -> Array:
        """Residuals (rows, 1) of outcome ``o`` on all doses at once, times the factor of every run."""
        assert self.outcomes is not None
        fitted = self.side.z @ self.outcomes.beta[o][:, None]
        return np.asarray((self.outcomes.change[:, o : o + 1] - fitted) * self.run_grow)

    def _joint(self, change: NDArray[Any], square: Array, found: Scanned) -> None:
        """Effects with the other doses held fixed: residuals first, then squared scores of families or runs."""
        side = self.side
        beta = self.read.T @ change
        z = side.z.astype(self.dtype, copy=False)
        left = change - z @ beta
        O, found.beta[:] = len(found.cov), beta
        if side.errors == "homoskedastic":
            rest = np.einsum("nb,nb->b", left, left, dtype=float)
            found.se[:] = np.sqrt(side.scale[:, None] * rest)
            if self.outcomes is not None:
                across = self.outcomes.change.T @ left
                found.cov[:] = side.scale[None, :, None] * across[:, None, :]
            return
        if not self.clustered:
            left = left * self.run_grow.astype(self.dtype)
            found.se[:] = np.sqrt(side.scale[:, None] * ((self.read**2).T @ (left * left)))
            if self.outcomes is not None:
                for o in range(O):
                    e = self.outcome_residual(o).astype(self.dtype)
                    found.cov[o] = side.scale[:, None] * ((self.read**2 * e).T @ left)
            return
        if len(side.adjust):
            self.adjusted(left)
        lin, squares = self.sums(left).whole
        found.se[:] = np.sqrt(squares * side.scale[:, None])
        for o in range(O):
            found.cov[o] = lin[2 + o] * side.scale[:, None]

    def adjusted(self, left: NDArray[Any]) -> None:
        """Residuals of every family as if it had been left out, in place."""
        number = 0
        for chunk in self.side.chunks:
            for row, many, tall in chunk.batches:
                block = left[row : row + many * tall].reshape(many, tall, -1)
                block[:] = self.side.adjust[number].astype(self.dtype, copy=False) @ block
                number += 1


class NumpyProducts:
    """Sums of chunks with numpy: a few families' products at a time, added up while they are in the cache."""

    def __init__(self, scanner: Scanner) -> None:
        side, self.dtype = scanner.side, scanner.dtype
        K = side.instruments
        self.tiles = [slice(k, min(k + TILE, K)) for k in range(0, K, TILE)]
        self.clustered = scanner.clustered
        if not self.clustered:
            return
        weights = scanner.weights.astype(self.dtype)
        grow = side.grow.astype(self.dtype)
        self.batches: list[list[list[tuple[Any, ...]]]] = []
        for chunk in side.chunks:
            family, held = chunk.family, []
            for row, many, tall in chunk.batches:
                some, of = [], slice(family, family + many)
                for tile in self.tiles:
                    z = scanner.read[row : row + many * tall, tile].reshape(many, tall, -1).transpose(0, 2, 1)
                    some.append(
                        (
                            row,
                            many,
                            tall,
                            np.ascontiguousarray(z),
                            np.ascontiguousarray(weights[:, of, tile]),
                            np.ascontiguousarray(grow[of, tile]),
                        )
                    )
                held.append(some)
                family += many
            self.batches.append(held)
        self.lines = len(weights)

    def sums(self, chunk: Chunk, number: int, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """``lin`` (L, K, B) and ``squares`` (K, B) of chunk ``number``, for changes x (rows of the chunk, B)."""
        from mrinterp.stats.scan.block_loops import family_sums

        K, B = self.tiles[-1].stop, x.shape[1]
        lin, squares = np.zeros((self.lines, K, B), self.dtype), np.zeros((K, B), self.dtype)
        for t, tile in enumerate(self.tiles):
            a = np.empty((4, tile.stop - tile.start, B), self.dtype)
            to, also = lin[:, tile], squares[tile]
            for some in self.batches[number]:
                row, many, tall, z, weights, grow = some[t]
                at = row - chunk.first
                product = np.matmul(z, x[at : at + many * tall].reshape(many, tall, B), out=a[:many])
                family_sums(product, weights, grow, to, also)
        return lin, squares


def outcome_side(side: DoseSide, values: Array) -> Outcomes:
    """Effects and scores of a few outcomes (N, O), in float64."""
    scanner = Scanner(side, None, "float64")
    x = np.ascontiguousarray(values, dtype=float)
    change = scanner.change(x, 0, x.shape[1])[0].copy()
    C, K, O = side.families, side.instruments, x.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = side.read.T @ change
        if not side.joint:
            beta = np.where(side.total[:, None] > 0, beta / side.total[:, None], 0.0)
    left = change - side.z @ beta if side.joint else change
    if side.joint and len(side.adjust):
        scanner.adjusted(left)
    score = np.zeros((O, C, K))
    starts = scanner.family_starts
    for c in range(C):
        rows = slice(starts[c], starts[c + 1])
        a = (side.read[rows].T @ left[rows]).T
        own = 0.0 if side.joint else side.mass[c] * beta.T
        score[:, c] = (a - own) * side.grow[c]
    return Outcomes(change, np.ascontiguousarray(beta.T), score)
