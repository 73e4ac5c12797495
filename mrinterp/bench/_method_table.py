"""Every method by its name: the one list of what the board compares."""

from __future__ import annotations

from mrinterp.bench._attribution_methods import ATTRIBUTION_METHODS
from mrinterp.bench._knockout_methods import KNOCKOUT_METHODS
from mrinterp.bench._method import Method
from mrinterp.bench._run_methods import RUN_METHODS

__all__ = ["CHEAP", "bench_methods"]

CHEAP = (*(m.name for m in ATTRIBUTION_METHODS if m.name != "das"), "observational", "knockoffs")
"""Methods without any knockout and without perturbed runs: what the default has to be worth its passes against."""


def bench_methods() -> dict[str, Method]:
    """All methods of the benchmark by name: the default first, the ceiling last.

    Returns
    -------
    dict of str to Method

    Examples
    --------
    >>> import mrinterp
    >>> list(mrinterp.bench.bench_methods())[:3]
    ['default', 'rectified', 'knockouts_alone']
    """
    *own, ceiling = KNOCKOUT_METHODS
    return {m.name: m for m in (*own, *RUN_METHODS, *ATTRIBUTION_METHODS, ceiling)}
