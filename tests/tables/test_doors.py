"""The doors for tables, as a person types them: a few lines from files to estimates and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from tests.coloc.coloc_simulation import simulate_locus, simulate_traits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tables whose alleles are swapped in half of the rows, and one that lacks two instruments."""
    rng = np.random.default_rng(3)
    names = [f"rs{k}" for k in range(20)]
    alleles = {"effect_allele": "A", "other_allele": "G"}
    bmi = pd.DataFrame({"SNP": names, **alleles, "eaf": 0.3, "beta": rng.uniform(0.1, 0.4, 20), "se": 0.01})
    chd = bmi.assign(beta=0.5 * bmi["beta"] + rng.normal(0.0, 0.01, 20), se=0.01)
    odd = chd.index % 2 == 1
    chd.loc[odd, ["effect_allele", "other_allele"]] = ["G", "A"]
    chd.loc[odd, "beta"] *= -1.0
    bmi.to_csv(tmp_path / "bmi.csv", index=False)
    chd.iloc[:18].to_csv(tmp_path / "chd.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_read_harmonize_estimate_plot(folder: Path) -> None:
    data = mrinterp.tables.read("bmi.csv", outcome="chd.csv")
    lost = data.dropped
    results = mrinterp.run_mr(data, ["ivw", "weighted_median"])
    mrinterp.plot(results[0], "effects.svg")

    assert lost["instrument"].tolist() == ["rs18", "rs19"]
    assert lost["reason"].tolist() == ["not in chd.csv"] * 2
    for result in results:
        row = result.to_frame().iloc[0]
        assert (row["exposure"], row["outcome"]) == ("bmi", "chd")
        assert row["estimate"] == pytest.approx(0.5, abs=0.05)
    assert (folder / "effects.svg").stat().st_size > 1000


def test_data_frames_and_files_give_the_same(folder: Path) -> None:
    data = mrinterp.tables.read("bmi.csv", outcome="chd.csv")
    bmi, chd = (pd.read_csv(folder / f"{name}.csv") for name in ("bmi", "chd"))
    again = mrinterp.tables.read(bmi, exposure="bmi", outcome={"chd": chd})
    np.testing.assert_array_equal(again.beta_y, data.beta_y)
    assert (again.exposures, again.outcomes) == (("bmi",), ("chd",))
    assert again.dropped["reason"].tolist() == ["not in the data frame of chd"] * 2
    mrinterp.tables.write(data, folder / "both.parquet")
    one = mrinterp.tables.read(folder / "both.parquet")
    np.testing.assert_array_equal(one.beta_y, data.beta_y)
    several = mrinterp.tables.read(bmi, exposure={"ldl": bmi.assign(beta=bmi["beta"] ** 2)}, outcome=chd)
    assert several.exposures == ("exposure", "ldl")
    np.testing.assert_allclose(several.beta_x[1], several.beta_x[0] ** 2)


def test_correlations_come_as_tables_or_arrays(folder: Path) -> None:
    names = [f"rs{k}" for k in range(20)]
    ld = 0.3 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    frame = pd.DataFrame(ld, columns=names)
    by_name = mrinterp.tables.read("bmi.csv", outcome="chd.csv", ld=frame, error_corr=0.2)
    by_place = mrinterp.tables.read(
        "bmi.csv", outcome="chd.csv", ld=ld[:18, :18], error_corr=by_name.error_corr
    )
    np.testing.assert_array_equal(by_name.ld, ld[:18, :18])
    np.testing.assert_array_equal(by_place.ld, by_name.ld)
    np.testing.assert_array_equal(by_place.error_corr, [[1, 0.2], [0.2, 1]])
    with pytest.raises(InputError, match="for 18 instruments"):
        mrinterp.tables.read("bmi.csv", outcome="chd.csv", ld=ld)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"outcome": "blood"}, "no trait 'blood'|effects of a single trait"),
        ({"exposure": "bmi.csv"}, "without a table of the outcome"),
        ({"exposure": ["ldl", "hdl"], "outcome": "chd.csv"}, "effects of a single trait"),
        ({"outcome": ["chd.csv", "blood"]}, "trait 'blood': no such file"),
        ({"outcome": "chd.csv", "action": 4}, "harmonize action"),
        ({"outcome": {"chd": "chd.csv"}, "error_corr": 2}, "between -1 and 1"),
    ],
)
def test_what_cannot_be_read_is_said(folder: Path, given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mrinterp.tables.read("bmi.csv", **given)


def test_bad_rows_of_a_data_frame_are_counted_from_0() -> None:
    frame = pd.DataFrame({"SNP": ["a", "b"], "beta": [0.1, 0.2], "se": [0.1, 0.0]})
    with pytest.raises(InputError, match="data frame, row 1, column 'se'"):
        mrinterp.tables.read_trait(frame)


@pytest.fixture
def locus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A locus of 30 instruments, the fifth of which acts on both traits, and its LD."""
    rng = np.random.default_rng(8)
    x = simulate_locus(rng, 800, 30)
    y = simulate_traits(rng, x, [np.array([4]), np.array([4])], 0.4)
    beta, se, _ = mrinterp.coloc.marginal_effects(x.x, y.T)
    table = {"snp": [f"s{j}" for j in range(30)]}
    for t in range(2):
        table |= {f"beta_{t + 1}": beta[t], f"se_{t + 1}": se[t]}
    pd.DataFrame(table).to_csv(tmp_path / "locus.csv", index=False)
    pd.DataFrame(x.ld, columns=table["snp"]).to_csv(tmp_path / "ld.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_read_a_locus_and_say_everything(locus: Path) -> None:
    table = mrinterp.tables.read_coloc_table("locus.csv", ld="ld.csv", n=(800, 800), sd=(1.1, 1.1))
    report = mrinterp.coloc.report_pair(table.to_mrdata(), sd_x=table.sd[0], sd_y=table.sd[1])
    text = str(report)

    assert report.checked
    assert report.misfit == (None,)
    assert report.coloc["trait 1", "trait 2"].verdict == "the two share a cause"
    assert report.signals.posterior[0, 0, 0, 4] > 0.9
    assert text.count("the two share a cause") == 2


def test_fine_map_a_locus(locus: Path) -> None:
    table = pd.read_csv("locus.csv").rename(columns={"beta_1": "beta", "se_1": "se"})
    one = mrinterp.tables.read_finemap_table(table, ld="ld.csv")
    found = mrinterp.coloc.finemap_summary(one.z, one.ld, 800, instruments=one.instruments)
    assert "s4" in found["trait"][0].members


def test_signals_without_fine_mapping(locus: Path) -> None:
    data = mrinterp.tables.read_coloc_table("locus.csv", ld="ld.csv", n=(800, 800)).to_mrdata()
    x, y = (mrinterp.coloc.TraitEffects.from_data(data, t, sd=1.1) for t in ("trait 1", "trait 2"))
    signals = mrinterp.coloc.colocalize_conditional(x, y)
    assert signals.posterior[0, 0, 0, 4] > 0.9
    assert mrinterp.coloc.condition_on(x, "s4")["neglog10p"].max() < 5
    assert mrinterp.coloc.stepwise(data.beta_x / data.se_x, data.ld, instruments=data.instruments)[
        "instrument"
    ].tolist() == ["s4"]
