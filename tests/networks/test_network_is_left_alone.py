"""The user's network is exactly as it was after any work on it, also where that ends in an exception."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.adapters._duplicate import duplicate
from mrinterp.features import Units
from mrinterp.knockouts import Bench
from mrinterp.outcomes import CallableOutcome, CorrectAnswer, Logit

D, T, RUNS = 8, 5, 30


class _Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.drop = torch.nn.Linear(D, D), torch.nn.Dropout(0.5)

    def forward(self, h: Any) -> Any:
        return h + self.drop(torch.tanh(self.a(h)))


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.e, self.out = torch.nn.Embedding(20, D), torch.nn.Linear(D, 4)
        self.h = torch.nn.ModuleList(_Block() for _ in range(3))

    def forward(self, ids: Any) -> Any:
        x = self.e(ids)
        for block in self.h:
            x = block(x)
        return self.out(x)


def _scaled(old: Any, x: Any) -> Any:
    return old(x) * 1.5


class _Other:
    """An object whose method stands in for a forward."""

    def __init__(self, old: Any) -> None:
        self.old = old

    def forward(self, x: Any) -> Any:
        return self.old(x) + 0.25


class _Called(_Block):
    """A layer that does something around its forward."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        return super().__call__(*args, **named) * 1.25


def _each(change: Callable[[Any], None]) -> Callable[[], _Net]:
    def made() -> _Net:
        net = _Net().eval()
        for block in net.h:
            change(block)
        return net

    return made


def _set(name: str, made: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda block: setattr(block, name, made(block.forward))


def _one_of_three() -> _Net:
    net = _Net().eval()
    net.h[1].forward = lambda x, old=net.h[1].forward: old(x) - 1
    return net


def _parent() -> _Net:
    net = _Net().eval()
    net.forward = lambda ids, old=net.forward: old(ids) * 2
    return net


def _shared() -> _Net:
    net = _Net().eval()
    net.h[0] = net.h[1]
    net.h[0].forward = functools.partial(_scaled, net.h[0].forward)
    return net


def _called() -> _Net:
    net = _Net()
    net.h = torch.nn.ModuleList(_Called() for _ in range(3))
    return net.eval()


def _hooked() -> _Net:
    net = _Net().eval()
    for block in net.h:
        block.register_forward_hook(lambda _m, _i, out: out * 1.1)
        block.register_forward_pre_hook(lambda _m, given: (given[0] + 0.1,))
    return net


def _two_times_through() -> _Net:
    class _Twice(_Net):
        def forward(self, ids: Any) -> Any:
            x = self.e(ids)
            for block in (self.h[0], self.h[1], self.h[0], self.h[2]):
                x = block(x)
            return self.out(x)

    return _Twice().eval()


def _skipping() -> _Net:
    """The first layer reaches the output past the others, but only once something is edited far."""

    class _Skip(_Net):
        def forward(self, ids: Any) -> Any:
            x = first = self.h[0](self.e(ids))
            x = self.h[2](self.h[1](x))
            return self.out(x) + first.mean() * torch.relu(x.abs().amax() - 10)

    return _Skip().eval()


def _no_grad_flags() -> _Net:
    net = _Net().eval()
    net.h[1].a.weight.requires_grad_(False)
    return net


NETWORKS: dict[str, Callable[[], _Net]] = {
    "plain": lambda: _Net().eval(),
    "a lambda on every layer": _each(lambda b: setattr(b, "forward", lambda x, old=b.forward: old(x) * 1.5)),
    "a partial": _each(_set("forward", lambda old: functools.partial(_scaled, old))),
    "a method of another object": _each(_set("forward", lambda old: _Other(old).forward)),
    "a bound function": _each(
        lambda b: setattr(b, "forward", types.MethodType(lambda self, x: _Block.forward(self, x) / 2, b))
    ),
    "a wrapped function": _each(_set("forward", lambda old: functools.wraps(old)(lambda x: old(x) - x))),
    "one layer of three": _one_of_three,
    "the parent's": _parent,
    "shared layers": _shared,
    "around the call": _called,
    "hooks of its own": _hooked,
    "a layer twice": _two_times_through,
    "past the layers": _skipping,
    "frozen weights": _no_grad_flags,
}


def _inputs() -> ModelInputs:
    ids = torch.randint(0, 20, (RUNS, T), generator=torch.Generator().manual_seed(1))
    return ModelInputs({"ids": ids}, mask=torch.ones_like(ids))


def _state(net: Any) -> list[Any]:
    """Everything that stands on every module, hooks and flags, and torch's own modes and generator."""
    found: list[Any] = [
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_rng_state().tolist(),
    ]
    for name, module in net.named_modules(remove_duplicate=False):
        for key, value in vars(module).items():
            inside = list(value.items()) if isinstance(value, dict) else value
            found.append(
                (name, key, [(k, id(v)) for k, v in inside] if isinstance(inside, list) else id(value))
            )
        found += [(p.requires_grad, p._version, p.data_ptr()) for p in module.parameters(recurse=False)]
    return found


def _bench(net: Any, site: str, outcome: Any = None, block: int = 8) -> Bench:
    return Bench(
        TorchAdapter(net),
        site,
        Units([0, 3], D),
        _inputs(),
        outcome or Logit(1),
        block=block,
        family=np.arange(RUNS) // 2,
    )


@pytest.mark.parametrize("site", ["h.1", "h.2.a", "h.2:input", "out"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_knockouts_are_right_and_leave_no_trace(kind: str, site: str) -> None:
    """Against edited passes made by hand, with a hook and the whole network."""
    net = NETWORKS[kind]()
    if kind == "shared layers" and site == "h.1":
        with pytest.raises(mrinterp.InputError, match="runs it 2 times"):
            _bench(net, site)
        return
    ids = _inputs().tensors["ids"]
    plain, before = net(ids).detach(), _state(net)
    if site == "out":
        bench = Bench(TorchAdapter(net), site, Units([0, 1], 4), _inputs(), Logit(1), block=8)
    else:
        bench = _bench(net, site)
    found = mrinterp.knock_out(bench, "zero", [1])
    assert _state(net) == before
    np.testing.assert_allclose(bench.clean[:, 0], plain[:, -1, 1].numpy(), rtol=1e-6)
    unit = int(bench.view.names[1])

    def edit(h: Any) -> Any:
        h = h.clone()
        h[..., unit] -= h[..., unit].mean(1, keepdim=True)
        return h

    module = net.get_submodule(site.removesuffix(":input"))
    handle = (
        module.register_forward_pre_hook(lambda _m, given: (edit(given[0]),))
        if site.endswith(":input")
        else module.register_forward_hook(lambda _m, _i, out: edit(out))
    )
    try:
        with torch.no_grad():
            change = (net(ids) - plain)[:, -1, 1].numpy()
    finally:
        handle.remove()
    np.testing.assert_allclose(found.mean[0, 0], change.mean(), rtol=1e-4, atol=1e-6)


def test_a_discrete_outcome_does_not_hide_that_a_shorter_run_differs() -> None:
    bench = _bench(NETWORKS["hooks of its own"](), "h.1", CorrectAnswer(torch.zeros(RUNS)))
    assert not bench.resumes
    assert _bench(NETWORKS["plain"](), "h.1", CorrectAnswer(torch.zeros(RUNS))).resumes
    assert not _bench(NETWORKS["past the layers"](), "h.2").resumes
    assert _bench(NETWORKS["a lambda on every layer"](), "h.2").resumes
    assert not _bench(NETWORKS["a layer twice"](), "h.2").resumes


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("kind", ["plain", "a partial", "shared layers", "hooks of its own"])
def test_an_interruption_leaves_no_trace(kind: str, error: type[BaseException]) -> None:
    """Raised inside the outcome, the edit and the clean pass, call after call, until the work comes through."""
    net, calls = NETWORKS[kind](), [0, 0]

    def stop(output: Any, mask: Any) -> Any:
        calls[0] += 1
        if calls[0] == calls[1]:
            raise error("stop")
        return output[:, -1, 1]

    before, finished = _state(net), False
    for calls[1] in range(1, 60, 2):
        if finished:
            break
        calls[0] = 0
        try:
            mrinterp.knock_out(_bench(net, "h.2", CallableOutcome("x", stop), 15), "zero", [0], draws=2)
            finished = calls[1] > calls[0]
        except error:
            pass
        assert _state(net) == before
    assert finished

    adapter = TorchAdapter(net)

    def edit(h: Any) -> Any:
        raise error("stop")

    with pytest.raises(error, match="stop"), adapter.resumed("h.1", torch.zeros(RUNS, T, D)):
        adapter.run(_inputs().tensors, write={"h.2": edit})
    assert _state(net) == before


def test_a_random_network_is_named_and_the_generator_left_alone() -> None:
    class _Drops(_Net):
        def forward(self, ids: Any) -> Any:
            return super().forward(ids) * torch.nn.functional.dropout(torch.ones(4), 0.5)

    class _Seeds(_Net):
        def forward(self, ids: Any) -> Any:
            torch.manual_seed(3)
            return super().forward(ids) * torch.rand(4)

    with pytest.raises(mrinterp.InputError, match="draws random numbers in every pass"):
        _bench(_Drops().eval(), "h.1")
    assert _bench(_Seeds().eval(), "h.1").prompts == RUNS


@pytest.mark.parametrize("kind", [k for k in NETWORKS if k not in ("a layer twice", "past the layers")])
def test_a_copy_shares_nothing_or_is_refused(kind: str) -> None:
    """A replaced forward may hold on to the layers that it was taken from."""
    net = NETWORKS[kind]()
    ids = _inputs().tensors["ids"]
    plain, before = net(ids).detach(), _state(net)
    try:
        made = duplicate(net)
    except mrinterp.InputError as error:
        assert "so that a copy would run those" in str(error)
        assert kind in ("a lambda on every layer", "a wrapped function", "one layer of three", "the parent's")
    else:
        assert torch.equal(made(ids), plain)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.mul_(1.5)
        assert (made(ids) - plain).abs().max() > 1e-3
    assert torch.equal(net(ids), plain)
    assert _state(net) == before
