"""What the README and docs/ promise is so: names, commands, options, files, measured numbers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import mrinterp
from mrinterp.cli import cli
from mrinterp.core.plan import Plan
from mrinterp.knockouts._kinds.registry import KINDS
from mrinterp.study._sweep_plan import is_sweep, sweep_members
from tests.house.test_public_face import FACES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]
KNOCKOUTS = PAGES["docs/knockouts.md"]
EVERYTHING = "\n".join(PAGES.values())
PUBLIC = {name for names in FACES.values() for name in names}
LONGEST = 200
"""Lines of the README."""


def _functions() -> list[str]:
    """Names in the column ``function`` of the table of questions."""
    table = KNOCKOUTS.split("| question | function |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|") for line in table.split("\n")[2:]]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_every_function_of_the_questions_is_public() -> None:
    named = _functions()
    assert len(named) > 20
    assert not set(named) - PUBLIC
    assert len(named) == len(set(named))


def test_every_public_design_answers_a_question() -> None:
    designs = {n for n, home in FACES["mrinterp.knockouts"].items() if "._designs." in home}
    assert len(designs) > 8
    assert not designs - set(_functions())


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_public_name_that_is_mentioned_exists(page: str) -> None:
    for dotted in re.findall(r"(?<![\w/.])mrinterp((?:\.\w+)+)\b(?![/\w])", PAGES[page]):
        value = mrinterp
        for part in dotted.strip(".").split("."):
            assert hasattr(value, part), f"mrinterp{dotted}"
            value = getattr(value, part)


def test_the_doors_are_mentioned() -> None:
    for door in ("mrinterp.Study", "mrinterp.from_arrays", "mrinterp.run_mr", "the_silent_twin.ipynb"):
        assert door in README


def test_every_namespace_has_its_row() -> None:
    rows = set(re.findall(r"^\| `mrinterp\.(\w+)` \|", README, flags=re.MULTILINE))
    assert rows == {face.split(".")[1] for face in FACES if face != "mrinterp"} | {"positions"}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_file_that_is_mentioned_exists(page: str) -> None:
    named = set(
        re.findall(r"(?<![\w/])(?:benchmarks|tests|notebooks|mrinterp|docs)/[\w/.]+\.\w+\b", PAGES[page])
    )
    assert not [name for name in named if not (ROOT / name).exists()]
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page])
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_every_verb_and_option_that_is_mentioned_exists() -> None:
    calls = re.findall(r"(?:^|`)mrinterp (\w+)([^\n`]*)", EVERYTHING, flags=re.MULTILINE)
    assert {verb for verb, _ in calls} == set(cli.commands)
    for verb, rest in calls:
        known = {o for p in cli.commands[verb].params for o in p.opts}
        assert set(re.findall(r"(--[\w-]+)", rest.split("#")[0])) <= known, (verb, rest)


def test_every_target_of_make_that_is_mentioned_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"\bmake (demo|test|lint|install|clean|help)\b", EVERYTHING)) <= targets


def test_every_kind_of_knockout_is_named() -> None:
    line = KNOCKOUTS.split("Kinds: ", 1)[1].split(", or a `Kind`", 1)[0]
    assert tuple(re.findall(r"`(\w+)`", line)) == tuple(KINDS)


def test_study_files_are_study_files() -> None:
    files = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", EVERYTHING, flags=re.DOTALL)]
    whole = next(made for made in files if "title" in made)
    assert len(files) > 1
    for made in files:  # a section shown alone stands in the file shown whole
        if is_sweep(whole | made):
            assert len(sweep_members(whole | made, lambda: ["transformer.h.6", "transformer.h.7"])) == 4
            continue
        assert Plan.model_validate(whole | made).features.folder == "sae_h6"


def _readme_study(folder: Path, gpt2: Path) -> str:
    """The study of the README with what it names beside it; returns the template that its comment shows."""
    import torch

    from mrinterp.features import SparseAutoencoder, write_sae
    from tests.tiny import decoder_templates

    (printed,) = re.findall(r"```toml\n(title.*?)```", README, flags=re.DOTALL)
    (shown,) = re.findall(r"such as: (.*)", printed)
    (folder / "study.toml").write_text(printed)
    (folder / "gpt2").symlink_to(gpt2)
    (folder / "templates.txt").write_text("\n".join([shown, *decoder_templates(39)]) + "\n")
    read = torch.randn(24, 48, generator=torch.Generator().manual_seed(0))
    weights = {"W_enc": read, "b_enc": torch.zeros(48), "W_dec": read.T / 24, "b_dec": torch.zeros(24)}
    write_sae(SparseAutoencoder("standard", weights), folder / "sae_h6", hook_name="transformer.h.6")
    return shown


@pytest.mark.needs("transformers")
def test_the_study_of_the_readme_passes_the_dry_run_as_printed(
    tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    assert _readme_study(tmp_path, tiny_gpt2) == "The {person} said {when} that"
    assert "mrinterp run study.toml --dry-run" in README
    done = CliRunner().invoke(cli, ["run", "study.toml", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "he_minus_she" in done.stdout


@pytest.mark.slow
@pytest.mark.needs("transformers")
def test_the_study_of_the_readme_runs_as_printed(
    tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    _readme_study(tmp_path, tiny_gpt2)
    assert "mrinterp run study.toml --out runs/a" in README
    done = CliRunner().invoke(cli, ["run", "study.toml", "--out", "runs/a"])
    assert done.exit_code == 0, done.output
    assert "32 features tested" in done.stdout
    assert (tmp_path / "runs" / "a" / "report.html").stat().st_size > 10_000


def _table_rows(text: str) -> set[str]:
    return {line for line in text.split("\n") if line.startswith("|")}


def test_the_agreement_is_the_one_that_was_measured() -> None:
    measured = (ROOT / "benchmarks" / "results" / "minilm_agreement.md").read_text(encoding="utf-8")
    notebook = PAGES["docs/laboratory_notebook.md"]
    assert not [line for line in measured.split("\n") if line and line not in notebook]
    cited = README.split("| method |", 1)[1].split("\n\n", 1)[0]
    assert len(_table_rows(cited)) > 3
    assert not _table_rows(cited) - _table_rows(measured)


def test_every_measured_number_of_the_readme_has_its_command() -> None:
    """A paragraph with a measured number names the script in benchmarks/ or a page of results, which names its own."""
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    # A table is made by what the paragraph before it names.
    text = re.sub(r"\n\n\|", "\n|", text)
    measured = [
        p for p in text.split("\n\n") if re.search(r"(?<![\w.])\d?\.\d+", p.replace("Python 3.11", ""))
    ]
    assert len(measured) > 1
    for paragraph in measured:
        scripts = re.findall(r"benchmarks/[\w/]+\.py", paragraph)
        for page in re.findall(r"benchmarks/results/(\w+)\.md", paragraph):
            scripts += re.findall(
                r"benchmarks/[\w/]+\.py", (RESULTS / f"{page}.md").read_text(encoding="utf-8")
            )
        assert scripts, f"no command for the numbers of: {paragraph[:80]}"
        assert all((ROOT / script).is_file() for script in scripts)


def test_the_redrawn_studies_are_those_that_were_measured() -> None:
    bars = (RESULTS / "redrawn_studies.md").read_text(encoding="utf-8")

    def found(bar: str) -> str:
        return re.search(rf"^\| {re.escape(bar)} \|[^|]*\| ([^|]*) \|", bars, flags=re.MULTILINE)[1]  # type: ignore[index]

    said = README.split("A claim rests on", 1)[1].split("\n\n", 1)[0].replace("\n", " ")
    mean = float(found("mean coverage, matter (smooth, probability, sampled)"))
    assert f"in {mean:.2f} of cases for features that matter".replace("0.", ".") in said
    cells, worst = re.match(
        r"\d+ of (\d+) cells; worst ([\d.]+)", found("coverage of features that matter, cell by cell")
    ).groups()  # type: ignore[union-attr]
    assert f"worst of {cells} cells {float(worst):.2f}".replace("0.", ".") in said
    missed = found("the same, where resampling of ten families has to show it too").split("worst ")[1]
    assert f"called negligible at most {missed}".replace("0.", ".") in said


def test_the_features_that_mislead_are_those_that_were_counted() -> None:
    measured = (RESULTS / "minilm_agreement.md").read_text(encoding="utf-8")
    (count,) = re.findall(r"calls significant and the knockout finds negligible: (\d+)", measured)
    assert f"the knockout finds {count} negligible" in " ".join(README.split())
