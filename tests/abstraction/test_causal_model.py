"""High-level causal models: what they compute under interventions, and what they refuse."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mrinterp.abstraction._causal_model import CausalModel, Variable
from mrinterp.core.errors import InputError

BITS = (False, True)
EVERY = np.array(list(itertools.product(range(3), repeat=4)))
INPUTS = dict(zip("abcd", EVERY.T, strict=True))


def _model() -> CausalModel:
    return CausalModel(
        dict.fromkeys("abcd", range(3)),
        [
            Variable("same", ("left", "right"), lambda left, right: left == right, BITS),
            Variable("left", ("a", "b"), lambda a, b: a == b, BITS),
            Variable("right", ("c", "d"), lambda c, d: c == d, BITS),
        ],
        "same",
    )


def test_runs_every_input_in_causal_order() -> None:
    found = _model().run(INPUTS)
    for i, (a, b, c, d) in enumerate(EVERY):
        assert (found["left"][i], found["right"][i]) == (a == b, c == d)
        assert found["same"][i] == ((a == b) == (c == d))
    assert _model().names == ("a", "b", "c", "d", *_model().order)
    assert _model().order.index("same") == 2


def test_intervention_cuts_a_variable_from_its_parents() -> None:
    model = _model()
    held = model.intervene({"left": True}).run(INPUTS)
    np.testing.assert_array_equal(held["same"], model.run(INPUTS)["right"])
    each = np.arange(len(EVERY)) % 2 == 0
    np.testing.assert_array_equal(model.intervene({"left": each}).run(INPUTS)["left"], each)
    both = model.intervene({"left": True}).intervene({"right": False}).run(INPUTS)
    assert not both["same"].any()
    on_input = model.intervene({"a": INPUTS["b"]}).run(INPUTS)
    assert on_input["left"].all()
    assert not model.run(INPUTS)["left"].all()  # the model itself is unchanged


def test_interchange_takes_each_variable_from_its_source() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.permutation(len(EVERY)) for _ in range(2))
    take = lambda rows: {k: v[rows] for k, v in INPUTS.items()}  # noqa: E731
    found = _model().interchange(INPUTS, {"left": take(first), "right": take(second)})
    left = EVERY[first, 0] == EVERY[first, 1]
    right = EVERY[second, 2] == EVERY[second, 3]
    np.testing.assert_array_equal(found["same"], left == right)
    np.testing.assert_array_equal(found["a"], INPUTS["a"])


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b,
        lambda a, b: 2 if a and b else a + b,
        lambda a, b: max(a, b) + min(a, b) if a != b else 2 * a,
        lambda a, b: sum([a, b]),
    ],
)
def test_functions_on_arrays_and_on_single_values_agree(function: Callable[..., Any]) -> None:
    x = np.random.default_rng(0).integers(0, 2, (50, 2))
    model = CausalModel({"a": None, "b": None}, [Variable("y", ("a", "b"), function)])
    found = model.run({"a": x[:, 0], "b": x[:, 1]})["y"]
    np.testing.assert_array_equal(found, [function(*row) for row in x])


def test_a_function_is_of_one_input_whatever_the_batch() -> None:
    """Functions that would mix inputs, or write into them, when they are handed whole arrays."""

    def centered(a: Any) -> Any:
        return a - np.mean(a)

    def in_place(a: Any) -> Any:
        a += 1
        return a

    x = np.arange(40.0)
    model = CausalModel({"a": None}, [Variable("zero", ("a",), centered), Variable("more", ("a",), in_place)])
    found = model.run({"a": x})
    np.testing.assert_array_equal(found["zero"], np.zeros(40))
    np.testing.assert_array_equal(found["more"], x + 1)
    np.testing.assert_array_equal(found["a"], np.arange(40.0))


def test_array_functions_are_not_called_once_per_input() -> None:
    calls = []

    def count(a: Any) -> Any:
        calls.append(1)
        return a % 3

    CausalModel({"a": None}, [Variable("y", ("a",), count)]).run({"a": np.arange(10_000)})
    assert len(calls) < 30


def test_vectors_and_words_may_be_values() -> None:
    shapes = np.random.default_rng(0).standard_normal((20, 2, 3))
    shapes[::2, 1] = shapes[::2, 0]
    model = CausalModel(
        {"a": None, "b": None},
        [
            Variable("equal", ("a", "b"), lambda a, b: (a == b).all(-1), BITS),
            Variable("word", ("equal",), lambda equal: "same" if equal else "other", ("same", "other")),
        ],
    )
    found = model.run({"a": shapes[:, 0], "b": shapes[:, 1]})
    assert found["word"].tolist() == ["same", "other"] * 10
    twisted = model.intervene({"word": "same"}).run({"a": shapes[:, 0], "b": shapes[:, 1]})
    assert set(twisted["word"]) == {"same"}


def _same(*names: str) -> Any:
    return names[0]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ([Variable("u", ("v",), _same), Variable("v", ("w",), _same), Variable("w", ("u",), _same)], "cycle"),
        ([Variable("u", ("a", "u"), _same)], "cycle u -> u"),
        ([Variable("left", ("a",), _same), Variable("v", ("lefd",), _same)], "unknown parent 'lefd'.*'left'"),
        ([Variable("u", ("a",), _same), Variable("u", ("a",), _same)], "'u' is given twice"),
        ([Variable("a", ("a",), _same)], "'a' is given twice"),
        ([Variable("u", "a", _same)], "parents is one string"),
        ([Variable("u", (), lambda: 1)], "'u': no parents"),
        ([Variable("u", ("a",), 3)], "'u': its function is a int"),
        ([Variable("u", ("a",), lambda a, b: a)], r"'u': .*not take 1 argument \(parents a\): missing.*'b'"),
        ([Variable("u", ("a", "a"), lambda a: a)], r"'u': .*not take 2 arguments \(parents a, a\): too many"),
        ([], "no variables"),
    ],
)
def test_refuses_what_is_no_model(variables: list[Variable], words: str) -> None:
    with pytest.raises(InputError, match=words):
        CausalModel({"a": None}, variables)


def test_inputs_are_a_mapping() -> None:
    with pytest.raises(InputError, match="inputs: a list"):
        CausalModel(["a"], [Variable("u", ("a",), _same)])  # type: ignore[arg-type]


def test_numbers_beside_words_stay_numbers() -> None:
    mixed = Variable("y", ("a",), lambda a: "many" if a > 1 else int(a), (0, 1, "many"))
    assert CausalModel({"a": None}, [mixed]).run({"a": [0, 1, 2]})["y"].tolist() == [0, 1, "many"]


def test_builtins_are_functions_too() -> None:
    """`max` shows no signature: what it cannot take is found when it is called."""
    model = CausalModel({"a": None, "b": None}, [Variable("largest", ("a", "b"), max)])
    assert model.run({"a": [1, 5], "b": [3, 4]})["largest"].tolist() == [3, 5]


def test_names_the_cycle() -> None:
    with pytest.raises(InputError) as refused:
        CausalModel(
            {"a": None},
            [Variable("fine", ("a",), _same), Variable("u", ("v", "a"), _same), Variable("v", ("u",), _same)],
        )
    assert "u -> v -> u" in str(refused.value) or "v -> u -> v" in str(refused.value)
    assert "fine" not in str(refused.value)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda m: m.run({"a": [0], "b": [0], "c": [0]}), r"input 'd': missing\. Give a, b, c, d"),
        (lambda m: m.run({**INPUTS, "e": EVERY[:, 0]}), "input 'e': not an input"),
        (lambda m: m.run({**INPUTS, "a": [0, 1]}), "2 of a, 81 of b"),
        (lambda m: m.run({k: [] for k in "abcd"}), "0 of a"),
        (lambda m: m.run({**INPUTS, "a": np.full(81, 7)}), "variable 'a', input 0: takes the value"),
        (lambda m: m.intervene({"lefft": True}), "'lefft': not in the high-level model.*'left'"),
        (lambda m: m.intervene({"left": 2}).run(INPUTS), "variable 'left', input 0: takes the value"),
        (lambda m: m.intervene({"left": [True, False]}).run(INPUTS), "2 values for 81 inputs"),
        (lambda m: m.interchange(INPUTS, {"left": {k: v[:5] for k, v in INPUTS.items()}}), "5 values for 81"),
    ],
)
def test_refuses_inputs_that_do_not_fit(run: Callable[[CausalModel], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(_model())


@pytest.mark.parametrize(
    ("function", "values", "words"),
    [
        (lambda a: a * 2, range(3), "variable 'y', input 2: takes the value .*4"),
        (
            lambda a: 1 / (a - 1) if a != 1 else [][0],
            None,
            "variable 'y', input 1: its function raised IndexError",
        ),
        (lambda a: None if a == 2 else a, None, "variable 'y', input 2: takes the value None"),
        (lambda a: [0] * a, None, "different shapes"),
        (lambda a: (a, a), range(3), "Declare no values for vectors"),
    ],
)
def test_refuses_functions_outside_what_they_declare(
    function: Callable[..., Any], values: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        CausalModel({"a": None}, [Variable("y", ("a",), function, values)]).run({"a": np.arange(3)})


def test_refuses_an_output_that_is_no_variable() -> None:
    with pytest.raises(InputError, match="'a' is not a variable"):
        CausalModel({"a": None}, [Variable("y", ("a",), _same)], output="a")
