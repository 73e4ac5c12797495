"""Have the C library keep the memory of freed activations for the next run."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["keep_freed_memory"]

LARGEST = 31 << 20
"""Bytes: just below the size from which glibc no longer learns (32 MiB)."""


@cache
def keep_freed_memory() -> None:
    """Make room for activations once a process, not once a run.

    glibc gives the free top of its heap back to the system once it exceeds twice the largest block that was
    ever mapped and freed. With activations of a few megabytes a run stands just at that limit: in about half
    of all processes every run with edits then asks the system for its memory again, page by page, which made
    runs 10 to 17% slower (`benchmarks/knockout_speed.py`). One large block, freed unused, lifts the limit to
    62 MiB. Elsewhere than in glibc this does nothing.

    Notes
    -----
    Source: the manual page mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    np.empty(LARGEST, dtype=np.uint8)
