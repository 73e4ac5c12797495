"""Freed memory stays with the process: pages are counted, which is the same however busy the machine is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mrinterp.adapters._freed_memory import CHOSEN

CODE = """
import resource
import numpy as np
from mrinterp.adapters._freed_memory import keep_freed_memory

def asked():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [np.ones(1 << 17) for _ in range(20)]  # 20 activations of a megabyte
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

asked()
first = asked()
keep_freed_memory()
asked()
print(first, asked())
"""


def pages(**environment: str) -> tuple[int, int]:
    """Pages asked for before and after the call, 10 rounds of 5,120 each."""
    unset = {k: v for k, v in os.environ.items() if k not in CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**unset, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, done.stdout.split())
    return before, after


@pytest.mark.needs("glibc")
def test_freed_memory_is_not_asked_for_again() -> None:
    before, after = pages()
    assert before > 10_000
    assert after < 100


@pytest.mark.needs("glibc")
def test_what_the_user_has_set_stands() -> None:
    _, after = pages(MALLOC_TRIM_THRESHOLD_="131072")
    assert after > 10_000
