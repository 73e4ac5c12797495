"""What a study chooses or says by itself, for the network at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.effects._ladder import without_tsls
from mrinterp.knockouts._study_bench import clean_runs
from mrinterp.report.terminal import precision_text
from mrinterp.results import NotApplicable
from mrinterp.study import Study
from tests.study.study_kinds import DECODER, LOGITS, save_tiny_decoder, write_study
from tests.tiny import write_tiny_study

pytestmark = pytest.mark.needs("transformers")


@pytest.fixture(scope="module")
def decoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_decoder(tmp_path_factory.mktemp("decoder") / "model", tiny_encoder)


class TestExpectedPrecision:
    """A dry run says how wide the intervals will be, and what they can show."""

    @pytest.fixture(scope="class")
    def study(self, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
        folder = tmp_path_factory.mktemp("expected")
        path = write_tiny_study(
            folder,
            tiny_encoder,
            features={"kind": "units", "units": [1, 2, 3, 5, 8]},
            knockouts={"families": 0, "width": 8.0, "prompts_per_family": 2, "random_controls": 2},
        )
        path.write_text(path.read_text().replace("count = 6\nkind", "kind"))
        return Study.from_toml(path, folder / "run")

    def test_with_the_features_themselves_it_is_what_the_pilot_says(self, study: Study) -> None:
        expected = study.expected_precision()
        assert isinstance(expected, pd.DataFrame)
        assert not study.out.exists(), "nothing is written"
        rows = clean_runs(study._drawn_design(), "discovery")["input"].to_numpy()
        sd = study._bare_network.run(rows).outcome.std()
        found = study.pilot
        chosen = expected[
            (expected["families"] == found["families"]) & (expected["prediction"] == "gradient, as here")
        ]
        np.testing.assert_allclose(chosen["half_width"] * sd, found["half_width"], rtol=1e-4)
        assert chosen["measured_on"].iloc[0].endswith("with all of the features (5 of 5)")

    def test_widths_and_power_follow_from_families_and_correlation(self, study: Study) -> None:
        expected = study.expected_precision()
        assert isinstance(expected, pd.DataFrame)
        assert set(expected["families"]) >= {10, 40}
        for n, rows in expected.groupby("families"):
            width = rows.set_index("prediction")["half_width"]
            share = n / rows["all_families"].iloc[0]
            assert share == n / 80
            for rho in (0.5, 0.95):
                gain = np.sqrt(1 - rho**2 + rho**2 * share)
                assert width[f"correlation {rho:g}"] == pytest.approx(width["none"] * gain)
        by = expected.sort_values("in_ropes")
        assert (by["absence"].diff().dropna() <= 1e-9).all()
        assert (by["causal_from"] > 1 + by["in_ropes"]).all()
        np.testing.assert_allclose(by["in_ropes"], by["half_width"] / study.plan.estimation.rope)

    def test_the_power_is_that_of_simulated_intervals(self) -> None:
        from scipy import stats

        from mrinterp.knockouts._rehearsal import _shows

        rng, n, half = np.random.default_rng(0), 20, 0.6
        said, critical = _shows(half, n - 1), stats.t.ppf(0.975, n - 1)
        draws = rng.standard_normal((40_000, n)) * half / critical * np.sqrt(n)

        def intervals(truth: float) -> tuple[np.ndarray, np.ndarray]:
            mean, wide = truth + draws.mean(1), critical * draws.std(1, ddof=1) / np.sqrt(n)
            return mean - wide, mean + wide

        low, high = intervals(0.0)
        assert np.mean((low > -1) & (high < 1)) == pytest.approx(said["absence"], abs=0.04)
        low, _ = intervals(said["causal_from"])
        assert np.mean(low > 1) == pytest.approx(0.8, abs=0.03)

    def test_learned_features_have_stand_ins_and_the_terminal_says_so(
        self, tiny_encoder: Path, tmp_path: Path
    ) -> None:
        study = Study.from_toml(write_tiny_study(tmp_path, tiny_encoder), tmp_path / "run")
        expected = study.expected_precision()
        assert isinstance(expected, pd.DataFrame)
        assert set(expected["families"]) == {12}, "the plan's own number"
        text = precision_text(expected, 0.02)
        for words in (
            "6 random directions among the 6 leading components of the site",
            "12 families knocked out (1 prompt each) of 80",
            "knockouts alone (correlation 0)",
            "prediction of correlation 0.95",
            "Assumed:",
        ):
            assert words in text
        flat = expected.assign(half_width=np.nan)
        assert "none of the stand-ins changed it" in precision_text(flat, 0.02)

    def test_claims_on_instruments_have_no_width_before_the_run(
        self, tiny_encoder: Path, tmp_path: Path
    ) -> None:
        path = write_tiny_study(tmp_path, tiny_encoder, estimation={"max_rank": 40, "rests_on": "mr"})
        found = Study.from_toml(path, tmp_path / "run").expected_precision()
        assert isinstance(found, NotApplicable)
        assert "rests_on" in precision_text(found, 0.02)


class TestFewerLiveLatents:
    """An autoencoder trained here has as many live latents as training leaves."""

    def _study(self, decoder: Path, folder: Path, **train: Any) -> Study:
        features = {"kind": "train_sae", "count": 40, "train": {"latents": 40, "k": 2, "steps": 60, **train}}
        model = {**DECODER, "folder": str(decoder), "kind": "causal"}
        path = write_study(folder, decoder, model=model, outcome=(LOGITS,), features=(features,))
        return Study.from_toml(path, folder / "run")

    def test_they_are_taken_and_it_is_said(self, decoder: Path, tmp_path: Path) -> None:
        from mrinterp.diagnostics._reconstruction import reconstruction_check

        study = self._study(decoder, tmp_path)
        live = len(study.basis.dictionary.names)
        assert 0 < live < 40
        facts = study.basis.meta["sae"]
        assert (facts["asked"], facts["taken"]) == (40, live)
        said = f"The plan asks for 40 latents: {live} live after training"
        assert said in reconstruction_check(facts).note

    def test_none_at_all_is_refused_with_its_cause(self) -> None:
        from mrinterp.core.plan_model import FeaturesSection
        from mrinterp.scan._dictionary import _chosen_latents

        section = FeaturesSection(kind="train_sae", count=3)
        with pytest.raises(InputError, match=r"features\.train: none of 5 .*Train longer"):
            _chosen_latents(section, None, np.zeros(5))  # type: ignore[arg-type]


class TestTrueCauses:
    """What a message advises is what mends the cause."""

    def _noise_panel(self, doses: np.ndarray) -> Panel:
        panel = mrinterp.worlds.linear_world(0).panel
        J = doses.shape[1]
        table = pd.DataFrame(
            {
                "instrument": [f"noise:rest:{j}" for j in range(J)],
                "kind": "noise",
                "locus": "rest",
                "allele": [str(j) for j in range(J)],
                "unit": "sd of the dose",
                "placebo": False,
            }
        )
        return replace(panel, doses=doses.astype(np.float32), instruments=table)

    def test_too_few_noise_directions(self) -> None:
        panel = mrinterp.worlds.linear_world(0).panel
        doses = np.random.default_rng(0).standard_normal((len(panel.runs), 3))
        with pytest.raises(InputError, match="give more noise directions per token class") as raised:
            mrinterp.mr.tsls(self._noise_panel(doses))
        assert "fewer features" not in str(raised.value)

    def test_doses_that_are_sums_of_others(self) -> None:
        panel = mrinterp.worlds.linear_world(0).panel
        few = np.random.default_rng(0).standard_normal((len(panel.runs), 3))
        doses = few @ np.random.default_rng(1).standard_normal((3, 40))
        with pytest.raises(InputError, match=r"40 doses vary, but in .* runs only 3 of them independently"):
            mrinterp.mr.tsls(self._noise_panel(doses))

    def test_a_study_names_the_key(self) -> None:
        panel = mrinterp.worlds.linear_world(0).panel
        doses = np.random.default_rng(0).standard_normal((len(panel.runs), 3))
        noise = self._noise_panel(doses)
        found = without_tsls(
            replace(noise, runs=noise.runs.assign(kind=noise.runs["kind"].replace("perturbed", "noise"))),
            "noise",
        )
        assert found is not None
        assert "instruments.noise.directions_per_class is too small" in found.reason

    def test_a_rank_is_only_blamed_where_it_is_to_blame(self) -> None:
        from types import SimpleNamespace
        from typing import cast

        from mrinterp.core.panel import Changes
        from mrinterp.mr._runs.within import _check_identified

        change = cast("Changes", SimpleNamespace(features=np.zeros((10, 3)), absorbed=2))
        with pytest.raises(InputError, match="Lower the bypass rank to at most 4, or add runs"):
            _check_identified(np.zeros((10, 9)), change)
        with pytest.raises(InputError, match=r"Add runs\Z"):
            _check_identified(np.zeros((5, 3)), change)

    def test_few_runs_name_the_number_that_is_enough(self, tiny_encoder: Path, tmp_path: Path) -> None:
        noise = {"runs_per_prompt": 1, "directions_per_class": 4, "scale": 0.1, "split_at": "quality"}
        path = write_tiny_study(
            tmp_path,
            tiny_encoder,
            64,
            prompts={"per_family": 1},
            splits={"min_families": 4},
            features={"count": 20},
            instruments={"noise": noise, "slot": {"runs_per_prompt": 2}, "placebo": {"count": 1}},
        )
        study = Study.from_toml(path, tmp_path / "run")
        with pytest.raises(InputError, match=r"16 noise runs for 20 features.*runs_per_prompt to 2, or add"):
            study.check_before()

    def test_components_that_sentences_cannot_carry(self) -> None:
        from mrinterp.scan._dictionary import learn_dictionary

        means = np.random.default_rng(0).standard_normal((5, 24))
        with pytest.raises(InputError, match="Give more discovery sentences"):
            learn_dictionary(means, "principal_components", 6, 0, "site")
        wide = np.random.default_rng(0).standard_normal((50, 4))
        with pytest.raises(InputError, match=r"Ask for at most 4$"):
            learn_dictionary(wide, "principal_components", 6, 0, "site")
