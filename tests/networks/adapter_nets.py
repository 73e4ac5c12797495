"""One small network behind every stack that there is an adapter for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mrinterp.adapters._nnsight import NNsightAdapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._transformer_lens import TransformerLensAdapter

WIDTH, VOCABULARY = 8, 11


class _Mixer(torch.nn.Module):
    """Adds a function of the mean of the tokens so far; returns a tuple where asked."""

    def __init__(self, as_tuple: bool) -> None:
        super().__init__()
        self.linear, self.as_tuple = torch.nn.Linear(WIDTH, WIDTH), as_tuple

    def forward(self, x: Any, mask: Any) -> Any:
        weight = mask.unsqueeze(-1).to(x.dtype)
        mean = (x * weight).cumsum(1) / weight.cumsum(1).clamp(min=1)
        x = x + torch.tanh(self.linear(mean))
        return (x, "attention") if self.as_tuple else x


class _HookPoint(torch.nn.Identity):
    """A hand-written hook point."""


class Net(torch.nn.Module):
    """Embedding, a layer that returns a tuple, one that returns a tensor, logits."""

    def __init__(self, point: Callable[[], Any] = _HookPoint) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.first, self.second = _Mixer(True), _Mixer(False)
        self.head = torch.nn.Linear(WIDTH, VOCABULARY)
        self.hook_embed, self.hook_first, self.hook_second = point(), point(), point()
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        x = self.hook_embed(self.embed(input_ids))
        x = self.hook_first(self.first(x, attention_mask)[0])
        return self.head(self.hook_second(self.second(x, attention_mask)))


class HookedNet(Net):
    """The protocol written by hand: ``hook_dict`` and ``run_with_hooks``, one point under two names."""

    @property
    def hook_dict(self) -> dict[str, Any]:
        points = {n: m for n, m in self.named_modules() if isinstance(m, _HookPoint)}
        return points | {"hook_first_alias": self.hook_first}

    def run_with_hooks(self, *args: Any, fwd_hooks: Any = (), **kwargs: Any) -> Any:
        handles = []
        try:
            for name, function in fwd_hooks:
                point = self.hook_dict[name]
                handles.append(point.register_forward_hook(lambda m, i, out, f=function: f(out, hook=m)))
            return self(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()


def torch_net() -> Any:
    return TorchAdapter(Net().eval().requires_grad_(False))


def hooked_net() -> Any:
    return TransformerLensAdapter(HookedNet().eval().requires_grad_(False))


def transformer_lens_net() -> Any:
    from transformer_lens import HookedRootModule
    from transformer_lens.hook_points import HookPoint

    class _Real(HookedRootModule):
        def __init__(self) -> None:
            super().__init__()
            net = Net(HookPoint)
            for name, child in net.named_children():
                setattr(self, name, child)
            self.setup()

        forward = Net.forward

    return TransformerLensAdapter(_Real().eval().requires_grad_(False))


def nnsight_net() -> Any:
    return NNsightAdapter(Net().eval().requires_grad_(False))


MODULES = {"embed": "embed", "tuple": "first", "tensor": "second"}
POINTS = {"embed": "hook_embed", "tuple": "hook_first", "tensor": "hook_second"}
ADAPTERS = [
    pytest.param((torch_net, MODULES), id="torch"),
    pytest.param((hooked_net, POINTS), id="hook points"),
    pytest.param(
        (transformer_lens_net, POINTS), id="transformer_lens", marks=pytest.mark.needs("transformer_lens")
    ),
    pytest.param((nnsight_net, MODULES), id="nnsight", marks=pytest.mark.needs("nnsight")),
]
SITES = ["embed", "tuple", "tensor"]


def token_inputs(runs: int = 4, length: int = 6) -> dict[str, Any]:
    ids = torch.randint(1, VOCABULARY, (runs, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1:2, 4:] = 0
    ids = ids * mask
    return {
        k: torch.nn.functional.pad(v, (0, length - 6))
        for k, v in (("input_ids", ids), ("attention_mask", mask))
    }
