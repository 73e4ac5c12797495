"""A screen of many features: who passes, what is left for estimates, what it cannot find, and what it refuses."""

import numpy as np
import pytest
from scipy import sparse

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.effects import claim_verdicts
from mrinterp.scan import screen_features

N, FAMILIES = 960, 40
FAMILY, PROMPT = np.arange(N) // (N // FAMILIES), np.arange(N) // 8


@pytest.fixture(scope="module")
def runs():
    """Features (N, 600) that rarely fire, and an outcome of the first of them, its twin beside it."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((N, 600)) - 1.3, 0.0)
    x[:, 1] = np.where(rng.random(N) < 0.8, x[:, 0], x[:, 1])
    y = 2.0 * x[:, 0] + 0.3 * rng.standard_normal(N) + rng.standard_normal(PROMPT.max() + 1)[PROMPT]
    return x, y


class TestScreen:
    def test_cause_and_company_pass_and_the_rest_does_not(self, runs):
        x, y = runs
        columns = screen_features(x, y, prompt=PROMPT, family=FAMILY).columns.tolist()
        assert columns[:2] == [0, 1]
        assert (
            len(columns) <= 4
        )  # rare events on rare events: tails are heavier than the screen's level knows

    def test_associations_are_correlations_within_prompts(self, runs):
        x, y = runs
        found = screen_features(x, y, prompt=PROMPT, family=FAMILY)
        rows = np.flatnonzero(~found.later)
        own = lambda a: a - np.stack([a[PROMPT[rows] == p].mean(axis=0) for p in PROMPT[rows]])  # noqa: E731
        r = np.corrcoef(own(x[rows, 0]), own(y[rows]))[0, 1]
        assert found.z[0, 0] == pytest.approx(r * np.sqrt(len(rows) - len(set(PROMPT[rows]))), rel=1e-9)

    def test_sparse_and_dense_and_a_file_agree(self, runs, tmp_path):
        x, y = runs
        np.save(tmp_path / "x.npy", x)
        dense = screen_features(x, y, prompt=PROMPT, family=FAMILY)
        for given in (sparse.csr_array(x), sparse.csc_array(x), tmp_path / "x.npy"):
            again = screen_features(given, y, prompt=PROMPT, family=FAMILY)
            np.testing.assert_allclose(again.z, dense.z, rtol=1e-9, atol=1e-9)
            np.testing.assert_array_equal(again.columns, dense.columns)

    def test_whole_families_are_left_for_estimates(self, runs):
        x, y = runs
        later = screen_features(x, y, prompt=PROMPT, family=FAMILY, share=0.25).later
        assert {len(np.unique(later[f == FAMILY])) for f in range(FAMILIES)} == {1}
        assert len(np.unique(FAMILY[later])) == 30

    def test_nothing_passes_where_nothing_is_associated_and_a_dead_feature_has_no_score(self):
        rng = np.random.default_rng(1)
        passed = []
        for _ in range(40):
            x = rng.standard_normal((N, 50))
            x[:, 7] = 0.0
            found = screen_features(x, rng.standard_normal(N), prompt=PROMPT, family=FAMILY)
            passed.append(len(found.columns) > 0)
            assert np.isnan(found.z[7]).all()
        assert np.mean(passed) <= 0.2  # .05 wanted; 40 draws reach .2 with probability .001

    def test_a_correlation_as_strong_as_stated_is_found_four_times_in_five(self):
        rng, hits = np.random.default_rng(2), []
        for _ in range(60):
            x = rng.standard_normal((N, 20))
            r = screen_features(x, x[:, 0], prompt=PROMPT, family=FAMILY).detectable
            y = r * x[:, 0] + np.sqrt(1 - r**2) * rng.standard_normal(N)
            hits.append(0 in screen_features(x, y, prompt=PROMPT, family=FAMILY).columns)
        assert 0.65 <= np.mean(hits) <= 0.95

    def test_what_is_left_out_has_no_correlation_beyond_the_bound(self):
        rng, wrong, bounds = np.random.default_rng(3), [], []
        for _ in range(60):
            x = rng.standard_normal((N, 20))
            y = x @ np.linspace(0.02, 0.2, 20) + rng.standard_normal(N)
            true = np.linspace(0.02, 0.2, 20) / np.sqrt(1 + (np.linspace(0.02, 0.2, 20) ** 2).sum())
            found = screen_features(x, y, prompt=PROMPT, family=FAMILY, most=5)
            left = np.setdiff1d(np.arange(20), found.columns)
            wrong.append(true[left].max() > found.missed_at_most)
            bounds.append(found.missed_at_most / true[left].max())
        assert np.mean(wrong) <= 0.15  # .05 wanted; 60 draws go beyond .15 with probability .003
        assert np.median(bounds) < 3, "a bound that says nothing"
        same = np.repeat(rng.standard_normal((N, 1)), 2, axis=1)
        assert screen_features(same, same[:, 0], prompt=PROMPT, family=FAMILY).missed_at_most == 0.0

    def test_the_strongest_are_kept_where_too_many_pass(self, runs):
        x, y = runs
        assert screen_features(x, y, prompt=PROMPT, family=FAMILY, most=1).columns.tolist() == [0]

    def test_the_joint_fit_of_candidates_tells_the_cause_from_its_twin(self, runs):
        x, y = runs
        found = screen_features(x, y, prompt=PROMPT, family=FAMILY)
        held = found.later
        panel = mrinterp.from_arrays(
            doses=x[held][:, :1],
            features=x[held][:, found.columns],
            outcomes=y[held],
            prompt=PROMPT[held],
            family=FAMILY[held],
        )
        words = claim_verdicts(mrinterp.mr.within(panel), 0.1, screened=True)
        assert words.ravel().tolist() == ["causal", *["indeterminate"] * (len(found.columns) - 1)]

    @pytest.mark.parametrize(
        ("given", "where"),
        [
            ({"family": np.arange(N) // 60}, "family"),
            ({"prompt": np.arange(N)}, "prompt"),
            ({"share": 1.5}, "share"),
            ({"most": 0}, "most"),
        ],
    )
    def test_bad_input_is_named(self, runs, given, where):
        x, y = runs
        with pytest.raises(InputError) as e:
            screen_features(x, y, **{"prompt": PROMPT, "family": FAMILY, **given})
        assert e.value.where.startswith(where)


def test_no_latent_that_a_study_leaves_out_exceeds_the_bound() -> None:
    """40 families of unequal effects, 60 latents of which half go with the outcome: the bound holds in 19 studies of 20."""
    from mrinterp.scan._latent_screen import _from_parts

    rng, held, tight = np.random.default_rng(0), [], []
    C, m, F = 40, 20, 60
    slope = np.where(np.arange(F) < 30, np.linspace(0.0, 0.3, F), 0.0)
    for _ in range(60):
        x = rng.standard_normal((C, m, F))
        own = rng.normal(1.0, 0.5, (C, 1, 1))  # effects differ between families
        y = (own * x) @ slope + rng.standard_normal((C, m))
        products = np.einsum("cmf,cm->cf", x, y)[:, :, None]
        sums = {"family": np.arange(C), "xx": (x**2).sum(1), "yy": (y**2).sum(1)[:, None], "xy": products}
        found = _from_parts([sums], C)
        chosen = np.argsort(-found.score)[:5]
        left = np.setdiff1d(np.arange(F), chosen)
        truth = slope / np.sqrt((1.25 * slope**2).sum() + 1.0)
        facts = found.facts(chosen)
        held.append(np.abs(truth[left]).max() <= facts["missed_at_most"])
        tight.append(facts["missed_at_most"])
        assert facts["passed"] - facts["passed_left_out"] <= 5
    assert np.mean(held) >= 0.95
    assert np.median(tight) < 0.45
    few = sums["xx"] * (np.arange(C) < 3)[:, None]
    silent = _from_parts([sums | {"xx": few, "xy": np.zeros((C, F, 1))}], C)
    assert silent.facts(np.arange(0))["unbounded"] == F
    assert (silent.score == 0).all()
