"""At which tokens features are read and written, where a plan leaves it open: chosen on the discovery split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import ChannelMap
from mrinterp.features._units import WholeLayer
from mrinterp.models._cut import CutNetwork
from mrinterp.models._gradient import outcomes_without_gradient
from mrinterp.models._write_gradient import write_gradient
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import MEAN_OF_TOKENS, EachToken, TokenClass
from mrinterp.results._check import NotApplicable

__all__ = ["choose_position"]

Array = NDArray[np.float64]

PROMPTS = 128
"""Clean discovery prompts, at most, that are looked at."""

MOST = 0.5
"""Share of the outcome's variation from which on one token class is taken alone."""


def choose_position(network: CutNetwork, design: Design) -> dict[str, Any]:
    """The token class that carries most of what makes the outcome differ between prompts; else the mean, and why.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design.

    Returns
    -------
    dict
        ``position``, as a study file would state it; ``shares`` by token class; ``why``, in words.

    Notes
    -----
    What a class carries of one prompt is sum_t g_t (h_t - m), over its tokens: g the outcome's gradient by the site's
    activation h, m the mean of the class. A class's share is its sum of squares over that of all classes, averaged over
    the outcomes that have a gradient. A class is taken if it holds at least half and every prompt has it. It is a rule of
    first order, for the place where to look and for nothing else: no claim rests on it.
    """
    if network.inputs.mask is None:
        return {"position": "mean", "shares": {}, "why": "the site holds one vector per input"}
    classes = network.inputs.class_names
    where = {"position": "mean", "shares": {}}
    unlike = "features are read as the mean over all tokens, which are unlike each other"
    if network.inputs.classes is None or not classes:
        return where | {"why": f"inputs have no token classes: {unlike}"}
    inputs = design.runs["input"].to_numpy()[design.rows("discovery", ("clean",))]
    rows = inputs[np.unique(np.linspace(0, len(inputs) - 1, PROMPTS).astype(int))]
    carried = _carried(network, rows, int(design.settings["block"]), len(classes))
    if carried is None:
        return where | {"why": f"no outcome has a gradient that would say which tokens matter: {unlike}"}
    square = (carried**2).sum(axis=0)
    total = square.sum(axis=0)
    if not (total > 0).any():
        return where | {"why": f"the gradient of every outcome is 0 at the site: {unlike}"}
    share = (square / np.where(total > 0, total, 1.0))[:, total > 0].mean(axis=1)
    shares = {n: float(s) for n, s in zip(classes, share, strict=True)}
    order = np.argsort(-share, kind="stable")
    first = int(order[0])
    named = ", ".join(f"{classes[k]} {share[k]:.0%}" for k in order[:4])
    of = f"shares of the outcome's differences between prompts, to first order: {named}"
    if share[first] < MOST:
        return {"position": "mean", "shares": shares, "why": f"{of}; no class holds half: {unlike}"}
    if not _everywhere(network, first):
        return {
            "position": "mean",
            "shares": shares,
            "why": f"{of}; some prompts have no token of class {classes[first]!r}: {unlike}",
        }
    return {"position": classes[first], "shares": shares, "why": of}


def _everywhere(network: CutNetwork, number: int) -> bool:
    """Whether every input has a token of the class."""
    try:
        network.inputs.at(TokenClass(number))
    except InputError:
        return False
    return True


def _carried(network: CutNetwork, rows: NDArray[np.int_], block: int, classes: int) -> Array | None:
    """What the tokens of each class add to each outcome with a gradient, to first order, (P, C, O); None without one."""
    lacking = outcomes_without_gradient(network, rows[:1])
    outcomes = [p for p in network.outcome.parts if not set(p.names) & set(lacking)]
    if not outcomes:
        return None
    view = WholeLayer(network.width)
    every = EachToken(MEAN_OF_TOKENS)
    seen = replace(replace(network, position=every).viewing(view), outcome=OutcomeSet(outcomes))
    values, slopes, code = [], [], []
    for a in range(0, len(rows), block):
        inputs = network.inputs.take(rows[a : a + block])
        assert inputs.classes is not None
        assert inputs.mask is not None
        outcome = seen.outcome.take(rows[a : a + block])
        written = ChannelMap(view) if network.is_map else view
        made = write_gradient(network.adapter, network.site, written, inputs, outcome, every)
        if isinstance(made, NotApplicable):
            return None
        shape = (len(inputs), -1, network.width)
        values.append(seen.run(rows[a : a + block], cut=False).features.reshape(shape).astype(np.float32))
        slopes.append(made[1].reshape(len(inputs), made[1].shape[1], *values[-1].shape[1:]))
        code.append(np.where(inputs.mask.bool().cpu().numpy(), inputs.classes.cpu().numpy(), -1))
    h, number = np.concatenate(values), np.concatenate(code)
    for k in range(classes):
        here = number == k
        if here.any():
            h[here] -= h[here].mean(axis=0)
    each = np.concatenate(
        [
            np.einsum("notw,ntw->nto", g, part)
            for g, part in zip(slopes, np.split(h, np.cumsum([len(g) for g in slopes])[:-1]), strict=True)
        ]
    )
    found = np.zeros((len(h), classes, each.shape[2]))
    for k in range(classes):
        found[:, k] = np.where((number == k)[..., None], each, 0.0).sum(axis=1)
    return found
