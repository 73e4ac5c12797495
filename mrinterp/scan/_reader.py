"""Run a design through a network in canonical blocks, keeping finished shards on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._like_lengths import LikeLengths, blocks_of
from mrinterp.core.design import Design
from mrinterp.core.shown import progress
from mrinterp.models._cut import CutNetwork, CutReading
from mrinterp.scan._shard_stores import SHARD_FILES, ShardStore

__all__ = [
    "ASKED",
    "ELSEWHERE",
    "SCAN_STREAM",
    "SHARD_BLOCKS",
    "Project",
    "ShardsMade",
    "raw_reading",
    "read_runs",
    "run_blocks",
    "sharded",
    "sharded_groups",
    "shards",
    "torch_threads",
]

SHARD_BLOCKS = 16
"""Canonical blocks per shard: an interrupted run loses at most the shard that it was working on."""

SCAN_STREAM = 1
"""Stream of a sampled outcome's draws in the scan; knockouts have their own."""

Rows = NDArray[np.int_]


class ShardsMade(Exception):  # noqa: N818  no error: the way back from shards that another process asked for
    """The shards that were asked for are there."""


ELSEWHERE: ContextVar[Callable[[Path, list[int]], None] | None] = ContextVar("elsewhere", default=None)
"""Has the missing shards of a folder made by other processes, for a step that these can carry out too."""

ASKED: ContextVar[tuple[Path, list[int]] | None] = ContextVar("asked", default=None)
"""The shards that this process makes for another one: no others, and nothing beyond them."""


@contextmanager
def torch_threads(count: int | None) -> Iterator[int]:
    """For the block, passes of the network on so many threads (None: as they are); gives the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


Project = Callable[[CutReading], dict[str, Any]]
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
    grid = list(blocks_of((np.arange(count),), block))
    parts = [p for _, p in shards(grid, lambda rows: work(int(rows[0]), int(rows[-1]) + 1), folder, what)]
    return {k: np.concatenate([x[k] for x in parts]) for k in parts[0]} if parts else {}


def sharded_groups(
    groups: Sequence[Rows],
    block: int,
    work: Callable[[Rows], dict[str, NDArray]],
    folder: Path | None,
    what: str,
) -> dict[str, NDArray]:
    """As `sharded`, in groups of rows that share no block; ``work(rows)`` gives one row for each of its own.

    Parameters
    ----------
    groups : sequence of ndarray of int
        Rows 0 to N - 1, each in one group. Shards of a folder are those of these groups alone.

    Returns
    -------
    dict of str to ndarray
        Arrays in the order of the rows, however they were grouped.
    """
    out: dict[str, NDArray] = {}
    count = sum(map(len, groups))
    for rows, found in shards(list(blocks_of(groups, block)), work, folder, what):
        for name, value in found.items():
            if name not in out:
                out[name] = np.empty((count, *value.shape[1:]), value.dtype)
            out[name][rows] = value
    return out


def shards(
    grid: Sequence[Rows],
    work: Callable[[Rows], dict[str, Any]],
    folder: Path | None,
    what: str,
    store: ShardStore = SHARD_FILES,
) -> Iterator[tuple[Rows, dict[str, Any]]]:
    """Rows and arrays of one shard after the other, read where it is finished."""
    parts = [grid[start : start + SHARD_BLOCKS] for start in range(0, len(grid), SHARD_BLOCKS)]
    numbers = list(range(len(parts)))
    asked, elsewhere = ASKED.get(), ELSEWHERE.get()
    if asked is not None and folder == asked[0]:
        numbers = asked[1]
    elif folder is not None and elsewhere is not None:
        missing = [s for s in numbers if not store.place(folder, s).exists()]
        if len(missing) > 1:
            elsewhere(folder, missing)
    with progress(sum(len(b) for s in numbers for b in parts[s]), what, "run") as bar:
        for s in numbers:
            rows = np.concatenate(parts[s])
            path = None if folder is None else store.place(folder, s)
            if path is not None and path.exists():
                bar.update(len(rows))
                yield rows, store.read(path)
                continue
            found = []
            for block in parts[s]:
                found.append(work(block))
                bar.update(len(block))
            joined = store.joined(found)
            if path is not None:
                joined = store.write(path, joined, asked is not None)
            yield rows, joined
    if asked is not None and folder == asked[0]:
        raise ShardsMade


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
    groups, work = run_blocks(network, design, rows, project)
    # Shards of an earlier version, which had other blocks, are not taken for these.
    place = folder if folder is None or len(groups) == 1 else folder / "by_length"
    return sharded_groups(groups, int(design.settings["block"]), work, place, what)


def run_blocks(
    network: CutNetwork, design: Design, rows: NDArray[np.int_], project: Project, cut: bool = True
) -> tuple[tuple[Rows, ...], Callable[[Rows], dict[str, Any]]]:
    """Groups of the given rows of a design that share no block, and what runs one block of them; ``cut`` as of `CutNetwork.run`."""
    inputs = design.runs["input"].to_numpy()
    like = LikeLengths.of(network.lengths[inputs[rows]], int(design.settings["block"]))

    def work(chosen: Rows) -> dict[str, Any]:
        block, tokens = rows[chosen], int(like.length[chosen[0]])
        noise = block_noise(design, block)
        read = network.run(inputs[block], noise=noise, draw=(SCAN_STREAM, block), cut=cut, tokens=tokens)
        return project(read)

    return like.groups, work
