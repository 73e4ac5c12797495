"""Kinds of knockout by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError, near_misses
from mrinterp.knockouts._kinds.clamp import Clamp
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.interchange import Interchange
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._kinds.mean import Mean
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._kinds.scale import Scale
from mrinterp.knockouts._kinds.shift import Shift
from mrinterp.knockouts._kinds.steer import Steer
from mrinterp.knockouts._kinds.zero import Zero

__all__ = ["KINDS", "kind_named"]

KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Contrast, Shift, Zero, Mean, Resample, Clamp, Scale, Steer, Interchange)
}
"""Every kind, by its name."""


def kind_named(kind: str | Kind | type, options: dict[str, Any], argument: str = "kind") -> Kind:
    """The kind of a name with its options; a kind itself is handed back. ``argument`` is named in messages.

    Raises
    ------
    InputError
        For an unknown name or option (with near misses), an option of another type, or options given to
        a kind that has its own.
    """
    if isinstance(kind, Kind):
        if options:
            raise InputError(
                f"option {next(iter(options))!r}", f"given beside {kind!r}", "Give options to the kind itself"
            )
        return kind
    if not isinstance(kind, str):
        found = f"the class {kind.__name__}" if isinstance(kind, type) else shown(kind)
        raise InputError(argument, found, f"Give a name ({', '.join(KINDS)}), or a kind such as Mean()")
    if kind not in KINDS:
        fix = f"{near_misses(kind, KINDS)} Known: {', '.join(KINDS)}"
        raise InputError(argument, repr(kind), fix.strip())
    known = [option.name for option in fields(KINDS[kind])]
    for name in options:
        if name not in known:
            fix = near_misses(name, known) or (f"It has {', '.join(known)}" if known else "It has none")
            raise InputError(f"kind {kind!r}", f"no option {name!r}", fix)
    try:
        return KINDS[kind](**options)
    except InputError as e:
        raise InputError(f"kind {kind!r}, option {e.where}", e.found, e.fix) from None
