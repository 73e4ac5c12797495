"""Alignment of alleles against first principles: what the carrier of an allele has does not depend on how it is written."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from mrinterp.tables._align_alleles import align_alleles

STRAND = {"A": "T", "T": "A", "C": "G", "G": "C"}
PAIRS = list(permutations("ACGT", 2))


def pair(rows: list[tuple[str, str, float, str, str, float, float]]) -> pd.DataFrame:
    columns = [f"{c}_{s}" for s in "xy" for c in ("effect_allele", "other_allele", "eaf")]
    frame = pd.DataFrame(rows, columns=[*columns, "beta_y"])
    return frame.assign(instrument=[f"v{i}" for i in range(len(frame))])


def written(
    a: str, b: str, eaf: float, beta: float, swap: bool, strand: bool
) -> tuple[str, str, float, float]:
    """The same effect of allele a over b, written another way."""
    if swap:
        a, b, eaf, beta = b, a, 1.0 - eaf, -beta
    if strand:
        a, b = STRAND[a], STRAND[b]
    return a, b, eaf, beta


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("strand", [False, True])
@pytest.mark.parametrize("action", [1, 2, 3])
def test_every_way_of_writing_an_effect_is_undone(swap: bool, strand: bool, action: int) -> None:
    rows = [(a, b, 0.3, *written(a, b, 0.3, 1.7, swap, strand)) for a, b in PAIRS]
    out = align_alleles(pair(rows), action)
    palindromic = np.array([STRAND[a] == b for a, b in PAIRS])
    assert (out["palindromic"] == palindromic).all()
    ordinary, others = out[~palindromic], out[palindromic]
    if action == 1 and strand:
        assert ordinary["remove"].all()
        assert ordinary["reason"].str.contains("other strand").all()
        # read on the forward strand, an effect written on the other one looks swapped
        assert np.allclose(others["beta_y"], -1.7)
    else:
        assert np.allclose(ordinary["beta_y"], 1.7)
        assert np.allclose(ordinary["eaf_y"], 0.3)
        assert ordinary["keep"].all()
        assert (ordinary["effect_allele_y"] == ordinary["effect_allele_x"]).all()
    if action == 2:
        assert np.allclose(others["beta_y"], 1.7)
        assert np.allclose(others["eaf_y"], 0.3)
    assert (others["keep"] == (action != 3)).all()


def test_frequencies_near_a_half_or_unknown_do_not_tell_the_strand() -> None:
    frequencies = [(0.41, 0.2), (0.43, 0.2), (0.2, 0.57), (np.nan, 0.2), (0.2, np.nan), (0.9, 0.1)]
    out = align_alleles(pair([("A", "T", x, "A", "T", y, 1.0) for x, y in frequencies]))
    assert out["ambiguous"].tolist() == [False, True, True, True, True, False]
    assert out["keep"].tolist() == [True, False, False, False, False, True]
    assert out["beta_y"].tolist()[-1] == -1.0


def test_what_does_not_match_is_left_as_it_came() -> None:
    rows = [("A", "G", 0.3, "A", "C", 0.3, 1.0), ("A", "G", 0.3, "C", "A", 0.7, 1.0)]
    out = align_alleles(pair(rows))
    assert out["remove"].all()
    assert out["beta_y"].tolist() == [1.0, 1.0]
    assert out["effect_allele_y"].tolist() == ["A", "C"]
    assert not out["flipped"].any()


def test_unknown_alleles_are_matched_with_what_is_known_on_the_strand_as_given() -> None:
    rows = [
        ("A", "", 0.3, "A", "G", 0.3, 1.0),  # same effect allele
        ("A", "", 0.3, "G", "A", 0.7, 1.0),  # crossed
        ("A", "", 0.3, "T", "C", 0.3, 1.0),  # would need the other strand
        ("A", "G", 0.3, "", "", 0.3, 1.0),  # nothing to go by
        ("A", "G", 0.3, "A", "", 0.3, 1.0),
        ("A", "G", 0.3, "", "A", 0.3, 1.0),  # crossed
    ]
    out = align_alleles(pair(rows))
    assert out["keep"].tolist() == [True, True, False, False, True, True]
    assert out["beta_y"].tolist() == [1.0, -1.0, 1.0, 1.0, 1.0, -1.0]
    assert "not known in one of the tables" in out["reason"][3]
    assert align_alleles(pair(rows), by_name=True)["beta_y"].tolist() == [1.0] * 6


def test_sequences_meet_insertion_codes() -> None:
    rows = [
        ("ATT", "A", 0.3, "I", "D", 0.3, 1.0),
        ("A", "ATT", 0.3, "I", "D", 0.7, 1.0),
        ("I", "D", 0.3, "G", "GC", 0.7, 1.0),
        ("ATT", "A", 0.3, "A", "ATT", 0.7, 1.0),
        ("ATT", "A", 0.3, "AAT", "T", 0.3, 1.0),  # the other strand of the first pair
    ]
    out = align_alleles(pair(rows))
    assert out["keep"].all()
    assert out["beta_y"].tolist() == [1.0, -1.0, -1.0, -1.0, 1.0]
