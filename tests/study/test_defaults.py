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
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._study_bench import clean_runs, study_bench
from mrinterp.knockouts._study_contrast import levels_splits, predicted_splits, study_rectified
from mrinterp.report.terminal import precision_text
from mrinterp.results import NotApplicable
from mrinterp.study import Study
from tests.study.study_kinds import DECODER, LOGITS, SMALL, save_tiny_decoder, write_study
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
            "12 of 80, 1 each",
            "0.95",
            "gradient, as here",
            "right within about 1.5 times",
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


NOISE: dict[str, Any] = {k: v for k, v in SMALL["instruments"]["noise"].items() if k != "scale"}


class TestChosenOnDiscovery:
    """Tokens and scale of the noise, where the plan leaves them open."""

    @pytest.fixture(scope="class")
    def begun(self, decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
        """As far as its candidates; its outcome is read at the last token, right after the site."""
        folder = tmp_path_factory.mktemp("chosen")
        study = Study.from_toml(self._plan(folder, decoder, "transformer.h.2"), folder / "run")
        study.bench()
        return study

    def _plan(self, folder: Path, decoder: Path, site: str, **noise: Any) -> Path:
        return write_study(
            folder,
            decoder,
            model={**DECODER, "folder": str(decoder), "kind": "causal", "site": site},
            outcome=(LOGITS,),
            features=({"count": 3, "position": "auto"},),
            instruments={"noise": {**NOISE, **noise}},
        )

    def test_the_class_that_holds_the_outcome_is_taken_and_said(self, begun: Study) -> None:
        from mrinterp.positions import LAST_TOKEN

        chosen = begun.choices["position"]
        assert chosen["position"] == "last"
        assert chosen["shares"]["last"] == pytest.approx(1.0)
        assert sum(chosen["shares"].values()) == pytest.approx(1.0)
        assert "last 100%" in chosen["why"]
        assert begun._network.position == LAST_TOKEN
        assert begun.contrast_levels.meta["position"] == str(begun.bench().by_token.position)

    def test_no_class_with_half_of_it_leaves_the_mean_and_says_that_tokens_are_unlike(
        self, decoder: Path, tmp_path: Path
    ) -> None:
        from mrinterp.knockouts._choose_position import choose_position

        study = Study.from_toml(self._plan(tmp_path, decoder, "transformer.h.0"), tmp_path / "run")
        design, network = study._drawn_design(), study._bare_network
        one = choose_position(network, design)
        top = max(one["shares"].values())
        assert (one["position"] == "mean") == (top < 0.5), one
        # The same with a rule that no class meets.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mrinterp.knockouts._choose_position.MOST", 1.1)
            found = choose_position(network, design)
        assert found["position"] == "mean"
        assert "no class holds half" in found["why"]
        assert "unlike each other" in found["why"]

    def test_shares_are_those_of_the_gradient_by_hand(self, decoder: Path, tmp_path: Path) -> None:
        import torch

        from mrinterp.knockouts._choose_position import _carried

        study = Study.from_toml(self._plan(tmp_path, decoder, "transformer.h.0"), tmp_path / "run")
        network = study._bare_network
        rows = np.arange(4)
        found = _carried(network, rows, 3, len(network.inputs.class_names))
        assert found is not None
        inputs = network.inputs.take(rows)
        assert inputs.classes is not None
        box: dict[str, torch.Tensor] = {}

        def leaf(h: torch.Tensor) -> torch.Tensor:
            box["h"] = h.detach().clone().requires_grad_(True)
            return box["h"]

        with torch.enable_grad():
            out = network.adapter.run(inputs.tensors, write={network.site: leaf}).output
            y = network.outcome.take(rows).differentiable(out, inputs.mask_or_ones)
            y[:, 0].sum().backward()
        here = inputs.classes == inputs.class_names.index("quality")
        h, g = box["h"].detach(), box["h"].grad
        assert g is not None
        off = h - h[here].mean(0)
        by_hand = ((off * g).sum(-1) * here).sum(1)
        k = inputs.class_names.index("quality")
        np.testing.assert_allclose(found[:, k, 0], by_hand, rtol=1e-4, atol=1e-7)

    def test_the_noise_moves_most_features_as_nature_does(self, begun: Study) -> None:
        noise = begun.choices["noise"]
        moves = np.array(begun.pilot["noise_moves"])
        assert noise["within"] >= 2 / 3
        assert np.mean((moves >= 0.4) & (moves <= 1.9)) >= 2 / 3, "the pilot measures it on other runs"
        names = begun.design.settings["position_classes"]
        assert set(noise["scale"]) == set(names)
        unscaled = begun._stored_design().noise_directions
        for c, n in enumerate(names):
            np.testing.assert_allclose(
                begun.design.noise_directions[c], unscaled[c] * noise["scale"][n], rtol=1e-6
            )

    def test_the_scale_does_not_depend_on_the_unit_of_the_directions(self, begun: Study) -> None:
        from mrinterp.knockouts._noise_moves import choose_noise

        stored = begun._stored_design()
        found = [
            choose_noise(
                begun._network,
                replace(stored, noise_directions=stored.noise_directions * np.float32(times)),
                begun.basis.dictionary,
                begun.contrast_levels,
            )
            for times in (1.0, 30.0)
        ]
        reach = [np.array(list(f["scale"].values())) * t for f, t in zip(found, (1.0, 30.0), strict=True)]
        ratio = reach[1] / reach[0]
        assert ((ratio > 0.2) & (ratio < 5)).all(), "both end where features move naturally"
        assert min(f["within"] for f in found) >= 2 / 3

    def test_choices_are_hashed_with_the_candidates_and_kept(self, begun: Study) -> None:
        before = begun.header["candidates_hash"]
        for name in ("position.json", "noise.json"):
            path = begun.out / name
            text = path.read_text()
            path.write_text(text + " ")
            try:
                assert begun.folder._candidates(begun.header["rules_hash"]) != before
            finally:
                path.write_text(text)
        again = Study.from_toml(begun.out.parent / "study.toml", begun.out)
        assert again.choices == begun.choices
        assert again._network.position == begun._network.position

    def test_a_feature_that_the_noise_does_not_move_says_so(self) -> None:
        from mrinterp.effects._ladder import _gated

        made = mrinterp.mr.within(mrinterp.worlds.linear_world(0).panel)
        moves = [1.0] * len(made.exposures)
        still = int(np.flatnonzero(made.status[:, 0] == "ok")[0])
        moves[still] = 0.1
        chosen = _gated(made, moves, "auto").status
        assert "hardly moves it" in chosen[still, 0]
        assert "chosen for most" in chosen[still, 0]
        others = np.arange(len(moves)) != still
        assert (chosen[others] == made.status[others]).all()
        assert "scale = 0.4" in _gated(made, moves, 0.04).status[still, 0]

    def test_what_a_plan_states_is_not_chosen(self, decoder: Path, tmp_path: Path) -> None:
        path = self._plan(tmp_path, decoder, "transformer.h.2", scale=0.1)
        path.write_text(path.read_text().replace('position = "auto"', 'position = "mean"'))
        study = Study.from_toml(path, tmp_path / "run")
        assert study._choose_position() is None
        assert study._choose_noise() is None
        assert not (tmp_path / "run").exists()


class TestSmallStudies:
    """A study of 100 prompts in 40 families: claims on contrasts, with honest widths."""

    @pytest.fixture(scope="class")
    def begun(self, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
        folder = tmp_path_factory.mktemp("small")
        path = write_tiny_study(
            folder, tiny_encoder, 40, prompts={"per_family": 3}, knockouts={"random_controls": 2}
        )
        study = Study.from_toml(path, folder / "run")
        study.bench()
        return study

    def test_forty_families_are_enough_and_ten_are_knocked_out(self, begun: Study) -> None:
        from types import SimpleNamespace
        from typing import cast

        from mrinterp.core.design import SPLITS, Design

        assert [begun.design.families(s) for s in SPLITS] == [10, 10, 10, 10]
        assert begun.pilot["families"] == 10
        rows = begun._knocked_out()
        knocked = {n: clean_runs(begun.design, s).iloc[r] for n, (s, r) in rows.items()}
        assert knocked["contrast"]["family"].nunique() == 10
        assert {knocked[n]["family"].nunique() for n in ("judge", "again")} == {5}
        assert not set(knocked["contrast"]["family"]) & set(clean_runs(begun.design, "discovery")["family"])
        predicted = predicted_splits(begun.design)
        assert clean_runs(begun.design, predicted)["family"].nunique() == 30
        many = SimpleNamespace(runs=pd.DataFrame({"family": range(160)}))
        assert predicted_splits(cast("Design", many)) == ("estimation", "knockout")
        assert levels_splits(cast("Design", many)) == ("discovery",)

    def test_values_come_from_all_that_claims_stand_for_and_their_error_is_added(self, begun: Study) -> None:
        levels, (split, rows) = begun.contrast_levels, begun._knocked_out()["contrast"]
        assert levels.families == 30
        assert levels.meta["splits"] == ["discovery", "estimation", "knockout"]
        bench = study_bench(begun._network, begun.design, begun.basis.dictionary, None, split, rows)
        knockout = knock_out(bench, Contrast(levels=levels))
        study = (begun.plan, begun._network, begun.design, begun.basis, levels, knockout)
        claimed, compared = (study_rectified(*study, name) for name in ("contrast", "judge"))
        assert claimed.meta["families"] == begun.pilot["families"] == 10
        assert claimed.meta["all_families"] == 30, "discovery joins the prediction"
        assert (claimed.details["families"] == 10).all()
        assert (claimed.details["levels_se"] > 0).all()
        np.testing.assert_allclose(
            claimed.se, np.hypot(claimed.details["stated_se"], claimed.details["levels_se"])
        )
        assert (claimed.ci_upper - claimed.ci_lower > 2 * claimed.details["stated_se"]).all()
        assert "30 families (discovery, estimation and knockout)" in claimed.meta["levels_from"]
        assert "levels_se" not in compared.details

    def test_claims_on_instruments_still_need_forty_in_each_split(
        self, tiny_encoder: Path, tmp_path: Path
    ) -> None:
        path = write_tiny_study(tmp_path, tiny_encoder, 100, estimation={"max_rank": 40, "rests_on": "mr"})
        with pytest.raises(InputError, match=r"25 families .*at least 40 in each split, 160 in all"):
            Study.from_toml(path, tmp_path / "run").check_before()
        path = write_tiny_study(tmp_path, tiny_encoder, 39)
        with pytest.raises(InputError, match="at least 10 in each split, 40 in all"):
            Study.from_toml(path, tmp_path / "run").check_before()

    def test_it_is_marked_as_small_and_not_as_a_rehearsal(self) -> None:
        from types import SimpleNamespace
        from typing import cast

        from mrinterp.report.claims import few_families
        from mrinterp.report.finished import FinishedStudy

        def made(families: int, knocked: int, rests_on: str = "rectified") -> str:
            study = SimpleNamespace(
                design=SimpleNamespace(families=lambda _: families),
                results=pd.DataFrame({"rests_on": [rests_on]}),
                estimates={rests_on: SimpleNamespace(meta={"families": knocked})},
            )
            return " ".join(few_families(cast("FinishedStudy", study)))

        assert made(40, 10) == ""
        assert "A small study: 40 families in all" in made(10, 10)
        assert "not for inference" in made(10, 10)
        for rehearsal in (made(9, 9), made(10, 9), made(10, 10, "within_calibrated")):
            assert rehearsal.startswith("A rehearsal")

    def test_intervals_of_ten_of_twenty_families_cover(self) -> None:
        from mrinterp.stats import rectified_mean

        rng, covered = np.random.default_rng(0), []
        for _ in range(12):
            g = rng.standard_normal((20, 200, 1))
            C = 0.9 * g + np.sqrt(1 - 0.81) * rng.standard_normal(g.shape)
            found = rectified_mean(C[:10], g[:10], np.arange(10), g, np.arange(20))
            covered.append((found.lower <= 0) & (found.upper >= 0))
        assert 0.93 < np.mean(covered) < 0.98
