"""Does the outcome follow the dose in one direction? Knockouts of several doses, put in their order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.clustered.dose_shape import monotonicity

__all__ = ["dose_directions"]

FEWEST = 3
"""Doses of which a direction can be told."""
LEVEL = 0.05
NAME = "direction of the dose-response"
DOSES = {"clamp": ("quantile", "value"), "steer": ("amount",)}
"""Kinds of knockout that write a dose, and the options that say which."""


def dose_directions(knockouts: Mapping[str, KnockoutEffects]) -> pd.DataFrame | NotApplicable:
    """Whether each outcome rises or falls over the doses of each feature.

    Parameters
    ----------
    knockouts : mapping of str to KnockoutEffects
        A study's, by name. Of clamps to quantiles, clamps to values and steering the first that makes at least three doses
        counts; steering by nothing, the clean run, is one.

    Returns
    -------
    DataFrame or NotApplicable
        ``feature, outcome, doses`` (how many), ``p_rising, p_falling`` (of the nulls that the outcome rises, falls nowhere) and
        ``direction``: ``rising`` or ``falling`` (one is shown at .05, the other is not), ``both`` or ``not shown``.

    Notes
    -----
    Max-type tests over all pairs of doses, errors clustered by family: `mrinterp.stats.clustered.dose_shape.monotonicity`. Not
    valid as proof of a monotone curve: a turn that is small beside the errors is not seen.

    Examples
    --------
    >>> import mrinterp
    >>> from mrinterp.knockouts import Clamp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> made = {f"q{q}": mrinterp.knock_out(bench, Clamp(quantile=q), "linear") for q in (0.1, 0.5, 0.9)}
    >>> mrinterp.diagnostics.dose_directions(made)["direction"].tolist()
    ['rising']
    """
    doses = _doses(knockouts)
    if len(doses) < FEWEST:
        why = f"{len(doses)} doses were written, {FEWEST} are asked for (kinds of knockout clamp, with quantile, or steer)"
        return NotApplicable(why, NAME)
    written = [e for _, e in doses if e is not None]
    like = written[0]
    blank = np.zeros_like(like.change_by_input)
    stack = [blank if e is None else np.asarray(e.change_by_input) for _, e in doses]
    values = np.stack(stack, axis=2).swapaxes(0, 1)  # (P, F, D, O)
    known = np.isfinite(values).all(axis=(0, 2))
    floor = 2 * np.max([e.noise_floor for e in written], axis=0)
    tested = monotonicity(np.nan_to_num(values), like.inputs["family"].to_numpy(), floor)
    up, down = tested.p_rising < LEVEL, tested.p_falling < LEVEL
    words = np.select([up & down, up, down], ["both", "rising", "falling"], "not shown").astype(object)
    F, O = words.shape
    return pd.DataFrame(
        {
            "feature": np.repeat(np.array(like.features, dtype=object), O),
            "outcome": np.tile(np.array(like.outcomes, dtype=object), F),
            "doses": len(doses),
            "p_rising": np.where(known, tested.p_rising, np.nan).ravel(),
            "p_falling": np.where(known, tested.p_falling, np.nan).ravel(),
            "direction": np.where(known, words, "not shown").ravel(),
        }
    )


def _doses(knockouts: Mapping[str, KnockoutEffects]) -> list[tuple[float, KnockoutEffects | None]]:
    """Doses of one sort with their knockouts, the smallest first; None stands for the clean run."""
    best: list[tuple[float, KnockoutEffects | None]] = []
    for kind, options in DOSES.items():
        for option in options:
            found: dict[float, KnockoutEffects | None] = {}
            for made in knockouts.values():
                dose = (made.meta.get("options") or {}).get(option) if made.kind == kind else None
                if isinstance(dose, float | int) and _fits(made, found):
                    found[float(dose)] = made
            if kind == "steer" and found:
                found[0.0] = None
            ordered = sorted(found.items(), key=lambda pair: pair[0])
            if len(ordered) >= FEWEST:
                return ordered
            best = max(best, ordered, key=len)
    return best


def _fits(made: KnockoutEffects, found: Mapping[float, KnockoutEffects | None]) -> bool:
    """Whether a knockout has changes by input, of the features and inputs of those before it."""
    first = next((e for e in found.values() if e is not None), made)
    shape: NDArray[np.float64] = np.asarray(made.change_by_input)
    same = made.features == first.features and list(made.inputs["family"]) == list(first.inputs["family"])
    return shape.ndim == 3 and same
