"""`mrinterp run` and `rerun` under the mistakes that people make: one message, exit code 2, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mrinterp.cli import cli
from mrinterp.core.storage import digest_files
from tests.study.damages import undrawn
from tests.tiny import write_tiny_study

pytestmark = pytest.mark.needs("transformers")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def _refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def finished(finished_run: Path) -> Path:
    return finished_run


@pytest.mark.parametrize("verb", ["run", "rerun", "mr", "coloc", "finemap"])
def test_every_verb_explains_itself(verb: str) -> None:
    for flag in ("-h", "--help"):
        shown = _run(verb, flag)
        assert shown.exit_code == 0
        assert shown.stdout.startswith(f"Usage: cli {verb}")
    assert all(
        option in shown.stdout for p in cli.commands[verb].params for option in p.opts if option[0] == "-"
    )


def test_what_is_no_run_folder_is_not_repeated(tiny_study_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere", tmp_path / "empty", tiny_study_file, tiny_study_file.parent):
        _refused(_run("rerun", place), str(place), "not a run folder", "mrinterp run")


def test_a_run_folder_is_no_study_file(finished: Path) -> None:
    _refused(_run("run", finished), str(finished), "Give the path of a TOML study file")


def test_a_file_in_the_place_of_the_run_folder_is_left_alone(tiny_study_file: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    _refused(_run("run", tiny_study_file, "--out", taken), "a file", "--out")
    assert taken.read_text() == "mine"


def test_a_half_finished_run_is_not_repeated_but_goes_on(
    finished: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    shutil.copytree(finished, half)
    for name in ("results.parquet", "results.json", "report.html", "rank_path.parquet"):
        (half / name).unlink()
    shutil.rmtree(half / "agreement")
    _refused(_run("rerun", half), "not a finished run", "Finish it with mrinterp run")
    assert _run("run", tiny_study_file, "--out", half).exit_code == 0
    assert digest_files(half) == digest_files(finished)


def test_a_place_that_cannot_be_written_is_named(tiny_study_file: Path) -> None:
    _refused(_run("run", tiny_study_file, "--out", "/proc/none/run"), "/proc/none", "Check the path")


def test_a_repetition_into_the_run_itself_is_refused(finished: Path) -> None:
    before = digest_files(finished)
    _refused(_run("rerun", finished, "--out", finished), "the run folder itself")
    assert digest_files(finished) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 99}, ("format version 99", "Upgrade mrinterp")),
        ({"format_version": None}, ("carries no format version",)),
        ({"kind": "panel"}, ("holds 'panel', not 'study'",)),
        ({"plan": None}, ("holds no plan",)),
    ],
)
def test_headers_of_another_making_are_refused(
    change: dict[str, object], words: tuple[str, ...], finished: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    header = json.loads((finished / "study.json").read_text())
    (other / "study.json").write_text(json.dumps({**header, **change}))
    before = digest_files(other)
    _refused(_run("rerun", other), *words)
    _refused(_run("run", tiny_study_file, "--out", other), *words)
    assert digest_files(other) == before


def test_prompts_that_moved_away_are_named(finished: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    study = write_tiny_study(tmp_path, tiny_encoder)
    (tmp_path / "templates.txt").unlink()
    _refused(_run("run", study, "--out", tmp_path / "out"), "templates.txt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "lost",
    ["basis/basis.json", "design/design.json", "sumstats/noise/beta.npy", "panel/estimation/panel.parquet"],
)
def test_a_step_that_lost_a_file_is_named_and_made_again(
    lost: str, finished: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    (broken / lost).unlink()
    shutil.rmtree(broken / "agreement")
    refused = _run("run", tiny_study_file, "--out", broken)
    _refused(
        refused, f"{broken / lost}: damaged: the file is missing", f"Delete {(broken / lost).parent} and"
    )
    shutil.rmtree((broken / lost).parent)
    with undrawn():
        assert _run("run", tiny_study_file, "--out", broken).exit_code == 0
    assert digest_files(broken) == digest_files(finished)
