"""A killed search goes on where it was, to the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from tests.abstraction.searched_alignment import BOTH, NETWORK, SOURCE, search


def test_a_killed_search_goes_on_and_another_search_starts_anew(tmp_path: Path) -> None:
    """The second call finds all starts and all shards but one on disk, and writes only that one."""
    options = {"steps": 40, "starts": 2, "folder": tmp_path, "block": 32, "random_network": False}
    first = search(**options)
    shards = sorted(tmp_path.glob("interchange-*/shard-*.npz"))
    assert len(shards) > 4
    shards[0].unlink()
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")}
    again = search(**options)
    assert times == {p: p.stat().st_mtime_ns for p in times}
    np.testing.assert_array_equal(again.losses, first.losses)
    for variable in BOTH:
        np.testing.assert_array_equal(again.rotation[variable], first.rotation[variable])
        held, before = again.held_out[variable], first.held_out[variable]
        np.testing.assert_array_equal(held.hits, before.hits)
        np.testing.assert_array_equal(held.arms["read_back"], before.arms["read_back"])
    search(**{**options, "seed": 1})
    assert len(list(tmp_path.glob("start-*.npz"))) == 4


class _Killed(TorchAdapter):
    """Counts steps of descent (edited runs that record gradients), and is killed at one of them."""

    steps, last = 0, -1

    def run(self, inputs: Any, read: Any = (), write: Any = None) -> Any:
        if write and torch.is_grad_enabled():
            self.steps += 1
            if self.steps == self.last:
                raise KeyboardInterrupt
        return super().run(inputs, read, write)


def test_a_kill_costs_the_start_that_it_hits_and_no_other(tmp_path: Path) -> None:
    given = {
        "dimensions": {"left": 1},
        "source": SOURCE[:, 0],
        "steps": 20,
        "starts": 4,
        "random_network": False,
    }
    whole = search(**given)
    killed = _Killed(NETWORK)
    killed.last = 2 * 20 + 11
    with pytest.raises(KeyboardInterrupt):
        search(killed, folder=tmp_path, **given)
    assert len(list(tmp_path.glob("start-*.npz"))) == 2
    again = _Killed(NETWORK)
    found = search(again, folder=tmp_path, **given)
    assert again.steps == 2 * 20
    assert found.rotation["left"].tobytes() == whole.rotation["left"].tobytes()
    assert found.losses.tobytes() == whole.losses.tobytes()
    assert str(found) == str(whole)
    more = _Killed(NETWORK)
    search(more, folder=tmp_path, **{**given, "starts": 5})
    assert more.steps == 20, "another start costs that start only"
