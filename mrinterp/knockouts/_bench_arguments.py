"""What a bench is given, made into what it works with."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.outcomes._outcome import Outcome, Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import SpanMask

__all__ = ["one_per_prompt", "outcome_set", "stream", "with_span"]


def stream(what: str) -> int:
    """Stream of a sampled outcome's draws, one per sweep."""
    return zlib.crc32(what.encode())


def one_per_prompt(given: ArrayLike | None, name: str, prompts: int) -> NDArray[Any]:
    """One known value per prompt; their numbers where none are given."""
    column = np.arange(prompts) if given is None else np.asarray(given)
    if column.shape != (prompts,):
        raise InputError(
            name, f"shape {column.shape} for {prompts} prompts", "Give one value for every prompt"
        )
    missing = np.flatnonzero(pd.isna(column))
    if len(missing):
        where = f"{name} of prompt {missing[0]}"
        raise InputError(where, f"{column[missing[0]]}", "Give one value for every prompt")
    return column


def with_span(inputs: ModelInputs, position: SpanMask) -> ModelInputs:
    """Inputs whose token classes are a span and what lies outside it."""
    if inputs.mask is None:
        found = f"{position} on inputs without a token axis"
        raise InputError("position", found, "Leave the position out")
    chosen = position.select(inputs.mask.bool(), None)
    classes = torch.where(inputs.mask.bool(), chosen.long(), -1)
    return replace(inputs, classes=classes, class_names=("outside", "span"))


def outcome_set(outcome: Outcome | OutcomeSet, sampling: Sampling | None) -> OutcomeSet:
    """The outcomes as a set, sampled where asked."""
    parts = outcome.parts if isinstance(outcome, OutcomeSet) else (outcome,)
    if sampling is None:
        return outcome if isinstance(outcome, OutcomeSet) else OutcomeSet(parts)
    return OutcomeSet(parts, [replace(sampling, number=i) for i in range(len(parts))])
