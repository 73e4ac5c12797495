"""Resampling: the value that a feature has on other inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.kinds.kind import Kind, Targets
from mrinterp.knockouts.natural import clean_values
from mrinterp.knockouts.token_groups import TokenGroups, token_groups

__all__ = ["Resample"]

Rows = NDArray[np.int_]


@dataclass(frozen=True)
class Resample(Kind):
    """Every input's value set to the one that donors have: other inputs, of other families.

    Parameters
    ----------
    donors : int
        Donors per input, drawn without replacement; one swap each.
    seed : int
    by : {"position", "class"}, optional
        Where every token has a value of its own: it takes that of the donor's token at the same position
        (donors are at least as long), or of the donor's token of the same class, counted within the class (the
        last one where the donor has fewer). Default: class where inputs have classes, else position.

    Source: Chan et al. 2022, causal scrubbing.
    """

    name: ClassVar[str] = "resample"
    donors: int = 4
    seed: int = 0
    by: str | None = None

    @property
    def signs(self) -> tuple[float, ...]:
        """One per donor."""
        return (1.0,) * self.donors

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return f"value of {self.donors} donor inputs of other families"

    def targets(self, bench: Bench) -> Targets:
        """The donors' clean values."""
        if self.donors < 1:
            raise InputError("donors", f"{self.donors}", "Give at least one")
        may = bench.family[:, None] != bench.family[None, :]
        groups = None
        if bench.each:
            groups = token_groups(bench.inputs, self.by)
            may &= _has_all_places(groups)
        donor = self._draw(may)
        if groups is None:
            return lambda features: np.moveaxis(clean_values(bench, features)[:, donor], 2, 1)
        place = [_places(groups, donor[:, s]) for s in range(self.donors)]

        def of(features: np.ndarray) -> np.ndarray:
            clean = clean_values(bench, features)
            taken = [
                np.where(groups.code >= 0, clean[:, donor[:, s][:, None], place[s]], np.nan)
                for s in range(self.donors)
            ]
            return np.stack(taken, axis=1)

        return of

    def _draw(self, may: NDArray[np.bool_]) -> Rows:
        """Donors (P, S) of every input, among those it may take."""
        count = may.sum(axis=1)
        short = np.flatnonzero(count < max(self.donors, 2))
        if len(short):
            row = int(short[0])
            words = "a donor set of one" if count[row] == 1 else f"{count[row]} donors"
            if count[row] < 2:
                fix = "Give inputs of at least 3 families that have the same places, or use a clamp"
            else:
                fix = f"Ask for donors={int(count.min())} or fewer"
            raise InputError(
                f"resample, prompt {row}", f"{words} of other families for {self.donors} wanted", fix
            )
        # The smallest keys of a uniform draw are a draw without replacement, all inputs at once.
        key = np.random.default_rng([self.seed, len(may)]).random(may.shape)
        return np.argsort(np.where(may, key, np.inf), axis=1, kind="stable")[:, : self.donors]


def _counts(groups: TokenGroups) -> Rows:
    return np.stack([(groups.code == k).sum(axis=1) for k in range(len(groups.names))], axis=1)


def _has_all_places(groups: TokenGroups) -> NDArray[np.bool_]:
    """Whether donor q (columns) has every place that input p (rows) has."""
    count = _counts(groups) > 0
    return np.asarray(~(count[:, None, :] & ~count[None, :, :]).any(axis=2))


def _places(groups: TokenGroups, donor: Rows) -> Rows:
    """Token of the donor that stands where each token of an input stands, (P, T); 0 on padding."""
    P, T = groups.code.shape
    K = len(groups.names)
    count = _counts(groups)
    table = np.zeros((P, K, max(int(count.max()), 1)), dtype=int)
    p, t = np.nonzero(groups.code >= 0)
    table[p, groups.code[p, t], groups.rank[p, t]] = t
    out = np.zeros((P, T), dtype=int)
    k = groups.code[p, t]
    rank = np.minimum(groups.rank[p, t], count[donor[p], k] - 1)
    out[p, t] = table[donor[p], k, rank]
    return out
