"""Every design is called in the same way, refuses the same mistakes, and answers with a result.

Designs are found by walking the face of the room: a public function whose first parameter is a bench is one, or
is named here as something else.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp import knockouts
from mrinterp.core.errors import InputError
from mrinterp.knockouts._kinds.registry import KINDS
from mrinterp.outcomes import CallableOutcome, OutcomeSet
from mrinterp.results._result import Result

NOT_DESIGNS = {
    "compare_kinds": "compares results",
    "contrast_levels": "learns values",
    "feature_profiles": "describes features, edits nothing",
    "paths_to_outcome": "asks for paths, measures no effect",
    "leading_coordinates": "makes a bench",
    "random_directions": "draws a view",
}

WRITTEN = ("kind", "values", "doses", "corruption")
"""What the second parameter may be called: what is written, or done upstream."""

SHARED: dict[str, Any] = {
    "rope_sd": 0.02,
    "level": 0.95,
    "draws": 1000,
    "seed": 0,
    "allow_off_support": False,
}
"""Options that designs share, in this order at the end of their signature, with these defaults."""

OTHER_NAMES = {
    *("rope", "alpha", "confidence", "n_draws", "bootstrap", "draw_seed", "random_state", "rng"),
    *("candidates", "order", "ranking", "sets", "names", "rule", "damage", "margin", "target"),
}
"""What the same things must not be called."""

WORLD = mrinterp.worlds.gated_world(families=12, per_family=2)
BENCH = WORLD.bench(
    first="units",
    outcome=OutcomeSet([WORLD.outcome, CallableOutcome("squared", lambda output, mask: output[:, 0] ** 2)]),
)

ANSWERS: dict[str, dict[str, Any]] = {
    "knock_out": {"kind": "mean", "draws": 10},
    "against_random": {"kind": "mean", "controls": 3, "draws": 10},
    "direct_effect": {"values": "mean", "freeze": ()},
    "epistasis": {"values": "mean"},
    "specificity": {"values": "mean", "controls": ["squared"]},
    "minimal_set": {"values": "zero", "outcome": "output", "random_sets": 2, "draws": 10},
    "ordered_knockouts": {"values": "mean", "random_orders": 2},
    "faithfulness": {"values": "mean", "draws": 10},
    "set_effects": {"values": "mean", "draws": 10},
    "dose_response": {"doses": None, "draws": 10},
    "knock_out_jointly": {"kind": "mean"},
    "rectified_contrast": {"kind": "contrast"},
    "site_experiment": {"kind": "contrast", "runs_per_prompt": 4},
    "rescue": {"corruption": knockouts.Corruption.noise(BENCH, "units"), "draws": 10},
}
"""The options that a quick call of each needs; a new design needs a line."""


def _designs() -> dict[str, Any]:
    functions = {n: v for n in knockouts.__all__ if inspect.isfunction(v := getattr(knockouts, n))}
    return {n: v for n, v in functions.items() if n not in NOT_DESIGNS}


DESIGNS = _designs()
EACH = pytest.mark.parametrize("name", sorted(DESIGNS))


def _run(name: str, features: Any, **changes: Any) -> Any:
    return DESIGNS[name](BENCH, **{**ANSWERS[name], "features": features, **changes})


def _few(name: str) -> list[Any]:
    """As few features as the design needs, by name and by number."""
    return {"epistasis": ["linear", 2], "minimal_set": ["saturated", 3]}.get(name, ["linear"])


def _cases(options: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, option, value, id=f"{name}-{option}-{value!r}")
        for name, design in sorted(DESIGNS.items())
        for option, values in options.items()
        if option in inspect.signature(design).parameters
        for value in values
    ]


def test_every_design_of_the_room_is_public_and_under_contract() -> None:
    assert set(DESIGNS) == set(ANSWERS)
    folder = Path(inspect.getfile(knockouts)).parent / "_designs"
    modules = [
        importlib.import_module(f"mrinterp.knockouts._designs.{p.stem}") for p in folder.glob("[a-z]*.py")
    ]
    made = {
        n
        for m in modules
        for n in m.__all__
        if inspect.isfunction(f := getattr(m, n)) and next(iter(inspect.signature(f).parameters)) == "bench"
    }
    inside = {"knock_out_sets", "passes", "shares_of"}
    assert made - inside - set(NOT_DESIGNS) <= set(DESIGNS)


@EACH
def test_the_signature_follows_the_contract(name: str) -> None:
    parameters = inspect.signature(DESIGNS[name]).parameters
    names = list(parameters)
    assert names[0] == "bench"
    assert names[1] in WRITTEN
    assert names[2] == "features"
    assert parameters["features"].default is None
    rest = [p for p in list(parameters.values())[3:] if p.kind is not p.VAR_KEYWORD]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert not OTHER_NAMES & set(names)
    shared = [p for p in rest if p.name in SHARED]
    assert shared == rest[len(rest) - len(shared) :], "shared options come last"
    assert [p.name for p in shared] == [n for n in SHARED if n in parameters], "in one order"
    for p in shared:
        assert p.default == SHARED[p.name]
        assert type(p.default) is type(SHARED[p.name])


@EACH
def test_what_is_written_may_be_outside_support_only_when_asked(name: str) -> None:
    parameters = inspect.signature(DESIGNS[name]).parameters
    natural = name in ("rectified_contrast", "site_experiment", "knock_out_jointly")
    assert ("allow_off_support" in parameters) == (not natural and "corruption" not in parameters)


@EACH
def test_the_answer_is_a_result(name: str, tmp_path: Path) -> None:
    found = _run(name, _few(name))
    assert isinstance(found, Result)
    assert type(found).__name__ in mrinterp.results.__all__
    assert str(found).strip()
    assert len(repr(found)) < 5000
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame)
    found.save(tmp_path / "result")
    again = type(found).load(tmp_path / "result")
    pd.testing.assert_frame_equal(again.to_frame(), frame)
    assert str(again) == str(found)


@EACH
def test_features_are_given_by_name_or_by_number(name: str) -> None:
    by_name = ["silent", "linear"]
    places = [BENCH.view.names.index(n) for n in by_name]
    frames = [_run(name, given).to_frame() for given in (by_name, places, np.array(places), tuple(by_name))]
    for other in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], other)


@EACH
def test_no_features_are_all_of_the_view(name: str) -> None:
    pd.testing.assert_frame_equal(_run(name, None).to_frame(), _run(name, range(BENCH.features)).to_frame())


@pytest.mark.parametrize(
    ("name", "option", "value"),
    _cases(
        {
            "level": [0, 1, 95, True, "0.95", None, np.nan],
            "draws": [1, -5, 10**9, 2.5, True, "many", None],
            "seed": [-1, 0.5, True, None, "0"],
            "rope_sd": [-0.1, np.nan, np.inf, True, "wide", None],
        }
    ),
)
def test_bad_options_are_refused_by_name(name: str, option: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        _run(name, _few(name), **{option: value})
    assert refused.value.where == option


@EACH
@pytest.mark.parametrize("features", [["linaer"], [99], [-1], [], ["linear", 0], 2.5, [True], [None]])
def test_bad_features_are_refused_by_name(name: str, features: Any) -> None:
    with pytest.raises(InputError) as refused:
        _run(name, features)
    assert refused.value.where.startswith("features")


@EACH
def test_a_misspelled_feature_has_a_near_miss(name: str) -> None:
    with pytest.raises(InputError, match=r"Did you mean 'linear'\?"):
        _run(name, ["linaer", "silent"])


@pytest.mark.parametrize(
    ("name", "option", "value"),
    _cases(
        {
            "kind": ["meen", 5, None, KINDS["zero"]],
            "values": ["meen", np.zeros((9, 9)), np.inf, "words", None, KINDS["zero"], [["a"]]],
            "doses": [[1.0, 2.0], [3.0, 2.0, 1.0], [0.0, np.nan, 1.0], "low", [["a"]]],
            "corruption": ["noise", None, 3.0],
        }
    ),
)
def test_what_cannot_be_written_is_refused_by_name(name: str, option: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        _run(name, _few(name), **{option: value})
    assert refused.value.where.startswith(option)


def test_what_is_no_design_says_why() -> None:
    assert set(NOT_DESIGNS) <= set(knockouts.__all__)
