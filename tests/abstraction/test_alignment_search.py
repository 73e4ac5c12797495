"""Searching for subspaces: what was planted is found, what was not is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from mrinterp.abstraction._alignment_search import subspace_of
from mrinterp.abstraction._controls import shuffled_network
from mrinterp.abstraction._interchange_pairs import draw_pairs
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._transformer_lens import TransformerLensAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Subspace
from mrinterp.knockouts._bench import Bench
from mrinterp.models._plan_files import read_numbers
from mrinterp.plots._abstraction.alignment_search import alignment_search as figure
from mrinterp.plots._style import save
from mrinterp.positions import TokenIndex
from mrinterp.results._abstraction.alignment_search import AlignmentSearch
from mrinterp.worlds._hierarchical_equality import built_network, plain_network
from tests.abstraction.searched_alignment import BASE, BOTH, DIRECTIONS, HELD, NETWORK, SOURCE, TASK, search


def _angle(found: AlignmentSearch, variable: str) -> float:
    """Largest principal angle to the planted direction, in degrees."""
    return float(np.degrees(subspace_angles(found.rotation[variable].T, DIRECTIONS[variable].T)).max())


@pytest.fixture(scope="module")
def found() -> AlignmentSearch:
    return search()


@pytest.mark.parametrize("variable", ["left", "right"])
def test_finds_the_planted_direction_and_nothing_in_a_random_network(
    found: AlignmentSearch, variable: str
) -> None:
    assert _angle(found, variable) < 5
    accuracy = found.held_out[variable]
    assert accuracy.accuracy == 1.0
    lost = accuracy.arm("random network").iloc[0]
    assert lost["accuracy"] < 0.65
    assert lost["over_lower"] > 0.25
    assert found.trained[variable] == 1.0
    assert found.losses[-20:].mean() < 0.5 * found.losses[:5].mean()


def test_subspaces_of_several_variables_are_orthonormal_together(found: AlignmentSearch) -> None:
    rows = np.concatenate(list(found.rotation.values()))
    np.testing.assert_allclose(rows @ rows.T, np.eye(2), atol=1e-6)


def test_learned_boundary_finds_the_size() -> None:
    found = search(dimensions={"left": 5, "right": 5}, boundary=True, steps=300)
    assert {v: len(r) for v, r in found.rotation.items()} == BOTH
    assert _angle(found, "left") < 8
    assert found.held_out["left"].accuracy == 1.0
    costly = search(dimensions={"left": 5}, source=SOURCE[:, 0], boundary=True, penalty=0.0, steps=60)
    assert len(costly.rotation["left"]) > 1  # nothing is gained by giving rows up


def test_held_out_families_are_never_looked_at(found: AlignmentSearch) -> None:
    assert found.pairs == {"trained": (~HELD[BASE]).sum(), "held_out": HELD[BASE].sum(), "unused": 0}
    pairs = found.held_out["left"].pairs
    assert HELD[pairs["base"]].all()
    assert HELD[pairs["source"]].all()
    assert len(pairs) == HELD[BASE].sum() == found.pairs["held_out"]
    assert set(found.meta["held_out_families"]) == set(TASK.family[HELD])
    # Whatever the held-out inputs hold, the search takes the same way.
    x = TASK.inputs.tensors["input"].clone()
    x[torch.from_numpy(HELD)] = torch.randn(
        int(HELD.sum()), x.shape[1], generator=torch.Generator().manual_seed(9)
    )
    other = search(inputs=ModelInputs({"input": x}), random_network=False)
    for variable in BOTH:
        np.testing.assert_array_equal(other.rotation[variable], found.rotation[variable])
    np.testing.assert_array_equal(other.losses, found.losses)
    assert other.held_out["left"].accuracy < 1.0


def test_pairs_across_the_split_are_counted_and_left_out() -> None:
    base, source = draw_pairs(TASK.model, TASK.settings, "left", 400, seed=1)
    found = search(dimensions={"left": 1}, base=base, source=source, steps=20, random_network=False)
    across = HELD[base] != HELD[source]
    assert found.pairs["unused"] == across.sum() > 50
    assert sum(found.pairs.values()) == 400
    assert "across the split and unused" in str(found)


def test_same_seed_same_bytes_another_seed_another_search(found: AlignmentSearch) -> None:
    again, other = search(), search(seed=1, steps=20, random_network=False)
    for variable in BOTH:
        assert again.rotation[variable].tobytes() == found.rotation[variable].tobytes()
    assert str(again) == str(found)
    assert not np.allclose(other.rotation["left"], found.rotation["left"])


def test_the_network_is_left_as_it_was() -> None:
    network, _ = built_network()
    network.requires_grad_(True)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    search(TorchAdapter(network), steps=10)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


class _Counted(torch.nn.Module):
    """A layer that counts how often it computes."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.calls = layer, 0

    def forward(self, h: Any) -> Any:
        self.calls += 1
        return self.layer(h)


class _Stack(torch.nn.Module):
    """The same network as a stack of layers, which edited runs may enter in the middle."""

    def __init__(self) -> None:
        super().__init__()
        layers = list(built_network()[0])
        self.layers = torch.nn.ModuleList([_Counted(layers[0]), *layers[1:]])

    def forward(self, input: Any) -> Any:
        h = input
        for layer in self.layers:
            h = layer(h)
        return h


def test_runs_begun_at_the_site_give_the_same_search(found: AlignmentSearch) -> None:
    network = _Stack().eval()
    resumed = search(TorchAdapter(network), site="layers.2", random_network=False)
    assert network.layers[0].calls < 200  # 600 differentiable runs did not go through it
    for variable in BOTH:
        np.testing.assert_array_equal(resumed.rotation[variable], found.rotation[variable])
    np.testing.assert_array_equal(resumed.losses, found.losses)


class _Hooked(torch.nn.Module):
    """The same network with a hook point at the site: the protocol of TransformerLens, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        layers = built_network()[0]
        self.before, self.hook_site, self.after = layers[:3], torch.nn.Identity(), layers[3:]

    @property
    def hook_dict(self) -> dict[str, Any]:
        return {"hook_site": self.hook_site}

    def forward(self, input: Any) -> Any:
        return self.after(self.hook_site(self.before(input)))

    def run_with_hooks(self, *args: Any, fwd_hooks: Any = (), **named: Any) -> Any:
        handles = [
            self.hook_dict[point].register_forward_hook(lambda m, i, out, f=function: f(out, hook=m))
            for point, function in fwd_hooks
        ]
        try:
            return self(*args, **named)
        finally:
            for handle in handles:
                handle.remove()


def test_other_adapters_are_searched_alike(found: AlignmentSearch) -> None:
    adapter = TransformerLensAdapter(_Hooked().eval())
    other = search(adapter, site="hook_site", random_network=False)
    for variable in BOTH:
        np.testing.assert_array_equal(other.rotation[variable], found.rotation[variable])


def test_found_subspaces_are_features_that_a_bench_knocks_out(found: AlignmentSearch, tmp_path: Path) -> None:
    """Writing the value of "equal" must give the answers of the model with ``left`` held at true."""
    path = found.save_subspace("left", tmp_path / "left.npz")
    saved = read_numbers(path, "features.file")
    np.testing.assert_array_equal(saved["read"], found.rotation["left"])
    assert saved["names"].tolist() == ["left0"]
    view = Subspace(saved["read"], names=[str(n) for n in saved["names"]])
    assert view.names == subspace_of(found, "left").names
    bench = Bench(TorchAdapter(NETWORK), "2", view, TASK.inputs, TASK.classes, family=TASK.family)
    left = TASK.model.run(TASK.settings)["left"]
    ends = [bench.values[left == truth, 0].mean() for truth in (False, True)]
    written = np.broadcast_to(np.array(ends)[:, None, None], (2, 1, bench.prompts))
    swept = bench.sweep(np.zeros((2, 1), int), written, "held")
    for arm, truth in enumerate((False, True)):
        answer = swept.outcome[arm].argmax(-1).astype(bool)
        wanted = TASK.model.intervene({"left": truth}).run(TASK.settings)["same"]
        assert (answer == wanted).all()
        assert (answer != bench.clean.argmax(-1)).sum() > 100


def test_saved_search_reopens(found: AlignmentSearch, tmp_path: Path) -> None:
    found.save(tmp_path / "search")
    opened = AlignmentSearch.load(tmp_path / "search")
    assert str(opened) == str(found)
    np.testing.assert_array_equal(opened.rotation["right"], found.rotation["right"])
    assert opened.to_frame().equals(found.to_frame())
    assert "trained" in opened.to_frame()


def test_figure_of_the_search_shows_its_losses(found: AlignmentSearch, tmp_path: Path) -> None:
    ax = figure(found)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.losses[:, 0])
    assert ax.lines[3].get_ydata()[-1] == pytest.approx(found.losses[-15:, 1].mean())
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "left: 100% of held-out pairs",
        "right: 100% of held-out pairs",
    ]
    assert save(ax, tmp_path / "s.png").stat().st_size > 5000


def test_several_starts_keep_the_best() -> None:
    one, four = (search(starts=n, steps=30, random_network=False) for n in (1, 4))
    assert four.losses[-3:].mean() <= one.losses[-3:].mean()


def test_random_network_keeps_every_tensors_values() -> None:
    network = plain_network()
    adapter = TorchAdapter(network)
    first, again, other = (shuffled_network(adapter, seed) for seed in (0, 0, 1))
    assert first.hash == again.hash != other.hash
    assert first.hash != adapter.hash
    for name, value in network.state_dict().items():
        shuffled = first.module.state_dict()[name]
        assert torch.equal(shuffled.flatten().sort().values, value.flatten().sort().values)

    class Other:
        pass

    with pytest.raises(InputError, match="Other cannot be copied"):
        shuffled_network(Other())  # type: ignore[arg-type]


class _Opaque(torch.nn.Module):
    """The built network behind a wall that no gradient passes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = built_network()[0]

    def forward(self, input: Any) -> Any:
        return self.inner(input).detach()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": {"left": 20, "right": 21}}, "at '2', which is 40 wide"),
        ({"dimensions": {"left": 0, "right": 1}}, "at least 1 and at most 40"),
        ({"dimensions": {}}, "no variable"),
        ({"dimensions": ["left", "right"]}, "a list.*its size"),
        ({"dimensions": {"lefft": 1, "right": 1}}, "'lefft'.*Did you mean 'left'"),
        ({"site": "7"}, "site '7'"),
        ({"base": BASE[:-1]}, "599 base inputs, 600 source inputs"),
        ({"source": np.full(600, 3)}, "input 3 is the source of all pairs"),
        ({"source": SOURCE[:, :1]}, "per variable"),
        ({"family": np.zeros(500)}, "0 of 1|of 1"),
        ({"family": np.zeros(4)}, "family"),
        ({"held_out": 0.99}, "36 of 36"),
        ({"base": np.flatnonzero(HELD)[:50], "source": np.flatnonzero(~HELD)[:50]}, "50 across the split"),
        ({"position": TokenIndex(0)}, "position"),
        (
            {"adapter": TransformerLensAdapter(_Hooked().eval()), "site": "hook_site"},
            "re-initialized network",
        ),
        ({"adapter": TorchAdapter(_Opaque().eval()), "site": "inner.2"}, "no gradient flows"),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        search(**{"steps": 3, **options})


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda f, p: f.save_subspace("rihgt", p / "x.npz"), "'rihgt'.*'right'"),
        (lambda f, p: f.save_subspace("right", p / "x.npy"), "ends in .npz"),
        (lambda f, p: subspace_of(f, "same"), "Known: left, right"),
    ],
)
def test_unknown_variables_are_named(
    found: AlignmentSearch, tmp_path: Path, run: Callable[..., Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run(found, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, 0) for n in ("steps", "batch", "starts", "rate", "draws", "block")]
    + [
        ("random_subspaces", -1),
        ("seed", -1),
        ("steps", 2.5),
        ("penalty", float("nan")),
        ("dimensions", {"left": 1.5}),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(name: str, value: Any) -> None:
    source = SOURCE[:, :1] if name == "dimensions" else SOURCE
    with pytest.raises(InputError, match=name):
        search(**{"source": source, name: value})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_networks_precision_is_not_taken_for_a_failed_write(dtype: Any) -> None:
    network = copy.deepcopy(NETWORK).to(dtype)
    inputs = ModelInputs({"input": TASK.inputs.tensors["input"].to(dtype)})
    found = search(TorchAdapter(network), inputs=inputs, random_network=False, steps=150)
    assert found.held_out["left"].accuracy == 1.0
    assert "Note" not in str(found)


def test_a_search_that_finds_nothing_says_what_it_is_not_ahead_of(found: AlignmentSearch) -> None:
    assert "Not shown to be ahead" not in str(found)
    lost = search(TorchAdapter(plain_network(6, 40)), steps=5, random_network=False)
    text = str(lost.held_out["left"])
    table = lost.held_out["left"].to_frame()
    behind = table[table["over_lower"] <= 0]["alignment"]
    assert "Not shown to be ahead of: " in text
    assert "no edit" in set(behind)
    for kind in behind.unique():
        assert kind in text.split("Not shown to be ahead of: ")[1]
