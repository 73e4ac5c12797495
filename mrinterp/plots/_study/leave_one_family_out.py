"""A knockout's effect without each family in turn."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import axes, spare
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["leave_one_family_out"]


def leave_one_family_out(
    result: KnockoutEffects,
    feature: str | None = None,
    outcome: str | None = None,
    most: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """One row a family: the effect without it; the effect with all of them, and its 95% interval, as line and band.

    Parameters
    ----------
    result : KnockoutEffects
    feature, outcome : str, optional
        Default the feature with the largest effect, and the first outcome.
    most : int
        Families shown at most, those that matter most.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a feature or outcome that the result does not have.

    Examples
    --------
    >>> from mrinterp.plots import leave_one_family_out
    >>> from mrinterp.results import example
    >>> leave_one_family_out(example("KnockoutEffects"), "feature 0").get_title(loc="left")
    'feature 0 without each family'
    """
    o = chosen_outcome(outcome, result.outcomes)[1]
    if feature is not None and feature not in result.features:
        raise InputError(
            "feature",
            repr(feature),
            near_misses(feature, list(result.features)) or "Name a feature of the result",
        )
    f = (
        result.features.index(feature)
        if feature
        else int(np.nanargmax(np.abs(np.nan_to_num(result.effect[:, o]))))
    )
    values, weight = result.effect_by_input[f, :, o], np.nan_to_num(result.weight[f])
    names, code = np.unique(result.inputs["family"].astype(str), return_inverse=True)
    known = np.isfinite(values)
    weight = np.where(known, weight, 0.0)
    total = np.bincount(code, weight * np.where(known, values, 0.0), len(names))
    mass = np.bincount(code, weight, len(names))
    left = mass.sum() - mass
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.where((left > 0) & (mass > 0), (total.sum() - total) / left, np.nan)
    low, high = (e[f, o] for e in result.interval())
    whole = result.effect[f, o]
    kept = np.flatnonzero(np.isfinite(without))
    kept = kept[np.argsort(-np.abs(without[kept] - whole), kind="stable")][:most]
    kept = kept[np.argsort(without[kept], kind="stable")]
    ax = axes(ax, 3.5, 0.16 * len(kept) + 1.2)
    if np.isfinite([low, high]).all():
        ax.axvspan(low, high, color="#d7e6f2", lw=0, zorder=0)
    ax.axvline(whole, color="#0072b2", lw=1.0)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    ax.plot(without[kept], np.arange(len(kept)), "o", ms=3.5, color="#333333")
    ax.set_yticks(np.arange(len(kept)), [f"without {names[k][:24]}" for k in kept], fontsize=6.5)
    ax.set_ylim(-0.8, len(kept) - 0.2)
    ax.set_xlabel(f"effect on {result.outcomes[o]}\nline and band: all families, 95% interval", fontsize=8)
    more = f"\n({len(kept)} of {len(names)}, those that matter most)" if len(kept) < len(names) else ""
    ax.set_title(f"{result.features[f]} without each family{more}", loc="left", fontsize=9)
    spare(ax)
    return ax
