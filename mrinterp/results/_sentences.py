"""What results say: a few sentences of many, and what was written outside natural support."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_lines", "off_support_largest", "off_support_shares", "off_support_words"]

LONGEST = 1000
"""Characters after which the remaining sentences are counted rather than printed: about twelve lines."""


def first_lines(sentences: Iterable[object], count: int, longest: int = LONGEST) -> str:
    """As many of ``count`` sentences as fit in ``longest`` characters, one per line, and how many more there are."""
    lines: list[str] = []
    room = longest
    for sentence in sentences:
        line = str(sentence)
        if lines and len(line) > room:
            break
        lines.append(line if len(line) <= longest else line[: longest - 4] + " ...")
        room -= len(line)
    if count > len(lines):
        lines.append(f"... and {count - len(lines):,} more: see to_frame().")
    return "\n".join(lines)


def off_support_shares(meta: dict[str, Any], features: Iterable[str]) -> NDArray[np.float64]:
    """Share of what was written into each feature that its place never shows; nan where it is not known."""
    shares = meta.get("outside_support")
    return np.array([np.nan if shares is None else shares.get(name, 0.0) for name in features], dtype=float)


def off_support_largest(meta: dict[str, Any]) -> float:
    """The largest of these shares; 0 where nothing was written outside, nan where it is not known."""
    shares = meta.get("outside_support")
    return np.nan if shares is None else float(max(shares.values(), default=0.0))


def off_support_words(meta: dict[str, Any]) -> str:
    """A line that names the features of ``meta["outside_support"]``; empty where there are none."""
    shares = meta.get("outside_support") or {}
    if not shares:
        return ""
    worst = sorted(shares, key=lambda name: (-shares[name], name))
    named = ", ".join(f"{name} ({shares[name]:.0%} of what was written)" for name in worst[:4])
    more = f" and {len(worst) - 4} more" if len(worst) > 4 else ""
    return f"\nOutside natural support: {named}{more}."
