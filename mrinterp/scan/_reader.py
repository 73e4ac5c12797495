"""Run a design through a network in canonical blocks, keeping finished shards on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mrinterp.core.design import Design
from mrinterp.core.storage import read_arrays, write_arrays
from mrinterp.models._cut import CutNetwork, CutReading

__all__ = ["SCAN_STREAM", "SHARD_BLOCKS", "Project", "raw_reading", "read_runs", "sharded"]

SHARD_BLOCKS = 16
"""Canonical blocks per shard: an interrupted run loses at most the shard that it was working on."""

SCAN_STREAM = 1
"""Stream of a sampled outcome's draws in the scan; knockouts have their own."""

Project = Callable[[CutReading], dict[str, NDArray]]
"""Turns a block's reading into the arrays to keep, one row per run."""


def raw_reading(reading: CutReading) -> dict[str, NDArray]:
    """Keep everything: means in float64, class deviations in float32."""
    parts = {
        name: value.astype(np.float32) if name.endswith("position") else value
        for name, value in reading.parts.items()
    }
    return {**parts, "features": reading.features, "outcome": reading.outcome}


def block_noise(
    design: Design, rows: NDArray[np.int_], doses: NDArray[np.float32] | None = None
) -> NDArray[np.float32] | None:
    """Noise of every position class for a block of runs (N, C, width); None where no run has any.

    ``doses`` (N', J) replaces the design's doses, for runs beyond the design.
    """
    C, D, _ = design.noise_directions.shape
    columns = design.columns("noise")
    if not len(columns):
        return None
    drawn = np.asarray((design.doses if doses is None else doses)[rows][:, columns]).reshape(len(rows), C, D)
    if not drawn.any():
        return None
    return np.asarray(
        np.einsum("ncd,cdw->ncw", drawn, design.noise_directions, optimize=True), dtype=np.float32
    )


def sharded(
    count: int,
    block: int,
    work: Callable[[int, int], dict[str, NDArray]],
    folder: Path | None,
    what: str,
) -> dict[str, NDArray]:
    """Do ``work(start, stop)`` over the canonical block grid; finished shards survive a kill.

    Parameters
    ----------
    count, block : int
        Number of rows, and rows per canonical block.
    work : callable
        Arrays of one block, rows first. Must depend on nothing but its block.
    folder : Path, optional
        Where finished shards are kept; None keeps them in memory.
    what : str
        Words of the progress bar.

    Returns
    -------
    dict of str to ndarray
        The blocks' arrays, concatenated in canonical order: the same bytes however often the work
        was interrupted.
    """
    shard = block * SHARD_BLOCKS
    parts: list[dict[str, NDArray]] = []
    with tqdm(total=count, desc=what, unit="run", disable=None, smoothing=0.1) as bar:
        for s, start in enumerate(range(0, count, shard)):
            stop = min(start + shard, count)
            path = None if folder is None else folder / f"shard-{s:05d}.npz"
            if path is not None and path.exists():
                parts.append(read_arrays(path))
                bar.update(stop - start)
                continue
            blocks = []
            for a in range(start, stop, block):
                b = min(a + block, stop)
                blocks.append(work(a, b))
                bar.update(b - a)
            joined = {k: np.concatenate([x[k] for x in blocks]) for k in blocks[0]}
            if path is not None:
                write_arrays(path, joined)
            parts.append(joined)
    if not parts:
        return {}
    return {k: np.concatenate([x[k] for x in parts]) for k in parts[0]}


def read_runs(
    network: CutNetwork,
    design: Design,
    rows: NDArray[np.int_],
    project: Project = raw_reading,
    folder: Path | None = None,
    what: str = "scan",
) -> dict[str, NDArray]:
    """Run the given rows of a design.

    Parameters
    ----------
    rows : ndarray of int
        Rows of ``design.runs``, in canonical order.
    project : callable
        What to keep of each block.
    folder : Path, optional
        Where finished shards wait for the rest.
    """
    inputs = design.runs["input"].to_numpy()

    def work(a: int, b: int) -> dict[str, NDArray]:
        block = rows[a:b]
        reading = network.run(inputs[block], noise=block_noise(design, block), draw=(SCAN_STREAM, block))
        return project(reading)

    return sharded(len(rows), int(design.settings["block"]), work, folder, what)
