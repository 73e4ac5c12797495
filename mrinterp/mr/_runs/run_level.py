"""What the run-level estimators share: columns, aliased sets, status, and the shape of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.panel import Changes, Panel
from mrinterp.mr._engine.registry import find
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import families_of, share_left

__all__ = ["MIN_PARTIAL_VARIANCE", "RunData", "run_data"]

Array = NDArray[np.float64]

MIN_PARTIAL_VARIANCE = 1e-4
"""Share of a feature's change that the other columns must leave for its effect to be reported."""


@dataclass(frozen=True, eq=False)
class RunData:
    """A panel's within-prompt changes, one column per distinct feature.

    ``X`` (N, p) features, ``R`` (N, r) bypass, ``Y`` (N, O); ``sets`` the aliased features behind
    each of the p columns.
    """

    panel: Panel
    change: Changes
    X: Array
    R: Array
    Y: Array
    sets: list[list[int]]

    @property
    def families(self) -> int:
        """Number of families."""
        return len(families_of(self.change.family)[1])

    def dependent(self) -> tuple[Array, str]:
        """Share of every feature's change that the other columns leave (p,), and a note where columns
        depend on each other, so that there is no joint estimate."""
        left = share_left(np.concatenate([self.X, self.R], axis=1))
        which = "not applicable: features or bypass components are linear combinations of each other"
        return left[: self.X.shape[1]], which if (left < 1e-9).any() else ""

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
        """Spread (p, O) results over the aliased features; cells that are not identified are nan."""
        panel = self.panel
        index = np.empty(len(panel.feature_names), int)
        for k, members in enumerate(self.sets):
            index[members] = k
        partial = np.ones(len(self.sets)) if partial is None else partial
        blocked = (partial < MIN_PARTIAL_VARIANCE)[:, None]
        beta, se = np.where(blocked, np.nan, beta)[index], np.where(blocked, np.nan, se)[index]
        shape = beta.shape
        numbers = {k: np.full(shape, v) for k, v in (details or {}).items()}
        numbers["partial_variance"] = np.broadcast_to(partial[index][:, None], shape)
        numbers["families"] = np.full(shape, self.families)
        how = find(method)
        return Estimates(
            method=method,
            label=label,
            exposures=panel.feature_names,
            outcomes=panel.outcome_names,
            beta=beta,
            se=se,
            status=np.broadcast_to(self._status(index, partial, note)[:, None], shape),
            n_instruments=np.full(shape, count),
            df=np.full(shape, df),
            details=numbers,
            assumes=how.assumes,
            reference=how.reference,
            unit=f"{panel.units['outcome']} per {panel.units['feature']}",
            meta={"counted": counted, **(meta or {})},
        )

    def _status(self, index: NDArray[np.int_], partial: Array, note: str) -> NDArray[np.object_]:
        out = np.full(len(index), note or "ok", dtype=object)
        for f, k in enumerate(index):
            if len(self.sets[k]) > 1:
                others = ", ".join(self.panel.feature_names[g] for g in self.sets[k] if g != f)
                out[f] = f"the data cannot tell it from {others}: this is the effect of the set"
            if partial[k] < MIN_PARTIAL_VARIANCE:
                out[f] = (
                    f"not identified: the other columns explain all but {partial[k]:.1e} of its change;"
                    " drop a near copy or lower the bypass rank"
                )
        return out


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
        For a rank beyond the panel's components, or fewer than two families.
    """
    change = panel.deviations() if deviations else panel.changes()
    r = panel.rank if rank is None else rank
    if r > change.bypass.shape[1]:
        raise InputError(
            "rank", f"{r}, the panel holds {change.bypass.shape[1]} bypass components", "Ask for fewer"
        )
    sets = aliased_sets(change.features)
    data = RunData(
        panel, change, change.features[:, [s[0] for s in sets]], change.bypass[:, :r], change.outcomes, sets
    )
    if data.families < 2:
        raise InputError(
            "family",
            f"{data.families} family",
            "Errors are clustered by family: give at least 2 (40 for default inference)",
        )
    return data


def aliased_sets(features: Array, tolerance: float = 1e-9) -> list[list[int]]:
    """Groups of columns that are copies of each other, first column first.

    A copy on another scale is another exposure unit; only same-unit copies share an effect.
    """
    norm = np.sqrt((features**2).sum(axis=0))
    unit = features / np.where(norm > 0, norm, 1.0)
    alike = np.abs(unit.T @ unit - 1.0) < tolerance
    sets: list[list[int]] = []
    taken: set[int] = set()
    for f in range(features.shape[1]):
        if f in taken:
            continue
        close = [
            g
            for g in np.flatnonzero(alike[f]).tolist()
            if np.allclose(features[:, g], features[:, f], rtol=1e-6, atol=0)
        ]
        members = close or [f]
        sets.append(members)
        taken.update(members)
    return sets
