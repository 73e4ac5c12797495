"""Features from which no path leads to the outcome: which are found, and is a cause ever among them?

    python benchmarks/diagnostics/paths.py [worlds]

For every family of worlds with a network that is made without training: `paths_to_outcome` on its bench, held against what
the network is built of. Writes benchmarks/results/diagnostics_paths.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from mrinterp.knockouts import paths_to_outcome
from mrinterp.worlds import WorldFamily, world_families

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_paths.md"

UNREACHED = {
    "clamp and step": ("silent", "idle"),
    "downstream echo": ("echo",),
    "one-hot code": ("decoy",),
}
"""Features that no weight leads on from, by how their names begin, where the network is built so."""

LARGE = ("sparse codes", "program")
"""Families whose worlds take longer: a tenth as many."""


def row(family: WorldFamily, worlds: int) -> str | None:
    """One line of the table; None for a family without a network."""
    none = built = found = causes = wrong = passes = 0
    for seed in range(worlds):
        world = family.make(seed)
        if world.bench is None:
            return None
        made = paths_to_outcome(world.bench, seed=seed)
        cause = {f for f, c in zip(world.truth.features, world.truth.causal.any(axis=1), strict=True) if c}
        effect = sum(
            (np.abs(e).max(axis=1) for e in world.truth.effects.values()), np.zeros(len(made.features))
        )
        moves = {f for f, e in zip(world.truth.features, effect, strict=True) if e > 1e-9}
        lost = set(made.without(made.outcomes[0])).intersection(*map(made.without, made.outcomes))
        dead = {f for f in made.features if f.startswith(UNREACHED.get(family.name, ("\0",)))}
        none, built, found = none + len(lost), built + len(dead), found + len(dead & lost)
        causes, wrong = causes + len(cause | moves), wrong + len((cause | moves) & lost)
        passes += made.meta["passes"]["forward"] + made.meta["passes"]["backward"]
    upper = proportion_confint(wrong, max(causes, 1), method="beta")[1]
    of_built = f"{found} of {built}" if built else "none built"
    return (
        f"| {family.name} | {', '.join(sorted(world.broken)) or 'nothing'} | {worlds} | {of_built} | {none} |"
        f" {wrong} of {causes} (at most {upper:.3f}) | {passes / worlds:,.0f} |"
    )


def main(worlds: int) -> None:
    """Run all families and write the page."""
    families = [f for f in world_families().values() if not f.trained and not f.slow]
    rows = [r for f in families if (r := row(f, max(worlds // 10, 2) if f.name.endswith(LARGE) else worlds))]
    page = [
        "# Paths from features to the outcome",
        "",
        f"`python benchmarks/diagnostics/paths.py {worlds}`. *Found*: features that no weight leads on from, where a network is"
        " built with some. *Without a path*: all that were found to have none, such as decoys and latents that nothing reads."
        " *Causes lost*: features with an effect, however small, that were said to have no path, with the upper end of an exact"
        " 95% interval. Settings were fixed before any of these worlds was run. Passes a world, edited and backward.",
        "",
        "| worlds | what is broken | n | found | without a path | causes lost | passes |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "What it cannot see: a gate that no input and no setting tried opens. A feature that reaches the outcome only through"
        " rounding (a direction of a mixed stream with weight 0) counts as one with a path.",
    ]
    RESULTS.write_text("\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
