"""Which of a result's outcomes a figure shows."""

from __future__ import annotations

from collections.abc import Sequence

from mrinterp.core.errors import InputError, near_misses

__all__ = ["chosen_outcome"]


def chosen_outcome(outcome: str | None, known: Sequence[str]) -> tuple[str, int]:
    """The outcome asked for, default the first, and its place.

    Raises
    ------
    InputError
        For an outcome that the result does not have.
    """
    name = known[0] if outcome is None else outcome
    if name not in known:
        raise InputError(
            f"outcome {name!r}", "not in the result", near_misses(name, known) or f"{list(known)}"
        )
    return name, list(known).index(name)
