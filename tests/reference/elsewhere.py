"""Which published results are compared with ours by tests outside this folder, read from their sources."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]


@cache
def _named() -> dict[str, list[re.Pattern[str]]]:
    """Per test file, the strings in it (f-strings with any text in their holes) that could name a method."""
    out: dict[str, list[re.Pattern[str]]] = {}
    for path in sorted(
        sorted(TESTS.rglob("test_*.py")), key=lambda file: "reference" not in file.name
    ):  # those that say so first
        patterns = []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(p.value) if isinstance(p, ast.Constant) else r"[\w.]+" for p in node.values
                ]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [re.escape(node.value)]
            else:
                continue
            if "\\." in parts[0] and len(parts[0]) > 5:
                patterns.append(re.compile("".join(parts)))
        out[str(path.relative_to(TESTS.parent))] = patterns
    return out


def _finemap_entries() -> list[str]:
    from tests.coloc.test_finemap_reference import FITS

    return [fit[0] for fit in FITS]


LOOPS = {"hyprcoloc.": "tests/coloc/test_coloc_reference.py"}
"""Tests that go through every entry of a case, whatever its name."""


def find_test(method_id: str) -> str:
    """The test file that names this entry; empty where none does.

    Fine-mapping entries are those that its test is parametrized with.
    """
    for prefix, file in LOOPS.items():
        if method_id.startswith(prefix):
            return file
    if method_id in _finemap_entries():
        return "tests/coloc/test_finemap_reference.py"
    if method_id.startswith("susie.") and method_id.endswith(".v0142"):  # an f-string there means FITS
        return next(
            (f for f, known in _named().items() if any(p.pattern == re.escape(method_id) for p in known)), ""
        )
    return next((f for f, known in _named().items() if any(p.fullmatch(method_id) for p in known)), "")
