"""The bars of the diagnostics in one table: flagged, false alarms, impostors named, and causal claims on nothing without a mark.

    python benchmarks/diagnostics/bars.py [worlds]

Alarms are those of diagnostics_specification.csv (100 worlds a family); *no path* those of `paths_to_outcome`, as in
diagnostics_paths.md. New here: of the first worlds of each family, how often the within regression calls a feature whose true effect
is zero causal (its interval outside the region of practical equivalence) in a run that no test marks, by itself and after the
paths. Writes benchmarks/results/diagnostics_bars.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

import mrinterp
from mrinterp.knockouts import paths_to_outcome

RESULTS = Path(__file__).parents[1] / "results"
APART = "features told apart"
WORLDS = {
    "exact copy": "copies",
    "separable impostor": "twins",
    "inseparable impostor": "inseparable impostor",
    "left-out cause": "left-out cause",
    "downstream echo": "downstream echo",
    "gate": "gate",
    "threshold": "clamp and step",
    "unmeasured common driver": "unmeasured common driver (runs)",
    "null network": "null (network)",
}
MUST = ("exact copy", "left-out cause", "downstream echo", "gate")
"""Worlds of which at least .95 must be flagged."""


def unmarked(family: str, alarms: pd.Series, worlds: int) -> tuple[int, int, int]:
    """Worlds with a causal claim on nothing that no test marks; the same after the paths; and worlds."""
    made = mrinterp.worlds.world_families()[family]
    bare = kept = 0
    for seed in range(worlds):
        world = made.make(seed)
        assert world.panel is not None
        found, truth = mrinterp.mr.within(world.panel), world.truth
        effect = np.max([np.abs(e) for n, e in truth.effects.items()], axis=0)
        rope = truth.rope / truth.feature_sd[:, None]
        claimed = (found.ci_lower > rope) | (found.ci_upper < -rope)
        false = claimed & (effect < 1e-9) & ~alarms.get(seed, False)
        bare += bool(false.any())
        if false.any() and world.bench is not None:
            paths = paths_to_outcome(world.bench, seed=seed)
            for o, outcome in enumerate(paths.outcomes):
                false[[truth.features.index(f) for f in paths.without(outcome) if f in truth.features], o] = (
                    False
                )
        kept += bool(false.any())
    return bare, kept, worlds


def _share(hits: int, count: int) -> str:
    low, high = proportion_confint(hits, count, method="beta")
    return f"{hits / count:.3f} ({low:.3f} to {high:.3f})"


def main(worlds: int) -> None:
    """Read, run, write."""
    table = pd.read_csv(RESULTS / "diagnostics_specification.csv", keep_default_na=False)
    table["alarm"] = table["alarm"].astype(str).eq("True")
    lines = [
        "# The bars of the diagnostics",
        "",
        f"`python benchmarks/diagnostics/bars.py {worlds}`. Bars: flagged in at least .95 of exact copies, left-out causes, echoes and"
        " gates; false alarms in at most .05 of clean worlds; unmarked causal claims on nothing in at most .02 of worlds; names:"
        " [diagnostics_naming.md](diagnostics_naming.md). Exact 95% intervals.",
        "",
        "| worlds | family | n | flagged | bar | causal on nothing without a mark | the same after paths | n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    total = [0, 0, 0]
    for name, family in WORLDS.items():
        own = table[table["family"] == family]
        counted = own if name == "exact copy" else own[own["test"] != APART]
        flagged = counted.groupby("seed")["alarm"].any()
        marked = own.groupby("seed")["alarm"].any()
        got = unmarked(family, marked, worlds)
        total = [a + b for a, b in zip(total, got, strict=True)]
        hit = int(flagged.sum())
        bar = "-" if name not in MUST else "met" if hit >= 0.95 * len(flagged) else "**missed**"
        lines.append(
            f"| {name} | {family} | {len(flagged)} | {_share(hit, len(flagged))} | {bar} | {got[0]} | {got[1]} | {got[2]} |"
        )
        print(lines[-1], flush=True)
    clean = (
        table[(table["broken"] == "") & (table["test"] != APART)].groupby(["family", "seed"])["alarm"].any()
    )
    lines += [
        "",
        f"False alarms on {len(clean)} clean worlds: {_share(int(clean.sum()), len(clean))}.",
        "",
        f"Causal claims on nothing without a mark: {_share(total[0], total[2])} of worlds, after paths {_share(total[1], total[2])}.",
        "",
        "The threshold is the step and the clamp of `clamp and step`, of which most of the noise crosses neither: what the tests of the"
        " runs cannot see there the contrasts do, on which claims rest. The separable and the inseparable impostor and the null network"
        " break nothing: their alarms are false ones.",
    ]
    (RESULTS / "diagnostics_bars.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines[-5:]))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
