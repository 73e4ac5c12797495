"""docs/first_study.md does what it says: what a newcomer types, carried out small; and the study files that `init` writes for arrays."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import mrinterp
from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.core.plan import read_plan
from tests.warm_cli import command

ROOT = Path(__file__).parents[2]
PROTOCOL = runpy.run_path(str(ROOT / "benchmarks" / "new_user" / "protocol.py"), run_name="protocol")
SECTIONS = PROTOCOL["sections"](PROTOCOL["PAGE"].read_text(encoding="utf-8"))

NETS = """
import torch


class Shapes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn = torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.BatchNorm2d(8)
        self.conv2, self.fc = torch.nn.Conv2d(8, 6, 3, padding=1), torch.nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.conv2(torch.relu(self.bn(self.conv1(x)))))
        return self.fc(h.mean((2, 3)))


class Words(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.lstm = torch.nn.Embedding(30, 16), torch.nn.LSTM(16, 12, batch_first=True)
        self.out = torch.nn.Linear(12, 2)

    def forward(self, ids):
        return self.out(self.lstm(self.embed(ids))[0][:, -1])


def shapes():
    torch.manual_seed(0)
    return Shapes().eval()


def words():
    torch.manual_seed(0)
    return Words().eval()


def rows(hidden=16):
    torch.manual_seed(0)
    parts = [torch.nn.Linear(5, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)]
    return torch.nn.Sequential(*parts).eval()
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MRINTERP_CONFIG", str(tmp_path / "config"))
    for name in ("nets", *(s.file.removesuffix(".py") for s in SECTIONS)):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "nets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    family = np.repeat(np.arange(44), 2)
    np.savez(
        "images.npz",
        images=rng.standard_normal((88, 1, 6, 6)).astype("f4"),
        patient=family,
        finding=np.arange(88) % 2,
    )
    np.savez("tokens.npz", ids=rng.integers(3, 30, (88, 7)), topic=family)
    frame = pd.DataFrame(rng.standard_normal((88, 5)), columns=["age", "dose", "marker", "weight", "left"])
    frame.assign(ward=[f"ward {f}" for f in family], note="some words").to_csv("rows.csv", index=False)
    pd.DataFrame(rng.integers(3, 30, (88, 7))).assign(topic=family).to_csv("tokens.csv", index=False)
    return tmp_path


def _typed(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


def _perform(command: str, folder: Path) -> str:
    """A line that a person types, carried out in this process; the run itself is left to the benchmark and a slow test."""
    program, *arguments = shlex.split(command)
    if program == "python":
        runpy.run_path(str(folder / arguments[0]), run_name="__main__")
    if program != "mrinterp" or (arguments[0] == "run" and "--dry-run" not in arguments):
        return ""
    done = _typed(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_page_has_what_it_promises() -> None:
    assert [s.title for s in SECTIONS] == ["Texts", "Token arrays", "Images", "A table"]
    for section in SECTIONS:
        assert section.lines <= PROTOCOL["MOST_LINES"]
        steps = [next(n for n, p in PROTOCOL["STEPS"].items() if re.match(p, c)) for c in section.commands]
        assert steps == list(PROTOCOL["STEPS"])
        assert "STEPS, FAMILIES = " in section.program
        assert section.planted in section.sentences
    assert PROTOCOL["install_minutes"]() > 0
    assert PROTOCOL["words"]("a b2 two words, 12 +0.3 | it's") == 3


@pytest.mark.needs("transformers")
@pytest.mark.parametrize("section", SECTIONS, ids=[s.title for s in SECTIONS])
def test_a_section_is_followed_up_to_its_dry_run(section: Any, workplace: Path) -> None:
    """With a network that is hardly trained: benchmarks/new_user/protocol.py follows it to the page and its verdict."""
    commands = [c for c in section.commands if "--out runs" not in c and not c.startswith("xdg-open")]
    (workplace / section.file).write_text(
        section.program.replace("STEPS, FAMILIES = 300, 160", "STEPS, FAMILIES = 2, 44")
    )
    printed = {command: _perform(command, workplace) for command in commands}
    described, written, tried = list(printed.values())[1:]
    assert "A study file could say" in described
    assert "Next: mrinterp run" in written
    assert "Runs of the network" in tried


@pytest.mark.slow
def test_the_section_of_a_table_is_followed_to_its_verdict(tmp_path: Path) -> None:
    """Its program and its last line in the protocol's shell, which the benchmark gives all lines to."""
    section, shell = SECTIONS[-1], PROTOCOL["shell"](tmp_path / "bin")

    def perform(line: str, where: Path) -> str:
        program, *arguments = shlex.split(line)
        if program != "mrinterp":
            return str(shell(line, where))
        done = command(*arguments, cwd=where, MRINTERP_CONFIG=str(tmp_path / "config"), COLUMNS="80")
        assert done.returncode == 0, done.stderr
        return done.stdout

    done = PROTOCOL["follow"](section, tmp_path, perform, "STEPS, FAMILIES = 200, 60")
    assert set(done.clock) == set(PROTOCOL["STEPS"])
    assert done.page > 300
    assert done.person > 2
    named, said = PROTOCOL["names_the_cause"](section, tmp_path)
    assert named, said


WRITTEN = {
    "images": (["nets:shapes", "--inputs", "images.npz"], "bn", 8, "patient"),
    "tokens": (["nets:words", "--inputs", "tokens.csv", "--family", "topic"], "lstm", 12, "topic"),
    "table": (["nets:rows", "--inputs", "rows.csv", "--family", "ward"], "1", 16, "ward"),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_init_writes_for_arrays_passes_the_dry_run(kind: str, workplace: Path) -> None:
    arguments, site, count, family = WRITTEN[kind]
    done = _typed("init", *arguments, "--target", "1", "--against", "0", "-o", "new.toml", "--allow-code")
    assert done.exit_code == 0, done.output
    text = (workplace / "new.toml").read_text()
    made = tomllib.loads(text)
    assert made["inputs"]["kind"] == kind
    assert made["inputs"]["family"] == family
    assert made["model"]["site"] == site
    assert made["features"]["count"] == count
    assert made["outcome"] | {"name": ""} == {
        "name": "",
        "kind": "logit_difference",
        "target": 1,
        "against": 0,
    }
    assert ("embedding" in made["model"]) == (kind == "tokens")
    assert "prompts" not in made
    assert "prompts" not in text.replace("prompts_per_family", "").split("[inputs]")[1].split("[")[0]
    said = " ".join(text.replace("\n#", "").split())
    assert "44 families, the sample size of every error" in said
    assert f"Several sites ([{chr(34)}{site}{chr(34)}, ...])" in said or "a star for all" in said
    # Every key that is shown with its default is one.
    shown = "\n".join(x[1:] if x[:1] == "#" and x[1:2].isalpha() else x for x in text.splitlines())
    assert read_plan(tomllib.loads(shown))[0] == read_plan(made)[0]
    if kind != "tokens":
        return  # the sections of the page carry these on
    tried = _typed("run", "new.toml", "--dry-run", "--quiet", "--allow-code")
    assert tried.exit_code == 0, tried.output
    assert tried.stdout.startswith("Runs of the network")


def test_text_columns_are_no_inputs_and_a_study_says_so(workplace: Path) -> None:
    done = _typed(
        "init",
        "nets:rows",
        "--inputs",
        "rows.csv",
        "--family",
        "ward",
        "--target",
        "1",
        "-o",
        "new.toml",
        "--allow-code",
    )
    assert done.exit_code == 0, done.output
    made = tomllib.loads((workplace / "new.toml").read_text())
    assert made["inputs"]["columns"] == ["age", "dose", "marker", "weight", "left"]
    assert made["outcome"]["kind"] == "logit"


def test_arguments_of_a_factory_and_a_label_are_written(workplace: Path) -> None:
    flags = ["--target", "1", "--against", "0", "--allow-code"]
    done = _typed(
        "init",
        "nets:rows",
        "--arguments",
        "hidden=12",
        "--inputs",
        "rows.csv",
        "--family",
        "ward",
        *flags,
        "-o",
        "a.toml",
    )
    assert done.exit_code == 0, done.output
    made = tomllib.loads((workplace / "a.toml").read_text())
    assert made["model"]["arguments"] == {"hidden": 12}
    assert made["features"]["count"] == 12
    done = _typed(
        "init", "nets:shapes", "--inputs", "images.npz", "--label", "finding", *flags, "-o", "b.toml"
    )
    assert tomllib.loads((workplace / "b.toml").read_text())["inputs"]["label"] == "finding", done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["init", "nets:rows", "--inputs", "rows.csv", "--target", "1", "--against", "0"], "missing: --family (columns: ward, note"),
        (["init", "nets:rows", "--inputs", "rows.csv", "--family", "wart", "--target", "1"], "Did you mean 'ward'"),
        (["init", "nets:rows", "--inputs", "none.csv", "--target", "1"], "none.csv: no such file"),
        (["init", "nets:rows", "--inputs", "nets.py", "--target", "1"], "ends in '.py'. Give .npy, .npz, .csv or .parquet"),
        (["init", "nets:rows", "--target", "1", "--against", "0"], "missing: --prompts"),
        (["describe", "nets:rows", "--family", "ward"], "--family: given without inputs. Give --inputs FILE"),
        (["describe", "nets:words", "--inputs", "big.csv"], "of numbers up to 89 fails"),
        (["describe", "nets:rows", "--arguments", "hidden"], "not of the form NAME=VALUE"),
        (["describe", "nets:rows", "--arguments", "hiden=3"], "unexpected keyword argument 'hiden'"),
        (["init", "nets:shapes", "--inputs", "images.npz", "--target", "1", "-o", "config/new.toml"], "a study file finds its functions beside itself"),
    ],
)  # fmt: skip
def test_mistakes_about_inputs_are_named(arguments: list[str], words: str, workplace: Path) -> None:
    (workplace / "config").mkdir(exist_ok=True)
    pd.DataFrame(np.arange(80, 100).reshape(4, 5)).to_csv("big.csv", index=False)
    done = _typed(*arguments, "--allow-code")
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.stderr.split())


def test_a_folder_of_images_and_its_index_are_described(workplace: Path) -> None:
    from PIL import Image as image  # noqa: N813 - matplotlib brings it

    (workplace / "pngs").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        image.fromarray(rng.integers(0, 255, (6, 6)).astype("uint8")).save(workplace / "pngs" / f"{i}.png")
    pd.DataFrame({"file": [f"{i}.png" for i in range(4)], "scene": list("aabb")}).to_csv(
        "index.csv", index=False
    )
    found = mrinterp.describe(
        "nets:shapes", inputs={"folder": "pngs", "index": "index.csv", "family": "scene"}, allow_code=True
    )
    assert "4 inputs of kind images: 1 channels, 6 x 6 pixels" in found.meta["prompts"]
    assert found.meta["families"] == 2
    assert found.suggested("inputs.index") == '"index.csv"'


def test_plain_networks_are_described_as_inputs_show_them(workplace: Path) -> None:
    found = mrinterp.describe("nets:shapes", inputs="images.npz", allow_code=True)
    frame = found.to_frame().set_index("site")
    assert frame["width"].to_dict() == {"conv1": 8, "bn": 8, "conv2": 6, "fc": 3}
    assert (
        frame["what"]["bn"]
        == "BatchNorm2d, the last step before conv2, the middle of 3 layers with weights: a map of 6 x 6 places"
    )
    assert frame["what"]["fc"] == "Linear, the output layer"
    assert "conv1" in found.text(), "what no block holds is listed too"
    short = mrinterp.describe(
        "nets:words", inputs={"ids": torch.ones(2, 7, dtype=torch.long)}, allow_code=True
    )
    what = short.to_frame().set_index("site")["what"]
    assert what["lstm"].startswith(
        "LSTM, the last step before the output layer (outcomes are then nearly linear in it)"
    )
    assert what["lstm"].endswith("one vector per token or place")
    unseen = mrinterp.describe("nets:shapes", allow_code=True)
    assert "give inputs (--inputs FILE" in " ".join(unseen.text().split()), "said, not only kept"
    with pytest.raises(InputError, match="together with prompts"):
        mrinterp.describe("nets:words", ["a text"], inputs="tokens.npz", allow_code=True)
