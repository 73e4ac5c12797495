"""Clamping to a value or to a quantile of the natural values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from mrinterp.core.checks import checked_fraction, checked_number
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets
from mrinterp.knockouts._token_groups import by_group, groups_by

__all__ = ["Clamp"]


@dataclass(frozen=True)
class Clamp(Kind):
    """Every input's value set to one value.

    Parameters
    ----------
    value : float or sequence of F floats, optional
        The value; one for all features or one for each of the view.
    quantile : float, optional
        Instead: this quantile of each feature's clean values, between 0 and 1 (always inside support).
    by : {"position", "class", "all"}, optional
        Where every token has a value of its own: tokens whose quantile is taken together.

    Raises
    ------
    InputError
        For a quantile outside 0 to 1, or a value that is not a number.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Clamp(quantile=0.5), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "clamp"
    chosen: ClassVar[bool] = True
    value: float | Sequence[float] | None = None
    quantile: float | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        if self.quantile is not None:
            checked_fraction(self.quantile, "quantile")
        if self.value is not None:
            _check_value(self.value)

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        if self.quantile is not None:
            return f"clamped to quantile {self.quantile:g}"
        single = np.ndim(self.value) == 0  # type: ignore[arg-type]
        return f"clamped to {float(self.value):g}" if single else "clamped to a value of its own"  # type: ignore[arg-type]

    def targets(self, bench: Bench) -> Targets:
        """The value, or the quantile of the clean values."""
        if (self.value is None) == (self.quantile is None):
            found = "neither value nor quantile" if self.value is None else "a value and a quantile"
            raise InputError("clamp", found, "Give one of the two")
        if self.value is not None:
            if self.by is not None:
                raise InputError("by", f"{self.by!r} beside a value", "It goes with a quantile: leave it out")
            return self._values(bench, np.asarray(self.value, dtype=float))
        assert self.quantile is not None
        level = partial(np.quantile, q=self.quantile)
        groups = groups_by(bench, self.by)
        if groups is not None:
            return lambda features: by_group(clean_values(bench, features), groups, level)[:, None]
        return lambda features: np.repeat(
            level(clean_values(bench, features), axis=1)[:, None, None], bench.prompts, axis=2
        )

    def _values(self, bench: Bench, value: np.ndarray) -> Targets:
        if value.shape not in ((), (bench.features,)) or not np.isfinite(value).all():
            raise InputError(
                "value",
                f"shape {value.shape}, {int((~np.isfinite(value)).sum())} not finite",
                f"Give one finite number, or one for each of the {bench.features} features",
            )
        every = np.broadcast_to(value, (bench.features,))

        def of(features: np.ndarray) -> np.ndarray:
            clean = clean_values(bench, features)
            wanted = every[features].reshape(-1, *[1] * (clean.ndim - 1))
            return np.broadcast_to(wanted, clean.shape)[:, None].copy()

        return of


def _check_value(value: object) -> None:
    """Refuse what is neither a number nor a list of numbers."""
    if isinstance(value, str | bytes) or not np.iterable(value):
        checked_number(value, "value")
        return
    for f, one in enumerate(value):  # type: ignore[arg-type]
        checked_number(one, f"value of feature {f}")
