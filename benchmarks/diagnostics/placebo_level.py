"""Level and power of the placebo check over designs: null draws of whole panels, and of placebos alone on random networks.

    python benchmarks/diagnostics/placebo_level.py [--draws 400]

A null draw is a panel whose placebos edit nothing and are drawn by a coin. The share of draws with p at most .05 and .01 should be
that, within its error; the check fails below .01. Beside it stands the test that it replaced, random signs of the families
against a chi-square of three moments. Writes benchmarks/results/diagnostics_placebo_level.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from statsmodels.stats.proportion import proportion_confint

import mrinterp
from mrinterp.diagnostics import placebo_check
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.sign_flip import sign_flip_test

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_placebo_level.md"


def network_panel(
    seed: int,
    *,
    runs: int,
    families: int,
    prompts: int = 3,
    placebos: int = 2,
    acts: float = 0.0,
    by: str = "run",
    cubed: bool = False,
) -> mrinterp.Panel:
    """Runs of a random network of two layers: 24 hidden units are the features, one output the outcome.

    ``runs`` a prompt; 1 is a `pair` study, whose corrupted input is another draw of the prompt's family. ``by`` what a
    placebo's coin is tossed for: run, prompt or family. ``cubed`` makes the tails of all units heavy.
    """
    rng = np.random.default_rng([seed, runs, families])
    width, hidden = 8, 24
    first, second = rng.standard_normal((width, hidden)), rng.standard_normal(hidden)
    P = families * prompts
    prompt, clean = np.repeat(np.arange(P), runs + 1), np.tile(np.arange(runs + 1) == 0, P)
    family, moved = prompt // prompts, ~clean
    theme = rng.standard_normal((families, width))
    base = theme[family] + rng.standard_normal((P, width))[prompt]
    edit = rng.standard_normal((len(prompt), width)) * moved[:, None]
    # What corruption does to all prompts of a family, and to all families.
    shift = (1.0 + 0.5 * rng.standard_normal((families, width))[family]) * moved[:, None] * (runs == 1)
    inputs = base + edit * (1.0 if runs == 1 else 0.3) + shift
    tossed = {"run": np.arange(len(prompt)), "prompt": prompt, "family": family}[by]
    coins = rng.integers(0, 2, (int(tossed.max()) + 1, placebos))[tossed] * moved[:, None]
    units = np.maximum(inputs @ first / np.sqrt(width), 0.0) + acts * coins[:, :1]
    units = units**3 if cubed else units
    return mrinterp.from_arrays(
        doses=np.concatenate([edit, coins], axis=1),
        features=units,
        outcomes=(units @ second)[:, None],
        prompt=prompt,
        family=family,
        clean=clean,
        placebo=[f"z{width + i}" for i in range(placebos)],
    )


def former(panel: mrinterp.Panel) -> float:
    """-log10 p of the test that the check used to make."""
    placebo = panel.instruments["placebo"].to_numpy(dtype=bool)
    change = panel.changes()
    several = len(change.prompt) >= 2 * len(set(change.prompt))
    change = panel.deviations() if several else change
    traits = np.concatenate([change.features, change.outcomes], axis=1)
    doses, traits = (a - a.mean(axis=0) for a in (change.doses[:, placebo], traits))
    traits = traits / np.sqrt((traits**2).mean(axis=0))
    codes, names = families_of(change.family)
    scores = np.zeros((len(names), doses.shape[1] * traits.shape[1]))
    np.add.at(scores, codes, (doses[:, :, None] * traits[:, None, :]).reshape(len(doses), -1))
    scale = np.sqrt((scores**2).sum(axis=0))
    return sign_flip_test(scores / np.where(scale > 0, scale, 1.0))[1]


Make = Callable[..., mrinterp.Panel]

DESIGNS: dict[str, Make] = {
    "pair, 12 families": partial(network_panel, runs=1, families=12),
    "pair, 40 families": partial(network_panel, runs=1, families=40),
    "pair, 40 families of one prompt": partial(network_panel, runs=1, families=40, prompts=1),
    "pair, 12 families, heavy tails": partial(network_panel, runs=1, families=12, cubed=True),
    "4 runs a prompt, 12 families": partial(network_panel, runs=4, families=12),
    "4 runs a prompt, 40 families": partial(network_panel, runs=4, families=40),
    "4 runs a prompt, 12 families, heavy tails": partial(network_panel, runs=4, families=12, cubed=True),
    "4 runs a prompt, one coin a prompt": partial(network_panel, runs=4, families=20, by="prompt"),
    "4 runs a prompt, one coin a family": partial(network_panel, runs=4, families=40, by="family"),
}


def level(make: Make, draws: int, acts: float = 0.0, of: str = "now") -> np.ndarray:
    """p of every draw."""
    panels = (make(seed, acts=acts) for seed in range(draws))
    found = [former(p) if of == "former" else placebo_check(p).neglog10p for p in panels]  # type: ignore[union-attr]
    return np.asarray(10.0 ** -np.array(found))


def share(p: np.ndarray, limit: float) -> str:
    """Share at most the limit, with its exact 95% interval."""
    count = int((p <= limit * (1 + 1e-9)).sum())
    low, high = proportion_confint(count, len(p), method="beta")
    return f"{count / len(p):.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """All designs, then the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    rows, every, before = [], [], []
    for name, make in DESIGNS.items():
        now, then = level(make, draws), level(make, draws, of="former")
        power = level(make, max(draws // 8, 1), acts=0.5)
        every.append(now)
        before.append(then)
        rows.append(
            f"| {name} | {share(now, 0.05)} | {share(now, 0.01)} | {share(then, 0.05)} | {share(then, 0.01)} |"
            f" {(power <= 0.01).mean():.2f} |"
        )
        print(rows[-1], flush=True)
    now, then = np.concatenate(every), np.concatenate(before)
    text = f"""# Placebo check: level and power over designs

Written by `benchmarks/diagnostics/placebo_level.py --draws {draws}`: {draws} null draws a row, each a random network of two layers with
24 units, 2 placebos that edit nothing. Shares with their exact 95% intervals; the check fails at .01. *Before*: random signs of
families against a chi-square of three moments. Power: a placebo that moves every unit by .5, {max(draws // 8, 1)} draws.

| design | p at most .05 | fails: p at most .01 | before, .05 | before, .01 | found where a placebo acts |
|---|---|---|---|---|---|
{chr(10).join(rows)}

All {len(now)} null draws: {share(now, 0.05)} at .05 and {share(now, 0.01)} at .01; before {share(then, 0.05)} and {share(then, 0.01)}. A study makes
one such check for each of its kinds of perturbation, so that two kinds alarm falsely in about .02 of studies.
"""
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
