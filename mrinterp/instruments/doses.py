"""What every design shares: position classes, fixed noise directions, drawn doses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan import Plan

__all__ = [
    "design_settings",
    "drawn_doses",
    "instrument_table",
    "noise_directions",
    "position_classes",
]


def position_classes(plan: Plan) -> list[str]:
    """Token classes, by which tokens of sentences of different length correspond to each other.

    Raises
    ------
    InputError
        If ``instruments.noise.split_at`` is not a slot.
    """
    slots = list(plan.prompts.fillers) if plan.prompts.templates else []
    split_at = plan.instruments.noise.split_at
    if split_at is not None and split_at not in slots:
        fix = near_misses(split_at, slots) or f"Slots: {', '.join(slots) or 'none (leave it out)'}"
        raise InputError("instruments.noise.split_at", f"{split_at!r} is not a slot", fix)
    rest = ["rest"] if split_at is None else ["before", "after"]
    continued = any(o.kind == "continuation_log_probability" for o in plan.outcome)
    return ["first", "last", *slots, *rest, *(["continuation"] if continued else [])]


def noisy_classes(classes: list[str]) -> list[str]:
    """The classes whose tokens get noise: all but a continuation, whose probability is the outcome."""
    return [c for c in classes if c != "continuation"]


def noise_directions(plan: Plan, classes: list[str], width: int) -> NDArray[np.float32]:
    """Fixed directions (C, D, width); under standard normal doses a token's coordinates get sd ``scale``, 1 where it is
    chosen on discovery."""
    noise = plan.instruments.noise
    # The second number tells apart the streams of one seed, so that no draw depends on another: 1 splits, 2 prompts
    # (with the split's number), 3 noise directions, 4 noise doses, 5 placebo doses.
    drawn = np.random.default_rng([plan.seed, 3]).standard_normal(
        (len(noisy_classes(classes)), noise.directions_per_class, width)
    )
    scale = 1.0 if noise.scale == "auto" else noise.scale
    return (drawn * scale / np.sqrt(noise.directions_per_class)).astype(np.float32)


def instrument_table(
    rows: list[tuple[str, str, str, str, str, bool]], classes: list[str], plan: Plan
) -> pd.DataFrame:
    """The design's own instruments, then noise directions class by class, then placebos."""
    rows = list(rows)
    if plan.instruments.noise.runs_per_prompt:
        for name in noisy_classes(classes):
            rows += [
                (f"noise:{name}:{i}", "noise", name, str(i), "sd of the dose", False)
                for i in range(plan.instruments.noise.directions_per_class)
            ]
    rows += [
        (f"placebo:{i}", "placebo", "none", str(i), "no-op", True)
        for i in range(plan.instruments.placebo.count)
    ]
    return pd.DataFrame(rows, columns=["instrument", "kind", "locus", "allele", "unit", "placebo"])


def drawn_doses(runs: pd.DataFrame, instruments: pd.DataFrame, plan: Plan) -> NDArray[np.float32]:
    """Doses (N, J): standard normal for noise in noise runs, 0/1 for placebos in perturbed runs, else 0.

    Noise comes in pairs: of two noise runs of a prompt the second has the first one's doses with signs turned, so that
    what is even in the noise (curvature) cancels; an odd number leaves a last one alone. With levels (`NoiseSection.series`) every
    draw is run at each of them, then at each with signs turned.
    """
    doses = np.zeros((len(runs), len(instruments)), dtype=np.float32)
    kind = runs["kind"].to_numpy()
    for name, stream in (("noise", 4), ("placebo", 5)):
        columns = np.flatnonzero((instruments["kind"] == name).to_numpy())
        rows = np.flatnonzero(kind == "noise" if name == "noise" else kind != "clean")
        rng = np.random.default_rng([plan.seed, stream])
        size = (len(rows), len(columns))
        doses[np.ix_(rows, columns)] = (
            rng.standard_normal(size) if name == "noise" else rng.integers(0, 2, size)
        )
    noise = runs[kind == "noise"]
    number = noise.groupby("prompt", sort=False).cumcount().to_numpy()
    series = np.array(plan.instruments.noise.series, dtype=np.float32)
    rows, turn = noise["run"].to_numpy(), number % len(series)
    columns = np.flatnonzero((instruments["kind"] == "noise").to_numpy())
    doses[np.ix_(rows, columns)] = series[turn, None] * doses[np.ix_(rows - turn, columns)]
    return doses


def design_settings(plan: Plan, classes: list[str], slots: list[str]) -> dict[str, Any]:
    """Settings that the scan needs in addition to the tables."""
    return {
        "block": plan.model.block,
        "padded_length": plan.model.padded_length,
        "position_classes": classes,
        "split_at": plan.instruments.noise.split_at,
        "slots": slots,
        "seed": plan.seed,
        "noise_scale": plan.instruments.noise.scale,
    }
