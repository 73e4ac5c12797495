"""What the run-level estimators share: columns, dependent sets, status, and the shape of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_count, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Changes, Panel
from mrinterp.core.shown import listed
from mrinterp.mr._engine.dependent_sets import with_sets
from mrinterp.mr._engine.registry import find
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.dependence import (
    DependentSet,
    changes_beyond_rounding,
    dependent_sets,
    rounding_of,
)
from mrinterp.stats.clustered.least_squares import families_of, share_left

__all__ = ["MIN_PARTIAL_VARIANCE", "RunData", "run_data"]

Array = NDArray[np.float64]

MIN_PARTIAL_VARIANCE = 1e-4
"""Share of a feature's change that the other columns must leave for its effect to be reported."""


EPS = float(np.finfo(float).eps)

FLOOR = 4.0
"""Roundings of the outcome's largest value below which an effect of the feature's usual change is none."""

SAME = 1e-9
"""Variance, of columns scaled to length 1, of a direction in which features do not differ at all."""

DEAD = "left out: it does not change in these runs (a dead or constant feature)"
FLAT = "not applicable: the outcome does not vary in these runs"
AT_FLOOR = (
    "at the numerical floor: the effect is below the rounding of the outcome's values, so that it cannot be told"
    " from 0; its error is that of rounding"
)


@dataclass(frozen=True, eq=False)
class RunData:
    """A panel's within-prompt changes, one column for each feature that the others do not determine.

    ``X`` (N, p) features, ``R`` (N, r) bypass, ``Y`` (N, O); ``columns`` (p,) and ``carried`` (r,) the features and
    bypass components behind them. Features
    that never change are in ``dead``; of dependent ones (``sets``) X has those that the others are made of.
    ``flat`` (O,): the outcome never changes; ``largest`` and ``step`` (O,): size and rounding of its values.
    """

    panel: Panel
    change: Changes
    X: Array
    R: Array
    Y: Array
    columns: NDArray[np.int_]
    carried: NDArray[np.int_]
    dead: NDArray[np.int_]
    sets: list[DependentSet]
    flat: NDArray[np.bool_]
    largest: Array
    step: Array

    @property
    def families(self) -> int:
        """Number of families."""
        return len(families_of(self.change.family)[1])

    def partial_variance(self) -> Array:
        """Share of every feature's change that the other features and the bypass leave (p,)."""
        return share_left(np.concatenate([self.X, self.R], axis=1))[: self.X.shape[1]]

    def full_rank(self) -> RunData:
        """The same without bypass components that the features and the components before them determine."""
        p = self.X.shape[1]
        found = dependent_sets(np.concatenate([self.X, self.R], axis=1), SAME)
        spare = {m - p for s in found for m in s.members if m not in s.kept and m >= p}
        zero = np.flatnonzero(~self.R.any(axis=0)).tolist()
        return self.with_bypass([r for r in range(self.R.shape[1]) if r not in spare and r not in zero])

    def with_bypass(self, keep: Sequence[int]) -> RunData:
        """The same with some of the bypass components."""
        if len(keep) == self.R.shape[1]:
            return self
        return replace(self, R=self.R[:, list(keep)], carried=self.carried[list(keep)])

    def doses(self) -> Array:
        """Dose changes (N, J) of the instruments that are no placebos and vary."""
        real = ~self.panel.instruments["placebo"].to_numpy(dtype=bool)
        doses = self.change.doses[:, real]
        return np.asarray(doses[:, (doses != 0).any(axis=0)])

    def estimates(
        self,
        method: str,
        label: str,
        beta: Array,
        se: Array,
        *,
        df: float,
        count: int,
        counted: str,
        note: str = "",
        partial: Array | None = None,
        details: dict[str, float] | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Estimates:
        """Results (p, O) put in their places among all features; cells that are not identified are nan."""
        panel = self.panel
        shape = (len(panel.feature_names), len(panel.outcome_names))
        partial = np.ones(len(self.columns)) if partial is None else partial
        status = np.full(shape, note or "ok", dtype=object)
        beta, se = beta.copy(), se.copy()
        status[self.columns] = self._checked(beta, se, partial, note or "ok")
        status[self.dead], status[:, self.flat] = DEAD, FLAT
        wide: dict[str, Any] = {"beta": np.full(shape, np.nan), "se": np.full(shape, np.nan)}
        wide["beta"][self.columns], wide["se"][self.columns] = beta, se
        left = np.full(shape[0], np.nan)
        left[self.columns] = partial
        numbers = {k: np.full(shape, v) for k, v in (details or {}).items()}
        numbers["partial_variance"] = np.repeat(left[:, None], shape[1], axis=1)
        numbers["families"] = np.full(shape, self.families)
        how = find(method)
        made = Estimates(
            method=method,
            label=label,
            exposures=panel.feature_names,
            outcomes=panel.outcome_names,
            **wide,
            status=status,
            n_instruments=np.full(shape, count),
            df=np.full(shape, df),
            details=numbers,
            assumes=how.assumes,
            reference=how.reference,
            unit=f"{panel.units['outcome']} per {panel.units['feature']}",
            meta={"counted": counted, **(meta or {}), **self._left_out()},
        )
        return with_sets(made, [(s, np.arange(shape[1])) for s in self.sets])

    def _checked(self, beta: Array, se: Array, partial: Array, note: str) -> NDArray[np.object_]:
        """Status (p, O) of the fitted cells; those that are not identified are emptied, those below rounding
        have the error of rounding."""
        status = np.full(beta.shape, note, dtype=object)
        blocked = partial < MIN_PARTIAL_VARIANCE
        if blocked.any():
            near = dependent_sets(np.concatenate([self.X, self.R], axis=1), MIN_PARTIAL_VARIANCE)
            for k in np.flatnonzero(blocked):
                status[k] = self._not_identified(int(k), near, partial[k])
        beta[blocked], se[blocked] = np.nan, np.nan
        beta[:, self.flat], se[:, self.flat] = np.nan, np.nan
        size = np.sqrt((self.X**2).mean(axis=0))[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            # rounding of the values, and of solving the equations, which grows as columns resemble one another
            floor = FLOOR * (self.step + 16.0 * EPS * self.largest / partial[:, None]) / size
        low = (np.abs(beta) <= floor) & (se < floor)
        se[low] = np.broadcast_to(floor, se.shape)[low]
        status[low] = AT_FLOOR
        return status

    def _not_identified(self, k: int, near: list[DependentSet], partial: float) -> str:
        """Which columns a feature cannot be told from, and what to do."""
        p = self.X.shape[1]
        names = [self.panel.feature_names[f] for f in self.columns]
        names += list(self.panel.bypass_names[: self.R.shape[1]])
        others = [names[m] for s in near if k in s.members for m in s.members if m != k]
        shown = listed(others) if others else "the other columns"
        fix = "drop a near copy" if all(n in names[:p] for n in others) else "lower the bypass rank"
        return (
            f"not identified: {shown} explain{'' if len(others) != 1 else 's'} all but {partial:.1e} of its change;"
            f" {fix}"
        )

    def _left_out(self) -> dict[str, Any]:
        if not len(self.dead):
            return {}
        names = self.panel.feature_names
        return {"left_out": [{"exposure": names[f], "reason": DEAD} for f in self.dead]}


def run_data(panel: Panel, rank: int | None = None, deviations: bool = False) -> RunData:
    """Prepare a panel for a run-level estimator.

    Parameters
    ----------
    rank : int, optional
        Bypass components; default the panel's chosen rank.
    deviations : bool
        Deviations from the mean of the prompt's perturbed runs instead of changes against the clean run.

    Raises
    ------
    InputError
        For anything but a panel, a rank below 0 or beyond the panel's components, fewer than two families, or
        features none of which changes.
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    change = panel.deviations() if deviations else panel.changes()
    r = checked_rank(panel.rank if rank is None else rank, change.bypass.shape[1])
    moves = changes_beyond_rounding(change.features, np.asarray(panel.features))
    if not moves.any():
        raise InputError("features", "none changes in any run", "Give runs in which some feature changes")
    live = np.flatnonzero(moves)
    sets = [s.among(live) for s in dependent_sets(change.features[:, live], SAME)]
    spare = [m for s in sets for m in s.members if m not in s.kept]
    columns = np.setdiff1d(live, spare)
    values = np.asarray(panel.outcomes, dtype=float)
    largest = np.abs(values).max(axis=0)
    data = RunData(
        panel,
        change,
        change.features[:, columns],
        change.bypass[:, :r],
        change.outcomes,
        columns,
        np.arange(r),
        np.flatnonzero(~moves),
        sets,
        ~changes_beyond_rounding(change.outcomes, values),
        largest,
        largest * rounding_of(values),
    )
    if data.families < 2:
        raise InputError(
            "family",
            f"{data.families} family",
            "Errors are clustered by family: give at least 2 (40 for default inference)",
        )
    return data


def checked_rank(rank: Any, held: int) -> int:
    """A number of bypass components that the panel holds.

    Raises
    ------
    InputError
        For anything else.
    """
    chosen = checked_count(rank, "rank", least=0, unit="bypass components")
    if chosen > held:
        raise InputError("rank", f"{chosen}, the panel holds {held} bypass components", "Ask for fewer")
    return chosen
