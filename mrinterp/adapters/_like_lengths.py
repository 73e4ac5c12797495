"""Runs of like length together, so that each goes through the network with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LikeLengths", "blocks_of"]

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class LikeLengths:
    """Groups of rows of like length. A row's length is its group's, whatever it shares a block with: bits depend on it.

    Parameters
    ----------
    groups : tuple of ndarray of int
        Rows of each group in ascending order; the groups by length.
    length : ndarray (N,) of int
        Tokens that each row is run with: as many as the longest of its group has.
    """

    groups: tuple[Rows, ...]
    length: Rows

    @classmethod
    def of(cls, lengths: Rows, least: int) -> LikeLengths:
        """Groups of at least ``least`` rows (all rows, where there are fewer), rows of one length never parted.

        Parameters
        ----------
        lengths : ndarray (N,) of int
            Tokens that each row has.
        """
        distinct, counts = np.unique(lengths, return_counts=True)
        starts, gathered = [0], 0
        for i, count in enumerate(counts[:-1].tolist()):
            gathered += count
            if gathered >= least and counts[i + 1 :].sum() >= least:
                starts.append(i + 1)
                gathered = 0
        longest = np.append(distinct[np.array(starts[1:], dtype=int) - 1], distinct[-1:])
        group = np.searchsorted(longest, lengths)
        return cls(tuple(np.flatnonzero(group == g) for g in range(len(longest))), longest[group])

    def repeated(self, times: int) -> tuple[Rows, ...]:
        """The groups of ``times`` x N runs, run ``t * N + row`` by number: one repetition of a group after the other."""
        step = np.arange(times)[:, None] * len(self.length)
        return tuple((step + rows).ravel() for rows in self.groups)

    def restored(self, parts: Sequence[NDArray]) -> NDArray:
        """Arrays of the groups' rows, one block after the other, in the order of the rows."""
        return np.concatenate(parts)[np.argsort(np.concatenate(self.groups))]

    def blocks(self, block: int) -> Iterator[Rows]:
        """Rows of every block: no more than ``block`` of them, of one group."""
        return blocks_of(self.groups, block)


def blocks_of(groups: Sequence[Rows], block: int) -> Iterator[Rows]:
    """The groups, cut into blocks of at most ``block`` rows."""
    for rows in groups:
        for a in range(0, len(rows), block):
            yield rows[a : a + block]
