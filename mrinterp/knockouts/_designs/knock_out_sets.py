"""Sets of features knocked out together, set by set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._edited_runs import EditedRuns

__all__ = ["knock_out_sets", "slots_of"]

Array = NDArray[np.float64]

CHUNK = 1 << 23
"""Values held at once (64 MiB): arms run in chunks of a size that depends on nothing else."""


def knock_out_sets(
    bench: Bench, numbers: NDArray[np.int_], values: Array, slots: NDArray[np.int_], what: str
) -> EditedRuns:
    """Sweep A sets of up to k features; an arm writes the values of its members and nothing else.

    Parameters
    ----------
    numbers : ndarray (K,) of int
        Features of the bench.
    values : ndarray (K, P), or (K, P, T)
    slots : ndarray (A, k) of int
        Members of every set, as positions among the K; -1 where a set has fewer than k.
    what : str
        Words of the progress bar and name of the shards.
    """
    arms = max(1, CHUNK // max(1, slots.shape[1] * int(np.prod(values.shape[1:]))))
    parts = []
    for i, a in enumerate(range(0, len(slots), arms)):
        chosen = slots[a : a + arms]
        features = np.where(chosen >= 0, numbers[chosen], -1)
        # Every chunk has its own name: sampled outcomes draw from a stream named after it.
        parts.append(bench.sweep(features, values[chosen], what if i == 0 else f"{what} {i + 1}"))
    joined = [np.concatenate([getattr(p, n) for p in parts]) for n in ("outcome", "read_back", "leakage")]
    return EditedRuns(*joined)


def slots_of(members: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Positions (A, k) of the members of every set, -1 behind them, from a table (A, K) of bool."""
    size = max(1, int(members.sum(axis=1).max(initial=1)))
    order = np.argsort(~members, axis=1, kind="stable")[:, :size]
    return np.where(np.take_along_axis(members, order, axis=1), order, -1)
