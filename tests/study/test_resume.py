"""A run survives: killed at any moment, it goes on and ends with the same bytes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mrinterp.core.storage import digest_files

pytestmark = pytest.mark.needs("transformers")

KILLS = 20


EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
"""What a run does to its folder, as the interpreter's audit hooks see it."""


def _run(study: Path, out: Path, kill_at: int, count: Path) -> None:
    """Run the study; die without warning at the given event on the run folder (0: never)."""
    import torch

    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    from mrinterp.study import Study

    seen = itertools.count(1)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and arguments and str(arguments[0]).startswith(str(out)) and next(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    Study.from_toml(study, out).run()
    count.write_text(str(next(seen) - 1))


def _in_a_fork(*arguments: object) -> int | None:
    """Exit code of `_run` in a forked process: the libraries are loaded already, so that it is quick."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def test_twenty_random_kills_end_in_the_same_bytes(tiny_study_file: Path, tmp_path: Path) -> None:
    import torch  # noqa: F401  loaded before the fork

    from mrinterp.models import _plan_network  # noqa: F401

    whole, broken, count = tmp_path / "whole", tmp_path / "broken", tmp_path / "count"
    assert _in_a_fork(tiny_study_file, whole, 0, count) == 0
    events = int(count.read_text())
    assert events > 100
    rng = np.random.default_rng(0)
    kills, stages, aside = 0, set(), itertools.count()
    while kills < KILLS:
        if kills % 4 == 0 and broken.exists():
            # Every fourth kill meets a young run; the others go on from where the last one stopped.
            broken.rename(tmp_path / f"aside-{next(aside)}")
        code = _in_a_fork(tiny_study_file, broken, int(rng.integers(1, events)), count)
        if code == -signal.SIGKILL:
            kills += 1
            stages.add(tuple(sorted(p.name for p in broken.glob("*") if not p.name.startswith("."))))
        else:
            # It was finished before that event: compare, and start anew for the kills that are left.
            assert code == 0
            assert digest_files(broken) == digest_files(whole)
            broken.rename(tmp_path / f"aside-{next(aside)}")
    assert _in_a_fork(tiny_study_file, broken, 0, count) == 0
    assert digest_files(broken) == digest_files(whole)
    assert len(stages) >= 3, f"kills landed in too few stages: {stages}"


def test_interrupt_says_how_to_go_on(tiny_study_file: Path, tmp_path: Path) -> None:
    import subprocess

    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "mrinterp.cli", "run", str(tiny_study_file), "--out", str(out)],
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
