"""Relevance patching: every rule by hand on a tiny network, what has no rule is named, the network stays as it was."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.attribution import attribution_patching, relp
from mrinterp.core.errors import InputError
from mrinterp.features._units import WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.positions import AllTokens

WIDTH, TOKENS, PROMPTS = 4, 3, 6


class RMSNorm(nn.Module):
    """As transformers have it: not torch's own."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.weight, self.variance_epsilon, self.offset = nn.Parameter(torch.rand(WIDTH)), 1e-6, offset

    def forward(self, x: Any) -> Any:
        return (
            x
            * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
            * (self.weight + self.offset)
        )


class Attention(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.fused = fused

    def forward(self, h: Any) -> Any:
        q, k, v = self.q(h), self.k(h), self.v(h)
        if self.fused:
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return torch.softmax(q @ k.transpose(-1, -2) / WIDTH**0.5, dim=-1) @ v


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.act = nn.SiLU()

    def forward(self, h: Any) -> Any:
        return self.act(self.gate(h)) * self.up(h)


class Net(nn.Module):
    """A site, one piece behind it, and one number per prompt."""

    def __init__(self, piece: nn.Module) -> None:
        super().__init__()
        self.site, self.piece, self.out = nn.Identity(), piece, nn.Linear(WIDTH, 1, bias=False)

    def forward(self, x: Any) -> Any:
        return self.out(self.piece(self.site(x))).sum(1)


def bench_of(piece: nn.Module) -> Bench:
    torch.manual_seed(1)
    net = Net(piece).double().eval()
    x = torch.randn(PROMPTS, TOKENS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = ModelInputs({"x": x}, torch.ones(PROMPTS, TOKENS, dtype=torch.long))
    outcome = CallableOutcome("y", lambda output, mask: output[:, 0])
    return Bench(
        TorchAdapter(net),
        "site",
        WholeLayer(WIDTH),
        inputs,
        outcome,
        position=AllTokens(),
        family=np.arange(PROMPTS) // 2,
    )


def by_hand(piece: nn.Module, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Coefficients (P, T, width) of each piece, written down."""
    with torch.no_grad():
        if isinstance(piece, nn.LayerNorm):
            sd = (x.var(-1, unbiased=False, keepdim=True) + piece.eps).sqrt()
            g = piece.weight * out / sd
            return g - g.mean(-1, keepdim=True)
        if isinstance(piece, RMSNorm):
            rms = (x.square().mean(-1, keepdim=True) + piece.variance_epsilon).sqrt()
            return (piece.weight + piece.offset) * out / rms
        if isinstance(piece, Gate):
            a, b = x @ piece.gate.weight.T, x @ piece.up.weight.T
            s = torch.sigmoid(a)
            return (s * b * out) @ piece.gate.weight / 2 + (s * a * out) @ piece.up.weight / 2
        if isinstance(piece, Attention):
            scores = (x @ piece.q.weight.T) @ (x @ piece.k.weight.T).transpose(-1, -2) / WIDTH**0.5
            return torch.softmax(scores, -1).transpose(-1, -2) @ (out @ piece.v.weight).expand_as(x)
        return piece(x) / x * out


PIECES: dict[str, Any] = {
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "rms norm": RMSNorm,
    "rms norm, weight from one": lambda: RMSNorm(1.0),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gate": Gate,
    "attention": lambda: Attention(False),
    "fused attention": lambda: Attention(True),
}


@pytest.mark.parametrize("name", PIECES)
def test_every_rule_is_what_the_paper_writes(name: str) -> None:
    piece = PIECES[name]()
    bench = bench_of(piece)
    found = relp(bench, target="zero")
    x, net = bench.inputs.tensors["x"], bench.adapter.module
    want = by_hand(piece, x, net.out.weight.detach()[0])
    np.testing.assert_allclose(found.details["change"][:, 0], -(want * x).sum(1).mean(0), rtol=1e-9)
    if name not in ("relu",):  # of which the rule is the gradient
        plain = attribution_patching(bench, target="zero")
        assert np.abs(found.beta - plain.beta).max() > 1e-4


def test_coefficients_times_values_sum_to_the_output() -> None:
    """Of a network without biases, whatever is stacked."""
    bench = bench_of(nn.Sequential(RMSNorm(), Attention(False), Gate(), nn.GELU(), RMSNorm(1.0), Gate()))
    found = relp(bench, target="zero")
    assert found.details["change"].sum() == pytest.approx(-bench.clean.mean(), rel=1e-5)
    assert attribution_patching(bench, target="zero").details["change"].sum() != pytest.approx(
        -bench.clean.mean(), rel=0.1
    )


def test_a_linear_network_has_its_gradient() -> None:
    bench = bench_of(nn.Linear(WIDTH, WIDTH))
    for field in ("beta", "se"):
        np.testing.assert_allclose(
            getattr(relp(bench), field), getattr(attribution_patching(bench), field), rtol=1e-12
        )


class Squares(nn.Module):
    def forward(self, h: Any) -> Any:
        return torch.exp(-(h**2))


class L1Norm(nn.Module):
    def forward(self, h: Any) -> Any:
        return h / h.abs().sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("piece", "named"),
    [
        (nn.Sequential(nn.Identity(), Squares()), r"piece\.1'.*pow"),
        (nn.Sigmoid(), "piece'.*sigmoid"),
        (L1Norm(), "piece'.*L1Norm is neither a layer norm"),
        (nn.GroupNorm(1, TOKENS), "piece'.*GroupNorm"),
    ],
)
def test_what_has_no_rule_is_named(piece: nn.Module, named: str) -> None:
    with pytest.raises(InputError, match=named):
        relp(bench_of(piece))


def test_the_network_is_afterwards_as_it_was() -> None:
    for piece in (nn.Sequential(RMSNorm(), Gate()), nn.Sequential(RMSNorm(), Squares())):
        bench = bench_of(piece)
        net, x = bench.adapter.module, bench.inputs.tensors["x"]
        before = net(x)
        with contextlib.suppress(InputError):
            relp(bench)
        assert torch.equal(net(x), before)
        assert all(p.requires_grad for p in net.parameters())
        for module in net.modules():
            assert "forward" not in vars(module)
            assert not module._forward_hooks
            assert not module._forward_pre_hooks


def test_a_network_that_is_no_module_is_refused() -> None:
    class Bare:
        module, hash = None, "bare"

    bench = bench_of(nn.GELU())
    bench.adapter = Bare()  # type: ignore[assignment]
    with pytest.raises(InputError, match="no torch module"):
        relp(bench)


@pytest.mark.needs("transformers")
def test_a_decoder_of_transformers_has_a_rule_for_every_module() -> None:
    """Near attribution patching where little bends, and not the same; the network is as it was."""
    from mrinterp.features import Units
    from mrinterp.knockouts import Bench
    from mrinterp.outcomes import CallableOutcome
    from mrinterp.positions import MEAN_OF_TOKENS
    from tests.tiny import tiny_decoder

    network = tiny_decoder(dtype=torch.float64)
    ids = torch.randint(0, 20, (16, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    last = CallableOutcome("last", lambda output, mask: getattr(output, "logits", output)[:, -1, 3])
    inputs = ModelInputs({"input_ids": ids, "attention_mask": mask}, mask)
    bench = Bench(
        TorchAdapter(network),
        "transformer.h.0",
        Units(range(8), 24),
        inputs,
        last,
        family=np.arange(16) // 2,
        position=MEAN_OF_TOKENS,
    )
    with torch.no_grad():
        before = network(input_ids=ids).logits
    patched, found = attribution_patching(bench).beta.ravel(), relp(bench).beta.ravel()
    assert np.corrcoef(patched, found)[0, 1] > 0.8
    assert np.abs(patched - found).max() > 1e-3
    with torch.no_grad():
        assert torch.equal(network(input_ids=ids).logits, before)
