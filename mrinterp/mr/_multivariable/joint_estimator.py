"""Declares a multivariable estimator: a method of prepared data becomes a registered kernel of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._multivariable.joint_data import joint_data

__all__ = ["joint_estimator"]

Array = NDArray[np.float64]
Method = Callable[..., Fit]

_DATA = """    data : JointData
        Effects with their errors.
"""
_ARRAYS = """    effects : Effects
        Of J instruments on F exposures and O outcomes.
"""
_COVARIANCES = """    sigma_xx : ndarray (J, F, F), optional
        Covariance of the errors of the exposure effects (uncorrelated by default).
    sigma_xy : ndarray (J, F, O), optional
        Their covariance with the outcome's error (none by default).
"""
_DISTRIBUTION = """    distribution : {"normal", "t"}
        Reference of the intervals; t has J - F degrees of freedom, J the instruments that were kept.
"""


def joint_estimator(
    name: str,
    label: str,
    *,
    assumes: tuple[str, ...],
    reference: str,
    beyond: int = 2,
    subtracts: str = "shared",
    covariances: bool = True,
    intervals: bool = True,
    most_exposures: int | None = None,
) -> Callable[[Method], Method]:
    """Declare the decorated method of `JointData` as the multivariable estimator ``name``.

    The kernel that is registered takes `Effects`, the covariances of the
    errors and the method's own keywords; checks and lays out the arrays (`joint_data`), so that the method
    sees none that it cannot handle; blanks outcomes that cannot be estimated and says why.

    Parameters
    ----------
    name, label, assumes, reference, subtracts, most_exposures
        As for `estimator`.
    beyond : int
        Instruments needed beyond the number of exposures.
    covariances : bool
        Whether it uses the errors' covariances (``sigma_xx, sigma_xy``) at all.
    intervals : bool
        Whether intervals are estimate +- quantile x error, so that ``distribution`` is a choice. Not so for
        posteriors and for inverted tests.

    Notes
    -----
    The method returns a `Fit` whose ``status`` holds a word per outcome (O,) or per cell (F, O), and whose
    ``df`` are the degrees of freedom of t where they are not J - F.
    """

    def declare(method: Method) -> Method:
        def kernel(
            effects: Effects,
            *,
            sigma_xx: Array | None = None,
            sigma_xy: Array | None = None,
            distribution: str = "normal",
            **options: Any,
        ) -> Fit:
            choice("distribution", distribution, ("normal", "t"))
            needed = len(effects.beta_x) + beyond
            data = joint_data(effects, sigma_xx, sigma_xy, needed=needed)
            if isinstance(data, Fit):
                return data
            fit = method(data, **options)
            failed = np.array([p != "" for p in data.problem])
            fit.beta[:, failed], fit.se[:, failed] = np.nan, np.nan
            df: Any = np.inf
            if distribution == "t":
                df = fit.df if np.isfinite(fit.df).all() else float(data.size[0] - data.size[1])
            words = np.full(len(effects.beta_y), "ok", dtype=object) if fit.status is None else fit.status
            return replace(fit, df=df, status=data.finish(words))

        kernel.__name__, kernel.__qualname__, kernel.__module__ = name, name, method.__module__
        kernel.__doc__ = _documented(method.__doc__ or "", covariances, intervals)
        kernel.__signature__ = _signature(kernel, method, covariances, intervals)  # type: ignore[attr-defined]
        declared = estimator(
            name,
            label,
            kind="multivariable",
            assumes=assumes,
            reference=reference,
            min_instruments=beyond,
            subtracts=subtracts,
            most_exposures=most_exposures,
        )
        return declared(kernel)

    return declare


def _signature(kernel: Method, method: Method, covariances: bool, intervals: bool) -> inspect.Signature:
    """The effects, the covariances, the method's keywords, and the distribution where it is a choice."""
    shared = inspect.signature(kernel).parameters
    arrays = [p for p in shared.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    errors = [shared["sigma_xx"], shared["sigma_xy"]] if covariances else []
    own = list(inspect.signature(method).parameters.values())[1:]
    last = [shared["distribution"]] if intervals else []
    return inspect.Signature([*arrays, *errors, *own, *last], return_annotation=Fit)


def _documented(doc: str, covariances: bool, intervals: bool) -> str:
    """The method's docstring with the arrays in place of the prepared data."""
    arrays = _ARRAYS + (_COVARIANCES if covariances else "")
    doc = doc.replace(_DATA, arrays)
    head, section, tail = doc.partition("\n    Returns\n")
    return head.rstrip() + "\n" + _DISTRIBUTION + section + tail if intervals and section else doc
