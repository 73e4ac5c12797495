"""What a module returns, and the tensor in it that is the site's activation."""

from __future__ import annotations

import copy
from typing import Any

import torch

from mrinterp.adapters._adapter import Edit
from mrinterp.core.errors import InputError

__all__ = ["check_reached", "edited", "first_tensor", "with_first"]


def first_tensor(output: Any, site: str) -> torch.Tensor:
    """The output itself, or the first entry of a tuple, list or named output.

    Raises
    ------
    InputError
        Where that is not a tensor.
    """
    value = output if isinstance(output, torch.Tensor) else None
    if value is None and hasattr(output, "__getitem__") and len(output):
        value = next(iter(output.values())) if hasattr(output, "values") else output[0]
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
    if hasattr(output, "values"):
        replaced = copy.copy(output)
        replaced[next(iter(output))] = value
        return replaced
    if hasattr(output, "_fields"):
        return type(output)(value, *output[1:])
    return type(output)([value, *output[1:]])


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


def check_reached(wanted: Any, reached: Any) -> None:
    """Refuse a run that did not pass through a site it was to read or write.

    Raises
    ------
    InputError
        Names the first such site.
    """
    for site in wanted:
        if site not in reached:
            raise InputError(
                f"site {site!r}",
                "the forward pass does not run it",
                "Choose a site on the way from input to output",
            )
