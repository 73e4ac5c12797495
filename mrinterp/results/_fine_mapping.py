"""Fine-mapping: which instruments carry a trait's signal, as sets and probabilities."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.results._result import Axis, Parts, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["CredibleSet", "FineMapping"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CredibleSet:
    """The smallest set of instruments that holds one cause with the stated probability.

    Parameters
    ----------
    trait : str
    members : tuple of str
        Names, in the order of the table; ``positions`` are their rows from 0.
    effect : int
        Which single effect, from 0.
    coverage : float
        Posterior probability that the set holds the cause.
    min_abs_corr, mean_abs_corr : float
        Purity: smallest and mean absolute correlation between members.
    log_bf : float
        Log Bayes factor of the effect against none.
    positions : tuple of int
        Rows of the members in the table, from 0.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("FineMapping")["trait 0"][0]
    >>> one.members
    ('instrument 0', 'instrument 1')
    """

    trait: str
    members: tuple[str, ...]
    positions: tuple[int, ...]
    effect: int
    coverage: float
    min_abs_corr: float
    mean_abs_corr: float
    log_bf: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON (``rows`` counts from 1)."""
        out = asdict(self)
        out["rows"] = [p + 1 for p in out.pop("positions")]
        out["purity"] = self.min_abs_corr
        return out

    def __str__(self) -> str:
        names = ", ".join(self.members[:8]) + (
            f" and {len(self.members) - 8} more" if len(self.members) > 8 else ""
        )
        what = "the cause" if len(self.members) > 1 else "the one candidate"
        return (
            f"{self.trait}: with probability {self.coverage:.3g} {what} is among {{{names}}}"
            f" (smallest correlation {self.min_abs_corr:.2f})."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FineMapping(Result):
    """Sum-of-single-effects fits of T traits on the same J instruments.

    Parameters
    ----------
    traits, instruments : tuple of str
        Names.
    pip : ndarray (T, J)
        Posterior inclusion probability.
    alpha : ndarray (T, L, J)
        Posterior weights of each single effect.
    coef : ndarray (T, J)
        Posterior mean effect (standardized or original scale, see ``meta["scale"]``).
    log_bf_variable : ndarray (T, L, J)
        Log Bayes factor of each instrument in each effect.
    prior_variance, log_bf : ndarray (T, L)
        Of each effect; a prior variance of 0 means that the effect is absent.
    sigma2, elbo, n_iterations, converged : ndarray (T,)
    inconsistency : ndarray (T,)
        Share of the identity the correlation matrix would need (near 0: it fits the z-scores); nan
        for individual data.
    z : ndarray (T, J)
        Marginal z-scores.
    sets : tuple (T) of tuple of CredibleSet
        Empty for a trait whose fit did not converge, or whose z-scores contradict the LD.
    status : tuple (T) of str
        ``"ok"``, or what keeps the fit from being trusted.
    assumes : tuple of str
        What the numbers are conditional on.
    reference : str
        The paper that the method comes from.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("FineMapping").summary)
    3 credible sets for 3 traits over 4 instruments
    """

    KIND: ClassVar[str] = "fine mapping"
    HEADER: ClassVar[str] = "finemap.json"
    TABLE: ClassVar[str | None] = "pip.parquet"

    traits: Annotated[tuple[str, ...], Axis("T")]
    instruments: Annotated[tuple[str, ...], Axis("J")]
    pip: Annotated[Array, Shape("T", "J")]
    alpha: Annotated[Array, Shape("T", "L", "J")]
    coef: Annotated[Array, Shape("T", "J")]
    log_bf_variable: Annotated[Array, Shape("T", "L", "J")]
    prior_variance: Annotated[Array, Shape("T", "L")]
    log_bf: Annotated[Array, Shape("T", "L")]
    sigma2: Annotated[Array, Shape("T")]
    elbo: Annotated[Array, Shape("T")]
    n_iterations: Annotated[NDArray[np.int_], Shape("T")]
    converged: Annotated[NDArray[np.bool_], Shape("T")]
    inconsistency: Annotated[Array, Shape("T")]
    z: Annotated[Array, Shape("T", "J")]
    sets: Annotated[tuple[tuple[CredibleSet, ...], ...], Parts(CredibleSet, "T")]
    status: Annotated[tuple[str, ...], Axis("T", fill="ok")]
    assumes: tuple[str, ...] = ()
    reference: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def position(self, trait: str) -> int:
        """Row of a trait."""
        if trait not in self.traits:
            raise InputError(
                f"fine_mapping[{trait!r}]",
                "no such trait",
                near_misses(trait, self.traits) or f"Known: {list(self.traits)[:8]}",
            )
        return self.traits.index(trait)

    def __getitem__(self, trait: str) -> tuple[CredibleSet, ...]:
        """Credible sets of a trait, purest first."""
        return self.sets[self.position(trait)]

    def to_frame(self) -> pd.DataFrame:
        """One row per (trait, instrument): z, inclusion probability, effect, credible set (0 for none)."""
        T, J = self.pip.shape
        member = np.zeros((T, J), dtype=int)
        for t, sets in enumerate(self.sets):
            for number, found in enumerate(sets, start=1):
                member[t, list(found.positions)] = number
        return pd.DataFrame(
            {
                "trait": np.repeat(np.array(self.traits, dtype=object), J),
                "instrument": np.tile(np.array(self.instruments, dtype=object), T),
                "z": self.z.ravel(),
                "pip": self.pip.ravel(),
                "coef": self.coef.ravel(),
                "credible_set": member.ravel(),
            }
        )

    def sets_frame(self) -> pd.DataFrame:
        """One row per credible set."""
        rows = [
            {
                "trait": s.trait,
                "credible_set": number,
                "size": len(s.members),
                "coverage": s.coverage,
                "min_abs_corr": s.min_abs_corr,
                "mean_abs_corr": s.mean_abs_corr,
                "log_bf": s.log_bf,
                "members": " ".join(s.members),
            }
            for sets in self.sets
            for number, s in enumerate(sets, start=1)
        ]
        columns = [
            "trait",
            "credible_set",
            "size",
            "coverage",
            "min_abs_corr",
            "mean_abs_corr",
            "log_bf",
            "members",
        ]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self, trait: str) -> dict[str, Any]:
        """Plain dictionary of one trait for JSON."""
        t = self.position(trait)
        present = self.prior_variance[t] > 0.0
        return {
            "trait": trait,
            "status": self.status[t],
            "converged": bool(self.converged[t]),
            "n_iterations": int(self.n_iterations[t]),
            "elbo": float(self.elbo[t]),
            "sigma2": float(self.sigma2[t]),
            "prior_variance": self.prior_variance[t].tolist(),
            "n_effects": int(present.sum()),
            "log_bf": self.log_bf[t].tolist(),
            "snp": list(self.instruments),
            "pip": self.pip[t].tolist(),
            "coef": self.coef[t].tolist(),
            "credible_sets": [s.to_dict() for s in self.sets[t]],
            "ld_inconsistency": float(self.inconsistency[t]),
            "ld_outliers": self.meta.get("ld_outliers", {}).get(trait, []),
            "assumes": list(self.assumes),
            "reference": self.reference,
        }

    def __str__(self) -> str:
        found = [str(s) for sets in self.sets for s in sets]
        notes = [f"{t}: {s}" for t, s in zip(self.traits, self.status, strict=True) if s != "ok"]
        return first_lines([*notes, f"{self.summary}.", *found], 1 + len(found) + len(notes))

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        count = sum(len(s) for s in self.sets)
        sets = "1 credible set" if count == 1 else f"{count} credible sets"
        traits = "1 trait" if len(self.traits) == 1 else f"{len(self.traits)} traits"
        return f"{sets} for {traits} over {len(self.instruments)} instruments"
