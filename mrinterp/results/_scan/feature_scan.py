"""What a scan of very many features found: the strongest pairs, and whether the p-values hold where nothing acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Rows, Shape

__all__ = ["FeatureScan"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FeatureScan(Result):
    """A scan of many features by J instruments: its strongest pairs and its calibration.

    The effects themselves lie in the scan's folder (`mrinterp.scan.ScanFolder` reads them).

    Parameters
    ----------
    instruments : tuple of str
    outcomes : tuple of str
    pairs : DataFrame
        ``feature, instrument, beta, se, neglog10p``, the strongest first.
    features : int
        Features that were scanned.
    changed : int
        Features that change in these runs beyond rounding.
    kept : int
        Pairs beyond the threshold in the folder; all pairs where there was none.
    threshold : float
        -log10 p from which pairs were kept; 0 where all were.
    expected : ndarray (Q,)
        Quantiles of -log10 p, rising, of as many pairs where nothing acts.
    observed : ndarray (Q,)
        Those of the pairs of features drawn for the calibration.
    permuted, permuted_lower, permuted_upper : ndarray (Q,)
        Median, 2.5% and 97.5% quantile over permutations of the doses within prompts; nan where there were none.
    inflation : ndarray (J,)
        Median of chi-square over that of theory, of each instrument's pairs: above 1 where it moves features.
    inflation_permuted : float
        The same under permutation, mean over instruments and permutations: 1 where errors are right.
    inflation_permuted_se : float
        Its error over permutations.
    sampled : int
        Features drawn for the calibration.
    draws : int
        Permutations.
    families, runs : int
    errors : str
        Kind of errors.
    folder : str
        Where the effects lie.
    meta : dict

    Notes
    -----
    An inflation above 1 is no alarm by itself: doses that move many features have it. The permuted one is what says
    whether errors are right; it is not valid where runs of a prompt cannot be exchanged.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("FeatureScan").summary)
    feature scan: 1,000 features by 3 instruments, 40 pairs kept
    """

    KIND: ClassVar[str] = "feature scan"

    instruments: Annotated[tuple[str, ...], Axis("J")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    pairs: Annotated[pd.DataFrame, Rows(columns=("feature", "instrument", "beta", "se", "neglog10p"))]
    features: int
    changed: int
    kept: int
    threshold: float
    expected: Annotated[Array, Shape("Q")]
    observed: Annotated[Array, Shape("Q")]
    permuted: Annotated[Array, Shape("Q")]
    permuted_lower: Annotated[Array, Shape("Q")]
    permuted_upper: Annotated[Array, Shape("Q")]
    inflation: Annotated[Array, Shape("J")]
    inflation_permuted: float
    inflation_permuted_se: float
    sampled: int
    draws: int
    families: int
    runs: int
    errors: str
    folder: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        return (
            f"{self.KIND}: {self.features:,} features by {len(self.instruments):,} instruments,"
            f" {self.kept:,} pairs kept"
        )

    def to_frame(self) -> pd.DataFrame:
        """The strongest pairs: ``feature, instrument, beta, se, neglog10p``."""
        return self.pairs.copy()

    def __str__(self) -> str:
        kept = (
            f"{self.kept:,} of {self.features * len(self.instruments):,} pairs have a p of at most"
            f" {10.0**-self.threshold:.2g}"
            if self.threshold
            else f"all {self.kept:,} pairs are kept"
        )
        said = (
            f"{self.features:,} features ({self.changed:,} change) by {len(self.instruments):,} instruments,"
            f" {self.runs:,} runs in {self.families:,} families, errors {self.errors}: {kept}."
        )
        if self.draws and np.isfinite(self.inflation_permuted):
            said += (
                f" Doses permuted within prompts: inflation {self.inflation_permuted:.3f}"
                f" (+- {1.96 * self.inflation_permuted_se:.3f}), 1 where errors are right."
            )
        return said
