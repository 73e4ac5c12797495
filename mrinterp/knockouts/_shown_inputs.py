"""Inputs that are no tokens, as a reader sees them: a small picture of an image, the telling values of a row."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.design import Design

__all__ = ["column_names", "pictures_of", "shown_row"]

SIDE = 48
"""Pixels of a picture's longer side at most; larger images are thinned."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLUMNS = 8
"""Values of a row that are told, those furthest from the column's mean in its sd."""


def _pixels(inputs: ModelInputs) -> NDArray[np.float64] | None:
    """Images (N, height, width, 1 or 3), if the inputs are some."""
    for tensor in inputs.tensors.values():
        if tensor.ndim == 4 and tensor.is_floating_point() and tensor.shape[1] in (1, 3):
            return np.moveaxis(tensor.detach().cpu().double().numpy(), 1, -1)
    return None


def pictures_of(inputs: ModelInputs, rows: Iterable[int]) -> dict[str, str]:
    """PNG pictures of some inputs as ``data:`` addresses, by number; empty where inputs are no images.

    Values are spread from the least to the largest of all images given, since a network's pixels are seldom 0 to 255.
    """
    pixels = _pixels(inputs)
    if pixels is None or not np.isfinite(pixels).any():
        return {}
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    step = max(1, -(-max(pixels.shape[1:3]) // SIDE))
    found = {}
    for p in sorted(set(map(int, rows))):
        spread = (np.nan_to_num(pixels[p, ::step, ::step]) - low) / ((high - low) or 1.0)
        found[str(p)] = _png((np.clip(spread, 0, 1) * 255).round().astype(np.uint8))
    return found


def _png(pixels: NDArray[np.uint8]) -> str:
    """A picture (height, width, 1 or 3) as the address of a PNG file."""
    height, width, channels = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(SIGNATURE + parts).decode('ascii')}"


def column_names(design: Design) -> dict[int, str]:
    """Names of a table's columns that noise moves, by their place; empty for inputs that are no table."""
    table = design.instruments
    moved = table[(table["kind"] == "noise") & (table["allele"] == "column")]
    if not len(moved):
        return {}
    places = np.abs(design.noise_directions[0]).argmax(axis=1).tolist()
    return dict(zip(places, moved["locus"].astype(str), strict=True))


def shown_row(inputs: ModelInputs, columns: Mapping[int, str] | None = None) -> Callable[[int], str] | None:
    """What writes a row of a table by its telling values; None where inputs are no rows of numbers."""
    names = columns or {}
    rows = [t for t in inputs.tensors.values() if t.ndim == 2 and t.is_floating_point()]
    if not rows:
        return None
    values = rows[0].detach().cpu().double().numpy()
    sd = values.std(axis=0)
    varying = np.flatnonzero(sd > 0)  # a constant column tells nothing of a row
    far = np.abs(values - values.mean(axis=0)) / np.where(sd > 0, sd, np.inf)

    def words(p: int) -> str:
        told = np.sort(varying[np.argsort(-far[p, varying], kind="stable")[:COLUMNS]])
        more = len(varying) - len(told)
        text = ", ".join(f"{names.get(int(c), f'column {c}')} = {values[p, c]:.3g}" for c in told)
        return text + (f" and {more} nearer the mean" if more else "")

    return words
