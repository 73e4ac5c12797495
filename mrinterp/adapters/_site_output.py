"""What a module returns, and the tensor in it that is the site's activation."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrinterp.adapters._adapter import Edit
from mrinterp.core.errors import InputError

__all__ = ["edited", "first_tensor", "with_first"]


def first_tensor(output: Any, site: str) -> torch.Tensor:
    """The output itself, or the first entry of a tuple, list, dict, dataclass or named output.

    Raises
    ------
    InputError
        Where that is not a tensor.
    """
    value = output if isinstance(output, torch.Tensor) else None
    if value is None:
        key = _first_key(output)
        value = None if key is None else getattr(output, key) if _has_fields(output) else output[key]
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f"site {site!r}",
            f"returns {type(output).__name__}, which does not begin with a tensor",
            "Choose a module that returns its activation",
        )
    return value


def with_first(output: Any, value: torch.Tensor) -> Any:
    """The same kind of output with its activation replaced."""
    if isinstance(output, torch.Tensor):
        return value
    key = _first_key(output)
    if isinstance(output, Mapping) or _has_fields(output):
        replaced = copy.copy(output)
        if isinstance(output, Mapping):
            replaced[key] = value
        if _has_fields(output) or key in getattr(replaced, "__dict__", {}):
            object.__setattr__(
                replaced, str(key), value
            )  # a frozen one, or a dict whose keys are attributes too
        return replaced
    if hasattr(output, "_fields"):
        return type(output)(value, *output[1:])
    return type(output)([value, *output[1:]])


def _first_key(output: Any) -> Any:
    """Under which name or number the activation stands; None where there is none."""
    if isinstance(output, Mapping):
        return next(iter(output), None)
    if _has_fields(output):
        return next((field.name for field in dataclasses.fields(output)), None)
    return 0 if isinstance(output, Sequence) and not isinstance(output, str) and len(output) else None


def _has_fields(output: Any) -> bool:
    """Whether it is a dataclass that is not a mapping as well."""
    return dataclasses.is_dataclass(output) and not isinstance(output, Mapping)


def edited(edit: Edit, value: torch.Tensor, site: str) -> torch.Tensor:
    """The edited activation.

    Raises
    ------
    InputError
        For an edit that returns another shape.
    """
    result = edit(value)
    if result.shape != value.shape:
        raise InputError(
            f"edit at {site!r}",
            f"returned shape {tuple(result.shape)}, site has {tuple(value.shape)}",
            "Return the whole activation, every run of the batch",
        )
    return result
