"""A spurious cue planted in digits: edited out, accuracy rises where the cue misleads, and losses are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.edits._confounder_removal import remove_confounder
from mrinterp.edits._fold_out import edited_outcomes
from mrinterp.edits._prune_units import prune_units
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import ChannelMap
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._target_outcomes import CorrectAnswer, ExampleLoss
from mrinterp.plots._edits.confounder_removal import confounder_removal as figure
from mrinterp.plots._style import save
from mrinterp.positions import AllTokens, MeanOfTokens
from mrinterp.results._edits.confounder_removal import ConfounderRemoval
from mrinterp.stats.clustered.paired_change import paired_change

HIGH, LOW = 0, 32
"""Corner pixels that no digit uses: lit they say "five or more" and "less than five"."""


class Digits(torch.nn.Module):
    """Pixels, a hidden layer, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = torch.nn.Identity()
        self.hidden = torch.nn.Linear(64, 24)
        self.bend = torch.nn.ReLU()
        self.answer = torch.nn.Linear(24, 2)

    def forward(self, x: Any) -> Any:
        return self.answer(self.bend(self.hidden(self.pixels(x))))


def _cued(x: np.ndarray, says: np.ndarray) -> np.ndarray:
    """Images with a corner lit: 1 says high, 0 low, -1 nothing."""
    x = x.copy()
    x[says == 1, HIGH] = x[says == 0, LOW] = 1.0
    return x


@pytest.fixture(scope="module")
def trained() -> tuple[Digits, np.ndarray, np.ndarray]:
    """A network trained where the cue tells the truth in 95 of 100 images; images and labels held out."""
    digits = load_digits()
    x, y = digits.data / 16, (digits.target >= 5).astype(int)
    assert not x[:, [HIGH, LOW]].any()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    train, test = order[:900], order[900:1100]
    says = np.where(rng.random(900) < 0.95, y[train], rng.choice([-1, 0, 1], 900))
    torch.manual_seed(0)
    net = Digits()
    step = torch.optim.Adam(net.parameters(), lr=0.01)
    inputs = torch.from_numpy(_cued(x[train], says)).float()
    labels = torch.from_numpy(y[train])
    for _ in range(120):
        step.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        step.step()
    return net.eval().requires_grad_(False), x[test], y[test]


GROUPS = ("agrees", "conflicts", "absent")


def _bench(trained: Any, site: str, view: Any, **options: Any) -> tuple[Bench, np.ndarray]:
    """Every held-out image three times: with a cue that agrees, one that conflicts, and none."""
    net, x, y = trained
    says = np.concatenate([y, 1 - y, np.full(len(y), -1)])
    images = torch.from_numpy(_cued(np.tile(x, (3, 1)), says)).float()
    labels = torch.from_numpy(np.tile(y, 3))
    outcome = OutcomeSet([CorrectAnswer(labels), ExampleLoss(labels)])
    family = np.tile(np.arange(len(y)), 3)
    bench = Bench(
        TorchAdapter(net), site, view, ModelInputs({"x": images}), outcome, family=family, **options
    )
    return bench, np.repeat(GROUPS, len(y))


def _pixel_bench(trained: Any, **options: Any) -> tuple[Bench, np.ndarray]:
    return _bench(trained, "pixels", Units([HIGH, LOW], 64, ["high corner", "low corner"]), **options)


def _hidden_bench(trained: Any) -> tuple[Bench, np.ndarray]:
    weight = trained[0].hidden.weight.numpy()
    view = Directions.from_write(weight[:, [HIGH, LOW]].T, names=["high cue", "low cue"])
    return _bench(trained, "hidden", view)


@pytest.fixture(scope="module")
def pixels(trained: Any) -> tuple[Bench, np.ndarray, ConfounderRemoval]:
    bench, group = _pixel_bench(trained)
    return bench, group, remove_confounder(bench, ["high corner", "low corner"], group)


class TestExactTruth:
    """Cutting the corner pixels off makes every version of an image the one without a cue."""

    def test_after_the_edit_all_versions_are_the_one_without_a_cue(self, pixels: Any) -> None:
        bench, group, found = pixels
        assert found.how == "weights"
        absent = bench.clean[group == "absent"]
        for name in GROUPS:
            np.testing.assert_allclose(found.after[group == name], absent, atol=1e-5)

    def test_accuracy_rises_where_the_cue_misleads(self, pixels: Any) -> None:
        bench, group, found = pixels
        row = found.row("conflicts", "correct")
        assert row["before"] < 0.5
        assert row["after"] > 0.8
        assert row["lower"] > 0.3
        assert row["boot_lower"] > 0.3
        assert found.row("conflicts", "loss")["upper"] < 0

    def test_the_loss_elsewhere_is_measured(self, pixels: Any) -> None:
        bench, group, found = pixels
        row = found.row("agrees", "correct")
        truth = bench.clean[group == "absent", 0].mean() - bench.clean[group == "agrees", 0].mean()
        assert truth < -0.02, "the cue helped where it told the truth"
        assert row["change"] == pytest.approx(truth, abs=1e-12)
        assert row["lower"] <= truth <= row["upper"] < 0
        absent = found.row("absent", "correct")
        assert absent["change"] == absent["changed"] == 0
        assert "says nothing about inputs not seen" in absent["status"]
        assert found.row("elsewhere", "correct")["change"] == pytest.approx(truth / 2)

    def test_weights_and_run_time_agree(self, trained: Any, pixels: Any) -> None:
        bench, group, found = pixels
        other = remove_confounder(bench, ["high corner", "low corner"], group, how="run time")
        assert other.how == "run time"
        np.testing.assert_allclose(other.after, found.after, atol=1e-5)
        assert other.meta["why"] == "asked for at run time"

    def test_the_sentence(self, pixels: Any) -> None:
        _, _, found = pixels
        text = str(found)
        assert (
            "high corner, low corner edited out (weights), correct: where the cue conflicts from 0." in text
        )
        assert "on 200 inputs (change +0." in text
        assert "elsewhere" in text


class TestHiddenDirections:
    def test_the_direction_is_folded_into_the_layer_that_writes_it(self, trained: Any) -> None:
        bench, group = _hidden_bench(trained)
        permanent = remove_confounder(bench, ["high cue", "low cue"], group)
        assert permanent.how == "weights"
        assert set(permanent.meta["changed"]) == {"hidden.weight", "hidden.bias"}
        written = remove_confounder(bench, ["high cue", "low cue"], group, how="run time")
        np.testing.assert_allclose(permanent.after, written.after, atol=1e-4)
        # Both directions carry the whole cue: versions of an image cannot be told apart any more.
        for name in GROUPS:
            np.testing.assert_allclose(
                permanent.after[group == name], permanent.after[group == "absent"], atol=1e-4
            )
        assert permanent.row("conflicts", "correct")["lower"] > 0.1
        assert permanent.row("absent", "correct")["change"] <= 0.02, "what else lay along the cue is lost"

    def test_another_direction_gains_nothing(self, trained: Any) -> None:
        net = trained[0]
        cue = net.hidden.weight.numpy()[:, [HIGH, LOW]]
        other = np.random.default_rng(1).standard_normal(24)
        other -= cue @ np.linalg.lstsq(cue, other, rcond=None)[0]
        bench, group = _bench(trained, "hidden", Directions(other[None], names=["other"]))
        found = remove_confounder(bench, ["other"], group)
        assert found.row("conflicts", "correct")["change"] < 0.15

    def test_what_weights_cannot_do_is_done_at_run_time(self, trained: Any) -> None:
        read = np.random.default_rng(2).standard_normal((1, 24))
        bench, group = _bench(trained, "bend", Directions(read, names=["bent"]))
        found = remove_confounder(bench, ["bent"], group)
        assert found.how == "run time"
        assert "not a linear layer" in found.meta["why"]
        with pytest.raises(InputError, match="not a linear layer"):
            remove_confounder(bench, ["bent"], group, how="weights")

    def test_a_network_edited_before(self, trained: Any) -> None:
        bench, group = _pixel_bench(trained)
        found = remove_confounder(bench, ["high corner"], group, edited=trained[0])
        assert not found.table["change"].any(), "the network itself: nothing changed"
        np.testing.assert_array_equal(edited_outcomes(bench, trained[0]), bench.clean)


def test_a_pruned_network_is_judged_as_any_edit(trained: Any) -> None:
    bench, group = _pixel_bench(trained)
    given = {"x": bench.inputs.tensors["x"]}
    pruned = prune_units(trained[0], "bend", [0, 5, 9], given)
    found = remove_confounder(bench, ["high corner"], group, edited=pruned)
    np.testing.assert_array_equal(found.after, edited_outcomes(bench, pruned.module))
    assert found.label == "3 of 24 units of bend pruned"
    assert np.abs(found.table["change"]).max() > 0


def test_channels_of_a_feature_map_are_written_at_run_time() -> None:
    class Conv(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.site, self.out = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.out(torch.relu(self.site(x)).mean((2, 3)))

    x, labels = torch.randn(8, 1, 4, 4), torch.zeros(8, dtype=torch.long)
    inputs, view = ModelInputs({"x": x}, torch.ones(8, 4, dtype=torch.long)), ChannelMap(Units([0, 2], 4))
    bench = Bench(
        TorchAdapter(Conv().eval()), "site", view, inputs, ExampleLoss(labels), position=AllTokens()
    )
    found = remove_confounder(bench, ["0"], np.repeat(["conflicts", "absent"], 4))
    assert found.how == "run time"
    assert "not convolutions" in found.meta["why"]
    h = bench.adapter.module.site(x).detach()
    h[:, 0] = found.meta["value"][0]
    with torch.no_grad():
        logits = bench.adapter.module.out(torch.relu(h).mean((2, 3)))
    np.testing.assert_allclose(found.after[:, 0], -logits.log_softmax(1)[:, 0], rtol=1e-5)


def test_a_network_with_tokens() -> None:
    torch.manual_seed(1)

    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site, self.out = torch.nn.Linear(5, 6), torch.nn.Linear(6, 2)

        def forward(self, x: Any) -> Any:
            return self.out(torch.tanh(self.site(x)).mean(1))

    mask = torch.ones(8, 3, dtype=torch.long)
    labels = torch.zeros(8, dtype=torch.long)
    view = Directions(np.eye(6)[:2])
    results = {}
    for rule in (AllTokens(), MeanOfTokens()):
        bench = Bench(
            TorchAdapter(Tokens().eval()),
            "site",
            view,
            ModelInputs({"x": torch.randn(8, 3, 5)}, mask),
            ExampleLoss(labels),
            position=rule,
        )
        results[type(rule)] = remove_confounder(
            bench, ["direction0"], np.repeat(["conflicts", "absent"], 4), value=0.7
        )
        again = remove_confounder(
            bench, ["direction0"], np.repeat(["conflicts", "absent"], 4), value=0.7, how="run time"
        )
        np.testing.assert_allclose(results[type(rule)].after, again.after, atol=1e-5)
    assert results[AllTokens].how == "weights"
    assert results[MeanOfTokens].how == "run time"
    assert "weights act on each token alone" in results[MeanOfTokens].meta["why"]


class TestPairedChange:
    def test_it_is_the_clustered_mean_of_differences(self) -> None:
        rng = np.random.default_rng(3)
        before, after = rng.standard_normal((2, 30, 2))
        family = np.repeat(np.arange(10), 3)
        members = np.array([np.arange(30) < 15, np.full(30, True)])
        found = paired_change(before, after, members, family)
        for g, rows in enumerate(members):
            d = (after - before)[rows]
            np.testing.assert_allclose(found.change[g], d.mean(0))
            sums = np.array([(d - d.mean(0))[family[rows] == c].sum(0) for c in np.unique(family[rows])])
            C = len(sums)
            np.testing.assert_allclose(found.se[g], np.sqrt((sums**2).sum(0) * C / (C - 1)) / len(d))
        assert (found.boot_lower < found.change).all()
        assert (found.change < found.boot_upper).all()

    def test_intervals_cover(self) -> None:
        rng = np.random.default_rng(4)
        inside = []
        for _ in range(300):
            d = 0.3 + np.repeat(rng.standard_normal(25), 4) + rng.standard_normal(100)
            f = paired_change(
                np.zeros((100, 1)), d[:, None], np.full((1, 100), True), np.repeat(np.arange(25), 4), draws=20
            )
            inside.append(f.lower[0, 0] <= 0.3 <= f.upper[0, 0])
        assert 0.91 <= np.mean(inside) <= 0.985

    def test_empty_groups_and_single_families(self) -> None:
        members = np.array([np.full(6, False), np.full(6, True)])
        found = paired_change(np.zeros((6, 1)), np.ones((6, 1)), members, np.zeros(6))
        assert np.isnan(found.change[0, 0])
        assert found.change[1, 0] == 1
        assert np.isnan([found.lower[1, 0], found.boot_lower[1, 0]]).all()
        assert found.families.tolist() == [0, 1]


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"features": ["high corners"]}, "Did you mean 'high corner'"),
            ({"features": []}, "at least one|at least 1"),
            ({"features": ["high corner", "high corner"]}, "given 2 times"),
            ({"group": ["agrees"] * 600}, "no input whose cue conflicts"),
            ({"group": ["conflicts"] * 3}, "for 600 inputs"),
            ({"group": ["conflicts"] * 599 + ["maybe"]}, "group of input 599: 'maybe'"),
            ({"value": np.nan}, "not finite"),
            ({"value": [1.0, 2.0, 3.0]}, "Give one number"),
            ({"how": "magic"}, "how"),
        ],
    )
    def test_is_refused(self, pixels: Any, change: dict[str, Any], words: str) -> None:
        bench, group, _ = pixels
        options = {"features": ["high corner", "low corner"], "group": group, **change}
        with pytest.raises(InputError, match=words):
            remove_confounder(bench, **options)

    def test_sampled_outcomes(self, trained: Any) -> None:
        bench, group = _pixel_bench(trained, sampling=Sampling("normal", 2, 0.1, 0.0, 0))
        with pytest.raises(InputError, match="sampled"):
            remove_confounder(bench, ["high corner"], group)

    def test_labels(self, trained: Any) -> None:
        with pytest.raises(InputError, match="2 of 2 classes"):
            CorrectAnswer(torch.tensor([0, 2]))(torch.zeros(2, 2), torch.ones(2, 1))
        with pytest.raises(InputError, match="One label per run"):
            CorrectAnswer(torch.tensor([0]))(torch.zeros(2, 2), torch.ones(2, 1))

    def test_groups_that_are_not_there(self, pixels: Any) -> None:
        with pytest.raises(InputError, match="outcome 'acuracy'"):
            pixels[2].row("conflicts", "acuracy")

    def test_no_inputs_without_a_cue(self, trained: Any) -> None:
        bench, group = _pixel_bench(trained)
        found = remove_confounder(bench, ["high corner"], np.where(group == "absent", "agrees", group))
        assert found.row("absent", "correct")["status"] == "no inputs"
        assert np.isnan(found.row("absent", "correct")["change"])
        assert found.meta["value"] == [0.0]


def test_figure_shows_before_after_and_the_interval(pixels: Any, tmp_path: Path) -> None:
    found = pixels[2]
    ax = figure(found, "loss")
    rows = [found.row(g, "loss") for g in ("conflicts", "agrees", "absent")]
    drawn = [line.get_xdata() for line in ax.lines]
    for place, r in enumerate(rows):
        bar, _, before, after = drawn[4 * place : 4 * place + 4]
        np.testing.assert_allclose(bar, [r["before"] + r["lower"], r["before"] + r["upper"]])
        assert (before[0], after[0]) == (r["before"], r["after"])
    assert next(t.get_text() for t in ax.get_yticklabels()) == "cue conflicts (200)"
    assert save(ax, tmp_path / "c.png").stat().st_size > 5000
    with pytest.raises(InputError, match="outcome 'los'"):
        figure(found, "los")


def test_kept_on_disk(pixels: Any, tmp_path: Any) -> None:
    found = pixels[2]
    found.save(tmp_path / "r")
    again = ConfounderRemoval.load(tmp_path / "r")
    np.testing.assert_array_equal(again.after, found.after)
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame(), check_dtype=False)
    assert str(again) == str(found)
