"""Blocks cut to the length of their texts against blocks padded to the plan's length, on the shipped study.

    python benchmarks/speed/trimmed_blocks.py [--pairs 5] [--runs 1024] [--features 4] [--out benchmarks/results]

Both take turns inside one process, each on the same runs: the scan (`read_runs`), edited runs of a bench (`sweep`, begun
at the layer that is edited, and its clean pass), and the gradient. Times are CPU seconds, ratios medians of the pairs with
their quartiles. Differences are in standard deviations: of the outcome, and of each feature, over the same runs. Writes
``trimmed_blocks.md``. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from mrinterp.adapters._like_lengths import LikeLengths
from mrinterp.core.basis import Dictionary
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.models import _cut, _trimmed_runs
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._reader import read_runs
from mrinterp.study import Study

Numbers = dict[str, NDArray[np.float64]]
Work = Callable[[], Numbers]


def both(make: Callable[[], Work]) -> tuple[Work, Work]:
    """The same work on padded and on trimmed blocks."""
    found = []
    idle = _trimmed_runs.padding_is_idle
    for judge in (lambda *_: False, idle):
        _cut.padding_is_idle = _trimmed_runs.padding_is_idle = judge  # type: ignore[assignment]
        found.append(make())
    return found[0], found[1]


def row(words: str, works: tuple[Work, Work], pairs: int) -> str:
    """One line of the table."""
    padded, trimmed = (work() for work in works)
    gaps = {k: (np.abs(padded[k] - trimmed[k]).max(axis=0) / padded[k].std(axis=0)).max() for k in padded}
    seconds = np.array([[spent(work) for work in works] for _ in range(pairs)])
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0.25, 0.5, 0.75])
    shown = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
    first, second = np.median(seconds, axis=0)
    line = f"| {words} | {first:.2f} | {second:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) | {shown} |"
    print(line, flush=True)
    return line


def spent(work: Work) -> float:
    """CPU seconds of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def works(runs: int, features: int) -> dict[str, tuple[Work, Work]]:
    """What is timed, in words."""
    with TemporaryDirectory() as folder:
        study = Study.from_toml("minilm_sentiment", Path(folder) / "run")
        design, network = study._drawn_design(), study._bare_network
        directions = np.random.default_rng(0).standard_normal((48, network.width))
    rows = design.rows("estimation")[:runs]
    clean = design.runs["input"].to_numpy()[design.rows("knockout", ("clean",))]
    family = design.runs["family"].to_numpy()[design.rows("knockout", ("clean",))]
    write = np.linalg.pinv(directions).T
    names = tuple(f"f{i}" for i in range(48))
    dictionary = Dictionary(names=names, read=directions, write=write, center=np.zeros(network.width))

    def fresh() -> CutNetwork:
        viewed = replace(network).viewing(dictionary)
        _ = viewed.lengths
        return viewed

    def scan() -> Work:
        viewed = fresh()

        def work() -> Numbers:
            read = read_runs(viewed, design, rows)
            return {"outcome": read["outcome"], "features": read["features"]}

        return work

    def bench() -> Bench:
        inputs, outcome = network.inputs.take(clean), network.outcome.take(clean)
        return Bench(
            network.adapter,
            network.site,
            Directions(directions),
            inputs,
            outcome,
            position=network.position,
            family=family,
            block=64,
        )

    def swept() -> Work:
        made = bench()
        assert made.resumes
        arms, values = np.arange(features)[:, None], np.zeros((features, 1, made.prompts))
        return lambda: {"outcome": made.sweep(arms, values, "zero").outcome.transpose(1, 0, 2)[..., 0]}

    def cleaned() -> Work:
        def work() -> Numbers:
            made = bench()
            return {"outcome": made.clean, "features": made.values}

        return work

    def gradient() -> Work:
        viewed = fresh()
        prompts = design.runs["input"].to_numpy()[design.rows("estimation", ("clean",))]
        like = LikeLengths.of(viewed.lengths[prompts], 64)

        def work() -> Numbers:
            blocks = [viewed.gradient(prompts[b], None, int(like.length[b[0]])) for b in like.blocks(64)]
            return {"gradient": like.restored(blocks)[:, 0] @ write.T}

        return work

    lengths = LikeLengths.of(fresh().lengths[design.runs["input"].to_numpy()[rows]], 64)
    print(f"{len(lengths.groups)} groups of {min(map(len, lengths.groups))} runs or more")
    return {
        f"scan, {runs} runs": both(scan),
        f"sweep of {features} features, {len(clean)} prompts each": both(swept),
        f"clean pass of the bench, {len(clean)} prompts": both(cleaned),
        "gradient, 600 prompts": both(gradient),
    }


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1024)
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    lines = [row(words, w, given.pairs) for words, w in works(given.runs, given.features).items()]
    head = (
        "MiniLM, the shipped study (padded to 24 tokens, blocks of 64): CPU seconds, median of"
        f" {given.pairs} pairs.\n\n| work | padded | trimmed | ratio (quartiles) | largest difference, sd |\n"
        "|---|---|---|---|---|\n"
    )
    (given.out / "trimmed_blocks.md").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
