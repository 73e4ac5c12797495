"""Plain modules: inputs as sites, layers that work in place, outputs with names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.positions import LastToken
from tests.networks.adapter_nets import (
    token_inputs,
    torch_net,
)


def test_a_site_that_is_not_run_is_refused() -> None:
    for edit in ({}, {"unused": torch.zeros_like}):
        with pytest.raises(InputError, match="site 'unused': the forward pass does not run it"):
            torch_net().run(token_inputs(), read=[] if edit else ["unused"], write=edit)


@pytest.mark.parametrize("site", ["second:input", "head:input", "first.linear:input"])
def test_inputs_of_modules_are_sites_too(site: str) -> None:
    adapter = torch_net()
    plain = adapter.run(token_inputs(), read=[site])
    assert torch.equal(adapter.run(token_inputs(), write={site: lambda h: h}).output, plain.output)
    run = adapter.run(token_inputs(), read=[site], write={site: lambda h: h + 1})
    assert torch.equal(run.activations[site], plain.activations[site] + 1)
    assert (
        (run.output != plain.output).any(-1)[LastToken().at(token_inputs()["attention_mask"]).selected].all()
    )
    with pytest.raises(InputError, match="Did you mean"):
        adapter.run(token_inputs(), read=[f"x{site}"])
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
