"""Arrays already in hand become a Panel: logged activations, read-only models, other people's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.array_checks import checked_array, checked_rows, checked_truths, column_names
from mrinterp.core.checks import checked_count
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel

__all__ = ["from_arrays"]


def from_arrays(
    *,
    doses: ArrayLike,
    features: ArrayLike,
    outcomes: ArrayLike,
    prompt: ArrayLike,
    family: ArrayLike,
    bypass: ArrayLike | None = None,
    clean: ArrayLike | None = None,
    kind: ArrayLike | None = None,
    split: ArrayLike | None = None,
    instruments: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    placebo: Sequence[str] = (),
    rank: int | None = None,
) -> Panel:
    """Make a `Panel` of N runs from arrays: the door for runs already in hand.

    Parameters
    ----------
    doses : array_like (N, J)
        Dose of every instrument in every run, as assigned. Here as below pandas objects must have the same index.
    features : array_like (N, F)
        Value of every feature, in its own unit. An array in single precision (or a memory-mapped file of one) is kept as
        it is, without a copy; effects are computed in double precision.
    outcomes : array_like (N, O) or (N,)
        Value of every outcome, in its own unit.
    prompt, family : array_like (N,)
        Which prompt a run was made from, and that prompt's family (the cluster of errors).
    bypass : array_like (N, R), optional
        What passes the features by: components of the rest of the layer, the most important first.
    clean : array_like (N,) of bool, optional
        The unperturbed run of each prompt. Without it, effects are read from deviations from the
        prompt mean (prompt fixed effects).
    kind : array_like (N,) of str, optional
        Kind of perturbation per run.
    split : array_like (N,) of str, optional
        Split of each run (``"discovery"``, ``"estimation"``, ...); default ``"estimation"``.
    instruments, feature_names, outcome_names : sequence of str, optional
        Names; by default those of a DataFrame's columns, else ``z0``, ..., ``x0``, ... and ``y0``, ...
    placebo : sequence of str
        Names of instruments that edit nothing.
    rank : int, optional
        Bypass components to adjust for; default all given.

    Returns
    -------
    Panel

    Raises
    ------
    InputError
        For arrays of different length or with other row labels, values that are no finite real numbers, masked or
        missing entries, truth values that are none, a name twice, a rank that there is not, a prompt in two
        families, or a family in two splits; names the array, the row and the fix.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> doses = np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> runs = {"prompt": [0, 0, 1, 1], "family": [0, 0, 1, 1], "clean": doses[:, 0] == 0}
    >>> panel = mrinterp.from_arrays(doses=doses, features=2 * doses, outcomes=3 * doses, **runs)
    >>> panel.features.shape, panel.feature_names
    ((4, 1), ('x0',))
    """
    given = {"doses": doses, "features": features, "outcomes": outcomes, "bypass": bypass}
    columns = {"prompt": prompt, "family": family, "kind": kind, "split": split, "clean": clean}
    checked_rows({**given, **columns})
    matrices = {
        name: _matrix(name, value) for name, value in given.items() if name != "bypass" or value is not None
    }
    N = len(matrices["features"])
    matrices.setdefault("bypass", np.zeros((N, 0)))
    vectors = {k: _vector(k, v) for k, v in columns.items() if v is not None}
    for name, value in {**matrices, **vectors}.items():
        if len(value) != N:
            raise InputError(name, f"{len(value)} rows; features has {N}", "Give every array one row per run")
    if N == 0:
        raise InputError("features", "no runs", "Give at least one run")
    frame = pd.DataFrame({"run": np.arange(N), "prompt": vectors["prompt"], "family": vectors["family"]})
    frame["split"] = vectors.get("split", np.full(N, "estimation", dtype=object))
    frame["kind"] = vectors.get("kind", np.full(N, "perturbed", dtype=object))
    if "clean" in vectors:
        frame.loc[vectors["clean"], "kind"] = "clean"
    _one_each(frame, "prompt", "family", "families", "A prompt belongs to exactly one family")
    _one_each(
        frame, "family", "split", "splits", "A family is never split, or its runs would judge themselves"
    )
    J = matrices["doses"].shape[1]
    names = _names("instruments", instruments, column_names(doses), J, "z")
    unknown = [p for p in placebo if p not in names]
    if unknown:
        raise InputError("placebo", f"{unknown[0]!r} is not an instrument", f"Instruments: {names[:8]}")
    table = pd.DataFrame(
        {
            "instrument": names,
            "kind": ["placebo" if n in placebo else "given" for n in names],
            "locus": "",
            "allele": "",
            "unit": "dose",
            "placebo": [n in placebo for n in names],
        }
    )
    return Panel(
        runs=frame,
        doses=matrices["doses"],
        features=matrices["features"],
        bypass=matrices["bypass"],
        outcomes=matrices["outcomes"],
        instruments=table,
        feature_names=tuple(
            _names("feature_names", feature_names, column_names(features), matrices["features"].shape[1], "x")
        ),
        outcome_names=tuple(
            _names("outcome_names", outcome_names, column_names(outcomes), matrices["outcomes"].shape[1], "y")
        ),
        bypass_names=tuple(
            _names("bypass", None, column_names(bypass), matrices["bypass"].shape[1], "bypass:")
        ),
        rank=_rank(rank, matrices["bypass"].shape[1]),
    )


def _matrix(name: str, value: Any) -> NDArray[Any]:
    """Runs on rows, in float64; features in single precision stay as they are, a view (of a file, too)."""
    single = name == "features" and isinstance(value, np.ndarray) and value.dtype == np.float32
    array = value if single and not isinstance(value, np.ma.MaskedArray) else checked_array(value, name)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(name, f"{array.ndim} dimensions", "Give a matrix, runs on rows")
    return array


def _vector(name: str, value: Any) -> NDArray[Any]:
    if name == "clean":
        return checked_truths(value, name)
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        row = int(np.flatnonzero(np.ma.getmaskarray(value).ravel())[0])
        raise InputError(f"{name}, row {row}", "masked", "Fill in a value for every run")
    array = np.asarray(value)
    if array.ndim != 1:
        raise InputError(name, f"{array.ndim} dimensions", "Give one value per run")
    missing = pd.isna(array)
    if missing.any():
        raise InputError(
            f"{name}, row {int(np.flatnonzero(missing)[0])}", "missing", "Fill in a value for every run"
        )
    return array


def _rank(rank: Any, held: int) -> int:
    """Bypass components to adjust for: all, or some of them."""
    if rank is None:
        return held
    chosen = checked_count(rank, "rank", least=0, unit="bypass components")
    if chosen > held:
        raise InputError("rank", f"{chosen}, and there are {held} bypass components", f"Ask for 0 to {held}")
    return chosen


def _names(
    argument: str, given: Sequence[str] | None, own: list[str] | None, count: int, letter: str
) -> list[str]:
    """Names as given, else those of the columns, else numbered ones."""
    if isinstance(given, str):
        raise InputError(argument, repr(given), "Give a list of names, one per column")
    if given is None:
        given = own if own is not None else [f"{letter}{i}" for i in range(count)]
    names = [str(n) for n in given]
    if len(names) != count:
        raise InputError(argument, f"{len(names)} names for {count} columns", "Give one name per column")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(argument, f"{name!r} appears twice", "Give distinct names")
        seen.add(name)
    return names


def _one_each(frame: pd.DataFrame, of: str, has: str, several: str, why: str) -> None:
    """Refuse a prompt in two families, or a family in two splits."""
    many = frame.groupby(of, sort=False)[has].nunique()
    if (many > 1).any():
        which = many.index[many > 1][0]
        shown = which.item() if isinstance(which, np.generic) else which
        found = f"{of} {shown!r} is in {many[which]} {several}"
        raise InputError(has, found, f"{why}: give all its runs the same value")
