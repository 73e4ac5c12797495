"""`mrinterp mr` as a process, the way a person or a script uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm_cli import command

CASES = Path(__file__).parents[1] / "reference" / "cases"
CONTRACT = {
    "method", "exposure", "outcome", "estimate", "se", "ci_lower", "ci_upper", "p", "neglog10p", "n_instruments",
    "status",
}  # fmt: skip


def mr(*args: object) -> subprocess.CompletedProcess[str]:
    return command("mr", *args)


def test_sentences_say_effect_interval_instruments_and_assumptions() -> None:
    done = mr(CASES / "valid" / "data.csv")
    assert done.returncode == 0, done.stderr
    for words in ("40 instruments", "one unit more of exposure changes outcome by", "95% interval", "Assumes",
                  "Heterogeneity Q", "I^2", "Intercept", "mean F", "Weighted median"):  # fmt: skip
        assert words in done.stdout, words


def test_json_contract_and_reference_numbers() -> None:
    done = mr(CASES / "valid" / "data.csv", "--json")
    rows = json.loads(done.stdout)
    expected = {e["method_id"]: e["results"] for e in
                json.loads((CASES / "valid" / "expected.json").read_text())["entries"]}  # fmt: skip
    assert [r["method"] for r in rows] == ["ivw", "egger", "weighted_median"]
    assert all(r.keys() >= CONTRACT for r in rows)
    for row, name in zip(
        rows, ("tsmr.mr_ivw", "tsmr.mr_egger_regression", "mendr.median.weighted"), strict=True
    ):
        assert row["estimate"] == pytest.approx(expected[name]["estimate"], rel=1e-8)
        assert row["status"] == "ok"
        assert row["n_instruments"] == 40
    assert rows[1].keys() >= {"q", "q_df", "q_p", "intercept", "intercept_se", "intercept_p", "parameters"}


def test_several_exposures_get_the_multivariable_panel() -> None:
    rows = json.loads(mr(CASES / "mv4_valid" / "data.csv", "--json").stdout)
    assert list(dict.fromkeys(r["method"] for r in rows)) == ["grapple", "mv_ivw", "mv_egger", "ivw"]
    assert sorted({r["exposure"] for r in rows}) == ["x1", "x2", "x3", "x4"]
    assert all(r["conditional_f"] > 10 for r in rows if r["method"] == "mv_ivw")


def test_ld_error_correlation_options_and_leave_one_out(tmp_path: Path) -> None:
    folder = CASES / "correlated"
    header = ",".join(f"rs{2001 + k}" for k in range(20))
    lines = (folder / "corr.csv").read_text().split("\n")
    (tmp_path / "ld.csv").write_text("\n".join([header, *lines[1:]]))
    done = mr(folder / "data.csv", "--ld", tmp_path / "ld.csv", "--json")
    assert [r["method"] for r in json.loads(done.stdout)] == ["ivw_correlated", "egger_correlated"], (
        done.stderr
    )
    plain = mr(folder / "data.csv", "-m", "ivw", "--error-corr", "0.3", "--leave-one-out", "--json",
               "--option", "ivw.weights=second", "--level", "0.9")  # fmt: skip
    rows = json.loads(plain.stdout)
    assert len(rows) == 21
    assert rows[0]["parameters"]["weights"] == "second"
    assert sum("left_out" in r for r in rows) == 20
    ignored = json.loads(mr(folder / "data.csv", "-m", "egger", "--error-corr", "0.3", "--json").stdout)
    assert any("not used" in a for a in ignored[0]["assumes"])


def test_two_tables_are_harmonized(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("SNP,effect_allele,other_allele,eaf,beta,se\n" + "".join(
        f"r{k},A,G,0.3,{0.1 + 0.01 * k},0.01\n" for k in range(5)))  # fmt: skip
    (tmp_path / "y.csv").write_text("SNP,effect_allele,other_allele,eaf,beta,se\n" + "".join(
        f"r{k},G,A,0.7,{-0.2 - 0.02 * k},0.02\n" for k in range(4)))  # fmt: skip
    done = mr(tmp_path / "x.csv", "--outcome", tmp_path / "y.csv", "-m", "ivw", "--json")
    assert json.loads(done.stdout)[0]["estimate"] == pytest.approx(2.0)
    assert "Dropped r4: not in" in done.stderr
    assert "Dropped r4: not in" in mr(tmp_path / "x.csv", "--outcome", tmp_path / "y.csv").stdout
    (tmp_path / "z.csv").write_text("SNP,effect_allele,other_allele,eaf,beta,se\n" + "".join(
        f"r{k},A,G,0.3,{0.1 + 0.02 * k**2},0.01\n" for k in (0, 1, 2, 3, 7)))  # fmt: skip
    joint = mr(tmp_path / "x.csv", "-x", tmp_path / "z.csv", "-y", tmp_path / "y.csv", "-m", "mv_ivw").stdout
    assert "Dropped r4: not in z.csv" in joint.replace(f"{tmp_path}/", "")
    assert "Dropped r7: not in x.csv" in joint.replace(f"{tmp_path}/", "")
    twice = mr(tmp_path / "x.csv", "-x", tmp_path / "x.csv", "-y", tmp_path / "y.csv")
    assert twice.returncode == 2
    assert "trait 'x' is given twice" in twice.stderr


def test_bad_cells_cost_themselves_only(tmp_path: Path) -> None:
    """Missing and infinite values are said by name, and the rest of the table is computed."""
    lines = (CASES / "mv4_valid" / "data.csv").read_text().split("\n")
    at = lines[0].split(",").index("beta_x2")
    for row, value in ((1, "inf"), (2, "")):
        cells = lines[row].split(",")
        cells[at] = value
        lines[row] = ",".join(cells)
    (tmp_path / "t.csv").write_text("\n".join(lines))
    done = mr(tmp_path / "t.csv", "-m", "ivw", "-m", "mv_ivw", "--json")
    rows = {(r["method"], r["exposure"]): r for r in json.loads(done.stdout)}
    assert rows["ivw", "x1"]["status"] == "ok"
    assert rows["ivw", "x1"]["n_instruments"] == 80
    assert rows["ivw", "x2"]["n_instruments"] == rows["mv_ivw", "x1"]["n_instruments"] == 78
    assert "infinite values set aside" in rows["ivw", "x2"]["status"]
    assert "Set aside for x2: rs3001 (effect or standard error infinite)" in done.stderr
    assert "Set aside for x2: rs3002 (effect or standard error missing)" in done.stderr
    same = "\n".join(["SNP,beta_exposure,se_exposure,beta_outcome,se_outcome",
                      *(f"i{k},.1,.01,.05,.01" for k in range(8))])  # fmt: skip
    (tmp_path / "same.csv").write_text(same)
    methods = ("rucker", "radial_egger", "penalized_egger", "robust_egger", "robust_ivw")
    done = mr(tmp_path / "same.csv", *(word for m in methods for word in ("-m", m))).stdout
    assert "nan" not in done
    assert done.count("slope and intercept cannot be told apart") == 3
    assert (
        "one unit more of exposure changes outcome by 0.5 (95% interval" in done
    )  # robust IVW: an exact fit


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["absent.csv"], "no such file"),
        ([CASES / "valid" / "data.csv", "-m", "ivv"], "Did you mean 'ivw'"),
        ([CASES / "valid" / "data.csv", "-y", "cholesterol"], "cholesterol"),
        ([CASES / "valid" / "data.csv", "--error-corr", "2"], "between -1 and 1"),
        ([CASES / "valid" / "data.csv", "--option", "ivw.colour=1"], "no such option"),
        ([CASES / "valid" / "data.csv", "--ld", CASES / "correlated" / "corr.csv"], "not among its names"),
        ([CASES / "valid"], "cannot be read"),
        ([CASES / "valid" / "data.csv", "--plot", CASES / "valid" / "data.csv"], "Name a folder"),
    ],
)
def test_bad_input_exits_2_with_one_message(args: list, words: str) -> None:
    done = mr(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            b"SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\na,0.1,0,0.05,0.01\n",
            "line 2, column 'se_exposure'",
        ),
        (
            b"SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\na,0.1,0.01,0.05\n",
            "4 cells under 5 columns",
        ),
        (b"SNP,beta_exposure\n\xff\xfe,1\n", "not UTF-8"),
        (b"\x00\x01\x02", "control character"),
        (b"", "empty"),
    ],
)
def test_bad_tables_exit_2_with_one_message(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    done = mr(tmp_path / "t.csv", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "t.csv"]


def test_flagged_instruments_and_overdispersion_are_in_the_json() -> None:
    done = mr(CASES / "outliers30" / "data.csv", "-m", "presso", "-m", "raps", "-m", "divw", "--json")
    presso, raps, divw = json.loads(done.stdout)
    assert len(presso["outliers"]) > 5
    assert raps["overdispersion"] > 0
    assert divw["overdispersion"] > 0
    assert presso["parameters"]["draws"] == 1000
    lasso, srivw = json.loads(
        mr(CASES / "outliers30" / "data.csv", "-m", "mv_lasso", "-m", "srivw", "--json").stdout
    )
    assert len(lasso["outliers"]) > 5
    assert {e for d in lasso["direct_effects"] for e in d["instruments"]} == set(lasso["outliers"])
    assert srivw["overdispersion"] > 0


def test_sentences_claim_no_more_than_the_method_says() -> None:
    """A concordance is no effect, a ratio uses one instrument, a posterior has no p, p never prints as 0."""
    sign, wald, rucker, presso = (
        line for line in mr(CASES / "outliers30" / "data.csv", "-m", "sign", "-m", "wald", "-m", "rucker", "-m", "presso")
        .stdout.split("\n") if "interval" in line
    )  # fmt: skip
    assert "one unit more" not in sign
    assert "from -1 (never) to 1 (always)" in sign
    assert "; 1 instrument)" in wald
    assert "Instrument used: rs" in wald
    assert "p < 1e-300" in rucker
    assert "Chosen: Egger, random effects" in rucker
    assert "Global test of pleiotropy" in presso
    table = CASES / "mv3_condweak" / "data.csv"
    done = mr(table, "-m", "susie_mv", "-m", "mr_bma", "-m", "anderson_rubin_set").stdout
    assert "nan" not in done
    assert "Posterior probability that x1 acts" in done
    sets = json.loads(mr(table, "-m", "clr_set", "--json").stdout)
    assert all(r["sets"][0][0] == r["ci_lower"] and r["sets"][-1][1] == r["ci_upper"] for r in sets)


def test_one_instrument_and_two_still_give_rows(tmp_path: Path) -> None:
    head = "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\n"
    (tmp_path / "one.csv").write_text(head + "a,0.1,0.01,0.05,0.01\n")
    assert json.loads(mr(tmp_path / "one.csv", "--json").stdout)[0]["estimate"] == pytest.approx(0.5)
    (tmp_path / "two.csv").write_text(head + "a,0.1,0.01,0.05,0.01\nb,0.1,0.01,0.06,0.01\n")
    rows = json.loads(mr(tmp_path / "two.csv", "--json").stdout)
    assert rows[0]["status"] == "ok"
    assert rows[1]["estimate"] is None
    assert "needs at least 3 instruments" in rows[1]["status"]


def test_neither_torch_nor_matplotlib_is_imported() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from mrinterp.cli import cli;"
        f"r = CliRunner().invoke(cli, ['mr', {str(CASES / 'valid' / 'data.csv')!r}]); assert r.exit_code == 0;"
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


def test_fewer_instruments_than_exposures(tmp_path: Path) -> None:
    """Nothing asked for can be estimated: an error. Something can: a status, and the rest is computed."""
    columns = "SNP,beta_x1,se_x1,beta_x2,se_x2,beta_x3,se_x3,beta_outcome,se_outcome"
    rows = ["a,.1,.01,.1,.01,.2,.01,.1,.1", "b,.2,.01,.3,.01,.1,.01,.2,.1"]
    table = tmp_path / "few.csv"
    table.write_text("\n".join([columns, *rows]) + "\n")
    for asked in ([], ["--method", "mv_ivw"]):
        done = mr(table, *asked)
        assert done.returncode == 2
        assert "2 instruments (rows) for 3 exposures" in done.stderr
        assert done.stdout == ""
    done = mr(table, "--method", "mv_ivw", "--method", "ivw", "--json")
    assert done.returncode == 0
    status = {(r["method"], r["exposure"]): r["status"] for r in json.loads(done.stdout)}
    assert "need at least 3 instruments" in status["mv_ivw", "x1"]
    assert status["ivw", "x1"] == "ok"


def test_every_estimator_of_tables_is_listed_with_its_options() -> None:
    from mrinterp.mr._engine.registry import registered

    done = mr("--list-methods")
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.split("\n") if line.startswith("  ")}
    assert listed == {n for n, e in registered().items() if e.kind != "run"}
    assert "weights, distribution" in next(
        line for line in done.stdout.split("\n") if line.startswith("  ivw ")
    )
