"""Refuses options that a method does not have, or values of the wrong kind, before anything is computed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from numbers import Integral, Real
from typing import Any

from mrinterp.core.checks import MOST_DRAWS, checked_draws, checked_seed
from mrinterp.core.errors import InputError, near_misses
from mrinterp.mr._engine.registry import Estimator

__all__ = ["check_options"]

SAMPLE_SIZES = ("n",)
"""Options that count what was measured, not what is to be computed."""

_WORDS = {
    "bool": "true or false",
    "int": "a whole number, 0 or more",
    "float": "a finite number",
    "str": "a word",
}


def check_options(how: Estimator, options: Mapping[str, Any], given: Collection[str]) -> None:
    """Check names and kinds of a method's options; what a word may say is for the method to check.

    Parameters
    ----------
    how : Estimator
    options : mapping
        As the user gave them.
    given : collection of str
        Keywords that come from the data, which are no options.

    Raises
    ------
    InputError
        Naming the option, the method, what was found and what the method has.
    """
    parameters = inspect.signature(how.kernel).parameters
    known = [k for k in how.options if k not in given]
    for name, value in options.items():
        if name not in known:
            hint = near_misses(name, known) or f"Known: {', '.join(known) or 'none'}"
            raise InputError(f"option {name!r} of {how.name!r}", "no such option", hint)
        if isinstance(value, Integral) and name == "seed":
            checked_seed(value, f"option {name!r} of {how.name!r}")
        elif (
            isinstance(value, Integral) and name == "draws" and int(value) > 0
        ):  # 0 draws: no error is asked for
            checked_draws(value, f"option {name!r} of {how.name!r}")
        elif isinstance(value, Integral) and int(value) > MOST_DRAWS and name not in SAMPLE_SIZES:
            raise InputError(
                f"option {name!r} of {how.name!r}",
                f"{value}",
                f"Give at most {MOST_DRAWS:,}: more would run for hours or fill the memory",
            )
        kinds = [k.strip() for k in str(parameters[name].annotation).split("|")]
        if not any(_fits(value, kind) for kind in kinds):
            wanted = " or ".join(_WORDS[k] for k in kinds if k in _WORDS)
            default = parameters[name].default
            raise InputError(
                f"option {name!r} of {how.name!r}", f"{value!r}", f"Give {wanted} (default {default!r})"
            )


def _fits(value: Any, kind: str) -> bool:
    if kind == "None":
        return value is None
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
    if kind == "float":
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind == "str":
        return isinstance(value, str)
    return True
