"""Harmonization compared with TwoSampleMR's, row by row, for the three ways to treat palindromes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.mrdata import MRData
from mrinterp.tables._align_alleles import align_alleles
from mrinterp.tables._harmonize import harmonize
from mrinterp.tables._traits import TraitTable, read_trait
from tests.conftest import reference_folder

pytestmark = pytest.mark.needs("classic")

ACTIONS = [1, 2, 3]
COLUMNS = {
    "effect_allele_x": "effect_allele.exposure",
    "other_allele_x": "other_allele.exposure",
    "effect_allele_y": "effect_allele.outcome",
    "other_allele_y": "other_allele.outcome",
    "beta_y": "beta.outcome",
    "eaf_x": "eaf.exposure",
    "eaf_y": "eaf.outcome",
    "remove": "remove",
    "palindromic": "palindromic",
    "ambiguous": "ambiguous",
    "keep": "mr_keep",
}


@cache
def tables() -> tuple[TraitTable, TraitTable]:
    folder = reference_folder() / "classic" / "harmonise_bmi_chd"
    x = read_trait(folder / "exposure.csv", prefer="exposure")
    y = read_trait(folder / "outcome.csv", prefer="outcome")
    return x, y


def published(action: int) -> pd.DataFrame:
    text = (reference_folder() / "classic" / "harmonise_bmi_chd" / "expected.json").read_text()
    entries: dict[str, dict[str, Any]] = {e["method_id"]: e for e in json.loads(text)["entries"]}
    entry = entries[f"tsmr.harmonise_data.action{action}"]
    assert entry["args"] == {"action": action, "tolerance": 0.08}
    return pd.DataFrame(entry["results"]).set_index("SNP")


def ours(action: int) -> MRData:
    return harmonize(*tables(), action=action)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_row_is_aligned_as_published(action: int) -> None:
    theirs = published(action)
    x, y = (t.frame.set_index("instrument").loc[theirs.index] for t in tables())
    pair = pd.DataFrame({"instrument": theirs.index, "beta_y": y["beta"].to_numpy()})
    for side, frame in (("x", x), ("y", y)):
        for name in ("effect_allele", "other_allele", "eaf"):
            pair[f"{name}_{side}"] = frame[name].to_numpy()
    aligned = align_alleles(pair, action)
    for mine, name in COLUMNS.items():
        if theirs[name].dtype.kind == "f":
            np.testing.assert_allclose(aligned[mine], theirs[name].to_numpy(float), rtol=1e-12, err_msg=name)
        else:
            assert aligned[mine].tolist() == theirs[name].tolist(), name


@pytest.mark.parametrize("action", ACTIONS)
def test_kept_instruments_carry_the_published_numbers(action: int) -> None:
    data, theirs = ours(action), published(action)
    kept = theirs[theirs["mr_keep"]]
    assert set(data.instruments) == set(kept.index)
    kept = kept.loc[list(data.instruments)]
    np.testing.assert_allclose(data.beta_x[0], kept["beta.exposure"], rtol=1e-12)
    np.testing.assert_allclose(data.beta_y[0], kept["beta.outcome"], rtol=1e-12)
    assert data.info["effect_allele_y"].tolist() == kept["effect_allele.outcome"].tolist()


@pytest.mark.parametrize("action", ACTIONS)
def test_every_dropped_instrument_has_its_reason(action: int) -> None:
    data, theirs = ours(action), published(action)
    reasons = data.dropped.set_index("instrument")["reason"]
    gone = theirs[~theirs["mr_keep"]]
    assert set(gone.index) <= set(reasons.index)
    for name, row in gone.iterrows():
        alleles = f"{row['effect_allele.exposure']}/{row['other_allele.exposure']}"
        words = "do not match" if row["remove"] else "palindromic alleles"
        assert words in reasons[name], name
        assert alleles in reasons[name], name
    exposure, outcome = (set(t.frame["instrument"]) for t in tables())
    missing = set(reasons.index) - set(gone.index)
    assert missing == exposure - outcome
    assert all(reasons[name].startswith("not in") for name in missing)
    assert len(data.instruments) + len(reasons) == len(exposure)
