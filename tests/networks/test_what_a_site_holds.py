"""Modules that run several times, tensors that are overwritten after the site, compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp.adapters import ModelInputs, TorchAdapter, TransformerLensAdapter
from mrinterp.features import Units
from mrinterp.knockouts import Bench
from mrinterp.outcomes import CallableOutcome, Logit

D, RUNS, T = 6, 24, 4
FIRST = CallableOutcome("first", lambda output, mask: output[:, 0, 0])


def _x(seed: int = 0) -> torch.Tensor:
    return torch.randn(RUNS, T, D, generator=torch.Generator().manual_seed(seed))


def _inputs() -> ModelInputs:
    return ModelInputs({"x": _x()}, torch.ones(RUNS, T, dtype=torch.long))


def _layer() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(D, D), torch.nn.Tanh())


class _Loop(torch.nn.Module):
    """One layer, run three times."""

    def __init__(self, times: int = 3) -> None:
        super().__init__()
        self.times, self.layer, self.once = times, _layer(), torch.nn.Linear(D, D)

    def forward(self, x: Any) -> Any:
        for _ in range(self.times):
            x = x + self.layer(x)
        return self.once(x)


class _Stack(_Loop):
    """The same layer three times in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.h = torch.nn.ModuleList([self.layer] * 3)

    def forward(self, x: Any) -> Any:
        for layer in self.h:
            x = x + layer(x)
        return self.once(x)


class _UntilLarge(_Loop):
    """Runs the layer until a batch's values are large: how often depends on the input."""

    def forward(self, x: Any) -> Any:
        for _ in range(int(x[:, 0, 0].abs().amax() > 0.5) + 1):
            x = x + self.layer(x)
        return self.once(x)


@pytest.mark.parametrize("made", [_Loop, _Stack])
def test_each_call_of_a_repeated_module_is_a_site(made: Callable[[], Any]) -> None:
    net = made().eval().requires_grad_(False)
    adapter, inputs = TorchAdapter(net), _inputs()
    for site in ("layer", "layer.0", "layer:input"):
        for options in ({"read": [site]}, {"write": {site: torch.zeros_like}}):
            with pytest.raises(
                mrinterp.InputError, match=r"runs it 3 times .* 'layer.*@1.*' to 'layer.*@3.*'"
            ):
                adapter.run(inputs.tensors, **options)
    x = inputs.tensors["x"]
    held = []
    for call in (1, 2, 3):
        at = adapter.run(inputs.tensors, read=[f"layer@{call}", f"layer@{call}:input"]).activations
        torch.testing.assert_close(at[f"layer@{call}:input"], x)
        torch.testing.assert_close(at[f"layer@{call}"], net.layer(x))
        x = x + net.layer(x)
        held.append(at[f"layer@{call}"])
        by_hand = inputs.tensors["x"]
        for step in (1, 2, 3):
            by_hand = by_hand + (0 if step == call else net.layer(by_hand))
        run = adapter.run(inputs.tensors, read=[f"layer@{call}"], write={f"layer@{call}": torch.zeros_like})
        torch.testing.assert_close(run.output, net.once(by_hand))
        assert not run.activations[f"layer@{call}"].any()
    with pytest.raises(mrinterp.InputError, match=r"runs it 3 times\. Calls count from @1 to @3"):
        adapter.run(inputs.tensors, read=["layer@4"])
    with pytest.raises(mrinterp.InputError, match="Did you mean"):
        adapter.check("layr@2")


@pytest.mark.parametrize("site", ["layer@2", "layer.0@3", "layer@1:input", "once"])
@pytest.mark.parametrize("made", [_Loop, _Stack])
def test_knockouts_of_one_call_do_not_depend_on_the_block(made: Callable[[], Any], site: str) -> None:
    found = [
        mrinterp.knock_out(
            Bench(TorchAdapter(made().eval()), site, Units([0, 2], D), _inputs(), FIRST, block=block), "mean"
        ).effect
        for block in (5, 8, 24)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-4, atol=1e-7)


def test_calls_have_places_of_their_own_in_the_order_of_a_run() -> None:
    bench = Bench(TorchAdapter(_Loop().eval()), "layer@2", Units([0], D), _inputs(), FIRST)
    assert (
        bench.order["layer@1"] < bench.order["layer@2:input"] < bench.order["layer@2"] < bench.order["once"]
    )
    assert "layer" not in bench.order
    direct = mrinterp.knockouts.direct_effect
    # The stream goes on beside the third call: part of the effect is direct.
    assert direct(bench, "mean", freeze=["layer@3"]).direct.any()
    for site, message in (("layer@1", "is not reached after layer@2"), ("layer", "runs it 3 times")):
        with pytest.raises(mrinterp.InputError, match=message):
            direct(bench, "mean", freeze=[site])


def test_a_module_that_runs_as_often_as_the_input_says() -> None:
    net = _UntilLarge().eval()
    bench = Bench(TorchAdapter(net), "layer@1", Units([0], D), _inputs(), FIRST, block=8)
    assert not bench.resumes
    with pytest.raises(mrinterp.InputError, match="2 times"):
        Bench(TorchAdapter(net), "layer", Units([0], D), _inputs(), FIRST, block=8)


def test_a_module_under_two_names_is_one_site() -> None:
    class _Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(D, D)
            self.b, self.c = self.a, torch.nn.Linear(D, D)

        def forward(self, x: Any) -> Any:
            return self.c(self.b(x))

    adapter = TorchAdapter(_Tied().eval())
    assert adapter.sites() == ["a", "c"]
    read = adapter.run({"x": _x()}, read=["a", "b"]).activations
    assert torch.equal(read["a"], read["b"])


# --- tensors that are overwritten after the site ---------------------------------------------------------------


class _Residual(torch.nn.Module):
    """What the inner module gives is changed in place by its parent."""

    def __init__(self, change: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner, self.out, self.change = torch.nn.Linear(D, D), torch.nn.Linear(D, D), change

    def forward(self, x: Any) -> Any:
        y = self.inner(x)
        return self.out(self.change(y, x))


def _add(y: Any, x: Any) -> Any:
    y += x
    return y


def _part(y: Any, x: Any) -> Any:
    y[:, 1:, :2] = 0
    return y


def _view(y: Any, x: Any) -> Any:
    y.view(-1, D)[0].add_(x.view(-1, D)[0])
    return y


def _data(y: Any, x: Any) -> Any:
    y.data.add_(x)
    return y


def _only_large(y: Any, x: Any) -> Any:
    if float(x.amax()) > 5:  # not on the first block
        y.mul_(2)
    return y


CHANGES = {
    "+=": _add,
    "a part": _part,
    "through a view": _view,
    "unseen by autograd": _data,
    "on some inputs": _only_large,
    "relu_": lambda y, x: torch.relu_(y),
    "not at all": lambda y, x: y + x,
}


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("change", CHANGES)
def test_a_site_is_read_as_it_was_when_the_module_returned(change: str, mode: Callable[[], Any]) -> None:
    net = _Residual(CHANGES[change]).eval()
    net.requires_grad_(mode is torch.enable_grad and change != "unseen by autograd")
    adapter = TorchAdapter(net)
    for scale in (1.0, 0.5, 9.0, 1.0):
        x = scale * _x()
        with mode():
            run = adapter.run({"x": x}, read=["inner"])
            torch.testing.assert_close(run.activations["inner"], net.inner(x))
            torch.testing.assert_close(run.output, net(x))
            given = torch.ones(RUNS, T, D)
            run = adapter.run({"x": x}, read=["inner"], write={"inner": lambda h, given=given: given})
            assert torch.equal(run.activations["inner"], torch.ones(RUNS, T, D))


def test_what_an_edit_hands_over_is_not_changed_by_the_network() -> None:
    adapter, given = TorchAdapter(_Residual(_add).eval().requires_grad_(False)), torch.ones(RUNS, T, D)
    for _ in range(3):
        adapter.run({"x": _x()}, read=["inner"], write={"inner": lambda h: given})
    assert torch.equal(given, torch.ones(RUNS, T, D))


class _InPlaceStack(torch.nn.Module):
    """Residual sums in place, as Falcon's."""

    def __init__(self, after: Callable[[Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.h = torch.nn.ModuleList(torch.nn.Linear(D, D) for _ in range(3))
        self.after, self.out = after, torch.nn.Linear(D, 2)

    def forward(self, x: Any) -> Any:
        for layer in self.h:
            y = self.after(layer(torch.tanh(x)))
            y += x
            x = y
        return self.out(x)


def test_cuts_and_gradients_where_the_stream_is_added_in_place() -> None:
    x = _x()[:, 0].double().numpy()
    network = mrinterp.models.array_network(_InPlaceStack(lambda y: y).double().eval(), "h.1", x, Logit(0))
    stream = x + network.adapter.module.h[0](torch.from_numpy(x).tanh()).detach().numpy()
    site = network.adapter.module.h[1](torch.from_numpy(stream).tanh()).detach().numpy()
    for _ in range(2):
        np.testing.assert_allclose(network.run().mean, site, rtol=1e-12)
    slope = np.empty_like(x)
    for j in range(D):
        step = 1e-5 * np.tile(np.eye(D)[j], (RUNS, 1))
        slope[:, j] = (network.run(shift=step).outcome - network.run(shift=-step).outcome)[:, 0] / 2e-5
    np.testing.assert_allclose(network.gradient()[:, 0], slope, atol=1e-5)
    broken = mrinterp.models.array_network(_InPlaceStack(torch.tanh).double().eval(), "h.1", x, Logit(0))
    with pytest.raises(mrinterp.InputError, match="changes in place what its own gradient needs"):
        broken.gradient()


def test_runs_come_first_in_every_site() -> None:
    class _TokensFirst(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(D, D)

        def forward(self, x: Any) -> Any:
            return self.inner(x.transpose(0, 1)).transpose(0, 1)

    # As many runs as tokens: no shape tells the two apart.
    inputs = ModelInputs({"x": _x()[:T]}, torch.ones(T, T, dtype=torch.long))
    with pytest.raises(mrinterp.InputError, match="its first axis is not the runs"):
        Bench(TorchAdapter(_TokensFirst().eval()), "inner", Units([0], D), inputs, FIRST)


def test_hook_points_that_are_overwritten_or_run_twice() -> None:
    class _Points(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hook_y, self.hook_z = torch.nn.Identity(), torch.nn.Identity()
            self.hook_dict = {"hook_y": None, "hook_z": None}

        def forward(self, x: Any) -> Any:
            y = self.hook_y(2 * x)
            y += x
            return self.hook_z(self.hook_z(y))

        def run_with_hooks(self, x: Any, fwd_hooks: Any) -> Any:
            handles = [
                self.get_submodule(name).register_forward_hook(lambda _m, _i, out, f=f: f(out))
                for name, f in fwd_hooks
            ]
            try:
                return self(x)
            finally:
                for handle in handles:
                    handle.remove()

    adapter = TransformerLensAdapter(_Points().eval())
    for _ in range(3):
        with torch.inference_mode():
            read = adapter.run({"input_ids": _x()}, read=["hook_y"]).activations["hook_y"]
        torch.testing.assert_close(read, 2 * _x())
    with pytest.raises(mrinterp.InputError, match="runs it 2 times"):
        adapter.run({"input_ids": _x()}, read=["hook_z"])


@pytest.mark.needs("transformers")
@pytest.mark.parametrize("family", ["Falcon", "GPTNeoX", "GPTJ", "Llama", "GPT2"])
def test_sublayers_of_decoders_are_read_as_they_return(family: str) -> None:
    """Falcon adds its attention to the MLP's output in place; parallel residuals and plain ones beside it."""
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    if family in ("Llama", "GPTNeoX"):
        sizes["intermediate_size"] = 24
    if family in ("GPTJ", "GPT2"):
        sizes = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32}
        sizes |= {"rotary_dim": 4} if family == "GPTJ" else {}
    net = getattr(transformers, {"GPT2": "GPT2LMHeadModel"}.get(family, f"{family}ForCausalLM"))(
        getattr(transformers, f"{family}Config")(**sizes)
    ).eval()
    adapter = TorchAdapter(net.requires_grad_(False))
    ids = torch.randint(1, 40, (12, 5), generator=torch.Generator().manual_seed(2))
    tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    mlp = next(s for s in adapter.sites() if s.endswith(".0.mlp"))
    seen: list[Any] = []
    handle = adapter.submodule(mlp).register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    with torch.inference_mode():
        net(**tensors)
    handle.remove()
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(adapter.run(tensors, read=[mlp]).activations[mlp], seen[0])
    found = mrinterp.knock_out(
        Bench(adapter, mlp, Units([0, 5], 16), ModelInputs(tensors, torch.ones_like(ids)), Logit(3)), "zero"
    )
    assert found.flags == ("", "")
    assert found.read_back_error.max() < 1e-5


# --- what hooks cannot be trusted in ---------------------------------------------------------------------------


def _compiled_part() -> Any:
    net = _Loop()
    net.layer = torch.compile(net.layer)
    return net.eval()


def _compiled_call() -> Any:
    net = _Loop()
    net.layer.compile()
    return net.eval()


def _compiled_forward() -> Any:
    net = _Loop()
    net.layer.forward = torch.compile(net.layer.forward)
    return net.eval()


def _one_part_training() -> Any:
    net = _Loop().eval()
    net.layer[1].train()
    return net


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: torch.compile(_Loop().eval()), r"model: compiled by torch.compile.*_orig_mod"),
        (_compiled_part, "part 'layer': compiled by torch.compile"),
        (_compiled_call, "part 'layer': compiled by torch.compile"),
        (_compiled_forward, "part 'layer': compiled by torch.compile"),
        (lambda: torch.jit.trace(_Loop().eval(), _x()), "TorchScript"),
        (lambda: torch.nn.DataParallel(_Loop()).eval(), r"Give the network inside it, model\.module"),
        (lambda: _Loop(), r"model: in training mode \(dropout is on.*model\.eval\(\)"),
        (_one_part_training, r"part 'layer\.1' \(Tanh\): in training mode"),
    ],
)
def test_networks_that_hooks_cannot_be_trusted_in_are_named(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(mrinterp.InputError, match=message):
        TorchAdapter(made())


def test_training_mode_and_compilation_switched_on_later_are_noticed() -> None:
    net = _Loop().eval()
    adapter = TorchAdapter(net)
    net.train()
    with pytest.raises(mrinterp.InputError, match="training mode"):
        adapter.run({"x": _x()})
    net.eval()
    net.layer.compile()
    with pytest.raises(mrinterp.InputError, match=r"part 'layer': compiled by torch\.compile"):
        adapter.run({"x": _x()})
