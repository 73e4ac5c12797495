"""A correlation matrix meets its instruments by name, with the signs of the alleles that both name, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp import coloc, tables
from mrinterp.core.errors import InputError
from mrinterp.core.ld import validate_ld
from mrinterp.core.mrdata import MRData

J = 9
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
SPELLINGS = ("{}", "{}_{a}_{b}", "{}:{a}:{b}", "{}_{a}/{b}", "{}|{a}|{b}", "{}_{a}", "{}:{a}")


def matrix(seed: int = 0) -> np.ndarray:
    r = np.corrcoef(np.random.default_rng(seed).normal(size=(60, J)).T)
    np.fill_diagonal(r, 1.0)
    return 0.5 * (r + r.T)


def names(stem: str = "rs") -> list[str]:
    return [f"{stem}{j}" for j in range(J)]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("stem", ["rs", "1:100", "slot_"])
def test_any_order_and_spelling_gives_the_same_matrix(spelling: str, stem: str) -> None:
    rng, r = np.random.default_rng(1), matrix()
    order = rng.permutation(J)
    labels = [spelling.format(names(stem)[i], a="A", b="G") for i in order]
    shuffled = r[np.ix_(order, order)]
    np.testing.assert_array_equal(validate_ld(shuffled, names(stem), labels), r)
    frame = pd.DataFrame(shuffled, labels, labels)
    rows = rng.permutation(J)  # rows of a data frame in yet another order
    np.testing.assert_array_equal(validate_ld(frame.iloc[rows], names(stem)), r)
    few = names(stem)[2:6]
    np.testing.assert_array_equal(validate_ld(frame, few), r[2:6, 2:6])


@pytest.mark.parametrize("spelling", SPELLINGS[1:])
@pytest.mark.parametrize("strand", [False, True])
def test_alleles_decide_the_signs(spelling: str, strand: bool) -> None:
    rng, r = np.random.default_rng(2), matrix()
    pairs = [tuple(rng.choice(["AG", "CT", "TC", "GA", "AC"]).upper()) for _ in range(J)]
    flip = rng.random(J) < 0.5
    sign = np.where(flip, -1.0, 1.0)
    order = rng.permutation(J)
    labels = []
    for i in order:
        a, b = pairs[i][::-1] if flip[i] else pairs[i]
        a, b = (COMPLEMENT[a], COMPLEMENT[b]) if strand else (a, b)
        labels.append(spelling.format(names()[i], a=a, b=b))
    given = (r * np.outer(sign, sign))[np.ix_(order, order)]
    np.testing.assert_array_equal(validate_ld(given, names(), labels, alleles=pairs), r)
    own = [
        f"{name}_{a}_{b}" for name, (a, b) in zip(names(), pairs, strict=True)
    ]  # alleles in the table's names
    np.testing.assert_array_equal(validate_ld(given, own, labels), r)
    info = pd.DataFrame(pairs, columns=["effect_allele", "other_allele"])
    data = MRData(
        beta_x=np.ones((1, J)),
        se_x=np.ones((1, J)),
        beta_y=np.ones((1, J)),
        se_y=np.ones((1, J)),
        exposures=("x",),
        outcomes=("y",),
        instruments=tuple(names()),
        info=info,
        ld=pd.DataFrame(given, labels, labels),
    )
    np.testing.assert_array_equal(data.ld, r)


def test_rows_of_one_name_are_told_apart_by_their_alleles() -> None:
    r = matrix()
    labels = [*(f"rs{j}_A_G" for j in range(J - 1)), "rs0_A_T"]
    known = [("A", "G")] * (J - 1)
    np.testing.assert_array_equal(validate_ld(r, names()[:-1], labels, alleles=known), r[:-1, :-1])
    with pytest.raises(InputError, match=r"'rs0_A_G', 'rs0_A_T'.*not known"):
        validate_ld(r, names()[:-1], labels)
    with pytest.raises(InputError, match=r"'rs3'.*'rs3_A_G'.*A/C"):
        validate_ld(r, names()[:-1], labels, alleles=[*known[:3], ("A", "C"), *known[4:]])


@pytest.mark.parametrize(
    "labels",
    [
        [f"x{j}" for j in range(J)],
        [*names()[:-1], "rs99"],
        [*names()[:-1], "rs0"],
        [f"V{J - j}" for j in range(J)],
        [f"{name}_A_G_x" for name in names()],
        [f"{j}" for j in range(J)][::-1],
    ],
)
def test_other_names_are_refused_never_taken_by_position(labels: list[str], tmp_path: Path) -> None:
    r = matrix()
    frame = pd.DataFrame(r, labels, labels)
    z = pd.DataFrame({"snp": names(), "z": np.ones(J)})
    frame.to_csv(tmp_path / "ld.csv")
    calls = (
        lambda: validate_ld(r, names(), labels),
        lambda: coloc.finemap_summary(z["z"], frame, 500, instruments=names()),
        lambda: tables.summary_from_arrays(*[np.ones(J)] * 4, instruments=names(), ld=frame),
        lambda: tables.read_finemap_table(z, ld=tmp_path / "ld.csv"),
        lambda: tables.read_ld(frame.rename_axis("snp").reset_index(), names()),
    )
    for call in calls:
        with pytest.raises(InputError, match="name"):
            call()


def test_headers_that_only_count_are_positions() -> None:
    r = matrix()
    for labels in ([f"V{j + 1}" for j in range(J)], [str(j) for j in range(J)], [f"X{j}" for j in range(J)]):
        np.testing.assert_array_equal(validate_ld(r, names(), labels), r)
    np.testing.assert_array_equal(validate_ld(pd.DataFrame(r), names()), r)


def test_tables_use_their_alleles_for_the_signs_of_a_file(tmp_path: Path) -> None:
    r = matrix()
    flip = np.arange(J) % 3 == 0
    sign = np.where(flip, -1.0, 1.0)
    labels = [f"{name}_{'G_A' if other else 'A_G'}" for name, other in zip(names(), flip, strict=True)]
    order = np.random.default_rng(4).permutation(J)
    frame = pd.DataFrame(r * np.outer(sign, sign), labels, labels).iloc[order, order]
    frame.to_csv(tmp_path / "ld.csv")
    z = pd.DataFrame({"SNP": names(), "z": 1.0, "effect_allele": "A", "other_allele": "G"})
    np.testing.assert_allclose(tables.read_finemap_table(z, ld=tmp_path / "ld.csv").ld, r)
    wide = pd.DataFrame({"snp": names(), "effect_allele": "A", "other_allele": "G"})
    for t in ("1", "2"):
        wide[f"beta_{t}"], wide[f"se_{t}"] = 0.1, 0.1
    np.testing.assert_allclose(tables.read_coloc_table(wide, ld=tmp_path / "ld.csv").ld, r)


def test_fine_mapping_takes_names_from_pandas_objects() -> None:
    r, order = matrix(), np.random.default_rng(5).permutation(J)
    z = pd.Series(np.linspace(0, 8, J), index=names())
    expected = coloc.finemap_summary(z.to_numpy(), r, 500, instruments=names())
    frame = pd.DataFrame(r, names(), names()).iloc[order, order]
    fit = coloc.finemap_summary(z, frame, 500)
    assert fit.instruments == tuple(names())
    np.testing.assert_array_equal(fit.pip, expected.pip)
    assert coloc.finemap_summary(z.to_numpy()[order], frame, 500).instruments == tuple(frame.columns)
