"""Summary statistics ready for an estimator: the same instruments, in the same order, for every trait."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.array_checks import checked_array, checked_truths
from mrinterp.core.checks import checked_choice, checked_names, shown
from mrinterp.core.errors import InputError
from mrinterp.core.ld import alleles_of, validate_ld
from mrinterp.core.shown import Shown, listed

__all__ = ["MRData"]

Array = NDArray[np.float64]


def _distinct(names: Any, what: str) -> tuple[str, ...]:
    """Names as text, each once."""
    if isinstance(names, str) or not np.iterable(names):
        raise InputError(f"MRData {what}", shown(names), "Give a list of names")
    found = tuple(str(n) for n in names)
    if len(set(found)) < len(found):
        twice = next(n for i, n in enumerate(found) if n in found[:i])
        raise InputError(f"MRData {what}", f"{twice!r} appears twice", "Give distinct names")
    return found


def _check_correlation(ld: Array, instruments: tuple[str, ...]) -> None:
    """What is known of a correlation matrix must be one: 1 on the diagonal, and the same on both sides of it."""
    off = np.abs(np.diag(ld) - 1.0)
    if (off > 1e-3).any():
        j = int(np.nanargmax(off))
        found, fix = f"{ld[j, j]:g} instead of 1", "Give correlations, not covariances"
        raise InputError(f"MRData ld, diagonal of {instruments[j]!r}", found, fix)
    gap = np.abs(ld - ld.T)
    if (gap > 1e-5).any():
        i, k = divmod(int(np.nanargmax(gap)), len(ld))
        raise InputError(
            f"MRData ld, row {i + 1}, column {k + 1}",
            f"not symmetric: {ld[i, k]:g} against {ld[k, i]:g} across the diagonal",
            "Compute the correlation matrix again; a one-sided triangle must be mirrored",
        )


def _sizes(value: Any, name: str, count: int) -> Array:
    """Sample sizes, one per trait."""
    sizes = np.atleast_1d(checked_array(value, name, missing=True))
    if sizes.shape != (count,):
        raise InputError(name, f"shape {sizes.shape}", f"Give {count}, one per trait")
    if (sizes <= 0).any():
        raise InputError(name, f"{sizes[sizes <= 0][0]:g}", "Sample sizes are positive")
    return sizes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MRData(Shown):
    """Effects of J instruments on F exposures and O outcomes, with their standard errors.

    Parameters
    ----------
    beta_x, se_x : ndarray (F, J)
        Effects on the exposures per dose unit, and their standard errors.
    beta_y, se_y : ndarray (O, J)
        The same for the outcomes.
    exposures, outcomes, instruments : tuple of str
        Names.
    error_corr : ndarray (F + O, F + O), optional
        Correlation of the estimation errors of one instrument's effects, the same for all
        instruments; exposures first. None means independent (two samples without overlap).
    sigma : ndarray (J, F + O, F + O), optional
        Covariance of those errors, instrument by instrument; takes precedence.
    ld : ndarray (J, J) or DataFrame, optional
        Correlation between instruments; a data frame is aligned by its names. None means independent, or
        not known.
    design : str
        ``"between"`` (errors confounded by the prompts: correct for overlap) or ``"paired"``
        (within-prompt changes, whose shared errors are mostly causal: do not subtract them).
    n_x, n_y : ndarray (F,) and (O,), optional
        Sample sizes (clusters, for runs) per exposure and outcome.
    sigma_xy : ndarray (J, F, O), optional
        Covariance of the exposures' errors with the outcomes', where that among exposures was not kept.
    unmoved : ndarray (F, J) of bool, optional
        Instruments known not to move an exposure at all (effect 0 without error, ``se_x`` nan): no instruments
        of that exposure, and zeros beside it in a joint estimate. True throughout for a feature that never changes.
    unit : str
        Unit of the outcomes, for sentences.
    info : DataFrame
        One row per instrument, whatever else is known (locus, kind, alleles, frequency).
    dropped : DataFrame
        Columns ``instrument, reason``: what did not survive harmonization.
    meta : dict
        How the data were made (``harmonize``: its action and tolerance).

    Raises
    ------
    InputError
        Where shapes disagree or a standard error is not positive.

    Notes
    -----
    An effect of nan means that the instrument is missing for that trait. `mrinterp.tables.read` and
    `mrinterp.tables.summary_from_arrays` make it from tables and arrays, `SumStats.to_mrdata` from runs.

    Examples
    --------
    >>> from mrinterp import tables
    >>> data = tables.summary_from_arrays([0.1, 0.2], [0.01, 0.01], [0.05, 0.1], [0.02, 0.02])
    >>> data.shape  # exposures, outcomes, instruments
    (1, 1, 2)
    """

    beta_x: Array
    se_x: Array
    beta_y: Array
    se_y: Array
    exposures: tuple[str, ...]
    outcomes: tuple[str, ...]
    instruments: tuple[str, ...]
    error_corr: Array | None = None
    sigma: Array | None = None
    ld: Array | None = None
    design: str = "between"
    n_x: Array | None = None
    n_y: Array | None = None
    sigma_xy: Array | None = None
    unmoved: NDArray[np.bool_] | None = None
    unit: str = ""
    info: pd.DataFrame = field(default_factory=pd.DataFrame)
    dropped: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["instrument", "reason"]))
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("exposures", "outcomes", "instruments"):
            object.__setattr__(self, name, _distinct(getattr(self, name), name))
        checked_choice(self.design, "MRData design", ("between", "paired"))
        F, O, J = len(self.exposures), len(self.outcomes), len(self.instruments)
        T = F + O
        expected: dict[str, tuple[int, ...]] = {
            "beta_x": (F, J),
            "se_x": (F, J),
            "beta_y": (O, J),
            "se_y": (O, J),
            "error_corr": (T, T),
            "sigma": (J, T, T),
            "ld": (J, J),
            "sigma_xy": (J, F, O),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None:
                continue
            if name == "ld" and isinstance(value, pd.DataFrame):
                value = validate_ld(value, self.instruments, alleles=alleles_of(self.info))
            value = checked_array(value, f"MRData {name}", missing=name not in ("error_corr", "sigma"))
            if value.shape != shape:
                raise InputError(
                    f"MRData {name}",
                    f"shape {value.shape}, expected {shape} for {F} exposures, {O} outcomes, {J} instruments",
                    "Put traits on rows and instruments on columns",
                )
            object.__setattr__(self, name, value)
        if self.ld is not None:
            _check_correlation(self.ld, self.instruments)
        for name, count in (("n_x", F), ("n_y", O)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _sizes(getattr(self, name), f"MRData {name}", count))
        for name in ("se_x", "se_y"):
            bad = np.argwhere(getattr(self, name) <= 0)
            if len(bad):
                t, j = bad[0]
                trait = (self.exposures if name == "se_x" else self.outcomes)[t]
                raise InputError(
                    f"MRData {name}, {trait!r}, instrument {self.instruments[j]!r}",
                    f"standard error {getattr(self, name)[t, j]:g}",
                    "Standard errors must be positive; drop the instrument or give its error",
                )

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        known = [name for name in ("error_corr", "sigma", "ld") if getattr(self, name) is not None]
        return (
            f"{len(self.instruments):,} instruments for {listed(self.exposures)} on {listed(self.outcomes)}"
            f" ({self.design}{', with ' + ', '.join(known) if known else ''})"
            + (f"; {len(self.dropped):,} dropped" if len(self.dropped) else "")
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (trait, instrument): ``trait, role, instrument, beta, se``; exposures first."""
        F, O, J = self.shape
        return pd.DataFrame(
            {
                "trait": np.repeat(np.array([*self.exposures, *self.outcomes], dtype=object), J),
                "role": np.repeat(np.array(["exposure"] * F + ["outcome"] * O, dtype=object), J),
                "instrument": np.tile(np.array(self.instruments, dtype=object), F + O),
                "beta": np.concatenate([self.beta_x, self.beta_y]).ravel(),
                "se": np.concatenate([self.se_x, self.se_y]).ravel(),
            }
        )

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        frame = self.to_frame()
        return frame.head(rows), len(frame)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(exposures, outcomes, instruments)."""
        return len(self.exposures), len(self.outcomes), len(self.instruments)

    def error_covariance(self) -> Array:
        """Covariance of the errors per instrument, (J, F + O, F + O), from whatever was given."""
        if self.sigma is not None:
            return self.sigma
        se = np.concatenate([self.se_x, self.se_y]).T
        corr = np.eye(se.shape[1]) if self.error_corr is None else self.error_corr
        return np.asarray(se[:, :, None] * corr[None] * se[:, None, :])

    def with_zeros_known(self) -> MRData:
        """The same data with an error beside every zero of ``unmoved``: a millionth of the exposure's usual one,
        so that joint estimates take such effects as known."""
        if self.unmoved is None or not self.unmoved.any():
            return self
        known = np.where(np.isfinite(self.se_x), self.se_x, np.nan)
        usual = np.array([np.median(k[np.isfinite(k)]) if np.isfinite(k).any() else np.nan for k in known])
        tiny = 1e-6 * usual[:, None]
        fill = self.unmoved & np.isfinite(tiny)
        sigma = self.sigma
        if sigma is not None:
            sigma = sigma.copy()
            f, j = np.nonzero(fill)
            sigma[j, f, f] = tiny[f, 0] ** 2
        return replace(self, se_x=np.where(fill, tiny, self.se_x), sigma=sigma)

    def select(
        self,
        exposures: list[str] | None = None,
        outcomes: list[str] | None = None,
        instruments: NDArray[np.bool_] | None = None,
    ) -> MRData:
        """The same data for fewer traits (names) or instruments (a mask over J)."""
        xs = list(
            self.exposures
            if exposures is None
            else checked_names(exposures, "exposures", self.exposures, least=0)
        )
        ys = list(
            self.outcomes if outcomes is None else checked_names(outcomes, "outcomes", self.outcomes, least=0)
        )
        fx = [self.exposures.index(x) for x in xs]
        oy = [self.outcomes.index(y) for y in ys]
        keep = np.ones(len(self.instruments), bool)
        if instruments is not None:
            keep = checked_truths(instruments, "instruments")
            if len(keep) != len(self.instruments):
                found, fix = (
                    f"{len(keep)} truth values",
                    f"Give one for each of {len(self.instruments)} instruments",
                )
                raise InputError("instruments", found, fix)
        t = np.array(fx + [len(self.exposures) + o for o in oy])
        return MRData(
            beta_x=self.beta_x[fx][:, keep],
            se_x=self.se_x[fx][:, keep],
            beta_y=self.beta_y[oy][:, keep],
            se_y=self.se_y[oy][:, keep],
            exposures=tuple(xs),
            outcomes=tuple(ys),
            instruments=tuple(n for n, k in zip(self.instruments, keep, strict=True) if k),
            error_corr=None if self.error_corr is None else self.error_corr[np.ix_(t, t)],
            sigma=None if self.sigma is None else self.sigma[keep][:, t[:, None], t[None, :]],
            ld=None if self.ld is None else self.ld[np.ix_(keep, keep)],
            design=self.design,
            n_x=None if self.n_x is None else self.n_x[fx],
            n_y=None if self.n_y is None else self.n_y[oy],
            sigma_xy=None if self.sigma_xy is None else self.sigma_xy[keep][:, fx][:, :, oy],
            unmoved=None if self.unmoved is None else self.unmoved[fx][:, keep],
            unit=self.unit,
            info=self.info.loc[keep].reset_index(drop=True) if len(self.info) == len(keep) else self.info,
            dropped=self.dropped,
            meta=self.meta,
        )
