"""Networks that hooks cannot be trusted in: in training mode, compiled, scripted, spread over devices by threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from mrinterp.core.errors import InputError

__all__ = ["check_hookable", "check_still_hookable"]

COMPILED = "compiled by torch.compile: compiled code may run past hooks, so that nothing is read or written"
BEFORE = (
    "Give the network as it was before: model._orig_mod of what torch.compile(model) returned, or a copy made without"
    " model.compile()"
)


def check_hookable(module: torch.nn.Module) -> None:
    """Refuse a network whose layers run unseen by hooks, or otherwise than in use.

    Raises
    ------
    InputError
        For a network in training mode, one that torch.compile or TorchScript has compiled in whole or in part, or
        a ``DataParallel``. Names the part and what to give instead.
    """
    for name, part in module.named_modules():
        where = f"model, part {name!r}" if name else "model"
        if isinstance(part, torch.jit.ScriptModule):
            found = "a TorchScript module: its layers run past hooks, so that nothing is read or written"
            raise InputError(where, found, "Give the network as it was before torch.jit")
        if _compiled(part):
            raise InputError(where, COMPILED, BEFORE)
        if isinstance(part, torch.nn.DataParallel):
            found = "DataParallel: each device runs a part of every batch"
            raise InputError(where, found, "Give the network inside it, model.module")
    check_still_hookable(module.named_modules())


def check_still_hookable(parts: Iterable[tuple[str, torch.nn.Module]]) -> None:
    """Refuse a network of which a part is in training mode or was compiled in place: before every pass.

    Raises
    ------
    InputError
        Names the first such part.
    """
    for name, part in parts:
        if part.training:
            where = f"model, part {name!r} ({type(part).__name__})" if name else "model"
            raise InputError(
                where,
                "in training mode (dropout is on, batch statistics move)",
                "Call model.eval() first",
            )
        if part._compiled_call_impl is not None:
            raise InputError(f"model, part {name!r}" if name else "model", COMPILED, BEFORE)


def _compiled(part: torch.nn.Module) -> bool:
    wrapper = hasattr(part, "_orig_mod") and type(part).__module__.startswith("torch._dynamo")
    forward: Any = vars(part).get("forward", type(part).forward)
    return wrapper or hasattr(forward, "_torchdynamo_orig_callable")
