"""Runs that are killed without warning, and runs that meet in one folder."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

from mrinterp.core.errors import InputError
from tests.study.damages import digest_with_sums
from tests.warm_cli import import_everything

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
"""What a run does to its folder, as the interpreter's audit hooks see it."""
REFUSED = 3


def _run(study: Path, out: Path, kill_at: int, said: Path) -> None:
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
    try:
        Study.from_toml(study, out, allow_code=True).run()
    except InputError as e:
        said.write_text(str(e))
        os._exit(REFUSED)
    said.write_text(str(next(seen) - 1))


def started(*arguments: object) -> multiprocessing.process.BaseProcess:
    """`_run` in a forked process: all that a run imports is loaded already, so that it is quick."""
    import_everything()
    process = multiprocessing.get_context("fork").Process(target=_run, args=arguments)
    process.start()
    return process


def _in_a_fork(*arguments: object) -> int | None:
    process = started(*arguments)
    process.join()
    return process.exitcode


def kill_at_random(
    study: Path, folder: Path, kills: int, seed: int = 0, minutes: float = math.inf
) -> tuple[int, set[tuple[str, ...]], int]:
    """Kill runs of a study, go on with them, and compare every one that ends with a run that nobody killed.

    The count is kept in the folder: more kills go on from there.

    Parameters
    ----------
    minutes : float
        After which no other kill is begun.

    Returns
    -------
    kills, stages, ended
        How many were killed, what their folders held by then, and how many went on to their end.
    """
    whole, broken, said, kept = (folder / name for name in ("whole", "broken", "said", "kills.json"))
    until = time.monotonic() + 60 * minutes
    if not kept.exists():
        shutil.rmtree(whole, ignore_errors=True)
        assert _in_a_fork(study, whole, 0, said) == 0, said.read_text()
        first = {"events": int(said.read_text()), "killed": 0, "ended": 0, "stages": []}
        kept.write_text(json.dumps(first))
    tally = json.loads(kept.read_text())
    assert tally["events"] > 100
    while tally["killed"] < kills and time.monotonic() < until:
        if tally["killed"] % 4 == 0:
            # Every fourth kill meets a young run; the others go on from where the last one stopped.
            shutil.rmtree(broken, ignore_errors=True)
        rng = np.random.default_rng([seed, tally["killed"], tally["ended"]])
        code = _in_a_fork(study, broken, int(rng.integers(1, tally["events"])), said)
        if code == -signal.SIGKILL:
            tally["killed"] += 1
            tally["stages"].append(sorted(p.name for p in broken.glob("*") if not p.name.startswith(".")))
        else:
            # It was finished before that event: compare, and start anew for the kills that are left.
            _ended(code, broken, whole, said)
            tally["ended"] += 1
        kept.write_text(json.dumps(tally))
    _ended(_in_a_fork(study, broken, 0, said), broken, whole, said)
    return tally["killed"], set(map(tuple, tally["stages"])), tally["ended"] + 1


def _ended(code: int | None, broken: Path, whole: Path, said: Path) -> None:
    """Hold a run that went on to its end against one that nobody killed."""
    assert code == 0, said.read_text()
    assert digest_with_sums(broken) == digest_with_sums(whole)
    shutil.rmtree(broken)


def two_writers(study: Path, out: Path, whole: Path) -> tuple[int, int]:
    """Start two processes on one folder: how many finished with a whole run's bytes, how many were refused."""
    said = [out.with_name(f"{out.name}-said{i}") for i in range(2)]
    both = [started(study, out, 0, s) for s in said]
    for process in both:
        process.join()
    codes = [p.exitcode for p in both]
    assert set(codes) <= {0, REFUSED}, codes
    for process, code, words in zip(both, codes, said, strict=True):
        other = both[0] if process is both[1] else both[1]
        assert code == 0 or f"process {other.pid} on" in words.read_text(), words.read_text()
    assert digest_with_sums(out) == digest_with_sums(whole)
    return codes.count(0), codes.count(REFUSED)
