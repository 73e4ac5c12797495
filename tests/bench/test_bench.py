"""The truth benchmark: answers, scores, runs that go on, the board; two families, three methods."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mrinterp.bench import Answer, Method, bench_methods, run_bench
from mrinterp.bench._access import halves, natural_sd, perturbed_runs, ropes, runs
from mrinterp.bench._board import _share_interval, board_of
from mrinterp.bench._runner import _asked
from mrinterp.bench._scores import score_answer
from mrinterp.core.errors import InputError
from mrinterp.results import NotApplicable
from mrinterp.stats.sparse.knockoffs import knockoff_filter
from mrinterp.worlds import Truth, World, gated_world, world_families
from mrinterp.worlds import _families as families_module

LINEAR = "linear network"
THREE = ("default", "ivw", "gradient")


def gated(seed: int = 0, small: bool = True) -> World:
    """The gated network as a world: inputs never leave the flat parts, so that only ``linear`` matters."""
    made = gated_world(seed, 40)
    bench = made.bench()
    causal = np.array([[True], [False], [False], [False], [False]])
    contrast = np.quantile(bench.values[:, 0], 0.9) - np.quantile(bench.values[:, 0], 0.1)
    truth = Truth(
        tuple(bench.view.names),
        tuple(bench.outcome.names),
        causal,
        borrows_from=np.array([-1, 0, -1, -1, -1]),
        effects={"contrast": causal * contrast, "shift": causal * bench.values[:, 0].std()},
        rope=0.02 * bench.clean.std(axis=0),
    )
    return World("gated", f"seed {seed}", seed, truth, bench=bench)


@pytest.fixture(scope="module")
def network() -> World:
    return gated()


@pytest.fixture(scope="module")
def table() -> World:
    return world_families()[LINEAR].make(0)


@pytest.fixture
def two_families(monkeypatch):
    from mrinterp.worlds import WorldFamily

    added = WorldFamily("gated", "development", "A gate that stays open.", gated)
    hidden = WorldFamily("hidden", "evaluation", "Nobody has looked.", gated)
    monkeypatch.setattr(families_module, "FAMILIES", (world_families()[LINEAR], added, hidden))


class TestMethods:
    @pytest.mark.parametrize("name", [n for n in bench_methods() if n not in ("susie", "probe")])
    def test_every_method_answers_or_says_why_not(self, name, network, table):
        for world in (network, table):
            found = _asked(bench_methods()[name], world, 0)
            if isinstance(found, NotApplicable):
                assert len(found.reason) > 10
                continue
            assert found.score.shape == world.truth.causal.shape
            assert not (found.causal & found.negligible).any()
            known = np.isfinite(found.lower)
            assert (found.lower[known] <= found.effect[known] + 1e-9).all()
            again = bench_methods()[name].run(world, 0)
            assert np.array_equal(found.score, again.score, equal_nan=True), "the same seed, the same answer"

    def test_the_default_finds_the_cause_and_the_copy_and_not_the_twin(self, table):
        found = bench_methods()["default"].run(table, 0)
        assert found.causal[:, 0].tolist() == [True, False, False, False, True]
        assert found.sets == ((0, 4),)
        assert found.estimand == "slope"

    def test_the_default_writes_where_it_can_and_calls_what_does_nothing_negligible(self, network):
        found = bench_methods()["default"].run(network, 0)
        assert found.estimand == "contrast"
        assert found.causal[:, 0].tolist() == [True, False, False, False, False]
        assert found.negligible[1:, 0].all()
        truth = network.truth.effects["contrast"][0, 0]
        assert abs(found.effect[0, 0] / truth - 1) < 0.15

    def test_univariable_mr_falls_for_the_twin(self, table):
        assert bench_methods()["ivw"].run(table, 0).causal[1, 0]

    def test_knockouts_alone_spend_what_the_rectified_contrast_spends(self, network):
        spent = [
            sum(bench_methods()[n].run(network, 0).passes.values()) for n in ("rectified", "knockouts_alone")
        ]
        assert abs(spent[1] / spent[0] - 1) < 0.1

    def test_no_method_reads_the_truth(self, network, table):
        for world, names in (
            (network, ("default", "gradient", "ivw")),
            (table, ("default", "mv_ivw", "knockoffs")),
        ):
            blank = replace(
                world,
                truth=Truth(
                    world.truth.features, world.truth.outcomes, ~world.truth.causal, rope=world.truth.rope
                ),
            )
            for name in names:
                one, other = (bench_methods()[name].run(w, 0) for w in (world, blank))
                assert np.array_equal(one.causal, other.causal)
                assert np.array_equal(one.effect, other.effect, equal_nan=True)


class TestAccess:
    def test_inputs_are_perturbed_and_the_doses_explain_the_features(self, network):
        panel = perturbed_runs(network)
        change = panel.changes()
        left = change.features - change.doses @ np.linalg.lstsq(change.doses, change.features, rcond=None)[0]
        assert np.abs(left).max() < 1e-9, "five numbers in, the same five units"
        assert panel.bypass.shape[1] == 0, "the features are all of the site"

    def test_tokens_are_replaced_by_others_of_their_class(self):
        import torch

        from mrinterp.adapters import ModelInputs
        from mrinterp.bench._access import _swapped

        rng = np.random.default_rng(0)
        ids = np.concatenate([rng.integers(0, 5, (200, 1)), rng.integers(5, 9, (200, 2))], axis=1)
        classes = torch.tensor([[0, 1, 1]] * 200)
        inputs = ModelInputs(
            {"input_ids": torch.from_numpy(ids)}, torch.ones(200, 3, dtype=torch.long), classes, ("a", "b")
        )
        moved = np.arange(200) >= 100
        changed, doses = _swapped(inputs, "input_ids", moved, rng)
        assert np.array_equal(changed[:100], ids[:100])
        assert not np.array_equal(changed[100:], ids[100:])
        assert changed[:, 0].max() < 5 <= changed[:, 1:].min()
        assert doses.sum(axis=1).tolist() == [3.0] * 200, "every token of a class is counted once"

    def test_halves_share_no_family(self, table):
        first, second = halves(table, 0)
        one, other = (set(w.panel.runs["family"]) for w in (first, second))
        assert not one & other
        assert len(one | other) == table.panel.families

    def test_a_contrast_is_2563_natural_sd(self, network):
        assert np.allclose(ropes(network, "contrast"), 2.563 * ropes(network, "slope"))

    def test_a_slope_of_a_table_is_per_unit(self, table):
        assert np.allclose(ropes(table, "slope")[:, 0] * natural_sd(table), ropes(table, "averaged")[:, 0])
        assert (runs(table).runs["kind"] == "clean").all()


class TestKnockoffs:
    def test_the_false_discovery_rate_holds_and_causes_are_found(self):
        shares, found = [], []
        for seed in range(8):
            rng = np.random.default_rng(seed)
            common = rng.standard_normal((300, 1))
            x = 0.5 * common + rng.standard_normal((300, 40))
            y = x[:, :20] @ np.full(20, 0.5) + rng.standard_normal(300)
            selected = knockoff_filter(x, y, 0.2, seed).selected
            shares.append(selected[20:].sum() / max(selected.sum(), 1))
            found.append(selected[:20].mean())
        # Mean over 8 draws of a share whose expectation is at most .2; its standard error is about .04.
        assert np.mean(shares) < 0.3
        assert np.mean(found) > 0.9

    def test_nothing_is_selected_where_nothing_varies_or_nothing_is_related(self):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((300, 20))
        assert not knockoff_filter(x, np.ones(300), 0.2, 0).selected.any()
        assert not knockoff_filter(np.ones((300, 3)), x[:, 0], 0.2, 0).selected.any()
        assert knockoff_filter(x, rng.standard_normal(300), 0.2, 0).selected.mean() < 0.2


class TestScores:
    def answer(self, world: World, **given) -> Answer:
        truth = world.truth.effects["contrast"]
        exact = {"score": np.abs(truth), "effect": truth, "lower": truth - 0.1, "upper": truth + 0.1}
        return Answer(**{**exact, "causal": world.truth.causal, "estimand": "contrast", **given})

    def scored(self, world: World, again=("not run", "not run"), **given):
        method = bench_methods()["rectified"]
        return score_answer(
            world, method, self.answer(world, **given), again if len(given) < 0 else "not run"
        )

    def test_the_right_answer_has_the_best_scores(self, network):
        found = self.scored(network)
        best = {
            "auroc": 1,
            "auroc_all": 1,
            "auprc": 1,
            "sign": 1,
            "slope": 1,
            "rmse": 0,
            "coverage": 1,
            "fdr": 0,
            "power": 1,
        }
        assert {k: found[k] for k in best} == pytest.approx(best)
        assert found["impostor_called"] == found["cause_called_negligible"] == 0

    def test_a_twice_too_large_effect_has_slope_2(self, network):
        assert self.scored(network, effect=2 * network.truth.effects["contrast"])["slope"] == pytest.approx(2)

    def test_calling_the_impostor_costs(self, network):
        called = np.array([[True], [True], [False], [False], [False]])
        found = self.scored(network, causal=called, score=np.array([[1.0], [2.0], [0], [0], [0]]))
        assert (found["fdr"], found["impostor_called"], found["auroc"]) == (0.5, 1.0, 0.0)

    def test_a_feature_without_a_rank_comes_last(self, network):
        score = np.array([[np.nan], [0.1], [0], [0], [0]])
        assert self.scored(network, score=score)["auroc"] == 0.0

    def test_naming_the_impostors_cause(self, network):
        assert "names no" in self.scored(network)["source"]
        assert self.scored(network, source=np.array([-1, 0, -1, -1, -1]))["source"] == 1.0
        assert self.scored(network, source=np.array([-1, 3, -1, -1, -1]))["source"] == 0.0

    def test_an_estimand_without_a_table_says_so(self, network):
        assert "no table" in self.scored(network, estimand="averaged")["slope"]

    def test_a_second_run(self, network):
        a, b = np.array([[True], [True]]), np.array([[True], [False]])
        method, answer = bench_methods()["rectified"], self.answer(network)
        assert score_answer(network, method, answer, (a, b))["jaccard"] == 0.5
        assert "nothing" in score_answer(network, method, answer, (a & ~a, a & ~a))["jaccard"]

    def test_shares_that_all_agree_are_not_certain(self):
        lower, upper = _share_interval(1.0, 0.0, 4)
        assert lower == pytest.approx(0.510, abs=1e-3)
        assert upper == 1.0


class TestRuns:
    def test_two_families_three_methods(self, two_families, tmp_path):
        board = run_bench(THREE, seeds=1, out=tmp_path)
        assert set(board.families["family"]) == {LINEAR, "gated"}
        assert board["ivw", "impostor_called"].value > 0
        assert board["default", "impostor_called"].value == 0
        assert "no network" in board.cell(LINEAR, "gradient", "auroc").why
        assert board["gradient", "auroc"].worlds == 1
        files = sorted(tmp_path.rglob("*.json"))
        assert len(files) == 2 * 3
        before = {f: f.read_bytes() for f in files}
        files[0].unlink()
        files[3].write_text("{")  # as a machine that lost its power leaves it
        again = run_bench(THREE, seeds=1, out=tmp_path)
        assert {f: f.read_bytes() for f in files} == before
        assert again.scores.equals(board.scores)

    def test_an_interruption_keeps_what_is_finished(self, two_families, tmp_path):
        asked = []

        def stop(world, seed):
            asked.append(seed)
            if len(asked) == 1:
                raise KeyboardInterrupt
            return Answer(score=np.zeros(world.truth.causal.shape))

        own = [Method("stop", "stops once", "none", ("runs",), stop)]
        with pytest.raises(KeyboardInterrupt):
            run_bench(["ivw", "stop"], LINEAR, seeds=1, out=tmp_path, own=own)
        (kept,) = tmp_path.rglob("*.json")
        touched = kept.stat().st_mtime_ns
        board = run_bench(["ivw", "stop"], LINEAR, seeds=1, out=tmp_path, own=own)
        assert kept.stat().st_mtime_ns == touched
        assert board["stop", "auroc"].value == 0.5

    def test_a_refusal_is_an_empty_cell_with_its_reason(self, tmp_path):
        def refuse(world, seed):
            raise InputError("panel", "too few runs", "Give more")

        own = [Method("refuse", "refuses", "none", ("runs",), refuse)]
        board = run_bench(["ivw", "refuse"], LINEAR, seeds=1, out=tmp_path, own=own)
        assert board["refuse", "auroc"].why == "refused: panel: too few runs"

    def test_families_are_named_one_by_one_or_with_commas_between(self, tmp_path):
        none = [Method("none", "none", "none", ("runs",), lambda world, seed: NotApplicable("no", ""))]
        board = run_bench("none", ["copies,twins", "gate"], seeds=1, own=none, out=tmp_path)
        assert board.families["family"].tolist() == ["copies", "gate", "twins"]
        with pytest.raises(InputError, match="Did you mean 'MiniLM, layer 3'"):
            run_bench("none", "MiniLM, layer 3,layer 9", own=none, out=tmp_path)
        with pytest.raises(InputError, match="'layer 9'"):
            run_bench("none", ["MiniLM, layer 3", "layer 9"], own=none, out=tmp_path)

    def test_evaluation_families_are_refused_without_the_flag(self, two_families, tmp_path):
        with pytest.raises(InputError, match="hidden"):
            run_bench(THREE, "hidden", out=tmp_path)

    def test_methods_of_ones_own_stay_in_one_process(self, tmp_path):
        own = [Method("mine", "mine", "none", ("runs",), lambda world, seed: NotApplicable("no", ""))]
        with pytest.raises(InputError, match="jobs"):
            run_bench(["mine"], LINEAR, own=own, jobs=2, out=tmp_path)

    def test_an_answer_is_read_again_as_it_was_written(self, table):
        one = bench_methods()["within"].run(table, 0)
        again = Answer.from_dict(json.loads(json.dumps(one.to_dict())))
        assert np.array_equal(one.effect, again.effect)
        assert (one.sets, one.passes, one.estimand) == (again.sets, again.passes, again.estimand)


def test_the_order_counts_worlds_that_a_method_cannot_be_run_on():
    def cell(method, seed, auroc):
        known = {} if auroc is None else {"auroc": auroc, "power": 1.0}
        return {
            "family": "f",
            "seed": seed,
            "method": method,
            "scores": known,
            "why": "" if known else "a table",
            "why_not": {},
        }

    cells = [cell("default", 0, 0.9), cell("default", 1, 0.9), cell("ivw", 0, 1.0), cell("ivw", 1, None)]
    methods = [bench_methods()[n] for n in ("ivw", "default")]
    board = board_of(cells, methods, {"f": "about"}, size="quick", seeds=2)
    assert board.order == ("default", "ivw")
    assert board["ivw", "auroc"].worlds == 1


class TestBoardPages:
    @pytest.fixture(scope="class")
    def written(self, tmp_path_factory):
        from mrinterp.report.board_page import write_board
        from mrinterp.results import example

        folder = tmp_path_factory.mktemp("board")
        return folder, write_board(example("Leaderboard"), folder, "mrinterp bench"), example("Leaderboard")

    def test_every_number_of_the_board_is_on_the_page_or_its_reason(self, written):
        from mrinterp.report.board_words import cell_words

        _, files, board = written
        html, text = (files[k].read_text(encoding="utf-8") for k in ("html", "markdown"))
        for method in board.order:
            for score in ("auroc", "fdr", "coverage"):
                words = cell_words(board[method, score])
                assert words in html
                assert words in text
        assert "it names no cause of an impostor" in html
        assert "it names no cause of an impostor" in text

    def test_the_page_asks_nothing_of_the_network_and_runs_nothing(self, written):
        html = written[1]["html"].read_text(encoding="utf-8")
        assert "<script" not in html
        assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")

    def test_the_stored_board_makes_the_same_pages(self, written, tmp_path):
        from mrinterp.report.board_page import write_board
        from mrinterp.results import Leaderboard

        folder, files, _ = written
        again = write_board(Leaderboard.load(folder / "leaderboard"), tmp_path, "mrinterp bench")
        assert {k: p.read_bytes() for k, p in again.items()} == {k: p.read_bytes() for k, p in files.items()}

    def test_the_page_of_warnings_is_that_of_the_committed_board(self):
        import runpy
        from pathlib import Path

        root = Path(__file__).parents[2]
        made = runpy.run_path(str(root / "docs" / "make_when_not_to_trust.py"))
        written = (root / "docs" / "when_not_to_trust.md").read_text(encoding="utf-8")
        assert written == made["page"](), "run python docs/make_when_not_to_trust.py"

    def test_a_defeat_is_told(self):
        from mrinterp.report.board_words import defeats

        cells = [
            {"family": "f", "seed": s, "method": m, "scores": {"auroc": a}, "why": "", "why_not": {}}
            for s in range(4)
            for m, a in (("default", 0.6 + 0.01 * s), ("gradient", 0.9))
        ]
        methods = [bench_methods()[n] for n in ("default", "gradient")]
        (said,) = defeats(board_of(cells, methods, {"f": "about"}, size="quick", seeds=4))
        assert said.startswith("f, AUROC, default 0.6")
        assert "`gradient` 0.90" in said
