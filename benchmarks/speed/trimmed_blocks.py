"""Where a study's time goes: blocks cut to their texts, resumed passes, two-stage least squares, and the dry run's word.

    python benchmarks/speed/trimmed_blocks.py [--pairs 5] [--runs 1024] [--features 4] [--out benchmarks/results]

All on the shipped study, each way in turns inside one process, in CPU seconds; ratios are medians of the pairs with their
quartiles:

- blocks cut to the length of their texts against blocks padded to the plan's length, on the same runs: the scan
  (`read_runs`), edited runs of a bench (`sweep`, begun at kept activations of the layer that is edited), its clean pass,
  the gradient. Differences are in standard deviations: of the outcome, and of each feature, over the same runs;
- two-stage least squares by Cholesky against ``linearmodels``, on the study's own doses and made-up features;
- what the dry run says that scan and knockouts will cost, against what they cost.

Writes ``trimmed_blocks.md``. About four minutes of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from mrinterp.adapters._like_lengths import LikeLengths
from mrinterp.core.basis import Dictionary
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.models import _cut, _trimmed_runs
from mrinterp.models._cut import CutNetwork
from mrinterp.mr._runs import run_iv
from mrinterp.scan import _cost
from mrinterp.scan._reader import read_runs
from mrinterp.study import Study
from mrinterp.tables import from_arrays

FEATURES, BYPASS, KNOCKED_OUT = 48, 150, 4
"""Features, columns of the bypass beside them in two-stage least squares, and features knocked out for the dry run."""

Numbers = dict[str, NDArray[np.float64]]
Work = Callable[[], Numbers]


class Shipped:
    """The shipped study's runs, some of them, and what is done with them."""

    def __init__(self, runs: int, features: int) -> None:
        with TemporaryDirectory() as folder:
            self.study = Study.from_toml("minilm_sentiment", Path(folder) / "run")
            self.design, self.network = self.study._drawn_design(), self.study._bare_network
        own = self.design.rows("estimation")
        # Spread over the split: its first runs are those of a few templates.
        self.rows = own[np.linspace(0, len(own) - 1, runs).astype(int)]
        self.features, self.knocked = features, self.design.rows("knockout", ("clean",))

    @cached_property
    def dictionary(self) -> Dictionary:
        """Random directions in place of features."""
        directions = np.random.default_rng(0).standard_normal((FEATURES, self.network.width))
        names = tuple(f"f{i}" for i in range(FEATURES))
        center = np.zeros(self.network.width)
        return Dictionary(names=names, read=directions, write=np.linalg.pinv(directions).T, center=center)

    def fresh(self) -> CutNetwork:
        """The network, which has not seen yet whether padding is idle."""
        viewed = replace(self.network).viewing(self.dictionary)
        _ = viewed.lengths
        return viewed

    def bench(self) -> Bench:
        """The clean knockout prompts."""
        runs = self.design.runs
        clean = runs["input"].to_numpy()[self.knocked]
        return Bench(
            self.network.adapter,
            self.network.site,
            Directions(self.dictionary.read),
            self.network.inputs.take(clean),
            self.network.outcome.take(clean),
            position=self.network.position,
            family=runs["family"].to_numpy()[self.knocked],
            block=64,
        )

    def scan(self) -> Work:
        viewed = self.fresh()

        def work() -> Numbers:
            read = read_runs(viewed, self.design, self.rows)
            return {"outcome": read["outcome"], "features": read["features"]}

        return work

    def sweep(self) -> Work:
        made = self.bench()
        assert made.resumes
        arms, values = np.arange(self.features)[:, None], np.zeros((self.features, 1, made.prompts))
        return lambda: {"outcome": made.sweep(arms, values, "zero").outcome.transpose(1, 0, 2)[..., 0]}

    def clean(self) -> Work:
        judge = _trimmed_runs.padding_is_idle

        def work() -> Numbers:
            _trimmed_runs.padding_is_idle = judge  # type: ignore[assignment]
            made = self.bench()
            return {"outcome": made.clean, "features": made.values}

        return work

    def gradient(self) -> Work:
        viewed = self.fresh()
        prompts = self.design.runs["input"].to_numpy()[self.design.rows("estimation", ("clean",))]
        like = LikeLengths.of(viewed.lengths[prompts], 64)

        def work() -> Numbers:
            blocks = [viewed.gradient(prompts[b], None, int(like.length[b[0]])) for b in like.blocks(64)]
            return {"gradient": like.restored(blocks)[:, 0] @ self.dictionary.write.T}

        return work

    def works(self) -> dict[str, tuple[Work, Work]]:
        """What is timed padded and trimmed, in words."""
        each = f"{len(self.knocked)} prompts"
        return {
            f"scan, {len(self.rows)} runs": both(self.scan),
            f"resumed passes: {self.features} features, {each} each": both(self.sweep),
            f"clean pass of the bench, {each}": both(self.clean),
            "gradient, 600 prompts": both(self.gradient),
        }

    def two_stages(self) -> tuple[Work, Work]:
        """Two-stage least squares through ``linearmodels`` and by Cholesky, on the estimation split's doses."""
        rng, runs = np.random.default_rng(0), self.design.runs.iloc[self.design.rows("estimation")]
        doses = self.design.doses[self.design.rows("estimation")].astype(float)
        doses = doses[:, doses.std(axis=0) > 0]
        shared = rng.standard_normal((len(doses), FEATURES + BYPASS))
        moved = doses @ rng.standard_normal((doses.shape[1], FEATURES + BYPASS)) / 5 + shared
        outcome = moved @ rng.standard_normal(FEATURES + BYPASS) / 10 + shared.sum(axis=1) / 5
        panel = from_arrays(
            features=moved[:, :FEATURES],
            outcomes=outcome[:, None] + rng.standard_normal((len(doses), 1)),
            doses=doses,
            bypass=moved[:, FEATURES:],
            prompt=runs["prompt"].to_numpy(),
            family=runs["family"].to_numpy(),
            clean=(runs["kind"] == "clean").to_numpy(),
        )
        ours = run_iv._two_stages

        def work(way: Callable[..., object]) -> Numbers:
            run_iv._two_stages = way  # type: ignore[assignment]
            try:
                found = run_iv.tsls(panel)
            finally:
                run_iv._two_stages = ours
            return {"effects": found.beta, "errors": found.se}

        return (lambda: work(lambda *_: None)), (lambda: work(ours))

    def promised(self, pairs: int) -> list[str]:
        """Lines of the dry run's word against what is spent."""
        viewed, bench = self.fresh(), self.bench()
        few = bench.viewing(bench.view.select(np.arange(KNOCKED_OUT)))
        contrast = Contrast(levels=contrast_levels(few))
        runs = {
            "scan": len(self.rows),
            f"knockouts of {KNOCKED_OUT} features": 2 * KNOCKED_OUT * bench.prompts,
        }
        works = {
            "scan": lambda: read_runs(viewed, self.design, self.rows),
            f"knockouts of {KNOCKED_OUT} features": lambda: knock_out(few, contrast),
        }
        _cost.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[assignment]
        [*works.values()][1]()  # keeps activations, as a study does once
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        whole = []
        for _ in range(pairs):
            said = _cost.scan_cost(viewed, self.design, FEATURES, self.study.plan)
            full, part = (said[f"seconds_per_{kind}block"] / said["block"] for kind in ("", "edited_"))
            whole.append(full / part)
            for name, each in zip(works, (full, part), strict=True):
                found[name].append((each * runs[name], spent(works[name])))
        lines = []
        for name, pair in found.items():
            said, real = np.array(pair).T
            low, middle, high = np.quantile(said / real, [0.25, 0.5, 0.75])
            shown = f"{np.median(said):.2f} | {np.median(real):.2f} | {middle:.2f} ({low:.2f} to {high:.2f})"
            lines.append(f"| {name}, {runs[name]} runs | {shown} |")
        last = f"A run of the scan costs {np.median(whole):.1f} times a resumed one: so many times too much the dry run would"
        return [*lines, "", f"{last} say of knockouts if it took them for whole passes."]


def both(make: Callable[[], Work]) -> tuple[Work, Work]:
    """The same work on padded and on trimmed blocks."""
    found = []
    idle = _trimmed_runs.padding_is_idle
    for judge in (lambda *_: False, idle):
        _cut.padding_is_idle = _trimmed_runs.padding_is_idle = judge  # type: ignore[assignment]
        found.append(make())
    return found[0], found[1]


def row(words: str, works: tuple[Work, Work], pairs: int) -> str:
    """One line of a table: seconds of the first and of the second way, their ratio, how far their numbers part."""
    first, second = (work() for work in works)
    gaps = {}
    for name, x in first.items():
        gap, spread = np.abs(x - second[name]).max(axis=0), x.std(axis=0)
        gaps[name] = np.max(gap / np.where(spread > 0, spread, 1.0))
    seconds = np.array([[spent(work) for work in works] for _ in range(pairs)])
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0.25, 0.5, 0.75])
    shown = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
    one, two = np.median(seconds, axis=0)
    line = f"| {words} | {one:.2f} | {two:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) | {shown} |"
    print(line, flush=True)
    return line


def spent(work: Callable[[], object]) -> float:
    """CPU seconds of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1024)
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    shipped = Shipped(given.runs, given.features)
    trimmed = [row(words, works, given.pairs) for words, works in shipped.works().items()]
    stages = row(f"{FEATURES} features, {BYPASS} of the bypass", shipped.two_stages(), min(given.pairs, 3))
    promised = shipped.promised(min(given.pairs, 2))
    print("\n".join(promised))
    lines = [
        "# Time",
        "",
        f"`python benchmarks/speed/trimmed_blocks.py --pairs {given.pairs} --runs {given.runs}`: MiniLM, the shipped study, blocks of 64, CPU seconds, median of {given.pairs} pairs of {given.runs} runs.",
        "Padded to the plan's 24 tokens, and cut to the longest text of a group of like length:",
        "",
        "| work | padded | trimmed | ratio (quartiles) | largest difference, sd |",
        "|---|---|---|---|---|",
        *trimmed,
        "",
        "Two-stage least squares on the study's doses (estimation split), through `linearmodels` and by Cholesky:",
        "",
        "| columns | linearmodels | Cholesky | ratio (quartiles) | largest difference, sd over features |",
        "|---|---|---|---|---|",
        stages,
        "",
        "What the dry run says, and what is spent:",
        "",
        "| work | said | spent | said over spent (quartiles) |",
        "|---|---|---|---|",
        *promised,
    ]
    (given.out / "trimmed_blocks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
