"""Searching for subspaces: what was planted is found, what was not is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from mrinterp.core.alignment_search import AlignmentSearch
from mrinterp.core.errors import InputError
from mrinterp.knockouts.abstraction.aligned_variable import AlignedVariable
from mrinterp.knockouts.abstraction.alignment_search import search_alignment, subspace_of
from mrinterp.knockouts.abstraction.interchange_accuracy import interchange_accuracy
from mrinterp.knockouts.abstraction.interchange_pairs import draw_pairs, held_out_families
from mrinterp.knockouts.abstraction.interchange_training import train_with_interchange
from mrinterp.knockouts.abstraction.random_network import random_network
from mrinterp.knockouts.bench import Bench
from mrinterp.models.directions import Subspace
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.numbers_file import read_numbers
from mrinterp.models.positions import TokenIndex
from mrinterp.models.torch_module import TorchAdapter
from mrinterp.models.transformer_lens_adapter import TransformerLensAdapter
from mrinterp.worlds.hierarchical_equality import built_network, equality_task, plain_network

TASK = equality_task(500)
NETWORK, DIRECTIONS = built_network()
HELD = held_out_families(TASK.family, 0.3, 0)
BASE, SOURCE = draw_pairs(TASK.model, TASK.settings, ["left", "right"], 600, group=HELD)
BOTH = {"left": 1, "right": 1}


def _search(adapter: Any = None, **options: Any) -> AlignmentSearch:
    given = {
        "dimensions": BOTH,
        "site": "2",
        "inputs": TASK.inputs,
        "settings": TASK.settings,
        "base": BASE,
        "source": SOURCE,
        "family": TASK.family,
        "steps": 300,
        "random": 2,
        "draws": 100,
        **options,
    }
    return search_alignment(adapter or TorchAdapter(NETWORK), TASK.model, classes=TASK.classes, **given)


def _angle(found: AlignmentSearch, variable: str) -> float:
    """Largest principal angle to the planted direction, in degrees."""
    return float(np.degrees(subspace_angles(found.rotation[variable].T, DIRECTIONS[variable].T)).max())


@pytest.fixture(scope="module")
def found() -> AlignmentSearch:
    return _search()


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
    found = _search(dimensions={"left": 5, "right": 5}, boundary=True, steps=300)
    assert {v: len(r) for v, r in found.rotation.items()} == BOTH
    assert _angle(found, "left") < 8
    assert found.held_out["left"].accuracy == 1.0
    costly = _search(dimensions={"left": 5}, source=SOURCE[:, 0], boundary=True, penalty=0.0, steps=60)
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
    other = _search(inputs=ModelInputs({"input": x}), random_model=False)
    for variable in BOTH:
        np.testing.assert_array_equal(other.rotation[variable], found.rotation[variable])
    np.testing.assert_array_equal(other.losses, found.losses)
    assert other.held_out["left"].accuracy < 1.0


def test_pairs_across_the_split_are_counted_and_left_out() -> None:
    base, source = draw_pairs(TASK.model, TASK.settings, "left", 400, seed=1)
    found = _search(dimensions={"left": 1}, base=base, source=source, steps=20, random_model=False)
    across = HELD[base] != HELD[source]
    assert found.pairs["unused"] == across.sum() > 50
    assert sum(found.pairs.values()) == 400
    assert "across the split and unused" in str(found)


def test_same_seed_same_bytes_another_seed_another_search(found: AlignmentSearch) -> None:
    again, other = _search(), _search(seed=1, steps=20, random_model=False)
    for variable in BOTH:
        assert again.rotation[variable].tobytes() == found.rotation[variable].tobytes()
    assert str(again) == str(found)
    assert not np.allclose(other.rotation["left"], found.rotation["left"])


def test_the_network_is_left_as_it_was() -> None:
    network, _ = built_network()
    network.requires_grad_(True)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    _search(TorchAdapter(network), steps=10)
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
    resumed = _search(TorchAdapter(network), site="layers.2", random_model=False)
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
    other = _search(adapter, site="hook_site", random_model=False)
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


def test_several_starts_keep_the_best() -> None:
    one, four = (_search(starts=n, steps=30, random_model=False) for n in (1, 4))
    assert four.losses[-3:].mean() <= one.losses[-3:].mean()


def test_random_network_keeps_every_tensors_values() -> None:
    network = plain_network()
    adapter = TorchAdapter(network)
    first, again, other = (random_network(adapter, seed) for seed in (0, 0, 1))
    assert first.hash == again.hash != other.hash
    assert first.hash != adapter.hash
    for name, value in network.state_dict().items():
        shuffled = first.module.state_dict()[name]
        assert torch.equal(shuffled.flatten().sort().values, value.flatten().sort().values)

    class Other:
        pass

    with pytest.raises(InputError, match="Other cannot be copied"):
        random_network(Other())  # type: ignore[arg-type]


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
        ({"dimensions": {"lefft": 1, "right": 1}}, "'lefft'.*Did you mean 'left'"),
        ({"site": "7"}, "site '7'"),
        ({"base": BASE[:-1]}, "599 base inputs, 600 source inputs"),
        ({"source": np.full(600, 3)}, "input 3 serves all pairs"),
        ({"source": SOURCE[:, :1]}, "per variable"),
        ({"family": np.zeros(500)}, "0 of 1|of 1"),
        ({"family": np.zeros(4)}, "family"),
        ({"held_out": 0.99}, "36 of 36"),
        ({"base": np.flatnonzero(HELD)[:50], "source": np.flatnonzero(~HELD)[:50]}, "50 across the split"),
        ({"rule": TokenIndex(0)}, "position rule"),
        (
            {"adapter": TransformerLensAdapter(_Hooked().eval()), "site": "hook_site"},
            "re-initialized network",
        ),
        ({"adapter": TorchAdapter(_Opaque().eval()), "site": "inner.2"}, "no gradient flows"),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _search(**{"steps": 3, **options})


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


def test_training_plants_a_variable_where_asked() -> None:
    task = equality_task(400, symbols=3)
    network = plain_network(3, 24)
    rows = np.linalg.qr(np.random.default_rng(0).standard_normal((24, 4)))[0].T
    plants = [AlignedVariable(v, "3", Subspace(r)) for v, r in zip(BOTH, (rows[:2], rows[2:]), strict=True)]
    base, source = draw_pairs(task.model, task.settings, "left", 300)

    def train(alignment: list[AlignedVariable], steps: int) -> Any:
        given = task.inputs, task.settings, task.classes
        return train_with_interchange(network, task.model, alignment, *given, steps=steps, rate=0.01)

    def accuracy(alignment: list[AlignedVariable]) -> tuple[float, Any]:
        trained = train(alignment, 400)
        assert trained.task_accuracy > 0.98
        found = interchange_accuracy(
            trained.adapter, task.model, plants[0], task.inputs, task.settings, base, source, task.classes
        )
        return found.accuracy, trained

    before = TorchAdapter(network).hash
    planted, first = accuracy(plants)
    plain, alone = accuracy([])
    assert planted > 0.95
    assert plain < 0.7
    assert TorchAdapter(network).hash == before != first.adapter.hash
    assert train(plants, 9).adapter.hash == train(plants, 9).adapter.hash
    assert first.losses.shape == (400, 3)
    assert "left, right planted" in str(first)
    assert "task alone" in str(alone)


def test_training_refuses_what_does_not_fit() -> None:
    plant = AlignedVariable("left", "3", Subspace(np.eye(32)[:1]))

    def train(alignment: Any = (plant,), **options: Any) -> Any:
        return train_with_interchange(
            plain_network(), TASK.model, alignment, TASK.inputs, TASK.settings, TASK.classes, **options
        )

    with pytest.raises(InputError, match="steps 0"):
        train(steps=0)
    with pytest.raises(InputError, match="site '9'"):
        train([AlignedVariable("left", "9", plant.view)])
    with pytest.raises(InputError, match="'lef'"):
        train([AlignedVariable("lef", "3", plant.view)])


def test_a_killed_search_goes_on_and_another_search_starts_anew(tmp_path: Path) -> None:
    """The second call finds all starts and all shards but one on disk, and writes only that one."""
    options = {"steps": 40, "starts": 2, "folder": tmp_path, "block": 32, "random_model": False}
    first = _search(**options)
    shards = sorted(tmp_path.glob("interchange-*/shard-*.npz"))
    assert len(shards) > 4
    shards[0].unlink()
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")}
    again = _search(**options)
    assert times == {p: p.stat().st_mtime_ns for p in times}
    np.testing.assert_array_equal(again.losses, first.losses)
    for variable in BOTH:
        np.testing.assert_array_equal(again.rotation[variable], first.rotation[variable])
        held, before = again.held_out[variable], first.held_out[variable]
        np.testing.assert_array_equal(held.hits, before.hits)
        np.testing.assert_array_equal(held.arms["read_back"], before.arms["read_back"])
    _search(**{**options, "seed": 1})
    assert len(list(tmp_path.glob("start-*.npz"))) == 4


@pytest.mark.parametrize("name", ["steps", "batch", "starts", "rate", "draws"])
def test_numbers_that_are_not_positive_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        _search(**{name: 0})
