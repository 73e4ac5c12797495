"""Blocks of work, kept in shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.scan._reader import SHARD_BLOCKS, sharded


def squares(done: list[int], folder: Path | None) -> NDArray:
    """Squares of 100 numbers in blocks of 3; blocks that were computed are noted."""

    def work(a: int, b: int) -> dict[str, NDArray]:
        done.append(a)
        return {"square": np.arange(a, b) ** 2}

    return sharded(100, 3, work, folder, "squares")["square"]


def test_finished_shards_are_read_not_made_again(tmp_path: Path) -> None:
    first, again = [], []
    assert np.array_equal(squares(first, tmp_path), np.arange(100) ** 2)
    (tmp_path / "shard-00001.npz").unlink()
    assert np.array_equal(squares(again, tmp_path), np.arange(100) ** 2)
    assert again == [a for a in first if a // (3 * SHARD_BLOCKS) == 1]


@pytest.mark.parametrize("harm", ["empty", "cut short", "words", "a bit"])
def test_a_damaged_shard_is_named(tmp_path: Path, harm: str) -> None:
    squares([], tmp_path)
    path = tmp_path / "shard-00001.npz"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(
        {"empty": b"", "cut short": bytes(whole[:200]), "words": b"words", "a bit": bytes(whole)}[harm]
    )
    with pytest.raises(InputError, match=r"shard-00001\.npz.*damaged.*[Dd]elete this file"):
        squares([], tmp_path)
