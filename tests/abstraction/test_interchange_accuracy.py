"""Interchange-intervention accuracy on networks whose variables are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import AlignedVariable
from mrinterp.abstraction._causal_model import CausalModel, Variable
from mrinterp.abstraction._class_scores import ClassScores
from mrinterp.abstraction._controls import control_alignments
from mrinterp.abstraction._interchange_accuracy import interchange_accuracy
from mrinterp.abstraction._interchange_pairs import draw_pairs, held_out_families
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Subspace
from mrinterp.features._feature_view import ChannelMap
from mrinterp.features._latents import Latents
from mrinterp.features._units import Units, WholeLayer
from mrinterp.plots._abstraction.interchange_accuracy import interchange_accuracy as figure
from mrinterp.plots._style import axes, save
from mrinterp.positions import MEAN_OF_TOKENS, AllTokens, MaxOfTokens, TokenIndex
from mrinterp.results._abstraction.interchange_accuracy import InterchangeAccuracy
from mrinterp.worlds._hierarchical_equality import built_network, equality_task

TASK = equality_task(400)
NETWORK, DIRECTIONS = built_network()
ADAPTER = TorchAdapter(NETWORK)
PAIRS = {v: draw_pairs(TASK.model, TASK.settings, v, 300) for v in ("left", "right")}


def _aligned(variable: str) -> AlignedVariable:
    return AlignedVariable(variable, "2", Subspace(DIRECTIONS[variable]))


def _accuracy(alignment: Any, base: Any, source: Any, **options: Any) -> InterchangeAccuracy:
    task = replace(TASK, **{k: options.pop(k) for k in ("family", "settings") if k in options})
    given = {"random_subspaces": 3, "shuffles": 3, "draws": 200, **options}
    return interchange_accuracy(ADAPTER, task, alignment, base, source, **given)


@pytest.mark.parametrize("variable", ["left", "right"])
def test_the_true_subspace_is_exact_and_controls_are_not(variable: str) -> None:
    found = _accuracy(_aligned(variable), *PAIRS[variable])
    t = found.to_frame().set_index("alignment")
    assert found.meta["task_accuracy"] == 1.0
    assert t.loc["aligned", "accuracy"] == 1.0
    assert t.loc["aligned", "informative_accuracy"] == 1.0
    assert t.loc["aligned", "informative_pairs"] > 100
    assert t.loc["aligned", "lower"] > 0.85
    # Doing nothing is right exactly where nothing was to change; a random direction does next to nothing.
    assert t.loc["no edit", "accuracy"] == pytest.approx(1 - t.loc["aligned", "informative_pairs"] / 300)
    assert t.loc["no edit", "informative_accuracy"] == 0.0
    assert t.loc["random subspace", "informative_accuracy"].max() < 0.3
    for control in ("wrong variable", "shuffled labels", "majority label", "whole site"):
        assert t.loc[[control], "accuracy"].between(0.35, 0.65).all(), control
        assert (t.loc[[control], "over_lower"] > 0.25).all(), control
    assert t.loc["aligned", "read_back"] < 1e-4


def test_agrees_with_interchange_written_out_by_hand() -> None:
    """Half of the true direction and half of another, so that hits and misses are both many."""
    direction = DIRECTIONS["left"][0] + 0.7 * DIRECTIONS["right"][0]
    direction /= np.linalg.norm(direction)
    base, source = PAIRS["left"]
    found = _accuracy(AlignedVariable("left", "2", Subspace(direction[None])), base, source)
    x, u = TASK.inputs.tensors["input"], torch.from_numpy(direction).float()
    with torch.no_grad():
        h = NETWORK[:3](x)
        edited = h[base] + ((h[source] - h[base]) @ u)[:, None] * u
        answer = NETWORK[3:](edited).argmax(1).numpy().astype(bool)
    a, b, c, d = (TASK.settings[k] for k in "abcd")
    wanted = (a[source] == b[source]) == (c[base] == d[base])
    np.testing.assert_array_equal(found.hits[0], answer == wanted)
    assert 0.2 < found.accuracy < 0.95
    np.testing.assert_array_equal(found.pairs["label"], wanted)
    whole = found.hits[list(found.arms["alignment"]).index("whole site")]
    own = (a == b) == (c == d)
    np.testing.assert_array_equal(whole, own[source] == wanted)


def test_several_variables_from_sources_of_their_own_at_several_sites() -> None:
    symbols = TASK.symbols
    base, source = draw_pairs(TASK.model, TASK.settings, ["left", "right"], 300, seed=3)
    together = _accuracy([_aligned("left"), _aligned("right")], base, source)
    assert together.accuracy == 1.0
    assert set(together.pairs) >= {"source:left", "source:right"}
    compared = AlignedVariable("right", "1", Units(range(symbols, 2 * symbols), 6 * symbols))
    apart = _accuracy([_aligned("left"), compared], base, source)
    assert apart.accuracy == 1.0
    crossed = _accuracy([_aligned("left"), compared], base, source[:, ::-1].copy())
    np.testing.assert_array_equal(crossed.hits[0], 1.0)  # other sources, other labels, the same agreement
    assert (crossed.pairs["label"] != apart.pairs["label"]).any()


def test_overlapping_features_are_said_so() -> None:
    base, source = draw_pairs(TASK.model, TASK.settings, ["left", "right"], 50)
    same = [AlignedVariable(v, "2", Subspace(DIRECTIONS["left"])) for v in ("left", "right")]
    found = _accuracy(same, base, source)
    assert "overlap" in found.arms["status"].iloc[0]
    assert "overlap" in str(found)


def test_equal_scores_answer_with_the_first_class() -> None:
    classes = ClassScores(("a", "b", "c"))
    scores = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [0.5, 0.5, 0.5], [0.0, 1.0, 2.0]])
    assert classes.decode(scores).tolist() == [0, 1, 0, 2]
    two = ClassScores(("no", "yes"), score=lambda output, mask: output)
    answered = two.decode(two(torch.tensor([[0.0], [1e-6], [-1e-6]]), torch.ones(3, 1)).numpy())
    assert answered.tolist() == [0, 1, 0], (
        "one column: the second is the answer where it is positive, not at 0"
    )


def test_neither_block_nor_order_of_pairs_changes_anything() -> None:
    base, source = PAIRS["left"]
    first = _accuracy(_aligned("left"), base, source)
    again = _accuracy(_aligned("left"), base, source, block=7)
    np.testing.assert_array_equal(again.hits, first.hits)
    order = np.random.default_rng(0).permutation(300)
    turned = _accuracy(_aligned("left"), base[order], source[order], shuffles=0)
    kept = ~first.arms["alignment"].eq("shuffled labels")
    np.testing.assert_array_equal(turned.hits, first.hits[kept][:, order])


def test_same_seed_same_result_and_reopened_as_saved(tmp_path: Path) -> None:
    first, again = (_accuracy(_aligned("left"), *PAIRS["left"], seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(first.to_frame(), again.to_frame())
    first.save(tmp_path / "found")
    opened = InterchangeAccuracy.load(tmp_path / "found")
    pd.testing.assert_frame_equal(opened.to_frame(), first.to_frame())
    assert str(opened) == str(first)
    other = _accuracy(_aligned("left"), *PAIRS["left"], seed=5)
    assert (other.hits[0] == first.hits[0]).all()
    assert not (other.hits == first.hits).all()


def test_sentence_names_the_numbers() -> None:
    text = str(_accuracy(_aligned("left"), *PAIRS["left"]))
    assert "Interchanging left (1 coordinate of site 2)" in text
    assert "100.0% of 300 pairs (95% interval" in text
    assert "36 families" in text
    assert "wrong variable" in text


def test_no_informative_pair_and_one_family_are_values_not_errors() -> None:
    rows = np.arange(20)
    found = _accuracy(_aligned("left"), rows, rows)
    assert found.accuracy == 1.0
    assert "no pair is informative" in str(found)
    assert np.isnan(found.to_frame()["informative_accuracy"]).all()
    alone = _accuracy(_aligned("left"), *PAIRS["left"], family=np.zeros(400))
    assert np.isnan(alone.to_frame()["lower"]).all()
    assert "one family" in str(alone)


def test_random_subspace_of_the_whole_site_does_not_apply() -> None:
    found = _accuracy(AlignedVariable("left", "2", WholeLayer(40)), *PAIRS["left"])
    t = found.to_frame().set_index("alignment")
    assert "does not apply" in t.loc["random subspace", "status"]
    assert np.isnan(t.loc["random subspace", "accuracy"])
    assert t.loc["aligned", "accuracy"] == t.loc["whole site", "accuracy"]
    labels = [x.get_text() for x in figure(found).get_yticklabels()]
    assert "random subspace" in labels


def test_a_variable_with_the_same_labels_is_no_wrong_variable() -> None:
    model = CausalModel(
        dict.fromkeys("abcd", range(TASK.symbols)),
        [
            *TASK.model.variables.values(),
            Variable("again", ("left",), lambda left: left, (False, True)),
            Variable("answer", ("again", "right"), lambda x, y: x == y, (False, True)),
        ],
    )
    task = replace(TASK, model=model)
    found = interchange_accuracy(ADAPTER, task, _aligned("left"), *PAIRS["left"], draws=50)
    rows = found.arm("wrong variable").set_index("detail")
    assert "does not apply: interchanging again gives the same labels" in rows.loc["again", "status"]
    assert np.isnan(rows.loc["again", "accuracy"])
    assert rows.loc["right", "accuracy"] < 0.65


class _Twice:
    """An overcomplete dictionary: every coordinate has two latents."""

    def encode(self, h: Any) -> Any:
        return torch.cat([h, h], -1)

    def decode(self, latents: Any) -> Any:
        return (latents[..., :40] + latents[..., 40:]) / 2


def test_more_latents_than_the_site_is_wide() -> None:
    found = _accuracy(AlignedVariable("left", "2", Latents(_Twice(), 40)), *PAIRS["left"])
    np.testing.assert_array_equal(found.hits[0], found.hits[1])
    assert found.arms["alignment"].iloc[1] == "whole site"
    assert "does not apply" in found.arm("random subspace")["status"].iloc[0]


class _TwoTokens(torch.nn.Module):
    """Do two tokens have the same parity? The first coordinate of each embedding is its parity."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(8, 3)
        with torch.no_grad():
            self.embed.weight.copy_(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
            self.embed.weight[:, 0] = torch.tensor([1.0, -1.0] * 4)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        h = self.embed(input_ids)
        return torch.stack([torch.zeros(len(h)), h[:, 0, 0] * h[:, 1, 0]], 1)


def _two_tokens(length: int = 4) -> tuple[TorchAdapter, AbstractionTask]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 8, (120, length))
    mask = torch.ones(120, length, dtype=torch.long)
    mask[::2, 2:] = 0
    model = CausalModel(
        {"first": range(8), "second": range(8)},
        [
            Variable("x", ("first",), lambda t: t % 2, (0, 1)),
            Variable("y", ("second",), lambda t: t % 2, (0, 1)),
            Variable("same", ("x", "y"), lambda x, y: x == y, (False, True)),
        ],
    )
    inputs = ModelInputs({"input_ids": torch.from_numpy(ids), "attention_mask": mask}, mask)
    settings = {"first": ids[:, 0], "second": ids[:, 1]}
    task = AbstractionTask(model, inputs, settings, ClassScores((False, True)))
    return TorchAdapter(_TwoTokens().eval()), task


@pytest.mark.parametrize(("variable", "token"), [("x", 0), ("y", 1)])
def test_tokens_are_interchanged_where_the_rule_says(variable: str, token: int) -> None:
    adapter, task = _two_tokens()
    base, source = draw_pairs(task.model, task.settings, variable, 200)

    def accuracy(rule: Any, units: Any = (0,)) -> float:
        aligned = AlignedVariable(variable, "embed", Units(units, 3), rule)
        return interchange_accuracy(adapter, task, aligned, base, source, draws=50).accuracy

    assert accuracy(TokenIndex(token)) == 1.0
    assert accuracy(TokenIndex(1 - token)) < 0.7
    assert accuracy(TokenIndex(token), (1, 2)) == pytest.approx(0.5, abs=0.1)
    assert accuracy(None) == accuracy(MEAN_OF_TOKENS) < 1.0


def test_token_by_token_needs_the_same_tokens() -> None:
    adapter, task = _two_tokens()
    even, odd = np.arange(0, 120, 2), np.arange(1, 120, 2)
    aligned = AlignedVariable("same", "embed", Units((0,), 3), AllTokens())
    found = interchange_accuracy(adapter, task, aligned, even, np.roll(even, 7), draws=50)
    assert found.accuracy == 1.0  # everything that matters is interchanged
    with pytest.raises(InputError, match="pair 0: 2 tokens in the base, 4 in the source"):
        interchange_accuracy(adapter, task, aligned, even, odd)
    largest = AlignedVariable("same", "embed", Units((0,), 3), MaxOfTokens())
    with pytest.raises(InputError, match="read but not written"):
        interchange_accuracy(adapter, task, largest, even, np.roll(even, 7))


def test_random_directions_of_the_data_know_no_padding() -> None:
    """One coordinate varies on own tokens, padding sits elsewhere: every random data direction is that coordinate."""
    adapter, task = _two_tokens()
    with torch.no_grad():
        adapter.module.embed.weight[:, 1:] = torch.tensor([0.3, -0.2])
        adapter.module.embed.weight[7] = torch.tensor([1.0, 5.0, 5.0])
    ids, mask = task.inputs.tensors["input_ids"] % 7, task.inputs.mask
    assert mask is not None
    ids = torch.where(mask > 0, ids, 7)
    inputs = ModelInputs({"input_ids": ids, "attention_mask": mask}, mask)
    aligned = AlignedVariable("x", "embed", Units((1,), 3), AllTokens())
    arms, _ = control_alignments(adapter, [aligned], inputs, 3, np.random.default_rng(0), 64)
    drawn = [arm[0].view.read_rows for name, _, arm in arms if name == "random data subspace"]
    np.testing.assert_allclose(np.abs(np.concatenate(drawn)), [[1, 0, 0]] * 3, atol=1e-6)


def test_channels_of_a_feature_map() -> None:
    layers = list(NETWORK)
    network = torch.nn.Sequential(
        *layers[:3], torch.nn.Unflatten(1, (40, 1, 1)), torch.nn.Flatten(), *layers[3:]
    ).eval()
    inputs = ModelInputs(TASK.inputs.tensors, torch.ones(400, 1, dtype=torch.long))
    aligned = AlignedVariable("left", "3", ChannelMap(Subspace(DIRECTIONS["left"])))
    task = replace(TASK, inputs=inputs)
    found = interchange_accuracy(TorchAdapter(network), task, aligned, *PAIRS["left"], draws=50)
    assert found.accuracy == 1.0
    assert found.arm("random subspace")["accuracy"].max() < 0.7


BASE, SOURCE = PAIRS["left"]


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: _accuracy(_aligned("left"), BASE, SOURCE[:-1]), "300 base inputs, 299 source inputs"),
        (lambda: _accuracy(_aligned("left"), [], []), "0 base inputs"),
        (lambda: _accuracy(_aligned("left"), BASE, np.full(300, 5)), "input 5 is the source of all pairs"),
        (
            lambda: _accuracy(_aligned("left"), BASE + 399, SOURCE),
            "base: [0-9]+. Give numbers of inputs, from 0 to 399",
        ),
        (lambda: _accuracy(_aligned("left"), BASE * 0.5, SOURCE), "float64"),
        (lambda: _accuracy(_aligned("left"), 3, 4), "1 base inputs, 1 source inputs"),
        (lambda: _accuracy(_aligned("left").view, BASE, SOURCE), "a Subspace.*AlignedVariable"),
        (lambda: _accuracy(_aligned("left"), BASE, SOURCE, shuffles=-1), "shuffles: -1"),
        (lambda: _accuracy(_aligned("left"), BASE, np.stack([SOURCE] * 2, 1)), "per variable"),
        (lambda: _accuracy([], BASE, SOURCE), "no variable"),
        (lambda: _accuracy([_aligned("left")] * 2, BASE, SOURCE), "'left' is given twice"),
        (lambda: _accuracy(_aligned("left"), BASE, SOURCE, wrong=["rihgt"]), "'rihgt'.*'right'"),
        (lambda: _accuracy(_aligned("left"), BASE, SOURCE, family=np.zeros(3)), "family"),
        (
            lambda: _accuracy(AlignedVariable("lefft", "2", Subspace(np.eye(40)[:1])), BASE, SOURCE),
            "'lefft'.*Did you mean 'left'",
        ),
        (
            lambda: _accuracy(AlignedVariable("left", "22", Subspace(np.eye(40)[:1])), BASE, SOURCE),
            "site '22'",
        ),
        (
            lambda: _accuracy(AlignedVariable("left", "2", Subspace(np.eye(41)[:1])), BASE, SOURCE),
            "width 40; the directions have 41",
        ),
        (
            lambda: _accuracy(
                [AlignedVariable(v, "2", WholeLayer(40)) for v in ("left", "right")], BASE, SOURCE
            ),
            "80 coordinates of several variables, width 40",
        ),
        (lambda: held_out_families(np.arange(3)), "1 of 3"),
        (lambda: draw_pairs(TASK.model, TASK.settings, "left", 0), "count: 0. Give a whole number"),
        (lambda: draw_pairs(TASK.model, TASK.settings, "lef", 5), "'lef'"),
        (lambda: draw_pairs(TASK.model, TASK.settings, "left", 5, group=np.arange(400)), "several inputs"),
    ],
)
def test_bad_input_is_named(run: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run()


def test_settings_of_another_length_are_refused() -> None:
    fewer = {k: v[:-1] for k, v in TASK.settings.items()}
    with pytest.raises(InputError, match="399 rows for 400 inputs"):
        replace(TASK, settings=fewer)
    with pytest.raises(InputError, match="True is not one of the classes"):
        replace(TASK, classes=ClassScores((0, 2)))


def test_figure_has_a_row_a_kind_and_the_numbers_of_the_table(tmp_path: Path) -> None:
    found = _accuracy(_aligned("left"), *PAIRS["left"])
    given = axes(None, 5.0, 4.0)
    ax = figure(found, given)
    assert ax is given
    rows = [x.get_text() for x in ax.get_yticklabels()]
    kinds = found.to_frame()["alignment"].drop_duplicates().tolist()
    assert rows == [k for k in kinds if k != "majority label"]
    drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in ax.get_lines()])
    table = found.to_frame()
    for value in table.loc[table["alignment"] != "majority label", "accuracy"]:
        assert np.isclose(drawn, value).any()
    first, again = (save(figure(found), tmp_path / f"{n}.svg") for n in "ab")
    assert first.read_bytes() == again.read_bytes()
