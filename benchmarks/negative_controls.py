"""Level and power of the placebo check in pair and noise studies, beside the bound that it replaced.

Writes ``benchmarks/results/negative_controls.md``.

    python benchmarks/negative_controls.py [studies]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import mrinterp
from mrinterp.diagnostics import placebo_check

RESULTS = Path(__file__).parent / "results" / "negative_controls.md"


def placebo_panel(
    seed: int,
    kind: str,
    families: int = 20,
    traits: int = 15,
    correlation: float = 0.9,
    placebos: int = 2,
    shared: float = 1.0,
    acts: float = 0.0,
) -> mrinterp.Panel:
    """A study whose placebos are drawn by a coin: ``pair`` has one run a prompt, ``noise`` four, in opposite pairs.

    All runs of a kind share a change (``shared``), families differ in theirs, and traits are correlated.
    """
    rng = np.random.default_rng(seed)
    runs, prompts = (1, 3) if kind == "pair" else (4, 3)
    P = families * prompts
    prompt = np.repeat(np.arange(P), runs + 1)
    family, clean = prompt // prompts, np.tile(np.arange(runs + 1) == 0, P)
    N, moved = len(prompt), (~clean)[:, None]
    common = rng.standard_normal((N, 1))
    x = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal((N, traits))
    x = x * moved + rng.standard_normal((P, traits))[prompt]
    x = x + moved * (shared + 0.5 * rng.standard_normal((families, traits))[family])
    doses = rng.integers(0, 2, (N, placebos)) * moved
    x = x + acts * doses[:, :1]
    own = moved * 1.0 if kind == "pair" else rng.standard_normal((N, 1)) * moved
    y = x[:, :1] + 0.5 * rng.standard_normal((N, 1)) * moved
    return mrinterp.from_arrays(
        doses=np.concatenate([own, doses], axis=1),
        features=x,
        outcomes=y,
        prompt=prompt,
        family=family,
        clean=clean,
        placebo=[f"z{i + 1}" for i in range(placebos)],
    )


def level_of(kind: str, studies: int, families: int = 20, acts: float = 0.0) -> tuple[float, float]:
    """Share of studies whose check fails (p below .01), and whose p is below .05."""
    checks = [placebo_check(placebo_panel(seed, kind, families, acts=acts)) for seed in range(studies)]
    p = np.array([c.neglog10p for c in checks])
    return float(np.mean([c.verdict == "failed" for c in checks])), float((p > -np.log10(0.05)).mean())


def former_bound(kind: str, studies: int, families: int) -> float:
    """Share of studies in which the mean square of the placebos' z-scores exceeds 1 + 3 sqrt(2 / placebos)."""
    beyond = []
    for seed in range(studies):
        panel = placebo_panel(seed, kind, families)
        scan = mrinterp.scan.marginal_scan(panel, factorial=kind != "pair")
        placebo = scan.instruments["placebo"].to_numpy(dtype=bool)
        z = (scan.beta / scan.se)[:, placebo]
        beyond.append((z**2).mean() > 1 + 3 * np.sqrt(2 / placebo.sum()))
    return float(np.mean(beyond))


def main(studies: int) -> None:
    """Run everything and write the page."""
    rows = []
    for kind in ("pair", "noise"):
        for families in (12, 40):
            failed, small = level_of(kind, studies, families)
            power = level_of(kind, max(studies // 4, 1), families, acts=0.8)[0]
            before = former_bound(kind, studies, families)
            rows.append(f"| {kind} | {families} | {before:.3f} | {failed:.3f} | {small:.3f} | {power:.2f} |")
    text = f"""# Placebo check: level and power

Written by `benchmarks/negative_controls.py {studies}`: {studies} simulated studies a row, 2 placebos drawn by a coin,
16 correlated traits, three prompts a family. Before, marginal effects in `pair` studies were taken against the clean
run, so that a placebo's slope was the average change that all corrupted prompts share, and traits of one placebo
counted as if the errors of placebos were unrelated.

| kind | families | false alarms before | fails (p < .01) | p < .05 | fails where a placebo moves features by .8 |
|---|---|---|---|---|---|
{chr(10).join(rows)}
"""
    RESULTS.write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
