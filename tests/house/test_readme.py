"""What the README names exists: public names, commands, files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import mrinterp
from mrinterp.cli import cli
from mrinterp.core.plan import Plan
from mrinterp.knockouts._kinds.registry import KINDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def _functions() -> list[str]:
    """Names in the column ``function`` of the table of questions."""
    table = TEXT.split("| question | function |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|") for line in table.split("\n")[2:]]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]


def test_every_function_of_the_questions_is_public() -> None:
    named = _functions()
    assert len(named) > 20
    assert not set(named) - set(mrinterp.__all__)
    assert len(named) == len(set(named))


def test_every_public_design_answers_a_question() -> None:
    designs = {n for n, home in mrinterp._HOMES.items() if home.startswith("knockouts.designs")}
    assert not designs - set(_functions())


def test_every_public_name_that_is_mentioned_exists() -> None:
    named = set(re.findall(r"\bmrinterp\.(\w+)\b(?!/)", TEXT)) - {"bench"}
    assert {"Study", "within", "from_arrays"} <= named
    assert not named - set(mrinterp.__all__)


def test_every_file_that_is_mentioned_exists() -> None:
    named = set(re.findall(r"\b(?:benchmarks|tests|notebooks|mrinterp)/[\w/.]+\.\w+\b", TEXT))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_verb_and_option_that_is_mentioned_exists() -> None:
    calls = re.findall(r"^mrinterp (\w+)(.*)$", TEXT, flags=re.MULTILINE)
    assert {verb for verb, _ in calls} == set(cli.commands)
    for verb, rest in calls:
        known = {o for p in cli.commands[verb].params for o in p.opts}
        assert set(re.findall(r"(--[\w-]+)", rest.split("#")[0])) <= known, (verb, rest)


def test_every_kind_of_knockout_is_named() -> None:
    line = TEXT.split("Kinds: ", 1)[1].split(", or a `Kind`", 1)[0]
    assert tuple(re.findall(r"`(\w+)`", line)) == tuple(KINDS)


def test_the_study_file_is_one() -> None:
    files = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)]
    whole = next(made for made in files if "title" in made)
    for made in files:  # a section shown alone stands in the file shown whole
        assert Plan.model_validate(whole | made).features.folder == "sae_h6"


def test_the_agreement_is_the_one_that_was_measured() -> None:
    measured = (ROOT / "benchmarks" / "results" / "minilm_agreement.md").read_text(encoding="utf-8")
    assert not [line for line in measured.split("\n") if line and line not in TEXT]
