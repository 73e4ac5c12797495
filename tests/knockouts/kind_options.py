"""One set of options for every kind of knockout, and the rules that tests read tokens by."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.positions import AllTokens, LastToken
from tests.linear_stack import WIDTH

EVERY = np.arange(WIDTH)


OPTIONS: dict[str, dict[str, Any]] = {
    "contrast": {},
    "shift": {"size": 0.7},
    "zero": {},
    "mean": {},
    "resample": {"donors": 2, "seed": 4},
    "clamp": {"quantile": 0.8},
    "scale": {"factor": 0.5},
    "steer": {"amount": 0.4, "unit": "feature"},
}


RULES = {"mean over tokens": None, "every token": AllTokens(), "last token": LastToken()}


def other_inputs(bench: Any) -> ModelInputs:
    """Counterfactuals of the same lengths with other words."""
    inputs = bench.inputs
    ids = (inputs.tensors["ids"] + 4) % 9
    return ModelInputs({"ids": ids, "mask": inputs.tensors["mask"]}, inputs.mask)


def options_of(kind: str, bench: Any) -> dict[str, Any]:
    return {"counterfactual": other_inputs(bench)} if kind == "interchange" else OPTIONS[kind]
