"""Any estimate without each instrument in turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mrinterp.core.checks import checked_type
from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.results._estimates import Estimates

__all__ = ["leave_one_out"]


def leave_one_out(data: MRData, method: str, **options: Any) -> Iterator[tuple[str, Estimates]]:
    """The estimate without each instrument in turn, refitted.

    Parameters
    ----------
    data : MRData
        J instruments.
    method : str
        Name in the registry.
    **options
        Options of the method, and ``level``.

    Yields
    ------
    tuple of str and Estimates
        The instrument left out and the estimates without it, J times.

    Raises
    ------
    InputError
        For an unknown method or option.

    Notes
    -----
    `leave_one_out_ivw` gives the same for IVW in closed form, for very many features.

    Examples
    --------
    >>> import mrinterp
    >>> data = mrinterp.scan.marginal_scan(mrinterp.worlds.linear_world(0).panel).to_mrdata()
    >>> names = [name for name, _ in mrinterp.mr.leave_one_out(data, "ivw")]
    >>> names == list(data.instruments)
    True
    """
    checked_type(data, "data", MRData, "mrinterp.scan.marginal_scan(panel).to_mrdata() makes it of runs")
    for j, name in enumerate(data.instruments):
        keep = np.arange(len(data.instruments)) != j
        yield name, estimate(data.select(instruments=keep), method, **options)
