"""How many threads the linear algebra of a study uses: one, so that its stored bytes do not depend on the machine's count.

With several threads a sum is divided among them, and rounding (1e-13 of a number) depends on how many there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import scipy.linalg  # noqa: F401  its own copy of the library must be loaded before it can be limited
from threadpoolctl import threadpool_info, threadpool_limits

__all__ = ["blas_in_words", "one_blas_thread", "thread_counts"]

BLAS_THREADS = 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Linear algebra of numpy, scipy and scikit-learn on one thread; passes of the network keep torch's threads."""
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        yield


def thread_counts() -> dict[str, int]:
    """Threads of what is computed in a study: ``blas`` (`one_blas_thread`), and ``torch`` where it is loaded."""
    torch: Any = sys.modules.get("torch")
    return {"blas": BLAS_THREADS} | ({} if torch is None else {"torch": int(torch.get_num_threads())})


def blas_in_words() -> str:
    """The libraries of linear algebra that are loaded: name, version and kind of processor."""
    found = {
        " ".join(str(p[key]) for key in ("internal_api", "version", "architecture") if p.get(key))
        for p in threadpool_info()
        if p.get("user_api") == "blas"
    }
    return ", ".join(sorted(found))
