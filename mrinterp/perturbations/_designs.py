"""Designs around a perturbation: one place at a time, and the same perturbation at several doses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.perturbations._images import Occlusion
from mrinterp.perturbations._perturb import Perturbation, PerturbedInputs

__all__ = ["DoseSeries", "Saturation"]

Array = NDArray[np.float64]

EVERYWHERE = float(np.nextafter(1.0, 0.0))
"""A probability with which every place is perturbed: the largest below 1."""


@dataclass(frozen=True)
class Saturation:
    """One place at a time, each in turn: a token, a column or a patch by itself (in-silico mutagenesis).

    Runs of an input go through its places from one drawn at random. With as many runs per input as there are instruments
    (``len(saturation.instruments(shape))``) every place of every input is perturbed once; with fewer, all places
    about equally often.

    Parameters
    ----------
    of : Perturbation
        Whose instruments have a place each: `TokenMasking`, `TokenResampling`, `TokenSubstitution` without ``words``,
        `ColumnResampling`, `ColumnNoise` or `Occlusion`. Its probability is not used.
    kind : str
        Name of this kind of perturbation in a design.

    Raises
    ------
    InputError
        When runs are made: for a perturbation whose instruments share places (deletions, swaps, noise along patterns).

    Notes
    -----
    Each run is compared with the clean one: ``marginal_scan(panel, factorial=False)``. What two places do together is not in it;
    a factorial design, which perturbs several at once, needs fewer runs for the same error where places add up.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import Saturation, TokenMasking, perturb
    >>> prompts = np.array([[0, 3, 5], [0, 4, 6]])  # every text begins with token 0, which is left alone
    >>> made = perturb(prompts, [Saturation(TokenMasking(mask_id=9))], runs_per_input=3, placebos=0)
    >>> sorted(made.inputs[2:].tolist())
    [[0, 3, 9], [0, 4, 9], [0, 9, 5], [0, 9, 6]]
    """

    of: Perturbation
    kind: str = "saturation"

    @property
    def whole_numbers(self) -> bool:
        """Whether tokens are edited."""
        return bool(getattr(self.of, "whole_numbers", False))

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """Those of the perturbation."""
        self._places(shape)
        return self.of.instruments(shape)

    def draw(
        self, rng: np.random.Generator, inputs: NDArray[Any], clean: NDArray[np.int_]
    ) -> tuple[NDArray[Any], Array]:
        """Copies with one place perturbed, and what was done there."""
        places = self._places(inputs.shape[1:])
        begin = rng.integers(0, len(places), len(inputs))
        turn = (begin[clean] + _number_within(clean)) % len(places)
        whole = replace(self.of, probability=EVERYWHERE) if hasattr(self.of, "probability") else self.of  # type: ignore[type-var]
        made, doses = whole.draw(rng, inputs, clean)
        alone = np.zeros_like(doses)
        alone[np.arange(len(clean)), turn] = doses[np.arange(len(clean)), turn]
        return np.where(places[turn], made, inputs[clean]), alone

    def _places(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """What each instrument changes of an input, (J, ...)."""
        count = len(self.of.instruments(shape))
        if isinstance(self.of, Occlusion):
            side = self.of.patch
            rows, columns = -(-shape[-2] // side), -(-shape[-1] // side)
            number = np.arange(rows * columns).reshape(rows, columns)
            number = number.repeat(side, axis=0).repeat(side, axis=1)[: shape[-2], : shape[-1]]
            mask = number == np.arange(count)[:, None, None]
            return mask if len(shape) == 2 else np.broadcast_to(mask[:, None], (count, *shape))
        moves = self.of.kind in ("deletion", "swap", "paraphrase")
        if moves or len(shape) != 1 or count != shape[0]:
            found = f"{self.of.kind!r}, whose instruments share places"
            fix = "Take masking, resampling, substitution without words, columns or occlusion"
            raise InputError("Saturation.of", found, fix)
        return np.eye(count, dtype=bool)


@dataclass(frozen=True)
class DoseSeries:
    """The same perturbation at several doses: every draw is run once at each level, so that only the dose differs.

    Effects that grow with the dose in proportion are linear over the range of the levels; where they do not, a feature's or an outcome's
    response is curved, and an estimate holds for the size of change that it was made with.

    Parameters
    ----------
    of : Perturbation
        Of numbers, not of tokens: noise, occlusion, columns.
    levels : tuple of float
        What each draw is multiplied by; negative ones turn it around.
    kind : str
        Name of this kind of perturbation in a design.

    Raises
    ------
    InputError
        When runs are made: for edits of tokens, levels that are no series (fewer than two, equal ones, 0), or runs per input that
        are no multiple of their number.

    Notes
    -----
    Levels between 0 and 1 of `ColumnResampling` and `Occlusion` are mixtures with the clean input, off the support of the data.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import ColumnNoise, DoseSeries, perturb
    >>> table = np.random.default_rng(0).normal(size=(10, 2))
    >>> series = DoseSeries(ColumnNoise(), levels=(0.5, 1.0, 2.0))
    >>> made = perturb(table, [series], runs_per_input=3, placebos=0)
    >>> level = series.level(made)
    >>> level[10:14].tolist(), (made.doses[10] * 4 == made.doses[12]).all().item()
    ([0.5, 1.0, 2.0, 0.5], True)
    """

    of: Perturbation
    levels: tuple[float, ...] = (0.5, 1.0, 2.0)
    kind: str = "dose_series"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """Those of the perturbation."""
        if getattr(self.of, "whole_numbers", False):
            found = f"{self.of.kind!r}, an edit of tokens"
            raise InputError(
                "DoseSeries.of", found, "A token has no dose: embed the tokens and perturb these"
            )
        levels = np.asarray(self.levels, dtype=float)
        if len(levels) < 2 or len(np.unique(levels)) < len(levels) or not (levels != 0).all():
            raise InputError("DoseSeries.levels", str(self.levels), "Give two or more different ones, none 0")
        if not np.isfinite(levels).all():
            raise InputError("DoseSeries.levels", str(self.levels), "Give finite numbers")
        return self.of.instruments(shape)

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Copies at every level, and their doses."""
        count, number = len(self.levels), _number_within(clean)
        first = number % count == 0
        if len(clean) % count or (clean[first].repeat(count) != clean).any():
            found = f"runs of an input that are no multiple of {count}"
            raise InputError("runs_per_input", found, f"Give a multiple of the {count} levels")
        made, doses = self.of.draw(rng, inputs, clean[first])
        level, draw = np.asarray(self.levels)[number % count], first.cumsum() - 1
        step = level.reshape(-1, *[1] * (inputs.ndim - 1)) * (made - inputs[clean[first]])[draw]
        return inputs[clean] + step, level[:, None] * doses[draw]

    def level(self, made: PerturbedInputs) -> Array:
        """Level (N,) of every run that `mrinterp.perturbations.perturb` made; 0 for those of other kinds."""
        out, rows = np.zeros(len(made.kind)), np.flatnonzero(made.kind == self.kind)
        out[rows] = np.asarray(self.levels)[_number_within(made.prompt[rows]) % len(self.levels)]
        return out


def _number_within(clean: NDArray[np.int_]) -> NDArray[np.int_]:
    """Number of every run among those of its input, which stand side by side in the inputs' order."""
    return np.asarray(np.arange(len(clean)) - np.searchsorted(clean, clean))
