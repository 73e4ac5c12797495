"""A run survives: killed at any moment, it goes on and ends with the same bytes."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.inputs.input_nets import MORE, write_input_study
from tests.study.damages import undrawn
from tests.study.killed_runs import kill_at_random, two_writers
from tests.study.study_kinds import write_study

pytestmark = pytest.mark.needs("transformers")

KILLS = 4


def test_random_kills_end_in_the_same_bytes(tiny_encoder: Path, tmp_path: Path) -> None:
    """A hundred of them, of a larger study, figures and page drawn: ``benchmarks/kills.py``."""
    path = write_study(tmp_path, tiny_encoder)
    with undrawn():  # drawing is most of the time of a study as small as this
        kills, stages, _ = kill_at_random(path, tmp_path, KILLS)
        assert kills == KILLS
        assert len(stages) >= 3, f"kills landed in too few stages: {stages}"
        assert two_writers(path, tmp_path / "race", tmp_path / "whole") in ((1, 1), (2, 0))


@pytest.mark.parametrize("kind", ["tokens", "images"])
def test_random_kills_of_studies_on_arrays_end_in_the_same_bytes(kind: str, tmp_path: Path) -> None:
    few = {k: {"runs_per_prompt": int(k in ("substitution", "occlusion"))} for k in MORE[kind]}
    few |= {"noise": {"runs_per_prompt": 2, "directions_per_class": 2}, "placebo": {"count": 1}}
    small: dict[str, Any] = {
        "instruments": few,
        "inputs": {"per_family": 1},
        "features": {"units": [0]},
        "model": {"block": 16},
        "estimation": {"max_rank": 1, "runs_per_column": 2},
        "knockouts": {"families": 10, "prompts_per_family": 1, "random_controls": 0, "kinds": ["mean"]},
    }
    with undrawn():
        # With this seed one kill meets a young run, the other its continuation.
        kills, stages, _ = kill_at_random(write_input_study(tmp_path, kind, **small), tmp_path, 2, seed=11)
    assert kills == 2
    assert len(stages) == 2, f"both kills landed in one stage: {stages}"


def test_interrupt_says_how_to_go_on(tiny_study_file: Path, tmp_path: Path) -> None:
    import subprocess

    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "mrinterp", "run", str(tiny_study_file), "--out", str(out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A runner may have started us with interrupts ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (out / "design").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130, error
    assert "the same command goes on from there" in error
    assert "Traceback" not in error
