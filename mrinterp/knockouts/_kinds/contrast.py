"""The natural contrast: a feature at its high against its low natural value, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_fraction
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import ROUNDING, written_tokens
from mrinterp.knockouts._contrast_levels import contrast_groups, contrast_levels
from mrinterp.knockouts._kinds.kind import Kind, Targets
from mrinterp.results._contrast_levels import ContrastLevels

__all__ = ["Contrast"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


@dataclass(frozen=True)
class Contrast(Kind):
    """Every token set to the high, then to the low value that the feature naturally has there: the estimand of a claim.

    Parameters
    ----------
    low, high : float
        Quantiles of the clean values of a token's own class (or position), between 0 and 1.
    by : {"position", "class", "all"}, optional
        Which tokens share their values: see `contrast_levels`.
    levels : ContrastLevels, optional
        Low and high values learned elsewhere, such as on a study's discovery families. Default: from the bench itself.

    Notes
    -----
    ``mean`` of its effects is Y(high) - Y(low), everything downstream free to respond. It is written token by token even
    where the bench reads a mean over tokens (`Bench.by_token`): a shift of a mean is far smaller than what single tokens
    do. A feature that rarely fires is written only where it fires, high against its usual value; ``as_it_is`` then has
    what its firing does: Y(as it is) - Y(usual value). Tokens of a group in which the feature does not vary are left as
    they are.

    The standard deviation of a normal feature is (high - low) / 2.563 for the quantiles .1 and .9: effects per *natural
    sd* are this contrast divided by 2.563, whatever the distribution.

    Not valid where values are natural one by one but not together with the rest of the site.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> found = mrinterp.knock_out(bench, mrinterp.knockouts.Contrast(), "linear")
    >>> found.effect.round(6), bool(found.mean[0, 0] > 1)
    (array([[1.]]), True)
    """

    name: ClassVar[str] = "contrast"
    each_token: ClassVar[bool] = True
    low: float = 0.1
    high: float = 0.9
    by: str | None = None
    levels: ContrastLevels | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if checked_fraction(self.low, "low") >= checked_fraction(self.high, "high"):
            found = f"{self.low:g} and {self.high:g}"
            raise InputError("low, high", found, "Give a low quantile below the high one")
        if self.levels is not None and not isinstance(self.levels, ContrastLevels):
            raise InputError("levels", f"a {type(self.levels).__name__}", "Give what contrast_levels returns")

    @property
    def signs(self) -> tuple[float, ...]:
        """High less low; twice, because the mean over the two swaps halves it."""
        return (2.0, -2.0)

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return f"natural contrast, quantile {self.high:g} against {self.low:g}"

    @property
    def options(self) -> dict[str, Any]:
        """Levels are a result of their own: where they come from."""
        given = "the bench itself" if self.levels is None else f"{self.levels.families} families"
        return {"low": self.low, "high": self.high, "by": self.by, "levels": given}

    def learned(self, bench: Bench) -> Contrast:
        """The contrast with its levels."""
        if self.levels is not None:
            return self
        return replace(self, levels=contrast_levels(bench, self.low, self.high, self.by))

    def usual_swap(self, features: Sequence[str]) -> NDArray[np.int_]:
        """The high or the low value, whichever is the usual one of a feature that rarely fires."""
        if self.levels is None:
            return super().usual_swap(features)
        row = [self.levels.features.index(n) for n in features]
        usual, low = self.levels.usual[row], self.levels.low[row, -1]
        return np.where(np.isnan(usual), -1, np.where(usual == low, 1, 0))

    def targets(self, bench: Bench) -> Targets:
        """High and low values, by token."""
        values = self.values_of(bench)
        return lambda features: values(features, slice(None))

    def values_of(self, bench: Bench) -> Callable[[Rows, Rows | slice], Array]:
        """High and low values (f, 2, p[, T]) of some features on some prompts; nan where nothing is written."""
        levels = self.learned(bench).levels
        assert levels is not None
        missing = [n for n in bench.view.names if n not in levels.features]
        if missing:
            fix = "Learn them on a bench of the same features: contrast_levels(bench)"
            raise InputError("levels", f"none for the feature {missing[0]!r}", fix)
        row = np.array([levels.features.index(n) for n in bench.view.names])
        groups = contrast_groups(bench, self.by)
        any_token = len(levels.groups) - 1
        column = np.array([levels.groups.index(n) if n in levels.groups else any_token for n in groups.names])
        here = written_tokens(bench) & (groups.code >= 0)
        place = np.where(here, column[groups.code], any_token)

        largest = np.abs(bench.values.reshape(-1, bench.features)).max(axis=0)

        def of(features: Rows, prompts: Rows | slice) -> Array:
            rows, at, own = row[features], place[prompts], here[prompts]
            tokens = np.moveaxis(bench.values[prompts][..., features], -1, 0)
            high, low = (x[rows][:, at] for x in (levels.high, levels.low))
            usual, slack = levels.usual[rows], ROUNDING * largest[features]
            # Never of a feature without a usual value.
            still = np.abs(tokens.reshape(high.shape) - usual[:, None, None]) <= slack[:, None, None]
            values = np.stack([high, low], axis=1)
            values[np.broadcast_to((still | ~own)[:, None], values.shape)] = np.nan
            return values.reshape(len(features), 2, *tokens.shape[1:])

        return of
