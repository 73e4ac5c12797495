"""Python that a study names runs only once somebody has agreed to it: on no verb, and for no file or folder."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.core.named_code import agreed_file, named_code
from mrinterp.core.plan import read_plan
from mrinterp.core.run_place import read_study_header, write_study_header
from mrinterp.study import Study
from tests.tiny import write_tiny_study

pytestmark = pytest.mark.needs("transformers")

OWNED = "from pathlib import Path\nPath(__file__).with_name('OWNED').touch()\n"


def _run(*arguments: object, **more: Any) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], **more)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MRINTERP_CONFIG", str(tmp_path / "settings"))
    return tmp_path / "settings"


@pytest.fixture
def others(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A study file from elsewhere, with a module of its own beside it."""
    folder = tmp_path / "others"
    (folder / "helpers").mkdir(parents=True)
    (folder / "helpers" / "__init__.py").write_text("")
    sys.modules.pop("theirs", None)  # of the test before
    (folder / "theirs.py").write_text(OWNED + "def network(): return 1\ndef score(output, mask): return 1\n")
    model = {"kind": "module", "module": "theirs:network", "folder": None}
    study = write_tiny_study(folder, tiny_encoder)
    study.write_text(_toml(study, tiny_encoder, model))
    return study


def _toml(study: Path, encoder: Path, model: dict[str, Any], **changes: Any) -> str:
    from tests.tiny import tiny_study, to_toml

    made = tiny_study(encoder, model=model, **changes)
    made["model"] = {k: v for k, v in made["model"].items() if v is not None}
    return to_toml(made)


def _owned(study: Path) -> bool:
    return (study.parent / "OWNED").exists()


def test_nothing_is_imported_without_a_word(others: Path, tmp_path: Path) -> None:
    for more in ((), ("--dry-run",)):
        done = _run("run", others, "--out", tmp_path / "out", *more)
        assert done.exit_code == 2
        assert "would import and run Python: model.module = 'theirs:network' from" in done.stderr
        assert str(others.parent / "theirs.py") in done.stderr
        assert "--allow-code" in done.stderr
    for read in ("design", "basis", "results", "autoencoder"):
        with pytest.raises(InputError, match="allow_code=True"):
            getattr(Study.from_toml(others, tmp_path / "out"), read)
    with pytest.raises(InputError, match="allow_code=True"):
        Study.from_toml(others, tmp_path / "out").cost()
    assert not _owned(others)
    assert not (tmp_path / "out").exists()


def test_a_run_folder_of_others_is_not_trusted_either(
    finished_run: Path, others: Path, tmp_path: Path
) -> None:
    """Its plan and the place of its files are whatever its sender wrote there."""
    out = tmp_path / "theirs"
    shutil.copytree(finished_run, out)
    header = read_study_header(out)
    outcome = {"name": "y", "kind": "callable", "function": "theirs:score"}
    plan = read_plan(header["plan"] | {"outcome": [outcome]})[0].to_dict()
    write_study_header(out, header | {"source": str(others.parent), "plan": plan})
    shutil.rmtree(out / "basis")
    done = _run("rerun", out, "--out", tmp_path / "again")
    assert done.exit_code == 2
    assert "outcome 'y', function = 'theirs:score'" in done.stderr
    with pytest.raises(InputError, match="would import"):
        Study.open(out).bench()
    assert not _owned(others)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            {"kind": "module", "module": "os:system", "arguments": {"command": "touch OWNED"}},
            ("os:system", "touch OWNED"),
        ),
        ({"kind": "transformer_lens", "module": "posix:system"}, ("posix:system",)),
        (
            {"kind": "nnsight", "module": "subprocess:run", "arguments": {"args": ["id"]}},
            ("subprocess:run", '["id"]'),
        ),
        ({"kind": "encoder", "package": "theirs.inside"}, ("model.package = 'theirs.inside'",)),
        ({"kind": "module", "module": "nowhere.at.all:f"}, ("which is not found",)),
        ({"kind": "module", "module": "helpers.\x1b[31m:f"}, ("helpers.\\x1b[31m:f",)),
    ],
)
def test_every_door_to_code_is_shown(
    model: dict[str, Any], words: tuple[str, ...], others: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    others.write_text(_toml(others, tiny_encoder, {"folder": None, **model}))
    done = _run("run", others, "--out", tmp_path / "out", "--dry-run")
    assert done.exit_code == 2
    for word in ("would import and run Python", *words):
        assert word in done.stderr, done.stderr
    assert "\x1b" not in done.stderr
    assert not _owned(others)


def test_what_is_agreed_to_is_remembered_until_it_changes(
    others: Path, tmp_path: Path, settings: Path
) -> None:
    out = tmp_path / "out"
    ran = "theirs:network returned int"  # it was called: what it returns is no network
    assert ran in _run("run", others, "--out", out, "--dry-run", "--allow-code").stderr
    assert _owned(others)
    assert agreed_file().parent == settings
    assert ran in _run("run", others, "--out", out, "--dry-run").stderr, "the second time nobody is asked"
    for changed, text in (
        (others.parent / "theirs.py", OWNED + "def network(): return 2\n"),
        (others.parent / "helpers" / "__init__.py", "x = 1\n"),
        (others.parent / "new.py", ""),
    ):
        changed.write_text(text)
        assert "would import" in _run("run", others, "--out", out, "--dry-run").stderr, changed
        assert "would import" not in _run("run", others, "--out", out, "--dry-run", "--allow-code").stderr
    plan, _ = read_plan(others)
    moved = shutil.copytree(others.parent, tmp_path / "moved")
    assert named_code(plan, moved)[0].place == moved / "theirs.py"
    assert "would import" in _run("run", moved / others.name, "--out", out, "--dry-run").stderr
    done = _run("run", moved / others.name, "--out", out, "--dry-run", "--allow-code")
    assert "'theirs' was imported before, from" in done.stderr, "never the function of another study"
    agreed_file().write_text("damaged")
    assert "would import" in _run("run", others, "--out", out, "--dry-run").stderr


@pytest.mark.parametrize(("answer", "runs"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_at_a_terminal_one_is_asked(
    answer: str, runs: bool, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrinterp.cli.study_verbs.at_a_terminal", lambda: True)
    done = _run("run", others, "--out", tmp_path / "out", "--dry-run", input=answer)
    assert (
        "The study would import and run this Python:\n  model.module = 'theirs:network' from" in done.stderr
    )
    assert done.exit_code == 2
    assert ("theirs:network returned int" in done.stderr) == runs == _owned(others)
    assert ("Nothing was run" in done.stderr) != runs
    assert agreed_file().exists() == runs


def test_settings_that_cannot_be_written_are_told(others: Path, tmp_path: Path, settings: Path) -> None:
    settings.write_text("a file in its place")
    done = _run("run", others, "--out", tmp_path / "out", "--dry-run", "--allow-code")
    assert "could not be kept" in done.stderr
    assert _owned(others)


def test_a_study_without_code_asks_nothing(tiny_study_file: Path, settings: Path) -> None:
    assert named_code(*read_plan(tiny_study_file)) == ()
    assert _run("run", tiny_study_file, "--dry-run", "--allow-code").exit_code == 0
    assert not settings.exists()
    assert json.dumps(str(agreed_file()))
