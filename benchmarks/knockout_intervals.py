"""Do the intervals and tests of knockouts keep their level, with few families and families of unequal size?

    python benchmarks/knockout_intervals.py [--worlds 4000] [--out benchmarks/results]

Writes ``knockout_intervals.md``: coverage of 95% intervals, how often an effect at the region's edge is called
negligible at 5%, and how often kinds that agree are said to differ at 5%. Families have effects of their own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mrinterp.stats.clustered.family_draws import family_draws, percentile_interval
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.swap_effects import SwapEffects, swap_effects
from mrinterp.stats.tests.equivalence import tost
from mrinterp.stats.tests.heterogeneity import correlated_heterogeneity
from mrinterp.stats.tests.tails import critical_value

TRUTH, SWAPS = 0.7, 2
BATCH = 500


def family_of_inputs(families: int, unequal: bool) -> np.ndarray:
    """Four inputs a family, or 1 to 16."""
    sizes = np.exp(np.linspace(0, np.log(16), families)) if unequal else np.full(families, 4.0)
    return np.repeat(np.arange(families), np.maximum(1, np.round(sizes)).astype(int))


def own_effects(rng: np.random.Generator, worlds: int, family: np.ndarray) -> np.ndarray:
    """Effect on every input (worlds, P): the truth and the family's own part."""
    return TRUTH + rng.standard_normal((worlds, family[-1] + 1))[:, family]


def inside(lower: np.ndarray, upper: np.ndarray) -> float:
    return float(((lower <= TRUTH) & (upper >= TRUTH)).mean())


def coverage(rng: np.random.Generator, worlds: int, family: np.ndarray) -> dict[str, float]:
    """Of the effect per unit, and of the mean effect, by t and by the bootstrap; plain kinds for comparison."""
    own = own_effects(rng, worlds, family)
    amount = rng.standard_normal((worlds, SWAPS, len(family)))
    change = own[:, None] * amount + rng.standard_normal(amount.shape)
    slope = swap_effects(amount, change[..., None], family, (1.0,) * SWAPS, draws=999)
    values = own + rng.standard_normal(own.shape)
    once = np.ones((worlds, 1, len(family)))
    mean = swap_effects(once, values[:, None, :, None], family, (1.0,), draws=999)
    half = critical_value(0.95, slope.effect_df)[:, None] * slope.se
    wide = critical_value(0.95, mean.mean_df) * mean.mean_se
    codes, names = families_of(family)
    C, sums = len(names), np.zeros((len(names), worlds))
    np.add.at(sums, codes, (values - mean.mean).T)
    plain = critical_value(0.95, C - 1) * np.sqrt((sums**2).sum(axis=0) * C / (C - 1)) / len(family)
    edge = 2.0
    called = tost(mean.mean - TRUTH + edge, mean.mean_se, mean.mean_df, edge).verdict
    return {
        "effect, t": inside(slope.effect - half, slope.effect + half),
        "effect, bootstrap": inside(*slope.effect_bootstrap),
        "mean, t": inside(mean.mean - wide, mean.mean + wide),
        "mean, bootstrap": inside(*mean.mean_bootstrap),
        "mean, CR1 and t(C - 1)": inside(mean.mean[:, 0] - plain, mean.mean[:, 0] + plain),
        "mean, plain percentiles": inside(*percentile_interval(family_draws(values.T, family, 999))),
        "at the edge, negligible": float((called == "negligible").mean()),
        "at the edge, causal": float((called == "causal").mean()),
    }


def differ(rng: np.random.Generator, worlds: int, family: np.ndarray) -> dict[str, float]:
    """How often three kinds with one effect, on the same inputs, are said to differ at 5%."""
    P, own = len(family), own_effects(rng, worlds, family)
    x = rng.standard_normal((worlds, P))
    steps = (
        np.stack([np.ones((worlds, P)), -np.ones((worlds, P))], axis=1),
        -x[:, None],
        np.stack([x[:, rng.permutation(P)] - x for _ in range(SWAPS)], axis=1),
    )
    made = []
    for amount in steps:
        change = own[:, None] * amount + rng.standard_normal(amount.shape) * np.abs(amount)
        made.append(swap_effects(amount, change[..., None], family, (1.0,) * amount.shape[1], draws=2))
    scores = np.stack([jackknife(m, family) for m in made])
    covariance = np.einsum("kcm,lcm->mkl", scores, scores)
    effect = np.stack([m.effect[:, 0] for m in made])
    C = len(np.unique(family))
    worth = 1.0 + np.stack([m.effect_df for m in made]).mean(axis=0)
    tests = {
        "they differ": correlated_heterogeneity(effect, covariance, worth),
        "they differ, df = C - 1": correlated_heterogeneity(effect, covariance, C),
    }
    return {k: float((t.neglog10p > -np.log10(0.05)).mean()) for k, t in tests.items()}


def jackknife(made: SwapEffects, family: np.ndarray) -> np.ndarray:
    """What leaving a family out changes in the effect, (C, worlds), scaled so that squares sum to the variance."""
    C, P = family[-1] + 1, len(family)
    share, score = np.zeros((C, len(made.effect))), np.zeros((C, len(made.effect)))
    np.add.at(share, family, made.weight.T / P)
    np.add.at(score, family, (made.weight * (made.effect_by_input[:, :, 0] - made.effect)).T / P)
    return np.asarray(score / (1 - share) * np.sqrt((C - 1) / C))


def simulate(families: int, unequal: bool, worlds: int) -> dict[str, Any]:
    """One row of the table."""
    family = family_of_inputs(families, unequal)
    parts: list[dict[str, float]] = []
    for b in range(0, worlds, BATCH):
        rng = np.random.default_rng([families, unequal, b])
        parts.append(coverage(rng, BATCH, family) | differ(rng, BATCH, family))
    row = {"families": families, "inputs a family": "1 to 16" if unequal else "4"}
    return row | {k: f"{np.mean([p[k] for p in parts]):.3f}" for k in parts[0]}


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    rows = [simulate(C, unequal, given.worlds) for C in (5, 10, 30, 60) for unequal in (False, True)]
    head = list(rows[0])
    lines = [
        "# Intervals and tests of knockouts with few families",
        "",
        f"`python benchmarks/knockout_intervals.py`: {given.worlds} simulated data sets a row (Monte-Carlo error of",
        f"a coverage {np.sqrt(0.95 * 0.05 / given.worlds):.4f}). Every family has an effect of its own. Columns with CR1, plain",
        "percentiles or df = C - 1 are what is not used, for comparison. Aims: .95 for coverage, at most .05 for",
        "negligible and differ, at most .025 for causal.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(str(r[k]) for k in head)} |" for r in rows),
    ]
    text = "\n".join(lines) + "\n"
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "knockout_intervals.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
