"""Text that a terminal or a figure shows and does not obey."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Classes of characters that are obeyed instead of shown: controls, formats, halves of pairs, separators."""

_JOINERS = frozenset(
    "\u200c\u200d\ufe0f\u00ad"
)  # of some scripts and of emoji: they shape letters, nothing else


def printable(text: str, lines: bool = False) -> str:
    r"""Text with every control character written out (``\x1b``); with ``lines``, line breaks and tabs stay.

    Examples
    --------
    >>> print(printable("rs1" + chr(27) + "[2J"))
    rs1\x1b[2J
    """
    if text.isprintable():
        return text
    stay = _JOINERS | set("\n\t" if lines else "")
    return "".join(
        c if c in stay or unicodedata.category(c) not in _HIDDEN else c.encode("unicode_escape").decode()
        for c in text
    )
