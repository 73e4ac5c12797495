"""What every verb keeps to: an example that runs, one JSON document on request, silence on request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrinterp.cli import cli
from mrinterp.study import Study
from tests.cli.workplace import make_workplace, run
from tests.study.study_kinds import write_study

pytestmark = pytest.mark.needs("transformers")


@pytest.fixture(scope="module")
def workplace(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("workplace"), tiny_gpt2)


def example_of(verb: str) -> str:
    """The example at the end of a verb's help, as one line."""
    said = CliRunner().invoke(cli, [verb, "--help"]).output
    assert "\n  Example:\n" in said, f"{verb}: its help ends without an example"
    return " ".join(line.strip().rstrip("\\") for line in said.split("\n  Example:\n")[1].splitlines())


@pytest.fixture(scope="module")
def small_run(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of a few runs."""
    folder = tmp_path_factory.mktemp("small")
    return Study.from_toml(write_study(folder, tiny_encoder), folder / "run").run().out


@pytest.mark.parametrize("verb", list(cli.commands))
def test_the_example_at_the_end_of_its_help_runs(
    verb: str, workplace: Path, request: pytest.FixtureRequest
) -> None:
    """What `rerun` says of a study is asked in ``tests/study/test_study.py``."""
    line = example_of(verb)
    assert line.startswith(f"mrinterp {verb}")
    if verb in ("rerun", "grade", "compare", "report", "diagnose"):
        for name in "ab" if verb == "compare" else "a":
            run_folder = request.getfixturevalue("small_run")
            shutil.copytree(run_folder, workplace / "runs" / name, dirs_exist_ok=True)
    done = run(line, workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
    if verb in ("describe", "doctor"):  # tables of a study are as wide as their columns
        assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("verb", list(cli.commands))
def test_it_can_be_quiet_verbose_or_answer_in_json(verb: str) -> None:
    options = {o for p in cli.commands[verb].params for o in p.opts}
    assert {"--quiet", "-q", "--verbose", "-v", "--json"} <= options
    assert len([o for p in cli.commands[verb].params for o in p.opts]) == len(options), (
        "an option is there twice"
    )
    done = CliRunner().invoke(cli, [verb, "--quiet", "--verbose", *(["x"] if verb != "doctor" else [])])
    assert done.exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        "mr table.csv -m ivw", "coloc locus.csv --sd-1 1 --sd-2 1", "scan runs.npz features.npy --out a-scan --draws 0", "finemap sumstats.csv --ld ld.csv --n 500", "list sites",
        "list schema", "completion zsh", "describe gpt2 --prompts templates.txt", "run study.toml --dry-run",
        "init gpt2 --prompts templates.txt --fillers person=nurse,pilot --fillers when=today,again --target ' he'"
        " --against ' she' -o json.toml",
    ],
)  # fmt: skip
def test_json_is_one_document(arguments: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    import shlex

    done = CliRunner().invoke(cli, [*shlex.split(arguments), "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)


def test_a_finished_study_answers_in_json_with_verdicts(finished_run: Path, tmp_path: Path) -> None:
    from mrinterp.report.terminal import summary_record
    from mrinterp.study import Study

    record = summary_record(Study.open(finished_run))
    assert sum(record["verdicts"].values()) == len(record["results"]) == 6
    assert {"feature", "effect", "ci_lower", "ci_upper", "verdict", "confirmed"} <= set(record["results"][0])


def test_quiet_keeps_only_the_answer(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    loud = CliRunner().invoke(cli, ["mr", "table.csv", "-m", "ivw"])
    still = CliRunner().invoke(cli, ["mr", "table.csv", "-m", "ivw", "-q"])
    assert "Strength of" in loud.stdout
    assert "Strength of" not in still.stdout
    assert len(still.stdout.splitlines()) == 1
    assert not still.stderr


def test_progress_bars_do_not_draw_where_a_verb_is_quiet() -> None:
    import sys

    from mrinterp.cli.verbs import _NotATerminal

    hidden = _NotATerminal(sys.__stderr__)
    assert not hidden.isatty()
    hidden.write("")
    from tqdm import tqdm

    assert tqdm([1], file=hidden, disable=None).disable


def test_verbose_shows_where_an_error_came_from(tmp_path: Path) -> None:
    short = CliRunner().invoke(cli, ["mr", str(tmp_path / "none.csv")])
    long = CliRunner().invoke(cli, ["mr", str(tmp_path / "none.csv"), "-v"])
    assert short.exit_code == long.exit_code == 2
    assert "Traceback" not in short.stderr
    assert "Traceback" in long.stderr
    assert long.stderr.rstrip().endswith(short.stderr.rstrip())


def test_the_lists_are_those_of_the_types() -> None:
    from typing import get_args

    from mrinterp.core.plan import EstimationSection
    from mrinterp.core.plan_model import FeaturesSection
    from mrinterp.core.plan_outcome import OutcomeSection
    from mrinterp.knockouts._kinds.registry import KINDS
    from mrinterp.mr._engine.registry import registered
    from mrinterp.study import catalog

    names = {what: [row["name"] for row in rows] for what, rows in catalog().items()}
    assert set(names["features"]) == set(get_args(FeaturesSection.model_fields["kind"].annotation))
    assert set(names["outcomes"]) == set(get_args(OutcomeSection.model_fields["kind"].annotation)) - {"given"}
    assert names["knockouts"] == list(KINDS)
    assert set(registered("univariable")) | set(registered("multivariable")) | {"within", "tsls"} <= set(
        names["estimators"]
    )
    assert "minilm_sentiment" in names["studies"]
    assert names["perturbations"][:3] == ["noise", "slot", "pair"]
    assert set(names["perturbations"]) == set(get_args(EstimationSection.model_fields["kind"].annotation))
    said = CliRunner().invoke(cli, ["list"]).output
    assert all(f"  {name}" in said for rows in names.values() for name in rows)


def test_the_completion_script_is_the_shell_s_own(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = CliRunner().invoke(cli, ["completion", shell]).output
        assert "_MRINTERP_COMPLETE" in script
        assert f"{shell}_complete" in script
    from click.shell_completion import BashComplete

    found = BashComplete(cli, {}, "mrinterp", "_MRINTERP_COMPLETE").get_completions(["list"], "out")
    assert [c.value for c in found] == ["outcomes"]


def test_the_doctor_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from mrinterp.study import _checkup

    real = importlib.import_module

    def absent(name: str, *more: str) -> object:
        if name == "nnsight":
            raise ModuleNotFoundError("No module named 'nnsight'", name="nnsight")
        if name == "transformer_lens":
            raise ImportError("it needs another torch", name="torch")
        return real(name, *more)

    monkeypatch.setattr(_checkup.importlib, "import_module", absent)
    monkeypatch.setattr(_checkup, "memory_of_machine", lambda: 2.0**30)
    rows = {row["name"]: row for row in _checkup.checkup()}
    assert rows["adapter nnsight"]["verdict"] == "note"
    assert "mrinterp[stacks]" in rows["adapter nnsight"]["fix"]
    assert rows["adapter transformer_lens"]["verdict"] == "broken"
    assert rows["memory"]["verdict"] == "note"
    assert rows["compile cache"]["verdict"] == "ok"
    assert "not needed" in rows["browser"]["found"]
    done = CliRunner().invoke(cli, ["doctor", "--quiet"])
    assert done.exit_code == 1
    assert "cannot be imported (it needs another torch)" in done.output
