"""The table of estimators: each is declared once, beside its kernel, and found here by name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses

__all__ = ["Estimator", "Fit", "estimator", "find", "registered"]

Array = NDArray[np.float64]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
"""`Effects` in and a `Fit` out, or for run-level methods a `Panel` in and `Estimates` out."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a kernel returns: arrays of shape (F, O).

    ``df`` is infinite for normal inference. ``status`` is given only where a cell needs a word.
    ``ci_lower, ci_upper, neglog10p`` only where the method has its own. ``details`` holds
    method-specific numbers of shape (F, O); ``flags`` marks instruments, (F, O, J) of bool (for
    example ``outliers``), which the driver turns into names; ``meta`` anything else.
    """

    beta: Array
    se: Array
    df: Array | float = np.inf
    ci_lower: Array | None = None
    ci_upper: Array | None = None
    neglog10p: Array | None = None
    status: NDArray[np.object_] | None = None
    details: dict[str, Array] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimator:
    """One registered method.

    Parameters
    ----------
    name : str
        What users type.
    label : str
        What tables and sentences print.
    kind : str
        ``"univariable"`` (kernel of `Effects`; every pair of exposure and outcome on its own),
        ``"multivariable"`` (the same, the F exposures jointly) or ``"run"``
        (kernel of a `Panel`'s within-prompt changes).
    assumes : tuple of str
        What must hold, in words that complete the sentence "Assumes ...".
    reference : str
        Paper and DOI.
    min_instruments : int
        Fewest instruments with which a univariable method is defined; for a multivariable one,
        the number needed beyond the number of exposures.
    divides : bool
        Whether it divides by the effects on the exposure: instruments whose effect there is exactly
        zero are then set aside, cell by cell.
    subtracts : {"nothing", "own", "shared"}
        Which errors it takes out of its moments or models as noise: none, those of the exposure effects,
        or also those shared with the outcome. Right between prompts, not in a paired design.
    blocked : bool
        Whether it expands features x outcomes x instruments, so that the driver hands it blocks of
        features; kernels of matrix products that bound their own memory say False.
    most_exposures : int, optional
        Of a multivariable one: exposures beyond which it would take longer than some minutes an outcome. The
        driver refuses these before anything is computed.
    """

    name: str
    label: str
    kind: str
    assumes: tuple[str, ...]
    reference: str
    min_instruments: int
    kernel: Callable[..., Any]
    divides: bool = False
    blocked: bool = True
    subtracts: str = "nothing"
    most_exposures: int | None = None

    @cached_property
    def options(self) -> dict[str, Any]:
        """Names and defaults of the kernel's options: what is keyword-only, of runs all but the panel."""
        parameters = list(inspect.signature(self.kernel).parameters.values())
        if self.kind == "run":
            return {p.name: p.default for p in parameters[1:]}
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


_TABLE: dict[str, Estimator] = {}


def estimator(
    name: str,
    label: str,
    *,
    kind: str = "univariable",
    assumes: tuple[str, ...] = (),
    reference: str = "",
    min_instruments: int = 2,
    divides: bool = False,
    blocked: bool = True,
    subtracts: str = "nothing",
    most_exposures: int | None = None,
) -> Callable[[Kernel], Kernel]:
    """Declare the decorated kernel as the estimator ``name``."""

    def declare(kernel: Kernel) -> Kernel:
        if name in _TABLE and _TABLE[name].kernel.__qualname__ != kernel.__qualname__:
            raise ValueError(f"estimator {name!r} is declared twice")
        _TABLE[name] = Estimator(
            name,
            label,
            kind,
            tuple(assumes),
            reference,
            min_instruments,
            kernel,
            divides,
            blocked,
            subtracts,
            most_exposures,
        )
        return kernel

    return declare


_PARTS = ("_univariable", "_multivariable", "_runs")


@cache
def _load(part: str) -> None:
    """Import every file of one part, which declares its estimators."""
    package = importlib.import_module(f"mrinterp.mr.{part}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def registered(kind: str | None = None) -> dict[str, Estimator]:
    """All estimators by name, or those of one kind."""
    for part in _PARTS:
        _load(part)
    return {n: e for n, e in sorted(_TABLE.items()) if kind is None or e.kind == kind}


def find(name: str) -> Estimator:
    """The estimator of that name.

    Raises
    ------
    InputError
        With the closest names, where there is none.
    """
    for part in _PARTS:  # those of several exposures cost an import that a small table need not wait for
        if name not in _TABLE:
            _load(part)
    if name not in _TABLE:
        raise InputError(
            f"method {name!r}",
            "no such estimator",
            near_misses(name, _TABLE) or f"Known: {', '.join(sorted(_TABLE))}",
        )
    return _TABLE[name]
