"""A copy of a network that shares nothing with it."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterator
from typing import Any

import torch

from mrinterp.core.errors import InputError

__all__ = ["duplicate"]


def duplicate(module: torch.nn.Module) -> torch.nn.Module:
    """A copy that shares no memory, with parameters tied as they were.

    Raises
    ------
    InputError
        Where a function that stands on the network (a forward that was replaced, a hook) holds on to the network's own
        layers: the copy would run those, and an edit or training of the copy would miss it or change the original.
    """
    copied, own = copy.deepcopy(module), {id(part) for part in module.modules()}
    for name, part in copied.named_modules():
        standing = [value for value in vars(part).values() if callable(value)]
        standing += [
            hook for hooks in (part._forward_hooks, part._forward_pre_hooks) for hook in hooks.values()
        ]
        for function in standing:
            if any(id(held) in own for held in _held(function, 4)):
                raise InputError(
                    f"model, part {name!r}" if name else "model",
                    "a function on it (a replaced forward, or a hook) holds on to this network's own layers, so that a"
                    " copy would run those",
                    "Give the network as its class defines it: put the change into a subclass's forward",
                )
    return copied


def _held(value: Any, depth: int) -> Iterator[Any]:
    """What a function holds on to: closures, defaults, arguments filled in, the object that it is a method of."""
    yield value
    if not depth:
        return
    inside: list[Any] = []
    if isinstance(value, types.FunctionType):
        inside += [cell.cell_contents for cell in value.__closure__ or () if not _empty(cell)]
        inside += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    elif isinstance(value, functools.partial):
        inside += [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, types.MethodType):
        inside += [value.__self__, value.__func__]
    elif isinstance(value, list | tuple):
        inside += value
    for one in inside:
        yield from _held(one, depth - 1)


def _empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False
