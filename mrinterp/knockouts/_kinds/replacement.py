"""What a design's knockouts write in place of a feature's own values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import written_tokens
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._kinds.registry import kind_named
from mrinterp.knockouts._site_variation import site_variation
from mrinterp.knockouts._support import FAR, check_support

__all__ = ["Replacement", "outside_support", "replacement_values"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]
Replacement = str | Kind | ArrayLike | Callable[[Bench, Rows], Array]
"""A kind of knockout with one value per prompt (``"zero"``, ``Mean()``, ``Resample(donors=1)``), a number, one
number per feature (K,), values (K, P) - (K, P, T) where every token has its own -, or a function of the bench
and the features' numbers that gives such values. nan leaves a feature as it is."""

HELD = 8_000_000
"""Values checked at a time."""


def replacement_values(
    bench: Bench, numbers: Rows, values: Replacement, allow_off_support: bool = False
) -> Array:
    """Values (K, P), or (K, P, T), that a knockout writes into K features.

    Raises
    ------
    InputError
        For an unknown kind or one that swaps several values per prompt, another shape, infinite values,
        or a value that a person chose far outside support without asking for it.
    """
    kind = kind_named(values, {}, "values") if isinstance(values, str | Kind | type) else None
    if kind is not None:
        swaps = kind.targets(bench)(numbers)
        if swaps.shape[1] != 1:
            raise InputError(
                "values",
                f"{kind.label}: {swaps.shape[1]} values per prompt",
                "Designs write one: choose one donor, or a kind that goes one way",
            )
        made = swaps[:, 0]
    else:
        made = _numbers(values(bench, numbers) if callable(values) else values)
    # Zero is an ablation like the mean; any other bare number was chosen by somebody.
    chosen = kind.chosen if kind is not None else made.ndim <= 1 and bool(made.any())
    full = (len(numbers), *bench.values.shape[:-1])
    if made.ndim == 1:
        made = made.reshape(-1, *(1 for _ in full[1:]))
    if made.ndim not in (0, len(full)) or any(
        m not in (1, n) for m, n in zip(made.shape, full, strict=False)
    ):
        raise InputError(
            "values",
            f"shape {np.shape(made)} for {full[0]} features and {full[1]} prompts",
            f"Give a number, one per feature, or {full}",
        )
    if np.isinf(made).any():
        raise InputError("values", "infinite", "Write finite values")
    made = np.ascontiguousarray(np.broadcast_to(made, full))
    if chosen and not allow_off_support:
        _refuse_far(bench, numbers, made)
    return made


def _numbers(values: Any) -> Array:
    """Values as an array of numbers; None is refused, because numpy would take it for nan."""
    try:
        return np.asarray(values if values is not None else "none", dtype=float)
    except (TypeError, ValueError):
        fix = "Give a kind of knockout, a number, one per feature, or an array of them"
        raise InputError("values", shown(values), fix) from None


def outside_support(bench: Bench, numbers: Rows, values: Array) -> dict[str, float]:
    """Share of the values written that their place never shows, by name, for the features that have any."""
    share, _ = _support(bench, numbers, values)
    return {bench.view.names[f]: float(s) for f, s in zip(numbers, share, strict=True) if s > 0}


def _support(bench: Bench, numbers: Rows, values: Array) -> tuple[Array, Array]:
    """Share outside the natural range, and largest distance from it, (K,) each."""
    variation = site_variation(bench)
    step = max(1, HELD // int(np.prod(values.shape[1:])))
    parts = []
    for a in range(0, len(numbers), step):
        written = values[a : a + step, None]
        if bench.each:
            written = np.where(written_tokens(bench), written, np.nan)
        s = check_support(bench, numbers[a : a + step], written, variation)
        parts.append((s.outside_range, s.far))
    share, far = (np.concatenate(p) for p in zip(*parts, strict=True))
    return share, far


def _refuse_far(bench: Bench, numbers: Rows, values: Array) -> None:
    _, far = _support(bench, numbers, values)
    if (far > FAR).any():
        k = int(np.argmax(far))
        raise InputError(
            f"values: {bench.view.names[numbers[k]]!r}",
            f"{far[k]:.2g} widths of its natural range beyond it",
            "Write a value that it shows, or allow_off_support=True (it is then flagged)",
        )
