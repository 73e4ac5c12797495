"""The doses that features are clamped to, and the sweep over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values, spread
from mrinterp.knockouts._kinds.clamp import Clamp
from mrinterp.knockouts._kinds.kind import Targets
from mrinterp.knockouts._site_variation import SiteVariation, site_variation
from mrinterp.knockouts._support import check_support

__all__ = ["DoseGrid"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

HELD = 8_000_000
"""Values whose runs are made at a time."""


@dataclass(frozen=True, eq=False)
class DoseGrid:
    """What is written into F features at D doses each, some features at a time.

    Doses are either ``given``, (F, D), or the natural quantiles that ``targets`` find.
    """

    numbers: Rows
    doses: int
    given: Array | None
    targets: list[Targets]
    blocks: list[slice]

    @classmethod
    def of(cls, bench: Bench, numbers: Rows, doses: ArrayLike | None, quantiles: Sequence[float]) -> DoseGrid:
        given = None if doses is None else _given(doses, len(numbers))
        targets = _by_quantile(bench, quantiles) if given is None else []
        D = len(targets) if given is None else given.shape[1]
        step = max(1, HELD // (D * int(np.prod(bench.values.shape[:-1]))))
        blocks = [slice(a, a + step) for a in range(0, len(numbers), step)]
        return cls(numbers, D, given, targets, blocks)

    def written(self, bench: Bench, block: slice) -> Array:
        """Values written (f, D, P), or (f, D, P, T) with nan on padding."""
        if self.given is None:
            return np.concatenate([target(self.numbers[block]) for target in self.targets], axis=1)
        clean = clean_values(bench, self.numbers[block])
        dose = self.given[block]
        tall = dose.reshape(*dose.shape, *(1 for _ in clean.shape[1:]))
        return np.where(np.isnan(clean)[:, None], np.nan, tall)

    def checked(self, bench: Bench, allow_off_support: bool) -> tuple[Array, Array]:
        """Mean dose, and share of what is written that its place never shows, (F, D) each.

        Raises
        ------
        InputError
            For doses outside support that were not asked for.
        """
        variation = site_variation(bench)
        dose, outside = [], []
        for block in self.blocks:
            values = self.written(bench, block)
            dose.append(np.nanmean(values.reshape(*values.shape[:2], -1), axis=2))
            outside.append(_outside(bench, self.numbers[block], values, variation))
        share = np.concatenate(outside)
        if not allow_off_support:
            _refuse_outside(bench, self.numbers, np.concatenate(dose), share)
        return np.concatenate(dose), share

    def edited(self, bench: Bench) -> tuple[Array, Array]:
        """Outcome changes (P, F, D, O), and the worst read-back error (F,)."""
        parts = []
        for k, block in enumerate(self.blocks):
            values = self.written(bench, block)
            # Every block has its own name: sampled outcomes draw from a stream named after it.
            what = f"dose response {k + 1}" if k else "dose response"
            arms = values.reshape(-1, 1, *values.shape[2:])
            parts.append(bench.sweep(np.repeat(self.numbers[block], self.doses)[:, None], arms, what))
        change = (np.concatenate([p.outcome for p in parts]) - bench.clean).transpose(1, 0, 2)
        read_back = np.concatenate([p.read_back for p in parts])
        shape = (len(self.numbers), self.doses)
        return change.reshape(len(change), *shape, -1), read_back.reshape(shape).max(axis=1)

    def still(self, bench: Bench) -> NDArray[np.bool_]:
        """Which features (F,) never vary."""
        natural = [spread(clean_values(bench, self.numbers[block])) for block in self.blocks]
        return np.asarray(np.concatenate(natural) == 0)


def _by_quantile(bench: Bench, quantiles: Sequence[float]) -> list[Targets]:
    q = np.asarray(quantiles, dtype=float)
    if q.ndim != 1 or len(q) < 3 or (np.diff(q) <= 0).any() or q[0] < 0 or q[-1] > 1:
        raise InputError("quantiles", f"{list(quantiles)}", "Give at least 3, growing, between 0 and 1")
    return [Clamp(quantile=float(x)).targets(bench) for x in q]


def _given(doses: ArrayLike, features: int) -> Array:
    """Doses (F, D) that a person chose."""
    try:
        made = np.asarray(doses, dtype=float)
    except (TypeError, ValueError):
        raise InputError("doses", shown(doses), "Give at least 3 numbers, from low to high") from None
    made = made[None] if made.ndim == 1 else made
    if made.ndim != 2 or made.shape[0] not in (1, features) or made.shape[1] < 3:
        raise InputError(
            "doses",
            f"shape {made.shape} for {features} features",
            "Give at least 3 doses, (D,) or one row per feature",
        )
    if not np.isfinite(made).all() or (np.diff(made, axis=1) <= 0).any():
        raise InputError("doses", "not all finite and growing", "Give finite doses from low to high")
    return np.broadcast_to(made, (features, made.shape[1]))


def _outside(bench: Bench, block: Rows, written: Array, variation: SiteVariation) -> Array:
    """Share (f, D) of the values written that their place never shows."""
    doses = range(written.shape[1])
    found = [check_support(bench, block, written[:, d : d + 1], variation).outside_range for d in doses]
    return np.stack(found, axis=1)


def _refuse_outside(bench: Bench, numbers: Rows, dose: Array, outside: Array) -> None:
    if not outside.any():
        return
    f, d = np.argwhere(outside > 0)[0]
    clean = clean_values(bench, numbers[f : f + 1])
    raise InputError(
        f"dose {dose[f, d]:.4g} of {bench.view.names[numbers[f]]!r}",
        f"outside what it naturally shows ({np.nanmin(clean):.4g} to {np.nanmax(clean):.4g}, or less at a"
        f" single place) for {outside[f, d]:.0%} of the values written",
        "Give doses within, or allow_off_support=True",
    )
