"""Groups of traits that share one cause in a locus."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

import pandas as pd

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Parts, Result
from mrinterp.results._sentences import first_lines

__all__ = ["TraitCluster", "TraitClusters"]


@dataclass(frozen=True, kw_only=True)
class TraitCluster:
    """Traits that share a cause.

    Parameters
    ----------
    traits : tuple of str
    posterior : float
        Posterior probability that all of them share one cause; ``regional`` that all have a cause here,
        ``alignment`` that the causes are one.
    candidate : str
        Likeliest cause, which explains ``explained`` of the posterior.
    instrument_posterior : tuple of float
        Posterior of each instrument being the shared cause.
    dropped : str
        Trait that was set aside when no cluster was left with it (then ``traits`` is empty).
    regional : float
        Posterior that all of them have a cause in the locus; for a trait that was set aside, the last one tested
        with it: whether it and its last partner both have a cause here.
    alignment : float
        Posterior that these causes are one.
    explained : float
        Share of the posterior that the candidate explains.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("TraitClusters").clusters[0]
    >>> one.candidate
    'instrument 0'
    """

    traits: tuple[str, ...]
    posterior: float
    regional: float
    alignment: float
    candidate: str
    explained: float
    instrument_posterior: tuple[float, ...] = ()
    dropped: str = ""

    def __str__(self) -> str:
        if not self.traits:
            return (
                f"{self.dropped} shares its cause with none of the others (regional probability with the last"
                f" of them {self.regional:.3g})."
            )
        return (
            f"{listed(self.traits, 8)} share a cause (posterior {self.posterior:.3g}); the likeliest is"
            f" {self.candidate} ({self.explained:.3g} of it)."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TraitClusters(Result):
    """Clusters in the order in which they were found.

    Parameters
    ----------
    traits : tuple of str
        All traits, clustered or not.
    instruments : tuple of str
        Instruments of the locus.
    clusters : tuple of TraitCluster
        In the order in which they were found; those without traits name one that was set aside.
    reference : str
        The paper that the method comes from.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("TraitClusters").summary)
    trait clusters: 3 traits, 4 instruments
    """

    KIND: ClassVar[str] = "trait clusters"
    HEADER: ClassVar[str] = "trait_clusters.json"

    traits: Annotated[tuple[str, ...], Axis("T")]
    instruments: Annotated[tuple[str, ...], Axis("J")]
    clusters: Annotated[tuple[TraitCluster, ...], Parts(TraitCluster)]
    reference: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row per cluster or dropped trait."""
        rows = []
        for number, c in enumerate(self.clusters, start=1):
            row = asdict(c)
            del row["instrument_posterior"]
            row["traits"] = ", ".join(c.traits)
            rows.append({"iteration": number, **row})
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        return first_lines(self.clusters, len(self.clusters)) or "no traits share a cause."
