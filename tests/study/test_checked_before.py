"""What plan and prompts tell is refused before the first pass, by a run and by a dry run, with nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from mrinterp.cli import cli
from tests.tiny import DECODER_FILLERS, FILLERS, decoder_templates, templates, to_toml, write_tiny_study

pytestmark = pytest.mark.needs("transformers")

UNITS = {"kind": "units", "units": list(range(20))}
FEW: dict[str, Any] = {"instruments": {"noise": {"runs_per_prompt": 1}, "slot": {"runs_per_prompt": 1}}}
SMALL = {"prompts": {"per_family": 1}, "splits": {"min_families": 4}, **FEW}
CASES: dict[str, tuple[int, dict[str, Any], tuple[str, ...]]] = {
    "fewer runs than features": (
        64, {**SMALL, "features": UNITS}, ("splits.estimation", "16 noise runs for 20 features", "runs_per_prompt"),
    ),
    "fewer runs of a kind that is only repeated": (
        64,
        {**SMALL, "instruments": {"noise": {"runs_per_prompt": 9}, "slot": {"runs_per_prompt": 1}}, "features": UNITS},
        ("splits.replication", "16 slot runs for 20 features"),
    ),
    "no runs of the kind": (160, {"estimation": {"kind": "pair"}}, ("estimation.kind", "no 'pair' runs")),
    "a label of no feature": (160, {"features": {"labels": "labels.csv"}}, ("encoder.layer.1:c0", "no such feature", "c05")),
    "a filler that the tokenizer does not know": (
        160,
        {"prompts": {"fillers": {**FILLERS, "person": ["teacher", "baker"]}}},
        ("prompts.fillers.person", "'baker' is unknown to the tokenizer ([UNK])"),
    ),
    "an anchor without words": (
        160, {"outcome": {"positive": ["fine", " "]}}, ("anchor sentence 2 (' ')", "has no tokens"),
    ),
    "too few families": (30, {}, ("splits.discovery", "30 in all", "40 in all")),
    "one filler": (160, {"prompts": {"fillers": {**FILLERS, "when": ["today"]}}}, ("prompts.fillers.when", "1 filler", "at least two")),
    "a site that comes before the noise": (
        160,
        {"model": {"site": "embeddings.word_embeddings", "embedding": "embeddings.LayerNorm"}, "features": {"position": "mean"}},
        ("instruments.noise", "never changes the site", "embeddings.LayerNorm"),
    ),
    "a device that is not there": (160, {"model": {"device": "mps"}}, ("device", "'mps'", "Use 'cpu'")),
    "a head that there is not": (
        160,
        {"model": {"site": "encoder.layer.1.attention.output.dense:input"}, "features": {"kind": "heads", "heads": [4]}},
        ("head", "4"),
    ),
    "a label of no unit": (
        160, {"features": {**UNITS, "labels": "labels.csv"}}, ("encoder.layer.1:c0", "no such feature"),
    ),
    "more components than dimensions": (160, {"features": {"count": 25}}, ("features.count", "25 components", "at most 24")),
    "more directions than dimensions": (
        160, {"knockouts": {"random_controls": 25}}, ("knockouts.random_controls", "width 24", "at most 24"),
    ),
    "more donors than prompts": (160, {"knockouts": {"donors": 40}}, ("knockouts.donors", "40 donors", "at most 9")),
    "words the tokenizer cannot tell apart": (
        160,
        {"prompts": {"fillers": {**FILLERS, "person": ["teacher", "baker", "cook"]}}},
        ("'person=baker' and 'person=cook'", "tokens stay those of the clean prompt"),
    ),
    "a position that no input has": (160, {"features": {"position": 40}}, ("position",)),
    "a token class that does not exist": (160, {"features": {"position": "qualty"}}, ("quality",)),
    "a dead latent": (160, {"features": {"kind": "sae", "folder": "sae", "latents": [3, 7]}}, ("latent 7", "never changes")),
    "more latents than are alive": (160, {"features": {"kind": "sae", "folder": "sae", "count": 30}}, ("30 latents; 29 of 30",)),
    "a latent that does not exist": (
        160, {"features": {"kind": "sae", "folder": "sae", "latents": [30]}}, ("latent 30", "has 30 latents", "0 to 29"),
    ),
    "more latents than there are": (160, {"features": {"kind": "train_sae", "count": 300}}, ("300 latents; there are 256",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def sae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder of 30 latents, of which one is dead."""
    from mrinterp.features import SparseAutoencoder, write_sae

    draw = torch.Generator().manual_seed(0)
    bias = torch.full((30,), 5.0)
    bias[7] = -1e6
    weights = {"W_enc": torch.randn(24, 30, generator=draw), "b_enc": bias, "b_dec": torch.zeros(24)}
    weights["W_dec"] = torch.randn(30, 24, generator=draw) / 5
    folder = tmp_path_factory.mktemp("sae") / "sae"
    write_sae(SparseAutoencoder("standard", weights), folder)
    return folder


def _refused(study: Path, out: Path, words: tuple[str, ...], *, quick: bool = False) -> None:
    for more in (("--dry-run",), ()) if not quick else (("--dry-run",),):
        done = CliRunner().invoke(cli, ["run", str(study), "--out", str(out), *more])
        assert done.exit_code == 2, done.output
        assert len(done.stderr.splitlines()) == 1, done.stderr
        for word in words:
            assert word in done.stderr, f"{word!r} not in {done.stderr!r}"
        assert not out.exists(), sorted(out.rglob("*"))


@pytest.mark.parametrize("case", list(CASES))
def test_refused_before_the_first_pass(case: str, tiny_encoder: Path, sae: Path, tmp_path: Path) -> None:
    families, changes, words = CASES[case]
    (tmp_path / "sae").symlink_to(sae)
    (tmp_path / "labels.csv").write_text("feature,label\nencoder.layer.1:c0,warmth\n")
    study = write_tiny_study(tmp_path, tiny_encoder, families, **changes)
    if {"units", "heads"} & set(changes.get("features", {})):
        study.write_text(study.read_text().replace("count = 6\nkind", "kind"))
    # A dead latent is found on the run's first pass, which finds it too; by then its rules are written.
    _refused(study, tmp_path / "out", words, quick="alive" in case or "dead" in case)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{when} the {person was {quality} {place}", ("character", "brace that is not part of a slot")),
        ("{when} the { person } was {quality}", ("brace that is not part of a slot", "without spaces")),
        ("{when} the {person} was {quality}}", ("brace that is not part of a slot",)),
        ("{when} the {} was {quality}", ("brace that is not part of a slot",)),
        ("{when} the {{person}} was {quality}", ("slot {person} occurs 0 times", "single braces: {person}")),
        ("{when} the {persn} was {quality}", ("unknown slot {persn}", "'person'")),
    ],
)
def test_braces_that_are_no_slot_are_refused(
    line: str, words: tuple[str, ...], tiny_encoder: Path, tmp_path: Path
) -> None:
    study = write_tiny_study(tmp_path, tiny_encoder)
    lines = templates(160)
    lines[4] = line
    (tmp_path / "templates.txt").write_text("\n".join(lines) + "\n")
    _refused(study, tmp_path / "out", ("templates.txt, line 5", *words), quick=True)


def test_doubled_braces_stand_for_one(tmp_path: Path) -> None:
    from mrinterp.instruments.templates import read_templates

    (tmp_path / "t.txt").write_text("if {{x}} then {word} }}\n")
    found, spans = read_templates(tmp_path / "t.txt", ["word"])[0].fill({"word": "y"})
    assert found == "if {x} then y }"
    assert found[slice(*spans["word"])] == "y"


@pytest.mark.parametrize("what", ["memory", "disk"])
def test_more_memory_or_disk_than_there_is(
    what: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "memory":
        monkeypatch.setattr("mrinterp.scan._cost.memory_of_machine", lambda: 1e5)
    else:
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000, "total": 2000})())
    study = write_tiny_study(tmp_path, tiny_encoder)
    _refused(study, tmp_path / "out", (f"GiB of {what}; there are", "Ask for fewer"), quick=True)


def _decoder_study(folder: Path, gpt2: Path, **changes: Any) -> Path:
    """The README's study on a tiny GPT-2, with as few runs as can be; ``changes`` replace keys of sections."""
    (folder / "templates.txt").write_text("\n".join(decoder_templates(40)) + "\n")
    study: dict[str, Any] = {
        "title": "what makes it say he",
        "model": {
            "kind": "causal", "folder": str(gpt2), "site": "transformer.h.6", "embedding": "transformer.wte",
            "padded_length": 16,
        },
        "features": {"kind": "principal_components", "count": 4, "position": "last"},
        "outcome": {"name": "he_minus_she", "kind": "logit_difference", "target": " he", "against": " she"},
        "prompts": {"templates": "templates.txt", "per_family": 2, "fillers": DECODER_FILLERS},
        "instruments": {"noise": {"runs_per_prompt": 4, "directions_per_class": 4}},
        "knockouts": {"random_controls": 2},
    }  # fmt: skip
    for key, value in changes.items():
        study[key] = {**study[key], **value} if set(value) != {"kind", "name", "function"} else value
    path = folder / "study.toml"
    path.write_text(to_toml(study))
    return path


OUTCOMES = """
import torch

def nothing(output, mask):
    return torch.full((len(mask),), float("nan"))

def always_one(output, mask):
    return torch.ones(len(mask))
"""
DECODER_CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a target without its space": ({"outcome": {"target": "he"}}, ("'he' is token", "piece that goes on with a word", 'Write " he"')),
    "an unknown target": ({"outcome": {"target": " zebra"}}, ("outcome.target", "' zebra' is", "one token")),
    "a target that is one token after a space": ({"outcome": {"target": "near"}}, ('Write " near"',)),
    "one token against itself": ({"outcome": {"against": " he"}}, ("outcome.against", "same token", "always be 0")),
    "a padded length that is too small": ({"model": {"padded_length": 6}}, ("padded length 6", "Set model.padded_length to")),
    "a padded length beyond the positions": ({"model": {"padded_length": 65}}, ("model.padded_length", "64 positions")),
    "a position beyond an input": ({"features": {"position": 14}}, ("position", "14")),
    "a site that does not exist": (
        {"model": {"site": "transformer.h.6.mlp.act_fn"}},
        ("transformer.h.6.mlp.act_fn", "no such", "transformer.h.6.mlp.act", "MLP neurons"),
    ),
    "an outcome that is no number": (
        {"outcome": {"name": "mine", "kind": "callable", "function": "no_number:nothing"}},
        ("outcome 'mine'", "not a finite number"),
    ),
    "an outcome that does not vary": (
        {"outcome": {"name": "mine", "kind": "callable", "function": "still:always_one"}}, ("outcome 'mine'", "does not vary"),
    ),
    "an SAE of another site": ({"features": {"kind": "sae", "folder": "sae", "count": 8}}, ("trained at transformer.h.3", "another place")),
    "an SAE of another width": ({"features": {"kind": "sae", "folder": "wide", "count": 8}}, ("width 30", "the site has 24")),
    "a site that the outcome cannot see": (
        {"features": {"position": "first"}, "model": {"site": "transformer.h.7"}},
        ("model.site 'transformer.h.7'", "bit for bit"),
    ),
    "weights beyond their type": ({"model": {"dtype": "float16"}}, ("model.dtype", "float16", "overflow", "bfloat16")),
}  # fmt: skip


@pytest.mark.parametrize("case", list(DECODER_CASES))
def test_mistakes_of_a_decoder_study_are_found_by_the_dry_run(
    case: str, tiny_gpt2: Path, tmp_path: Path
) -> None:
    from mrinterp.features import SparseAutoencoder, write_sae

    changes, words = DECODER_CASES[case]
    gpt2 = tiny_gpt2
    if "dtype" in str(changes):
        gpt2 = _with_large_weights(tiny_gpt2, tmp_path / "large")
    for name, width in (("sae", 24), ("wide", 30)):
        weights = {
            "W_enc": torch.eye(width),
            "b_enc": torch.zeros(width),
            "W_dec": torch.eye(width),
            "b_dec": torch.zeros(width),
        }
        write_sae(SparseAutoencoder("standard", weights), tmp_path / name, hook_name="transformer.h.3")
    for module in ("no_number", "still"):
        (tmp_path / f"{module}.py").write_text(OUTCOMES)
    study = _decoder_study(tmp_path, gpt2, **changes)
    done = CliRunner().invoke(
        cli, ["run", str(study), "--out", str(tmp_path / "out"), "--dry-run", "--allow-code"]
    )
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} not in {done.stderr!r}"
    assert not (tmp_path / "out").exists()


def _with_large_weights(gpt2: Path, folder: Path) -> Path:
    """The same network with one weight that half precision cannot hold."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(gpt2, folder)
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.2.mlp.c_fc.bias"][0] = 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_there_are_twenty_mistakes_and_more() -> None:
    assert len(CASES) + len(DECODER_CASES) >= 20


def test_words_that_the_tokenizer_does_not_know_are_said(tiny_encoder: Path, tmp_path: Path) -> None:
    from mrinterp.study import Study

    study = write_tiny_study(tmp_path, tiny_encoder)
    (tmp_path / "templates.txt").write_text("\n".join(f"{t} zebra" for t in templates(160)) + "\n")
    said = " ".join(Study.from_toml(study, tmp_path / "out").prompts_in_words())
    assert "inputs hold words that the tokenizer does not know ([UNK])" in said
    assert "zebra" in said


def test_labels_go_by_the_short_names_that_tables_print(tiny_encoder: Path, tmp_path: Path) -> None:
    from mrinterp.core.errors import InputError
    from mrinterp.scan._discovery import named_labels
    from mrinterp.study import Study

    names = ("encoder.layer.1:c0", "encoder.layer.1:c1")
    assert named_labels({"c1": "warmth", "encoder.layer.1:c0": "place"}, names) == {
        names[1]: "warmth",
        names[0]: "place",
    }
    with pytest.raises(InputError, match="Did you mean 'c1'"):
        named_labels({"c11": "warmth"}, names)
    with pytest.raises(InputError, match="has a label already"):
        named_labels({"c1": "warmth", names[1]: "heat"}, names)
    study = write_tiny_study(tmp_path, tiny_encoder, features={"labels": "labels.csv"})
    (tmp_path / "labels.csv").write_text("feature,label\nc03,warmth\n")
    found = Study.from_toml(study, tmp_path / "out").basis.dictionary
    assert dict(zip(found.names, found.labels, strict=True))["encoder.layer.1:c03"] == "warmth"
    (tmp_path / "labels.csv").write_text("feature,label\nc3,warmth\n")
    done = CliRunner().invoke(cli, ["run", str(study), "--out", str(tmp_path / "other"), "--dry-run"])
    assert done.exit_code == 2
    assert "features.labels, feature 'c3'" in done.stderr
    assert "Did you mean 'c03'" in done.stderr
