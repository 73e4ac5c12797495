"""Weight edits on every architecture whose writers are known: equal to the ablation, saved and reopened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.edits._cut_units import cut_units
from mrinterp.edits._project_out import WRITERS, project_out, stream_writers
from mrinterp.edits._prune_units import PrunedNetwork, prune_units

pytestmark = pytest.mark.needs("transformers")
WIDTH = 24
MASK = (torch.arange(7)[None] < torch.tensor([5, 7, 6])[:, None]).long()
IDS = torch.randint(3, 40, (3, 7), generator=torch.Generator().manual_seed(0))
TEXT = {"input_ids": IDS, "attention_mask": MASK}
SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": 32,
}
HIDDEN = {
    "gpt2": "transformer.h.1.mlp.act",
    "gpt_neox": "gpt_neox.layers.1.mlp.act",
    "bert": "bert.encoder.layer.1.intermediate",
    "roberta": "roberta.encoder.layer.1.intermediate",
}


def _network(kind: str, tied: bool) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    shape = {"n_embd": WIDTH, "n_layer": 2, "n_head": 4, "n_positions": 32} if kind == "gpt2" else SHAPE
    tokens = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, **shape, **tokens, tie_word_embeddings=tied)
    torch.manual_seed(0)
    auto = AutoModelForMaskedLM if kind in ("bert", "roberta") else AutoModelForCausalLM
    network = auto.from_config(config).eval().requires_grad_(False)
    for name, value in network.named_parameters():  # fresh norms and biases are ones and zeros
        if "orm" in name or "ln_" in name or "bias" in name:
            value += 0.2 * torch.randn_like(value)
    return network


def _logits(network: Any) -> Any:
    with torch.inference_mode():
        return network(**TEXT).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_directions_projected_out_are_gone_and_stay_gone_when_reopened(
    kind: str, tied: bool, tmp_path: Path
) -> None:
    network = _network(kind, tied)
    post_norm = kind in ("bert", "roberta")
    span = np.eye(WIDTH)[[3, 7]] if post_norm else np.random.default_rng(0).standard_normal((2, WIDTH))
    made = project_out(network, span, TEXT)
    assert made.sites == stream_writers(network)
    assert made.difference < 1e-5 * max(made.scale, 1)
    assert float((_logits(made.module) - _logits(network)).abs().max()) > 1e-3
    made.save(tmp_path / "edited")
    again = type(network).from_pretrained(tmp_path / "edited").eval()
    assert torch.equal(_logits(again), _logits(made.module))
    assert network.config.tie_word_embeddings == tied


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_units_cut_off_or_pruned(kind: str, tmp_path: Path) -> None:
    network = _network(kind, True)
    site = HIDDEN.get(kind, "model.layers.1.mlp.down_proj:input")
    cut = cut_units(network, site, [1, 5], TEXT)
    cut.save(tmp_path / "cut")
    again = type(network).from_pretrained(tmp_path / "cut").eval()
    assert torch.equal(_logits(again), _logits(cut.module))
    assert float((_logits(cut.module) - _logits(network)).abs().max()) > 1e-5
    pruned = prune_units(network, site, [1, 5], TEXT)
    torch.testing.assert_close(_logits(pruned.module), _logits(cut.module), rtol=1e-5, atol=1e-6)
    pruned.save(tmp_path / "pruned")
    assert torch.equal(_logits(PrunedNetwork.reopen(tmp_path / "pruned", network)), _logits(pruned.module))


def test_an_unembedding_that_was_cut_is_no_longer_tied(tmp_path: Path) -> None:
    network = _network("gpt2", True)
    made = cut_units(network, "transformer.ln_f", [2], TEXT)
    assert made.changed == ("lm_head.weight",)
    made.save(tmp_path / "edited")
    again = type(network).from_pretrained(tmp_path / "edited").eval()
    assert torch.equal(_logits(again), _logits(made.module))
    assert torch.equal(again.transformer.wte.weight, network.transformer.wte.weight)
