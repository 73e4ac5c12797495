"""Which features move together when inputs are perturbed: clusters to navigate many features by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Shape, _place

__all__ = ["CoActivationMap"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CoActivationMap(Result):
    """F features in K clusters of those that the same instruments move in the same proportions.

    Parameters
    ----------
    features : tuple of str
    leads : tuple of str
        The feature nearest to the middle of every cluster, the largest cluster first: its name.
    cluster : ndarray (F,) of int
        From 0; -1 for features that no instrument moves beyond chance.
    similarity : ndarray (F,)
        Cosine (without sign) of the feature's profile with the middle of its cluster.
    strength : ndarray (F,)
        Mean squared z-score over instruments (of runs: root mean square change).
    centers : ndarray (K, D)
        Middles of the clusters, of length 1, in D principal directions of the profiles.
    meta : dict
        ``profile`` (``instruments`` or ``runs``), ``alike``, seeds.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("CoActivationMap").summary)
    co-activation map: 3 features, 4 clusters
    """

    KIND: ClassVar[str] = "co-activation map"

    features: Annotated[tuple[str, ...], Axis("F")]
    leads: Annotated[tuple[str, ...], Axis("K", called="clusters")]
    cluster: Annotated[NDArray[np.int_], Shape("F")]
    similarity: Annotated[Array, Shape("F")]
    strength: Annotated[Array, Shape("F")]
    centers: Annotated[Array, Shape("K", "D")]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> NDArray[np.int_]:
        """Features in every cluster (K,)."""
        return np.bincount(self.cluster[self.cluster >= 0], minlength=len(self.leads))

    @property
    def cosines(self) -> Array:
        """How alike the middles of the clusters are (K, K), from 0 to 1."""
        return np.asarray(np.abs(self.centers @ self.centers.T))

    def company(self, feature: str) -> tuple[str, ...]:
        """The other features of a feature's cluster, those nearest to its middle first."""
        f = _place(f"company of {feature!r}", feature, self.features)
        if self.cluster[f] < 0:
            return ()
        inside = np.flatnonzero(self.cluster == self.cluster[f])
        inside = inside[np.argsort(-self.similarity[inside], kind="stable")]
        return tuple(self.features[i] for i in inside if i != f)

    def to_frame(self) -> pd.DataFrame:
        """One row per feature: ``feature, cluster, lead, similarity, strength``."""
        leads = np.array([*self.leads, ""], dtype=object)
        return pd.DataFrame(
            {
                "feature": self.features,
                "cluster": self.cluster,
                "lead": leads[self.cluster],
                "similarity": self.similarity,
                "strength": self.strength,
            }
        )

    def __str__(self) -> str:
        sizes = self.sizes
        several = int((sizes > 1).sum())
        largest = [f"{self.leads[k]} and {n - 1:,} others" for k, n in enumerate(sizes) if n > 1]
        text = f"{len(self.features):,} features: {several:,} clusters of features that move together"
        text += f" ({listed(largest)})" if largest else ""
        alone, still = int((sizes == 1).sum()), int((self.cluster < 0).sum())
        return f"{text}, {alone:,} that move on their own, {still:,} that nothing moves beyond chance."
