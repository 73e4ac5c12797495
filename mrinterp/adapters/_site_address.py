"""Addresses of sites: a module's path, which of its calls in one pass is meant, and its input or output."""

from __future__ import annotations

import re

__all__ = ["INPUT", "call_number", "module_path"]

INPUT = ":input"
"""After a module's path: the site is what goes into the module, not what comes out."""

_CALL = re.compile(r"@(\d+)$")
"""After a module's path (and before `INPUT`): the first, second, ... call of a module that a pass runs several times."""


def module_path(site: str) -> str:
    """The dotted path of a site's module.

    Examples
    --------
    >>> module_path("h.0@2:input"), module_path("h.0")
    ('h.0', 'h.0')
    """
    return _CALL.sub("", site.removesuffix(INPUT))


def call_number(site: str) -> int | None:
    """Which call of the module is meant, counted from 1; None where the address does not say.

    Examples
    --------
    >>> call_number("h.0@2:input"), call_number("h.0")
    (2, None)
    """
    found = _CALL.search(site.removesuffix(INPUT))
    return None if found is None else int(found.group(1))
