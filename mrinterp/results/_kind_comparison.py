"""Kinds of knockout side by side, and whether they agree: nothing is pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.stats.tests.tails import critical_value

__all__ = ["KindComparison"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KindComparison(Result):
    """Effects per unit of F features on O outcomes by K kinds of knockout.

    There is no pooled effect: kinds ask different questions, and where they differ the difference is the
    finding (curvature, dependence on position, values that inputs never show).

    Parameters
    ----------
    kinds, labels : tuple of str (K,)
    features, outcomes : tuple of str
    effect, se, df : ndarray (K, F, O)
    covariance : ndarray (F, O, K, K)
        Of the kinds' effects; those of one bench share inputs, so its off-diagonal is not zero.
    noise_floor : ndarray (K, F, O)
        Outcome change below which an effect is not measurable, per unit of the feature: the runs' noise
        floor over the root mean square change of the feature; nan where that is not known, and for a sampled
        outcome, whose noise is in the errors.
    q, q_df, q_neglog10p, i2 : ndarray (F, O)
        Test that all kinds have the same effect, and the share of their differences beyond error. ``paired``
        says which test.
    compared : ndarray (F, O)
        Kinds in that test: those with an effect.
    paired : bool
        True: same inputs, Wald's test with the covariance clustered by family. False: other families,
        Cochran's Q.
    families : int
        Behind the covariance.
    flags : ndarray (K, F) of str

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("KindComparison").summary)
    kinds of knockout: 3 kinds, 4 features, 2 outcomes
    """

    KIND: ClassVar[str] = "kinds of knockout"

    kinds: Annotated[tuple[str, ...], Axis("K")]
    labels: Annotated[tuple[str, ...], Axis("K", fill="")]
    features: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    effect: Annotated[Array, Shape("K", "F", "O")]
    se: Annotated[Array, Shape("K", "F", "O")]
    df: Annotated[Array, Shape("K", "F", "O", infinite=True)]
    covariance: Annotated[Array, Shape("F", "O", "K", "K")]
    noise_floor: Annotated[Array, Shape("K", "F", "O")]
    q: Annotated[Array, Shape("F", "O", infinite=True)]
    q_df: Annotated[Array, Shape("F", "O")]
    q_neglog10p: Annotated[Array, Shape("F", "O", infinite=True)]
    i2: Annotated[Array, Shape("F", "O")]
    compared: Annotated[Array, Shape("F", "O")]
    paired: bool
    families: int
    flags: Annotated[NDArray[np.object_], Shape("K", "F")]

    def __post_init__(self) -> None:
        if self.noise_floor.ndim == 2:  # as older versions wrote it: one floor for all outcomes
            floor = np.broadcast_to(self.noise_floor[:, :, None], self.effect.shape)
            object.__setattr__(self, "noise_floor", floor.copy())
        super().__post_init__()

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends (K, F, O) of every kind by itself."""
        half = critical_value(level, self.df) * self.se
        return self.effect - half, self.effect + half

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome, kind); the test's columns repeat over kinds."""
        K, F, O = self.effect.shape
        lower, upper = self.interval()

        def each(value: NDArray[Any]) -> NDArray[Any]:
            return np.broadcast_to(value, (K, F, O)).transpose(1, 2, 0).ravel()

        grid = np.indices((F, O, K)).reshape(3, -1)
        return pd.DataFrame(
            {
                "feature": np.array(self.features, dtype=object)[grid[0]],
                "outcome": np.array(self.outcomes, dtype=object)[grid[1]],
                "kind": np.array(self.kinds, dtype=object)[grid[2]],
                "effect": each(self.effect),
                "se": each(self.se),
                "ci_lower": each(lower),
                "ci_upper": each(upper),
                "noise_floor": each(self.noise_floor),
                "q": each(self.q),
                "q_df": each(self.q_df),
                "q_neglog10p": each(self.q_neglog10p),
                "i2": each(self.i2),
                "compared": each(self.compared),
                "flags": each(self.flags[:, :, None]),
            }
        )

    def __str__(self) -> str:
        F, O = self.q.shape
        test = "Wald, errors shared by the same inputs" if self.paired else "Cochran"
        differ = int((self.q_neglog10p > -np.log10(0.05)).sum())
        text = (
            f"{len(self.kinds)} kinds of knockout ({listed(self.kinds, 8)}) of {F} features on {O} outcomes:"
            f" they differ at p < .05 in {differ} of {int(np.isfinite(self.q_neglog10p).sum())} cells ({test})"
        )
        untested = int(((self.compared >= 2) & np.isnan(self.q_neglog10p)).sum())
        text += f"; {untested} not tested: too few families for so many kinds" if untested else ""
        known = np.isfinite(self.i2)
        if known.any():
            text += f"; median I2 {np.median(self.i2[known]):.2f}"
        flagged = int((self.flags != "").any(axis=0).sum())
        text += f"; {flagged} features are flagged under some kind" if flagged else ""
        return text + ". Effects are in outcome units per unit of the feature, not pooled."
