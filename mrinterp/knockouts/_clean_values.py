"""Clean values of features as arrays: what kinds start from, with nan where there is no token."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.knockouts._bench import Bench
from mrinterp.positions import AllTokens

__all__ = ["ROUNDING", "clean_activation", "clean_token_values", "clean_values", "spread", "written_tokens"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

ROUNDING = 1e-6
"""Share of a feature's largest value that is nothing but rounding: float32 has seven digits."""


def written_tokens(bench: Bench, inputs: ModelInputs | None = None) -> NDArray[np.bool_]:
    """Which tokens of a bench's inputs (or of others) its position selects, (P, T); (P, 1) without a token axis."""
    given = bench.inputs if inputs is None else inputs
    if given.mask is None:
        return np.ones((len(given), 1), dtype=bool)
    positions = given.at(bench.position)
    assert positions is not None
    return positions.selected.cpu().numpy()


def clean_values(bench: Bench, features: Rows) -> Array:
    """What a bench reads without edits: (f, P), or (f, P, T) with nan on padding where tokens have their own."""
    values = np.moveaxis(bench.values[..., features], -1, 0)
    return np.where(written_tokens(bench), values, np.nan) if bench.each else values


def clean_activation(bench: Bench, rows: Rows) -> torch.Tensor:
    """The site's activation on some of the inputs, begun where edited runs begin."""
    with torch.inference_mode(), bench.begun(rows):
        return bench.adapter.run(bench.inputs.take(rows).tensors, read=[bench.site]).activations[bench.site]


def clean_token_values(bench: Bench, features: Rows) -> Array:
    """Clean values at every token that the bench's position writes, (f, P, T); nan at all others.

    One forward pass over the inputs, unless the bench holds them already.
    """
    if bench.position is None:
        return clean_values(bench, features)[:, :, None]
    if bench.each:
        return clean_values(bench, features)
    view, parts = bench.view.select(features), []
    for a in range(0, bench.prompts, bench.block):
        rows = np.arange(a, min(a + bench.block, bench.prompts))
        inputs = bench.inputs.take(rows)
        written = inputs.at(bench.position)
        assert written is not None
        with torch.inference_mode():
            read = view.read(clean_activation(bench, rows), inputs.at(AllTokens())).double().cpu().numpy()
        tokens = read.reshape(len(read), -1, len(features))
        parts.append(np.where(written.selected.cpu().numpy()[..., None], tokens, np.nan))
    return np.moveaxis(np.concatenate(parts), -1, 0)


def spread(values: Array) -> Array:
    """Natural standard deviation (f,) of values (f, ...), padding left out."""
    flat = values.reshape(len(values), -1)
    keep = ~np.isnan(flat)
    count = keep.sum(axis=1)
    mean = np.where(keep, flat, 0.0).sum(axis=1) / count
    gap = np.where(keep, flat - mean[:, None], 0.0)
    # A constant is a constant: rounding is no spread.
    high, low = np.where(keep, flat, -np.inf).max(axis=1), np.where(keep, flat, np.inf).min(axis=1)
    constant = high - low <= ROUNDING * np.maximum(np.abs(high), np.abs(low))
    return np.where(constant, 0.0, np.sqrt((gap**2).sum(axis=1) / count))
