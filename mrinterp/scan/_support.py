"""Where single-token activations of a site vary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.design import Design
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._reader import sharded

__all__ = ["token_support"]

Array = NDArray[np.float64]


def token_support(
    network: CutNetwork, design: Design, rows: NDArray[np.int_], folder: Path | None
) -> tuple[Array, Array]:
    """Principal axes (width, width) of single-token activations of natural sentences, and their variances."""
    inputs = np.unique(design.runs["input"].to_numpy()[rows])
    block = int(design.settings["block"])

    def work(a: int, b: int) -> dict[str, NDArray]:
        flat = network.token_activations(inputs[a:b]).double()
        first, second = flat.sum(0).cpu().numpy(), (flat.T @ flat).cpu().numpy()
        return {"n": np.array([float(len(flat))]), "first": first[None], "second": second[None]}

    # Only a sample of sentences is needed for a covariance of a few hundred dimensions.
    count = min(len(inputs), 16 * block)
    parts = sharded(count, block, work, folder and folder / "support", "support")
    n = parts["n"].sum()
    mean = parts["first"].sum(axis=0) / n
    covariance = parts["second"].sum(axis=0) / n - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1].T.copy(), np.maximum(values[::-1], 0.0)
