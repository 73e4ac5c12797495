"""Directions and rotations from a file of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["read_numbers"]


def read_numbers(path: Path, key: str) -> dict[str, NDArray]:
    """Arrays of a ``.npy`` or ``.csv`` file (under ``read``) or a ``.npz`` file (under their names).

    Parameters
    ----------
    key : str
        Key of the study file that names it, for messages.

    Raises
    ------
    InputError
        For a file that is not there, of another kind, or that cannot be read; pickled objects are
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
