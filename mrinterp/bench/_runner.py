"""Every method on every world, one file each: resumable, the same bytes again, then the board."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import torch

from mrinterp.bench._access import halves
from mrinterp.bench._board import board_of
from mrinterp.bench._evaluation import checked_commitment, evaluation_log, evaluation_seeds, log_evaluation
from mrinterp.bench._method import Answer, Method
from mrinterp.bench._method_table import bench_methods
from mrinterp.bench._scores import score_answer
from mrinterp.core.checks import checked_choice, checked_count, checked_names
from mrinterp.core.errors import DamagedError, InputError
from mrinterp.core.shown import progress
from mrinterp.core.storage import digest_files, read_json, rounded, to_plain, write_json
from mrinterp.core.threads import one_blas_thread
from mrinterp.results._check import NotApplicable
from mrinterp.results._leaderboard import Leaderboard, Size
from mrinterp.worlds._families import world_families
from mrinterp.worlds._world import World

__all__ = ["run_bench"]

SEEDS = {"quick": 2, "full": 20}
RERUN = {"quick": 1, "full": 5}
"""Worlds of each family whose methods are run once more on either half of the families: it doubles their cost."""

NOT_RERUN = "not run a second time on this world"


@dataclass(frozen=True)
class _Job:
    """One world with the methods that are to be run on it; small, so that it can be sent to another process."""

    family: str
    seed: int
    small: bool
    rerun: bool
    methods: tuple[str, ...]
    out: Path
    size: str
    made_with: str

    def path(self, method: str) -> Path:
        """File of one answer."""
        name = re.sub(r"[^\w.-]+", "_", self.family).strip("_")
        return self.out / "answers" / name / f"seed_{self.seed}" / f"{method}.json"

    @property
    def left(self) -> tuple[str, ...]:
        """Methods without a finished file made with this very source."""
        return tuple(m for m in self.methods if not self._done(m))

    def _done(self, method: str) -> bool:
        path = self.path(method)
        if not path.is_file():
            return False
        try:
            found = read_json(path)
        except DamagedError:
            return False
        return bool(
            found["made_with"] == self.made_with
            and found["rerun"] == self.rerun
            and found["size"] == self.size
        )


def run_bench(
    methods: Sequence[str] | str | None = None,
    families: Sequence[str] | str | None = None,
    size: str = "quick",
    *,
    seeds: int | None = None,
    out: str | Path = "runs/bench",
    jobs: int = 1,
    evaluation: str | Path | None = None,
    own: Sequence[Method] = (),
) -> Leaderboard:
    """Run methods on worlds whose causes are known, and score them.

    Parameters
    ----------
    methods : sequence of str, optional
        Names (`bench_methods` has them all); default all of them, and those of ``own``.
    families : sequence of str, optional
        Families of worlds (`mrinterp.worlds.world_families`), one by one or several in one with commas between; default all development families, ``quick`` without those whose networks are trained
        first or real: these take minutes each.
    size : {"quick", "full"}
        ``quick``: small worlds, 2 seeds a family; ``full``: worlds of full size, 20 seeds.
    seeds : int, optional
        Worlds per family in place of these: seeds 0 to ``seeds - 1``, the same ones for every method.
    out : path
        Folder with one file per world and method. Finished ones are found again by a later call with the same source.
    jobs : int
        Processes, each with worlds of its own.
    evaluation : path, optional
        File of the commitment (`commitment`): runs the evaluation families in place of the development ones, on seeds that
        follow from it. Logged beside it before it begins. It is spent once: methods must not be changed after a look.
    own : sequence of Method
        Methods of your own beside the known ones; they need ``jobs=1``.

    Returns
    -------
    Leaderboard
        Scores with intervals, differences to the default on the same worlds, and why cells are empty.

    Raises
    ------
    InputError
        For unknown methods or families, an evaluation family without ``evaluation``, a commitment that does not fit the
        families, or several jobs for methods of one's own.

    Notes
    -----
    Same source, same bytes: nothing that is stored depends on the clock or on what was run before. Not valid as evidence for
    a method whose settings were chosen after a look at these scores: that is what evaluation families are for.

    Examples
    --------
    >>> import tempfile
    >>> import mrinterp
    >>> board = mrinterp.bench.run_bench(["within", "ivw"], "linear network", seeds=1, out=tempfile.mkdtemp())
    >>> float(board["within", "fdr"].value)
    0.0
    """
    size = checked_choice(size, "size", get_args(Size))
    known = {**bench_methods(), **{m.name: m for m in own}}
    names = checked_names(list(known) if methods is None else methods, "methods", list(known))
    if own and checked_count(jobs, "jobs") > 1:
        raise InputError(
            "jobs", f"{jobs} with methods of your own", "Give jobs=1: they cannot be sent to other processes"
        )
    made_with, committed = (
        _source(),
        None if evaluation is None else checked_commitment(evaluation)["commitment"],
    )
    chosen = _families(families, committed is not None, size)
    count = SEEDS[size] if seeds is None else checked_count(seeds, "seeds")
    if committed is not None and evaluation is not None:
        log_evaluation(evaluation, committed, names, {"families": list(chosen), "size": size, "seeds": count})
    work = [
        _Job(family, seed, size == "quick", i < RERUN[size], names, Path(out), size, made_with)
        for family in chosen
        for i, seed in enumerate(
            range(count) if committed is None else evaluation_seeds(committed, family, count)
        )
    ]
    _run(work, known, jobs)
    cells = [read_json(job.path(m)) for job in work for m in names]
    log = [] if evaluation is None else evaluation_log(evaluation)
    about = {f.name: f.about for f in world_families().values() if f.name in chosen}
    board = board_of(cells, [known[m] for m in names], about, size=size, seeds=count, log=log)
    return replace(board, meta=board.meta | {"source": made_with})


@cache
def _source() -> str:
    """Digest of all source of the package: answers of another one are not taken for this one's."""
    folder = Path(__file__).parents[1]
    return digest_files(folder, sorted(str(p.relative_to(folder)) for p in folder.rglob("*.py")))


def _families(given: Sequence[str] | str | None, evaluated: bool, size: str) -> tuple[str, ...]:
    part = "evaluation" if evaluated else "development"
    every = world_families()
    allowed = [n for n, f in every.items() if f.part == part]
    asked = [given] if isinstance(given, str) else list(given or [])
    # Several in one, with commas between; some families have a comma in their own name.
    asked = [n.strip() for text in asked for n in ([text] if text in every else text.split(","))]
    other = [n for n in asked if n in every and n not in allowed]
    if other:
        fix = "They are run once, at the end: with evaluation=<file of the commitment>, and alone"
        raise InputError(f"families: {other[0]!r}", f"a family for {every[other[0]].part}", fix)
    # Networks that are trained first, and real ones, take minutes each: `quick` leaves them to those who name them.
    usual = [n for n in allowed if size == "full" or not every[n].trained]
    return checked_names(asked or usual, "families", allowed)


def _run(work: Sequence[_Job], known: Mapping[str, Method], jobs: int) -> None:
    """Run what is not finished, with a bar over answers."""
    left = [(job, job.left) for job in work]
    left = [(job, methods) for job, methods in left if methods]
    with progress(sum(len(m) for _, m in left), "bench", "answer") as bar:
        if jobs == 1:
            for job, methods in left:
                for _ in _answers(job, methods, known):
                    bar.update()
            return
        pool = ProcessPoolExecutor(jobs, get_context("spawn"))
        try:
            for done in as_completed([pool.submit(_whole, job, methods) for job, methods in left]):
                bar.update(done.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _whole(job: _Job, methods: tuple[str, ...]) -> int:
    """All answers of one world, in a process of its own."""
    return sum(1 for _ in _answers(job, methods, bench_methods()))


def _answers(job: _Job, methods: tuple[str, ...], known: Mapping[str, Method]) -> Any:
    """Make the world, and answer, score and store by every method in turn."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a network's sums may depend on their number
    try:
        with one_blas_thread():
            world = _world(job)
            parts = (
                halves(world, job.seed)
                if job.rerun and isinstance(world, World)
                else NotApplicable(NOT_RERUN)
            )
            for name in methods:
                cell = _cell(world, parts, known[name], job)
                write_json(job.path(name), rounded(to_plain(cell)))
                yield name
    finally:
        torch.set_num_threads(threads)


def _world(job: _Job) -> World | NotApplicable:
    try:
        return world_families()[job.family].make(job.seed, job.small, job.out / "networks")
    except InputError as e:
        return NotApplicable(f"the world could not be made: {e}", job.family)


def _asked(method: Method, world: World, seed: int) -> Answer | NotApplicable:
    """What a method answers; bad input is an answer too: it does not apply, and says why."""
    try:
        return method.run(world, seed)
    except InputError as e:
        return NotApplicable(f"refused: {e.where}: {e.found}", method.name)


def _cell(
    world: World | NotApplicable, parts: tuple[World, World] | NotApplicable, method: Method, job: _Job
) -> dict[str, Any]:
    """What is stored of one method on one world."""
    made: dict[str, Any] = {"family": job.family, "seed": job.seed, "size": job.size, "rerun": job.rerun}
    made |= {
        "method": method.name,
        "made_with": job.made_with,
        "why": "",
        "scores": {},
        "why_not": {},
        "answer": None,
    }
    if isinstance(world, NotApplicable):
        return made | {"why": world.reason}
    found = _asked(method, world, job.seed)
    if isinstance(found, NotApplicable):
        return made | {"why": found.reason}
    again: Any = parts.reason if isinstance(parts, NotApplicable) else None
    if not isinstance(parts, NotApplicable):
        # Another seed too: what a method draws is drawn anew when a person runs it again.
        both = [_asked(method, part, job.seed + k) for k, part in enumerate(parts, start=1)]
        refused = [b.reason for b in both if isinstance(b, NotApplicable)]
        again = refused[0] if refused else tuple(b.causal for b in both if isinstance(b, Answer))
    scores = score_answer(world, method, found, again)
    return made | {
        "scores": {k: v for k, v in scores.items() if not isinstance(v, str)},
        "why_not": {k: v for k, v in scores.items() if isinstance(v, str)},
        "answer": found.to_dict(),
    }
