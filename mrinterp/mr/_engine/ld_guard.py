"""Whether the correlation between the instruments belongs to the effects that it is used with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.ld import check_ld
from mrinterp.core.mrdata import MRData

__all__ = ["LDGuard"]

Reasons = NDArray[np.object_]


class LDGuard:
    """Reasons not to trust the correlation, by trait; computed once for every set of instruments."""

    def __init__(self, data: MRData) -> None:
        self.data = data
        self._found: dict[bytes, tuple[Reasons, Reasons]] = {}

    def reasons(self, used: NDArray[np.bool_] | None) -> tuple[Reasons, Reasons]:
        """ "" or why LD and z-scores contradict each other, for every exposure (F,) and outcome (O,).

        Traits that lack one of these instruments are not looked at.
        """
        keep = np.ones(len(self.data.instruments), bool) if used is None else used
        key = keep.tobytes()
        if key not in self._found:
            d = self.data
            sides = ((d.exposures, d.beta_x, d.se_x, d.n_x), (d.outcomes, d.beta_y, d.se_y, d.n_y))
            self._found[key] = tuple(self._side(*side, keep) for side in sides)  # type: ignore[assignment]
        return self._found[key]

    def _side(
        self,
        traits: tuple[str, ...],
        beta: NDArray[np.float64],
        se: NDArray[np.float64],
        n: NDArray[np.float64] | None,
        keep: NDArray[np.bool_],
    ) -> Reasons:
        out = np.full(len(traits), "", dtype=object)
        z = beta[:, keep] / se[:, keep]
        rows = np.flatnonzero(np.isfinite(z).all(-1))
        if keep.sum() < 2 or self.data.ld is None or not len(rows):
            return out
        names = [name for name, k in zip(self.data.instruments, keep, strict=True) if k]
        size = None if n is None else np.asarray(n, float)[rows]
        found = check_ld(z[rows], self.data.ld[np.ix_(keep, keep)], names, size, dense=True)
        out[rows] = [f"{traits[t]}: {why}" if why else "" for t, why in zip(rows, found.reasons, strict=True)]
        return out
