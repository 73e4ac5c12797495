"""A sweep of edited runs: its work, block by block, and what it showed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["CHECKED", "EditedRuns", "Sweep"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

CHECKED = 8
"""Prompts of every arm on which all other features are read again (the edited ones are read on every run)."""


@dataclass(frozen=True, eq=False)
class EditedRuns:
    """What the runs of A arms on P prompts showed.

    Parameters
    ----------
    outcome : ndarray (A, P, O)
        Outcomes, in their own units.
    read_back : ndarray (A,)
        Largest difference between a value written and the one read again, in units of the features.
    leakage : ndarray (A,)
        Largest change of any feature that was not written, over the first 8 prompts, in its units.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> arms, zeros = np.array([[0], [1]]), np.zeros((2, 1, bench.prompts))
    >>> bench.sweep(arms, zeros, "two features set to zero").outcome.shape
    (2, 40, 1)
    """

    outcome: Array
    read_back: Array
    leakage: Array


class Sweep:
    """The work of a sweep, block by block: ``sweep(index)`` runs the runs of these numbers.

    Parameters and errors are those of `Bench.sweep`.
    """

    def __init__(self, bench: Any, features: Rows, values: Array, what: str) -> None:
        self.bench, self.what = bench, what
        self.features, self.values = np.asarray(features), np.asarray(values, dtype=float)
        self._check()

    @property
    def key(self) -> str:
        """Digest of everything that is written."""
        written = self.features.tobytes() + np.ascontiguousarray(self.values).tobytes()
        return hashlib.sha256(written).hexdigest()

    def __call__(self, index: Rows) -> dict[str, NDArray]:
        """Outcomes (n, O) of runs, and their largest read-back errors ``own`` and leakages ``other`` (n,)."""
        bench = self.bench
        arm, prompt = np.divmod(index, bench.prompts)
        chosen = self.features[arm]
        unique = np.unique(chosen[chosen >= 0])
        if not len(unique):
            zero = np.zeros(len(index))
            return {"outcome": bench.run_block(prompt, {}, self.what, index)[0], "own": zero, "other": zero}
        row, slot = np.nonzero(chosen >= 0)
        column = np.searchsorted(unique, chosen[row, slot])
        target = bench.values[..., unique][prompt]  # a copy of what is written, not of all features
        new = self.values[arm[row], slot, prompt[row]]
        if bench.each:
            target[row, :, column] = np.where(np.isnan(new), target[row, :, column], new)
        else:
            target[row, column] = np.where(np.isnan(new), target[row, column], new)
        view, positions = bench.view.select(unique), bench.inputs.take(prompt).at(bench.position)
        wanted = torch.from_numpy(target.reshape(len(index), -1))
        tokens = None if bench.inputs.mask is None else bench.inputs.mask.shape[1]

        def edit(h: torch.Tensor) -> torch.Tensor:
            if h.ndim != 3 or tokens is None or h.shape[1] == tokens:
                return view.write(h, wanted.to(h.device), positions)
            own = view.write(h[:, :tokens], wanted.to(h.device), positions)
            return torch.cat([own, h[:, tokens:]], dim=1)  # text that is being generated is let alone

        outcome, h = bench.run_block(prompt, {bench.site: edit}, self.what, index, read=True)
        own = np.abs(bench.read_view(view, h, positions) - target)
        own = own.reshape(len(index), -1, len(unique)).max(axis=1)
        written = np.zeros(own.shape, dtype=bool)
        written[row, column] = True
        other = self._leakage(prompt, unique, written, h)
        return {"outcome": outcome, "own": np.where(written, own, 0).max(axis=1), "other": other}

    def _leakage(self, prompt: Rows, unique: Rows, written: NDArray[np.bool_], h: torch.Tensor) -> Array:
        """Largest change of features that a run did not write, on the checked prompts; 0 on the others."""
        bench, out = self.bench, np.zeros(len(prompt))
        rows = np.flatnonzero(prompt < CHECKED)
        if not len(rows) or len(unique) == bench.features == 1:
            return out
        positions = bench.inputs.take(prompt[rows]).at(bench.position)
        read = bench.read_view(bench.view, h[torch.from_numpy(rows).to(h.device)], positions)
        change = np.abs(read - bench.values[prompt[rows]])
        change = change.reshape(len(rows), -1, bench.features).max(axis=1)
        change[:, unique] = np.where(written[rows], 0.0, change[:, unique])
        out[rows] = change.max(axis=1)
        return out

    def _check(self) -> None:
        bench, features, values, what = self.bench, self.features, self.values, self.what
        tokens = (bench.values.shape[1],) if bench.each else ()
        wanted = (*features.shape, bench.prompts, *tokens)
        if features.ndim != 2 or values.shape != wanted:
            raise InputError(
                f"{what}: values",
                f"shape {values.shape} for features {features.shape}",
                f"Give {wanted}: arms, features of an arm, prompts{', tokens' if tokens else ''}",
            )
        if features.size and (features.max() >= bench.features or features.min() < -1):
            raise InputError(
                f"{what}: features",
                f"number {features.max() if features.max() >= bench.features else features.min()}",
                f"The view has {bench.features}: they run from 0 to {bench.features - 1}",
            )
        if np.isinf(values).any():
            arm = int(np.argwhere(np.isinf(values))[0, 0])
            raise InputError(f"{what}: values of arm {arm}", "infinite", "Write finite values")
