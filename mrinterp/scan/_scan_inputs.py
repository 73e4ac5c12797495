"""What a scan of features is given: arrays, memory maps or sparse matrices, checked before anything is multiplied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.array_checks import checked_array, checked_truths
from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.scan._feature_files import Features, opened_features
from mrinterp.stats.scan.block_scan import Outcomes, outcome_side
from mrinterp.stats.scan.dose_side import ERRORS, DoseSide, Within, dose_side, within

__all__ = ["ScanInputs", "checked_inputs", "side_of"]

Array = NDArray[np.float64]

INSTRUMENT_COLUMNS = ("instrument", "kind", "locus", "allele", "unit", "placebo")

FEWEST_FAMILIES = 2
"""Families that errors clustered by family need at all; below 40 they are optimistic."""


@dataclass(frozen=True, eq=False)
class ScanInputs:
    """Checked inputs of a scan, names and all."""

    doses: Array
    features: Features
    outcomes: Array
    prompt: NDArray[Any]
    family: NDArray[Any]
    kind: NDArray[Any] | None
    clean: NDArray[np.bool_] | None
    covariates: Array | None
    instruments: pd.DataFrame
    feature_names: tuple[str, ...] | None
    outcome_names: tuple[str, ...]

    def digests(self) -> dict[str, str]:
        """SHA-256 of every input, by name."""

        def of(value: Any) -> str:
            if value is None:
                return ""
            array = np.asarray(value)
            held = array.astype(str) if array.dtype.kind == "O" else np.ascontiguousarray(array)
            return hashlib.sha256(f"{held.shape}{held.dtype.kind}".encode() + held.tobytes()).hexdigest()

        names = ("doses", "outcomes", "prompt", "family", "kind", "clean", "covariates")
        return {name: of(getattr(self, name)) for name in names} | {"features": self.features.digest()}


def checked_inputs(
    doses: Any,
    features: Any,
    outcomes: Any,
    prompt: Any,
    family: Any,
    *,
    kind: Any = None,
    clean: Any = None,
    covariates: Any = None,
    instruments: Sequence[str] | pd.DataFrame | None = None,
    feature_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    placebo: Sequence[str] = (),
) -> ScanInputs:
    """Inputs of one length, with finite doses and outcomes and distinct names.

    Raises
    ------
    InputError
        Names the array, the row and the fix.
    """
    held = opened_features(features)
    N, J = held.shape
    z, y = _matrix("doses", doses, N), _matrix("outcomes", outcomes, N)
    c = None if covariates is None else _matrix("covariates", covariates, N)
    labels = {"prompt": prompt, "family": family, "kind": kind}
    words = {n: None if v is None else _labels(n, v, N) for n, v in labels.items()}
    of = None if clean is None else checked_truths(clean, "clean")
    if of is not None and len(of) != N:
        raise InputError("clean", f"{len(of)} rows; features has {N}", "Give every array one row per run")
    assert words["prompt"] is not None
    assert words["family"] is not None
    _one_family(words["prompt"], words["family"])
    table = _instruments(instruments, z.shape[1], placebo)
    return ScanInputs(
        z,
        held,
        y,
        words["prompt"],
        words["family"],
        words["kind"],
        of,
        c,
        table,
        None if feature_names is None else tuple(_names("feature_names", feature_names, J, "x")),
        tuple(_names("outcome_names", outcome_names, y.shape[1], "y")),
    )


def side_of(
    inputs: ScanInputs, errors: str, joint: bool, paired: bool
) -> tuple[DoseSide, Outcomes, Within, NDArray[np.int64]]:
    """Doses and outcomes ready to be multiplied, how rows become changes, and every row's family.

    Raises
    ------
    InputError
        For doses that do not vary within prompts, clean runs that are missing, too few families, or dependent doses in
        joint effects.
    """
    checked_choice(errors, "errors", ERRORS)
    if paired and inputs.clean is None:
        raise InputError(
            "paired", "no clean runs", "Say which run of every prompt is clean, or leave paired out"
        )
    try:
        how, family = within(
            inputs.prompt, inputs.family, inputs.kind, inputs.clean, paired, inputs.covariates
        )
    except ValueError as e:
        raise InputError("clean", str(e), "Give every prompt exactly one") from None
    count = len(np.unique(family))
    if errors in ("CR3", "CR1") and count < FEWEST_FAMILIES:
        fix = "Errors clustered by family need at least 2 (40 are better); or ask for errors = 'HC3'"
        raise InputError("family", f"{count} family", fix)
    try:
        side = dose_side(inputs.doses, how, family, errors, joint)
    except ValueError as e:
        raise InputError("doses", str(e), "Leave one of them out, or ask for marginal effects") from None
    if not (side.total > 0).any():
        raise InputError("doses", "none varies within prompts", "Give every prompt runs with different doses")
    return side, outcome_side(side, inputs.outcomes), how, family


def _matrix(name: str, value: Any, rows: int) -> Array:
    array = checked_array(value, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != rows:
        found = f"shape {array.shape}; features has {rows} rows"
        raise InputError(name, found, "Give every array one row per run")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        fix = "Values must be finite; drop the run or mend its source"
        raise InputError(f"{name}, row {row}, column {column}", f"value {array[row, column]}", fix)
    return array


def _labels(name: str, value: Any, rows: int) -> NDArray[Any]:
    array = np.asarray(value)
    if array.shape != (rows,):
        raise InputError(name, f"shape {array.shape}; features has {rows} rows", "Give one value per run")
    missing = np.flatnonzero(pd.isna(array))
    if len(missing):
        raise InputError(f"{name}, row {missing[0]}", "missing", "Fill in a value for every run")
    return array


def _instruments(
    given: Sequence[str] | pd.DataFrame | None, count: int, placebo: Sequence[str]
) -> pd.DataFrame:
    """One row per instrument: what is given of them, else their names."""
    if isinstance(given, pd.DataFrame):
        lacking = [c for c in INSTRUMENT_COLUMNS if c not in given]
        if lacking:
            fix = f"Give a table with {', '.join(INSTRUMENT_COLUMNS)}, or names alone"
            raise InputError("instruments", f"no column {lacking[0]!r}", fix)
        if len(placebo):
            fix = "Mark placebo instruments in the table, in its column placebo"
            raise InputError("placebo", "given beside a table of instruments", fix)
        _names("instruments", list(given["instrument"]), count, "z")
        return given[list(INSTRUMENT_COLUMNS)].reset_index(drop=True)
    names = _names("instruments", given, count, "z")
    unknown = sorted(set(placebo) - set(names))
    if unknown:
        raise InputError("placebo", f"{unknown[0]!r} is not an instrument", f"Instruments: {names[:8]}")
    kinds = ["placebo" if n in placebo else "given" for n in names]
    table = pd.DataFrame({"instrument": names, "kind": kinds})
    return table.assign(locus="", allele="", unit="dose", placebo=[n in placebo for n in names])


def _one_family(prompt: NDArray[Any], family: NDArray[Any]) -> None:
    per_prompt = (
        pd.DataFrame({"prompt": prompt, "family": family}).groupby("prompt", sort=False)["family"].nunique()
    )
    if (per_prompt > 1).any():
        which = per_prompt.index[per_prompt > 1][0]
        found = f"prompt {which!r} is in {per_prompt[which]} families"
        raise InputError(
            "family", found, "A prompt belongs to exactly one family: give all its runs the same value"
        )


def _names(argument: str, given: Sequence[str] | None, count: int, letter: str) -> list[str]:
    """Distinct names, numbered ones by default."""
    if given is None:
        return [f"{letter}{i}" for i in range(count)]
    if isinstance(given, str):
        raise InputError(argument, repr(given), "Give a list of names, one per column")
    names = [str(n) for n in given]
    if len(names) != count:
        raise InputError(argument, f"{len(names)} names for {count} columns", "Give one name per column")
    if len(set(names)) < count:
        twice = pd.Series(names)
        raise InputError(
            argument, f"{twice[twice.duplicated()].iloc[0]!r} appears twice", "Give distinct names"
        )
    return names
