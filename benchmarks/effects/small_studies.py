"""Studies of few families: on which families may the prediction be made, and what are low and high values learned from?

    python benchmarks/effects/small_studies.py [--studies 300] [--out benchmarks/results]

A study of 40 families x 3 prompts has 10 for discovery, 10 for estimation, 10 that are knocked out and 10 for replication.
Low and high values of features are learned on discovery. Three ways to use the families beside the knocked-out ones:

- *estimation*: the prediction is made for the families of estimation and knockout, 20 in all;
- *discovery too*: and for those of discovery, 30 in all, though their own values set what is low and high;
- *halves*: 30 families in two halves, five of each knocked out, each with the low and high values of the other half.

Features are ``given``, ``learned`` (principal components of discovery) or ``chosen`` (of 40 directions those with the
largest predictions on discovery). Halves learn other features, so that only given ones can be cross-fitted: how alike two
halves' components are stands below the table. The outcome is a sum of 12 saturated units of a 40-dimensional state; one
given feature reaches nothing. Held against the mean over 700 other families at the same low and high values.

A second table: low and high values from discovery, or from all families that the claim stands for (discovery, estimation,
knockout), with intervals that take them as known, or that allow for their error (``quantile_errors``). Held against the mean
over other families at the values that the study states, and at those of the population. Writes ``small_studies.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.stats import rectified_mean
from mrinterp.stats.clustered.quantiles import quantile_errors
from mrinterp.stats.tests.tails import critical_value

WIDTH, UNITS, FEATURES, PROMPTS = 40, 12, 8, 3
Array = np.ndarray
KINDS = ("given", "learned", "chosen")


class World:
    """A state with a falling spectrum, an outcome with saturated units, families that resemble themselves."""

    def __init__(self, steep: float, seed: int = 5) -> None:
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
        self.shape = np.exp(-np.arange(WIDTH) / 8)[:, None] * turn.T
        self.read = steep * rng.standard_normal((WIDTH, UNITS))
        self.write = rng.standard_normal(UNITS)
        self.others = self.draw(np.random.default_rng(99), 700)

    def draw(self, rng: np.random.Generator, families: int) -> Array:
        """States (families * prompts, width)."""
        z = rng.standard_normal((families, 1, WIDTH)) + rng.standard_normal((families, PROMPTS, WIDTH))
        return (z / np.sqrt(2) @ self.shape).reshape(-1, WIDTH)

    def contrasts(self, x: Array, features: Array, high: Array, low: Array) -> Array:
        """Effects (P, K) of features (K, width), set to their high and their low values (P, K)."""
        base, unit = x @ self.read, features @ self.read
        own = x @ features.T
        ends = [base[:, None] + (v - own)[..., None] * unit for v in (high, low)]
        return (np.tanh(ends[0]) - np.tanh(ends[1])) @ self.write

    def predicted(self, x: Array, features: Array, high: Array, low: Array) -> Array:
        """The gradient's prediction of the same."""
        slope = (1 - np.tanh(x @ self.read) ** 2) * self.write
        return slope @ (features @ self.read).T * (high - low)

    def features(self, kind: str, rng: np.random.Generator, x: Array) -> Array:
        """Directions (K, width), orthonormal; ``x`` are the states of discovery."""
        if kind == "learned":
            return np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:FEATURES]
        turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
        if kind == "chosen":
            size = np.abs(self.predicted(x, turn, *ends_of(x @ turn.T)).mean(axis=0))
            return turn[np.argsort(-size)[:FEATURES]]
        silent = np.linalg.svd(self.read)[0][:, -1]  # orthogonal to all that the units read
        return np.linalg.qr(np.column_stack([silent, turn[:, : FEATURES - 1]]))[0].T


def ends_of(values: Array) -> tuple[Array, Array]:
    """High and low values (K,)."""
    low, high = np.quantile(values, (0.1, 0.9), axis=0)
    return high, low


def study(world: World, kind: str, rng: np.random.Generator) -> dict[str, tuple[Array, ...]]:
    """One study's estimates, half widths and truths (K,) at its own low and high values, by way."""
    x, family = world.draw(rng, 40), np.repeat(np.arange(40), PROMPTS)
    discovery, rest, knocked = family < 10, (family >= 10) & (family < 30), (family >= 20) & (family < 30)
    A = world.features(kind, rng, x[discovery])
    values, others = x @ A.T, world.others

    def truth(ends: tuple[Array, Array]) -> Array:
        return world.contrasts(others, A, *ends).mean(axis=0)

    def made(ends: tuple[Array, Array], few: Array, used: Array, target: Array) -> tuple[Array, ...]:
        C, g = (part(x, A, *ends)[..., None] for part in (world.contrasts, world.predicted))
        found = rectified_mean(C[few], g[few], family[few], g[used], family[used])
        return found.beta[:, 0], (found.upper - found.lower)[:, 0] / 2, target

    own = ends_of(values[discovery])
    ways = {
        "estimation": made(own, knocked, rest, truth(own)),
        "discovery too": made(own, knocked, family < 30, truth(own)),
    }
    if kind == "given":
        order = rng.permutation(30)
        first = np.isin(family, order[:15])
        second = (family < 30) & ~first
        learned = [ends_of(values[half]) for half in (first, second)]
        ends = tuple(np.where(first[:, None], b, a) for a, b in zip(*learned, strict=True))
        few = np.isin(family, np.r_[order[:5], order[15:20]])
        ways["halves"] = made(ends, few, family < 30, np.mean([truth(e) for e in learned], axis=0))
    return ways


def cells(studies: int, steeps: tuple[float, ...] = (0.5, 1.5)) -> pd.DataFrame:
    """A row per steepness, kind of features and way."""
    rows = []
    for steep in steeps:
        world = World(steep)
        for kind in KINDS:
            rng = np.random.default_rng(1)
            drawn = [study(world, kind, rng) for _ in range(studies)]
            for way in drawn[0]:
                beta, half, own = (np.array([d[way][i] for d in drawn]) for i in range(3))
                hit = np.abs(beta - own) <= half + 1e-12
                rows.append(
                    {
                        "steepness": steep,
                        "features": kind,
                        "prediction on": way,
                        "coverage": hit.mean(),
                        "worst feature": hit.mean(axis=0).min(),
                        "half width": np.sqrt((half[:, 1:] ** 2).mean()),
                    }
                )
    return pd.DataFrame(rows)


def levels_study(world: World, rng: np.random.Generator, families: int) -> dict[str, tuple[Array, ...]]:
    """Estimates, half widths without and with the error of low and high values, and truths (K,) at the values stated and at
    the population's, by what the values are learned from; given features that reach something."""
    x, family = world.draw(rng, families), np.repeat(np.arange(families), PROMPTS)
    quarter = families // 4
    knocked, used = (family >= 2 * quarter) & (family < 3 * quarter), family < 3 * quarter
    knocked &= family < 2 * quarter + 10
    A = world.features("given", rng, x)[1:]
    values, everyone, found = x @ A.T, world.others @ A.T, {}
    for name, of in (("discovery", family < quarter), ("all that claims stand for", used)):
        low, high = np.quantile(values[of], (0.1, 0.9), axis=0)
        weight, count = np.ones(of.sum()), len(np.unique(family[of]))
        off = [quantile_errors(values[of].T, weight, family[of], count, q) for q in (0.1, 0.9)]
        C, g = (part(x, A, high, low)[..., None] for part in (world.contrasts, world.predicted))
        made = rectified_mean(C[knocked], g[knocked], family[knocked], g[used], family[used])
        beta, se, df = made.beta[:, 0], made.se[:, 0], made.df[:, 0]
        added = (((off[1] - off[0]) / (high - low) * beta) ** 2).sum(axis=0) * count / (count - 1)
        both = se**2 + added
        wide = critical_value(0.95, both**2 / (se**4 / df + added**2 / (count - 1))) * np.sqrt(both)
        at_own, at_all = (
            world.contrasts(world.others, A, *ends).mean(axis=0) for ends in ((high, low), ends_of(everyone))
        )
        found[name] = beta, (made.upper - made.lower)[:, 0] / 2, wide, at_own, at_all
    return found


def levels_cells(studies: int) -> pd.DataFrame:
    """A row per number of families, steepness, source of the values, and whether their error is part of the interval."""
    rows = []
    for families in (40, 100, 200):
        for steep in (0.5, 1.5):
            world, rng = World(steep), np.random.default_rng(1)
            drawn = [levels_study(world, rng, families) for _ in range(studies)]
            for source in drawn[0]:
                beta, known, wide, own, everyone = (np.array([d[source][i] for d in drawn]) for i in range(5))
                for words, half in (("no", known), ("yes", wide)):
                    hit = np.abs(beta - everyone) <= half
                    rows.append(
                        {
                            "families": families,
                            "steepness": steep,
                            "values from": source,
                            "their error added": words,
                            "coverage at the values stated": (np.abs(beta - own) <= half).mean(),
                            "at the population's": hit.mean(),
                            "worst feature": hit.mean(axis=0).min(),
                            "half width": np.sqrt((half**2).mean()),
                            "over the effect, median": np.median(half / np.abs(beta)),
                        }
                    )
    return pd.DataFrame(rows)


def alike(studies: int) -> float:
    """Mean cosine of a half's component with the most alike one of the other half."""
    world, rng, found = World(0.5), np.random.default_rng(2), []
    for _ in range(studies):
        halves = [world.draw(rng, 15) for _ in range(2)]
        one, other = (world.features("learned", rng, x) for x in halves)
        found.append(np.abs(one @ other.T).max(axis=1).mean())
    return float(np.mean(found))


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    lines = [
        "# Studies of few families",
        "",
        f"`python benchmarks/effects/small_studies.py --studies {given.studies}`, so many a row. Studies of 40 families x 3 prompts, 10 of them knocked",
        "out. Aim .95. `estimation`: the prediction on the families of estimation and knockout; `discovery too`: on those of",
        "discovery besides, as studies of fewer than 160 families do; `halves`: cross-fitted. Low and high values from discovery",
        "(or from the other half), for the contrast at exactly these.",
        "",
        *shown(cells(given.studies)),
        "",
        f"Cosine of a half's learned component with the most alike one of the other half: {alike(100):.2f} on average. They are",
        "other features, so that learned features cannot be cross-fitted.",
        "",
        "## What low and high values are learned from",
        "",
        "Given features that reach something, ten families knocked out, the prediction on three quarters of all families. Few",
        "families know quantiles badly: intervals that take them as known hold the contrast at the values stated, and that at the",
        "population's own values far less often, in large studies too. Studies of fewer than 160 families learn the",
        "values from the clean activations of all families that claims stand for, no outcome among them, and add their error. Larger",
        "ones learn them on discovery and state them: their intervals are for the contrast at exactly these values.",
        "",
        *shown(levels_cells(given.studies)),
        "",
        "With the error added the contrast at the values stated is covered more than .95: the interval is for another number.",
    ]
    (given.out / "small_studies.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def shown(frame: pd.DataFrame) -> list[str]:
    """Lines of a table."""
    words = frame.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x))
    return [
        f"| {' | '.join(frame)} |",
        "|" + "---|" * len(frame.columns),
        *(f"| {' | '.join(row)} |" for row in words.to_numpy()),
    ]


if __name__ == "__main__":
    main()
