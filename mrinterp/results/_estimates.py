"""Causal effects of features on outcomes, one method, every cell with a status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Named, Result, Shape
from mrinterp.results._sentences import first_lines
from mrinterp.stats.tests.equivalence import verdict
from mrinterp.stats.tests.tails import critical_value, neglog10p_t, two_sided_p

__all__ = ["Estimate", "Estimates", "Undecided"]

Array = NDArray[np.float64]


class Undecided(IntEnum):
    """Why a number has no verdict, whatever its interval: the codes of ``details["undecided"]``."""

    DECIDED = 0
    NOISE_DOES_NOT_FIT = 1
    FEW_FAMILIES = 2
    NO_LABEL_FLIPPED = 3


def _p_text(p: float) -> str:
    """A p that underflowed is not 0."""
    return "p < 1e-300" if p < 1e-300 else f"p = {p:.2g}"


def _spread(value: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """One value per cell, where one was given for all of them."""
    array = np.asarray(value, dtype=dtype)
    return np.broadcast_to(array, shape) if array.ndim == 0 else array


def _grid(value: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """One value per cell; a list of them is taken row by row."""
    array = np.asarray(value, dtype=dtype)
    return array.reshape(shape) if array.ndim == 1 and array.size == np.prod(shape) else array


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One cell of `Estimates`; prints as a sentence.

    Parameters
    ----------
    method : str
        The method's registry name.
    label : str
        The method in words.
    exposure : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    beta : float
        Effect per unit of the feature.
    se : float
        Standard error.
    ci_lower : float
        Lower end of the interval.
    ci_upper : float
        Upper end of the interval.
    neglog10p : float
        -log10 of the two-sided p; does not underflow.
    n_instruments : int
        Instruments used, or what ``counted`` says.
    status : str
        ``ok``, or what went wrong and what to do.
    unit : str
        What one unit of the effect is.
    assumes : tuple of str
        What the numbers are conditional on.
    level : float
        Confidence level of the intervals.
    details : dict of str to float
        Numbers of the method's own.
    counted : str
        What ``n_instruments`` counts.
    scale : str
        ``effect``, or ``concordance`` for agreement of signs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("Estimates")["exposure 0", "outcome 1"]
    >>> one.n_instruments
    20
    """

    method: str
    label: str
    exposure: str
    outcome: str
    beta: float
    se: float
    ci_lower: float
    ci_upper: float
    neglog10p: float
    n_instruments: int
    status: str
    unit: str
    assumes: tuple[str, ...]
    level: float = 0.95
    details: dict[str, float] = field(default_factory=dict)
    counted: str = "instruments"
    scale: str = "effect"

    @property
    def p(self) -> float:
        """Two-sided p (0 where it underflows; `neglog10p` never does)."""
        return float(two_sided_p(self.neglog10p))

    def _spread(self) -> list[str]:
        """p of Q and I^2 as printed, where the method has them."""
        out = [_p_text(self.details["q_p"])] if "q_p" in self.details else []
        return out + ([f"I^2 = {self.details['i2']:.0%}"] if "i2" in self.details else [])

    def _statement(self) -> str:
        """The number in words; a concordance of signs is no effect and has no unit."""
        if self.scale == "concordance":
            return (
                f"signs of {self.exposure} and {self.outcome} agree by {self.beta:.4g} from -1 (never) to 1 (always),"
                " which is not a size"
            )
        text = f"one unit more of {self.exposure} changes {self.outcome} by {self.beta:.4g} {self.unit}"
        return text.rstrip()

    def _uncertainty(self) -> str:
        """Interval, p (where there is one: a posterior has none) and what was counted."""
        percent = f"{100 * self.level:.4g}%"
        limits = f"{percent} interval {self.ci_lower:.4g} to {self.ci_upper:.4g}"
        if np.isnan(self.ci_lower) and np.isnan(self.ci_upper):
            limits = f"no {percent} interval"
        p = f"p = 1e-{self.neglog10p:.0f}" if self.neglog10p >= 300 else _p_text(self.p)
        one = self.n_instruments == 1 and self.counted == "instruments"
        counted = f"{self.n_instruments} {'instrument' if one else self.counted}"
        return "; ".join([limits, *([] if np.isnan(self.neglog10p) else [p]), counted])

    def __str__(self) -> str:
        if self.status != "ok" and not np.isfinite(self.beta):
            return f"{self.label}: no estimate of {self.exposure} on {self.outcome}: {self.status}."
        text = f"{self.label}: {self._statement()} ({self._uncertainty()})."
        if "q" in self.details and np.isfinite(self.details["q"]):
            text += f" Heterogeneity Q = {self.details['q']:.4g} on {self.details.get('q_df', np.nan):.0f}"
            more = self._spread()
            text += f" ({', '.join(more)})." if more else "."
        if np.isfinite(self.details.get("intercept", np.nan)):
            text += (
                f" Intercept {self.details['intercept']:.3g} ({_p_text(self.details.get('intercept_p', np.nan))};"
                " an intercept away from 0 is directional pleiotropy)."
            )
        if self.assumes:
            text += " Assumes " + "; ".join(self.assumes) + "."
        if self.status != "ok":
            text += f" Note: {self.status}."
        return text


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Estimates(Result):
    """Effects of F features on O outcomes by one method.

    Parameters
    ----------
    method, label : str
        Registry name and the words for it.
    exposures, outcomes : tuple of str
        Names of the F features and O outcomes.
    beta, se : ndarray (F, O)
        Effect per unit of the feature, and its standard error; nan where there is none.
    status : ndarray (F, O) of str
        ``"ok"``, or what went wrong and what to do.
    n_instruments : ndarray (F, O) of int
        Instruments used; for run-level estimators what ``meta["counted"]`` says (runs, prompts).
    df : ndarray (F, O), optional
        Degrees of freedom of t; infinite means normal.
    ci_lower, ci_upper, neglog10p : ndarray (F, O), optional
        Given where the method has its own; otherwise from beta, se and df.
    details : dict of str to ndarray (F, O)
        Method-specific numbers, for example ``q, q_df, q_p, intercept, intercept_se, intercept_p``. ``undecided`` is 0 but
        where a number has no verdict, whatever its interval: 1 for a noise that moves the feature too little or too much,
        2 for a feature moved in fewer than 10 knocked-out families, 3 for a label that no knockout flipped.
    assumes : tuple of str
        What the interval is conditional on, in words.
    reference : str
        The paper, with DOI.
    meta : dict
        Options, seeds and anything a report needs.
    unit : str
        What one unit of the effect is, for example ``logits``.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Estimates").summary)
    inverse-variance weighted: 3 features on outcome 0, outcome 1
    """

    KIND: ClassVar[str] = "estimates"
    HEADER: ClassVar[str] = "estimates.json"
    TABLE: ClassVar[str | None] = "estimates.parquet"
    IN_TABLE: ClassVar[frozenset[str]] = frozenset(
        {"beta", "se", "status", "n_instruments", "df", "ci_lower", "ci_upper", "neglog10p", "details"}
    )

    method: str
    label: str
    exposures: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    beta: Annotated[Array, Shape("F", "O")]
    se: Annotated[Array, Shape("F", "O")]
    status: Annotated[NDArray[Any], Shape("F", "O")]
    n_instruments: Annotated[NDArray[np.int_], Shape("F", "O")]
    df: Annotated[Any, Shape("F", "O", infinite=True)] = (
        None  # these four: Array, filled in below where None was given
    )
    ci_lower: Annotated[Any, Shape("F", "O", infinite=True)] = None
    ci_upper: Annotated[Any, Shape("F", "O", infinite=True)] = None
    neglog10p: Annotated[Any, Shape("F", "O", infinite=True)] = None
    details: Annotated[dict[str, Array], Named(shape=Shape("F", "O", infinite=True))] = field(
        default_factory=dict
    )
    assumes: tuple[str, ...] = ()
    reference: str = ""
    unit: str = ""
    level: float = 0.95
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.exposures), len(self.outcomes))
        fill = object.__setattr__
        for name in ("beta", "se"):
            fill(self, name, _grid(getattr(self, name), shape, float))
        fill(self, "status", _spread(self.status, shape, object))
        fill(self, "n_instruments", _spread(self.n_instruments, shape, int))
        fill(self, "df", _spread(np.inf if self.df is None else self.df, shape, float))
        fill(self, "details", {k: _spread(v, shape, float) for k, v in self.details.items()})
        super().__post_init__()  # shapes must fit before anything is computed from them
        half = critical_value(self.level, self.df) * self.se
        with np.errstate(divide="ignore", invalid="ignore"):
            strength = neglog10p_t(self.beta / self.se, self.df) if self.neglog10p is None else self.neglog10p
        lower = self.beta - half if self.ci_lower is None else self.ci_lower
        upper = self.beta + half if self.ci_upper is None else self.ci_upper
        for name, value in (("ci_lower", lower), ("ci_upper", upper), ("neglog10p", strength)):
            fill(self, name, _grid(value, shape, float))
        super().__post_init__()

    def __getitem__(self, key: tuple[str, str]) -> Estimate:
        f, o = self._at(key, self.exposures, self.outcomes)
        return Estimate(
            method=self.method,
            label=self.label,
            exposure=self.exposures[f],
            outcome=self.outcomes[o],
            beta=float(self.beta[f, o]),
            se=float(self.se[f, o]),
            ci_lower=float(self.ci_lower[f, o]),
            ci_upper=float(self.ci_upper[f, o]),
            neglog10p=float(self.neglog10p[f, o]),
            n_instruments=int(self.n_instruments[f, o]),
            status=str(self.status[f, o]),
            unit=self.unit,
            assumes=self.assumes,
            level=self.level,
            details={k: float(v[f, o]) for k, v in self.details.items()},
            counted=str(self.meta.get("counted", "instruments")),
            scale=str(self.meta.get("scale", "effect")),
        )

    def __str__(self) -> str:
        cells = (self[x, y] for y in self.outcomes for x in self.exposures)
        return first_lines(cells, self.beta.size)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        F, O = self.beta.shape
        failed = int((self.status != "ok").sum())
        text = f"{self.label}: {F:,} features on {listed(self.outcomes)}"
        return text + (f"; {failed:,} of {F * O:,} cells with a note" if failed else "")

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """Cells (F, O) that have no verdict, whatever their interval: ``details["undecided"]`` says why."""
        return np.asarray(self.details.get("undecided", np.zeros(self.beta.shape)) > Undecided.DECIDED)

    def largest(self) -> str:
        """The largest effect in a sentence without its assumptions, or that there is none."""
        if not np.isfinite(self.beta).any():
            return "no estimate"
        f, o = np.unravel_index(int(np.nanargmax(np.abs(self.beta))), self.beta.shape)
        interval = f" ({100 * self.level:.4g}% {self.ci_lower[f, o]:.4g} to {self.ci_upper[f, o]:.4g})"
        known = np.isfinite(self.ci_lower[f, o]) and np.isfinite(self.ci_upper[f, o])
        place = f"largest effect {self.exposures[f]} on {self.outcomes[o]}"
        return f"{place}: {self.beta[f, o]:.4g}{interval if known else ''}"

    def sets(self, rope: Sequence[float] | None = None) -> list[str]:
        """A sentence for each set of features that the data cannot tell apart, and outcome.

        Parameters
        ----------
        rope : sequence of float (O,), optional
            Half widths of the regions of practical equivalence, in units of the effect: for the verdict on copies.

        Returns
        -------
        list of str
            Members, how they depend on one another, and what is known of them together. ``meta["dependent_sets"]``
            has the same as numbers.
        """
        out = []
        for one in self.meta.get("dependent_sets", []):
            text = (
                f"{', '.join(one['members'])} on {one['outcome']}: the data cannot tell them apart"
                f" ({'; '.join(one['depend'])})"
            )
            if one["rank"] == 1 and "beta" in one:
                text += (
                    f"; together {one['beta']:+.3g} per unit of {one['members'][0]}"
                    f" [{one['ci_lower']:+.3g}, {one['ci_upper']:+.3g}]"
                )
                if rope is not None:
                    half = rope[self.outcomes.index(one["outcome"])]
                    text += f", {verdict(one['ci_lower'], one['ci_upper'], half)} as a set"
            elif one["verdict"] != "no estimate":
                text += (
                    "; at least one of them acts" if one["verdict"] == "acts" else "; none is shown to act"
                )
            out.append(text + ".")
        return out

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome): the JSON contract's columns, then the method's own."""
        F, O = self.beta.shape
        frame = pd.DataFrame(
            {
                "method": self.method,
                "exposure": np.repeat(np.array(self.exposures, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), F),
            }
        )
        columns: dict[str, Any] = {
            "estimate": self.beta,
            "se": self.se,
            "ci_lower": self.ci_lower,
            "ci_upper": self.ci_upper,
            "p": two_sided_p(self.neglog10p),
            "neglog10p": self.neglog10p,
            "df": self.df,
            "n_instruments": self.n_instruments,
            **self.details,
        }
        for name, values in columns.items():
            frame[name] = np.ravel(values)
        frame["status"] = np.ravel(self.status)
        return frame

    @classmethod
    def _from_table(
        cls, table: pd.DataFrame, header: dict[str, Any], given: dict[str, Any]
    ) -> dict[str, Any]:
        shape = (len(given["exposures"]), len(given["outcomes"]))
        columns = {name: "estimate" if name == "beta" else name for name in cls.IN_TABLE - {"details"}}
        found: dict[str, Any] = {name: table[c].to_numpy().reshape(shape) for name, c in columns.items()}
        return found | {"details": {n: table[n].to_numpy().reshape(shape) for n in header["details"]}}

    def _more_header(self) -> dict[str, Any]:
        return {"details": list(self.details)}
