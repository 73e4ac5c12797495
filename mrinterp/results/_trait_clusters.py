"""Groups of traits that share one cause in a locus."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mrinterp.core.storage import FORMAT_VERSION, read_header, whole_folder, write_json

__all__ = ["TraitCluster", "TraitClusters"]


@dataclass(frozen=True)
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
            return f"{self.dropped} shares its cause with none of the others."
        return (
            f"{', '.join(self.traits)} share a cause (posterior {self.posterior:.3g}); the likeliest is"
            f" {self.candidate} ({self.explained:.3g} of it)."
        )


@dataclass(frozen=True)
class TraitClusters:
    """Clusters in the order in which they were found."""

    traits: tuple[str, ...]
    instruments: tuple[str, ...]
    clusters: tuple[TraitCluster, ...]
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
        return "\n".join(str(c) for c in self.clusters) or "no traits share a cause."

    def save(self, folder: Path) -> None:
        """Write into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            header = {"kind": "trait clusters", "format_version": FORMAT_VERSION, **asdict(self)}
            write_json(partial / "trait_clusters.json", header)

    @classmethod
    def load(cls, folder: Path) -> TraitClusters:
        """Reopen what `save` wrote."""
        header = read_header(Path(folder) / "trait_clusters.json", "trait clusters")
        clusters = tuple(
            TraitCluster(
                **{
                    **c,
                    "traits": tuple(c["traits"]),
                    "instrument_posterior": tuple(c["instrument_posterior"]),
                }
            )
            for c in header["clusters"]
        )
        return cls(
            tuple(header["traits"]),
            tuple(header["instruments"]),
            clusters,
            header["reference"],
            header["meta"],
        )
