"""Reference cases of colocalization and fine-mapping, and where they lie."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import reference_folder

HERE = Path(__file__).parents[1] / "reference_coloc"


def _classic(*names: str) -> tuple[Any, ...]:
    return tuple(pytest.param(name, marks=pytest.mark.needs("classic")) for name in names)


SIMULATED_COLOC = ("coloc_H0", "coloc_H1", "coloc_H3", "coloc_H4")
CLASSIC_COLOC = _classic("coloc_d1_d2", "coloc_d3_d4")
SIMULATED_SUSIE = ("susie_2", "susie_null")
CLASSIC_SUSIE = _classic("susie_n3")
SIMULATED_HYPRCOLOC = ("hyprcoloc_2clusters",)
CLASSIC_HYPRCOLOC = _classic("hyprcoloc_test")


@dataclass(frozen=True, eq=False)
class Case:
    """One folder of reference numbers."""

    folder: Path
    meta: dict[str, Any]
    entries: dict[str, dict[str, Any]]

    def path(self, name: str) -> Path:
        """A file of the case, plain or gzipped."""
        plain = self.folder / name
        return plain if plain.exists() else self.folder / f"{name}.gz"

    def has(self, name: str) -> bool:
        """Whether the case has a file."""
        return self.path(name).exists()

    def frame(self, name: str) -> pd.DataFrame:
        """A CSV of the case."""
        return pd.read_csv(self.path(name))

    def results(self, method: str) -> dict[str, Any]:
        """Results of one entry."""
        return self.entries[method]["results"]


@cache
def load_case(name: str) -> Case:
    """Open a case: one of ours, or a classic one from where the packages' own data lie."""
    folder = HERE / name
    if not folder.exists():
        folder = reference_folder() / "classic" / name
    packed = folder / "expected.json.gz"
    text = (
        gzip.decompress(packed.read_bytes()).decode()
        if packed.exists()
        else (folder / "expected.json").read_text()
    )
    entries = {e["method_id"]: e for e in json.loads(text)["entries"]}
    return Case(folder, json.loads((folder / "meta.json").read_text()), entries)


def hypotheses(results: dict[str, Any], suffix: str = "") -> np.ndarray:
    """PP.H0 to PP.H4 of a result, one row per signal pair."""
    return np.array([np.atleast_1d(results[f"PP.H{h}{suffix}"]) for h in range(5)], dtype=float).T
