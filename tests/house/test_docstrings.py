"""Every public name is documented in full, and its example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from typing import Any

import pytest

from tests.house.test_public_face import FACES

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", flags=re.MULTILINE)
NAMED = sorted(
    (face, name)
    for face, names in FACES.items()
    for name in names
    if face != "mrinterp" and not inspect.ismodule(getattr(importlib.import_module(face), name))
)
# A room in one file has no stub: what it offers is public.
NAMED += [("mrinterp.positions", name) for name in importlib.import_module("mrinterp.positions").__all__]


def _value(face: str, name: str) -> Any:
    return getattr(importlib.import_module(face), name)


def _sections(doc: str) -> dict[str, str]:
    parts = SECTION.split(doc)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def _described(section: str) -> set[str]:
    """Names that a section describes: lines such as ``a, b : array (J,)`` or ``x``."""
    lines = re.findall(r"^(\*{0,2}\w[\w, *./]*?)(?: :.*)?$", section, flags=re.MULTILINE)
    return {name.strip(" *") for line in lines for name in line.split(",")}


def _parameters(value: Any) -> set[str]:
    try:
        signature = inspect.signature(value)
    except ValueError:
        return set()
    if getattr(value, "_is_protocol", False):  # never called: what implements it has parameters of its own
        return set()
    return {n for n in signature.parameters if not n.startswith("_") and n not in ("self", "cls")}


@pytest.mark.parametrize(("face", "name"), NAMED)
def test_a_public_docstring_is_whole(face: str, name: str) -> None:
    value = _value(face, name)
    if not callable(value):  # a constant: its line of words stands below it
        return
    sections = _sections(inspect.cleandoc(value.__doc__ or ""))
    assert sections[""].strip(), "a line that says what it is"
    described = _described(sections.get("Parameters", "") + "\n" + sections.get("Attributes", ""))
    assert not _parameters(value) - described, "parameters without a word"
    if inspect.isfunction(value) and inspect.signature(value).return_annotation not in (None, "None"):
        assert "Returns" in sections or "Yields" in sections, "what comes back"
    assert ">>>" in sections.get("Examples", ""), "an example"


@pytest.mark.parametrize(("face", "name"), NAMED)
def test_the_example_of_a_public_name_runs(face: str, name: str) -> None:
    value = _value(face, name)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    tests = doctest.DocTestFinder(recurse=False).find(value, name, globs={}) if callable(value) else []
    for test in tests:
        heard: list[str] = []
        doctest.DocTestRunner(verbose=False, optionflags=options).run(test, out=heard.append)
        assert not heard, "".join(heard)
