"""Activations of many inputs, kept in memory while they are few and in a file beyond."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["IN_MEMORY", "KeptActivations"]

PART = 64
"""Inputs that `KeptActivations.parts` hands out at once: fixed, so that sums over parts are always added alike."""
IN_MEMORY = 1 << 30
"""Bytes (1 GiB) beyond which activations are kept in a temporary file that is mapped into memory."""


class KeptActivations:
    """Activations (rows, ...) of one site, put in block by block and taken by rows.

    Parameters
    ----------
    rows : int
        Inputs in all.
    most : int
        Bytes that stay in memory, on the device they came from. What needs more is kept in an unnamed file of the
        system's temporary folder (``TMPDIR``), which disappears with this object.

    Notes
    -----
    What is taken is bit for bit what was put in, from memory and from a file.
    """

    def __init__(self, rows: int, most: int = IN_MEMORY) -> None:
        self.rows, self.most = rows, most
        self._held: torch.Tensor | None = None

    def put(self, rows: NDArray[np.int_], block: torch.Tensor) -> None:
        """Keep the activations of some of the inputs; all blocks have one shape but for their length."""
        with torch.inference_mode(False):  # so that autograd takes what is taken
            if self._held is None:
                self.device = block.device
                self._held = self._room((self.rows, *block.shape[1:]), block)
            self._held[torch.from_numpy(rows.copy()).to(self._held.device)] = block.detach().to(
                self._held.device
            )

    def take(self, rows: NDArray[np.int_], tokens: int | None = None) -> torch.Tensor:
        """Activations (n, ...) of some of the inputs, on the device they came from; of their first tokens only."""
        assert self._held is not None
        held = self._held if tokens is None else self._held[:, :tokens]
        return held[torch.from_numpy(rows.copy()).to(held.device)].contiguous().to(self.device)

    def parts(self) -> Iterator[tuple[int, torch.Tensor]]:
        """First input and activations of one part after the other, the same parts however they were put in."""
        for start in range(0, self.rows, PART):
            yield start, self.take(np.arange(start, min(start + PART, self.rows)))

    def _room(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        size = int(np.prod(shape)) * like.element_size()
        if size <= self.most:
            return torch.empty(shape, dtype=like.dtype, device=like.device)
        with tempfile.TemporaryFile(prefix="mrinterp-activations-") as file:
            mapped = np.memmap(file, dtype=np.uint8, mode="w+", shape=(size,))
        return torch.from_numpy(mapped).view(like.dtype).reshape(shape)
