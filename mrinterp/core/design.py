"""What will be run: prompts, randomized perturbations of them, families, splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.shown import Shown
from mrinterp.core.storage import (
    FORMAT_VERSION,
    digest,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["SPLITS", "UNREAD", "Design"]

SPLITS = ("discovery", "estimation", "replication", "knockout")

UNREAD = "unread"
"""Split of the families that no stage of a study reads: for knockouts that are chosen after its results were."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Design(Shown):
    """Prompts, runs and instruments of a study.

    Parameters
    ----------
    inputs : DataFrame
        One row per distinct text: ``text`` and, per slot, ``<slot>_start, <slot>_end`` (characters); for inputs that are
        no texts ``array_row``, the row of ``arrays`` that it is, and ``shown``, what a page shows of it.
    runs : DataFrame
        One row per forward run, in canonical order: ``run, input, prompt, family, split, kind``
        (``clean`` or the kind of perturbation) and ``clean`` (row of the prompt's clean run).
    instruments : DataFrame
        One row per instrument: ``instrument, kind, locus, allele, unit, placebo``.
    doses : ndarray (N, J), float32
        Dose of every instrument in every run.
    noise_directions : ndarray (C, D, width), float32
        Fixed directions of the embedding noise per position class; its instruments stand in
        ``instruments`` class by class in the same order.
    settings : dict
        Canonical run block, padded length, seeds, position classes, noise scale.
    arrays : mapping of str to ndarray
        What inputs that are no texts are made of: ``values`` (one row per distinct input), for tokens also ``own`` and
        ``classes``; ``noise_class`` and ``noise_slot``, the class of every place that noise is added to, and its number
        within the class.
    """

    inputs: pd.DataFrame
    runs: pd.DataFrame
    instruments: pd.DataFrame
    doses: NDArray[np.float32]
    noise_directions: NDArray[np.float32]
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.doses.shape != (len(self.runs), len(self.instruments)):
            raise InputError(
                "Design doses",
                f"shape {self.doses.shape} for {len(self.runs)} runs and {len(self.instruments)} instruments",
                "One row per run, one column per instrument",
            )

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        families = {split: self.families(split) for split in dict.fromkeys(self.runs["split"])}
        return (
            f"{len(self.runs):,} runs of {self.runs['prompt'].nunique():,} prompts, {len(self.instruments):,}"
            f" instruments; families: {', '.join(f'{n:,} {split}' for split, n in families.items())}"
        )

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        return self.runs.head(rows), len(self.runs)

    def to_frame(self) -> pd.DataFrame:
        """One row per run, as in ``runs``."""
        return self.runs.copy()

    @property
    def digest(self) -> str:
        """Hash of everything that will be run."""
        import hashlib

        h = hashlib.sha256(digest(self.settings).encode())
        for frame in (self.inputs, self.runs, self.instruments):
            h.update(frame.to_csv(index=False).encode())
        h.update(np.ascontiguousarray(self.doses).tobytes())
        h.update(np.ascontiguousarray(self.noise_directions).tobytes())
        for name, value in sorted(self.arrays.items()):
            h.update(f"{name}{value.shape}{value.dtype}".encode())
            h.update(np.ascontiguousarray(value).tobytes())
        return h.hexdigest()

    def words(self, rows: NDArray[np.int_]) -> dict[str, NDArray[np.object_]]:
        """The word in every slot of the clean prompts of these runs, by slot; "" where a prompt lacks it."""
        clean = self.runs["clean"].to_numpy()[rows]
        held = self.inputs.iloc[self.runs["input"].to_numpy()[clean]]
        found: dict[str, NDArray[np.object_]] = {}
        for slot in [c.removesuffix("_start") for c in held if c.endswith("_start")]:
            ends = held[[f"{slot}_start", f"{slot}_end"]].fillna(0).astype(int).to_numpy()
            said = [t[max(a, 0) : max(b, 0)] for t, (a, b) in zip(held["text"], ends.tolist(), strict=True)]
            found[slot] = np.array(said, dtype=object)
        return found

    def rows(self, split: str, kinds: tuple[str, ...] | None = None) -> NDArray[np.int_]:
        """Rows of a split, in canonical order; only some kinds of run where asked."""
        mask = (self.runs["split"] == split).to_numpy()
        if kinds is not None:
            mask = mask & self.runs["kind"].isin(kinds).to_numpy()
        return np.flatnonzero(mask)

    def columns(self, kind: str) -> NDArray[np.int_]:
        """Columns of the instruments of one kind."""
        return np.flatnonzero((self.instruments["kind"] == kind).to_numpy())

    def families(self, split: str) -> int:
        """Number of families in a split."""
        return int(self.runs.loc[self.runs["split"] == split, "family"].nunique())

    def with_noise(self, scale: dict[str, float]) -> Design:
        """The same with the noise of every token class multiplied by its scale."""
        names = self.settings["position_classes"][: len(self.noise_directions)]
        factor = np.array([scale[n] for n in names], dtype=np.float32)[:, None, None]
        settings = self.settings | {"noise_scale": {n: scale[n] for n in names}}
        return replace(self, noise_directions=self.noise_directions * factor, settings=settings)

    def save(self, folder: Path) -> None:
        """Write the design into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            write_table(partial / "inputs.parquet", self.inputs)
            write_table(partial / "runs.parquet", self.runs)
            write_table(partial / "instruments.parquet", self.instruments)
            np.save(partial / "doses.npy", self.doses)
            np.save(partial / "noise_directions.npy", self.noise_directions)
            for name, value in self.arrays.items():
                np.save(partial / f"array_{name}.npy", value)
            header = {
                "kind": "design",
                "format_version": FORMAT_VERSION,
                "digest": self.digest,
                "settings": self.settings,
            }
            header |= {"arrays": sorted(self.arrays)} if self.arrays else {}
            write_json(partial / "design.json", header)

    @classmethod
    def load(cls, folder: Path) -> Design:
        """Reopen what `save` wrote; doses stay memory-mapped."""
        folder = Path(folder)
        header = read_header(folder / "design.json", "design")
        return cls(
            inputs=read_table(folder / "inputs.parquet"),
            runs=read_table(folder / "runs.parquet"),
            instruments=read_table(folder / "instruments.parquet"),
            doses=np.load(folder / "doses.npy", mmap_mode="r"),
            noise_directions=np.load(folder / "noise_directions.npy", mmap_mode="r"),
            settings=header["settings"],
            arrays={n: np.load(folder / f"array_{n}.npy", mmap_mode="r") for n in header.get("arrays", ())},
        )
