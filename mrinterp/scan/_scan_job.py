"""One scan, ready to run: its shards one after the other here, or each wherever a worker has time for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mrinterp.core.errors import InputError
from mrinterp.results._scan.feature_scan import FeatureScan
from mrinterp.scan._marginal import dose_correlation
from mrinterp.scan._scan_folder import ScanFolder, Shard, begun, write_shard
from mrinterp.scan._scan_inputs import ScanInputs, side_of
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.scan.block_scan import BlockScanner, Scanned, Scanner
from mrinterp.stats.scan.dose_side import DoseSide
from mrinterp.stats.scan.sparse_scan import SparseScanner
from mrinterp.stats.tests.tails import neglog10p_t

if TYPE_CHECKING:
    from mrinterp.scan._torch_scanner import TorchScanner

__all__ = ["BLOCK", "ScanJob", "shard_features"]

Array = NDArray[np.float64]

BLOCK, SPARSE_BLOCK = 256, 2048
"""Features that are multiplied at once: their changes and sums stay in the processor's cache."""

SHARD_NUMBERS = 1 << 25
"""Numbers in one shard (128 MB in single precision)."""

LISTED = 1000
"""Strongest pairs that the result lists; all kept ones are in the folder."""

LARGEST_LD = 4096
"""Instruments up to which the correlation of their doses is stored."""


def shard_features(instruments: int, features: int, outcomes: int) -> int:
    """Features in one shard, a multiple of the block."""
    fit = SHARD_NUMBERS // max(instruments * (2 + outcomes), 1) // SPARSE_BLOCK * SPARSE_BLOCK
    return max(min(max(fit, BLOCK), -(-features // BLOCK) * BLOCK), 1)


@dataclass(frozen=True, eq=False)
class ShardFound:
    """What a shard adds to the result: its strongest pairs, how many were kept, how many features change."""

    pairs: pd.DataFrame
    kept: int
    changed: int


@dataclass(frozen=True, eq=False)
class ScanJob:
    """One scan: inputs and settings, ready to run."""

    inputs: ScanInputs
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        s, inputs = self.settings, self.inputs
        side, outcomes, how, family = side_of(inputs, s["errors"], s["joint"], s["paired"])
        object.__setattr__(self, "side", side)
        object.__setattr__(self, "outcomes", outcomes)
        object.__setattr__(self, "how", how)
        object.__setattr__(self, "family", family)
        scanner = Scanner(side, outcomes if s["with_outcomes"] else None, s["precision"])
        object.__setattr__(self, "scanner", scanner)
        if s["device"] != "cpu":
            from mrinterp.scan._torch_scanner import TorchScanner

            object.__setattr__(self, "elsewhere", TorchScanner(scanner, s["device"]))

    side: DoseSide = None  # type: ignore[assignment]
    outcomes: Any = None
    how: Any = None
    family: Any = None
    scanner: Scanner = None  # type: ignore[assignment]
    elsewhere: TorchScanner | None = None
    """What multiplies instead of the processor."""

    def begun(self, folder: Path) -> ScanFolder:
        """The folder, with what all shards share."""
        inputs, side = self.inputs, self.side
        F, O = inputs.features.shape[1], inputs.outcomes.shape[1]
        size = shard_features(side.instruments, F, O if self.settings["with_outcomes"] else 0)
        plan = {**self.settings, "inputs": inputs.digests(), "shard_features": size}
        own = Scanner(side, self.outcomes, "float64").block(np.ascontiguousarray(inputs.outcomes), 0, O)
        held = {"beta": own.beta.T, "se": own.se.T, "cov": own.cov.transpose(1, 2, 0), "dof": side.dof}
        if side.instruments <= LARGEST_LD:
            held["ld"] = dose_correlation(side.z)
        sizes = {
            "features": F,
            "shards": -(-F // size),
            "shard_features": size,
            "families": side.families,
            "runs": len(side.place),
            "outcome_names": list(inputs.outcome_names),
        }
        return begun(folder, plan, sizes, inputs.instruments, inputs.feature_names, held)

    def one(self, scan: ScanFolder, number: int, apart: bool = False) -> ShardFound:
        """Make one shard, or check it where it is there, and say what is strongest in it; ``apart`` as of `write_shard`."""
        size, F = scan.header["shard_features"], scan.header["features"]
        if not (scan.folder / f"shard-{number:05d}").exists():
            first, last = number * size, min((number + 1) * size, F)
            with threadpool_limits(1, user_api="blas"):
                write_shard(scan, number, first, last, self.shard(first, last), apart)
        return strongest(scan, scan.shard(number), self.side.dof)

    def shard(self, first: int, last: int) -> dict[str, NDArray[Any]]:
        """Arrays of one shard: its blocks on several threads, each block's numbers its own."""
        read, size = self._blocks(first, last)
        edges = [*range(first, last, size), last]
        critical = self._critical() if self.settings["threshold"] else None
        keep = _Kept(self.side, last - first, len(self.scanner.outcome_mass), critical, self._real())

        def work(a: int, z: int) -> None:
            for i in range(a, z):
                keep.take(i, edges[i] - first, read(edges[i], edges[i + 1]))

        try:
            if self.elsewhere is None:
                by_rows(work, len(edges) - 1)
            else:  # the device is parallel by itself
                work(0, len(edges) - 1)
        except ValueError as e:
            if isinstance(e, InputError):
                raise
            fix = "Values must be finite; drop the run or mend its source"
            raise InputError(
                "features", f"a value that is not finite among columns {first} to {last - 1}", fix
            ) from e
        return keep.arrays(first)

    def _blocks(self, first: int, last: int) -> tuple[Callable[[int, int], Scanned], int]:
        """What gives the results of features a to z - 1 of a shard's, and how many it is asked for at once."""
        features = self.inputs.features
        if not features.sparse:
            scanner: BlockScanner = self.elsewhere or self.scanner
            size = BLOCK if self.elsewhere is None else self.elsewhere.width
            return lambda a, z: scanner.block(features.dense(a, z), 0, z - a), size
        part = features.values[:, first:last]
        scanner, size = SparseScanner(self.scanner, features.shape[0], again=True), SPARSE_BLOCK
        if self.elsewhere is not None:
            scanner, size = self.elsewhere, self.elsewhere.width
        return lambda a, z: scanner.block(part, a - first, z - first), size

    def _critical(self) -> Array:
        """|t| (J,) beyond which a pair is kept."""
        from scipy import stats

        p = 10.0 ** -self.settings["threshold"]
        return np.asarray(stats.t.isf(p / 2.0, np.maximum(self.side.dof, 1.0)))

    def _real(self) -> NDArray[np.bool_]:
        """Instruments that count for the strength of a feature."""
        return ~self.inputs.instruments["placebo"].to_numpy(bool) & (self.side.total > 0)

    def found(
        self, scan: ScanFolder, shards: list[ShardFound], check: dict[str, Any], draws: int, seed: int
    ) -> FeatureScan:
        """The result: strongest pairs of all shards, and the calibration on some features."""
        whole = pd.concat([s.pairs for s in shards], ignore_index=True)
        whole = whole.sort_values("neglog10p", ascending=False, kind="stable")
        whole = whole.head(LISTED).reset_index(drop=True)
        whole["feature"] = scan.names_of(whole["feature"].to_numpy(int))
        return FeatureScan(
            instruments=tuple(self.inputs.instruments["instrument"]),
            outcomes=self.inputs.outcome_names,
            pairs=whole,
            features=scan.header["features"],
            changed=sum(s.changed for s in shards),
            kept=sum(s.kept for s in shards),
            threshold=self.settings["threshold"],
            draws=draws,
            families=self.side.families,
            runs=len(self.side.place),
            errors=self.settings["errors"] + (", joint" if self.settings["joint"] else ""),
            folder=str(scan.folder),
            meta={"seed": seed, "precision": self.settings["precision"], "device": self.settings["device"]},
            **check,
        )


class _Kept:
    """What is kept of the blocks of one shard, whichever thread brings it."""

    def __init__(
        self, side: DoseSide, B: int, O: int, critical: Array | None, real: NDArray[np.bool_]
    ) -> None:
        K = side.instruments
        self.critical, self.real = critical, real
        self.strength = np.empty(B, np.float32)
        self.some: dict[int, tuple[NDArray[Any], ...]] = {}
        if critical is None:
            # In this order a block of dense features is written without being turned around.
            self.beta, self.se = (np.empty((K, B), np.float32) for _ in range(2))
            self.cov = np.empty((O, K, B), np.float32)

    def take(self, number: int, at: int, block: Scanned) -> None:
        """Results of one block, whose first feature is the shard's number ``at``."""
        from mrinterp.stats.scan.block_loops import mean_squares

        to = at + block.beta.shape[1]
        mean_squares(block.beta, block.se, self.real, self.strength[at:to])
        if self.critical is None:
            self.beta[:, at:to], self.se[:, at:to], self.cov[:, :, at:to] = block.beta, block.se, block.cov
            return
        far = np.abs(block.beta) >= self.critical[:, None].astype(block.se.dtype) * block.se
        far &= block.se > 0
        b, k = np.nonzero(far.T)
        self.some[number] = (at + b, k, block.beta[k, b], block.se[k, b], block.cov[:, k, b])

    def arrays(self, first: int) -> dict[str, NDArray[Any]]:
        """The shard's arrays."""
        if self.critical is None:
            held = {"beta": self.beta.T, "se": self.se.T, "outcome_cov": self.cov.transpose(0, 2, 1)}
            return held | {"strength": self.strength}
        parts = [self.some[i] for i in sorted(self.some)]
        b, k, beta, se = (np.concatenate([p[i] for p in parts]) for i in range(4))
        return {
            "feature": (first + b).astype(np.int64),
            "instrument": k.astype(np.int32),
            "beta": beta.astype(np.float32),
            "se": se.astype(np.float32),
            "outcome_cov": np.concatenate([p[4] for p in parts], axis=1).astype(np.float32),
            "strength": self.strength,
        }


def strongest(scan: ScanFolder, shard: Shard, dof: Array) -> ShardFound:
    """The pairs of a shard with the largest effects over errors, how many were kept, and how many features change."""
    instruments, a = scan.instruments["instrument"].to_numpy(), shard.arrays
    beta, se = a["beta"], a["se"]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(np.asarray(beta) / np.asarray(se)).ravel(order="K")
    t[~np.isfinite(t)] = -1.0
    kept = int((t >= 0).sum()) if "feature" not in a else len(t)
    top = np.argpartition(t, -LISTED)[-LISTED:] if len(t) > LISTED else np.arange(len(t))
    top = top[t[top] >= 0]
    if "feature" in a:
        b, k = a["feature"][top], a["instrument"][top]
        values = (beta[top], se[top])
    else:
        turned = not beta.flags.c_contiguous
        k, b = np.unravel_index(top, beta.T.shape) if turned else np.unravel_index(top, beta.shape)[::-1]
        values = (beta[b, k], se[b, k])
        b = b + shard.first
    frame = {"feature": b, "instrument": instruments[k]}
    frame |= {"beta": np.asarray(values[0], float), "se": np.asarray(values[1], float)}
    pairs = pd.DataFrame(frame).assign(neglog10p=neglog10p_t(t[top], dof[k]))
    return ShardFound(pairs, kept, int(np.isfinite(a["strength"]).sum()))
