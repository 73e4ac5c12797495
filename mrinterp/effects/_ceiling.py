"""The best grade that a claim can reach, whatever it shows: by what it rests on and by how many families there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.plan import FEWEST_FAMILIES, MIN_FAMILIES
from mrinterp.results._estimates import Estimates

__all__ = ["CEILINGS", "ceilings"]

MANY_FAMILIES = 160
"""Families in all below which no claim exceeds C."""

LOCAL, FEW, BORROWED = "local slope", f"fewer than {MANY_FAMILIES} families in all", "bias borrowed"
UNMEASURED, TOO_FEW = "bias not measured", f"fewer than {MIN_FAMILIES} families in all"
DOUBTED = "specification doubted"
NOT_KNOCKED_OUT = f"fewer than {FEWEST_FAMILIES} knocked-out families"

CEILINGS = {
    "": "A",
    FEW: "C",
    LOCAL: "C",
    BORROWED: "C",
    UNMEASURED: "D",
    DOUBTED: "D",
    TOO_FEW: "N",
    NOT_KNOCKED_OUT: "N",
}
"""Best grade by what stands in the way, the least first; "N": not evaluable. A claim has the last one that holds of it."""


def ceilings(estimates: Estimates, families: int | None = None) -> NDArray[np.object_]:
    """What keeps every effect from a better grade.

    Parameters
    ----------
    estimates : Estimates
        F features on O outcomes: what claims rest on. Knocked-out families of every effect are ``details["families"]``.
    families : int, optional
        In all, discovery among them. Default: those that the estimates say they stand for (``meta["all_families"]``);
        where they do not say it, their number bounds nothing.

    Returns
    -------
    ndarray (F, O) of str
        Keys of `CEILINGS`; "" where nothing does.

    Notes
    -----
    A rectified claim needs 10 knocked-out families and 40 in all; below 160 its grade is C at most. Local slopes are C at
    most, D where their bias was not measured.
    """
    meta = estimates.meta
    found = np.full(estimates.beta.shape, "", dtype=object)
    known = families if families is not None else meta.get("all_families")
    knocked = np.asarray(estimates.details.get("families", np.full(found.shape, np.inf)))
    bias = str(meta.get("bias", "unmeasured"))
    holds = {
        FEW: known is not None and known < MANY_FAMILIES,
        LOCAL: meta.get("estimand", LOCAL) == LOCAL,
        BORROWED: bias == "borrowed",
        UNMEASURED: bias == "unmeasured",
        TOO_FEW: known is not None and known < MIN_FAMILIES,
        NOT_KNOCKED_OUT: knocked < FEWEST_FAMILIES,
    }
    for why, here in holds.items():
        found[np.broadcast_to(here, found.shape)] = why
    return found
