"""Sentences as padded token tensors, with the position class of every token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mrinterp.adapters._hugging_face import no_tokens
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError

__all__ = ["CONTINUATION", "tokenize"]

CONTINUATION = "continuation"
"""Token class of a continuation, which follows the prompt and gets no noise."""


def tokenize(
    tokenizer: Any,
    inputs: pd.DataFrame,
    length: int,
    class_names: list[str],
    slots: list[str],
    split_at: str | None,
    device: torch.device | str = "cpu",
) -> ModelInputs:
    """Tokenize to a fixed length, so that results do not depend on which inputs share a batch.

    Parameters
    ----------
    tokenizer : transformers tokenizer with offsets
    inputs : DataFrame
        ``text`` and ``<slot>_start, <slot>_end`` in characters; optionally ``continuation``.
    length : int
        Padded length of the plan.
    class_names : list of str
        ``first, last``, the slots, and ``rest`` or ``before, after`` (relative to ``split_at``);
        ``continuation`` where there is one.

    Raises
    ------
    InputError
        For a sentence longer than the padded length (names the row and the length needed), one
        without tokens, or a tokenizer without offsets.
    """
    texts = inputs["text"].tolist()
    if tokenizer is None:
        raise InputError(
            "tokenizer",
            "the network has no tokenizer",
            "Give model.tokenizer, or save it in the network's folder",
        )
    try:
        coded = tokenizer(texts, return_offsets_mapping=True, return_attention_mask=True)
    except NotImplementedError:
        raise InputError(
            "tokenizer",
            f"{type(tokenizer).__name__} gives no character offsets",
            "Save the fast tokenizer (tokenizer.json)",
        ) from None
    added = _continuations(tokenizer, inputs)
    counts = np.array([len(i) + len(more) for i, more in zip(coded["input_ids"], added, strict=True)])
    if counts.max() > length:
        row = int(counts.argmax())
        raise InputError(
            f"input {row} ({texts[row][:40]!r}...)",
            f"{counts[row]} tokens, padded length {length}",
            f"Set model.padded_length to {counts.max()} or more",
        )
    pad = tokenizer.pad_token_id or 0
    N = len(texts)
    ids = np.full((N, length), pad, dtype=np.int64)
    mask = np.zeros((N, length), dtype=np.int64)
    classes = np.full((N, length), -1, dtype=np.int64)
    spans = {s: inputs[[f"{s}_start", f"{s}_end"]].to_numpy() for s in slots}
    index = {name: i for i, name in enumerate(class_names)}
    for i in range(N):
        own = coded["input_ids"][i]
        if not own:
            raise InputError(f"input {i} ({texts[i][:40]!r})", "no tokens", no_tokens(texts[i]))
        n = len(own)
        ids[i, : counts[i]] = [*own, *added[i]]
        mask[i, : counts[i]] = 1
        offsets = np.array(coded["offset_mapping"][i])
        classes[i, :n] = _classes(offsets, {s: spans[s][i] for s in slots}, index, split_at)
        if added[i]:
            classes[i, n : counts[i]] = index[CONTINUATION]
    tensors = {"input_ids": ids, "attention_mask": mask}
    return ModelInputs(
        {name: torch.from_numpy(value).to(device) for name, value in tensors.items()},
        torch.from_numpy(mask).to(device),
        torch.from_numpy(classes).to(device),
        tuple(class_names),
    )


def _continuations(tokenizer: Any, inputs: pd.DataFrame) -> list[list[int]]:
    if CONTINUATION not in inputs:
        return [[] for _ in range(len(inputs))]
    coded = tokenizer(inputs[CONTINUATION].tolist(), add_special_tokens=False)["input_ids"]
    for text, tokens in zip(inputs[CONTINUATION], coded, strict=True):
        if not tokens:
            raise InputError(f"continuation {text!r}", "no tokens", "Give at least one token")
    return [list(tokens) for tokens in coded]


def _classes(
    offsets: NDArray[np.int_], spans: dict[str, NDArray[np.int_]], index: dict[str, int], split_at: str | None
) -> NDArray[np.int64]:
    start = offsets[:, 0]
    if split_at is None:
        out = np.full(len(start), index["rest"], dtype=np.int64)
    else:
        out = np.where(start < spans[split_at][0], index["before"], index["after"]).astype(np.int64)
    for slot, (a, b) in spans.items():
        out[(start >= a) & (start < b)] = index[slot]
    out[0], out[-1] = index["first"], index["last"]
    return out
