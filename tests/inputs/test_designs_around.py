"""One place at a time, the same perturbation at several doses, and differences that a corpus holds already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.perturbations import (
    ColumnNoise,
    ColumnResampling,
    DoseSeries,
    Occlusion,
    Saturation,
    TokenDeletion,
    TokenMasking,
    TokenResampling,
    TokenSubstitution,
    observed_variants,
    perturb,
)
from mrinterp.scan import marginal_scan

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(2, 9, (40, 5))
TABLE = RNG.standard_normal((40, 5))


@pytest.mark.parametrize(
    ("of", "inputs"),
    [
        (TokenMasking(mask_id=0), TOKENS),
        (TokenResampling(), TOKENS),
        (TokenSubstitution(), TOKENS),
        (ColumnResampling(), TABLE),
        (ColumnNoise(), TABLE),
        (Occlusion(patch=2), 1.0 + RNG.random((40, 1, 4, 6))),
    ],
    ids=lambda v: type(v).__name__,
)
def test_every_place_of_every_input_is_perturbed_once_and_nothing_else(of: Any, inputs: Any) -> None:
    alone = Saturation(of)
    J = len(alone.instruments(inputs.shape[1:]))
    made = perturb(inputs, [alone], runs_per_input=J, placebos=0)
    perturbed, doses = made.inputs[40:], made.doses[40:]
    assert ((doses != 0).sum(axis=1) == 1).all()
    for n in range(40):
        assert ((doses[made.prompt[40:] == n] != 0).sum(axis=0) == 1).all()
    changed = perturbed != inputs[made.prompt[40:]]
    if inputs.ndim == 2:
        np.testing.assert_array_equal(changed, doses != 0)
    else:
        assert (changed.reshape(len(changed), -1).sum(axis=1) == 4).all()
        first = perturbed[doses[:, 5] != 0][0, 0]  # the last patch of two rows of three
        assert (first[2:, 4:] == 0).all()
        assert (first[:2] != 0).all()


def test_saturation_against_the_clean_run_gives_each_place_its_own_effect() -> None:
    weights = np.array([1.0, -2.0, 0.0, 0.5, 3.0])
    made = perturb(TABLE, [Saturation(ColumnNoise(scale=1.0))], runs_per_input=5, placebos=0)
    feature = made.inputs @ weights + 0.3 * made.inputs[:, 0] * made.inputs[:, 1]
    panel = mrinterp.from_arrays(features=feature, outcomes=2 * feature, **made.columns())
    found = marginal_scan(panel, factorial=False)
    expected = weights * TABLE.std(axis=0)
    assert np.abs(found.beta[0] - expected).max() < 0.35
    assert found.beta[0, 2] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(found.beta[1], 2 * found.beta[0], rtol=1e-6)


def test_a_series_changes_nothing_but_the_dose_and_shows_curvature() -> None:
    series = DoseSeries(ColumnNoise(scale=0.2), levels=(0.5, -1.0, 4.0))
    made = perturb(np.repeat(TABLE, 2, axis=0), [series], runs_per_input=6, placebos=0)
    level = series.level(made)
    step = made.inputs - made.inputs[:80][made.prompt]
    groups = step[80:].reshape(-1, 3, 5)
    np.testing.assert_allclose(groups[:, 1], -2 * groups[:, 0], atol=1e-12)
    np.testing.assert_allclose(groups[:, 2], 8 * groups[:, 0], atol=1e-12)
    assert not np.allclose(groups[0, 0], groups[1, 0])
    np.testing.assert_allclose(made.doses * TABLE.std(axis=0), step, atol=1e-12)
    feature = np.maximum(made.inputs[:, 0], 0.0)  # a gate
    slopes = {}
    for one in (0.5, 4.0):
        rows = np.flatnonzero((level == one) | (level == 0))
        panel = mrinterp.from_arrays(
            features=feature[rows], outcomes=made.inputs[rows, 0], **made.columns(rows)
        )
        slopes[one] = mrinterp.mr.within(panel).beta[0, 0]
    assert slopes[4.0] > slopes[0.5] + 0.05, "what a gate passes depends on how far the input is moved"


def test_found_differences_are_instruments_with_their_ld() -> None:
    """A cow is sold, a cat never: what the noun shows by itself is half the verb's, and the LD says so."""
    rng, pairs = np.random.default_rng(1), [("cat", "saw"), ("cow", "saw"), ("cow", "sold")]
    texts = [f"frame {f} : the {noun} {verb} it" for f in range(60) for noun, verb in pairs]
    order = rng.permutation(len(texts))
    made = observed_variants([texts[i] for i in order], family=np.repeat(np.arange(60), 3)[order], fewest=10)
    assert len(made.instruments) == 2
    assert set(made.kind) == {"observed"}
    assert len(np.unique(made.prompt)) == 60
    x = np.array([1.0 * ("cow" in t) + 2.0 * ("sold" in t) for t in made.inputs])
    x += rng.standard_normal(60)[made.prompt] + 0.05 * rng.standard_normal(len(x))
    panel = mrinterp.from_arrays(
        features=x, outcomes=3.0 * x + 0.1 * rng.standard_normal(len(x)), **made.columns()
    )
    found = marginal_scan(panel)
    sign = np.array([1.0 if name[9:] in ("cat>cow", "saw>sold") else -1.0 for name in made.instruments])
    of_noun = [j for j, name in enumerate(made.instruments) if "cow" in name]
    assert found.ld is not None
    assert sign[0] * sign[1] * found.ld[0, 1] == pytest.approx(0.5, abs=0.02)
    assert (sign * found.beta[0])[of_noun] == pytest.approx(2.0, abs=0.05)
    joint = np.linalg.solve(found.ld, found.beta[0]) * sign
    assert joint[of_noun] == pytest.approx(1.0, abs=0.05)
    assert mrinterp.run_mr(found.to_mrdata(), ["ivw"])[0].beta[0, 0] == pytest.approx(3.0, abs=0.05)


def test_a_pair_of_words_is_one_instrument_whichever_is_the_commoner_in_a_frame() -> None:
    texts = [
        "a cat sat",
        "a dog sat",
        "one dog ran off",
        "one dog ran far",
        "one cat ran off",
        "by cat alone",
    ]
    made = observed_variants(texts, most=1, fewest=1, special=["far"])
    assert made.instruments == ("observed:dog>cat",) or made.instruments == ("observed:cat>dog",)
    sign = 1.0 if made.instruments == ("observed:dog>cat",) else -1.0
    cat = np.array(["cat" in t for t in made.inputs])
    for frame in (0, 1):
        here = made.prompt == frame
        of_cat, of_dog = made.doses[here & cat, 0].mean(), made.doses[here & ~cat, 0].mean()
        assert of_cat - of_dog == sign


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: perturb(TOKENS, [Saturation(TokenDeletion(pad_id=0))], 2), "share places"),
        (lambda: perturb(TOKENS, [Saturation(TokenSubstitution(words={2: (3,)}))], 2), "share places"),
        (lambda: perturb(TOKENS, [DoseSeries(TokenMasking(mask_id=0))], 3), "edit of tokens"),
        (lambda: perturb(TABLE, [DoseSeries(ColumnNoise())], 4), "multiple of 3"),
        (lambda: perturb(TABLE, [DoseSeries(ColumnNoise(), levels=(1.0, 1.0))], 2), "two or more different"),
        (lambda: observed_variants(TABLE), "Give texts"),
        (lambda: observed_variants(["a b", "c d"], most=1), "0 of 2 inputs have a variant"),
        (lambda: observed_variants(["a b", "a c"], family=[1], most=1), "Give one family per input"),
    ],
)
def test_what_makes_no_design_is_refused_with_the_fix(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
