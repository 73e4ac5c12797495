"""The scan at scale: effects of every instrument on very many features, block by block, into a folder of shards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mrinterp.core.checks import checked_choice, checked_count, checked_fraction, checked_seed
from mrinterp.results._scan.feature_scan import FeatureScan
from mrinterp.scan._cluster import opened_workers
from mrinterp.scan._scan_calibration import calibration
from mrinterp.scan._scan_inputs import checked_inputs
from mrinterp.scan._scan_job import BLOCK, ScanJob, shard_features
from mrinterp.scan._scan_workers import carried_out, draws_of, shards_of

__all__ = ["scan_features", "scan_memory"]


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
    instruments: Sequence[str] | pd.DataFrame | None = None,
    feature_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    placebo: Sequence[str] = (),
    workers: int | None = None,
    scheduler: str | None = None,
) -> FeatureScan:
    """Effect of J instruments on up to millions of features, within prompts, stored as it is computed.

    Parameters
    ----------
    folder : str or Path
        Where the effects go. A scan that was interrupted there goes on; one of other inputs or settings is refused.
    doses : array_like (N, J)
        Dose of every instrument in every run.
    features : array_like, memory map, sparse matrix or path
        (N, F) values: ``.npy`` is memory-mapped, ``.npz`` is read by `scipy.sparse.load_npz`. A folder holds ``.npy`` of
        some runs each, in the order of their names, or sparse columns: ``data.npy, indices.npy, indptr.npy, rows.npy``;
        or folders of some runs each with either such columns or ``features.npy``. All are memory-mapped. Sparse features
        cost work by their entries.
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
        Names; by default ``z0``, ``x0`` and ``y0`` and so on. Of instruments also a table ``instrument, kind, locus, allele,
        unit, placebo``, one row each.
    placebo : sequence of str
        Instruments that edit nothing.
    workers : int, optional
        Processes of this machine that share the work; features must then lie in a file. By default this process.
    scheduler : str, optional
        Address of a scheduler of dask, such as ``tcp://10.0.0.1:8786``, whose workers share the work instead.

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
    job = ScanJob(inputs, settings)
    scan = job.begun(Path(folder))
    with opened_workers(workers, scheduler) as given, carried_out(job, scan, features, given):
        at = (job, scan, features, given)
        shards = shards_of(*at)
        check = calibration(inputs, job.side, job.how, settings, partial(draws_of, *at), draws, seed)
    found = job.found(scan, shards, check, draws, seed)
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
    # A shard's numbers while it is made; then t, whether it is known and its order, where the strongest are looked for.
    pairs = shard_features(instruments, features, outcomes) * instruments
    shard = pairs * max(4.0 * (2 + outcomes), 4.0 + 1.0 + 8.0 + 4.0)
    return doses + threads * block + shard
