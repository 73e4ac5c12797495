"""Vestigial features: shown to do nothing, taken out, and what that cost and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.edits._prune_units import PrunedNetwork, prune_units
from mrinterp.edits._pruning import measure_pruning, prune
from mrinterp.edits._vestigial_features import vestigial_features
from mrinterp.edits._weight_edit import WeightEdit
from mrinterp.features._directions import Directions
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._check import NotApplicable
from mrinterp.results._edits.pruning import Pruning
from mrinterp.results._edits.vestigial_features import VestigialFeatures
from mrinterp.results._knockout_effects import KnockoutEffects

WIDTH, HIDDEN = 5, 12
USED, UNREAD, FAINT, DEAD = range(6), (6, 7, 8), (9, 10), 11


class Net(torch.nn.Module):
    """Twelve hidden units: six used, three that nothing reads, two that are hardly read, one that never fires."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rise, self.bend = torch.nn.Linear(WIDTH, HIDDEN), torch.nn.ReLU()
        self.fall = torch.nn.Linear(HIDDEN, 2)
        with torch.no_grad():
            self.fall.weight[:, list(UNREAD)] = 0.0
            self.fall.weight[:, list(FAINT)] *= 1e-4
            self.rise.bias[DEAD] = -100.0
        self.double()

    def forward(self, x: Any) -> Any:
        return self.fall(self.bend(self.rise(x)))


BOTH = OutcomeSet(
    [CallableOutcome("a", lambda out, _m: out[:, 0]), CallableOutcome("b", lambda out, _m: out[:, 1])]
)


def _bench(seed: int = 0, net: Any = None, site: str = "bend", view: Any = None, **options: Any) -> Bench:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(120, WIDTH, generator=g, dtype=torch.float64)
    network = (Net() if net is None else net).eval()
    return Bench(
        TorchAdapter(network),
        site,
        Units(range(HIDDEN), HIDDEN) if view is None else view,
        ModelInputs({"x": x}),
        options.pop("outcome", BOTH),
        family=np.repeat(np.arange(40), 3),
        **options,
    )


@pytest.fixture(scope="module")
def found() -> tuple[Bench, VestigialFeatures]:
    bench = _bench()
    kinds = [knock_out(bench, "mean", draws=20), knock_out(bench, "resample", donors=2, draws=20)]
    return bench, vestigial_features(kinds)


def _knockout(effect: np.ndarray, se: np.ndarray, df: float = 39.0, **changes: Any) -> KnockoutEffects:
    F, O = effect.shape
    return KnockoutEffects(
        kind=changes.get("kind", "shift"),
        label="shift",
        features=changes.get("features", tuple(f"f{i}" for i in range(F))),
        outcomes=tuple(f"y{o}" for o in range(O)),
        effect=effect,
        se=se,
        df=df,
        effect_by_input=np.repeat(effect[:, None], 4, axis=1),
        inputs=pd.DataFrame({"prompt": range(4), "family": range(4)}),
        read_back_error=np.zeros(F),
        leakage=np.zeros(F),
        off_support=np.zeros(F),
        outside_range=np.zeros(F),
        noise_floor=np.zeros(O),
        rms_change=np.abs(effect),
        outcome_sd=np.ones(O),
        feature_sd=np.ones(F),
    )


class TestFinding:
    def test_what_nothing_reads_is_found_and_nothing_else(self, found: Any) -> None:
        _, v = found
        assert v.names == tuple(str(u) for u in (*UNREAD, *FAINT, DEAD))
        status = v.table.set_index("feature")["status"]
        assert status[str(DEAD)] == "dead"
        assert (status.drop(str(DEAD)) == "ok").all()
        assert v.kinds == ("mean", "resample")

    def test_the_sentence(self, found: Any) -> None:
        text = str(found[1])
        assert text.startswith(
            "6 of 12 features are shown to have practically no effect on a, b under mean, resample"
        )
        assert "1 of them dead" in text

    def test_dead_ones_can_be_left(self, found: Any) -> None:
        bench, _ = found
        assert str(DEAD) not in vestigial_features(knock_out(bench, "mean", draws=5), dead=False).names

    def test_p_is_the_worst_cell_and_corrected_by_hand(self) -> None:
        effect = np.array([[0.001, 0.004], [0.0, 0.0], [0.3, 0.0], [0.012, 0.0]])
        se = np.full((4, 2), 0.004)
        v = vestigial_features(_knockout(effect, se))
        p = [stats.t.sf((0.02 - np.abs(row).max()) / 0.004, 39) for row in effect]
        np.testing.assert_allclose(v.table["p"], p, rtol=1e-9)
        ranked = np.sort(p)
        holm = np.maximum.accumulate(ranked * (4 - np.arange(4)))
        np.testing.assert_allclose(np.sort(v.table["adjusted"]), np.minimum(holm, 1), rtol=1e-9)
        assert v.names == ("f0", "f1")
        assert v.table["outcome"].tolist()[0] == "y1"
        loose = vestigial_features(_knockout(effect, se), correction="fdr_bh")
        assert set(v.names) <= set(loose.names)

    def test_every_kind_must_agree(self) -> None:
        se = np.full((2, 1), 0.001)
        one = _knockout(np.zeros((2, 1)), se, kind="mean")
        two = _knockout(np.array([[0.0], [0.5]]), se, kind="zero")
        v = vestigial_features([one, two])
        assert v.names == ("f0",)
        assert v.table.set_index("feature")["kind"]["f1"] == "zero"

    def test_an_imprecise_zero_is_not_vestigial(self) -> None:
        v = vestigial_features(_knockout(np.zeros((3, 1)), np.full((3, 1), 1.0)))
        assert v.names == ()

    def test_family_wise_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Thirty features whose effect is the region's edge: one is called vestigial in one study of twenty."""
        monkeypatch.setattr(
            "gc.collect", lambda: 0
        )  # multipletests collects garbage, a third of a second each time
        rng = np.random.default_rng(0)
        called = []
        for _ in range(300):
            spread = 0.005
            draws = 0.02 + spread * np.sqrt(40) * rng.standard_normal((30, 40))
            se = draws.std(axis=1, ddof=1) / np.sqrt(40)
            v = vestigial_features(_knockout(draws.mean(axis=1)[:, None], se[:, None]))
            called.append(len(v.names) > 0)
        # Three standard errors of 300 trials at .05.
        assert 0.012 <= np.mean(called) <= 0.088

    def test_no_error_no_claim(self) -> None:
        v = vestigial_features(_knockout(np.zeros((2, 1)), np.full((2, 1), np.nan)))
        assert v.names == ()
        assert "not measurable" in v.table["status"][0]
        assert "2 could not be tested" in str(v)

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda k: vestigial_features([]), "none"),
            (lambda k: vestigial_features(k, correction="bonferoni"), "Give one of holm"),
            (lambda k: vestigial_features(k, level=0.0), "between 0 and 1"),
            (lambda k: vestigial_features(k, rope=-1.0), "above zero"),
            (
                lambda k: vestigial_features(
                    [k, _knockout(np.zeros((2, 1)), np.ones((2, 1)), features=("g0", "g1"))]
                ),
                "differ from those",
            ),
        ],
    )
    def test_bad_input(self, call: Any, words: str) -> None:
        with pytest.raises(InputError, match=words):
            call(_knockout(np.zeros((2, 1)), np.ones((2, 1))))


class TestPruning:
    def test_the_pruned_network_is_smaller_and_says_the_same(self, found: Any) -> None:
        bench, v = found
        pruned = prune(bench, v)
        assert isinstance(pruned, PrunedNetwork)
        assert pruned.module.rise.weight.shape == (6, WIDTH)
        assert pruned.module.fall.weight.shape == (2, 6)
        assert (pruned.module.rise.out_features, pruned.module.fall.in_features) == (6, 6)
        held_out = _bench(seed=9)
        cost = measure_pruning(held_out, pruned, len(v.names))
        fewer = 6 * (WIDTH + 1) + 2 * 6
        assert cost.parameters_before - cost.parameters_after == fewer
        assert cost.bytes_before - cost.bytes_after == 8 * fewer
        assert np.abs(cost.after - cost.before).max() < 1e-3
        assert (cost.table["verdict"] == "negligible").all()
        assert held_out.adapter.module.rise.weight.shape == (HIDDEN, WIDTH), "the original is untouched"
        text = str(cost)
        assert "98 parameters became 50" in text
        assert "held out" in text
        assert "negligible: inside" in text

    def test_it_equals_the_ablation_at_run_time(self) -> None:
        bench = _bench()
        units = [4, 1, 8]
        mean = bench.values.mean(axis=0)[units]
        pruned = prune_units(bench.adapter.module, "bend", units, bench.inputs.tensors, values=mean)
        written = bench.sweep(np.array([units]), np.repeat(mean[None, :, None], 120, 2), "held").outcome[0]
        with torch.inference_mode():
            np.testing.assert_allclose(pruned.module(**bench.inputs.tensors), written, rtol=1e-12)
        assert pruned.units == (1, 4, 8)

    def test_pruning_a_cause_is_measured_as_a_loss(self) -> None:
        bench = _bench()
        cost = measure_pruning(_bench(seed=9), prune(bench, ["0", "1"]), 2)
        assert (cost.table["verdict"] != "negligible").any()
        assert (cost.table["changed"] > 0.9).any()
        assert "not negligible: outside" in str(cost)
        rows = cost.table
        d = cost.after - cost.before
        np.testing.assert_allclose(rows["change"], d.mean(axis=0))
        assert ((rows["lower"] <= rows["change"]) & (rows["change"] <= rows["upper"])).all()

    def test_zero_or_mean(self) -> None:
        bench = _bench()
        zero, mean = (measure_pruning(bench, prune(bench, ["0"], value=v), 1) for v in ("zero", "mean"))
        assert np.abs(mean.table["change"]).max() < 1e-12, "at its mean a linearly read unit keeps the mean"
        assert np.abs(zero.table["change"]).max() > 1e-3

    def test_directions_are_emptied_and_not_removed(self) -> None:
        read = np.linalg.qr(np.random.default_rng(3).standard_normal((HIDDEN, 2)))[0].T
        bench = _bench(site="rise", view=Directions(read))
        made = prune(bench, ["direction1"], value="zero")
        assert isinstance(made, WeightEdit)
        cost = measure_pruning(bench, made, 1)
        assert cost.parameters_before == cost.parameters_after
        swept = bench.sweep(np.array([[1]]), np.zeros((1, 1, 120)), "zero").outcome[0]
        np.testing.assert_allclose(cost.after, swept, atol=1e-10)

    def test_where_nothing_can_be_done(self) -> None:
        bench = _bench(view=Directions(np.eye(HIDDEN)[:1]))
        made = prune(bench, ["direction0"])
        assert isinstance(made, NotApplicable)
        assert "not a linear layer" in made.reason

    def test_a_normalization_between_is_refused(self) -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(5, 8), torch.nn.LayerNorm(8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        )
        example = {"input": torch.randn(4, 5)}
        with pytest.raises(InputError, match="cut them off"):
            prune_units(net.eval(), "2", [0, 3], example)

    def test_gated_layers_lose_rows_in_both_writers(self) -> None:
        class Gated(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gate, self.up = torch.nn.Linear(4, 7, bias=False), torch.nn.Linear(4, 7, bias=False)
                self.down = torch.nn.Linear(7, 4, bias=False)

            def forward(self, x: Any) -> Any:
                return self.down(torch.nn.functional.silu(self.gate(x)) * self.up(x))

        torch.manual_seed(0)
        pruned = prune_units(Gated().eval(), "down:input", [2, 5], {"x": torch.randn(3, 4)})
        assert pruned.writers == ("gate", "up")
        assert pruned.module.down.weight.shape == (4, 5)

    @pytest.mark.needs("transformers")
    def test_a_transformer_without_a_download(self, tmp_path: Path) -> None:
        import transformers

        from tests.tiny import tiny_decoder

        net = tiny_decoder()
        example = {"input_ids": torch.arange(12).reshape(2, 6)}
        pruned = prune_units(net, "transformer.h.1.mlp.act", [3, 50, 7], example)
        assert pruned.writers == ("transformer.h.1.mlp.c_fc",)
        assert type(pruned.module) is type(net)
        assert transformers is not None
        pruned.save(tmp_path / "p")
        again = PrunedNetwork.reopen(tmp_path / "p", net)
        with torch.inference_mode():
            assert torch.equal(again(**example).logits, pruned.module(**example).logits)
        with pytest.raises(InputError, match="Give the network that was pruned"):
            PrunedNetwork.reopen(tmp_path / "p", Net())

    @pytest.mark.parametrize(
        ("features", "value", "words"),
        [(["99"], "mean", "'99'"), ([], "mean", "none"), (["0"], "median", "'median'")],
    )
    def test_bad_input(self, features: Any, value: str, words: str) -> None:
        with pytest.raises(InputError, match=words):
            prune(_bench(), features, value=value)

    def test_more_bad_input(self) -> None:
        bench = _bench()
        with pytest.raises(InputError, match="all 12 units"):
            prune_units(bench.adapter.module, "bend", range(HIDDEN), bench.inputs.tensors)
        with pytest.raises(InputError, match="Name the linear layers"):
            prune_units(bench.adapter.module, "bend", [0], bench.inputs.tensors, writers=["fall"])
        with pytest.raises(InputError, match="Name the linear layers"):
            prune_units(bench.adapter.module, "bend", [9], bench.inputs.tensors, writers=["fall"])
        with pytest.raises(InputError, match="site 'raise'"):
            prune_units(bench.adapter.module, "bend", [9], bench.inputs.tensors, writers=["raise"])
        with pytest.raises(InputError, match="'0': given 2 times"):
            prune(bench, ["0", "0"])
        assert prune(bench, "10").units == (10,), "one name alone is a list of one"
        none = prune(_bench(view=Directions(np.eye(HIDDEN)[:1])), ["direction0"])
        with pytest.raises(InputError, match=r"edit: .*not a linear layer"):
            measure_pruning(bench, none, 1)
        pruned = prune(bench, ["0"])
        with pytest.raises(InputError, match="removed: 0"):
            measure_pruning(bench, pruned, 0)
        with pytest.raises(InputError, match="sampled"):
            measure_pruning(_bench(sampling=Sampling("normal", 2, 0.1, 0.0, 0)), pruned, 1)
        with pytest.raises(InputError, match="level"):
            measure_pruning(bench, pruned, 1, level=95)


def test_kept_on_disk(found: Any, tmp_path: Path) -> None:
    bench, v = found
    v.save(tmp_path / "v")
    again = VestigialFeatures.load(tmp_path / "v")
    assert again.names == v.names
    assert str(again) == str(v)
    cost = measure_pruning(bench, prune(bench, v), len(v.names))
    cost.save(tmp_path / "c")
    assert str(Pruning.load(tmp_path / "c")) == str(cost)
