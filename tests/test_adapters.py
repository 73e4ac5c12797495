"""What every adapter must do: one suite, the same network behind each stack."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.models.aliases import alias_groups
from mrinterp.models.directions import Directions
from mrinterp.models.features import edit_of
from mrinterp.models.logit_outcomes import LogitDifference
from mrinterp.models.nnsight_adapter import NNsightAdapter
from mrinterp.models.outcomes import outcome_values
from mrinterp.models.positions import LastToken, MeanOfTokens
from mrinterp.models.torch_module import TorchAdapter
from mrinterp.models.transformer_lens_adapter import TransformerLensAdapter

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


class _Net(torch.nn.Module):
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


class _HookedNet(_Net):
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


def _torch() -> Any:
    return TorchAdapter(_Net().eval().requires_grad_(False))


def _hooked() -> Any:
    return TransformerLensAdapter(_HookedNet().eval().requires_grad_(False))


def _transformer_lens() -> Any:
    from transformer_lens import HookedRootModule
    from transformer_lens.hook_points import HookPoint

    class _Real(HookedRootModule):
        def __init__(self) -> None:
            super().__init__()
            net = _Net(HookPoint)
            for name, child in net.named_children():
                setattr(self, name, child)
            self.setup()

        forward = _Net.forward

    return TransformerLensAdapter(_Real().eval().requires_grad_(False))


def _nnsight() -> Any:
    return NNsightAdapter(_Net().eval().requires_grad_(False))


MODULES = {"embed": "embed", "tuple": "first", "tensor": "second"}
POINTS = {"embed": "hook_embed", "tuple": "hook_first", "tensor": "hook_second"}
ADAPTERS = [
    pytest.param((_torch, MODULES), id="torch"),
    pytest.param((_hooked, POINTS), id="hook points"),
    pytest.param(
        (_transformer_lens, POINTS), id="transformer_lens", marks=pytest.mark.needs("transformer_lens")
    ),
    pytest.param((_nnsight, MODULES), id="nnsight", marks=pytest.mark.needs("nnsight")),
]
SITES = ["embed", "tuple", "tensor"]


def _inputs(runs: int = 4, length: int = 6) -> dict[str, Any]:
    ids = torch.randint(1, VOCABULARY, (runs, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1:2, 4:] = 0
    ids = ids * mask
    return {
        k: torch.nn.functional.pad(v, (0, length - 6))
        for k, v in (("input_ids", ids), ("attention_mask", mask))
    }


def _module(adapter: Any) -> Any:
    if isinstance(adapter, NNsightAdapter):
        return adapter.model._module
    return adapter.module if isinstance(adapter, TorchAdapter) else adapter.model


def _numbers(adapter: Any, names: dict[str, str], inputs: dict[str, Any]) -> Any:
    """A small study: read three features, shift one, and see the outcome."""
    view = Directions(np.random.default_rng(0).standard_normal((3, WIDTH)))
    positions, outcome = MeanOfTokens().at(inputs["attention_mask"]), LogitDifference(1, 2)
    parts = []
    for site in SITES:
        plain = adapter.run(inputs, read=[names[site]])
        values = view.read(plain.activations[names[site]], positions)
        wanted = values + torch.tensor([1.0, 0, 0])
        after = adapter.run(inputs, write={names[site]: edit_of(view, wanted, positions)})
        parts += [values.double().numpy(), outcome_values(outcome, plain.output, inputs["attention_mask"])]
        parts.append(outcome_values(outcome, after.output, inputs["attention_mask"]))
    return np.concatenate(parts, 1)


@pytest.fixture(params=ADAPTERS)
def opened(request: pytest.FixtureRequest) -> Any:
    make, names = request.param
    return make(), names


@pytest.mark.parametrize("site", SITES)
class TestEverySite:
    def test_identity_edit_changes_no_bit(self, opened: Any, site: str) -> None:
        adapter, names = opened
        plain = adapter.run(_inputs()).output
        for identity in (lambda h: h, torch.clone):
            run = adapter.run(_inputs(), read=[names[site]], write={names[site]: identity})
            assert torch.equal(run.output, plain)
        assert torch.equal(plain, _Net().eval()(**_inputs()))

    def test_read_back_equals_what_was_written(self, opened: Any, site: str) -> None:
        adapter, names = opened
        wanted = torch.randn(4, 6, WIDTH, generator=torch.Generator().manual_seed(3))
        run = adapter.run(_inputs(), read=[names[site]], write={names[site]: lambda h: wanted})
        assert torch.equal(run.activations[names[site]], wanted)

    def test_every_example_is_edited(self, opened: Any, site: str) -> None:
        adapter, names = opened
        change = (
            adapter.run(_inputs(), write={names[site]: lambda h: h + 1}).output
            - adapter.run(_inputs()).output
        )
        last = LastToken().at(_inputs()["attention_mask"]).selected
        assert (change[last].abs().amax(-1) > 1e-3).all()

    def test_hooks_are_gone_after_an_exception(self, opened: Any, site: str) -> None:
        adapter, names = opened
        plain = adapter.run(_inputs()).output

        def broken(h: Any) -> Any:
            raise RuntimeError("inside the edit")

        with pytest.raises(RuntimeError, match="inside the edit"):
            adapter.run(_inputs(), read=[names["tensor"]], write={names[site]: broken})
        assert not any(m._forward_hooks for m in _module(adapter).modules())
        assert torch.equal(adapter.run(_inputs()).output, plain)
        assert torch.equal(_module(adapter)(**_inputs()), plain)

    def test_a_batch_of_one(self, opened: Any, site: str) -> None:
        adapter, names = opened
        inputs = _inputs()
        whole = adapter.run(inputs, read=[names[site]], write={names[site]: lambda h: 2 * h})
        for run in range(4):
            one = {k: v[run : run + 1] for k, v in inputs.items()}
            alone = adapter.run(one, read=[names[site]], write={names[site]: lambda h: 2 * h})
            torch.testing.assert_close(
                alone.activations[names[site]], whole.activations[names[site]][run : run + 1]
            )
            torch.testing.assert_close(alone.output, whole.output[run : run + 1])

    def test_an_edit_of_another_shape_is_refused(self, opened: Any, site: str) -> None:
        adapter, names = opened
        with pytest.raises(InputError, match=r"returned shape \(1, 6, 8\), site has \(4, 6, 8\)"):
            adapter.run(_inputs(), write={names[site]: lambda h: h[:1]})


def test_sites_are_read_in_any_order_and_edits_reach_later_sites(opened: Any) -> None:
    adapter, names = opened
    wanted = [names[s] for s in ("tensor", "embed", "tuple")]
    run = adapter.run(_inputs(), read=wanted, write={names["embed"]: lambda h: h + 1})
    assert list(run.activations) == wanted
    plain = adapter.run(_inputs(), read=wanted)
    for site in wanted:
        assert (run.activations[site] != plain.activations[site]).any()


def test_padding_does_not_leak(opened: Any) -> None:
    short, long = (_numbers(*opened, _inputs(length=n)) for n in (6, 13))
    np.testing.assert_allclose(short, long, atol=1e-5)


def test_nothing_outlives_its_batch(opened: Any) -> None:
    """Activations, outputs and edits are freed when the caller lets go of the run."""
    adapter, names = opened
    sites, kept = [names[s] for s in SITES], []

    def edit(h: Any) -> Any:
        made = h + 1
        kept.append(weakref.ref(made))
        return made

    for _ in range(3):
        run = adapter.run(_inputs(), read=sites, write={names["tuple"]: edit})
        kept += [weakref.ref(run.activations[s]) for s in sites] + [weakref.ref(run.output)]
        del run
    gc.collect()
    # A stack may hold on to its last trace; what must not happen is that batches pile up.
    assert sum(r() is not None for r in kept[: 2 * len(kept) // 3]) == 0
    if isinstance(adapter, TorchAdapter):
        assert all(r() is None for r in kept)


def test_same_study_same_numbers_as_the_reference(opened: Any) -> None:
    inputs = _inputs()
    reference = _numbers(_torch(), MODULES, inputs)
    np.testing.assert_allclose(_numbers(*opened, inputs), reference, rtol=1e-6, atol=1e-6)
    assert np.abs(reference[:, 4] - reference[:, 3]).min() > 1e-4


def test_unknown_sites_and_training_mode_are_refused(opened: Any) -> None:
    adapter, names = opened
    assert set(names.values()) <= set(adapter.sites())
    with pytest.raises(InputError, match=f"Did you mean.*'{names['tensor']}'"):
        adapter.run(_inputs(), read=[names["tensor"] + "x"])
    model = adapter.model if hasattr(adapter, "model") else adapter.module
    whole = _module(adapter)
    for part in (whole, whole.get_submodule("first")):
        whole.eval()
        part.train()
        with pytest.raises(InputError, match="training mode"):
            type(adapter)(model)


def test_a_site_that_is_not_run_is_refused() -> None:
    for edit in ({}, {"unused": torch.zeros_like}):
        with pytest.raises(InputError, match="site 'unused': the forward pass does not run it"):
            _torch().run(_inputs(), read=[] if edit else ["unused"], write=edit)


@pytest.mark.parametrize("site", ["second:input", "head:input", "first.linear:input"])
def test_inputs_of_modules_are_sites_too(site: str) -> None:
    adapter = _torch()
    plain = adapter.run(_inputs(), read=[site])
    assert torch.equal(adapter.run(_inputs(), write={site: lambda h: h}).output, plain.output)
    run = adapter.run(_inputs(), read=[site], write={site: lambda h: h + 1})
    assert torch.equal(run.activations[site], plain.activations[site] + 1)
    assert (run.output != plain.output).any(-1)[LastToken().at(_inputs()["attention_mask"]).selected].all()
    with pytest.raises(InputError, match="Did you mean"):
        adapter.run(_inputs(), read=[f"x{site}"])
    assert not any(m._forward_pre_hooks for m in adapter.module.modules())


def test_an_input_passed_by_name_is_a_site() -> None:
    class _Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.inner(input=x)

    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    adapter = TorchAdapter(_Outer().eval().requires_grad_(False))
    run = adapter.run({"x": x}, read=["inner:input"], write={"inner:input": lambda h: 2 * h})
    assert torch.equal(run.activations["inner:input"], 2 * x)
    assert torch.equal(run.output, adapter.module.inner(2 * x))


def test_aliased_tensors_are_merged() -> None:
    groups = alias_groups(
        _torch(), _inputs(), ["embed", "hook_embed", "first", "first.linear", "hook_first", "second"]
    )
    assert groups == [("embed", "hook_embed"), ("first", "hook_first"), ("first.linear",), ("second",)]
    hooked = _hooked()
    assert alias_groups(hooked, _inputs(), hooked.sites())[1] == ("hook_first", "hook_first_alias")


def test_an_edit_under_one_name_is_read_under_the_other() -> None:
    run = _hooked().run(_inputs(), read=["hook_first"], write={"hook_first_alias": torch.zeros_like})
    assert torch.equal(run.activations["hook_first"], torch.zeros(4, 6, WIDTH))


def test_what_in_place_layers_overwrite_is_read_before() -> None:
    torch.manual_seed(0)
    net = (
        torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(inplace=True), torch.nn.Linear(5, 2))
        .eval()
        .requires_grad_(False)
    )
    x = torch.randn(4, 3)
    h = TorchAdapter(net).run({"input": x}, read=["0", "1"]).activations
    torch.testing.assert_close(h["0"], torch.nn.functional.linear(x, net[0].weight, net[0].bias))
    assert torch.equal(h["1"], h["0"].relu())
    assert float(h["0"].min()) < 0


def test_an_object_without_hook_points_is_refused() -> None:
    with pytest.raises(InputError, match="has no hook_dict"):
        TransformerLensAdapter(_Net().eval())


@pytest.mark.needs("transformers")
def test_a_named_output_keeps_its_kind() -> None:
    from tests.tiny import tiny_decoder

    adapter = TorchAdapter(tiny_decoder())
    inputs = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    plain = adapter.run(inputs).output.logits
    assert torch.equal(adapter.run(inputs, write={"transformer": torch.clone}).output.logits, plain)
    shifted = adapter.run(inputs, read=["transformer"], write={"transformer": lambda h: h + 1})
    assert not torch.equal(shifted.output.logits, plain)
    with pytest.raises(InputError, match="does not begin with a tensor"):
        TorchAdapter(_ListNet().eval()).run({"x": torch.ones(1)}, read=["inner"])


class _ListNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = _Words()

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class _Words(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return ["not a tensor"]


def _decoder_outcome(adapter: Any, site: str, inputs: dict[str, Any]) -> Any:
    run = adapter.run(inputs, read=[site], write={site: lambda h: h + torch.linspace(-1, 1, h.shape[-1])})
    h = run.activations[site][inputs["attention_mask"].bool()]
    return h.numpy(), outcome_values(LogitDifference(1, 2), run.output, inputs["attention_mask"])


@pytest.mark.needs("transformer_lens")
def test_a_bridge_gives_the_numbers_of_the_decoder_behind_it() -> None:
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    from tests.tiny import tiny_decoder

    net = tiny_decoder()
    bridge = build_bridge_from_module(
        net, "GPT2LMHeadModel", hf_config=net.config, device="cpu", dtype=torch.float32
    )
    adapter, inputs = TransformerLensAdapter(bridge.eval()), _inputs()
    groups = alias_groups(
        adapter, inputs, ["blocks.1.hook_out", "blocks.1.hook_resid_post", "blocks.1.hook_resid_pre"]
    )
    assert groups[0] == ("blocks.1.hook_out", "blocks.1.hook_resid_post")
    with torch.no_grad():
        ours = _decoder_outcome(adapter, "blocks.1.hook_resid_post", inputs)
        reference = _decoder_outcome(TorchAdapter(tiny_decoder()), "transformer.h.1", inputs)
    for a, b in zip(ours, reference, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.needs("nnsight")
def test_nnsight_gives_the_numbers_of_the_decoder_behind_it() -> None:
    from tests.tiny import tiny_decoder

    inputs = _inputs()
    ours = _decoder_outcome(NNsightAdapter(tiny_decoder()), "transformer.h.1", inputs)
    reference = _decoder_outcome(TorchAdapter(tiny_decoder()), "transformer.h.1", inputs)
    for a, b in zip(ours, reference, strict=True):
        np.testing.assert_array_equal(a, b)
