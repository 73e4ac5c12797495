"""The table of estimators as a person reads it."""

from __future__ import annotations

import pandas as pd

from mrinterp.core.errors import InputError, near_misses
from mrinterp.mr._engine.registry import registered
from mrinterp.mr._engine.result_table import GIVEN

__all__ = ["KINDS", "methods"]

KINDS = ("univariable", "multivariable", "run")
"""One exposure at a time, all exposures jointly, or jointly on the runs themselves."""


def methods(kind: str | None = None) -> pd.DataFrame:
    """Every estimator, with what it assumes.

    Parameters
    ----------
    kind : {"univariable", "multivariable", "run"}, optional
        One exposure at a time, all exposures jointly, or jointly on the runs themselves.

    Returns
    -------
    DataFrame
        One row per estimator: ``name`` (what `run_mr` takes), ``kind``, ``label``, ``options`` (with their
        defaults, for the argument ``options`` of `run_mr`), ``min_instruments``, ``assumes``, ``reference``.

    Raises
    ------
    InputError
        For another kind.

    Examples
    --------
    >>> import mrinterp
    >>> list(mrinterp.mr.methods("run")["name"])
    ['gmm', 'jive', 'liml', 'observational', 'tsls', 'ujive', 'within', 'within_partialled']
    """
    if kind is not None and kind not in KINDS:
        raise InputError(
            "kind", f"{kind!r}", near_misses(str(kind), KINDS) or f"Give one of {', '.join(KINDS)}"
        )
    rows = [
        {
            "name": name,
            "kind": e.kind,
            "label": e.label,
            "options": {option: default for option, default in e.options.items() if option not in GIVEN},
            "min_instruments": e.min_instruments,
            "assumes": "; ".join(e.assumes),
            "reference": e.reference,
        }
        for name, e in registered(kind).items()
    ]
    return pd.DataFrame(rows)
