"""Every key of a study file is described: the reference of study files is made from these sentences."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from mrinterp.core.plan import Plan
from mrinterp.core.section import Section


def _sections(kind: type[Section], place: str = "") -> dict[str, type[Section]]:
    """Every table of a study file, by its place."""
    found = {place: kind}
    for name, field in kind.model_fields.items():
        for part in _types(field.annotation):
            if isinstance(part, type) and issubclass(part, Section):
                found |= _sections(part, f"{place}.{name}" if place else name)
    return found


def _types(annotation: Any) -> list[Any]:
    return [annotation, *(t for a in get_args(annotation) for t in _types(a))]


SECTIONS = _sections(Plan)


def test_the_walk_finds_every_section() -> None:
    assert {"", "model", "features.train", "outcome", "instruments.noise", "knockouts.kinds"} <= set(SECTIONS)


@pytest.mark.parametrize("place", SECTIONS)
def test_every_key_says_what_it_is(place: str) -> None:
    assert SECTIONS[place].__doc__
    for key, field in SECTIONS[place].model_fields.items():
        said = field.description or ""
        assert said[:1].isupper() or said.startswith("`"), f"{place}.{key}: begins like a sentence"
        assert said.endswith("."), f"{place}.{key}: ends like a sentence"
        assert "  " not in said, f"{place}.{key}: doubled space"
