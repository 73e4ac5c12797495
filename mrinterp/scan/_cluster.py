"""Work on several processes or machines: one task per part, by dask, each part's result its own whoever makes it.

dask is loaded only where it is asked for (``pip install 'mrinterp[cluster]'``).
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from mrinterp.core.checks import checked_count
from mrinterp.core.errors import InputError
from mrinterp.core.shown import counted, progress

__all__ = ["Workers", "opened_workers", "own_device", "take_own_card"]

T = TypeVar("T")
R = TypeVar("R")

SAME = ("mrinterp", "numpy", "scipy", "numba", "torch")
"""Packages whose versions have to be the same everywhere: another one may round differently."""


ANSWERS_WITHIN = "10s"
"""How long a scheduler is waited for."""


class Workers:
    """Where tasks go: workers of a dask client, or this process where there is none."""

    def __init__(self, client: Any = None) -> None:
        self.client = client

    def each(self, function: Callable[[T], R], things: Sequence[T], what: str, unit: str) -> list[R]:
        """Results of ``function`` on every thing, in the order of the things.

        A task that is lost with its worker is given to another one; the tasks that others have finished stay.

        Raises
        ------
        InputError
            What a task raised; or where the workers that took one of them died one after the other.
        """
        if self.client is None:
            return [function(thing) for thing in counted(things, what, unit)]
        as_completed = import_module("distributed").as_completed
        here = partial(_same_versions, versions(), function)
        futures = self.client.map(here, list(things), pure=False)
        found: dict[Any, R] = {}
        try:
            with progress(len(futures), what, unit) as bar:
                for future in as_completed(futures, loop=self.client.loop):
                    found[future.key] = self._result(future)
                    future.release()
                    bar.update()
        finally:
            self.client.cancel(futures)
        return [found[future.key] for future in futures]

    @staticmethod
    def _result(future: Any) -> Any:
        killed: type[Any] = import_module("distributed.scheduler").KilledWorker
        try:
            return future.result()
        except killed as e:
            fix = "Give fewer workers, so that each has more memory, or read the workers' logs; what is finished is kept"
            raise InputError("workers", f"several died over one task ({e.task})", fix) from None


def versions() -> dict[str, str]:
    """Versions that a worker must share with whoever gives it work."""
    return {name: importlib.metadata.version(name) for name in SAME}


def _same_versions(wanted: dict[str, str], function: Callable[[Any], Any], thing: Any) -> Any:
    """The function of a thing, on a worker."""
    own = versions()
    other = [f"{n} {own[n]}, where {v} gave the work" for n, v in wanted.items() if own[n] != v]
    if other:
        raise InputError(
            "scheduler", f"a worker has {'; '.join(other)}", "Install the same versions on all machines"
        )
    return function(thing)


@contextmanager
def opened_workers(count: int | None = None, scheduler: str | None = None) -> Iterator[Workers]:
    """Workers for the block: ``count`` processes of this machine, those of a scheduler, or none but this process.

    Raises
    ------
    InputError
        For both at once; without dask; for a scheduler that does not answer.
    """
    if count is None and scheduler is None:
        yield Workers()
        return
    if count is not None and scheduler is not None:
        fix = "Give the number for processes of this machine, or the address of a scheduler that has workers"
        raise InputError("workers", "given together with a scheduler", fix)
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise InputError(
            "workers", "dask distributed is not installed", "pip install 'mrinterp[cluster]'"
        ) from None
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as e:
            fix = "Give the address that `dask scheduler` printed, such as tcp://10.0.0.1:8786"
            raise InputError(
                "scheduler", f"{scheduler!r} does not answer ({type(e).__name__})", fix
            ) from None
        with client:
            yield Workers(client)
        return
    wanted = checked_count(count, "workers", most=1024)
    threads = str(max(1, (os.cpu_count() or 1) // wanted))
    more: dict[str, Any] = {"env": {"OMP_NUM_THREADS": threads}}
    # Files that are mapped count as a worker's memory: a limit would stop workers that hold nothing.
    more |= {"memory_limit": 0, "dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=wanted, threads_per_worker=1, processes=True, **more) as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        yield Workers(client)


def own_device(device: str) -> str:
    """On a worker, the device that it uses where it was asked to use ``device``: of several cards each takes its own."""
    if device != "cuda":
        return device
    import torch

    return device_of_worker(device, torch.cuda.device_count(), import_module("distributed").get_worker().name)


def take_own_card(device: str) -> None:
    """On a worker, passes on ``device`` use its own card from here on, in this thread."""
    if (own := own_device(device)) != device:
        import torch

        torch.cuda.set_device(own)


def device_of_worker(device: str, devices: int, name: Any) -> str:
    """The device of a worker that was asked to use ``device``: with several, one each, by the worker's number.

    Workers of a batch system, whose names are no numbers, see one device each already (``CUDA_VISIBLE_DEVICES``).
    """
    if device != "cuda" or devices < 2 or not str(name).isdigit():
        return device
    return f"cuda:{int(name) % devices}"
