"""Tables of summary statistics: what is read, what is refused and how, and that nothing tracebacks."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.errors import InputError
from mrinterp.tables._harmonize import harmonize
from mrinterp.tables._read import read
from mrinterp.tables._summary import read_correlation, read_summary, summary_from_arrays
from mrinterp.tables._traits import read_trait
from mrinterp.tables._write import to_ssf, to_twosamplemr, to_wide, write

HEADER = "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome"
ROWS = ["a,0.1,0.02,0.05,0.01", "b,0.2,0.02,0.07,0.01", "c,-0.1,0.03,-0.03,0.02", "d,0.15,0.02,0.06,0.01"]


def table(tmp_path: Path, rows: list[str] | None = None, header: str = HEADER, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([header, *(ROWS if rows is None else rows)]) + "\n")
    return path


def test_reads_a_plain_table(tmp_path: Path) -> None:
    data = read_summary(table(tmp_path))
    assert data.shape == (1, 1, 4)
    assert data.instruments == ("a", "b", "c", "d")
    np.testing.assert_array_equal(data.beta_x[0], [0.1, 0.2, -0.1, 0.15])
    np.testing.assert_array_equal(data.se_y[0], [0.01, 0.01, 0.02, 0.01])


@pytest.mark.parametrize("name", ["t.tsv", "t.csv.gz", "t.parquet", "t.csv"])
def test_same_numbers_from_every_format(tmp_path: Path, name: str) -> None:
    data = read_summary(table(tmp_path, name="source.csv"))
    write(data, tmp_path / name)
    again = read_summary(tmp_path / name)
    assert again.instruments == data.instruments
    for field in ("beta_x", "se_x", "beta_y", "se_y"):
        np.testing.assert_array_equal(getattr(again, field), getattr(data, field))


def test_writing_is_byte_for_byte_repeatable(tmp_path: Path) -> None:
    data = read_summary(table(tmp_path))
    for name in ("x.csv.gz", "y.csv.gz"):
        write(to_wide(data), tmp_path / name)
    assert (tmp_path / "x.csv.gz").read_bytes() == (tmp_path / "y.csv.gz").read_bytes()


def test_several_exposures_and_chosen_traits(tmp_path: Path) -> None:
    header = "instrument,beta_x1,se_x1,beta_x2,se_x2,beta_outcome,se_outcome"
    rows = [f"i{k},{k},1,{k * k},1,{k},1" for k in range(1, 6)]
    data = read_summary(table(tmp_path, rows, header))
    assert data.exposures == ("x1", "x2")
    turned = read_summary(table(tmp_path, rows, header), exposures=["x2"], outcomes=["x1"])
    assert (turned.exposures, turned.outcomes) == (("x2",), ("x1",))
    np.testing.assert_array_equal(turned.beta_x[0], [1, 4, 9, 16, 25])


def test_twosamplemr_names_and_mr_keep(tmp_path: Path) -> None:
    data = read_summary(table(tmp_path))
    frame = to_twosamplemr(data, "exposure", "outcome")
    frame.loc[1, "mr_keep"] = False
    again = read_summary(frame)
    assert again.instruments == ("a", "c", "d")
    assert again.dropped["instrument"].tolist() == ["b"]
    assert "mr_keep" in again.dropped["reason"].iloc[0]


def test_gwas_ssf_round_trip(tmp_path: Path) -> None:
    data = read_summary(table(tmp_path))
    for trait in ("exposure", "outcome"):
        write(to_ssf(data, trait), tmp_path / f"{trait}.tsv")
    again = harmonize(read_trait(tmp_path / "exposure.tsv"), read_trait(tmp_path / "outcome.tsv"))
    np.testing.assert_array_equal(again.beta_x, data.beta_x)
    np.testing.assert_array_equal(again.beta_y, data.beta_y)
    assert again.exposures == ("exposure",)


def test_missing_cells_are_nan_for_that_trait_only(tmp_path: Path) -> None:
    data = read_summary(table(tmp_path, ["a,0.1,0.02,NA,0.01", "b,,0.02,0.07,0.01", *ROWS[2:]]))
    assert np.isnan(data.beta_y[0, 0])
    assert np.isnan(data.se_y[0, 0])
    assert data.beta_x[0, 0] == 0.1
    assert np.isnan(data.beta_x[0, 1])


BAD = {
    "empty file": (None, "", "empty"),
    "header only": ([], HEADER, "no rows"),
    "missing column": (ROWS, "SNP,beta_exposure,se_exposure,beta_outcome,sd_outcome", "se_outcome"),
    "no instrument": (ROWS, HEADER.replace("SNP", "name_of_it"), "SNP"),
    "text": (["a,0.1,0.02,abc,0.01"], HEADER, "'abc' is not a number"),
    "decimal comma": (['a,"0,1",0.02,0.05,0.01'], HEADER, "'0,1' is not a number"),
    "zero se": (["a,0.1,0,0.05,0.01"], HEADER, "standard error 0"),
    "negative se": (["a,0.1,0.02,0.05,-0.01"], HEADER, "standard error -0.01"),
    "duplicate": ([ROWS[0], ROWS[0]], HEADER, "appears again (first on line 2)"),
    "infinite frequency": (["a,0.1,0.02,0.05,0.01,inf"], f"{HEADER},eaf", "infinite"),
    "ragged": (["a,0.1,0.02,0.05"], HEADER, "4 cells under 5 columns"),
    "repeated column": (ROWS, "SNP,beta_exposure,beta_exposure,beta_outcome,se_outcome", "appears twice"),
    "unnamed instrument": ([",0.1,0.02,0.05,0.01"], HEADER, "no instrument name"),
    "open quote": (['a,"0.1,0.02,0.05,0.01'], HEADER, "not a table"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_tables_are_refused_with_place_and_fix(tmp_path: Path, what: str) -> None:
    rows, header, found = BAD[what]
    path = tmp_path / "t.csv"
    path.write_text("" if rows is None else "\n".join([header, *rows]) + "\n")
    with pytest.raises(InputError) as caught:
        read_summary(path)
    assert found in str(caught.value)
    assert str(path) in caught.value.where
    assert len(caught.value.fix) > 10


def test_messages_name_line_and_column(tmp_path: Path) -> None:
    path = table(tmp_path, [*ROWS[:2], "", "e,0.1,0.02,0.05,x"])
    with pytest.raises(InputError, match=r"line 5, column 'se_outcome'"):
        read_summary(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_summary(tmp_path / "absent.csv")
    with pytest.raises(InputError):
        read_summary(tmp_path)
    (tmp_path / "latin.csv").write_bytes((HEADER + "\nfoo,1,1,1,1\nb\xe9,1,1,1,1\n").encode("latin-1"))
    with pytest.raises(InputError, match="line 3: byte 0xe9 is not UTF-8"):
        read_summary(tmp_path / "latin.csv")
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match="gzip"):
        read_summary(tmp_path / "t.csv.gz")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="Parquet"):
        read_summary(tmp_path / "t.parquet")


def test_summary_from_arrays_takes_one_and_several_exposures() -> None:
    one = summary_from_arrays([1, 2, 3], [1, 1, 1], [1, 2, 3], [1, 1, 1])
    two = summary_from_arrays(np.ones((2, 3)), np.ones((2, 3)), [1, 2, 3], [1, 1, 1])
    assert one.shape == (1, 1, 3)
    assert two.shape == (2, 1, 3)
    assert (one.exposures, two.exposures) == (("exposure",), ("exposure 1", "exposure 2"))
    with pytest.raises(InputError):
        summary_from_arrays([1, 2, 3], [1, 1], [1, 2, 3], [1, 1, 1])


def test_correlations_are_checked_and_ordered(tmp_path: Path) -> None:
    path = tmp_path / "ld.csv"
    path.write_text("a,b,c\n1,0.5,0\n0.5,1,0.2\n0,0.2,1\n")
    np.testing.assert_array_equal(read_correlation(path, ["c", "a"]), [[1, 0], [0, 1]])
    with pytest.raises(InputError, match="not in the header"):
        read_correlation(path, ["a", "z"])
    for text, found in (
        ("a,b\n1,0.5\n", "1 rows and 2 columns"),
        ("a,b\n1,0.5\n0.4,1\n", "not symmetric"),
        ("a,b\n1,1.5\n1.5,1\n", "outside"),
        ("a,b\n2,0\n0,1\n", "outside"),
        ("a,b\n0.5,0\n0,1\n", "diagonal"),
        ("a,b\n1,\n,1\n", "empty cell"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=found):
            read_correlation(path, ["a", "b"])


def side(rows: list[tuple]) -> pd.DataFrame:
    columns = ["SNP", "effect_allele", "other_allele", "eaf", "beta", "se"]
    return pd.DataFrame(rows, columns=columns)


def test_harmonize_strands_swaps_palindromes_indels() -> None:
    x = side(
        [
            ("same", "A", "G", 0.3, 0.1, 0.01),
            ("swap", "A", "G", 0.3, 0.1, 0.01),
            ("strand", "A", "G", 0.3, 0.1, 0.01),
            ("both", "A", "G", 0.3, 0.1, 0.01),
            ("wrong", "A", "G", 0.3, 0.1, 0.01),
            ("pal_same", "A", "T", 0.2, 0.1, 0.01),
            ("pal_flip", "A", "T", 0.2, 0.1, 0.01),
            ("pal_unclear", "A", "T", 0.49, 0.1, 0.01),
            ("pal_unknown", "C", "G", np.nan, 0.1, 0.01),
            ("indel", "ATT", "A", 0.2, 0.1, 0.01),
            ("lost", "A", "G", 0.3, 0.1, 0.01),
            ("twice", "A", "G", 0.3, 0.1, 0.01),
            ("repeat", "A", "G", 0.3, 0.1, 0.01),
            ("repeat", "A", "G", 0.3, 0.1, 0.01),
            ("half", "A", "", 0.3, 0.1, 0.01),
        ]
    )
    y = side(
        [
            ("same", "A", "G", 0.3, 1.0, 0.1),
            ("swap", "G", "A", 0.7, 1.0, 0.1),
            ("strand", "T", "C", 0.3, 1.0, 0.1),
            ("both", "C", "T", 0.7, 1.0, 0.1),
            ("wrong", "A", "C", 0.3, 1.0, 0.1),
            ("pal_same", "A", "T", 0.21, 1.0, 0.1),
            ("pal_flip", "A", "T", 0.81, 1.0, 0.1),
            ("pal_unclear", "A", "T", 0.2, 1.0, 0.1),
            ("pal_unknown", "C", "G", 0.2, 1.0, 0.1),
            ("indel", "D", "I", 0.8, 1.0, 0.1),
            ("twice", "A", "G", 0.3, 1.0, 0.1),
            ("twice", "A", "G", 0.3, 2.0, 0.1),
            ("repeat", "A", "G", 0.3, 1.0, 0.1),
            ("half", "G", "A", 0.3, 1.0, 0.1),
        ]
    )
    data = harmonize(read_trait(x, "x"), read_trait(y, "y"))
    effect = dict(zip(data.instruments, data.beta_y[0], strict=True))
    assert effect == {
        "same": 1.0, "swap": -1.0, "strand": 1.0, "both": -1.0, "pal_same": 1.0, "pal_flip": -1.0,
        "indel": -1.0, "repeat": 1.0, "half": -1.0,
    }  # fmt: skip
    reasons = dict(zip(data.dropped["instrument"], data.dropped["reason"], strict=True))
    assert set(reasons) == {"wrong", "pal_unclear", "pal_unknown", "lost", "twice"}
    assert "alleles do not match" in reasons["wrong"]
    assert "palindromic" in reasons["pal_unclear"]
    assert "not in" in reasons["lost"]
    assert "contradicting" in reasons["twice"]
    forward = harmonize(read_trait(x, "x"), read_trait(y, "y"), action=1)
    assert dict(zip(forward.instruments, forward.beta_y[0], strict=True))["pal_flip"] == 1.0
    strict = harmonize(read_trait(x, "x"), read_trait(y, "y"), action=3)
    assert not {"pal_same", "pal_flip"} & set(strict.instruments)
    everyone = set(data.instruments) | set(reasons)
    assert everyone == set(x["SNP"])


def test_harmonize_puts_effects_on_the_same_dose() -> None:
    x = pd.DataFrame({"instrument": ["a", "b"], "beta": [1.0, 2.0], "se": [0.1, 0.1], "dose": [1.0, -1.0]})
    y = pd.DataFrame({"instrument": ["a", "b"], "beta": [3.0, 3.0], "se": [0.3, 0.3], "dose": [2.0, 1.0]})
    data = harmonize(read_trait(x), read_trait(y))
    np.testing.assert_allclose(data.beta_y[0], [1.5, -3.0])
    np.testing.assert_allclose(data.se_y[0], [0.15, 0.3])


def test_nothing_in_common_is_said() -> None:
    x, y = side([("a", "A", "G", 0.3, 1, 1)]), side([("b", "A", "G", 0.3, 1, 1)])
    with pytest.raises(InputError, match="no instrument is left"):
        harmonize(read_trait(x), read_trait(y))


def _mutate(rng: random.Random, text: str) -> bytes:
    cells = [line.split(",") for line in text.strip().split("\n")]
    junk = [
        "",
        "NA",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "abc",
        "0",
        "-1",
        "1,5",
        '"',
        "é",
        "\x00",
        "１",
        "=1+1",
        "0x1F",
        "1_0",
    ]
    for _ in range(rng.randint(1, 2)):
        kind = rng.randrange(10)
        row, col = rng.randrange(len(cells)), rng.randrange(5)
        if kind < 3 and cells[row]:
            cells[row][min(col, len(cells[row]) - 1)] = rng.choice(junk)
        elif kind == 3:
            cells[row] = cells[row][: rng.randrange(len(cells[row]) + 1)]
        elif kind == 4:
            cells[row].append(rng.choice(junk))
        elif kind == 5:
            cells.append(list(cells[row]))
        elif kind == 6:
            del cells[row]
            cells = cells or [[""]]
        elif kind == 7:
            for line in cells:
                if col < len(line):
                    del line[col]
        elif kind == 8:
            rng.shuffle(cells)
        elif col < len(cells[row]):
            cells[row][col] = repr(rng.choice([1e-300, 1e300, 5e-324, rng.gauss(0, 1), abs(rng.gauss(0, 1))]))
    raw = "\n".join(",".join(line) for line in cells).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(raw) + 1)
        raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at:]
    if rng.random() < 0.1:
        raw = raw[: rng.randrange(len(raw) + 1)]
    return raw


def test_600_mutated_tables_never_traceback(tmp_path: Path) -> None:
    """Each is either read into numbers that make sense or refused with one InputError."""
    rng = random.Random(7)
    text = "\n".join([HEADER, *ROWS])
    path = tmp_path / "t.csv"
    accepted, refused, longest = 0, 0, 0
    for k in range(600):
        path.write_bytes(_mutate(rng, text))
        try:
            if k % 3:
                data = read(path)
            else:
                good = table(tmp_path, name="good.csv")
                data = read(path, exposure="exposure", outcome=good)
        except InputError as e:
            refused += 1
            longest = max(longest, len(str(e)))
        else:
            accepted += 1
            known = np.isfinite(data.beta_x) & np.isfinite(data.se_x)
            assert (data.se_x[known] > 0).all()
            assert k % 3 or not np.isinf(data.beta_y).any(), "harmonized: infinite ones are dropped"
    assert accepted > 50
    assert refused > 200
    assert longest < 600
