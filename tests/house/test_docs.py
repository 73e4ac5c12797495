"""The pages of docs/ follow the code: snippets run, generated pages are fresh, tables are the code's own."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from pathlib import Path

import pytest

import mrinterp
from mrinterp.knockouts._kinds.registry import KINDS
from tests.conftest import need
from tests.house.test_imports import BASE, KNOCKOUTS, NETWORK, ROOMS
from tests.house.test_public_face import FACES
from tests.house.test_readme import PAGES, ROOT

NOT_RUN = "<!-- not run: "
SNIPPET = re.compile(r"(<!-- not run: [^\n]*-->\n)?```python\n(.*?)```", flags=re.DOTALL)
SNIPPETS = {name: SNIPPET.findall(text) for name, text in PAGES.items()}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STRICT = {
    "check_untyped_defs",
    "disallow_any_generics",
    "disallow_incomplete_defs",
    "disallow_subclassing_any",
    "disallow_untyped_calls",
    "disallow_untyped_decorators",
    "disallow_untyped_defs",
    "extra_checks",
    "no_implicit_reexport",
    "strict_equality",
    "warn_return_any",
    "warn_unused_ignores",
}
"""What ``mypy --strict`` switches on, apart from ``warn_redundant_casts``, which is for whole runs only."""


@pytest.mark.parametrize("page", [name for name, found in SNIPPETS.items() if found])
def test_snippets_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets of a page, one after the other; only those that need a network of the reader's are not run."""
    if any("from transformers" in text for _, text in SNIPPETS[page]):
        need("transformers")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, (mark, text) in enumerate(SNIPPETS[page]):
        code = compile(text, f"{page}, snippet {number}", "exec")
        if not mark:
            exec(code, names)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_use_public_names(path: Path) -> None:
    assert not re.findall(r"mrinterp\.[\w.]*\b_\w+", path.read_text(encoding="utf-8"))


def test_most_snippets_run() -> None:
    marks = [mark for found in SNIPPETS.values() for mark, _ in found]
    assert marks.count("") > 2
    assert len([m for m in marks if m]) <= 2
    assert sum(text.count(NOT_RUN) for text in PAGES.values()) == len([m for m in marks if m])


def test_the_reference_of_study_files_is_fresh() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_study_files.py"))
    assert PAGES["docs/study_files.md"] == made["page"](), "run python docs/make_study_files.py"
    schema = (ROOT / "docs" / "study_schema.json").read_text(encoding="utf-8")
    assert schema == made["schema"](), "run python docs/make_study_files.py"


def test_the_page_of_worlds_is_fresh() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_worlds.py"))
    assert PAGES["docs/worlds.md"] == made["page"](), "run python docs/make_worlds.py"


def test_the_import_table_of_the_page_is_the_one_that_is_tested() -> None:
    groups = {"base": BASE, "network rooms": NETWORK, "knockout rooms": KNOCKOUTS}
    page = PAGES["docs/architecture.md"]
    for name, rooms in groups.items():
        line = next(line for line in page.split("\n") if line.startswith(f"*{name}*: "))
        assert set(re.findall(r"`(\w+)`", line)) == rooms
    table = page.split("| room |", 1)[1].split("\n\n", 1)[0].split("\n")[2:]
    found: dict[str, set[str]] = {}
    for row in table:
        room, _, allowed = _cells(row)
        named = set(re.findall(r"`(\w+)`", allowed))
        found[room.strip("` ")] = named.union(*(groups[g] for g in re.findall(r"\*([\w ]+)\*", allowed)))
    assert found == ROOMS


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_vocabulary_has_every_kind_split_and_namespace() -> None:
    page = PAGES["docs/vocabulary.md"]
    words = set(re.findall(r"`([\w.]+)`", page))
    assert set(KINDS) <= words
    assert {"discovery", "estimation", "replication", "knockout"} <= words
    subjects = {
        f"mrinterp.{name}" for name in ("features", "positions", "outcomes", "adapters", "attribution")
    }
    assert subjects <= words & set(FACES) | {"mrinterp.positions"}


def test_no_word_is_explained_twice() -> None:
    page, _ = PAGES["docs/vocabulary.md"].split("## Words that used to mean several things")
    rows = re.findall(r"^\| ([^|`]+) \|", page, flags=re.MULTILINE)
    words = [row for row in rows if row != "word"]
    assert len(words) > 60
    assert len(words) == len(set(words))


def test_the_version_is_written_once() -> None:
    assert SETTINGS["project"]["dynamic"] == ["version"]
    assert SETTINGS["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "mrinterp.__version__"}
    tree = ast.parse((ROOT / "mrinterp" / "__init__.py").read_text(encoding="utf-8"))
    plain = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    ]
    assert plain == [mrinterp.__version__], "a plain text, so that building the package imports nothing"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, flags=re.MULTILINE)[1] == mrinterp.__version__  # type: ignore[index]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == mrinterp.__version__


def test_strict_rooms_are_strict() -> None:
    overrides = SETTINGS["tool"]["mypy"]["overrides"]
    strict = [o for o in overrides if {k for k, v in o.items() if v is True} >= STRICT]
    rooms = {module for o in strict for module in o["module"]}
    assert {"mrinterp.core.*", "mrinterp.stats.*"} <= rooms
    assert SETTINGS["tool"]["mypy"]["warn_redundant_casts"] is True


def test_continuous_integration_runs_what_anybody_can_run() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: bash .ci/run" in workflow
    assert workflow.count("- run:") == 1
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_hooks_name_files_and_tools_that_are_there() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for script in re.findall(r"python (\S+\.py)", hooks):
        assert (ROOT / script).exists()
    extras = " ".join(SETTINGS["project"]["optional-dependencies"]["lint"])
    for tool in re.findall(r"\.venv/bin/(ruff|mypy)", hooks):
        assert tool in extras
