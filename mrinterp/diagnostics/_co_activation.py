"""Co-activation map: which of very many features the same instruments move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from mrinterp.core.checks import checked_count, checked_fraction, checked_seed, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.results._co_activation_map import CoActivationMap

__all__ = ["co_activation_map"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

BLOCK = 4096
"""Features that are worked on at once."""

EXACT = 1500
"""Features up to which every pair is compared; beyond it, the middles of this many small clusters are."""

WIDEST = 512
"""Longest profile that is used as it is; longer ones are projected on half as many random directions."""

FEW_INSTRUMENTS = 10
"""Instruments of a panel below which profiles are the runs themselves."""


def co_activation_map(
    data: Panel | MRData | SumStats, *, alike: float = 0.7, components: int = 40, seed: int = 0
) -> CoActivationMap:
    """Put features into clusters of those that the same instruments move in the same proportions.

    Parameters
    ----------
    data : Panel, MRData or SumStats
        F features, up to some 10^5, and J instruments (of a panel with fewer than 10: its runs).
    alike : float
        Cosine of two clusters' profiles, whatever its sign, from which on they are one (average linkage).
    components : int
        Principal directions of the profiles that are kept.
    seed : int
        Of the small clusters and of random projections.

    Returns
    -------
    CoActivationMap
        Features that no instrument moves beyond chance (p .001 of the sum of squared z-scores) are in no cluster.

    Raises
    ------
    InputError
        For data of another type, or fewer than two features.

    Notes
    -----
    Profiles (z-scores of a feature's instruments, length 1) are reduced in blocks of 4,096. Up to 1,500 features every
    pair is compared; of more, small clusters are found by k-means on batches, and these are joined. The map is there to
    find one's way: whose effect a feature shows is what `borrowed_effects` says. Not valid where features are hardly
    moved: profiles of noise are alike by chance when instruments are few.

    Source: k-means on batches: Sculley 2010, 10.1145/1772690.1772862 (scikit-learn).

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.diagnostics.co_activation_map(mrinterp.worlds.linear_world(0).panel)
    >>> sorted(found.company("cause"))
    ['copy', 'twin']
    """
    checked_type(data, "data", (Panel, MRData, SumStats), "Give runs or the effects of instruments")
    alike = checked_fraction(alike, "alike")
    components, seed = checked_count(components, "components"), checked_seed(seed)
    profiles = _Profiles.of(data, seed)
    F = len(profiles.features)
    if F < 2:
        raise InputError("data", f"{F} feature", "Give at least 2")
    reduced, strength = _reduced(profiles, components)
    moved = np.flatnonzero(strength > profiles.least)
    label = np.full(F, -1)
    if len(moved):
        label[moved] = _clusters(reduced[moved], alike, seed)
    label = _by_size(label)
    centers, similarity = _middles(reduced, label)
    leads = _leads(label, similarity)
    return CoActivationMap(
        features=profiles.features,
        leads=tuple(profiles.features[f] for f in leads),
        cluster=label,
        similarity=similarity,
        strength=strength,
        centers=centers,
        meta={"profile": profiles.kind, "alike": alike, "components": reduced.shape[1], "seed": seed},
    )


@dataclass(frozen=True, eq=False)
class _Profiles:
    """Profiles (F, J), read a block at a time; ``least`` is the mean square from which on a feature is moved."""

    features: tuple[str, ...]
    beta: NDArray
    se: NDArray | None
    kind: str
    least: float
    projection: Array | None

    @classmethod
    def of(cls, data: Panel | MRData | SumStats, seed: int) -> _Profiles:
        if isinstance(data, Panel):
            change = data.changes()
            real = ~data.instruments["placebo"].to_numpy(dtype=bool)
            doses = change.doses[:, real]
            doses = doses[:, (doses != 0).any(axis=0)]
            if doses.shape[1] >= FEW_INSTRUMENTS:
                size = np.sqrt((change.features**2).sum(axis=0)) + 1e-300
                z = (doses / np.sqrt((doses**2).sum(axis=0))).T @ (change.features / size)
                return cls.made(data.feature_names, z.T * np.sqrt(len(doses)), None, "instruments", seed)
            return cls.made(data.feature_names, change.features.T, None, "runs", seed)
        if isinstance(data, MRData):
            return cls.made(data.exposures, data.beta_x, data.se_x, "instruments", seed)
        rows = (data.traits["role"] == "feature").to_numpy()
        names = tuple(str(n) for n in data.traits["trait"].to_numpy()[rows])
        if rows[: rows.sum()].all():  # features come first: a slice reads no file before it is needed
            beta, se = data.beta[: rows.sum()], data.se[: rows.sum()]
        else:
            beta, se = data.beta[rows], data.se[rows]
        placebo = data.instruments["placebo"].to_numpy(dtype=bool)
        return cls.made(
            names, beta, np.where(placebo, np.inf, 1.0) * se if placebo.any() else se, "instruments", seed
        )

    @classmethod
    def made(
        cls, features: tuple[str, ...], beta: NDArray, se: NDArray | None, kind: str, seed: int
    ) -> _Profiles:
        J = beta.shape[1]
        least = float(stats.chi2.isf(1e-3, J) / J) if kind == "instruments" else 0.0
        projection = None
        if J > WIDEST:
            projection = np.random.default_rng(seed).standard_normal((J, WIDEST // 2)) / np.sqrt(WIDEST // 2)
        return cls(features, beta, se, kind, least, projection)

    def blocks(self) -> Iterator[tuple[slice, Array, Array]]:
        """Rows, their profiles of length 1, and their strengths."""
        for first in range(0, len(self.features), BLOCK):
            rows = slice(first, min(first + BLOCK, len(self.features)))
            z = np.asarray(self.beta[rows], dtype=float)
            if self.se is not None:
                se = np.asarray(self.se[rows], dtype=float)
                z = np.divide(z, se, out=np.zeros_like(z), where=se > 0)
            z = np.nan_to_num(z)
            strength = (z**2).mean(axis=1)
            if self.projection is not None:
                z = z @ self.projection
            length = np.linalg.norm(z, axis=1, keepdims=True)
            yield rows, z / np.where(length > 0, length, 1.0), strength


def _reduced(profiles: _Profiles, components: int) -> tuple[Array, Array]:
    """Profiles of length 1 in their principal directions (F, D), and strengths (F,)."""
    gram: Array | float = 0.0
    strength = np.empty(len(profiles.features))
    for rows, unit, size in profiles.blocks():
        strength[rows] = size
        moved = unit[size > profiles.least]
        gram = gram + moved.T @ moved
    values, vectors = np.linalg.eigh(np.asarray(gram))
    keep = vectors[:, np.argsort(-values)[:components]]
    reduced = np.concatenate([unit @ keep for _, unit, _ in profiles.blocks()])
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    reduced = reduced / np.where(length > 0, length, 1.0)
    # a profile and its opposite are the same company: the largest coordinate is made positive
    largest = np.take_along_axis(reduced, np.abs(reduced).argmax(axis=1)[:, None], axis=1)
    return reduced * np.where(largest < 0, -1.0, 1.0), strength


def _clusters(unit: Array, alike: float, seed: int) -> Ints:
    """Cluster of every profile: average linkage of profiles, or of the middles of small clusters of them."""
    small = np.arange(len(unit))
    middles = unit
    if len(unit) > EXACT:
        from sklearn.cluster import MiniBatchKMeans

        found = MiniBatchKMeans(
            EXACT // 3, random_state=seed, batch_size=BLOCK, n_init=1, max_iter=20, reassignment_ratio=0.0
        )
        small = found.fit_predict(unit)
        used, small = np.unique(small, return_inverse=True)
        middles = found.cluster_centers_[used]
        middles = middles / np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-300)
    if len(middles) < 2:
        return np.zeros(len(unit), int)
    far = 1.0 - np.minimum(np.abs(middles @ middles.T), 1.0)
    np.fill_diagonal(far, 0.0)
    tree = linkage(squareform(far, checks=False), method="average")
    return np.asarray(fcluster(tree, 1.0 - alike, criterion="distance")[small])


def _by_size(label: Ints) -> Ints:
    """Clusters numbered from 0, the largest first; -1 stays."""
    values, place, count = np.unique(label[label >= 0], return_inverse=True, return_counts=True)
    rank = np.empty(len(values), int)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(values))
    out = np.full(len(label), -1)
    out[label >= 0] = rank[place]
    return out


def _middles(unit: Array, label: Ints) -> tuple[Array, Array]:
    """Middle of every cluster (K, D), whatever the signs of its members, and every member's cosine with it (F,)."""
    K = int(label.max(initial=-1)) + 1
    similarity = np.full(len(label), np.nan)
    inside = np.flatnonzero(label >= 0)
    first = np.zeros(K, int)
    first[label[inside][::-1]] = inside[::-1]
    centers = unit[first] if K else np.zeros((0, unit.shape[1]))
    for _ in range(3):  # signs of members against the middle, then the middle of the signed members
        along = np.einsum("fd,fd->f", unit[inside], centers[label[inside]])
        centers = np.zeros_like(centers)
        np.add.at(centers, label[inside], unit[inside] * np.sign(along)[:, None])
        centers /= np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-300)
    similarity[inside] = np.abs(np.einsum("fd,fd->f", unit[inside], centers[label[inside]]))
    return centers, similarity


def _leads(label: Ints, similarity: Array) -> Ints:
    """The member nearest to the middle of every cluster (K,)."""
    order = np.lexsort((np.arange(len(label)), -np.nan_to_num(similarity, nan=-1.0), label))
    values, first = np.unique(label[order], return_index=True)
    return np.asarray(order[first[values >= 0]])
