"""Hugging Face networks from a folder: heads, dtypes, padding, decoder blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._hugging_face import load_network, padded_inputs
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import edit_of
from mrinterp.features._units import AttentionHeads, WholeLayer
from mrinterp.outcomes._logit_outcomes import ClassifierMargin, Logit
from mrinterp.outcomes._outcome import AnchorProjection, outcome_values, sentence_embedding
from mrinterp.positions import AllTokens, LastToken, MeanOfTokens

pytestmark = pytest.mark.needs("transformers")
TEXTS = ["the good house", "the nurse left the dull office today", "bad"]


@pytest.fixture(scope="module")
def decoder_folder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny decoder, with the tiny encoder's tokenizer."""
    from transformers import AutoTokenizer

    from tests.tiny import tiny_decoder

    folder = tmp_path_factory.mktemp("decoder")
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.save_pretrained(folder)
    tiny_decoder(len(tokenizer)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(decoder_folder: Path) -> Any:
    return load_network(decoder_folder, head="causal")


def test_encoder_and_padding(tiny_encoder: Path) -> None:
    network = load_network(tiny_encoder)
    short, long = (network.inputs(TEXTS, n) for n in (10, 20))
    a, b = (sentence_embedding(network.adapter.run(i).output, i["attention_mask"]) for i in (short, long))
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert short["attention_mask"].sum(1).tolist() == [5, 9, 3]


@pytest.mark.parametrize(
    "site",
    ["transformer.wte", "transformer.h.1", "transformer.h.1.attn", "transformer.h.2.mlp", "transformer.ln_f"],
)
def test_decoder_sites_are_edited_exactly(decoder: Any, site: str) -> None:
    inputs = decoder.inputs(TEXTS, 12)
    plain = decoder.adapter.run(inputs, read=[site])
    same = decoder.adapter.run(inputs, write={site: lambda h: h})
    assert torch.equal(same.output.logits, plain.output.logits)
    positions = LastToken().at(inputs["attention_mask"])
    view, wanted = WholeLayer(24), torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    run = decoder.adapter.run(inputs, read=[site], write={site: edit_of(view, wanted, positions)})
    torch.testing.assert_close(view.read(run.activations[site], positions), wanted, atol=1e-5, rtol=1e-5)
    outcome = Logit(3)
    change = outcome_values(outcome, run.output, inputs["attention_mask"]) - outcome_values(
        outcome, plain.output, inputs["attention_mask"]
    )
    assert (np.abs(change) > 1e-3).all(), "every example is edited"


def test_decoder_padding_does_not_leak(decoder: Any) -> None:
    values = [
        outcome_values(Logit(3), decoder.adapter.run(i).output, i["attention_mask"])
        for i in (decoder.inputs(TEXTS, n) for n in (9, 20))
    ]
    np.testing.assert_allclose(*values, atol=1e-5)
    one = decoder.inputs(TEXTS[:1], 9)
    np.testing.assert_allclose(
        outcome_values(Logit(3), decoder.adapter.run(one).output, one["attention_mask"]),
        values[0][:1],
        atol=1e-5,
    )


def test_a_head_written_into_the_concatenated_output(decoder: Any) -> None:
    """Zeroing head 2 where the heads stand side by side removes its term and no other."""
    inputs = decoder.inputs(TEXTS, 12)
    positions, site = AllTokens().at(inputs["attention_mask"]), "transformer.h.0.attn.c_proj"
    plain = decoder.adapter.run(inputs, read=[f"{site}:input", site])
    view = AttentionHeads([2], 4, 24)
    before = plain.activations[f"{site}:input"]
    values = view.read(before, positions)
    run = decoder.adapter.run(
        inputs,
        read=[f"{site}:input", site],
        write={f"{site}:input": edit_of(view, torch.zeros_like(values), positions)},
    )
    edited = run.activations[f"{site}:input"]
    assert not view.read(edited, positions).any()
    others = AttentionHeads([0, 1, 3], 4, 24)
    assert torch.equal(others.read(edited, positions), others.read(before, positions))
    change = (run.activations[site] - plain.activations[site])[0, 0]
    weight = decoder.adapter.submodule(site).weight
    torch.testing.assert_close(change, -values[0, :6] @ weight[12:18], atol=1e-5, rtol=1e-4)
    assert (run.output.logits != plain.output.logits).any()


def test_half_precision_network_is_summed_in_single(decoder_folder: Path, tiny_encoder: Path) -> None:
    half, single = (load_network(decoder_folder, head="causal", dtype=d) for d in ("bfloat16", "float32"))
    inputs = half.inputs(TEXTS, 12)
    run = half.adapter.run(inputs, read=["transformer.h.1"])
    h, positions = run.activations["transformer.h.1"], MeanOfTokens().at(inputs["attention_mask"])
    assert h.dtype == torch.bfloat16
    values = WholeLayer(24).read(h, positions)
    by_hand = torch.stack([h[i, m.bool()].double().mean(0) for i, m in enumerate(inputs["attention_mask"])])
    torch.testing.assert_close(values.double(), by_hand, atol=1e-6, rtol=1e-6)
    a, b = (
        outcome_values(Logit(3), n.adapter.run(inputs).output, inputs["attention_mask"])
        for n in (half, single)
    )
    assert 0 < np.abs(a - b).max() < 0.1
    assert half.adapter.hash != single.adapter.hash
    encoder = load_network(tiny_encoder, dtype="bfloat16")
    coded = encoder.inputs(TEXTS, 12)
    embedded = sentence_embedding(encoder.adapter.run(coded).output, coded["attention_mask"])
    assert embedded.dtype == torch.float32
    assert np.isfinite(
        outcome_values(
            AnchorProjection("anchor", embedded[:1]),
            encoder.adapter.run(coded).output,
            coded["attention_mask"],
        )
    ).all()


def test_classifier(tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    torch.manual_seed(0)
    BertForSequenceClassification(AutoConfig.from_pretrained(tiny_encoder, num_labels=3)).save_pretrained(
        tmp_path
    )
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    network = load_network(tmp_path, head="classifier")
    inputs = network.inputs(TEXTS, 12)
    logits = network.adapter.run(inputs).output.logits
    margins = outcome_values(
        ClassifierMargin(2), network.adapter.run(inputs).output, inputs["attention_mask"]
    )
    np.testing.assert_allclose(
        margins[:, 0], (logits[:, 2] - logits[:, :2].amax(1)).double().numpy(), rtol=1e-5
    )


def test_the_demo_package_is_found_by_name() -> None:
    with pytest.raises(InputError, match="'no_such_package' is not installed"):
        load_network(package="no_such_package")


def test_a_hub_id_comes_from_the_cache_and_is_refused_where_it_cannot(
    decoder_folder: Path, decoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0" * 40
    base = tmp_path / "models--owner--tiny"
    shutil.copytree(decoder_folder, base / "snapshots" / commit)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text(commit)
    for revision in (None, "main", commit):
        cached = load_network(hub="owner/tiny", revision=revision, head="causal")
        assert cached.adapter.hash == decoder.adapter.hash
        assert cached.tokenizer is not None
    for arguments in ({"hub": "owner/small"}, {"hub": "owner/tiny", "revision": "older"}):
        with pytest.raises(InputError, match="not in the local cache, and nothing is downloaded"):
            load_network(**arguments)
    (base / "snapshots" / commit / "model.safetensors").unlink()
    (base / "snapshots" / commit / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match="safetensors"):
        load_network(hub="owner/tiny", head="causal")


def test_a_missing_head_is_not_invented(tiny_encoder: Path) -> None:
    with pytest.raises(InputError, match="saved without the head"):
        load_network(tiny_encoder, head="classifier")


def test_pickles_are_never_opened(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_encoder / "config.json").read_text())
    marker = tmp_path / "ran"
    (tmp_path / "pytorch_model.bin").write_bytes(b"cbuiltins\nopen\n(V" + str(marker).encode() + b"\nVw\ntR.")
    with pytest.raises(InputError, match="safetensors"):
        load_network(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": "openai-community/gpt2"}, "nothing is downloaded. Give .* or a hub id as hub="),
        ({"folder": None, "hub": "no such/owner/name"}, "Give owner/name"),
        ({"folder": None, "revision": "main"}, "given without hub"),
        ({"hub": "owner/name"}, "given together with package or folder"),
        ({"head": "caual"}, "Did you mean 'causal'"),
        ({"dtype": "bf16"}, "Did you mean|Known"),
        ({"device": "moon"}, "'moon'"),
        ({"folder": None}, "neither package, folder nor hub"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str, tiny_encoder: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_network(**({"folder": tiny_encoder} | arguments))


class _Empty:
    """A tokenizer that makes nothing of the second text."""

    pad_token_id = 0

    def __call__(self, texts: Any) -> Any:
        return {"input_ids": [[1], []]}


def test_long_and_empty_texts_are_refused(decoder: Any) -> None:
    with pytest.raises(InputError, match=r"text 1 \('the nurse.*9 tokens, padded length 6"):
        decoder.inputs(TEXTS, 6)
    with pytest.raises(InputError, match="none given"):
        decoder.inputs([], 6)
    with pytest.raises(InputError, match="text 1: no tokens"):
        padded_inputs(_Empty(), ["a", ""], 3)
