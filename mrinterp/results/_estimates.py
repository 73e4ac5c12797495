"""Causal effects of features on outcomes, one method, every cell with a status."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)
from mrinterp.results._first_lines import first_lines
from mrinterp.stats.tests.tails import critical_value, neglog10p_t, two_sided_p

__all__ = ["Estimate", "Estimates"]

Array = NDArray[np.float64]


def _p_text(p: float) -> str:
    """A p that underflowed is not 0."""
    return "p < 1e-300" if p < 1e-300 else f"p = {p:.2g}"


@dataclass(frozen=True)
class Estimate:
    """One cell of `Estimates`; prints as a sentence."""

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


@dataclass(frozen=True, eq=False)
class Estimates:
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
        Method-specific numbers, for example ``q, q_df, q_p, intercept, intercept_se, intercept_p``.
    assumes : tuple of str
        What the interval is conditional on, in words.
    reference : str
        The paper, with DOI.
    meta : dict
        Options, seeds and anything a report needs.
    """

    method: str
    label: str
    exposures: tuple[str, ...]
    outcomes: tuple[str, ...]
    beta: Array
    se: Array
    status: NDArray[np.str_]
    n_instruments: NDArray[np.int_]
    df: Any = None  # these four: Array, filled in below where None was given
    ci_lower: Any = None
    ci_upper: Any = None
    neglog10p: Any = None
    details: dict[str, Array] = field(default_factory=dict)
    assumes: tuple[str, ...] = ()
    reference: str = ""
    unit: str = ""
    level: float = 0.95
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.exposures), len(self.outcomes))
        fill = object.__setattr__
        fill(self, "beta", np.asarray(self.beta, float).reshape(shape))
        fill(self, "se", np.asarray(self.se, float).reshape(shape))
        fill(self, "status", np.broadcast_to(np.asarray(self.status, dtype=object), shape).astype(object))
        fill(self, "n_instruments", np.broadcast_to(np.asarray(self.n_instruments, dtype=int), shape))
        df = np.inf if self.df is None else self.df
        fill(self, "df", np.broadcast_to(np.asarray(df, dtype=float), shape))
        half = critical_value(self.level, self.df) * self.se
        if self.ci_lower is None:
            fill(self, "ci_lower", self.beta - half)
        if self.ci_upper is None:
            fill(self, "ci_upper", self.beta + half)
        if self.neglog10p is None:
            with np.errstate(divide="ignore", invalid="ignore"):
                fill(self, "neglog10p", neglog10p_t(self.beta / self.se, self.df))
        for name in ("ci_lower", "ci_upper", "neglog10p"):
            fill(self, name, np.broadcast_to(np.asarray(getattr(self, name), dtype=float), shape))
        fill(
            self,
            "details",
            {k: np.broadcast_to(np.asarray(v, dtype=float), shape) for k, v in self.details.items()},
        )

    def __getitem__(self, key: tuple[str, str]) -> Estimate:
        exposure, outcome = key
        f = self._position(exposure, self.exposures, "feature")
        o = self._position(outcome, self.outcomes, "outcome")
        return Estimate(
            self.method,
            self.label,
            exposure,
            outcome,
            float(self.beta[f, o]),
            float(self.se[f, o]),
            float(self.ci_lower[f, o]),
            float(self.ci_upper[f, o]),
            float(self.neglog10p[f, o]),
            int(self.n_instruments[f, o]),
            str(self.status[f, o]),
            self.unit,
            self.assumes,
            self.level,
            {k: float(v[f, o]) for k, v in self.details.items()},
            str(self.meta.get("counted", "instruments")),
            str(self.meta.get("scale", "effect")),
        )

    def __str__(self) -> str:
        cells = (self[x, y] for y in self.outcomes for x in self.exposures)
        return first_lines(cells, self.beta.size, most=10)

    def _position(self, name: str, names: tuple[str, ...], what: str) -> int:
        if name not in names:
            raise InputError(
                f"estimates[{name!r}]",
                f"no such {what}",
                near_misses(name, names) or f"Known: {list(names)[:8]}",
            )
        return names.index(name)

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

    def save(self, folder: Path) -> None:
        """Write ``estimates.parquet`` and ``estimates.json`` into ``folder``, whole or not at all."""
        header = {
            "kind": "estimates",
            "format_version": FORMAT_VERSION,
            "method": self.method,
            "label": self.label,
            "exposures": list(self.exposures),
            "outcomes": list(self.outcomes),
            "assumes": list(self.assumes),
            "reference": self.reference,
            "unit": self.unit,
            "level": self.level,
            "details": list(self.details),
            "meta": self.meta,
        }
        with whole_folder(folder) as partial:
            write_json(partial / "estimates.json", header)
            write_table(partial / "estimates.parquet", self.to_frame())

    @classmethod
    def load(cls, folder: Path) -> Estimates:
        """Reopen what `save` wrote."""
        folder = Path(folder)
        header = read_header(folder / "estimates.json", "estimates")
        frame = read_table(folder / "estimates.parquet")
        shape = (len(header["exposures"]), len(header["outcomes"]))

        def grid(name: str) -> Any:
            return frame[name].to_numpy().reshape(shape)

        return cls(
            header["method"],
            header["label"],
            tuple(header["exposures"]),
            tuple(header["outcomes"]),
            grid("estimate"),
            grid("se"),
            grid("status"),
            grid("n_instruments"),
            grid("df"),
            grid("ci_lower"),
            grid("ci_upper"),
            grid("neglog10p"),
            {name: grid(name) for name in header["details"]},
            tuple(header["assumes"]),
            header["reference"],
            header["unit"],
            header["level"],
            header["meta"],
        )
