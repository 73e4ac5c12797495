"""Perturbations of rows of a table: columns resampled from other rows, noise on columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["ColumnNoise", "ColumnResampling"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnResampling:
    """Columns, each replaced at random by the value of another row: never outside the data's support.

    The dose is the change in standard deviations of the column, zero where it was left alone. (With doses of 0 and 1
    the changes, as often up as down, would average to zero: such an instrument moves no feature.)

    Parameters
    ----------
    probability : float
        Chance of every column to be replaced; at least one is.
    names : tuple of str
        Column names; default their numbers.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import ColumnResampling, perturb
    >>> table = np.random.default_rng(0).normal(size=(30, 2))
    >>> made = perturb(table, [ColumnResampling(names=("age", "dose"))], runs_per_input=1, placebos=0)
    >>> made.instruments, bool(np.isin(made.inputs, table).all())
    (('resampling:age', 'resampling:dose'), True)
    """

    probability: float = 0.3
    names: tuple[str, ...] = ()
    kind: str = "resampling"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per column."""
        if not 0 < self.probability < 1:
            raise InputError(
                "ColumnResampling.probability", f"{self.probability:g}", "Give a number between 0 and 1"
            )
        return column_names(shape, self.names)

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Changed rows, and each column's change in standard deviations."""
        spread = column_spread(inputs)
        if len(inputs) < 2:
            raise InputError("inputs", "one row", "Resampling needs other rows to draw from")
        shape = (len(clean), inputs.shape[1])
        hit = rng.random(shape) < self.probability
        forced = rng.integers(0, shape[1], len(clean))
        none = ~hit.any(axis=1)
        hit[np.flatnonzero(none), forced[none]] = True
        donor = (clean[:, None] + rng.integers(1, len(inputs), shape)) % len(inputs)
        drawn = np.take_along_axis(inputs, donor, axis=0)
        made = np.where(hit, drawn, inputs[clean])
        return made, (made - inputs[clean]) / spread


@dataclass(frozen=True)
class ColumnNoise:
    """Normal noise on every column; the dose is the noise in standard deviations of the column.

    Parameters
    ----------
    scale : float
        Standard deviation of the dose, in standard deviations of the column.
    names : tuple of str
        Column names; default their numbers.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import ColumnNoise, perturb
    >>> table = np.random.default_rng(0).normal(size=(30, 2))
    >>> made = perturb(table, [ColumnNoise(scale=0.5)], runs_per_input=1, placebos=0)
    >>> np.allclose(made.inputs[30:] - table, made.doses[30:] * table.std(axis=0))
    True
    """

    scale: float = 0.5
    names: tuple[str, ...] = ()
    kind: str = "noise"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per column."""
        if not self.scale > 0:
            raise InputError("ColumnNoise.scale", f"{self.scale:g}", "Give a positive number")
        return column_names(shape, self.names)

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Changed rows, and the doses."""
        doses = self.scale * rng.standard_normal((len(clean), inputs.shape[1]))
        return inputs[clean] + doses * column_spread(inputs), doses


def column_names(shape: tuple[int, ...], names: tuple[str, ...]) -> list[str]:
    """Given or numbered names of a row's columns.

    Raises
    ------
    InputError
        For inputs that are not rows of a table, or names that do not match.
    """
    if len(shape) != 1:
        raise InputError("rows", f"one input of shape {shape}", "Give a table (rows, columns)")
    chosen = list(names) or [str(i) for i in range(shape[0])]
    if len(chosen) != shape[0] or len(set(chosen)) != len(chosen):
        raise InputError(
            "names",
            f"{len(set(chosen))} distinct names for {shape[0]} columns",
            "Give each column a different name",
        )
    return chosen


def column_spread(inputs: Array) -> Array:
    """Standard deviation of every column.

    Raises
    ------
    InputError
        For a column that is constant.
    """
    spread = np.asarray(inputs.std(axis=0))
    if (spread <= 1e-12 * (1 + np.abs(inputs).max(axis=0))).any():
        raise InputError(
            f"column {int(spread.argmin())}",
            "constant",
            "Leave it out: it has no values to be perturbed to",
        )
    return spread
