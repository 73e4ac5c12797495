"""Pairs of base and source inputs for interchange interventions, and families held out of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._causal_model import CausalModel
from mrinterp.abstraction._counterfactual_labels import counterfactual_labels
from mrinterp.core.errors import InputError

__all__ = ["checked_pairs", "draw_pairs", "held_out_families"]

_CANDIDATES = 32
"""Sources looked at for every base."""

Rows = NDArray[np.int_]


def draw_pairs(
    model: CausalModel,
    settings: Mapping[str, ArrayLike],
    variables: str | Sequence[str],
    count: int,
    *,
    informative: float = 0.5,
    group: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[Rows, Rows]:
    """Draw base inputs evenly, and for each a source, so that enough pairs can tell something.

    Parameters
    ----------
    model : CausalModel
    settings : mapping of str to array (N, ...)
        The high-level inputs of the N inputs to draw from.
    variables : str or sequence of str
        The variable, or V variables, to be interchanged (each by itself).
    count : int
        Pairs.
    informative : float
        Share of pairs whose counterfactual label is to differ from the base's own.
    group : array (N,), optional
        A source has its base's group: `held_out_families`, so that no pair lies across the split.
    seed : int

    Returns
    -------
    base : ndarray (M,)
    source : ndarray (M,), or (M, V) for a sequence of variables

    Notes
    -----
    Where a base has no source of the wanted kind among the ones looked at, any source is taken: the share
    that was reached stands in every result.

    Raises
    ------
    InputError
        For an unknown variable, no inputs, or a group of one input.
    """
    names = [variables] if isinstance(variables, str) else list(variables)
    whole = model.run(settings)
    N = len(whole[model.output])
    groups = np.zeros(N, dtype=int) if group is None else np.unique(np.asarray(group), return_inverse=True)[1]
    if groups.shape != (N,) or np.bincount(groups).min() < 2:
        raise InputError(
            "group",
            f"shape {groups.shape} for {N} inputs, or one input alone",
            "Give each group several inputs",
        )
    if count < 1 or not 0 <= informative <= 1:
        found = f"count {count}, informative {informative:g}"
        raise InputError("pairs", found, "Ask for at least one pair, and a share from 0 to 1")
    rng = np.random.default_rng(seed)
    rounds = -(-count // N)
    base = np.concatenate([rng.permutation(N) for _ in range(rounds)])[:count]
    order = np.argsort(groups, kind="stable")
    starts, sizes = np.searchsorted(groups[order], np.arange(groups.max() + 1)), np.bincount(groups)
    own = groups[base]
    columns = []
    for name in names:
        place = rng.integers(0, sizes[own][:, None], size=(count, _CANDIDATES))
        candidates = order[starts[own][:, None] + place]
        pairs = np.repeat(base, _CANDIDATES), candidates.reshape(-1, 1)
        changed = counterfactual_labels(model, settings, [name], *pairs) != whole[model.output][pairs[0]]
        changed = changed.reshape(count, _CANDIDATES)
        wanted = (rng.random(count) < informative)[:, None]
        columns.append(candidates[np.arange(count), (changed == wanted).argmax(axis=1)])
    return base, columns[0] if isinstance(variables, str) else np.stack(columns, axis=1)


def held_out_families(family: ArrayLike, share: float = 0.3, seed: int = 0) -> NDArray[np.bool_]:
    """Which inputs (N,) belong to the families that are held out, drawn by the seed.

    Raises
    ------
    InputError
        For fewer than four families, or a share that leaves either side fewer than two.
    """
    names, codes = np.unique(np.asarray(family), return_inverse=True)
    count = round(share * len(names))
    if len(names) < 4 or not 2 <= count <= len(names) - 2:
        raise InputError(
            "held-out families",
            f"{count} of {len(names)}",
            "Give more families, or another share: two at least on either side",
        )
    out = np.zeros(len(names), dtype=bool)
    out[np.random.default_rng(seed).permutation(len(names))[:count]] = True
    return out[codes]


def checked_pairs(base: ArrayLike, source: ArrayLike, inputs: int, variables: int) -> tuple[Rows, Rows]:
    """Base (M,) and a source for each variable (M, V), checked.

    Raises
    ------
    InputError
        For lists of different length, numbers that are no inputs, or a single source for all pairs.
    """
    b, s = np.asarray(base), np.asarray(source)
    if b.ndim != 1 or not len(b) or s.ndim == 0 or len(s) != len(b):
        raise InputError(
            "pairs",
            f"{b.size} base inputs, {len(s) if s.ndim else 1} source inputs",
            "Give lists of the same length, not empty",
        )
    s = np.repeat(s[:, None], variables, axis=1) if s.ndim == 1 else s
    if s.shape != (len(b), variables):
        raise InputError(
            "source", f"shape {s.shape}", f"Give (pairs,) or (pairs, {variables}): one per variable"
        )
    for name, value in (("base", b), ("source", s)):
        if value.dtype.kind not in "iu" or value.min() < 0 or value.max() >= inputs:
            bad = value.dtype if value.dtype.kind not in "iu" else value[(value < 0) | (value >= inputs)][0]
            raise InputError(name, f"{bad}", f"Give numbers of inputs, from 0 to {inputs - 1}")
    if len(np.unique(s)) < 2:
        raise InputError(
            "source", f"input {s.flat[0]} serves all pairs", "Give at least two different sources"
        )
    return b.astype(int), s.astype(int)
