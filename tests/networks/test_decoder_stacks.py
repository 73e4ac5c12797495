"""A decoder behind TransformerLens and nnsight gives the numbers of the decoder itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._merged_sites import merged_sites
from mrinterp.adapters._nnsight import NNsightAdapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._transformer_lens import TransformerLensAdapter
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.outcomes._outcome import outcome_values
from tests.networks.adapter_nets import (
    token_inputs,
)


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
    adapter, inputs = TransformerLensAdapter(bridge.eval()), token_inputs()
    groups = merged_sites(
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

    inputs = token_inputs()
    ours = _decoder_outcome(NNsightAdapter(tiny_decoder()), "transformer.h.1", inputs)
    reference = _decoder_outcome(TorchAdapter(tiny_decoder()), "transformer.h.1", inputs)
    for a, b in zip(ours, reference, strict=True):
        np.testing.assert_array_equal(a, b)
