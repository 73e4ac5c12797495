"""What a study file names in other files: functions (``package.module:function``) and arrays of numbers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.named_code import own_file

__all__ = ["named_function", "read_numbers"]


def named_function(name: str, key: str, folder: Path) -> Callable[..., Any]:
    """Import a function by its name; modules beside the study file are found too.

    Parameters
    ----------
    name : str
        ``package.module:function``. Importing it runs that module.
    key : str
        Key of the study file that names it, for messages.
    folder : Path
        Of the study file.

    Raises
    ------
    InputError
        For a name of another form, a module that cannot be imported, or whose name another one has by now, or a
        function that it does not have.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise InputError(key, repr(name), "Name it as 'package.module:function'")
    own, first = own_file(module_name, folder), module_name.partition(".")[0]
    loaded = getattr(sys.modules.get(first), "__file__", None)
    if own is not None and loaded is not None and Path(loaded).resolve() != own:
        raise InputError(
            key,
            f"module {first!r} was imported before, from {loaded}; the study's own is {own}",
            "Rename one of the two, or start Python anew",
        )
    place = str(Path(folder).resolve())
    sys.path.insert(0, place)
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, SyntaxError) as e:
        raise InputError(
            key,
            f"module {module_name!r} cannot be imported ({e})",
            "Install it, or put it beside the study file",
        ) from None
    finally:
        sys.path.remove(place)
    value: Any = module
    for part in attribute.split("."):
        value = getattr(value, part, None)
    if not callable(value):
        fix = near_misses(attribute, dir(module)) or "Give the name of a function in it"
        raise InputError(key, f"{module_name!r} has no function {attribute!r}", fix)
    function: Callable[..., Any] = value
    return function


def read_numbers(path: Path, key: str) -> dict[str, NDArray]:
    """Arrays of a ``.npy`` or ``.csv`` file (under ``read``) or a ``.npz`` file (under their names).

    Parameters
    ----------
    key : str
        Key of the study file that names it, for messages.

    Raises
    ------
    InputError
        For a file that does not exist, of another format, or that cannot be read; pickled objects are
        never loaded.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
            return {"read": next(iter(found.values()))} if len(found) == 1 else found
        if suffix == ".npy":
            return {"read": np.load(path, allow_pickle=False)}
        if suffix == ".csv":
            return {"read": np.loadtxt(path, delimiter=",", ndmin=2)}
    except FileNotFoundError:
        raise InputError(key, f"{path}: no such file", "Give a path relative to the study file") from None
    except (OSError, ValueError, EOFError) as e:
        raise InputError(
            key, f"{path}: cannot be read ({e})", "Save plain numbers, one row per direction"
        ) from None
    raise InputError(key, f"{path.name}", "Give a .npy, .npz or .csv file")
