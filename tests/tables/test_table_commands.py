"""The command line on tables: what is asked for is what happens, in the first line what was not compared, exit code 2."""

from __future__ import annotations

import json
import runpy
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import mrinterp
from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.tables._matrix_file import read_matrix

ROOT = Path(__file__).parents[2]


def run(*words: object) -> Result:
    done = CliRunner().invoke(cli, [str(w) for w in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exposure with alleles and positions, its outcome as METAL writes it, and one without alleles."""
    monkeypatch.chdir(tmp_path)
    names, b = [f"rs{k}" for k in range(12)], np.linspace(0.06, 0.17, 12)
    x = {
        "SNP": names,
        "effect_allele": "A",
        "other_allele": "G",
        "eaf": 0.3,
        "beta": b,
        "se": 0.01,
        "chromosome": 1,
    }
    pd.DataFrame(x | {"position": 1 + 4_000_000 * np.arange(12)}).to_csv("bmi.csv", index=False)
    y = {"MarkerName": names, "Allele1": "g", "Allele2": "a", "Effect": -b / 2, "StdErr": 0.01}
    pd.DataFrame(y).to_csv("chd.tsv", sep="\t", index=False)
    pd.DataFrame({"SNP": names, "beta": b / 2, "se": 0.01}).to_csv("plain.csv", index=False)
    ld = np.eye(12)
    ld[0, 11] = ld[11, 0] = 0.6
    pd.DataFrame(ld, columns=names).to_csv("ld.csv", index=False)
    return tmp_path


def test_names_of_alleles_are_said_and_alleles_on_one_side_refused(folder: Path) -> None:
    done = run("mr", "bmi.csv", "-y", "chd.tsv", "-m", "ivw")
    assert "changes chd by 0.5 " in done.stdout
    assert "column 'Allele1' against 'Allele2' (as METAL writes it)" in done.stdout
    for first, second in (("bmi.csv", "plain.csv"), ("plain.csv", "chd.tsv")):
        refused = run("mr", first, "-y", second)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--no-alleles" in refused.stderr
    loud = run("mr", "plain.csv", "-y", "chd.tsv", "-m", "ivw", "--no-alleles")
    assert loud.stdout.startswith("NOT HARMONIZED: ")
    assert "by -1 " in loud.stdout
    told = run("mr", "plain.csv", "-y", "chd.tsv", "-m", "ivw", "--no-alleles", "--json")
    assert told.stderr.startswith("NOT HARMONIZED: ")
    assert json.loads(told.stdout)[0]["alleles"] == "not compared (--no-alleles)"


@pytest.mark.parametrize("name", ["ldl", "BMl", "chd", "exposures"])
def test_an_exposure_that_the_table_does_not_have_is_refused(folder: Path, name: str) -> None:
    """A name that is not the table's own must not become its label."""
    done = run("mr", "bmi.csv", "-x", name, "-y", "chd.tsv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "single trait, which is not called so" in done.stderr
    assert run("mr", "bmi.csv", "-x", "bmi", "-y", "chd.tsv", "-m", "ivw").exit_code == 0
    wide = pd.DataFrame(
        {
            "SNP": ["a", "b"],
            "beta_x1": [0.1, 0.2],
            "se_x1": 0.01,
            "beta_outcome": [0.05, 0.1],
            "se_outcome": 0.01,
        }
    )
    wide.to_csv("wide.csv", index=False)
    for words in (
        ["wide.csv", "-x", name],
        ["wide.csv", "-x", name, "-y", "chd.tsv"],
        ["wide.csv", "-y", name],
    ):
        assert run("mr", *words).exit_code == 2


def test_an_exposure_in_a_column_of_traits_selects_its_rows(folder: Path) -> None:
    bmi = pd.read_csv("bmi.csv")
    long = pd.concat([bmi.assign(Phenotype="BMI"), bmi.assign(Phenotype="LDL", beta=bmi["beta"] * 2)])
    long.to_csv("long.csv", index=False)
    for name, effect in (("BMI", 0.5), ("ldl", 0.25)):
        rows = json.loads(run("mr", "long.csv", "-x", name, "-y", "chd.tsv", "-m", "ivw", "--json").stdout)
        assert rows[0]["estimate"] == pytest.approx(effect)
    done = run("mr", "long.csv", "-y", "chd.tsv")
    assert done.exit_code == 2
    assert "several traits (BMI, LDL)" in done.stderr


def test_exit_code_2_where_nothing_could_be_estimated(folder: Path) -> None:
    Path("one.csv").write_text("SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\na,.1,.01,.05,.01\n")
    for more in ([], ["--json"]):
        done = run("mr", "one.csv", "-m", "egger", "-m", "weighted_median", *more)
        assert done.exit_code == 2
        assert "nothing that was asked for could be estimated (needs at least 3" in done.stderr
        assert "needs at least 3" in done.stdout
    assert run("mr", "one.csv", "-m", "egger", "-m", "ivw").exit_code == 0
    Path("na.csv").write_text("SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\na,NA,.01,.05,.01\n")
    assert run("mr", "na.csv").exit_code == 2


@pytest.mark.parametrize("word", ["True", "true", "TRUE", "yes", "on", "1"])
def test_truth_values_of_options_in_any_spelling(word: str) -> None:
    from mrinterp.cli.mr_words import parse_options
    from mrinterp.mr._engine.registry import registered

    switches = [
        (m, o, d) for m, e in registered().items() for o, d in e.options.items() if isinstance(d, bool)
    ]
    assert switches
    for method, option, _ in switches:
        assert parse_options([f"{method}.{option}={word}"], [method]) == {method: {option: True}}
        assert parse_options([f"{method}.{option}=False"], [method]) == {method: {option: False}}
        with pytest.raises(InputError):
            parse_options([f"{method}.{option}=maybe"], [method])


def test_p_threshold_and_clump(folder: Path) -> None:
    words = ("mr", "bmi.csv", "-y", "chd.tsv", "-m", "ivw", "--json")
    strong = run(*words, "--p-threshold", "1e-30")
    assert json.loads(strong.stdout)[0]["n_instruments"] == 6
    assert "Dropped rs0: p of its association with bmi is not below 1e-30" in strong.stderr
    far = run(*words, "--clump")  # 4,000 kb apart: every third stays
    assert json.loads(far.stdout)[0]["n_instruments"] == 4
    assert "within 10000 kb of rs11, which is stronger" in far.stderr
    near = run(*words, "--clump", "--clump-kb", "100")
    assert json.loads(near.stdout)[0]["n_instruments"] == 12
    ld = run(*words, "--clump", "--ld", "ld.csv")
    assert json.loads(ld.stdout)[0]["n_instruments"] == 11
    assert "Dropped rs0: correlated with rs11 (r^2 = 0.36), which is stronger" in ld.stderr
    both = run(*words, "--clump", "--ld", "ld.csv", "--p-threshold", "1e-30")
    assert json.loads(both.stdout)[0]["n_instruments"] == 6
    pd.read_csv("bmi.csv").drop(columns="position").to_csv("bmi.csv", index=False)
    assert (
        "neither LD nor positions" in run(*words, "--clump").stderr
        or "no position" in run(*words, "--clump").stderr
    )
    none = run(*words, "--p-threshold", "1e-300")
    assert none.exit_code == 2
    assert "none of 12 instruments" in none.stderr


def test_hardly_any_instrument_associated_and_one_that_carries_all_weight_are_said() -> None:
    rng = np.random.default_rng(1)
    J = 20_000
    frame = pd.DataFrame({"SNP": [f"r{k}" for k in range(J)], "beta_exposure": rng.normal(size=J) * 0.01, "se_exposure": 0.01,
                          "beta_outcome": rng.normal(size=J) * 0.01, "se_outcome": 0.01})  # fmt: skip
    frame.loc[:2, "beta_exposure"] = 0.2
    notes = mrinterp.tables.read(frame).meta["notes"]
    assert "of 20,000 instruments 3 are associated with exposure at p < 5e-08" in notes[0]
    assert mrinterp.tables.read(frame, p_threshold=5e-8).meta["notes"] == []
    few = frame.head(3).assign(se_outcome=[1e-7, 0.01, 0.01])
    assert any(
        "r0 carries 99.9% of the weight for outcome" in n for n in mrinterp.tables.read(few).meta["notes"]
    )
    assert mrinterp.tables.read(frame.head(3)).meta["notes"] == []


def test_many_dropped_instruments_are_one_sentence(folder: Path) -> None:
    pd.DataFrame({"SNP": [f"q{k}" for k in range(30)], "effect_allele": "A", "other_allele": "G", "beta": 0.1, "se": 0.01}).pipe(
        lambda more: pd.concat([pd.read_csv("bmi.csv"), more])).to_csv("more.csv", index=False)  # fmt: skip
    done = run("mr", "more.csv", "-y", "chd.tsv", "-m", "ivw")
    assert "Dropped 30 instruments: not in chd.tsv (q0, " in done.stdout
    assert "and 10 more)" in done.stdout


def test_no_control_character_reaches_the_terminal_or_a_figure(folder: Path) -> None:
    Path("t\x1b[31m.csv").write_text(
        "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\na,.1,.01,.05,.01\n"
    )
    for words in (
        ["t\x1b[31m.csv", "--unit", "red\x1b[0m"],
        ["absent\x07.csv"],
        ["t\x1b[31m.csv", "-m", "\u202ewvi"],
    ):
        done = run("mr", *words)
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)
    data = mrinterp.tables.summary_from_arrays(
        [0.1, 0.2], [0.01] * 2, [0.05, 0.1], [0.01] * 2, exposures=["a\x1bb\x00"]
    )
    assert "\x1b" not in repr(data) + str(data)
    mrinterp.plot(mrinterp.run_mr(data, "ivw")[0], "figure.svg")
    from xml.dom import minidom

    minidom.parse("figure.svg")


def test_reading_a_matrix_takes_little_more_memory_than_the_matrix(folder: Path) -> None:
    J = 700
    at = np.arange(J)
    ld = 0.9 ** np.abs(np.subtract.outer(at, at))
    names = [f"rs{k}" for k in at]
    pd.DataFrame(ld, columns=names).to_csv("large.csv", index=False, float_format="%.6f")
    tracemalloc.start()
    read = mrinterp.tables.read_ld("large.csv", names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(read, ld, atol=1e-6)
    assert peak < 3 * read.nbytes + 4e6  # and the batch of text that is held at a time


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
@pytest.mark.parametrize("named", [False, True])
def test_matrices_in_every_writing(folder: Path, separator: str, named: bool) -> None:
    rows = [["a", "b", "c"], ["1", "0.5", "0.25"], ["0.5", "1", "1e-3"], ["0.25", "1e-3", "1"]]
    if named:
        rows = [[n, *r] for n, r in zip(["SNP", "a", "b", "c"], rows, strict=True)]
    Path("m.txt").write_text("\n".join(separator.join(r) for r in rows) + "\n\n")
    found = read_matrix("m.txt")
    assert (found.columns, found.rows) == (("a", "b", "c"), ("a", "b", "c") if named else None)
    np.testing.assert_array_equal(found.values, [[1, 0.5, 0.25], [0.5, 1, 1e-3], [0.25, 1e-3, 1]])
    for cell, words in (
        ("x", "line 3, column 'c': 'x' is not a number"),
        ("0.1" + separator + "7", "cells under"),
    ):
        broken = [list(r) for r in rows]
        broken[2][-1] = cell
        Path("m.txt").write_text("\n".join(separator.join(r) for r in broken))
        with pytest.raises(InputError, match=words):
            read_matrix("m.txt")


def test_mutated_command_lines_end_in_one_message() -> None:
    """The small version of benchmarks/mutated_commands.py."""
    campaign = runpy.run_path(str(ROOT / "benchmarks" / "mutated_commands.py"))["campaign"]
    assert campaign(60, seed=11) == []


def test_an_open_quote_in_the_header_of_a_matrix_is_named(tmp_path: Path) -> None:
    from mrinterp.core.errors import InputError
    from mrinterp.tables._locus import read_ld

    (tmp_path / "ld.csv").write_text('"a,b\n1,0\n0,1\n')
    with pytest.raises(InputError, match=r"line 1: cannot be read .* Check its quotes"):
        read_ld(tmp_path / "ld.csv", ("a", "b"))
