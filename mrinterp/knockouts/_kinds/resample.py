"""Resampling: the value that a feature has on other inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_count, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets
from mrinterp.knockouts._token_groups import TokenGroups, groups_by
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["Resample"]

Rows = NDArray[np.int_]

PAIRS = 4_000_000
"""Pairs of input and possible donor held at a time."""


@dataclass(frozen=True)
class Resample(Kind):
    """Every input's value set to the one that donors have: other inputs, of other families.

    Parameters
    ----------
    donors : int
        Donors per input, drawn without replacement; one swap each.
    seed : int
        Of the draw of donors.
    by : {"position", "class", "all"}, optional
        Where every token has a value of its own: it takes that of the donor's token at the same position
        (donors are at least as long), or of the donor's token of the same class, counted within the class (the
        last one where the donor has fewer). Default: class where inputs have classes, else position.

    Notes
    -----
    Source: Chan et al. 2022, causal scrubbing.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Resample(donors=2), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "resample"
    donors: int = 4
    seed: int = 0
    by: str | None = None

    def __post_init__(self) -> None:
        checked_count(self.donors, "donors")
        checked_seed(self.seed)

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
        return self.drawn(bench)

    def drawn(self, bench: Bench, apart: NDArray[Any] | None = None) -> Targets:
        """The donors' clean values; with ``apart`` (P,), such as splits, of donors with the input's own label alone."""
        groups = groups_by(bench, self.by)
        label = np.zeros(bench.prompts, dtype=int) if apart is None else families_of(np.asarray(apart))[0]
        places = None if groups is None else _counts(groups) > 0
        donor = self._draw(families_of(bench.family)[0], places, label)
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

    def _draw(self, family: Rows, places: NDArray[np.bool_] | None, label: Rows) -> Rows:
        """Donors (P, S) of every input, among those of other families and its own label that have all its places (P, K)."""
        P = len(family)
        rng, count, donor = np.random.default_rng([self.seed, P]), np.zeros(P, dtype=int), []
        step = max(1, PAIRS // P)
        for a in range(0, P, step):
            rows = slice(a, a + step)
            may = (family[rows, None] != family) & (label[rows, None] == label)
            if places is not None:
                lacking = places[rows].astype(np.float32) @ (~places).T.astype(np.float32)
                may &= lacking == 0
            count[rows] = may.sum(axis=1)
            # The smallest keys of a uniform draw are a draw without replacement, many inputs at once.
            key = np.where(may, rng.random(may.shape), np.inf)
            donor.append(np.argsort(key, axis=1, kind="stable")[:, : self.donors])
        self._refuse_few(count)
        return np.concatenate(donor)

    def _refuse_few(self, count: Rows) -> None:
        few = np.flatnonzero(count < max(self.donors, 2))
        if not len(few):
            return
        row = int(few[0])
        words = "a donor set of one" if count[row] == 1 else f"{count[row]} donors"
        if count[row] < 2:
            fix = "Give inputs of at least 3 families that have the same places, or use a clamp"
        else:
            fix = f"Ask for donors={int(count.min())} or fewer"
        raise InputError(
            f"resample, prompt {row}", f"{words} of other families for {self.donors} wanted", fix
        )


def _counts(groups: TokenGroups) -> Rows:
    return np.stack([(groups.code == k).sum(axis=1) for k in range(len(groups.names))], axis=1)


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
