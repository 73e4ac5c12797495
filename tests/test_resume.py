"""A run survives: killed at any moment, it goes on and ends with the same bytes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from mrinterp.core.storage import digest_files

pytestmark = pytest.mark.needs("transformers")

KILLS = 20


def _run(study: Path, out: Path) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    from mrinterp.study import Study

    Study.from_toml(study, out).run()


def _start(study: Path, out: Path) -> multiprocessing.process.BaseProcess:
    """A forked process: the libraries are loaded already, so that kills land in the run itself."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(study, out))
    process.start()
    return process


def test_twenty_random_kills_end_in_the_same_bytes(tiny_study_file: Path, tmp_path: Path) -> None:
    import torch  # noqa: F401  loaded before the fork

    from mrinterp.models import network  # noqa: F401

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    start = time.perf_counter()
    process = _start(tiny_study_file, whole)
    process.join()
    assert process.exitcode == 0
    duration = time.perf_counter() - start
    rng = np.random.default_rng(0)
    kills, stages, aside = 0, set(), itertools.count()
    while kills < KILLS:
        if kills % 4 == 0 and broken.exists():
            # Let every fourth kill meet a young run: the others go on from where the last one stopped.
            broken.rename(tmp_path / f"aside-{next(aside)}")
        process = _start(tiny_study_file, broken)
        process.join(timeout=float(rng.uniform(0.05, 0.8) * duration))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            stages.add(tuple(sorted(p.name for p in broken.glob("*") if not p.name.startswith("."))))
        else:
            # Finished before the kill: compare, and start anew for the kills that are left.
            assert process.exitcode == 0
            assert digest_files(broken) == digest_files(whole)
            broken.rename(tmp_path / f"aside-{next(aside)}")
    process = _start(tiny_study_file, broken)
    process.join()
    assert process.exitcode == 0
    assert digest_files(broken) == digest_files(whole)
    assert len(stages) >= 3, f"kills landed in too few stages: {stages}"


def test_interrupt_says_how_to_go_on(tiny_study_file: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

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
