"""Studies of 40 families: on which families may the prediction be made, and what does cross-fitting cost?

    python benchmarks/effects/small_studies.py [--studies 300] [--out benchmarks/results]

A study of 40 families x 3 prompts has 10 for discovery, 10 for estimation, 10 that are knocked out and 10 for replication.
Low and high values of features are learned on discovery. Three ways to use the families beside the knocked-out ones:

- *estimation*: the prediction is made for the families of estimation and knockout, 20 in all;
- *discovery too*: and for those of discovery, 30 in all, though their own values set what is low and high;
- *halves*: 30 families in two halves, five of each knocked out, each with the low and high values of the other half.

Features are ``given``, ``learned`` (principal components of discovery) or ``chosen`` (of 40 directions those with the
largest predictions on discovery). Halves learn other features, so that only given ones can be cross-fitted: how alike two
halves' components are stands below the table. The outcome is a sum of 12 saturated units of a 40-dimensional state; one
given feature reaches nothing. Held against the mean over 700 other families, at the same low and high values and, for given
features, at the population's. Writes ``small_studies.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.stats import rectified_mean

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
    """One study's estimates, half widths and truths (K,) at its own and at the population's levels, by way."""
    x, family = world.draw(rng, 40), np.repeat(np.arange(40), PROMPTS)
    discovery, rest, knocked = family < 10, (family >= 10) & (family < 30), (family >= 20) & (family < 30)
    A = world.features(kind, rng, x[discovery])
    values, others = x @ A.T, world.others

    def truth(ends: tuple[Array, Array]) -> Array:
        return world.contrasts(others, A, *ends).mean(axis=0)

    def made(ends: tuple[Array, Array], few: Array, used: Array, target: Array) -> tuple[Array, ...]:
        C, g = (part(x, A, *ends)[..., None] for part in (world.contrasts, world.predicted))
        found = rectified_mean(C[few], g[few], family[few], g[used], family[used])
        return found.beta[:, 0], (found.upper - found.lower)[:, 0] / 2, target, truth(ends_of(others @ A.T))

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
                beta, half, own, everyone = (np.array([d[way][i] for d in drawn]) for i in range(4))
                hit = np.abs(beta - own) <= half + 1e-12
                rows.append(
                    {
                        "steepness": steep,
                        "features": kind,
                        "prediction on": way,
                        "coverage": hit.mean(),
                        "worst feature": hit.mean(axis=0).min(),
                        "half width": np.sqrt((half[:, 1:] ** 2).mean()),
                        "coverage at the population's levels": (
                            (np.abs(beta - everyone) <= half)[:, 1:].mean() if kind == "given" else np.nan
                        ),
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
    frame = cells(given.studies)
    shown = frame.map(lambda x: ("" if np.isnan(x) else f"{x:.3f}") if isinstance(x, float) else str(x))
    lines = [
        "# Studies of 40 families",
        "",
        f"`python benchmarks/effects/small_studies.py`, {given.studies} studies a row of 40 families x 3 prompts, 10 of them knocked",
        "out. Aim .95. `estimation`: the prediction on the families of estimation and knockout; `discovery too`: on those of",
        "discovery besides, as studies of fewer than 160 families do; `halves`: cross-fitted.",
        "",
        f"| {' | '.join(frame)} |",
        "|" + "---|" * len(frame.columns),
        *(f"| {' | '.join(row)} |" for row in shown.to_numpy()),
        "",
        f"Cosine of a half's learned component with the most alike one of the other half: {alike(100):.2f} on average. They are",
        "other features, so that learned features cannot be cross-fitted.",
        "",
        "Intervals are of the contrast between the low and the high values that the study states. Ten families know these",
        "values badly, so that the contrast at the population's own values is covered less (last column).",
    ]
    (given.out / "small_studies.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
