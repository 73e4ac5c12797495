"""Features of a network in all runs of a design, in parts on disk: no process holds more than one part of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mrinterp.adapters._like_lengths import blocks_of
from mrinterp.core.design import Design
from mrinterp.features._units import Units
from mrinterp.models._cut import CutNetwork, CutReading
from mrinterp.scan._feature_files import DENSE_FILE, SPARSE_FILES, stacked
from mrinterp.scan._reader import ASKED, SHARD_BLOCKS, run_blocks, shards
from mrinterp.scan._shard_stores import MappedShards

__all__ = ["entries_per_run", "every_feature", "part_bytes", "read_parts"]

Rows = NDArray[np.int_]


def every_feature(network: CutNetwork) -> tuple[CutNetwork, tuple[str, ...]]:
    """The network viewing all latents of its autoencoder, or where it has none all dimensions of its site; their names as
    a study gives them."""
    view: Any = network.latents() if network.sae is not None else Units(range(network.width), network.width)
    return network.viewing(view), tuple(f"{network.site}:{name}" for name in view.names)


class FeatureParts(MappedShards):
    """Features dense or in sparse columns, as `opened_features` reads them, and outcomes beside them."""

    def joined(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Runs of one block below those of the other."""
        outcome, held = np.concatenate([x["outcome"] for x in found]), [x["features"] for x in found]
        features = stacked(held) if sparse.issparse(held[0]) else np.concatenate(held)
        return {"features": features, "outcome": outcome}

    def files(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """What is stored of a part."""
        features, outcome = arrays["features"], arrays["outcome"]
        if not sparse.issparse(features):
            return {DENSE_FILE: features, "outcome": outcome}
        values = (features.data, features.indices, features.indptr, features.shape[0])
        return dict(zip(SPARSE_FILES, values, strict=True)) | {"outcome": outcome}


def _kept(reading: CutReading, columns: bool) -> dict[str, Any]:
    """Features in single precision, of latents the entries only, and outcomes."""
    features: Any = reading.features.astype(np.float32)
    return {"features": sparse.csc_array(features) if columns else features, "outcome": reading.outcome}


def read_parts(
    network: CutNetwork, design: Design, rows: Rows, folder: Path, of: str, what: str
) -> tuple[Rows, NDArray[np.float64]]:
    """Run these rows of a design and leave the features in parts that `opened_features` reads as one matrix.

    Parameters
    ----------
    network : CutNetwork
        Viewing the features: kept in sparse columns where they are latents.
    rows : ndarray (N,) of int
        Rows of ``design.runs``.
    folder : Path
        Of the parts. Those that are there are checked and stay.
    of : str
        What tells these parts from those of another network, design or split.
    what : str
        Words of the progress bar.

    Returns
    -------
    order : ndarray (N,) of int
        Rows of ``design.runs`` in the order in which the parts hold them: runs of like length stand together.
    outcomes : ndarray (N, O)
        In that order.

    Raises
    ------
    DamagedError, InputError
        For a part that is damaged, or of something else.
    """
    columns = network.sae is not None
    groups, work = run_blocks(network, design, rows, lambda reading: _kept(reading, columns), cut=False)
    if ASKED.get() is None:  # what workers left that were killed
        for left in folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)
    grid = list(blocks_of(groups, int(design.settings["block"])))
    order, outcomes = [], []
    for here, found in shards(grid, work, folder, what, FeatureParts(of)):
        order.append(rows[here])
        outcomes.append(found["outcome"])
    return np.concatenate(order), np.concatenate(outcomes)


def entries_per_run(network: CutNetwork, design: Design, rows: Rows) -> float:
    """Features of a run that are not zero, on average over the first block of these rows."""
    groups, work = run_blocks(network, design, rows, lambda reading: _kept(reading, True), cut=False)
    block = next(blocks_of(groups, int(design.settings["block"])))
    return float(work(block)["features"].nnz) / len(block)


def part_bytes(
    block: int, runs: int, tokens: int, width: int, features: int, entries: float | None
) -> tuple[float, float]:
    """Bytes that a process holds beside the network while it makes one part, and bytes of all parts on the disk.

    Parameters
    ----------
    block, runs, tokens, width, features : int
        Runs of a block, of all parts, tokens of a run, width of the site, and features.
    entries : float, optional
        Features of a run that are not zero, where they are latents, kept in sparse columns; None where they are dense.
    """
    per_run = 4.0 * features if entries is None else 8.0 * entries
    part = min(runs, block * SHARD_BLOCKS)
    # Every token's values in double precision, five times on their way; their means, and again in single; the part, joined.
    held = min(block, runs) * features * (40.0 * tokens + 20.0) + 2.0 * part * per_run
    if entries is None:
        return held, runs * per_run
    # An autoencoder's weights in double precision; where every column of a part ends.
    return held + 16.0 * width * features, runs * per_run + 4.0 * -(-runs // part) * (features + 1)
