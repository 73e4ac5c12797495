"""One contract for every type of result: made by keyword, checked when made, shown in bounds, saved and reopened."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp import results
from mrinterp.core.errors import InputError
from mrinterp.results._examples import RECIPES
from mrinterp.results._result import Axis, Named, Result, Rows, Shape, _ends, declared

PUBLIC = {n: getattr(results, n) for n in dir(results)}
TYPES = sorted(
    n for n, t in PUBLIC.items() if inspect.isclass(t) and issubclass(t, Result) and t is not Result
)
PARTS = sorted(n for n, t in PUBLIC.items() if is_dataclass(t) and n not in TYPES)
"""What a result's cells and entries are: they print as a sentence."""

LONE_AXES = {
    ("Coloc", "G"), ("MinimalSet", "R"), ("FineMapping", "L"), ("AlignmentSearch", "steps"), ("AlignmentSearch", "V"), ("CoActivationMap", "D"),
    ("Faithfulness", "D"), ("DoseResponse", "D"), ("KnockoutEffects", "P"), ("ConfounderRemoval", "N"), ("Pruning", "P"),
    ("Epistasis", "M"), ("InterchangeAccuracy", "R"), ("InterchangeAccuracy", "M"),
}  # fmt: skip
"""Axes without names: their length is that of the first field that has them."""

MOST_CHARACTERS = 1500


def made(name: str, size: int = 3) -> Any:
    return results.example(name, size)


def arrays(name: str) -> list[tuple[str, Shape]]:
    return [(n, m) for n, (m, _) in declared(PUBLIC[name]).items() if isinstance(m, Shape) and m.axes]


def refused(result: Any, field: str, value: Any, words: str) -> None:
    """The changed result is refused, and the message names type, field and what to give."""
    with pytest.raises(InputError, match=words) as caught:
        replace(result, **{field: value})
    assert caught.value.where.startswith(f"{type(result).__name__}.")
    assert caught.value.fix


def test_every_type_has_an_example() -> None:
    assert sorted(RECIPES) == TYPES
    with pytest.raises(InputError, match=r"Epistasi.*Did you mean 'Epistasis'"):
        results.example("Epistasi")
    with pytest.raises(InputError, match="size"):
        results.example("Epistasis", 1)


@pytest.mark.parametrize("name", TYPES)
def test_made_by_keyword_and_frozen(name: str) -> None:
    result = made(name)
    with pytest.raises(TypeError, match="positional"):
        type(result)(*(getattr(result, f.name) for f in fields(result)))
    with pytest.raises(FrozenInstanceError):
        setattr(result, fields(result)[0].name, None)


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_frozen_and_those_of_many_fields_made_by_keyword(name: str) -> None:
    part = PUBLIC[name]
    assert part.__dataclass_params__.frozen
    assert "__str__" in vars(part) or len(fields(part)) > 2
    assert len(fields(part)) <= 2 or all(f.kw_only for f in fields(part))


@pytest.mark.parametrize("name", TYPES)
def test_an_array_of_another_length_is_refused(name: str) -> None:
    result = made(name)
    declarations = declared(type(result))
    shared = [a for m, _ in declarations.values() for a in set(map(str, getattr(m, "axes", ())))]
    shared += [m.name for m, _ in declarations.values() if isinstance(m, Axis)]
    shared += [m.axis for m, _ in declarations.values() if isinstance(m, Rows) and m.axis]
    tried = 0
    for field, mark in arrays(name):
        value = getattr(result, field)
        if value is None:
            continue
        refused(result, field, value[None], "shape")
        for axis, label in enumerate(mark.axes):
            if isinstance(label, int) or shared.count(str(label)) > 1 or "+" in str(label):
                refused(result, field, np.delete(value, 0, axis=axis), "Give")
                tried += 1
            else:
                assert (name, label) in LONE_AXES, f"nothing says how long axis {label} of {field} is"
    assert tried or not arrays(name) or name == "AlignmentSearch"


@pytest.mark.parametrize("name", TYPES)
def test_names_of_another_number_are_refused(name: str) -> None:
    result = made(name)
    sized = {a for _, m in arrays(name) for a in map(str, m.axes)}
    for field, (mark, _) in declared(type(result)).items():
        if isinstance(mark, Axis):
            with pytest.raises(InputError, match="tuple of names"):
                replace(result, **{field: "name"})
            if mark.name in sized or "+" in mark.name:
                with pytest.raises(InputError, match="Give"):
                    replace(result, **{field: (*getattr(result, field), "one more")})
        if isinstance(mark, Rows):
            for column in mark.columns:
                refused(result, field, getattr(result, field).drop(columns=column), f"no column '{column}'")


@pytest.mark.parametrize("name", TYPES)
def test_swapped_ends_of_an_interval_are_refused(name: str) -> None:
    result = made(name)
    numbers = [n for n, (m, _) in declared(type(result)).items() if isinstance(m, Shape)]
    for lower, upper in _ends(numbers):
        low, high = getattr(result, lower), getattr(result, upper)
        with pytest.raises(InputError, match=rf"{name}\.{lower}.*lower end .* lies above the upper end"):
            replace(result, **{lower: high, upper: low})
    for field, mark in arrays(name):
        if mark.ends is not None:
            value = getattr(result, field).copy()
            value[list(mark.ends)] = value[list(mark.ends)[::-1]]
            refused(result, field, value, "lies above the upper end")
    for field, (mark, _) in declared(type(result)).items():
        if isinstance(mark, Rows):
            table = getattr(result, field)
            for lower, upper in _ends(list(table.select_dtypes("number"))):
                if len(table):
                    changed = table.assign(**{lower: table[upper], upper: table[lower]})
                    refused(result, field, changed, "lies above the upper end")


@pytest.mark.parametrize("name", TYPES)
def test_an_infinite_number_is_refused_where_a_finite_one_is_promised(name: str) -> None:
    result = made(name)
    for field, (mark, _) in declared(type(result)).items():
        shape = mark.shape if isinstance(mark, Named) else mark
        value = getattr(result, field)
        if not isinstance(shape, Shape) or isinstance(value, dict) or np.asarray(value).dtype.kind != "f":
            continue
        wrong: Any = np.full_like(np.asarray(value), np.inf) if shape.axes else np.inf
        if shape.infinite:
            continue
        refused(result, field, wrong, "infinite number|lower end")


@pytest.mark.parametrize("name", TYPES)
def test_saved_and_reopened(name: str, tmp_path: Path) -> None:
    result = made(name)
    result.save(tmp_path / "one")
    again = type(result).load(tmp_path / "one")
    same(result, again)
    pd.testing.assert_frame_equal(result.to_frame(), again.to_frame())
    assert str(again) == str(result)
    again.save(tmp_path / "two")
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert path.read_bytes() == twin.read_bytes(), path.name
    other = next(t for t in TYPES if PUBLIC[t].HEADER == "header.json" and t != name)
    if type(result).HEADER == "header.json":
        with pytest.raises(InputError, match="not"):
            PUBLIC[other].load(tmp_path / "one")
    with pytest.raises(InputError, match="no such file"):
        type(result).load(tmp_path / "nothing")


def same(one: Any, other: Any) -> None:
    """Two values are equal, field by field."""
    if isinstance(one, Result):
        for f in fields(one):
            same(getattr(one, f.name), getattr(other, f.name))
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert set(one) == set(other)
        if any(isinstance(v, np.ndarray | Result) for v in one.values()):
            assert list(one) == list(other), "results and arrays keep their order"
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, float) and np.isnan(one):
        assert np.isnan(other)
    elif isinstance(one, tuple) and is_dataclass(next(iter(one), None)):
        assert str(one) == str(other)
    else:
        assert one == other


@pytest.mark.parametrize("size", [2, 40])
@pytest.mark.parametrize("name", TYPES)
def test_what_it_prints_is_short_at_any_size(name: str, size: int) -> None:
    result = made(name, size)
    assert 0 < len(str(result)) < MOST_CHARACTERS
    assert "\n" not in result.summary
    assert result.summary
    assert repr(result) == f"<{name}: {result.summary}>"
    html = result._repr_html_()
    assert html.count("<tr") <= 21
    assert len(html) < 60_000


@pytest.mark.parametrize("name", TYPES)
def test_names_are_escaped_in_notebooks(name: str) -> None:
    result = made(name)
    named = [n for n, (m, _) in declared(type(result)).items() if isinstance(m, Axis) and not m.fill]
    bad = {n: tuple(f"<script>{x}" for x in getattr(result, n)) for n in named if n not in ("methods",)}
    html = replace(result, **bad)._repr_html_()
    assert "<script>" not in html
    assert unescape(html)


@pytest.mark.parametrize("name", TYPES)
def test_it_has_a_table_and_a_figure(name: str) -> None:
    result = made(name)
    assert isinstance(result.to_frame(), pd.DataFrame)
    ax = mrinterp.plot(result)
    assert ax.has_data() or ax.child_axes or ax.texts
    plt.close(ax.figure)


def test_rounding_does_not_turn_an_interval_around() -> None:
    result = made("MinimalSet")
    replace(result, lower=0.1 + 1e-16, upper=0.1)
    with pytest.raises(
        InputError, match=r"MinimalSet\.lower: the lower end 0\.2 lies above the upper end 0\.1\. Give"
    ):
        replace(result, lower=0.2, upper=0.1)


def test_a_folder_that_lacks_a_part_says_which(tmp_path: Path) -> None:
    made("Epistasis").save(tmp_path / "e")
    (tmp_path / "e" / "joint.npy").unlink()
    with pytest.raises(InputError, match=r"joint.npy: damaged: the file is missing"):
        results.Epistasis.load(tmp_path / "e")
    (tmp_path / "e" / "SHA256SUMS").unlink()  # as folders of older versions
    with pytest.raises(InputError, match="lacks joint"):
        results.Epistasis.load(tmp_path / "e")
