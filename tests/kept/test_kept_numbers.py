"""No number moves unnoticed: what estimators, loci, statistics and knockouts gave when they agreed with their references.

A change that moves numbers on purpose is kept with ``python -m tests.kept.test_kept_numbers [ROOM ...]``, which prints
everything that moved: it belongs into the message of the commit.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.kept import coloc, edges, mr, networks, reading, stats
from tests.kept.numbers import moved, numbers, read, write

ROOMS: dict[str, Callable[[], dict[str, Callable[[], Any]]]] = {
    "coloc": coloc.cases,
    "edges": edges.cases,
    "mr": mr.cases,
    "networks": networks.cases,
    "reading": reading.cases,
    "stats": stats.cases,
}


@cache
def _kept(room: str) -> dict[str, dict[str, list[float]]]:
    return read(room)


@cache
def _cases(room: str) -> dict[str, Callable[[], Any]]:
    return ROOMS[room]()


def _now(case: Callable[[], Any]) -> dict[str, list[float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return numbers(case())


@pytest.mark.parametrize(
    ("room", "case"),
    [pytest.param(room, case, id=f"{room}, {case}") for room in ROOMS for case in read(room)],
)
def test_numbers_are_as_they_were(room: str, case: str) -> None:
    assert moved(_kept(room)[case], _now(_cases(room)[case])) == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_case_is_kept(room: str) -> None:
    assert set(_cases(room)) == set(_kept(room))
    assert all(_kept(room).values()), "a case without a number shows nothing"


def test_what_moved_is_named() -> None:
    before = {"beta": [1.0, float("nan")], "se": [0.5], "gone": [1.0]}
    now = {"beta": [1.0, 2.0], "se": [0.5 * (1 + 1e-8)], "new": [1.0]}
    assert moved(before, now) == ["beta[1]: nan became 2", "gone: was there", "new: is new"]
    sign = moved({"beta": [1e-7, 3.0]}, {"beta": [-1e-7, 3.0]})
    assert sign == ["beta[0]: 1e-07 became -1e-07"]
    rng = np.random.default_rng(0)
    long = rng.standard_normal(200)
    turned = np.where(np.arange(200) == 7, -long, long)
    assert moved(numbers({"x": long}), numbers({"x": turned}))


def main(rooms: list[str]) -> None:
    """Keep the numbers of these rooms as they are now, and print what moved."""
    for room in rooms or sorted(ROOMS):
        before, found = read(room), {name: _now(case) for name, case in ROOMS[room]().items()}
        write(room, found)
        for name in found:
            for line in (
                moved(before.get(name, {}), read(room)[name])
                if name in before
                else ["kept for the first time"]
            ):
                print(f"{room}, {name}: {line}")


if __name__ == "__main__":
    main(sys.argv[1:])
