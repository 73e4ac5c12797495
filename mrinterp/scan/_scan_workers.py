"""A scan's tasks, wherever they are carried out: one shard, or one permutation of the calibration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.storage import read_arrays, write_arrays
from mrinterp.scan._cluster import Workers, own_device
from mrinterp.scan._feature_files import opened_features
from mrinterp.scan._scan_calibration import one_draw
from mrinterp.scan._scan_folder import PARTS, ScanFolder
from mrinterp.scan._scan_inputs import ScanInputs
from mrinterp.scan._scan_job import ScanJob, ShardFound
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["carried_out", "draws_of", "shards_of"]

Array = NDArray[np.float64]

RUNS = "runs.npz"
CALIBRATION = "calibration.npz"
"""In the folder of parts while workers are at it: what all tasks read, so that nothing is lost with a worker."""


@contextmanager
def carried_out(job: ScanJob, scan: ScanFolder, features: Any, workers: Workers) -> Iterator[None]:
    """For the block, what the workers' tasks read lies in the scan's folder.

    Raises
    ------
    InputError
        For features in memory, which no other process can read.
    """
    if workers.client is None:
        yield
        return
    if not isinstance(features, str | Path):
        fix = "Write them with numpy.save (scipy.sparse.save_npz) and give the path: every worker reads its part"
        raise InputError("features", "an array in memory, which workers cannot read", fix)
    inputs, parts = job.inputs, scan.folder / PARTS
    shutil.rmtree(parts, ignore_errors=True)
    arrays: dict[str, Any] = {"doses": inputs.doses, "outcomes": inputs.outcomes}
    # Codes stand in the order of the names, so that groups come in the same order.
    arrays |= {n: families_of(getattr(inputs, n))[0] for n in ("prompt", "family")}
    arrays |= {} if inputs.kind is None else {"kind": families_of(inputs.kind)[0]}
    arrays |= {n: v for n in ("clean", "covariates") if (v := getattr(inputs, n)) is not None}
    write_arrays(parts / RUNS, arrays)
    try:
        yield
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def shards_of(job: ScanJob, scan: ScanFolder, features: Any, workers: Workers) -> list[ShardFound]:
    """What every shard adds, each made by one task where it is missing."""
    numbers = range(scan.header["shards"])
    if workers.client is None:
        return workers.each(partial(job.one, scan), numbers, "scan", "shard")
    there = (str(scan.folder.resolve()), str(Path(features).resolve()))
    return workers.each(partial(_shard, *there, scan.plan), numbers, "scan", "shard")


def draws_of(
    job: ScanJob,
    scan: ScanFolder,
    features: Any,
    workers: Workers,
    x: NDArray[Any],
    level: Array,
    orders: list[NDArray[np.int32]],
) -> list[tuple[Array, float]]:
    """`one_draw` of every order, one task each."""
    if workers.client is None:
        return workers.each(partial(_one, job, x, level), orders, "calibration", "draw")
    write_arrays(scan.folder / PARTS / CALIBRATION, {"x": x, "level": level})
    there = (str(scan.folder.resolve()), str(Path(features).resolve()))
    return workers.each(partial(_draw, *there, scan.plan), orders, "calibration", "draw")


def _one(job: ScanJob, x: NDArray[Any], level: Array, order: NDArray[np.int32]) -> tuple[Array, float]:
    real = np.flatnonzero(job.side.total > 0)
    return one_draw(job.inputs, job.how, job.family, job.settings, real, x, level, order)


# -- on a worker -----------------------------------------------------------------------------------


def _shard(folder: str, features: str, plan: str, number: int) -> ShardFound:
    scan, job = _opened(folder, features, plan)
    return job.one(scan, number, apart=True)


def _draw(folder: str, features: str, plan: str, order: NDArray[np.int32]) -> tuple[Array, float]:
    _, job = _opened(folder, features, plan)
    held = _calibration(folder, plan)
    return _one(job, held["x"], held["level"], order)


@lru_cache(maxsize=1)
def _calibration(folder: str, plan: str) -> dict[str, NDArray[Any]]:
    return read_arrays(Path(folder) / PARTS / CALIBRATION)


@lru_cache(maxsize=1)
def _opened(folder: str, features: str, plan: str) -> tuple[ScanFolder, ScanJob]:
    """The scan and what is needed to make its shards, opened once by every worker."""
    for path in (folder, features):
        if not Path(path).exists():
            fix = "Workers read and write where the scan was begun: put both on a file system that all machines share"
            raise InputError(path, "not there on a worker", fix)
    scan = ScanFolder.open(folder)
    settings = {k: v for k, v in scan.header["plan"].items() if k not in ("inputs", "shard_features")}
    settings["device"] = own_device(settings["device"])
    held = read_arrays(scan.folder / PARTS / RUNS)
    inputs = ScanInputs(
        held["doses"],
        opened_features(features),
        held["outcomes"],
        held["prompt"],
        held["family"],
        held.get("kind"),
        held.get("clean"),
        held.get("covariates"),
        scan.instruments,
        None,
        tuple(scan.header["outcome_names"]),
    )
    if scan.plan != plan or inputs.features.digest() != scan.header["plan"]["inputs"]["features"]:
        fix = (
            "Give the path of the file that the scan was begun with, on a file system that all machines share"
        )
        raise InputError(features, "on a worker, it holds something else", fix)
    return scan, ScanJob(inputs, settings)
