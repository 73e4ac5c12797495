"""A second device that is none: CPU tensors that behave as if they lay elsewhere, and a count of what is copied back."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

OTHER = torch.device("xla", 0)
"""A device that torch can name and this machine lacks."""

ACROSS = {"copy_", "__getitem__", "__setitem__", "index", "index_put_"}
"""What torch itself lets reach from the host to a device: a copy into it, an index into it."""


def lies_there(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies on the other device."""
    return getattr(tensor, "_lies_there", False)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in _tensors(v)]
    return [t for v in value for t in _tensors(v)] if isinstance(value, list | tuple) else []


def put(value: Any, there: bool = True) -> Any:
    """The value, its tensors said to lie on the other device, or not."""
    for tensor in _tensors(value):
        tensor._lies_there = there  # type: ignore[attr-defined]
    return value


class SecondDevice(TorchFunctionMode):
    """While it is entered, ``device="xla:0"`` is a device of its own.

    Operations on tensors of both devices are refused, as torch does; so is turning a tensor that lies there into numpy without
    saying so. ``to_host`` holds the shapes of what was copied back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_host: list[tuple[int, ...]] = []

    def __enter__(self) -> SecondDevice:
        self._grad, self._to = torch.autograd.grad, torch.nn.Module.to

        def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            found = self._grad(outputs, inputs, *args, **kwargs)
            return put(found, any(map(lies_there, _tensors(inputs))))

        def to(module: Any, *args: Any, **kwargs: Any) -> Any:
            # What is set to a parameter's data passes by unseen.
            named = [a for a in args if isinstance(a, torch.device | str)] + [kwargs.pop("device", None)]
            rest = [a for a in args if not isinstance(a, torch.device | str)]
            made = self._to(module, *rest, **kwargs) if rest or kwargs else module
            if named[0] is not None:
                put([*made.parameters(), *made.buffers()], torch.device(named[0]) == OTHER)
            return made

        torch.autograd.grad, torch.nn.Module.to = grad, to  # type: ignore[method-assign]
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        torch.autograd.grad, torch.nn.Module.to = self._grad, self._to  # type: ignore[method-assign]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "__get__":
            # An attribute: the device is ours to say, all else is the tensor's own.
            found = func(*args, **kwargs)
            if isinstance(found, torch.device):
                return OTHER if lies_there(args[0]) else found
            return put(found, lies_there(args[0])) if isinstance(found, torch.Tensor) else found
        if name == "__set__":
            put(args[0], any(map(lies_there, _tensors(args[1:]))))
            return func(*args, **kwargs)
        if name in ("to", "cpu"):
            return self._moved(func, name, args, kwargs)
        there = [lies_there(t) for t in _tensors((args, kwargs))]
        if name in ("numpy", "__array__") and any(there):
            raise TypeError("can't convert a tensor of the other device to numpy: copy it to the host first")
        sizes = [t.ndim for t in _tensors((args, kwargs))]
        if any(there) and name not in ACROSS:
            strays = [i for i, (t, n) in enumerate(zip(there, sizes, strict=True)) if not t and n]
            assert not strays, f"{name}: tensors of two devices"
        made = kwargs.get("device") is not None and torch.device(kwargs["device"]) == OTHER
        if made:
            kwargs["device"] = "cpu"
        if name in ("item", "tolist", "__bool__") and any(there):
            self.to_host.append(tuple(args[0].shape))
        return put(func(*args, **kwargs), made or any(there))

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensor, rest, wanted = args[0], list(args[1:]), kwargs.pop("device", None)
        for i, value in enumerate(rest):
            if isinstance(value, torch.device | str):
                wanted = rest.pop(i)
                break
            if isinstance(value, torch.Tensor):
                wanted, rest[i] = (OTHER if lies_there(value) else "cpu"), value.dtype
                break
        there = lies_there(tensor)
        target = there if wanted is None and name == "to" else name == "to" and torch.device(wanted) == OTHER
        if there and not target:
            self.to_host.append(tuple(tensor.shape))
        moved = func(tensor, *rest, **kwargs) if name == "to" and (rest or kwargs) else tensor
        if moved is tensor and target != there:
            moved = tensor.detach().clone() if not tensor.requires_grad else tensor.clone()
        return put(moved, target)
