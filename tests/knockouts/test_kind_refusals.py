"""Kinds of knockout that cannot be run are refused: what was found, where, and the fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.knockouts._kinds.clamp import Clamp
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.knockouts._kinds.interchange import Interchange
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.positions import AllTokens
from tests.linear_stack import stack_bench, stack_inputs

BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown kind": ("resampel", {}, "Did you mean 'resample'.*Known: contrast, shift, zero"),
    "no kind near it": ("xyzzy", {}, "'xyzzy'. Known: contrast, shift, zero, mean"),
    "a kind that is no name": (5, {}, r"5 \(int\). Give a name"),
    "a class in place of a kind": (Clamp, {}, r"the class Clamp.*such as Mean\(\)"),
    "a word for a number": ("shift", {"size": "a"}, "kind 'shift', option size: 'a'. Give a finite number"),
    "nothing for a number": ("steer", {"amount": None}, "option amount: None"),
    "a list for a number": ("scale", {"factor": [1.0, 2.0]}, r"option factor: \[1.0, 2.0\] \(list\)"),
    "truth for a number": ("scale", {"factor": True}, r"option factor: True \(bool\)"),
    "a word for a value": ("clamp", {"value": "high"}, "option value: 'high'"),
    "a word among values": ("clamp", {"value": [0, 0, "x", 0, 0, 0]}, "value of feature 2: 'x'"),
    "a word for a quantile": (
        "clamp",
        {"quantile": "0.5"},
        "option quantile: '0.5'. Give a number between 0 and 1",
    ),
    "part of a donor": ("resample", {"donors": 2.5}, r"option donors: 2.5 \(float\). Give a whole number"),
    "a seed below zero": ("resample", {"seed": -1}, "seed: -1"),
    "a number for a word": ("steer", {"unit": 3}, r"option unit: 3 \(int\). Give one of sd, feature"),
    "a list of inputs": ("interchange", {"counterfactual": ["a"]}, "a list. Give a ModelInputs"),
    "places without tokens": ("mean", {"by": "class"}, r"'class', but this bench reads one value per input"),
    "places of a value": ("clamp", {"value": 0.1, "by": "all"}, "'all' beside a value"),
    "unknown option": ("clamp", {"quantil": 0.5}, "quantile"),
    "no option known": ("zero", {"value": 1}, "It has none"),
    "clamp to nothing": ("clamp", {}, "neither value nor quantile"),
    "clamp to both": ("clamp", {"value": 1.0, "quantile": 0.5}, "Give one of the two"),
    "clamp to too many": ("clamp", {"value": [1.0, 2.0]}, "each of the 6 features"),
    "quantile": ("clamp", {"quantile": 1.5}, "between 0 and 1"),
    "no step": ("shift", {"size": 0.0}, "above zero"),
    "unit": ("steer", {"unit": "sds"}, "Did you mean 'sd'.*Give one of sd, feature"),
    "endless step": ("shift", {"size": np.inf}, "inf. Give a finite number of at least 0"),
    "endless steering": ("steer", {"amount": np.inf}, "Give a finite number"),
    "infinite factor": ("scale", {"factor": np.inf}, "finite"),
    "no counterfactual": ("interchange", {}, "Give a ModelInputs"),
    "another list": ("interchange", {"counterfactual": stack_inputs(5)}, "5 inputs for 8 prompts"),
    "too many donors": ("resample", {"donors": 7}, "donors=6 or fewer"),
    "no donors": ("resample", {"donors": 0}, "donors: 0. Give a whole number of at least 1"),
    "unknown feature": ("zero", {"features": ["9"]}, "features: '9': not known"),
    "half a feature": ("zero", {"features": [1.5]}, r"1.5 \(float\). Give a list of names"),
    "a mask of features": ("zero", {"features": np.array([True, False])}, r"\(bool\). Give a list of names"),
    "features that are none": ("zero", {"features": 2.5}, "Give a list of names"),
    "draws in words": ("mean", {"draws": "many"}, "draws: 'many'"),
    "a seed of the bootstrap": ("mean", {"seed": -1}, "seed: -1"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_refused_with_the_fix(case: str) -> None:
    kind, options, words = BAD[case]
    with pytest.raises(InputError, match=words):
        knock_out(stack_bench(8), kind, **options)


def test_other_bad_input() -> None:
    with pytest.raises(InputError, match="a donor set of one"):
        knock_out(stack_bench(inputs=stack_inputs(3), family=[0, 1, 1]), "resample", donors=1)
    each = stack_bench(inputs=stack_inputs(8), position=AllTokens())
    with pytest.raises(InputError, match=r"counterfactual \d+: \d tokens, its prompt has \d"):
        knock_out(each, "interchange", counterfactual=stack_inputs(8, seed=9))
    with pytest.raises(InputError, match="no classes"):
        knock_out(each, "mean", by="class")
    with pytest.raises(InputError, match="Give one of position"):
        knock_out(each, "mean", by="word")
    with pytest.raises(InputError, match=r"'clas'\. Did you mean 'class'"):
        knock_out(each, "mean", by="clas")
    with pytest.raises(InputError, match=r"tensor 'ids': missing. Give ids, mask"):
        knock_out(each, Interchange(ModelInputs({"words": torch.zeros(8)})))
    with pytest.raises(InputError, match="mask: none given"):
        knock_out(each, Interchange(ModelInputs(each.inputs.tensors)))
    with pytest.raises(InputError, match=r"bench: 'study'. Give a Bench"):
        knock_out("study", "mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Give options to the kind itself"):
        knock_out(each, Clamp(quantile=0.5), quantile=0.4)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: knock_out(stack_bench(6), "mean", draws=0), "draws: 0"),
        (lambda: knock_out(stack_bench(6), "mean").equivalence(level=2), "level: 2"),
        (lambda: stack_bench(6, block=0), "block: 0"),
        (
            lambda: stack_bench(6, block=2.5),
            r"block: 2.5 \(float\). Give a whole number of at least 1 \(runs per forward pass\)",
        ),
        (lambda: stack_bench(4, family=[0, 1, np.nan, 1]), "family of prompt 2: nan"),
        (lambda: knock_out(stack_bench(6), "mean").interval(95), "level: 95"),
        (lambda: knock_out(stack_bench(6), "mean").equivalence(rope="wide"), "rope: 'wide'"),
        (lambda: knock_out(stack_bench(6), "mean").equivalence(rope=[1, 2, 3]), "each of 2 outcomes"),
        (lambda: compare_kinds("mean"), "a str. Give the results of at least two"),
        (lambda: stack_bench(6).subset(np.arange(0)), "at least one input"),
    ],
)
def test_numbers_that_cannot_be_are_refused(run: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run()
