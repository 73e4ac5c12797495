"""Have the C library keep the memory of freed activations for the next run."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of the two settings in glibc's malloc.h."""
KEPT, LARGEST = 1 << 30, 1 << 25
"""Bytes kept free at the top of the heap, and the largest block that comes from the heap (glibc's own maximum)."""
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables by which a user sets the thresholds; where one is set, nothing is changed."""


@cache
def keep_freed_memory() -> None:
    """Make room for activations once a process, not once a run.

    By default glibc hands freed memory back to the system as soon as some megabytes are free, so that a run
    asks for its activations' memory again, page by page. That costs bare runs, runs with edits and runs
    that keep what they read a different share each, from process to process (`benchmarks/hook_cost.py`
    counts the pages). Up to 1 GiB of freed memory stays with the process instead. Does nothing without
    glibc, or where the environment sets glibc's thresholds itself.

    Notes
    -----
    Source: the manual page mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in CHOSEN):
        return
    library = ctypes.CDLL(None)
    library.mallopt(TRIM_THRESHOLD, KEPT)
    library.mallopt(MMAP_THRESHOLD, LARGEST)
