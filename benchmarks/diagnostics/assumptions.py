"""Assumption checks: what each finds of runs with one thing wrong, and how often all of them alarm where nothing is.

    python benchmarks/diagnostics/assumptions.py [--draws 100]

Simulated runs of 40 families with one assumption broken at a time (`runs`), the same with nothing broken, and development worlds.
Writes benchmarks/results/diagnostics_assumptions.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from statsmodels.stats.proportion import proportion_confint

import mrinterp
from mrinterp.diagnostics import assumption_checks
from mrinterp.results import Check
from mrinterp.worlds import world_families

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_assumptions.md"
LEFT_OUT = ("sparse codes", "organisms of depth 1 and 2", "spurious cue", "counting program")
"""Families that take minutes to make, or that have no runs."""

F, C, PER, RUNS = 3, 40, 3, 8


def runs(seed: int = 0, wrong: str = "") -> mrinterp.Panel:
    """40 families of 3 prompts, 8 runs each; the first of three features acts, and one thing is wrong."""
    rng = np.random.default_rng(seed)
    P = C * PER
    prompt, clean = np.repeat(np.arange(P), RUNS + 1), np.tile(np.arange(RUNS + 1) == 0, P)
    family, moved = prompt // PER, (~clean)[:, None]
    state = rng.standard_normal((P, F))[prompt]
    doses = rng.standard_normal((len(prompt), 5)) * moved
    if wrong == "balance of doses":
        doses = doses + 1.5 * state[:, :1] * moved
    way = np.where(wrong == "doses move it one way", rng.choice([-1.0, 1.0], C, p=[0.3, 0.7])[family], 1.0)[
        :, None
    ]
    move = way * (doses @ rng.standard_normal((5, F)) / np.sqrt(5)) + 0.5 * moved * rng.standard_normal(
        (len(prompt), F)
    )
    move = move * (6.0 if wrong == "overlap" else 0.5)
    if wrong == "carried by one family":
        move[family == 0] *= 4.0
    slope, x = np.ones(len(prompt)), move[:, 0]
    kind = np.where(clean, "clean", np.where(np.arange(len(prompt)) % 2, "noise", "slot"))
    if wrong == "kinds of perturbation agree":
        slope = np.where(kind == "slot", 2.0, 1.0)
    if wrong == "sign in new families":
        slope = (1.0 + 2.0 * rng.standard_normal(C))[family]
    if wrong == "carried by one family":
        slope = np.where(family == 0, 3.0, 1.0)
    if wrong == "subgroups of prompts":
        slope = 1.0 + state[:, 0]
    if wrong == "subgroups by attributes":
        slope = np.where(words(seed)["quality"] == "good", 1.5, 0.75)
    gain = np.abs(x) if wrong == "up and down" else slope * x
    extra = np.zeros(len(prompt))
    if wrong == "within against between prompts":
        common = rng.standard_normal(P)[prompt] * moved[:, 0]
        move[:, 0] += common
        extra = 2.0 * common
    y = state[:, 0] + gain + extra + 0.5 * moved[:, 0] * rng.standard_normal(len(prompt))
    panel = mrinterp.from_arrays(
        doses=doses, features=state + move, outcomes=y[:, None], prompt=prompt, family=family, clean=clean
    )
    return replace(panel, runs=panel.runs.assign(kind=kind))


def words(seed: int) -> dict[str, np.ndarray]:
    """Two attributes of the prompts of `runs`: one of three words each, drawn for every prompt."""
    rng = np.random.default_rng([seed, 5])
    drawn = rng.choice(["good", "bad", "dull"], (2, C * PER))
    return {name: np.repeat(one, RUNS + 1) for name, one in zip(("quality", "place"), drawn, strict=True)}


WRONG = (
    "balance of doses", "overlap", "doses move it one way", "kinds of perturbation agree", "sign in new families",
    "subgroups of prompts", "up and down", "carried by one family", "within against between prompts",
)  # fmt: skip


def alarmed(panel: mrinterp.Panel) -> dict[str, str]:
    """Names of the checks that alarm, with their verdict."""
    found = [c for c in assumption_checks(panel) if isinstance(c, Check) and c.verdict != "passed"]
    return {c.name.split(":")[0]: c.verdict for c in found}


def share(count: int, of: int) -> str:
    """A share with its exact 95% interval."""
    low, high = proportion_confint(count, of, method="beta")
    return f"{count / of:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Runs with one thing wrong, runs with nothing wrong, worlds; then the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    found = []
    for name in WRONG:
        made = [alarmed(runs(seed, name)) for seed in range(max(draws // 4, 1))]
        others = Counter(n for one in made for n in one if n != name).most_common(2)
        too = ", ".join(f"{n} {k / len(made):.2f}" for n, k in others)
        found.append(
            f"| {name} | {share(sum(name in one for one in made), len(made))} | {too or 'nothing'} |"
        )
        print(found[-1], flush=True)
    worlds = []
    families = {n: f for n, f in world_families().items() if f.part == "development" and n not in LEFT_OUT}
    for name, family in families.items():
        if getattr(family, "slow", False) or (first := family.make(0)).panel is None:
            continue
        made = [alarmed(family.make(seed).panel) for seed in range(max(draws // 2, 1))]
        worlds.append(_row(name, ", ".join(sorted(first.broken)), made))
        print(worlds[-1], flush=True)
    worlds.insert(
        0, _row("simulated runs, 40 families", "", [alarmed(runs(seed)) for seed in range(2 * draws)])
    )
    head = (
        "| worlds | what is broken | n | a test fails | a warning | most often |\n|---|---|---|---|---|---|\n"
    )
    text = f"""# Assumption checks: what they find, and false alarms

Written by `benchmarks/diagnostics/assumptions.py --draws {draws}`. Tests with a probability are *balance of doses, within against between
prompts, kinds of perturbation agree, subgroups of prompts, up and down*; the others are warnings without a level.

| what is wrong | found | alarms too |
|---|---|---|
{chr(10).join(found)}

{head}{chr(10).join(worlds)}

Nothing broken means that the equation of MR is right; effects may differ between prompts all the same, and doses may move a feature
differently, which is what warnings name.
"""
    RESULTS.write_text(text)


def _row(name: str, broken: str, made: list[dict[str, str]]) -> str:
    failed = sum("failed" in one.values() for one in made)
    warned = sum("warning" in one.values() for one in made)
    most = ", ".join(
        f"{n} {k / len(made):.2f}" for n, k in Counter(n for one in made for n in one).most_common(2)
    )
    return f"| {name} | {broken or 'nothing'} | {len(made)} | {share(failed, len(made))} | {share(warned, len(made))} | {most or 'none'} |"


if __name__ == "__main__":
    main()
