"""Sentences as padded token arrays, with the position class of every token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["TokenArrays", "tokenize"]


@dataclass(frozen=True, eq=False)
class TokenArrays:
    """Token ids, attention mask and position class (-1 on padding) of N inputs, each (N, length)."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    classes: NDArray[np.int8]
    class_names: tuple[str, ...]

    def take(self, rows: NDArray[np.int_]) -> TokenArrays:
        """Some rows, in the given order."""
        return TokenArrays(self.ids[rows], self.mask[rows], self.classes[rows], self.class_names)


def tokenize(
    tokenizer: Any,
    inputs: pd.DataFrame,
    length: int,
    class_names: list[str],
    slots: list[str],
    split_at: str | None,
) -> TokenArrays:
    """Tokenize to a fixed length, so that results do not depend on which inputs share a batch.

    Parameters
    ----------
    tokenizer : transformers tokenizer with offsets
    inputs : DataFrame
        ``text`` and ``<slot>_start, <slot>_end`` in characters.
    length : int
        Padded length of the plan.
    class_names : list of str
        ``first, last``, the slots, and ``rest`` or ``before, after`` (relative to ``split_at``).

    Raises
    ------
    InputError
        For a sentence longer than the padded length; names the row and the length needed.
    """
    texts = inputs["text"].tolist()
    coded = tokenizer(texts, return_offsets_mapping=True, return_attention_mask=True)
    counts = np.array([len(i) for i in coded["input_ids"]])
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
    classes = np.full((N, length), -1, dtype=np.int8)
    spans = {s: inputs[[f"{s}_start", f"{s}_end"]].to_numpy() for s in slots}
    index = {name: i for i, name in enumerate(class_names)}
    for i in range(N):
        n = counts[i]
        ids[i, :n] = coded["input_ids"][i]
        mask[i, :n] = 1
        offsets = np.array(coded["offset_mapping"][i])
        classes[i, :n] = _classes(offsets, {s: spans[s][i] for s in slots}, index, split_at)
    return TokenArrays(ids, mask, classes, tuple(class_names))


def _classes(
    offsets: NDArray[np.int_], spans: dict[str, NDArray[np.int_]], index: dict[str, int], split_at: str | None
) -> NDArray[np.int8]:
    start = offsets[:, 0]
    if split_at is None:
        out = np.full(len(start), index["rest"], dtype=np.int8)
    else:
        out = np.where(start < spans[split_at][0], index["before"], index["after"]).astype(np.int8)
    for slot, (a, b) in spans.items():
        out[(start >= a) & (start < b)] = index[slot]
    out[0], out[-1] = index["first"], index["last"]
    return out
