"""Passes of a study on several processes or machines: shards of a step, made by workers that open the same run folder.

A shard of a step depends on its block of runs alone. A worker opens the study from its folder, begins the same step, finds
everything before it finished, makes the shards that it was asked for and stops; the study then reads them as it would after an
interruption.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrinterp.core.errors import InputError
from mrinterp.scan._cluster import Workers, opened_workers, take_own_card

if TYPE_CHECKING:
    from mrinterp.study._opened import Opened

__all__ = ["helped", "shared"]

TASKS_EACH = 2
"""Tasks for every worker and step: each begins the step anew, with its clean passes; a lost worker costs one of them."""


@contextmanager
def helped(study: Opened, workers: int | None, scheduler: str | None) -> Iterator[None]:
    """For the block, shards of the study's passes are made by workers.

    Raises
    ------
    InputError
        For a study of objects in memory, which no other process can open.
    """
    if workers is None and scheduler is None:
        yield
        return
    if study.given is not None:
        fix = "Write the network to a folder and name it in a study file"
        raise InputError("workers", "the study was given its network from memory", fix)
    from mrinterp.scan._reader import torch_threads

    # Sums of a pass may depend on the number of threads: the same for any number of workers of a machine.
    with (
        torch_threads(1 if scheduler is None else None),
        opened_workers(workers, scheduler) as study.workers,
    ):
        try:
            yield
        finally:
            study.workers = Workers()


@contextmanager
def shared(study: Opened, step: str, *given: Any) -> Iterator[None]:
    """For the block, missing shards of this step (a method of `Steps`) are made by the study's workers, where it has any."""
    client = study.workers.client
    if client is None:
        yield
        return
    from mrinterp.scan._reader import ELSEWHERE, torch_threads

    there = (type(study), str(study.out.resolve()), str(study.source.resolve()))
    with torch_threads(None) as threads:
        begun = partial(_shards, there, threads, step, given)

    def made(place: Path, missing: list[int]) -> None:
        tasks = max(1, min(len(missing), TASKS_EACH * len(client.scheduler_info()["workers"])))
        edges = [len(missing) * k // tasks for k in range(tasks + 1)]
        parts = [missing[a:z] for a, z in pairwise(edges)]
        own = os.path.relpath(place.resolve(), study.out.resolve())
        study.workers.each(partial(begun, own), parts, f"{step.strip('_')}: workers", "task")

    token = ELSEWHERE.set(made)
    try:
        yield
    finally:
        ELSEWHERE.reset(token)


# -- on a worker -----------------------------------------------------------------------------------


def _shards(
    there: tuple[type[Opened], str, str],
    threads: int,
    step: str,
    given: tuple[Any, ...],
    place: str,
    numbers: list[int],
) -> list[int]:
    """Make some shards of a step, in the study's folder."""
    from mrinterp.core.threads import one_blas_thread
    from mrinterp.scan._reader import ASKED, ShardsMade, torch_threads

    study = _opened(*there)
    take_own_card(study.plan.model.device)
    token = ASKED.set((Path(os.path.normpath(study.out / place)), numbers))
    try:
        with one_blas_thread(), torch_threads(threads):
            getattr(study, step)(*given)
    except ShardsMade:
        return numbers
    finally:
        ASKED.reset(token)
    raise InputError(
        study.out.name, f"a worker did not reach the shards of {step}", "Run without workers, and report this"
    )


@lru_cache(maxsize=1)
def _opened(kind: type[Opened], folder: str, source: str) -> Opened:
    """The study, opened once by every worker; its Python was agreed to where it was begun."""
    from mrinterp.core.plan import read_plan
    from mrinterp.core.run_folder import RunFolder

    for path in (folder, source):
        if not Path(path).exists():
            fix = (
                "Workers read and write where the study runs: put it on a file system that all machines share"
            )
            raise InputError(path, "not there on a worker", fix)
    plan, _ = read_plan(RunFolder(Path(folder)).header["plan"])
    return kind(plan, Path(source), Path(folder), True)
