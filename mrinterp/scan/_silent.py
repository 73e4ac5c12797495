"""Perturbations that never reach the site."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError

__all__ = ["refuse_silent_instruments"]


def refuse_silent_instruments(
    design: Design, rows: NDArray[np.int_], kind: NDArray, still: NDArray[np.bool_]
) -> None:
    """A perturbation that leaves the site bit for bit as it was is an error of the plan.

    Parameters
    ----------
    rows : ndarray (N,) of int
        Rows of the design.
    kind : ndarray (N,)
        Their kinds.
    still : ndarray (N,) of bool
        Runs in which nothing that was read at the site differs from the clean run.

    Raises
    ------
    InputError
        Names the kind or the instrument.
    """
    for name in sorted(set(kind) - {"clean"}):
        if still[kind == name].all():
            raise InputError(
                f"instruments.{name}",
                "never changes the site (discovery split)",
                "Check that the site lies downstream of the perturbed input",
            )
    slot = design.columns("slot")
    if not len(slot):
        return
    clean = design.runs["clean"].to_numpy()[rows]
    of_kind = np.flatnonzero(kind == "slot")
    change = np.asarray(design.doses[rows[of_kind]][:, slot]) - np.asarray(
        design.doses[clean[of_kind]][:, slot]
    )
    for j, name in enumerate(design.instruments["instrument"].to_numpy()[slot]):
        used = change[:, j] != 0
        alone = used & (np.abs(change).sum(axis=1) == 1)
        if alone.any() and still[of_kind][alone].all():
            raise InputError(
                f"instrument {name!r}",
                "never changes the site (discovery split)",
                "Give a filler that the tokenizer tells apart from the others",
            )
