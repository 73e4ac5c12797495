"""Masks, padding, positions and heads that do not go with the network: refused before any work, with the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.features import AttentionHeads, Units, WholeLayer
from mrinterp.knockouts import Bench
from mrinterp.models._plan_adapter import AdaptedNetwork
from mrinterp.models._plan_outcomes import embedded
from mrinterp.outcomes import CallableOutcome, Logit, OutcomeSet
from mrinterp.positions import LAST_TOKEN

pytestmark = pytest.mark.needs("transformers")

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])


def _added(dtype: torch.dtype) -> torch.Tensor:
    return torch.where(MASK.bool(), 0.0, torch.finfo(dtype).min if dtype != torch.float64 else -torch.inf).to(
        dtype
    )


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (_added(torch.float16), "run 0, token 3: -65504 .*added to attention scores"),
        (_added(torch.float32), "run 0, token 3: -3.4.* .*Give 1 on a run's own tokens"),
        (_added(torch.float64), "run 0, token 3: -inf"),
        ((1.0 - MASK) * -10000, "-10000 "),
        (MASK * 0.5, "run 0, token 0: 0.5"),
        (MASK * 2, "2. Give 1"),
        (MASK.double().masked_fill(MASK == 0, torch.nan), "nan"),
        (-MASK, "-1. Give"),
        (MASK[:, None, None, :], r"shape \(3, 1, 1, 4\)"),
        (MASK.sum(1), r"shape \(3,\)"),
    ],
)
def test_masks_that_are_not_0_and_1_are_refused(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(mrinterp.InputError, match=message):
        ModelInputs({"x": torch.zeros(3, 4)}, mask)
    if mask.ndim == 2:
        with pytest.raises(mrinterp.InputError, match=message):
            LAST_TOKEN.at(mask)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.int32, torch.uint8, torch.float16, torch.bfloat16, torch.float64]
)
def test_masks_of_every_type_mean_the_same(dtype: torch.dtype) -> None:
    inputs = ModelInputs({"x": torch.zeros(3, 4)}, MASK.to(dtype))
    assert inputs.at(LAST_TOKEN).selected.long().argmax(1).tolist() == [2, 3, 0]
    assert torch.equal(inputs.take([2, 0]).mask.long(), MASK[[2, 0]])
    long = ModelInputs({"x": torch.zeros(1, 5000)}, torch.ones(1, 5000, dtype=dtype))
    assert int(long.mask.sum()) == 5000  # in half precision a sum ends at 2048


def test_a_mask_of_padding_is_the_wrong_way_round() -> None:
    with pytest.raises(mrinterp.InputError, match=r"input 0, token 3: 1, where attention_mask is 0"):
        ModelInputs({"ids": MASK, "attention_mask": MASK}, 1 - MASK)
    assert len(
        ModelInputs({"ids": MASK, "attention_mask": MASK}, torch.tensor([[0, 1, 1, 0]] * 2 + [[1, 0, 0, 0]]))
    )


# --- networks of the libraries ---------------------------------------------------------------------------------

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SIZES | {"num_key_value_heads": 2, "intermediate_size": 24}
GPT2 = {
    "vocab_size": 40,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 12,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2": ("GPT2LMHeadModel", GPT2),
    "OPT": (
        "OPTForCausalLM",
        SIZES | {"ffn_dim": 24, "word_embed_proj_dim": 16, "max_position_embeddings": 12},
    ),
    "Llama": ("LlamaForCausalLM", GROUPED | {"max_position_embeddings": 12}),
    "Qwen2": ("Qwen2ForCausalLM", GROUPED),
    "Mistral": ("MistralForCausalLM", GROUPED),
    "Gemma2": ("Gemma2ForCausalLM", GROUPED | {"head_dim": 8}),
    "Falcon": ("FalconForCausalLM", SIZES),
    "GPTNeoX": ("GPTNeoXForCausalLM", SIZES | {"intermediate_size": 24}),
    "Bloom": ("BloomForCausalLM", {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 4}),
    "Bert": ("BertModel", SIZES | {"intermediate_size": 24, "max_position_embeddings": 12}),
    "Roberta": ("RobertaModel", SIZES | {"intermediate_size": 24, "max_position_embeddings": 14}),
}


def _network(family: str) -> TorchAdapter:
    import transformers

    torch.manual_seed(0)
    name, options = FAMILIES[family]
    config = getattr(transformers, f"{family}Config")(**options)
    net = getattr(transformers, name)(config).eval().requires_grad_(False)
    for name, weight in net.named_parameters():  # positions that matter
        if "norm" not in name.lower() and "ln" not in name:
            weight.mul_(4)
    return TorchAdapter(net)


def _texts(left: bool, length: int = 7, position_ids: bool = False) -> ModelInputs:
    generator = torch.Generator().manual_seed(0)
    ids, mask = torch.zeros(5, length, dtype=torch.long), torch.zeros(5, length, dtype=torch.long)
    for row, n in enumerate((3, 6, 4, length, 5)):
        place = slice(length - n, length) if left else slice(0, n)
        ids[row, place] = torch.randint(3, 40, (n,), generator=generator)
        mask[row, place] = 1
    tensors = {"input_ids": ids, "attention_mask": mask}
    if position_ids:
        tensors["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    return ModelInputs(tensors, mask)


def _first_layer(adapter: TorchAdapter) -> str:
    return next(s for s in adapter.sites() if s.endswith((".0", "layers.0")) and adapter.can_resume(s))


def _hidden(output: Any, mask: torch.Tensor) -> torch.Tensor:
    return output[0][torch.arange(len(mask)), mask.shape[1] - 1 - mask.flip(1).argmax(1), 3]


def _bench(adapter: TorchAdapter, inputs: ModelInputs, site: str | None = None, view: Any = None) -> Bench:
    view = Units([1], 16) if view is None else view
    return Bench(adapter, site or _first_layer(adapter), view, inputs, CallableOutcome("h", _hidden), block=2)


@pytest.mark.parametrize("family", ["GPT2", "Bert", "OPT", "Llama", "Falcon", "GPTNeoX", "Bloom", "Qwen2"])
def test_left_padding_is_refused_where_it_moves_positions(family: str) -> None:
    adapter = _network(family)
    right = _bench(adapter, _texts(left=False))
    moves = family in ("GPT2", "Bert")
    if moves:
        with pytest.raises(
            mrinterp.InputError, match=r"input 0: padded on the left by 4 tokens.*Pad on the right"
        ):
            _bench(adapter, _texts(left=True))
        left = _bench(adapter, _texts(left=True, position_ids=True))
    else:
        left = _bench(adapter, _texts(left=True))
    np.testing.assert_allclose(left.clean, right.clean, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(left.values, right.values, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("family", ["GPT2", "OPT", "Bert", "Roberta"])
def test_more_tokens_than_positions_is_a_message(family: str) -> None:
    adapter = _network(family)
    assert _bench(adapter, _texts(left=False, length=12)).prompts == 5
    with pytest.raises(
        mrinterp.InputError, match=r"13 tokens.*the network has 12 positions. Pad to at most 12"
    ):
        _bench(adapter, _texts(left=False, length=13))


def test_anchors_are_padded_on_the_right_whatever_the_tokenizer_does(tiny_encoder: Path) -> None:
    found = mrinterp.adapters.load_network(tiny_encoder)
    network = AdaptedNetwork(found.adapter, found.tokenizer, found.device)
    texts = ("the house", "the good house was what the teacher saw")
    right = embedded(network, texts)
    found.tokenizer.padding_side = "left"
    assert torch.equal(embedded(network, texts), right)
    with pytest.raises(mrinterp.InputError, match="length: 25 tokens; the network has 24 positions"):
        found.inputs(texts, 25)


def test_rotary_positions_end_at_the_texts_not_at_the_padding() -> None:
    adapter = _network("Llama")
    long = _texts(left=False, length=12)
    padded = {name: torch.nn.functional.pad(value, (0, 3)) for name, value in long.tensors.items()}
    assert _bench(adapter, ModelInputs(padded, padded["attention_mask"])).prompts == 5
    with pytest.raises(
        mrinterp.InputError, match=r"inputs of 13 tokens: the network was trained on at most 12"
    ):
        _bench(adapter, _texts(left=False, length=13))


def test_a_table_that_ends_before_the_tokens_is_a_message() -> None:
    class _Places(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.place = torch.nn.Embedding(20, 16), torch.nn.Embedding(5, 16)

        def forward(self, ids: Any) -> Any:
            return self.e(ids) + self.place(torch.arange(ids.shape[1]))

    for length, top in ((6, 20), (5, 21)):
        ids = torch.full((4, length), top - 1)
        inputs = ModelInputs({"ids": ids}, torch.ones_like(ids))
        with pytest.raises(mrinterp.InputError, match="no row for one of their tokens or positions"):
            Bench(TorchAdapter(_Places().eval()), "e", Units([0], 16), inputs, Logit(1))


def test_tokens_of_another_vocabulary_and_masks_that_are_added_are_refused() -> None:
    adapter, inputs = _network("GPT2"), _texts(left=False)
    ids = inputs.tensors["input_ids"].clone()
    ids[2, 1] = 40
    with pytest.raises(
        mrinterp.InputError, match="input_ids, input 2, token 1: 40; the network has 40 tokens"
    ):
        _bench(adapter, ModelInputs({**inputs.tensors, "input_ids": ids}, inputs.mask))
    added = (1.0 - inputs.mask) * torch.finfo(torch.float32).min
    with pytest.raises(mrinterp.InputError, match=r"attention_mask: holds -3.4.*not 0/1"):
        _bench(adapter, ModelInputs({**inputs.tensors, "attention_mask": added}, inputs.mask))


HEADS: list[tuple[str, str, int, int, list[tuple[int, int]]]] = [
    # family, site, width of the site, heads that it holds, pairs (head, head_count) that it does not
    ("Llama", "model.layers.0.self_attn.v_proj", 8, 2, [(3, 4), (0, 8), (0, 1)]),
    ("Llama", "model.layers.0.self_attn.k_proj", 8, 2, [(3, 4)]),
    ("Llama", "model.layers.1.self_attn.q_proj", 16, 4, [(1, 2), (7, 8)]),
    ("Llama", "model.layers.0.self_attn.o_proj:input", 16, 4, [(1, 2), (0, 16)]),
    ("Qwen2", "model.layers.0.self_attn.v_proj", 8, 2, [(3, 4)]),
    ("Mistral", "model.layers.0.self_attn.k_proj", 8, 2, [(2, 4)]),
    ("Gemma2", "model.layers.0.self_attn.v_proj", 16, 2, [(3, 4)]),
    ("Gemma2", "model.layers.0.self_attn.o_proj:input", 32, 4, [(1, 2)]),
    ("Falcon", "transformer.h.0.self_attention.dense:input", 16, 4, [(0, 1)]),
    ("GPTNeoX", "gpt_neox.layers.0.attention.dense:input", 16, 4, [(0, 2)]),
    ("GPT2", "transformer.h.0.attn.c_proj:input", 16, 4, [(0, 2)]),
    ("Bert", "encoder.layer.0.attention.self", 16, 4, [(0, 2)]),
    ("Bert", "encoder.layer.0.attention.output.dense:input", 16, 4, [(0, 8)]),
]


@pytest.mark.parametrize(("family", "site", "width", "count", "wrong"), HEADS)
def test_heads_are_counted_from_the_site(
    family: str, site: str, width: int, count: int, wrong: list[tuple[int, int]]
) -> None:
    adapter, inputs = _network(family), _texts(left=False)
    bench = _bench(adapter, inputs, site, AttentionHeads([count - 1], count, width))
    assert bench.features == width // count
    for head, given in wrong:
        with pytest.raises(
            mrinterp.InputError, match=f"the site holds {count} heads of width {width // count}"
        ):
            _bench(adapter, inputs, site, AttentionHeads([head], given, width))


@pytest.mark.parametrize(
    ("family", "site", "width", "message"),
    [
        (
            "Falcon",
            "transformer.h.0.self_attention.query_key_value",
            24,
            "no whole set of this network's heads",
        ),
        ("GPT2", "transformer.h.0.attn.c_attn", 48, "no whole set of this network's heads"),
        (
            "GPT2",
            "transformer.h.0.attn",
            16,
            r"added the heads up there. Read them before it, at .*c_proj:input",
        ),
        ("Llama", "model.layers.0.self_attn", 16, r"o_proj:input"),
        ("Llama", "model.layers.0.self_attn.o_proj", 16, r"o_proj:input"),
        ("Bert", "encoder.layer.0", 16, r"dense:input"),
    ],
)
def test_sites_that_hold_no_heads_are_refused(family: str, site: str, width: int, message: str) -> None:
    with pytest.raises(mrinterp.InputError, match=message):
        _bench(_network(family), _texts(left=False), site, AttentionHeads([0], 4, width))


# --- what is not an outcome ------------------------------------------------------------------------------------


def _my_metric(output: Any, mask: Any) -> Any:
    return output[:, -1, 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_my_metric, r"the function _my_metric. Give CallableOutcome\('_my_metric', _my_metric\)"),
        (
            lambda output, mask: output[:, 0],
            r"a function without a name. Give CallableOutcome\('name', function\)",
        ),
        (torch.nn.Identity(), "CallableOutcome"),
        (Logit, r"the class Logit. Give an instance, Logit\(...\)"),
        ("logit", "'logit'"),
        (None, "None"),
        ([Logit(0), Logit(1)], r"OutcomeSet\(\[...\]\)"),
    ],
)
def test_what_is_not_an_outcome_gets_the_fix(given: Any, message: str) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).eval()
    inputs = ModelInputs({"input": torch.ones(6, 3)})
    calls: list[Callable[[], Any]] = [
        lambda: Bench(TorchAdapter(net), "0", WholeLayer(4), inputs, given),
        lambda: OutcomeSet([given]),
        lambda: mrinterp.models.array_network(net, "0", np.ones((6, 3)), given),
    ]
    for call in calls:
        with pytest.raises(mrinterp.InputError, match=message):
            call()
