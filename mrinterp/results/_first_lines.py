"""A result's sentences, as many as a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

__all__ = ["first_lines"]


def first_lines(sentences: Iterable[object], count: int, most: int = 40) -> str:
    """The first ``most`` of ``count`` sentences, one per line, and how many more there are."""
    lines = [str(s) for s in islice(sentences, most)]
    if count > most:
        lines.append(f"... and {count - most} more: see to_frame().")
    return "\n".join(lines)
