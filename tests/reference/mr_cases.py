"""Finds the reference cases: simulated ones beside this file, classic ones beside the checkout."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mrinterp.core.mrdata import MRData
from mrinterp.tables._summary import read_summary
from tests.conftest import reference_folder

HERE = Path(__file__).parent

UNIVARIABLE = [
    "correlated",
    "directional_inside",
    "outliers30",
    "three_snps",
    "underdispersed",
    "valid",
    "weak",
]
MULTIVARIABLE = ["mv3_condweak", "mv4_valid"]
CLASSIC_UNIVARIABLE = [
    "uv01_ldl_chd",
    "uv02_hdl_chd",
    "uv03_trig_chd",
    "uv04_calcium_fastgluc",
    "uv05_bmi_chd",
    "uv06_presso_E1",
    "uv07_fg_t2d",
    "uv08_bmi_sbp",
]
CLASSIC_MULTIVARIABLE = ["mv01_lipids_sbp", "mv02_lipids_chd", "mv03_presso"]
CLASSIC = [*CLASSIC_UNIVARIABLE, *CLASSIC_MULTIVARIABLE]
ALL = [*UNIVARIABLE, *MULTIVARIABLE, *CLASSIC]


@dataclass(frozen=True)
class Entry:
    """One result of one published function on one case."""

    case: str
    method_id: str
    package: str
    args: dict[str, Any]
    results: dict[str, Any]
    tolerance: dict[str, Any]
    stochastic: bool


@dataclass(frozen=True)
class Case:
    """Data and everything that published packages made of them."""

    name: str
    data: MRData
    meta: dict[str, Any]
    entries: dict[str, Entry]


def case_folder(name: str) -> Path | None:
    if name in CLASSIC or name == "harmonise_bmi_chd":
        folder = reference_folder() / "classic" / name
        return folder if folder.is_dir() else None
    return HERE / "cases" / name


@cache
def load_case(name: str) -> Case | None:
    """A case, or None where its data are not on this machine."""
    folder = case_folder(name)
    if folder is None:
        return None
    meta = json.loads((folder / "meta.json").read_text())
    expected = json.loads((folder / "expected.json").read_text())
    data = read_summary(folder / "data.csv")
    if (folder / "corr.csv").exists():
        data = replace(data, ld=np.loadtxt(folder / "corr.csv", delimiter=",", skiprows=1))
    entries = {
        e["method_id"]: Entry(
            name,
            e["method_id"],
            f"{e['package']} {e['version']}",
            e["args"] or {},
            e["results"],
            e.get("tolerance_hint") or {},
            bool(e["stochastic"]),
        )
        for e in expected["entries"]
    }
    return Case(name, data, meta, entries)
