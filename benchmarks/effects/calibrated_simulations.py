"""Do calibrated intervals cover, and whom: all features, the largest, those that were drawn?

    python benchmarks/effects/calibrated_simulations.py [--worlds 200] [--run runs/minilm_sentiment] [--out benchmarks/results]

Writes ``calibrated_simulations.md`` and ``.csv``. Truth is known; shifts have an error of .15, estimates of .3, and what
ranks features (discovery) of .5, in units of which most effects are .3 to 1. ``--run``: a finished study of a sentence
encoder (``mrinterp run minilm_sentiment --out runs/minilm_sentiment``), all of whose features were shifted: some are drawn at
random, again and again, and the others' intervals held against their own shifts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.results import Estimates, KnockoutEffects
from mrinterp.stats import calibrated, calibration_roles
from mrinterp.stats.tests.tails import critical_value

SE, V, DISCOVERY = 0.3, 0.15, 0.5
BIAS = {
    "adds .5": (1.0, 0.5),
    "times 1.5": (1.5, 0.0),
    "times 1.5, adds .4": (1.5, 0.4),
    "times .5, adds .2": (0.5, 0.2),
}
"""Estimates are so many times the truth plus a bias of their own with this standard deviation."""


def effects(rng: np.random.Generator, kind: str, K: int, worlds: int) -> np.ndarray:
    """True effects (K, worlds)."""
    plain = rng.standard_normal((K, worlds))
    if kind == "normal":
        return plain
    if kind == "five large":
        large = 3.0 * np.sign(plain) * (1 + 0.3 * rng.random(plain.shape))
        return np.where(np.arange(K)[:, None] < 5, large, 0.3 * plain)
    return plain * np.where(rng.random(plain.shape) < 0.12, 3.0, 0.3)


def study(kind: str, bias: str, K: int, m: int, split: bool, worlds: int) -> dict[str, Any]:
    """One row: coverage by role and by size over simulated studies; every study has a draw of its own."""
    rng = np.random.default_rng([len(kind), len(bias), K, m, split])
    times, added = BIAS[bias]
    truth = effects(rng, kind, K, worlds)
    of = times * truth + added * rng.standard_normal(truth.shape)
    seen = of + DISCOVERY * rng.standard_normal(truth.shape)
    if split:
        roles = np.stack([calibration_roles(seen[:, w], m, w) for w in range(worlds)], axis=1)
    else:
        at = rng.random(truth.shape).argsort(axis=0) < m
        roles = np.where(at, "drawn", "rest").astype(object)
    # Sorted by role, every study has its roles at the same places, and all are one array.
    order = np.argsort(roles.astype(str), axis=0, kind="stable")
    truth, of, roles = (np.take_along_axis(x, order, 0) for x in (truth, of, roles))
    beta = of + SE * rng.standard_normal(truth.shape)
    shift = np.where(roles == "rest", np.nan, truth + V * rng.standard_normal(truth.shape))
    same = np.full(truth.shape, SE), np.full(truth.shape, V)
    made = calibrated(beta, same[0], shift, same[1], roles[:, 0])
    covered, half = (made.lower <= truth) & (made.upper >= truth), (made.upper - made.lower) / 2

    def largest(size: np.ndarray, count: int) -> float:
        return float(np.take_along_axis(covered, np.argsort(-size, axis=0)[:count], 0).mean())

    def of_role(role: str) -> float:
        some = covered[roles == role]
        return float(some.mean()) if some.size else float("nan")

    others = np.where(roles == "own", -1.0, np.abs(truth))
    return {
        "effects": kind,
        "bias": bias,
        "K": K,
        "drawn": m,
        "largest shifted": split,
        "uncalibrated": (np.abs(beta - truth) <= 1.96 * SE).mean(),
        "coverage": covered.mean(),
        "own": of_role("own"),
        "those drawn": of_role("drawn"),
        "rest": of_role("rest"),
        "5 truly largest": largest(np.abs(truth), 5),
        "10 largest estimates": largest(np.abs(made.beta), 10),
        "5 largest not shifted": largest(others, 5) if (others >= 0).any() else float("nan"),
        "studies below .85": (covered.mean(axis=0) < 0.85).mean(),
        "width over uncalibrated": np.median(half[roles != "own"]) / (1.96 * SE)
        if (roles != "own").any()
        else np.nan,
        "slope used": (made.slope != 1).mean(),
    }


DRAWS = 400
"""Random draws of the features that calibrate the others of one run."""

ENCODER = "## A sentence encoder"


def encoder(run: Path) -> list[str]:
    """Width and coverage of the other features' intervals, by how many of a finished run's features were drawn."""
    within = Estimates.load(run / "estimates" / "within")
    shift = KnockoutEffects.load(run / "knockouts" / "shift")
    known = np.isfinite(within.se[:, 0]) & np.isfinite(shift.se[:, 0])
    b, s, C, v = (x[known, :1] for x in (within.beta, within.se, shift.effect, shift.se))
    t = critical_value(0.95, float(np.median(within.df)))
    plain = np.abs(b - C) <= np.hypot(t * s, critical_value(0.95, shift.df) * v)
    lines = [
        f"{len(b)} features of a finished study; {DRAWS} random draws of those that calibrate the others, none of them on its own",
        "shift. Covered: the feature's own shift, its error added.",
        "",
        "| drawn | median half width over uncalibrated, mean over draws (5% to 95%) | coverage | slope used |",
        "|---|---|---|---|",
        f"| uncalibrated | 1 | {plain.mean():.3f} | |",
    ]
    for m in (10, 20):
        ratio, held, sloped = [], [], []
        for seed in range(DRAWS):
            roles = np.where(np.random.default_rng(seed).permutation(len(b)) < m, "drawn", "rest")
            given = (
                np.where((roles == "drawn")[:, None], C, np.nan),
                np.where((roles == "drawn")[:, None], v, np.nan),
            )
            made = calibrated(b, s, *given, roles, shift_df=shift.df)
            rest, half = roles == "rest", (made.upper - made.lower) / 2
            ratio.append(np.median(half[rest]) / np.median(t * s[rest]))
            off = np.abs((made.lower + made.upper) / 2 - C)
            held.append((off <= np.hypot(half, critical_value(0.95, shift.df) * v))[rest].mean())
            sloped.append(float(made.slope[0] != 1))
        low, high = np.quantile(ratio, (0.05, 0.95))
        lines.append(
            f"| {m} | {np.mean(ratio):.2f} ({low:.2f} to {high:.2f}) | {np.mean(held):.3f} | {np.mean(sloped):.2f} |"
        )
    return lines


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    rows = [
        study(kind, bias, K, m, split, given.worlds)
        for kind in ("normal", "five large", "one in eight large")
        for bias in BIAS
        for K, m, split in ((48, 10, False), (48, 10, True), (64, 20, False), (64, 20, True))
    ]
    table = pd.DataFrame(rows)
    shown = table.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x))
    lines = [
        "# Calibrated intervals in simulation",
        "",
        f"`python benchmarks/effects/calibrated_simulations.py --worlds {given.worlds}`. Aim .95. `largest shifted`: the",
        "min(20, K/4) features that look largest on discovery rest on their own shifts (`own`), and the drawn ones are drawn",
        "from the others. `5 largest not shifted`: the truly largest of those. `10 largest estimates` are chosen by the",
        "numbers that are judged, among them those that came out large by chance.",
        "",
        f"| {' | '.join(table)} |",
        f"|{'---|' * len(table.columns)}",
        *(f"| {' | '.join(row)} |" for row in shown.to_numpy()),
    ]
    page = given.out / "calibrated_simulations.md"
    kept = page.read_text().partition(ENCODER)[2].strip().split("\n") if page.exists() else []
    kept = encoder(given.run) if given.run else [line for line in kept if line or len(kept) > 1]
    text = "\n".join([*lines, *(["", ENCODER, "", *kept] if kept else [])]) + "\n"
    given.out.mkdir(parents=True, exist_ok=True)
    page.write_text(text)
    table.to_csv(given.out / "calibrated_simulations.csv", index=False, float_format="%.4f")
    print(text)


if __name__ == "__main__":
    main()
