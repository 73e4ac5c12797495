"""The verbs coloc and finemap as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from scipy.stats import norm

from mrinterp.cli import cli
from mrinterp.tables._locus import read_coloc_table
from tests.coloc.coloc_cases import hypotheses, load_case


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.output.count("\n") == 1
    for word in words:
        assert word in result.output


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    frame = load_case("coloc_H4").frame("data.csv")
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    return path, frame


@pytest.fixture
def sumstats(tmp_path: Path) -> tuple[Path, Path, pd.DataFrame, pd.DataFrame]:
    case = load_case("susie_2")
    frame, ld = case.frame("sumstats.csv"), case.frame("ld.csv")
    frame.to_csv(tmp_path / "sumstats.csv", index=False)
    ld.to_csv(tmp_path / "ld.csv", index=False)
    return tmp_path / "sumstats.csv", tmp_path / "ld.csv", frame, ld


def test_coloc_json_agrees_with_the_reference(table) -> None:
    path, _ = table
    case = load_case("coloc_H4")
    m, expected = case.meta, case.results("coloc.abf.p1_1e-3")
    p = expected["priors"]
    result = run(
        "coloc",
        path,
        "--type-1",
        "quant",
        "--type-2",
        "quant",
        "--sd-1",
        m["sdY_1"],
        "--sd-2",
        m["sdY_2"],
        "--p1",
        p["p1"],
        "--p2",
        p["p2"],
        "--p12",
        p["p12"],
        "--json",
    )
    out = json.loads(result.output)
    np.testing.assert_allclose([out[f"pp_h{h}"] for h in range(5)], hypotheses(expected)[0], rtol=1e-8)
    defaults = json.loads(run("coloc", path, "--sd-1", m["sdY_1"], "--sd-2", m["sdY_2"], "--json").output)
    np.testing.assert_allclose(defaults["snp_pp_h4"], case.results("coloc.abf")["SNP.PP.H4"], rtol=1e-8)
    assert [row["share"] for row in out["sensitivity"]] == sorted(row["share"] for row in out["sensitivity"])
    assert out["applies"] is None
    assert out["misfit"]["verdict"] == "not applicable"


def test_coloc_with_ld_checks_the_fit_and_compares_signals(table) -> None:
    path, _ = table
    folder = load_case("coloc_H4").folder
    arguments = [
        "coloc",
        path,
        "--ld",
        folder / "ld_1.csv.gz",
        "--ld-2",
        folder / "ld_2.csv.gz",
        "--n-1",
        2500,
        "--n-2",
        load_case("coloc_H4").meta["N_2"],
    ]
    out = json.loads(run(*arguments, "--json").output)
    assert out["applies"] is True
    assert [s["top_instrument"] for s in out["signals"]] == ["s90"]
    text = run(*arguments).output
    assert "the two share a cause" in text
    assert "s90" in text


def test_coloc_reads_standard_errors_p_values_and_loci(table, tmp_path: Path) -> None:
    path, frame = table
    m = load_case("coloc_H4").meta
    sd = ("--sd-1", m["sdY_1"], "--sd-2", m["sdY_2"], "--json")
    with_se = frame.assign(se_1=np.sqrt(frame.varbeta_1), se_2=np.sqrt(frame.varbeta_2)).drop(
        columns=["varbeta_1", "varbeta_2"]
    )
    with_se.to_csv(tmp_path / "se.csv", index=False)
    first, second = (json.loads(run("coloc", p, *sd).output) for p in (path, tmp_path / "se.csv"))
    assert first["pp_h4"] == pytest.approx(second["pp_h4"], rel=1e-12)
    loci = frame.assign(locus=["left"] * 125 + ["right"] * 125)
    loci.to_csv(tmp_path / "loci.csv", index=False)
    both = json.loads(run("coloc", tmp_path / "loci.csv", *sd).output)["loci"]
    assert [row["locus"] for row in both] == ["left", "right"]
    assert both[0]["pp_h4"] > 0.9 > both[1]["pp_h4"]
    from scipy.stats import norm

    p = frame[["snp", "maf_1", "maf_2"]].assign(
        p_1=2 * norm.sf(np.abs(frame.beta_1) / np.sqrt(frame.varbeta_1)),
        p_2=2 * norm.sf(np.abs(frame.beta_2) / np.sqrt(frame.varbeta_2)),
    )
    p.to_csv(tmp_path / "p.csv", index=False)
    done = run("coloc", tmp_path / "p.csv", "--n-1", m["N_1"], "--n-2", m["N_2"], "--json")
    out = json.loads(done.stdout)
    assert done.stderr.count("come from p-values and have no sign") == 2
    expected = hypotheses(load_case("coloc_H4").results("coloc.abf.pvalues"))[0]
    np.testing.assert_allclose([out[f"pp_h{h}"] for h in range(5)], expected, rtol=1e-5)
    refused(run("coloc", tmp_path / "p.csv"), "--n-1")


def test_coloc_refuses_bad_tables(table, tmp_path: Path) -> None:
    path, frame = table
    sd = ("--sd-1", 1.3, "--sd-2", 0.8)

    def changed(**columns: object) -> Path:
        frame.assign(**columns).to_csv(tmp_path / "bad.csv", index=False)
        return tmp_path / "bad.csv"

    refused(
        run("coloc", changed(varbeta_2=np.sqrt(frame.varbeta_2)), *sd),
        "varbeta_2",
        "standard errors by their scale",
    )
    refused(
        run("coloc", changed(beta_1=frame.beta_1.where(frame.index != 3, np.inf)), *sd),
        "line 5",
        "beta_1",
        "infinite",
    )
    refused(run("coloc", changed(maf_1=frame.maf_1.where(frame.index != 3, 0.0)), *sd), "monomorphic")
    refused(run("coloc", changed(varbeta_1=frame.varbeta_1.where(frame.index != 3, 0.0)), *sd), "monomorphic")
    refused(
        run("coloc", changed(snp=frame.snp.where(frame.index != 3, "s1")), *sd),
        "'s1' appears again",
        "line 2",
    )
    refused(run("coloc", changed(beta_2=frame.beta_2.where(frame.index != 7)), *sd), "line 9", "no value")
    frame.drop(columns="varbeta_1").to_csv(tmp_path / "bad.csv", index=False)
    refused(run("coloc", tmp_path / "bad.csv", *sd), "no column 'varbeta_1'")
    refused(run("coloc", path, *sd, "--p1", 0.01), "beyond one")
    refused(run("coloc", path, "--sd-1", 1.3), "standard deviation")
    refused(run("coloc", tmp_path / "missing.csv"), "no such file")


def test_finemap_json_agrees_with_the_fixed_point(sumstats) -> None:
    path, ld, frame, _ = sumstats
    case = load_case("susie_2")
    expected = case.results("susie.rss.z.tight")
    arguments = ("--ld", ld, "--n", case.meta["n"], "--tol", 1e-9, "--max-iter", 2000, "--json")
    out = json.loads(run("finemap", path, *arguments).output)
    np.testing.assert_allclose(out["pip"], expected["pip"], atol=1e-6)
    np.testing.assert_allclose(out["prior_variance"], expected["V"], rtol=1e-4)
    assert out["converged"] is True
    assert out["sigma2"] == 1.0
    assert [s["members"] for s in out["credible_sets"]] == [["s140"]]
    assert out["credible_sets"][0]["rows"] == [140]
    assert out["credible_sets"][0]["purity"] == 1.0
    frame[["snp", "bhat", "shat"]].to_csv(path, index=False)
    again = json.loads(run("finemap", path, *arguments).output)
    np.testing.assert_allclose(again["pip"], out["pip"], atol=1e-9)
    assert "s140" in run("finemap", path, "--ld", ld, "--n", 600).output


def test_finemap_refuses_bad_input(sumstats, tmp_path: Path) -> None:
    path, ld, frame, matrix = sumstats
    bad_ld, bad = tmp_path / "bad_ld.csv", tmp_path / "bad.csv"

    def with_ld(values: np.ndarray, names: list[str] | None = None) -> Result:
        pd.DataFrame(values, columns=names or list(matrix.columns)).to_csv(bad_ld, index=False, na_rep="NA")
        return run("finemap", path, "--ld", bad_ld, "--n", 600)

    r = matrix.to_numpy()
    names = list(frame.snp)
    plain = with_ld(r, names)
    assert plain.exit_code == 0
    order = np.random.default_rng(3).permutation(len(names))
    assert with_ld(r[np.ix_(order, order)], [names[i] for i in order]).output == plain.output
    refused(with_ld(r, [f"x{name}" for name in names]), "200 of 200 instruments", "'s1'")
    refused(with_ld(r, [f"V{len(names) - i}" for i in range(len(names))]), "200 of 200 instruments")
    refused(with_ld(r + np.triu(np.full(r.shape, 0.1), 1)), "not symmetric")
    refused(with_ld(np.where(np.eye(200) > 0, 1.0, np.sign(r) * 0.9)), "positive semidefinite")
    flat = r.copy()
    flat[5], flat[:, 5] = np.nan, np.nan
    refused(with_ld(flat), "monomorphic", "'s6'")
    refused(with_ld(r[:50]), "50 rows")
    frame.assign(z=frame.z.where(frame.index != 2, np.inf)).to_csv(bad, index=False)
    refused(run("finemap", bad, "--ld", ld, "--n", 600), "line 4", "'z'", "infinite")
    frame[["snp", "bhat"]].to_csv(bad, index=False)
    refused(run("finemap", bad, "--ld", ld, "--n", 600), "shat")
    refused(run("finemap", path, "--ld", ld, "--n", 600, "--coverage", 2), "coverage")


def test_help_names_the_columns() -> None:
    assert "varbeta_1" in run("coloc", "--help").output
    assert "bhat" in run("finemap", "--help").output


def test_small_effects_are_not_taken_for_standard_errors(tmp_path: Path) -> None:
    # variances of ordinary null effects over many scales are never called standard errors
    rng = np.random.default_rng(30)
    for scale in (1e-3, 0.03, 1.0, 30.0):
        variance = scale**2 * rng.uniform(0.5, 2, 60)
        frame = pd.DataFrame(
            {"snp": [f"s{i}" for i in range(60)], "varbeta_1": variance, "varbeta_2": variance}
        )
        frame["beta_1"], frame["beta_2"] = np.sqrt(variance) * rng.standard_normal((2, 60))
        frame.to_csv(tmp_path / "t.csv", index=False)
        np.testing.assert_allclose(read_coloc_table(tmp_path / "t.csv").variance[0], variance)


def test_one_instrument_needs_no_size_of_effects_to_say_that_nothing_follows(tmp_path: Path) -> None:
    table = tmp_path / "one.csv"
    table.write_text("snp,beta_1,se_1,beta_2,se_2\nrs1,0.3,0.02,0.2,0.02\n")
    for option in ([], ["--estimate-prior"]):
        done = run("coloc", str(table), *option)
        assert done.exit_code == 2
        assert "not applicable (one instrument: two different causes are impossible" in done.output
        assert "share a cause (PP" not in done.output


def test_finemap_of_effects_and_p_values_is_that_of_their_z(sumstats, tmp_path: Path) -> None:
    path, ld, frame, _ = sumstats
    z = frame["bhat"] / frame["shat"]
    table = pd.DataFrame({"snp": frame["snp"], "beta": frame["bhat"], "p": 2 * norm.sf(z.abs())})
    table.to_csv(tmp_path / "p.csv", index=False)
    frame[["snp", "bhat", "shat"]].to_csv(path, index=False)
    arguments = ("--ld", ld, "--n", 600, "--json")
    wanted = json.loads(run("finemap", path, *arguments).output)
    done = run("finemap", tmp_path / "p.csv", *arguments)
    found = json.loads(done.output[done.output.index("{") :])
    np.testing.assert_allclose(found["pip"], wanted["pip"], atol=1e-6)
