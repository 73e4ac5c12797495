"""Options of kinds, refused where they are of another type: named, with what was found and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from mrinterp.core.errors import InputError, near_misses
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._token_groups import BY, TokenGroups, token_groups

__all__ = ["check_number", "check_whole", "check_word", "groups_by", "short"]


def check_number(name: str, value: Any) -> None:
    """Refuse what is not one number (a truth value is none)."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(name, short(value), "Give one number")


def check_whole(name: str, value: Any, least: int, fix: str) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(name, short(value), "Give a whole number")
    if value < least:
        raise InputError(name, f"{value}", fix)


def check_word(name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse what is not one of the known words."""
    if not isinstance(value, str) or value not in known:
        near = near_misses(value, known) if isinstance(value, str) else ""
        raise InputError(name, short(value), f"{near} One of {', '.join(known)}".strip())


def groups_by(bench: Bench, by: str | None) -> TokenGroups | None:
    """Tokens that stand at the same place; None where the bench reads one value per input.

    Raises
    ------
    InputError
        Where ``by`` is given and cannot be used: another word, or no values of single tokens.
    """
    if by is not None:
        check_word("by", by, BY)
        if not bench.each:
            raise InputError(
                "by",
                f"{by!r}, but this bench reads one value per input ({bench.rule or 'no token axis'})",
                "Leave it out, or give every token a value of its own: Bench(..., rule=AllTokens())",
            )
    return token_groups(bench.inputs, by) if bench.each else None


def short(value: Any) -> str:
    """A value in few words: text as it is, anything else with its type."""
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if isinstance(value, str) else f"{text} ({type(value).__name__})"
