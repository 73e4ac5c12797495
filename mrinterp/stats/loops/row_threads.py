"""Rows of independent work on the processor's cores: plain threads around compiled loops that release the lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

__all__ = [
    "by_rows",
]


def row_threads() -> int:
    """Cores this process may use; ``OMP_NUM_THREADS`` and ``NUMBA_NUM_THREADS`` lower it."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = [os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")]
    return max(1, min([here, *(int(a) for a in asked if a.isdigit())]))


def by_rows(work: Callable[[int, int], None], rows: int, least: int = 1) -> None:
    """Call ``work(first, last)`` on consecutive ranges that cover ``rows``, several at a time.

    Parameters
    ----------
    work : callable
        Writes results of rows first to last - 1 and reads no other row's, so that the number of
        threads changes nothing.
    rows, least : int
        How many there are, and the fewest that are worth a thread.
    """
    threads = max(1, min(row_threads(), rows // max(least, 1)))
    if threads == 1:
        work(0, rows)
        return
    parts = min(4 * threads, max(1, rows // max(least, 1)))
    edges = [rows * k // parts for k in range(parts + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, a, b) for a, b in pairwise(edges)]:
            done.result()
