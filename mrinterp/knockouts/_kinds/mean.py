"""Mean ablation, per position or token class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets
from mrinterp.knockouts._token_groups import by_group, groups_by

__all__ = ["Mean"]


@dataclass(frozen=True)
class Mean(Kind):
    """Every value set to its mean over the clean inputs, the same for all of them.

    Parameters
    ----------
    by : {"position", "class", "all"}, optional
        Where every token has a value of its own (`AllTokens`): the mean of tokens at the same position, of
        the same class, or of all. Default: class where inputs have classes, else position. A mean blind to
        position writes, at massive activations, what that position never shows.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Mean(), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "mean"
    by: str | None = None

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return "set to the mean" + ("" if self.by is None else f" by {self.by}")

    def targets(self, bench: Bench) -> Targets:
        """Means, tokens weighing alike within a group."""
        groups = groups_by(bench, self.by)
        if groups is None:
            return lambda features: _repeat(_mean(clean_values(bench, features)), bench.prompts)
        return lambda features: by_group(clean_values(bench, features), groups, _mean)[:, None]


def _repeat(value: np.ndarray, prompts: int) -> np.ndarray:
    return np.repeat(value[:, None, None], prompts, axis=2)


def _mean(values: np.ndarray, axis: int = 1) -> np.ndarray:
    """The mean, held within the range: rounding must not move a feature that never varies."""
    low, high = values.min(axis=axis), values.max(axis=axis)
    return np.asarray(np.clip(values.mean(axis=axis), low, high))
