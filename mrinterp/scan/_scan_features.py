"""The scan at scale: effects of every instrument on very many features, block by block, into a folder of shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from mrinterp.core.checks import checked_choice, checked_count, checked_fraction, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.core.shown import progress
from mrinterp.results._scan.feature_scan import FeatureScan
from mrinterp.scan._marginal import dose_correlation
from mrinterp.scan._scan_calibration import calibration
from mrinterp.scan._scan_folder import ScanFolder, begun, write_shard
from mrinterp.scan._scan_inputs import ScanInputs, checked_inputs, side_of
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.scan.block_scan import Scanned, Scanner
from mrinterp.stats.scan.dose_side import DoseSide
from mrinterp.stats.scan.sparse_scan import SparseScanner
from mrinterp.stats.tests.tails import neglog10p_t

__all__ = ["scan_features", "scan_memory"]

Array = NDArray[np.float64]

BLOCK, SPARSE_BLOCK = 256, 2048
"""Features that are multiplied at once: their changes and sums stay in the processor's cache."""

SHARD_NUMBERS = 1 << 25
"""Numbers in one shard (128 MB in single precision)."""

LISTED = 1000
"""Strongest pairs that the result lists; all kept ones are in the folder."""

LARGEST_LD = 4096
"""Instruments up to which the correlation of their doses is stored."""


def scan_features(
    folder: str | Path,
    *,
    doses: ArrayLike,
    features: Any,
    outcomes: ArrayLike,
    prompt: ArrayLike,
    family: ArrayLike,
    kind: ArrayLike | None = None,
    clean: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    paired: bool = False,
    errors: str = "CR3",
    joint: bool = False,
    p_threshold: float | None = None,
    with_outcomes: bool = True,
    draws: int = 20,
    seed: int = 0,
    precision: str = "float32",
    device: str | None = None,
    instruments: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    placebo: Sequence[str] = (),
) -> FeatureScan:
    """Effect of J instruments on up to millions of features, within prompts, stored as it is computed.

    Parameters
    ----------
    folder : str or Path
        Where the effects go. A scan that was interrupted there goes on; one of other inputs or settings is refused.
    doses : array_like (N, J)
        Dose of every instrument in every run.
    features : array_like, memory map, sparse matrix or path
        (N, F) values: ``.npy`` is memory-mapped, ``.npz`` is read by `scipy.sparse.load_npz`. Sparse features cost work by
        their entries.
    outcomes : array_like (N, O) or (N,)
    prompt, family : array_like (N,)
        Which prompt a run was made from, and its family, the cluster of errors.
    kind : array_like (N,), optional
        Kind of perturbation: means are those of a prompt's runs of one kind.
    clean : array_like (N,) of bool, optional
        Unperturbed runs.
    covariates : array_like (N, q), optional
        Partialled out of doses, features and outcomes, within prompts.
    paired : bool
        Changes against the clean run; by default deviations from the prompt's mean.
    errors : {"CR3", "CR1", "HC3", "HC1", "homoskedastic"}
        Clustered by family (the jackknife, or the plain sandwich), by run, or alike in all runs.
    joint : bool
        Effects of every dose with the others held fixed.
    p_threshold : float, optional
        Keep only pairs with at most this p; by default all. The threshold is applied to effects over errors.
    with_outcomes : bool
        Keep the covariance of every feature's errors with the outcomes', which estimators of overlapping samples use.
    draws, seed : int
        Permutations of doses within prompts, for the calibration (0 for none), and their seed.
    precision : {"float32", "float64"}
        Of products inside a block; sums across blocks are always float64.
    device : str, optional
        A device of torch, such as ``cuda``; by default numpy on the processor.
    instruments, feature_names, outcome_names : sequence of str, optional
        Names; by default ``z0``, ``x0`` and ``y0`` and so on.
    placebo : sequence of str
        Instruments that edit nothing.

    Returns
    -------
    FeatureScan
        The strongest pairs and the calibration; `ScanFolder` reads the effects.

    Raises
    ------
    InputError
        For arrays that do not fit, values that are not finite, doses that do not vary, a folder of something else, or
        a damaged shard.

    Notes
    -----
    No array of features by features is ever made: every feature has its variance and its covariance with the
    outcomes. With single precision effects differ from double by about 1e-6 of their error, errors by less than
    1e-6 of themselves. Not valid with few families: below 40 errors clustered by family are optimistic. Features
    are told apart on resuming by shape, type and 16 of their rows, not by all their bytes.

    Source: Cameron & Miller 2015, 10.3368/jhr.50.2.317; Shabalin 2012, 10.1093/bioinformatics/bts163, for the
    threshold before any p-value.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from mrinterp.scan import scan_features
    >>> rng = np.random.default_rng(0)
    >>> z, x, prompt = rng.integers(0, 2, (80, 3)), rng.standard_normal((80, 5)), np.arange(80) // 4
    >>> runs = {"prompt": prompt, "family": prompt, "outcomes": x[:, 0]}
    >>> scan_features(tempfile.mkdtemp(), doses=z, features=x, draws=2, **runs).kept
    15
    """
    checked_choice(precision, "precision", ("float32", "float64"))
    checked_count(draws, "draws", least=0, most=10_000)
    checked_seed(seed)
    if p_threshold is not None:
        checked_fraction(p_threshold, "p_threshold", zero=False, one=False)
    inputs = checked_inputs(
        doses,
        features,
        outcomes,
        prompt,
        family,
        kind=kind,
        clean=clean,
        covariates=covariates,
        instruments=instruments,
        feature_names=feature_names,
        outcome_names=outcome_names,
        placebo=placebo,
    )
    settings = {
        "errors": errors,
        "joint": bool(joint),
        "paired": bool(paired),
        "precision": precision,
        "threshold": 0.0 if p_threshold is None else float(-np.log10(p_threshold)),
        "with_outcomes": bool(with_outcomes),
        "device": device or "cpu",
    }
    job = _Job(inputs, settings)
    scan = job.begun(Path(folder))
    job.run(scan)
    found = job.found(scan, draws, seed)
    if not (scan.folder / "summary").exists():
        found.save(scan.folder / "summary")
    return found


def scan_memory(rows: int, instruments: int, features: int, outcomes: int = 1, threads: int = 2) -> float:
    """Bytes that `scan_features` holds beside the features themselves: doses, blocks in work, one shard.

    Parameters
    ----------
    rows, instruments, features, outcomes, threads : int
        Runs, doses, features, outcomes, and blocks that are worked on at once.

    Returns
    -------
    float

    Examples
    --------
    >>> from mrinterp.scan import scan_memory
    >>> scan_memory(2048, 256, 65_536) < 1e9
    True
    """
    doses = 8.0 * rows * instruments * 4 + 4.0 * rows * instruments * 2
    block = 4.0 * BLOCK * (rows + instruments * (6 + outcomes) + 4 * min(instruments, 256))
    shard = 4.0 * shard_features(instruments, features, outcomes) * instruments * (2 + outcomes)
    return doses + threads * block + shard


def shard_features(instruments: int, features: int, outcomes: int) -> int:
    """Features in one shard, a multiple of the block."""
    fit = SHARD_NUMBERS // max(instruments * (2 + outcomes), 1) // SPARSE_BLOCK * SPARSE_BLOCK
    return max(min(max(fit, BLOCK), -(-features // BLOCK) * BLOCK), 1)


@dataclass(frozen=True, eq=False)
class _Job:
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
        if s["device"] != "cpu":
            from mrinterp.scan._torch_products import TorchProducts

            scanner.products = TorchProducts(scanner, s["device"])
        object.__setattr__(self, "scanner", scanner)

    side: DoseSide = None  # type: ignore[assignment]
    outcomes: Any = None
    how: Any = None
    family: Any = None
    scanner: Scanner = None  # type: ignore[assignment]

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

    def run(self, scan: ScanFolder) -> None:
        """All shards that are not there yet; those that are, are checked."""
        size, F = scan.header["shard_features"], scan.header["features"]
        with threadpool_limits(1, user_api="blas"), progress(scan.header["shards"], "scan", "shard") as bar:
            for number in range(scan.header["shards"]):
                if (scan.folder / f"shard-{number:05d}").exists():
                    scan.shard(number)
                else:
                    first, last = number * size, min((number + 1) * size, F)
                    write_shard(scan, number, first, last, self.shard(first, last))
                bar.update()

    def shard(self, first: int, last: int) -> dict[str, NDArray[Any]]:
        """Arrays of one shard: its blocks on several threads, each block's numbers its own."""
        side, features = self.side, self.inputs.features
        if features.sparse:
            scanner: Any = SparseScanner(self.scanner, features.shape[0], again=True)
            part = features.values[:, first:last]
            size = SPARSE_BLOCK
        else:
            scanner, part, size = self.scanner, features, BLOCK
        edges = [*range(first, last, size), last]
        critical = self._critical() if self.settings["threshold"] else None
        keep = _Kept(side, last - first, len(self.scanner.outcome_mass), critical, self._real())

        def work(a: int, z: int) -> None:
            for i in range(a, z):
                at, to = edges[i] - first, edges[i + 1] - first
                if features.sparse:
                    keep.take(i, at, scanner.block(part, at, to))
                else:
                    keep.take(i, at, scanner.block(part.dense(edges[i], edges[i + 1]), 0, to - at))

        try:
            by_rows(work, len(edges) - 1)
        except ValueError as e:
            if isinstance(e, InputError):
                raise
            fix = "Values must be finite; drop the run or mend its source"
            raise InputError(
                "features", f"a value that is not finite among columns {first} to {last - 1}", fix
            ) from e
        return keep.arrays(first)

    def _critical(self) -> Array:
        """|t| (J,) beyond which a pair is kept."""
        from scipy import stats

        p = 10.0 ** -self.settings["threshold"]
        return np.asarray(stats.t.isf(p / 2.0, np.maximum(self.side.dof, 1.0)))

    def _real(self) -> NDArray[np.bool_]:
        """Instruments that count for the strength of a feature."""
        return ~self.inputs.instruments["placebo"].to_numpy(bool) & (self.side.total > 0)

    def found(self, scan: ScanFolder, draws: int, seed: int) -> FeatureScan:
        """The result: strongest pairs of all shards, and the calibration on some features."""
        pairs, kept, changed = strongest(scan, self.side.dof)
        check = calibration(self.inputs, self.side, self.how, self.family, self.settings, draws, seed)
        return FeatureScan(
            instruments=tuple(self.inputs.instruments["instrument"]),
            outcomes=self.inputs.outcome_names,
            pairs=pairs,
            features=scan.header["features"],
            changed=changed,
            kept=kept,
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


def strongest(scan: ScanFolder, dof: Array) -> tuple[pd.DataFrame, int, int]:
    """The pairs with the smallest p over all shards, how many were kept, and how many features change."""
    tables, kept, changed = [], 0, 0
    names, instruments = np.array(scan.feature_names, dtype=object), scan.instruments["instrument"].to_numpy()
    for shard in scan.shards():
        a = shard.arrays
        changed += int(np.isfinite(a["strength"]).sum())
        beta, se = a["beta"], a["se"]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(np.asarray(beta) / np.asarray(se)).ravel(order="K")
        t[~np.isfinite(t)] = -1.0
        kept += int((t >= 0).sum()) if "feature" not in a else len(t)
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
        frame = {"feature": names[b], "instrument": instruments[k]}
        frame |= {"beta": np.asarray(values[0], float), "se": np.asarray(values[1], float)}
        tables.append(pd.DataFrame(frame).assign(neglog10p=neglog10p_t(t[top], dof[k])))
    whole = pd.concat(tables, ignore_index=True).sort_values("neglog10p", ascending=False, kind="stable")
    return whole.head(LISTED).reset_index(drop=True), kept, changed
