"""What a new user types for token arrays, images and a table: fifteen lines at most, and checked as it stands."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from mrinterp.study import Study

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "new_user" / "inputs.py"))


@pytest.mark.parametrize("kind", sorted(SCRIPT["STUDIES"]))
def test_the_first_study_passes_its_checks_as_it_is_typed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a network that is hardly trained, and a third of the inputs: `benchmarks/new_user/inputs.py` runs it to its page."""
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    path, _ = SCRIPT["prepare"](kind, tmp_path, steps=2, families=48)
    assert len([line for line in path.read_text().splitlines() if line.strip()]) <= 15
    study = Study.from_toml(path, tmp_path / "run", allow_code=True)
    study.check_before()
    cost = study.cost()
    assert cost["runs"] > 1000
    assert not (tmp_path / "run").exists()
