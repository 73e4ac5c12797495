"""Progress bars: one for each piece of work, one for each stage of a study, at terminals and in notebooks."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mrinterp.core import shown
from mrinterp.core.shown import counted, progress, stage_progress


class _Recorded:
    """Stands for a bar of tqdm."""

    made: list[_Recorded]

    def __init__(self, total: int, desc: str, unit: str, smoothing: float, **quiet: Any) -> None:
        self.total, self.done, self.said, self.open, self.quiet = total, 0, [desc], True, quiet
        type(self).made.append(self)

    def update(self, count: int) -> None:
        self.done += count

    def set_description(self, said: str) -> None:
        self.said.append(said)

    def close(self) -> None:
        self.open = False


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[_Recorded]:
    import tqdm.auto

    _Recorded.made = []
    monkeypatch.setattr(tqdm.auto, "tqdm", _Recorded)
    return _Recorded.made


def test_every_piece_of_work_has_its_bar(bars: list[_Recorded]) -> None:
    with progress(5, "scan", "run") as bar:
        bar.update(3)
        bar.update()
    assert list(counted([1, 2], "methods")) == [1, 2]
    assert [(b.total, b.done, b.open) for b in bars] == [(5, 4, False), (2, 2, False)]


def test_a_stage_has_one_bar(bars: list[_Recorded]) -> None:
    with stage_progress("knockouts"):
        with progress(5, "shift", "run") as bar:
            bar.update(5)
        assert bars[0].open
        assert len(list(counted([1, 2], "knockouts"))) == 2
    assert [(b.total, b.done, b.open) for b in bars] == [(7, 7, False)]
    assert bars[0].said == ["knockouts: shift", "knockouts: shift", "knockouts"]
    with stage_progress("report"):
        pass
    assert len(bars) == 1, "a stage without work that is counted shows none"


def test_bars_are_shown_at_terminals_and_in_notebooks(
    bars: list[_Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress(1, "a"):
        pass
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with progress(1, "b"):
        pass
    assert [b.quiet for b in bars] == [{"disable": None, "delay": 0.0}, {"delay": 0.0}]
    assert shown._in_notebook()
