"""Pairs of base and source inputs: drawn, checked, split by family, and with the answers that they must give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import check_tokens
from mrinterp.abstraction._causal_model import CausalModel, counterfactual_labels
from mrinterp.core.checks import checked_count, checked_fraction, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.positions import Position

__all__ = ["LabelledPairs", "checked_pairs", "draw_pairs", "held_out_families", "labelled_pairs"]

_CANDIDATES = 32
"""Sources looked at for every base. Where one source in ten is of the wanted kind, a base is left without one in 3 of
100 cases (0.9 to the power 32)."""

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
        The high-level model.
    settings : mapping of str to array (N, ...)
        The high-level inputs of the N inputs to draw from.
    variables : str or sequence of str
        The variable, or V variables, to be interchanged (each by itself).
    count : int
        M, the number of pairs.
    informative : float
        Share of pairs whose counterfactual label is to differ from the base's own.
    group : array (N,), optional
        A source has its base's group: `held_out_families`, so that no pair lies across the split.
    seed : int
        Of all draws.

    Returns
    -------
    base : ndarray (M,) of int
        Numbers of inputs that are run.
    source : ndarray (M,), or (M, V) for a sequence of variables
        Numbers of inputs whose values are put in.

    Raises
    ------
    InputError
        For an unknown variable, no inputs, or a group of one input.

    Notes
    -----
    Where a base has no source of the wanted kind among the ones looked at, any source is taken: the share
    that was reached stands in every result.

    Examples
    --------
    >>> from mrinterp.abstraction import draw_pairs
    >>> from mrinterp.worlds import equality_task
    >>> task = equality_task(60)
    >>> base, source = draw_pairs(task.model, task.settings, "left", 40)
    >>> base.shape, (task.values["left"][base] != task.values["left"][source]).mean().item() > 0.3
    ((40,), True)
    """
    checked_count(count, "count", unit="pairs")
    checked_fraction(informative, "informative")
    checked_seed(seed)
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


def held_out_families(family: ArrayLike, share: float = 0.3, *, seed: int = 0) -> NDArray[np.bool_]:
    """Draw families to be held out of a search.

    Parameters
    ----------
    family : array (N,)
        Family of every input.
    share : float
        Share of the families that are held out.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray (N,) of bool
        Which inputs belong to a family that is held out.

    Raises
    ------
    InputError
        For fewer than four families, or a share that leaves either side fewer than two.

    Examples
    --------
    >>> from mrinterp.abstraction import held_out_families
    >>> held = held_out_families(["a", "a", "b", "b", "c", "d"], share=0.5)
    >>> bool(held[0] == held[1]), held.sum().item() in (2, 3, 4)
    (True, True)
    """
    checked_fraction(share, "share")
    checked_seed(seed)
    names, codes = np.unique(np.asarray(family), return_inverse=True)
    count = round(share * len(names))
    if len(names) < 4 or not 2 <= count <= len(names) - 2:
        raise InputError(
            "held-out families",
            f"{count} of {len(names)}",
            "Give more families, or another share: at least two on either side",
        )
    out = np.zeros(len(names), dtype=bool)
    out[np.random.default_rng(seed).permutation(len(names))[:count]] = True
    return out[codes]


def checked_pairs(base: ArrayLike, source: ArrayLike, inputs: int, variables: int) -> tuple[Rows, Rows]:
    """Base (M,) and a source for each variable (M, V), checked.

    Raises
    ------
    InputError
        For lists of different length, numbers outside the inputs, or a single source for all pairs.
    """
    b, s = np.asarray(base), np.asarray(source)
    if b.ndim != 1 or not len(b) or s.ndim == 0 or len(s) != len(b):
        raise InputError(
            "pairs",
            f"{b.size} base inputs, {len(s) if s.ndim else 1} source inputs",
            "Give two lists of the same length, with at least one pair",
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
            "source", f"input {s.flat[0]} is the source of all pairs", "Give at least two different sources"
        )
    return b.astype(int), s.astype(int)


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """Base inputs (M,), sources (M, V) and the classes (M, V) that interchanging each variable must give."""

    base: Rows
    source: Rows
    wanted: Rows

    def __len__(self) -> int:
        return len(self.base)

    def take(self, rows: NDArray) -> LabelledPairs:
        """Some of the pairs."""
        return LabelledPairs(self.base[rows], self.source[rows], self.wanted[rows])

    def of(self, variable: int) -> LabelledPairs:
        """The pairs of one variable: one column."""
        column = slice(variable, variable + 1)
        return LabelledPairs(self.base, self.source[:, column], self.wanted[:, column])


def labelled_pairs(
    task: AbstractionTask, positions: Mapping[str, Position | None], base: ArrayLike, source: ArrayLike
) -> LabelledPairs:
    """The pairs of V variables, each interchanged by itself at the tokens of its position, checked.

    Raises
    ------
    InputError
        For a variable that the model does not have, pairs that do not fit the inputs, or tokens that a pair
        does not share.
    """
    task.checked(list(positions))
    b, s = checked_pairs(base, source, len(task.inputs), len(positions))
    wanted = []
    for v, (name, position) in enumerate(positions.items()):
        check_tokens(task.inputs, position, b, s[:, v])
        wanted.append(task.wanted([name], b, s[:, v : v + 1]))
    return LabelledPairs(b, s, np.stack(wanted, axis=1))
