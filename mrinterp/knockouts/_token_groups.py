"""Which tokens of different inputs stand at the same place, by position or by class; and summaries of each group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench

__all__ = ["BY", "TokenGroups", "by_group", "groups_by", "token_groups"]

Array = NDArray[np.float64]

BY = ("position", "class", "all")


@dataclass(frozen=True, eq=False)
class TokenGroups:
    """K groups of tokens.

    ``names`` (K,); ``code`` (P, T) the group of every token, -1 on padding; ``rank`` (P, T) its number among
    the tokens of its group in its own input.
    """

    names: tuple[str, ...]
    code: NDArray[np.int_]
    rank: NDArray[np.int_]


def token_groups(inputs: ModelInputs, by: str | None = None) -> TokenGroups:
    """Group the tokens of inputs.

    Parameters
    ----------
    by : {"position", "class", "all"}, optional
        Position counts an input's own tokens from its first, wherever the padding is. Default: classes
        where the inputs have them, because positions of inputs of different length are not the same
        place; else positions.

    Raises
    ------
    InputError
        For another word, or classes that the inputs do not have.
    """
    if by is not None:
        checked_choice(by, "by", BY)
    if inputs.mask is None:
        code = np.zeros((len(inputs), 1), dtype=int)
        return TokenGroups(("input",), code, code)
    mask = inputs.mask.bool().cpu().numpy()
    if by is None:
        by = "position" if inputs.classes is None else "class"
    if by == "class":
        if inputs.classes is None:
            raise InputError(
                "by", "'class', but the inputs have no classes", "Give classes, or by='position'"
            )
        code = np.where(mask, inputs.classes.cpu().numpy(), -1)
        K = int(code.max()) + 1
        known = inputs.class_names
        names = tuple(known[k] if k < len(known) else f"class {k}" for k in range(K))
    elif by == "all":
        code, names = np.where(mask, 0, -1), ("any token",)
    else:
        code = np.where(mask, mask.cumsum(axis=1) - 1, -1)
        names = tuple(f"token {k}" for k in range(int(code.max()) + 1))
    rank = np.zeros_like(code)
    for k in range(len(names)):
        here = code == k
        rank = np.where(here, here.cumsum(axis=1) - 1, rank)
    return TokenGroups(names, code, rank)


def groups_by(bench: Bench, by: str | None) -> TokenGroups | None:
    """Tokens that stand at the same place; None where the bench reads one value per input.

    Raises
    ------
    InputError
        Where ``by`` is given and cannot be used: another word, or no values of single tokens.
    """
    if by is not None:
        checked_choice(by, "by", BY)
        if not bench.each:
            raise InputError(
                "by",
                f"{by!r}, but this bench reads one value per input ({bench.position or 'no token axis'})",
                "Leave it out, or give every token a value of its own: Bench(..., position=AllTokens())",
            )
    return token_groups(bench.inputs, by) if bench.each else None


def by_group(values: Array, groups: TokenGroups, summary: Callable[..., Array]) -> Array:
    """Every token's value replaced by the summary of its group's tokens in all inputs.

    Parameters
    ----------
    values : ndarray (f, P, T)
    summary : callable
        ``summary(values (f, n), axis=1) -> (f,)``: a mean, a quantile.

    Returns
    -------
    ndarray (f, P, T)
        nan on padding.
    """
    out = np.full(values.shape, np.nan)
    for k in range(len(groups.names)):
        here = groups.code == k
        if here.any():
            out[:, here] = np.asarray(summary(values[:, here], axis=1))[:, None]
    return out
