"""The run-level table that everything run-level is computed from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.array_checks import checked_array
from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.core.shown import Shown, listed
from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["Changes", "Panel"]

Array = NDArray[np.float64]

WIDE = 1024
"""Features beyond which they are stored as one array: a table of 65,536 columns takes half a minute to write."""


ROWS = 256
"""Rows that means are taken from at once: no second array of their size."""


def _centre(values: Array, codes: NDArray[np.int_], count: int) -> None:
    """Take the mean of every one of ``count`` groups of rows from its rows, in place."""
    mean = np.zeros((count, values.shape[1]))
    np.add.at(mean, codes, values)
    mean /= np.bincount(codes, minlength=count)[:, None]
    for first in range(0, len(values), ROWS):
        at = slice(first, first + ROWS)
        values[at] -= mean[codes[at]]


def _is_masked(value: NDArray[Any]) -> bool:
    return isinstance(value, np.ma.MaskedArray)


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """Within-prompt changes of N runs: against the clean run, or deviations from the prompt mean.

    ``absorbed`` counts the prompt means that were removed (0 when paired with clean runs).
    """

    doses: Array
    features: Array
    bypass: Array
    outcomes: Array
    prompt: NDArray[Any]
    family: NDArray[Any]
    kind: NDArray[Any]
    absorbed: int


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Panel(Shown):
    """One row per run: doses, features, bypass scores, outcomes, prompt, family, split.

    Parameters
    ----------
    runs : DataFrame
        ``run, prompt, family, split, kind``; ``kind == "clean"`` marks the unperturbed run of a prompt.
    doses : ndarray (N, J)
        Dose of every instrument in every run, as assigned.
    features : ndarray (N, F)
        Values of the features.
    bypass : ndarray (N, R)
        What passes the features by, in nested order: the first r columns are the bypass at rank r.
    outcomes : ndarray (N, O)
        Values of the outcomes.
    instruments : DataFrame
        ``instrument, kind, locus, allele, unit, placebo``.
    feature_names, outcome_names, bypass_names : tuple of str
        One name per column.
    labels : tuple of str
        What each feature responds to, in words.
    rank : int
        Bypass rank chosen before estimation was read.
    units : dict
        ``feature`` and ``outcome`` units.
    meta : dict
        How the runs were made.

    Raises
    ------
    InputError
        Where lengths disagree or values are not finite; names the array, the row and the column.

    Notes
    -----
    `mrinterp.from_arrays` makes one from arrays, `mrinterp.Study` from a network.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> doses = np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> runs = {"prompt": [0, 0, 1, 1], "family": [0, 0, 1, 1], "clean": doses[:, 0] == 0}
    >>> panel = mrinterp.from_arrays(doses=doses, features=2 * doses, outcomes=3 * doses, **runs)
    >>> panel.changes().features.ravel()  # against the clean run of the same prompt
    array([2., 2.])
    """

    runs: pd.DataFrame
    doses: NDArray[Any]
    features: NDArray[Any]
    bypass: NDArray[Any]
    outcomes: NDArray[Any]
    instruments: pd.DataFrame
    feature_names: tuple[str, ...]
    outcome_names: tuple[str, ...]
    bypass_names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    rank: int = 0
    units: dict[str, str] = field(default_factory=lambda: {"feature": "unit", "outcome": "unit"})
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        N = len(self.runs)
        names = {
            "doses": list(self.instruments["instrument"]),
            "features": list(self.feature_names),
            "bypass": list(self.bypass_names),
            "outcomes": list(self.outcome_names),
        }
        for name, columns in names.items():
            value = getattr(self, name)
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or _is_masked(value):
                value = checked_array(value, name)
                object.__setattr__(self, name, value)
            if value.ndim != 2 or len(value) != N:
                raise InputError(
                    name, f"shape {value.shape} for {N} runs", f"Give one row per run: ({N}, columns)"
                )
            if value.shape[1] != len(columns):
                raise InputError(
                    name, f"{value.shape[1]} columns and {len(columns)} names", "Give one name per column"
                )
            bad = np.argwhere(~np.isfinite(value))
            if len(bad):
                row, column = bad[0]
                raise InputError(
                    f"{name}, row {row}, column {columns[column]!r}",
                    f"value {value[row, column]}",
                    "Values must be finite; drop the run or mend its source",
                )
        if not self.labels:
            object.__setattr__(self, "labels", ("",) * len(self.feature_names))

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        clean = int((self.runs["kind"] == "clean").sum())
        return (
            f"{len(self.runs):,} runs ({clean:,} clean) in {self.families:,} families: {self.doses.shape[1]:,}"
            f" instruments, {len(self.feature_names):,} features, {self.bypass.shape[1]:,} bypass scores (rank"
            f" {self.rank}), outcomes {listed(self.outcome_names)}"
        )

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        head = self.runs.head(rows).reset_index(drop=True)
        values = {f"feature {n}": self.features[:rows, i] for i, n in enumerate(self.feature_names[:8])}
        values |= {f"outcome {n}": self.outcomes[:rows, i] for i, n in enumerate(self.outcome_names[:4])}
        return head.assign(**values), len(self.runs)

    def to_frame(self, with_features: bool = True) -> pd.DataFrame:
        """One row per run: who it is, then ``feature:<name>`` and ``outcome:<name>``; doses and bypass stay out."""
        names = [f"feature:{n}" for n in self.feature_names] if with_features else []
        features = pd.DataFrame(np.asarray(self.features)[:, : len(names)], columns=names)
        outcomes = pd.DataFrame(
            np.asarray(self.outcomes), columns=[f"outcome:{n}" for n in self.outcome_names]
        )
        return pd.concat([self.runs.reset_index(drop=True), features, outcomes], axis=1)

    def select(self, split: str | None = None, kinds: tuple[str, ...] | None = None) -> Panel:
        """The runs of a split and of some kinds; clean runs always come along."""
        mask = np.ones(len(self.runs), bool)
        if split is not None:
            checked_choice(split, "split", sorted({str(s) for s in self.runs["split"]}))
            mask &= (self.runs["split"] == split).to_numpy()
        if kinds is not None:
            present = sorted({str(k) for k in self.runs["kind"]} - {"clean"})
            if not set(kinds) & set(present):
                raise InputError(
                    "kinds", listed(list(kinds)), f"No run is of that kind; there are {listed(present)}"
                )
            mask &= self.runs["kind"].isin([*kinds, "clean"]).to_numpy()
        return self._take(np.flatnonzero(mask))

    def _take(self, rows: NDArray[np.int_]) -> Panel:
        return Panel(
            runs=self.runs.iloc[rows].reset_index(drop=True),
            doses=self.doses[rows],
            features=self.features[rows],
            bypass=self.bypass[rows],
            outcomes=self.outcomes[rows],
            instruments=self.instruments,
            feature_names=self.feature_names,
            outcome_names=self.outcome_names,
            bypass_names=self.bypass_names,
            labels=self.labels,
            rank=self.rank,
            units=self.units,
            meta=self.meta,
        )

    @property
    def families(self) -> int:
        """Number of families."""
        return int(self.runs["family"].nunique())

    def clean(self) -> Panel:
        """Only the unperturbed runs."""
        return self._take(np.flatnonzero((self.runs["kind"] == "clean").to_numpy()))

    def changes(self) -> Changes:
        """Change of every perturbed run against the clean run of its prompt, in float64.

        Where no prompt has a clean run, deviations from the prompt mean instead (prompt fixed
        effects); ``absorbed`` then counts them.

        Raises
        ------
        InputError
            If some prompts have a clean run and others do not, or a prompt has several.
        """
        prompt, names = pd.factorize(self.runs["prompt"])
        is_clean = (self.runs["kind"] == "clean").to_numpy()
        counts = np.bincount(prompt[is_clean], minlength=len(names))
        arrays = (self.doses, self.features, self.bypass, self.outcomes)
        if is_clean.any():
            if (counts != 1).any():
                which = names[int(np.flatnonzero(counts != 1)[0])]
                raise InputError(
                    f"prompt {which!r}",
                    f"{counts[counts != 1][0]} clean runs",
                    "Give every prompt exactly one",
                )
            reference = np.empty(len(names), int)
            reference[prompt[is_clean]] = np.flatnonzero(is_clean)
            keep = np.flatnonzero(~is_clean)
            clean = reference[prompt[keep]]
            # Values stay in the precision that they are stored in; their differences are taken in double.
            moved = [np.subtract(a[keep], a[clean], dtype=float) for a in arrays]
            absorbed = 0
        else:
            keep = np.arange(len(prompt))
            moved = [np.array(a, dtype=float) for a in arrays]
            for a in moved:
                _centre(a, prompt, len(names))
            absorbed = len(names)
        runs = self.runs.iloc[keep]
        doses, features, bypass, outcomes = moved
        return Changes(
            doses=doses,
            features=features,
            bypass=bypass,
            outcomes=outcomes,
            prompt=runs["prompt"].to_numpy(),
            family=runs["family"].to_numpy(),
            kind=runs["kind"].to_numpy(),
            absorbed=absorbed,
        )

    def deviations(self) -> Changes:
        """Deviations of perturbed runs from the mean of their prompt's runs of the same kind.

        The prompt fixed effects of a factorial design: the average change that all runs of a prompt
        share (curvature, the other perturbations) leaves the marginal effect of one instrument.
        """
        change = self.changes()
        group = pd.Series(list(zip(change.prompt, change.kind, strict=True)))
        codes, names = pd.factorize(group)
        for moved in (change.doses, change.features, change.bypass, change.outcomes):
            _centre(moved, codes, len(names))
        return replace(change, absorbed=len(names))

    def of_features(self, columns: NDArray[np.int_]) -> Panel:
        """The same runs with some of the features, and no bypass: what is read of very many features at a time."""
        which = columns.tolist()
        return replace(
            self,
            features=np.take(self.features, columns, axis=1),  # indexing would turn it around
            bypass=np.zeros((len(self.runs), 0)),
            feature_names=tuple(self.feature_names[i] for i in which),
            labels=tuple(self.labels[i] for i in which),
            bypass_names=(),
            rank=0,
        )

    def save(self, folder: Path) -> None:
        """Write the panel into ``folder``: Parquet tables, memory-mappable ``.npy`` for doses and bypass, and for
        more than 1,024 features."""
        wide = len(self.feature_names) > WIDE
        with whole_folder(folder) as partial:
            write_table(partial / "panel.parquet", self.to_frame(with_features=not wide))
            if wide:
                np.save(partial / "features.npy", np.asarray(self.features))
            write_table(partial / "instruments.parquet", self.instruments)
            np.save(partial / "doses.npy", np.asarray(self.doses, dtype=np.float32))
            np.save(partial / "bypass.npy", np.asarray(self.bypass))
            header = {
                "kind": "panel",
                "format_version": FORMAT_VERSION,
                "feature_names": list(self.feature_names),
                "outcome_names": list(self.outcome_names),
                "bypass_names": list(self.bypass_names),
                "labels": list(self.labels),
                "rank": self.rank,
                "units": self.units,
                "meta": self.meta,
            }
            write_json(partial / "panel.json", header)

    @classmethod
    def load(cls, folder: Path) -> Panel:
        """Reopen what `save` wrote; doses and bypass, and very many features, stay memory-mapped."""
        folder = Path(folder)
        header = read_header(folder / "panel.json", "panel")
        table = read_table(folder / "panel.parquet")
        wide = (folder / "features.npy").exists()
        features = [] if wide else [f"feature:{n}" for n in header["feature_names"]]
        outcomes = [f"outcome:{n}" for n in header["outcome_names"]]
        return cls(
            runs=table.drop(columns=features + outcomes),
            doses=np.load(folder / "doses.npy", mmap_mode="r"),
            features=np.load(folder / "features.npy", mmap_mode="r") if wide else table[features].to_numpy(),
            bypass=np.load(folder / "bypass.npy", mmap_mode="r"),
            outcomes=table[outcomes].to_numpy(),
            instruments=read_table(folder / "instruments.parquet"),
            feature_names=tuple(header["feature_names"]),
            outcome_names=tuple(header["outcome_names"]),
            bypass_names=tuple(header["bypass_names"]),
            labels=tuple(header["labels"]),
            rank=int(header["rank"]),
            units=header["units"],
            meta=header["meta"],
        )
