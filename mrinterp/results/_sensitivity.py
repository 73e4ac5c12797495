"""How much that is not measured it takes to bring claims down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["Sensitivity"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sensitivity(Result):
    """One number per claim and kind of failure; 0: the interval touches the region already; nan: does not apply.

    Parameters
    ----------
    exposures, outcomes : tuple of str
    beta, distance : ndarray (F, O)
        The estimate, and how far its interval's near end lies from the region of practical equivalence.
    robustness : ndarray (F, O)
        Partial R^2, with exposure and outcome, of a confounder that brings the near end to the region.
    directional, balanced : ndarray (F, O)
        Mean, and standard deviation, of pleiotropic effects that do, in outcome units per instrument.
    breakdown : ndarray (F, O)
        Smallest share of instruments whose removal does.
    e_value : ndarray (F, O)
        E-value of the near end, for ratios.
    rope : ndarray (O,)
        Half widths of the region.
    meta : dict
        Method and level of the estimates.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Sensitivity").summary)
    sensitivity: 3 exposures, 2 outcomes
    """

    KIND: ClassVar[str] = "sensitivity"

    exposures: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    beta: Annotated[Array, Shape("F", "O")]
    distance: Annotated[Array, Shape("F", "O")]
    robustness: Annotated[Array, Shape("F", "O")]
    directional: Annotated[Array, Shape("F", "O")]
    balanced: Annotated[Array, Shape("F", "O")]
    breakdown: Annotated[Array, Shape("F", "O")]
    e_value: Annotated[Array, Shape("F", "O")]
    rope: Annotated[Array, Shape("O")]
    meta: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row per (exposure, outcome)."""
        F, O = self.beta.shape
        numbers = ("beta", "distance", "robustness", "directional", "balanced", "breakdown", "e_value")
        return pd.DataFrame(
            {
                "exposure": np.repeat(np.array(self.exposures, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), F),
                **{name: getattr(self, name).ravel() for name in numbers},
                "rope": np.tile(self.rope, F),
            }
        )

    def sentence(self, exposure: str, outcome: str) -> str:
        """One claim in words."""
        f, o = self._at((exposure, outcome), self.exposures, self.outcomes)
        text = f"{exposure} on {outcome}"
        if not np.isfinite(self.distance[f, o]):
            return f"{text}: no interval."
        if self.distance[f, o] == 0:
            return f"{text}: the interval touches the region of practical equivalence as it is."
        words = {
            "robustness": "an unmeasured feature that explains {:.1%} of what is left of it and of the outcome",
            "directional": "pleiotropy of {:.3g} on average per instrument, all towards the claim",
            "balanced": "balanced pleiotropy of sd {:.3g}",
            "breakdown": "taking {:.0%} of the instruments out",
            "e_value": "a confounder of E-value {:.3g}",
        }
        known = [
            w.format(getattr(self, n)[f, o]) for n, w in words.items() if np.isfinite(getattr(self, n)[f, o])
        ]
        return f"{text}: the interval would reach the region of practical equivalence by {'; by '.join(known) or 'nothing known'}."

    def __str__(self) -> str:
        cells = (self.sentence(x, y) for y in self.outcomes for x in self.exposures)
        return first_lines(cells, self.beta.size)
