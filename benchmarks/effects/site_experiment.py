"""The randomized experiment at a site against one at a time: error at equal runs, and coverage of its intervals.

    python benchmarks/effects/site_experiment.py [--worlds 200] [--minilm] [--run runs/minilm_sentiment]

Writes ``benchmarks/results/site_experiment.md``. The simulations take about two minutes of one core. ``--minilm`` also runs
the shipped sentence encoder with yes-or-no outcomes of one draw a run (some 11,000 runs; two minutes of one core beside the study's discovery).
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.site_experiment import site_experiment
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.stats.clustered.joint_effects import (
    Jackknifed,
    jackknifed_mean,
    joint_effects,
    random_settings,
)
from mrinterp.stats.tests.tails import critical_value
from mrinterp.study import Study

HERE = Path(__file__).parents[1]
K, FAMILIES, PROMPTS, RUNS = 48, 50, 4, 48
"""Features, families, prompts of each, runs of each prompt: 9,600 runs, 100 for high and for low of one feature alone."""

INCLUSION = {
    "all at random (pi = 1)": np.ones(RUNS // 2),
    "half at random (pi = .5)": np.full(RUNS // 2, 0.5),
    "extrapolated, 2 b(.25) - b(.5)": np.array([0.25, 0.25, 0.25, 0.5] * (RUNS // 8)),
    "extrapolated from pi = .25 and 1 (not shipped)": np.array(([0.25] * 7 + [1.0]) * (RUNS // 16)),
}

MINILM = "## A sentence encoder"

Array = np.ndarray


class World:
    """Effects b of K features that differ between families, interactions of two and of three, and noise of single runs."""

    def __init__(
        self, rng: np.random.Generator, tau: float, pairs: float, noise: float, codes: Array
    ) -> None:
        self.noise, self.codes = noise, codes
        self.effect = np.where(np.arange(K) % 4 == 0, rng.normal(size=K), 0.0) * 0.1
        self.own = self.effect + tau * rng.standard_normal((codes.max() + 1, K))
        self.pair = pairs * np.triu(rng.standard_normal((K, K)) * (rng.random((K, K)) < 0.1), 1)
        self.triple = [(rng.choice(K, 3, replace=False), pairs * rng.standard_normal()) for _ in range(K)]
        # Where a feature is left alone it stands mostly low, as rare features do.
        self.clean = np.where(rng.random((len(codes), K)) < 0.2, 1.0, -1.0)

    def outcome(self, rng: np.random.Generator, settings: Array) -> Array:
        """Outcomes (R, P) of runs set as given (R, P, K), 0 for as it is."""
        s = np.where(settings == 0, self.clean, settings)
        y = np.einsum("rpk,pk->rp", s, self.own[self.codes]) / 2
        y += np.einsum("rpk,rpk->rp", s @ self.pair, s) / 2
        for three, size in self.triple:
            y += size * s[..., three].prod(axis=-1) / 2
        return y + self.noise * rng.standard_normal(y.shape)

    def alone(self) -> Array:
        """Effects (K,) with the others as they are, by hand."""
        c = self.clean
        gap = self.own[self.codes].mean(axis=0) + ((self.pair + self.pair.T) @ c.T).mean(axis=1)
        for three, size in self.triple:
            for i in range(3):
                gap[three[i]] += size * c[:, np.delete(three, i)].prod(axis=1).mean()
        return gap


def of_joint(rng: np.random.Generator, world: World, inclusion: Array) -> Jackknifed:
    settings = random_settings(world.codes, K, inclusion, rng)
    change = world.outcome(rng, settings) - world.outcome(rng, -settings)
    return joint_effects(settings, change[..., None], world.codes, inclusion, len(np.unique(inclusion)) > 1)


def of_one_at_a_time(rng: np.random.Generator, world: World, runs: int) -> Jackknifed:
    """As many runs in all: some prompts for each feature, high and low."""
    P, replicates = len(world.codes), max(1, runs // (2 * K))
    settings = np.zeros((replicates, P, K), dtype=np.int8)
    values = np.empty((P, K, 1))
    for k in range(K):
        settings[:] = 0
        settings[..., k] = 1
        values[:, k, 0] = (world.outcome(rng, settings) - world.outcome(rng, -settings)).mean(axis=0)
    if runs >= 2 * K:
        return jackknifed_mean(values, world.codes)
    # Fewer runs than it takes to see every feature on every prompt: each on its share of prompts.
    here = np.arange(P) % (2 * K // runs) == 0
    return jackknifed_mean(values[here], np.unique(world.codes[here], return_inverse=True)[1])


def equal_runs(worlds: int) -> list[str]:
    """Root mean square errors where the noise of single runs is all that there is."""
    codes = np.repeat(np.arange(FAMILIES), PROMPTS)
    errors: dict[str, list[float]] = {name: [] for name in (*INCLUSION, "one at a time")}
    for seed in range(worlds):
        rng = np.random.default_rng([1, seed])
        world = World(rng, 0.0, 0.0, 0.5, codes)
        for name, inclusion in INCLUSION.items():
            errors[name].append(
                float(((of_joint(rng, world, inclusion).value[:, 0] - world.effect) ** 2).mean())
            )
        one = of_one_at_a_time(rng, world, RUNS).value[:, 0]
        errors["one at a time"].append(float(((one - world.effect) ** 2).mean()))
    square = {name: np.array(e) for name, e in errors.items()}
    base = square["one at a time"].mean()
    lines = ["| design | error (rms) | times fewer runs than one at a time |", "|---|---|---|"]
    for name, e in square.items():
        ratio = base / e.mean()
        off = ratio * np.sqrt(sum((x.std() / x.mean()) ** 2 / len(x) for x in (e, square["one at a time"])))
        lines.append(f"| {name} | {np.sqrt(e.mean()):.4f} | {ratio:.1f} +- {2 * off:.1f} |")
    return lines


def coverage(worlds: int) -> list[str]:
    """Share of 95% intervals that hold the effect that they are for."""
    lines = [
        "| families | prompts | effects differ | interactions | pi = 1, averaged | pi = .5, averaged"
        " | extrapolated, alone | from .25 and 1, alone | pi = 1, alone | one at a time, alone |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for families, sizes, tau, pairs in (
        (50, "4 each", 0.0, 0.0),
        (50, "4 each", 0.1, 0.05),
        (20, "4 each", 0.1, 0.05),
        (10, "4 each", 0.1, 0.05),
        (20, "1 to 8", 0.1, 0.05),
        (50, "4 each", 0.1, 0.2),
    ):
        each = np.full(families, 4) if sizes == "4 each" else np.arange(families) % 8 + 1
        codes = np.repeat(np.arange(families), each)
        held: dict[str, list[float]] = {}
        for seed in range(worlds):
            rng = np.random.default_rng([2, families, len(codes), seed])
            world = World(rng, tau, pairs, 0.5, codes)
            averaged = world.effect
            # Alone is a matter of what stands at the prompts: of these prompts.
            alone = world.alone() - (world.own[codes].mean(axis=0) - world.effect)
            full, half, line, steep = (of_joint(rng, world, i) for i in INCLUSION.values())
            one = of_one_at_a_time(rng, world, RUNS)
            for name, found, truth in (
                ("full", full, averaged), ("half", half, half_truth(world)), ("line", line, alone),
                ("steep", steep, alone), ("full, alone", full, alone), ("one", one, alone),
            ):  # fmt: skip
                reach = critical_value(0.95, families - 1) * found.se[:, 0]
                held.setdefault(name, []).append(float((np.abs(found.value[:, 0] - truth) < reach).mean()))
        numbers = " | ".join(f"{np.mean(h):.3f}" for h in held.values())
        lines.append(f"| {families} | {sizes} | {tau} | {pairs} | {numbers} |")
    return lines


def half_truth(world: World) -> Array:
    """Effects (K,) where each of the other features is moved with probability one half: linear in two, square in three."""
    c, gap = world.clean / 2, world.effect.copy()
    gap += ((world.pair + world.pair.T) @ c.T).mean(axis=1)
    for three, size in world.triple:
        for i in range(3):
            gap[three[i]] += size * c[:, np.delete(three, i)].prod(axis=1).mean()
    return gap


DRAWS = 40
"""Yes-or-no outcomes, each drawn anew in every run: so many studies on the same runs."""

SEEDS, TRUTH_SEEDS = (0, 1, 2), (3, 4)


def judged(bench: Bench, per_family: int) -> Bench:
    """Some prompts of every family, and outcomes: the probability of yes, and ``DRAWS`` draws of it."""
    order = np.argsort(bench.family, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(bench.family[order], bench.family[order])
    rows = np.sort(order[place < per_family])
    base, middle, scale = bench.outcome.parts[0], float(np.median(bench.clean)), float(bench.clean.std() / 2)

    def chance(output: Any, mask: Any) -> Any:
        return ((base(output, mask).double() - middle) / scale).sigmoid()

    parts = [CallableOutcome("probability", chance)]
    parts += [CallableOutcome(f"draw {i}", partial(_value, base)) for i in range(DRAWS)]
    drawn = [Sampling("bernoulli", 1, scale, middle, seed=11, number=i) for i in range(DRAWS)]
    return Bench(
        bench.adapter,
        bench.site,
        bench.view,
        bench.inputs.take(rows),
        OutcomeSet(parts, [None, *drawn]),
        position=bench.position,
        family=bench.family[rows],
        block=bench.block,
        folder=bench.folder,
    )


def _value(base: Any, output: Any, mask: Any) -> Any:
    return base(output, mask)


def minilm(run: Path, runs: int = 24) -> list[str]:
    """Runs needed for one error, and bias against the averaged effect, on the shipped sentence encoder."""
    study = Study.from_toml("minilm_sentiment", out=run)
    bench = judged(study.bench(folder=run / "site_experiment"), 1)
    found = {
        s: site_experiment(bench, runs_per_prompt=runs, beside=0, seed=s) for s in (*SEEDS, *TRUTH_SEEDS)
    }
    truth = np.mean([found[s].effect[:, 0] for s in TRUTH_SEEDS], axis=0)
    truth_error = (
        np.std([found[s].effect[:, 0] for s in found], axis=0, ddof=1).mean() / len(TRUTH_SEEDS) ** 0.5
    )
    one = knock_out(bench, "contrast", draws=2)
    unit = found[0].meta["natural_sd"]
    alone, rope = one.mean / unit, float(found[0].rope[1:].mean())
    strict = 0.02 * float(bench.clean[:, 0].std(ddof=1))
    off = np.stack([found[s].effect[:, 1:] - truth[:, None] for s in SEEDS])
    off_one = alone[:, 1:] - alone[:, :1]
    square, square_one = (off**2).mean(axis=1).ravel(), (off_one**2).mean(axis=0)
    n, n_one = found[0].runs, 2 * len(alone) * bench.prompts
    ratio = square_one.mean() * n_one / (square.mean() * n)
    relative = [x.std(ddof=1) / x.mean() / np.sqrt(len(x)) for x in (square, square_one)]
    mean_off = off.mean(axis=(0, 2))
    noise = np.sqrt(
        (off.std(axis=2).mean() ** 2 / off[0, 0].size + off.mean(axis=2).std(axis=0, ddof=1).mean() ** 2) / 3
    )
    bias = np.sqrt(max((mean_off**2).mean() - noise**2 - truth_error**2, 0.0))
    held = np.mean(
        [(found[s].lower[:, 1:] <= truth[:, None]) & (truth[:, None] <= found[s].upper[:, 1:]) for s in SEEDS]
    )
    gap = truth - alone[:, 0]
    return [
        f"`python benchmarks/effects/site_experiment.py --minilm`: {len(truth)} features of layer 3, {bench.prompts} prompts of {len(np.unique(bench.family))} families, yes or no drawn once a run;"
        f" {DRAWS} draws x {len(SEEDS)} seeds of settings. In units of the ROPE, .02 sd of the outcome as drawn ({rope:.4f} per natural"
        f" sd) and of its probability ({strict:.4f}):",
        "",
        "| | runs | error (rms), as drawn | error (rms), of the probability |",
        "|---|---|---|---|",
        f"| joint | {n:,} | {np.sqrt(square.mean()) / rope:.2f} | {np.sqrt(square.mean()) / strict:.2f} |",
        f"| one at a time | {n_one:,} | {np.sqrt(square_one.mean()) / rope:.2f} | {np.sqrt(square_one.mean()) / strict:.2f} |",
        "",
        f"Runs that one at a time needs for the joint experiment's error: **{ratio:.1f} +- {2 * ratio * np.hypot(*relative):.1f}"
        f" times** as many (bar: 12). Bias against the averaged effect, noise of its measurement ({np.hypot(noise, truth_error) / strict:.2f})"
        f" taken off: **{bias / rope:.2f} ROPE as drawn, {bias / strict:.2f} of the probability** (bar: .5; with the noise left in"
        f" {np.sqrt((mean_off**2).mean()) / rope:.2f} and {np.sqrt((mean_off**2).mean()) / strict:.2f}).",
        "",
        f"Its 95% intervals hold the averaged effect in {held:.3f} of {3 * DRAWS * len(truth):,}. The averaged effect and the one with"
        f" the other features as they are differ by {np.sqrt((gap**2).mean()) / strict:.2f} ROPE (rms, of the probability; correlation"
        f" {np.corrcoef(truth, alone[:, 0])[0, 1]:.3f}).",
    ]


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--minilm", action="store_true")
    parser.add_argument("--run", type=Path, default=Path("runs/minilm_sentiment"))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    page = given.out / "site_experiment.md"
    kept = page.read_text().split(MINILM)[1] if page.exists() and MINILM in page.read_text() else ""
    lines = [
        f"{K} features, {FAMILIES * PROMPTS * RUNS:,} runs each, {given.worlds} simulated worlds"
        " (`benchmarks/effects/site_experiment.py`). Where the noise of single runs is all that there is:",
        "",
        *equal_runs(given.worlds),
        "",
        "Share of 95% intervals that hold the effect that they are for: averaged over the other features' settings, or alone (the"
        " others as they are). Effects differ between families, and features interact by twos and threes:",
        "",
        *coverage(given.worlds),
    ]
    if given.minilm:
        kept = "\n\n" + "\n".join(minilm(given.run)) + "\n"
    page.write_text("\n".join(lines) + ("\n\n" + MINILM + kept if kept else "\n"))
    print(page.read_text())


if __name__ == "__main__":
    main()
