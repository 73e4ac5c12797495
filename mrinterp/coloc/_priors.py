"""Prior probabilities of colocalization: per instrument, or per hypothesis and then shared out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_fraction
from mrinterp.core.errors import InputError

__all__ = ["SHARE_GRID", "HypothesisPriors", "Priors", "p12_over_grid"]

SHARE_GRID: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Prior odds of one shared cause against two distinct ones, as pi4 / (pi3 + pi4)."""


@dataclass(frozen=True)
class Priors:
    """Prior of one instrument being causal for trait 1 only, trait 2 only, and both.

    They are relative to no cause at all, as in the R package coloc (Giambartolomei et al. 2014,
    doi:10.1371/journal.pgen.1004383); they do not shrink with the number of instruments.

    Parameters
    ----------
    p1, p2, p12 : float
        Prior probability that one instrument acts on trait 1 only, on trait 2 only, on both.

    Examples
    --------
    >>> from mrinterp import coloc
    >>> coloc.Priors(p12=5e-6).per_instrument(100)
    Priors(p1=0.0001, p2=0.0001, p12=5e-06)
    """

    p1: float = 1e-4
    p2: float = 1e-4
    p12: float = 1e-5

    def per_instrument(self, n: int) -> Priors:
        """These priors, after checking that over ``n`` instruments they do not sum beyond one.

        Raises
        ------
        InputError
            Where one is no probability, or they sum beyond one.
        """
        for name in ("p1", "p2", "p12"):
            checked_fraction(getattr(self, name), f"prior {name}", one=False)
        total = n * (self.p1 + self.p2 + self.p12) + n * (n - 1.0) * self.p1 * self.p2
        if total > 1.0:
            raise InputError(
                "priors p1, p2, p12",
                f"over {n} instruments the hypotheses H1 to H4 sum to {total:.3g}, beyond one",
                f"Lower them (p1 = p2 = {0.2 / n:.2g} leaves room), or give priors on the hypotheses",
            )
        return self


@dataclass(frozen=True)
class HypothesisPriors:
    """Priors on the hypotheses, shared out over however many candidates a locus has.

    Parameters
    ----------
    pi1, pi2 : float
        Prior that the locus moves trait 1 alone, trait 2 alone.
    share : float
        pi4 / (pi3 + pi4): given that it moves both, the prior of one shared cause.

    Examples
    --------
    >>> from mrinterp import coloc
    >>> round(coloc.HypothesisPriors().per_instrument(100).p1, 6)
    0.001
    """

    pi1: float = 0.1
    pi2: float = 0.1
    share: float = 0.5

    def per_instrument(self, n: int) -> Priors:
        """p1 = pi1 / n, p2 = pi2 / n, p12 = pi4 / n for a locus of ``n`` instruments."""
        checked_fraction(self.share, "prior share pi4 / (pi3 + pi4)", zero=False, one=False)
        p1, p2 = self.pi1 / n, self.pi2 / n
        p12 = float(p12_over_grid(n, p1, p2, np.array([self.share]))[0])
        return Priors(p1, p2, p12).per_instrument(n)


def p12_over_grid(n: int, p1: float, p2: float, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """p12 for which pi4 / (pi3 + pi4) takes each value of ``shares``, p1 and p2 held.

    A locus of one instrument cannot hold two distinct causes; the share is then taken against
    p1 p2 as if it had two.
    """
    pi3 = n * max(n - 1, 1) * p1 * p2
    return np.asarray(pi3 * shares / (1.0 - shares) / n)
