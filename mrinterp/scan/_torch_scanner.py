"""A scan's blocks on a device of torch: features go there, effects and errors come back, nothing in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrinterp.core.errors import InputError
from mrinterp.stats.clustered.dependence import STILL
from mrinterp.stats.scan.block_scan import ChunkSums, Scanned, Scanner

__all__ = ["TorchScanner"]

SHARE = 0.25
"""Of the device's memory that a block may take, so that the network can stay beside it."""

PROCESSOR_MEMORY = 1 << 30
"""Bytes of a block where the device is the processor: torch tells the memory of cards only."""

PAIRS = 4096
"""Doubtful pairs that are computed again at once."""


class TorchScanner:
    """One design, many blocks of dense traits, with everything between features and effects on a device of torch.

    Parameters
    ----------
    scanner : Scanner
        The design, as numpy reads it.
    device : str
        Such as ``cuda`` or ``cpu``.

    Raises
    ------
    InputError
        For a device that this machine does not have.

    Notes
    -----
    Changes within prompts are taken in float64, products in the scanner's precision (never in the 19 bits of TF32), sums
    across chunks in float64, by the same tree as with numpy; pairs whose variance cancels are computed again in float64.
    Numbers agree with the processor's within `benchmarks/results/gpu.md`; they are not the same bytes.
    """

    def __init__(self, scanner: Scanner, device: str) -> None:
        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as e:
            raise InputError(
                "device", f"{device!r} ({e})", "Give cpu, or a device that torch.cuda finds"
            ) from None
        self.scanner, side = scanner, scanner.side
        self.kind = torch.float32 if scanner.dtype == np.float32 else torch.float64
        self.z, self.read = self._there(side.z), self._there(side.read)
        self.total, self.scale = self._exact(side.total), self._exact(np.nan_to_num(side.scale))
        self.varies = self.total > 0
        how = side.within
        self.rows, self.place = self._exact(how.rows), self._exact(side.place)
        self.reference, self.sizes = self._exact(how.reference), self._exact(np.diff(how.starts))
        self.basis = self._exact(how.basis)
        self.tall = self._exact(np.diff(scanner.family_starts))
        if scanner.clustered:
            self.weights, self.grow = self._there(scanner.weights), self._there(side.grow)
        changes = np.zeros((side.rows, 0)) if scanner.outcomes is None else scanner.outcomes.change
        self.outcomes = self._there(changes)

    def _there(self, values: NDArray[Any]) -> Tensor:
        """In the precision of products."""
        return torch.as_tensor(values, dtype=self.kind, device=self.device)

    def _exact(self, values: NDArray[Any]) -> Tensor:
        """In the numbers' own precision."""
        return torch.as_tensor(np.ascontiguousarray(values), device=self.device)

    @property
    def width(self) -> int:
        """Features in one block, by the device's memory (all of it, not what is free: the same card, the same blocks)."""
        side = self.scanner.side
        memory = PROCESSOR_MEMORY / SHARE
        if self.device.type == "cuda":
            memory = torch.cuda.get_device_properties(self.device).total_memory
        K, lines = side.instruments, 4 + len(self.scanner.outcome_mass)
        tallest = max((many for c in side.chunks for _, many, _ in c.batches), default=1)
        one = 8.0 * (5 * len(self.rows) + 2 * side.rows + K * (6 * lines + 2 * tallest))
        return max(int(SHARE * memory / one) // 256 * 256, 256)

    def block(self, x: Any, first: int, last: int) -> Scanned:
        """Effects of all doses on traits first to last - 1 of x (N, J), dense or sparse columns; see `Scanner.block`.

        Raises
        ------
        ValueError
            For a value that is not finite: its column.
        """
        s = self.scanner
        with torch.inference_mode(), _full_precision():
            change, square = self._change(self._values(x, first, last), first)
            if s.side.joint:
                found = self._joint(change, square)
            elif s.clustered:
                found = self._clustered(change)
            elif s.side.errors == "homoskedastic":
                found = self._alike(change, square)
            else:
                found = self._by_run(change)
            beta, se, cov = (v.to(self.kind).cpu().numpy() for v in found)
        return Scanned(beta, se, cov)

    def _values(self, x: Any, first: int, last: int) -> Tensor:
        """Some columns of x on the device; of sparse ones only the entries go there."""
        if isinstance(x, np.ndarray):
            return torch.as_tensor(x[:, first:last], device=self.device)
        part = x[:, first:last].tocsc()
        column = np.repeat(np.arange(last - first), np.diff(part.indptr))
        out = torch.zeros(part.shape, dtype=self.kind, device=self.device)
        out[self._exact(part.indices.astype(np.int64)), self._exact(column)] = self._there(part.data)
        return out

    def _change(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Changes (rows, B) in the padded order and their sums of squares (B,), as `Scanner.change`."""
        value = x[self.rows].double()
        bad = ~torch.isfinite(value).all(dim=0)
        if bool(bad.any()):
            raise ValueError(f"column {first + int(torch.nonzero(bad)[0])}")
        if len(self.reference):
            change = value - x[self.reference].double()
        else:
            mean = torch.segment_reduce(value, "sum", lengths=self.sizes, axis=0) / self.sizes[:, None]
            change = value - torch.repeat_interleave(mean, self.sizes, dim=0)
        single = torch.ones_like(bad) if x.dtype == torch.float32 else (value == value.float()).all(dim=0)
        eps = torch.where(single, torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps)
        size = torch.sqrt((change**2).mean(dim=0))
        change[:, size <= STILL * eps * value.abs().amax(dim=0)] = 0.0
        if self.basis.shape[1]:
            change -= self.basis @ (self.basis.T @ change)
        out = torch.zeros((self.scanner.side.rows, x.shape[1]), dtype=self.kind, device=self.device)
        out[self.place] = change.to(self.kind)
        return out, (change**2).sum(dim=0)

    def _sums(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Products with weights (L, K, B) and squares (K, B) of families' scores, in float64."""
        side, B = self.scanner.side, change.shape[1]
        K = side.instruments
        found = ChunkSums(len(side.chunks), {})
        for number, chunk in enumerate(side.chunks):
            lin = torch.zeros((len(self.weights), K, B), dtype=self.kind, device=self.device)
            squares = torch.zeros((K, B), dtype=self.kind, device=self.device)
            family = chunk.family
            for row, many, tall in chunk.batches:
                at, of = slice(row, row + many * tall), slice(family, family + many)
                z = self.read[at].reshape(many, tall, K)
                product = torch.bmm(z.transpose(1, 2), change[at].reshape(many, tall, B))
                lin += torch.einsum("lgk,gkb->lkb", self.weights[:, of], product)
                squares += ((self.grow[of][:, :, None] * product) ** 2).sum(dim=0)
                family += many
            one: Any = (lin.double(), squares.double())
            found = found.merged(ChunkSums(len(side.chunks), {(0, number): one}))
        whole: Any = found.whole
        return whole

    def _clustered(self, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s = self.scanner
        lin, squares = self._sums(change)
        return self._effects(lin, squares, s.mass, s.outcome_mass, change)

    def _effects(
        self, lin: Tensor, squares: Tensor, mass: NDArray[Any], own: NDArray[Any], change: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Effects, errors and covariances with the outcomes from sums of scores, all in float64."""
        slope = lin[0] / self.total[:, None]
        meat = squares - 2.0 * slope * lin[1] + slope**2 * self._exact(mass)[:, None]
        se = torch.sqrt(torch.clamp(meat, min=0.0) * self.scale[:, None])
        cov = (lin[2:] - slope * self._exact(own)[:, :, None]) * self.scale[:, None]
        if self.kind == torch.float32:
            self._again(change, meat * self.scanner.cancels < squares, slope, se)
        return self._known(slope, se, cov)

    def _alike(self, change: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Errors alike in all runs."""
        product = (self.read.T @ change).double()
        slope = product / self.total[:, None]
        rest = square - slope * product
        se = torch.sqrt(torch.clamp(rest, min=0.0) * self.scale[:, None])
        if self.kind == torch.float32:
            self._again(change, rest * self.scanner.cancels < square, slope, se)
        cov = slope.new_zeros((0, *slope.shape))
        if self.scanner.outcomes is not None:
            own = self._exact(self.scanner.outcomes.beta * self.scanner.side.total)
            across = (self.outcomes.T @ change).double()
            cov = (across[:, None, :] - slope * own[:, :, None]) * self.scale[:, None]
        return self._known(slope, se, cov)

    def _by_run(self, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Errors of every run on its own."""
        s = self.scanner
        square, cube, mass = s.run_squares
        more = [] if s.outcomes is None else [s.outcome_run_weight(o) for o in range(len(s.outcomes.beta))]
        own = np.array([np.einsum("nk,nk->k", w, s.side.z) for w in more]).reshape(len(more), -1)
        lin = torch.stack([self._there(w).T @ change for w in (s.side.read, cube, *more)])
        whole = self._there(square).T @ (change * change)
        return self._effects(lin.double(), whole.double(), mass, own, change)

    def _joint(self, change: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Effects with the other doses held fixed."""
        s, scale = self.scanner, self._exact(self.scanner.side.scale)[:, None]
        beta = self.read.T @ change
        left = change - self.z @ beta
        O = self.outcomes.shape[1]
        cov = change.new_zeros((O, *beta.shape), dtype=torch.float64)
        if s.side.errors == "homoskedastic":
            se = torch.sqrt(scale * (left.double() ** 2).sum(dim=0))
            if O:
                cov = scale * (self.outcomes.T @ left).double()[:, None, :]
        elif s.clustered:
            for at, (row, many, tall) in enumerate(b for c in s.side.chunks for b in c.batches):
                if len(s.side.adjust):
                    part = left[row : row + many * tall].reshape(many, tall, -1)
                    part[:] = self._there(s.side.adjust[at]) @ part
            lin, squares = self._sums(left)
            se, cov = torch.sqrt(squares * scale), lin[2:] * scale
        else:
            left = left * self._there(s.run_grow)
            se = torch.sqrt(scale * ((self.read**2).T @ (left * left)).double())
            for o in range(O):
                cov[o] = scale * ((self.read**2 * self._there(s.outcome_residual(o))).T @ left).double()
        return beta, se, cov

    def _known(self, slope: Tensor, se: Tensor, cov: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Without the effects of doses that do not vary."""
        nothing = ~self.varies
        slope[nothing], se[nothing], cov[:, nothing] = torch.nan, torch.nan, torch.nan
        return slope, se, cov

    def _again(self, change: Tensor, doubtful: Tensor, slope: Tensor, se: Tensor) -> None:
        """Doubtful pairs (K, B) once more in float64: residuals are taken before scores are squared."""
        errors = self.scanner.side.errors
        pairs = torch.nonzero(doubtful & self.varies[:, None])
        for some in torch.split(pairs, PAIRS):
            k, j = some[:, 0], some[:, 1]
            z, x = self.z_exact[:, k], change[:, j].double()
            b = (z * x).sum(dim=0) / self.total[k]
            rest = x - z * b
            if errors == "homoskedastic":
                meat = (rest**2).sum(dim=0)
            elif errors in ("CR3", "CR1"):
                score = torch.segment_reduce(z * rest, "sum", lengths=self.tall, axis=0)
                meat = ((score * self.grow_exact[:, k]) ** 2).sum(dim=0)
            else:
                meat = (self._exact(self.scanner.run_squares[0])[:, k] * rest**2).sum(dim=0)
            slope[k, j], se[k, j] = b, torch.sqrt(meat * self.scale[k])

    @property
    def z_exact(self) -> Tensor:
        """Doses in float64."""
        return self._exact(self.scanner.side.z)

    @property
    def grow_exact(self) -> Tensor:
        """Factors of families' scores in float64."""
        return self._exact(self.scanner.side.grow)


@contextmanager
def _full_precision() -> Iterator[None]:
    """For the block, products of single precision keep all their digits, whatever the session has set for its network."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
