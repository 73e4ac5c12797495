"""All cells of one method: numbers, statuses and flags, filled block by block, and the `Estimates` they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.error_use import PAIRED_NOTE, error_sentences, right_design
from mrinterp.mr._engine.named_findings import is_listing, named
from mrinterp.mr._engine.registry import Estimator, Fit
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.dependence import DependentSet, rounding_of
from mrinterp.stats.clustered.least_squares import share_left
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["GIVEN", "NO_CORRELATION", "ResultTable", "Rows"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = slice | NDArray[np.int_]

GIVEN = ("rho", "ld", "sigma", "sigma_xx", "sigma_xy", "error_corr", "n_x", "n_y", "level")
"""Keyword arguments that come from the data, for kernels that name them; never options."""

NO_CORRELATION = (
    "the errors of this exposure and outcome are said to correlate beyond 1: check the error correlation"
)

AT_FLOOR = (
    "at the numerical floor: the effect is below the rounding of the effects on the outcome, so that it cannot be"
    " told from 0; its error is that of rounding"
)

NOT_KEPT = (
    "the errors of the exposures are independent of one another (their covariance was not kept: name the exposures as"
    " `candidates` of marginal_scan)"
)

FLOOR = 4.0
"""Roundings of the largest effect on the outcome below which an effect is none."""

EPS = float(np.finfo(float).eps)

SMALL = 1 << 18
"""Effects up to which another pass over them costs nothing."""

EQUAL = "effects on the exposure are all equal in size: slope and intercept cannot be told apart"
AGREE = "the instruments agree exactly: the residuals have no spread to tell an error from"


class ResultTable:
    """Arrays over all cells, filled block by block."""

    def __init__(self, data: MRData, how: Estimator) -> None:
        self.data, self.how = data, how
        self.shape = (len(data.exposures), len(data.outcomes))
        self.beta, self.se = np.full(self.shape, np.nan), np.full(self.shape, np.nan)
        self.df = np.full(self.shape, np.inf)
        self.n_instruments = np.zeros(self.shape, int)
        self.status = np.full(self.shape, "ok", dtype=object)
        self.details: dict[str, Array] = {}
        self.own: dict[str, Array] = {}
        self.flags: dict[str, list[list[Any]]] = {}
        self.meta: dict[str, Any] = {}
        self.sets: list[tuple[DependentSet, NDArray[np.int_]]] = []

    def _cells(self, rows: Rows, cols: Rows) -> Any:
        return np.ix_(np.arange(self.shape[0])[rows], np.arange(self.shape[1])[cols])

    def fail(self, rows: Rows, cols: Rows, why: str) -> None:
        self.status[self._cells(rows, cols)] = why

    def numbers(self, rows: Rows, cols: Rows) -> Mask:
        """Cells of a block that have an estimate, (f, o)."""
        return np.asarray(np.isfinite(self.beta[self._cells(rows, cols)]))

    def leave_out(self, rows: NDArray[np.int_], cols: Rows, why: Sequence[str]) -> None:
        """Exposures that cost only themselves: each with its own reason, and listed."""
        listed = self.meta.setdefault("left_out", [])
        for f, reason in zip(rows.tolist(), why, strict=True):
            self.fail(np.array([f]), cols, reason)
            if {"exposure": self.data.exposures[f], "reason": reason} not in listed:
                listed.append({"exposure": self.data.exposures[f], "reason": reason})

    def forbid(self, rows: Rows, cols: Rows, where: Mask, why: Any) -> None:
        """Take back the cells of a block where ``where`` is True, and say why (one word, or one per cell)."""
        at = self._cells(rows, cols)
        for values in (self.beta, self.se, *self.own.values(), *self.details.values()):
            values[at] = np.where(where, np.nan, values[at])
        self.status[at] = np.where(where, why, self.status[at])

    def put(self, rows: Rows, cols: Rows, used: Mask | None, fit: Fit) -> None:
        at = self._cells(rows, cols)
        self.beta[at], self.se[at], self.df[at] = fit.beta, fit.se, fit.df
        for name in ("ci_lower", "ci_upper", "neglog10p"):
            if getattr(fit, name) is not None:
                self.own.setdefault(name, np.full(self.shape, np.nan))[at] = getattr(fit, name)
        for name, value in fit.details.items():
            self.details.setdefault(name, np.full(self.shape, np.nan))[at] = value
        self._put_meta(rows, cols, used, fit)
        status = np.full(self.status[at].shape, "ok", dtype=object)
        if fit.status is not None:
            said = np.asarray(fit.status, dtype=object)
            status = np.where((said == None) | (said == ""), "ok", said)  # noqa: E711 (elementwise)
        missing = ~np.isfinite(self.beta[at])
        silent = missing & (status == "ok")
        if silent.any():
            status[silent] = self._reasons(rows, cols, used, silent)
        unsure = (status == "ok") & ~np.isfinite(self.se[at]) & (fit.ci_lower is None)
        status[unsure & (fit.neglog10p is None)] = "the standard error is not defined on these numbers"
        posterior = fit.neglog10p is not None and np.isnan(fit.neglog10p).all()
        low = None if posterior else self._below_rounding(rows, cols, used)
        if low is not None:
            status[low] = AT_FLOOR
        if self.data.design == "paired" and self.how.subtracts != "nothing":
            status[status == "ok"] = PAIRED_NOTE
        self.status[at] = status
        self._put_flags(rows, cols, used, fit)

    def _below_rounding(self, rows: Rows, cols: Rows, used: Mask | None) -> Mask | None:
        """Cells (f, o) whose effect and error are both below the rounding of the outcome's effects; they get the
        error of rounding. None where there are none."""
        at = self._cells(rows, cols)
        beta, se = np.abs(self.beta[at]), self.se[at]
        with np.errstate(all="ignore"):
            near = se < 1e-5 * np.nanmax(beta, initial=0.0)
        if not near.any() and not (self.data.beta_x.size < SMALL and np.isfinite(se).any()):
            return None  # the usual case, told without another pass over all effects
        keep = slice(None) if used is None else used
        b, g = self.data.beta_x[rows][:, keep], self.data.beta_y[cols][:, keep]
        left = share_left(b.T) if self.how.kind == "multivariable" else np.ones(len(b))
        with np.errstate(all="ignore"):
            size = np.sqrt((b * b).mean(axis=1) * np.maximum(left, EPS))
            step = np.abs(g).max(axis=1) * (rounding_of(g.T) + 16.0 * EPS)
            floor = FLOOR * step[None, :] / size[:, None]
            low = (beta <= floor) & (se < floor)
        if not low.any():
            return None
        self.se[at] = np.where(low, floor, se)
        for name, sign in (("ci_lower", -2.0), ("ci_upper", 2.0)):
            if name in self.own:
                self.own[name][at] = np.where(low, self.beta[at] + sign * floor, self.own[name][at])
        if "neglog10p" in self.own:
            strength = neglog10p_normal(self.beta[at] / floor)
            self.own["neglog10p"][at] = np.where(low, strength, self.own["neglog10p"][at])
        return low

    def _reasons(self, rows: Rows, cols: Rows, used: Mask | None, silent: Mask) -> Any:
        """Why a kernel left these cells empty without a word, as far as the numbers tell."""
        keep = slice(None) if used is None else used
        f, o = np.nonzero(silent)
        b, g = self.data.beta_x[rows][:, keep][f], self.data.beta_y[cols][:, keep][o]
        with np.errstate(all="ignore"):
            agree = np.ptp(g / b, axis=1) <= 1e-12 * np.abs(g / b).max(axis=1)
        level = np.ptp(np.abs(b), axis=1) <= 1e-12 * np.abs(b).max(axis=1)
        level &= "egger" in self.how.name
        return np.select([level, agree], [EQUAL, AGREE], "the estimate is not defined on these numbers")

    def _names(self, rows: Rows, cols: Rows, used: Mask | None) -> tuple[list[str], list[str], list[str]]:
        """Exposures, outcomes and instruments of a block."""
        x, y, j = (np.array(n, dtype=object) for n in
                   (self.data.exposures, self.data.outcomes, self.data.instruments))  # fmt: skip
        return list(x[rows]), list(y[cols]), list(j if used is None else j[used])

    def _put_meta(self, rows: Rows, cols: Rows, used: Mask | None, fit: Fit) -> None:
        for name, value in fit.meta.items():
            if is_listing(value):
                found = named(value, *self._names(rows, cols, used)) if value else []
                self.meta.setdefault(name, []).extend(found)
            else:
                self.meta.setdefault(name, value)

    def _put_flags(self, rows: Rows, cols: Rows, used: Mask | None, fit: Fit) -> None:
        if not fit.flags:
            return
        xs, ys, instruments = self._names(rows, cols, used)
        names = np.array(instruments, dtype=object)
        if "instrument_used" in fit.flags:
            self.n_instruments[self._cells(rows, cols)] = fit.flags["instrument_used"].sum(axis=2)
        for flag, mask in fit.flags.items():
            mask = np.broadcast_to(mask, (len(xs), len(ys), len(names)))
            for f, o in np.argwhere(mask.any(axis=2)):
                self.flags.setdefault(flag, []).append([xs[f], ys[o], list(names[mask[f, o]])])
            self.flags.setdefault(flag, [])

    def _note_infinite(self) -> None:
        """Missing values are ordinary; infinite ones are said."""
        x = (np.isinf(self.data.beta_x) | np.isinf(self.data.se_x)).sum(axis=1)
        y = (np.isinf(self.data.beta_y) | np.isinf(self.data.se_y)).sum(axis=1)
        if not (x.any() or y.any()):
            return
        for f, o in np.argwhere((x[:, None] + y[None, :]) > 0):
            note = "instruments with infinite values set aside"
            status = self.status[f, o]
            self.status[f, o] = note if status == "ok" else f"{status} ({note})"

    def _about_errors(self) -> tuple[list[str], list[str], bool]:
        """What is assumed of the errors, what was known and left out (in words), and whether overlap was used."""
        data, how = self.data, self.how
        whole = data.sigma is not None or data.error_corr is not None
        known = whole or data.sigma_xy is not None
        takes = bool(({"rho", "sigma", "sigma_xx", "error_corr"} if whole else {"rho"}) & set(how.options))
        used = known and takes and bool(self.meta.get("uses_error_correlation", True))
        said, ignored = error_sentences(how.subtracts, known, used, data.design)
        if known and not whole and {"sigma", "sigma_xx", "error_corr"} & set(how.options):
            ignored.append(NOT_KEPT)
        if data.ld is not None and "ld" not in how.options:
            ignored.append("instruments are independent (their known correlation is not used)")
        return said, ignored, used

    def estimates(self, options: Mapping[str, Any], level: float) -> Estimates:
        how = self.how
        self._note_infinite()
        said, ignored, used = self._about_errors()
        settings = {k: v for k, v in how.options.items() if k not in GIVEN}
        meta = {**self.meta, **self.flags, "options": {**settings, **options}}
        meta |= {"uses_overlap": used, "right_for_design": right_design(how.subtracts)}
        if ignored:
            meta["ignored"] = ignored
        return Estimates(
            method=how.name,
            label=how.label,
            exposures=self.data.exposures,
            outcomes=self.data.outcomes,
            beta=self.beta,
            se=self.se,
            status=self.status,
            n_instruments=self.n_instruments,
            df=self.df,
            ci_lower=self.own.get("ci_lower"),
            ci_upper=self.own.get("ci_upper"),
            neglog10p=self.own.get("neglog10p"),
            details=self.details,
            assumes=(*how.assumes, *said, *ignored),
            reference=how.reference,
            unit=self.data.unit,
            level=level,
            meta=meta,
        )
