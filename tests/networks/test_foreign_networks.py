"""Networks as people have them: other libraries' objects, cached hub ids, images, sound, code of their own, quantized, on two devices."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import mrinterp
from mrinterp.adapters import TorchAdapter
from mrinterp.adapters._hugging_face import load_tokenizer
from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.core.plan_model import ModelSection
from mrinterp.knockouts import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.models._given import network_facts
from mrinterp.models._plan_adapter import load_plan_network
from tests.inputs.second_device import SecondDevice, put
from tests.tiny import tiny_decoder

pytestmark = pytest.mark.needs("transformers")


def _typed(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


def _said(done: Any) -> str:
    return " ".join(done.output.split())


@pytest.mark.needs("transformer_lens")
def test_a_bridge_is_described_by_its_hook_points() -> None:
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    net = tiny_decoder()
    bridge = build_bridge_from_module(
        net, "GPT2LMHeadModel", hf_config=net.config, device="cpu", dtype=torch.float32
    )
    found = mrinterp.describe(bridge.eval())
    frame = found.to_frame().set_index("site")
    assert json.loads(found.suggested("model.site")) == "blocks.1.hook_out", "after the block, not within it"
    assert json.loads(found.suggested("model.embedding")) == "embed.hook_out"
    assert found.facts["attention heads"] == "4 of width 6 in each block"
    for site, kind, width, words in (
        ("blocks.2.hook_resid_post", "residual", 24, "residual stream after block 2"),
        ("blocks.0.hook_in", "residual", 24, "residual stream before block 0"),
        ("blocks.1.attn.hook_z", "heads", 24, "(4 of width 6)"),
        (
            "blocks.1.mlp.hook_post",
            "mlp_neurons",
            96,
            "MLP neurons of block 1, after the activation function",
        ),
        ("embed.hook_in", "other", 0, "numbers of the tokens"),
        ("unembed.hook_out", "output", 20, "logits of every token"),
    ):
        row = frame.loc[site]
        assert (row["kind"], row["width"]) == (kind, width), site
        assert words in row["what"]


@pytest.mark.needs("nnsight")
def test_an_nnsight_network_is_described_as_the_one_inside_it() -> None:
    from nnsight import NNsight

    found, plain = mrinterp.describe(NNsight(tiny_decoder())), mrinterp.describe(tiny_decoder())
    for key in ("model.site", "model.embedding"):
        assert found.suggested(key) == plain.suggested(key)
    assert set(found.sites) <= set(plain.sites)


def test_a_hub_id_is_found_in_the_cache_and_nowhere_else(
    tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(tiny_gpt2, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    done = _typed("describe", "someone/tiny", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == {"kind": "causal", "hub": "someone/tiny"}
    absent = _typed("describe", "someone/other")
    assert absent.exit_code == 2
    assert (
        "'someone/other': not in the local cache, and nothing is downloaded. Fetch it once (hf download"
        in _said(absent)
    )
    for weights in (cached / "snapshots" / commit).glob("*.safetensors"):
        weights.unlink()
    assert "in the local cache without safetensors weights" in _said(_typed("describe", "someone/tiny"))


def _vit(folder: Path) -> Path:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=3, **sizes)).save_pretrained(
        folder
    )
    return folder


def test_a_classifier_of_images_keeps_its_head_and_its_study_passes_the_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _vit(tmp_path / "vit")
    found = mrinterp.describe("vit")
    assert json.loads(found.suggested("model.kind")) == "classifier"
    assert found.facts["architecture"] == "ViTForImageClassification"
    assert found.to_frame().set_index("site").loc["vit.embeddings.patch_embeddings.projection", "width"] == 16
    images = np.random.default_rng(0).standard_normal((88, 3, 8, 8)).astype("f4")
    np.savez("images.npz", pixel_values=images, patient=np.repeat(np.arange(44), 2))
    done = _typed(
        "init",
        "vit",
        "--inputs",
        "images.npz",
        "--target",
        "1",
        "--features",
        "principal_components",
        "--count",
        "3",
        "-o",
        "vit.toml",
    )
    assert done.exit_code == 0, done.output
    tried = _typed("run", "vit.toml", "--dry-run", "-q")
    assert tried.exit_code == 0, tried.output


OTHER_INPUTS = [
    ({"architectures": ["Wav2Vec2ForSequenceClassification"], "model_type": "wav2vec2"}, "takes sound (input_values)"),
    ({"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "is_encoder_decoder": True}, "takes sound (input_features)"),
    ({"architectures": ["CLIPModel"], "model_type": "clip", "text_config": {}, "vision_config": {}}, "takes images beside texts"),
    ({"architectures": ["LlavaForConditionalGeneration"], "text_config": {}, "vision_config": {}}, "gives a network inputs of one kind"),
    ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "has an encoder and a decoder"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "words"), OTHER_INPUTS, ids=[c["architectures"][0] for c, _ in OTHER_INPUTS]
)
def test_sound_and_several_kinds_of_input_are_refused_in_plain_words(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = _typed("describe", str(tmp_path))
    assert done.exit_code == 2
    assert words in _said(done)
    assert "factory" in _said(done), "the way round"


def test_an_encoder_stored_without_its_decoder_is_loaded_as_itself(tmp_path: Path) -> None:
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    net = T5EncoderModel(
        T5Config(vocab_size=20, d_model=16, d_ff=24, num_layers=2, num_heads=2, d_kv=8)
    ).eval()
    net.save_pretrained(tmp_path / "t5")
    found = mrinterp.describe(tmp_path / "t5")
    assert found.facts["architecture"] == "T5EncoderModel"
    assert json.loads(found.suggested("model.site")) == "encoder.block.1"
    frame = found.to_frame().set_index("site")
    assert (
        frame.loc["encoder.block.0.layer.0", "what"]
        == "residual stream within block 0, after its part layer.0"
    )
    # Two modules hold the same weights; noise goes where a pass goes.
    assert frame.loc["shared", "what"].endswith("which a pass of the network did not run")
    assert json.loads(found.suggested("model.embedding")) == "encoder.embed_tokens"
    assert network_facts(net).embedding == "encoder.embed_tokens"


def test_the_last_part_of_a_block_is_normalized_where_a_norm_comes_last() -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    found = (
        mrinterp.describe(BertModel(BertConfig(vocab_size=20, **sizes)).eval()).to_frame().set_index("site")
    )
    assert (
        found.loc["encoder.layer.0.output", "what"] == "last part of block 0: the stream after it, normalized"
    )


MODELING = """
import torch
from transformers import PreTrainedConfig, PreTrainedModel


class OwnConfig(PreTrainedConfig):
    model_type = "own_network"


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed, self.layer = torch.nn.Embedding(20, 8), torch.nn.Linear(8, 8)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None):
        return self.layer(self.embed(input_ids))
"""
FACTORY = """
from transformers import AutoModel


def load():
    return AutoModel.from_pretrained("own", trust_remote_code=True).eval()
"""


def test_a_network_with_code_of_its_own_is_refused_unless_a_factory_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MRINTERP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    own = tmp_path / "own"
    own.mkdir()
    (own / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{MODELING}")
    named = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    config = {"model_type": "own_network", "architectures": ["OwnModel"], "auto_map": named}
    (own / "config.json").write_text(json.dumps(config))
    weights = {
        "embed.weight": torch.randn(20, 8),
        "layer.weight": torch.randn(8, 8),
        "layer.bias": torch.zeros(8),
    }
    save_file(weights, own / "model.safetensors", metadata={"format": "pt"})
    done = _typed("describe", "own", "--kind", "encoder")
    assert done.exit_code == 2, done.output
    for words in (
        "brings code of its own",
        "is not run",
        "trust_remote_code=True",
        "factory module:function",
    ):
        assert words in _said(done)
    assert not (tmp_path / "ran").exists()
    # What a person decides to trust: a factory, which is asked about, and then described like any other network.
    monkeypatch.delitem(sys.modules, "own_factory", raising=False)
    (tmp_path / "own_factory.py").write_text(FACTORY)
    asked = _typed("describe", "own_factory:load")
    assert asked.exit_code == 2
    assert "would import and run Python" in _said(asked)
    assert not (tmp_path / "ran").exists()
    allowed = _typed("describe", "own_factory:load", "--allow-code", "--json")
    assert allowed.exit_code == 0, allowed.output
    assert (tmp_path / "ran").exists()
    assert {"embed", "layer"} <= {row["site"] for row in json.loads(allowed.stdout)["sites"]}


def test_a_tokenizer_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(own))
    (tmp_path / "own.py").write_text("class OwnTokenizer:\n    pass\n")
    with pytest.raises(InputError, match="brings code of its own, which is not run"):
        load_tokenizer(tmp_path)


def _quantized() -> torch.nn.Module:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)


def _half_elsewhere() -> torch.nn.Module:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    put([*net[2].parameters()])
    return net


def _without_values() -> torch.nn.Module:
    return torch.nn.Linear(4, 2, device="meta").eval()


UNUSABLE = [
    (_quantized, "quantized weights", "bfloat16"),
    (_half_elsewhere, "weights on several devices (cpu, xla:0)", "Put the whole network on one (without device_map)"),
    (_without_values, "weights without values", "Load them first"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "found", "fix"), UNUSABLE, ids=["quantized", "two devices", "meta"])
def test_weights_that_a_study_cannot_use_are_refused_from_memory_and_from_a_factory(
    make: Any, found: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tests.networks.test_foreign_networks as here

    monkeypatch.setattr(here, "made_here", make, raising=False)
    section = ModelSection(kind="module", module="tests.networks.test_foreign_networks:made_here", site="0")
    with SecondDevice():
        for door in (lambda: mrinterp.describe(make()), lambda: load_plan_network(section, Path())):
            with pytest.raises(InputError) as refused:
                door()
            assert found in refused.value.found
            assert fix in refused.value.fix


class _Stages(torch.nn.Module):
    """More channels than places: cutting a map to its places would cut its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList(torch.nn.Conv2d(a, 12, 3, stride=2, padding=1) for a in (1, 12))
        self.out = torch.nn.Linear(12, 2)

    def forward(self, pixel_values: Any) -> Any:
        h = pixel_values
        for stage in self.stages:
            h = torch.tanh(stage(h))
        return self.out(h.mean((2, 3)))


def test_runs_that_begin_at_a_feature_map_keep_all_of_its_channels() -> None:
    from mrinterp.adapters import ModelInputs
    from mrinterp.features import ChannelMap, Units
    from mrinterp.outcomes import LogitDifference

    torch.manual_seed(0)
    adapter = TorchAdapter(_Stages().eval().requires_grad_(False))
    images = torch.randn(10, 1, 8, 8)
    mask = torch.ones(10, 4, dtype=torch.long)
    inputs = ModelInputs({"pixel_values": images}, mask, torch.zeros_like(mask), ("map",))
    bench = Bench(adapter, "stages.1", ChannelMap(Units([0, 3], 12)), inputs, LogitDifference(0, 1))
    assert bench.resumes
    again = Bench(adapter, "stages.1", ChannelMap(Units([0, 3], 12)), inputs, LogitDifference(0, 1))
    again._start = None
    effects = [knock_out(b, "zero").effect for b in (bench, again)]
    np.testing.assert_allclose(*effects, rtol=1e-6)
    assert np.abs(effects[0]).min() > 0
