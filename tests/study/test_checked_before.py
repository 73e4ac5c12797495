"""What plan and prompts tell is refused before the first pass, by a run and by a dry run, with nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from mrinterp.cli import cli
from tests.tiny import FILLERS, templates, write_tiny_study

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
    if "units" in changes.get("features", {}):
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
