"""Sums of a scan's chunks on a device of torch: the same protocol as with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.stats.scan.block_scan import Scanner
from mrinterp.stats.scan.dose_side import Chunk

__all__ = ["TorchProducts"]


class TorchProducts:
    """Products of families' doses and changes on a device; sums of a chunk come back, not the products.

    Parameters
    ----------
    scanner : Scanner
    device : str
        Such as ``cuda`` or ``cpu``.

    Raises
    ------
    InputError
        For a device that this machine does not have.
    """

    def __init__(self, scanner: Scanner, device: str) -> None:
        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as e:
            raise InputError(
                "device", f"{device!r} ({e})", "Give cpu, or a device that torch.cuda finds"
            ) from None
        side = scanner.side
        kind = torch.float32 if scanner.dtype == np.float32 else torch.float64
        self.weights = torch.as_tensor(scanner.weights, dtype=kind, device=self.device)
        self.grow = torch.as_tensor(side.grow, dtype=kind, device=self.device)
        self.z = torch.as_tensor(scanner.read, dtype=kind, device=self.device)

    def sums(self, chunk: Chunk, number: int, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """See `BlockProducts`."""
        values = torch.as_tensor(x, device=self.device)
        B, K = x.shape[1], self.z.shape[1]
        lin = torch.zeros((len(self.weights), K, B), dtype=values.dtype, device=self.device)
        squares = torch.zeros((K, B), dtype=values.dtype, device=self.device)
        family = chunk.family
        for row, many, tall in chunk.batches:
            z = self.z[row : row + many * tall].reshape(many, tall, K)
            at = row - chunk.first
            product = torch.bmm(z.transpose(1, 2), values[at : at + many * tall].reshape(many, tall, B))
            of = slice(family, family + many)
            lin += torch.einsum("lgk,gkb->lkb", self.weights[:, of], product)
            squares += ((self.grow[of][:, :, None] * product) ** 2).sum(dim=0)
            family += many
        return lin.cpu().numpy(), squares.cpu().numpy()
