"""The knockout bench: every run edited alone and exactly, whatever shares its block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters._kept_activations import KeptActivations
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.features._latents import Latents
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._units import Units, WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._edited_runs import CHECKED
from mrinterp.outcomes._outcome import Sampling
from mrinterp.positions import AllTokens, LastToken, MaxOfTokens, SpanMask, TokenIndex

P, T, W, LENGTHS = 11, 5, 6, (5, 3, 4, 5, 2, 5, 4, 3, 5, 5, 4)


class Stack(torch.nn.Module):
    """Tokens through three residual layers; the last token's state is summed with known weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(9, W)
        self.layer = torch.nn.ModuleList([torch.nn.Linear(W, W) for _ in range(3)])
        self.calls = 0

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.embed(ids)
        for layer in self.layer:
            h = layer(h)
        self.calls += len(ids)
        return (h * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


class Coordinates:
    names = ("first", "second")

    def __call__(self, output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return output[:, :2]


class Labelled:
    """Each prompt's own coordinate: wrong wherever rows and prompts are mixed up."""

    names = ("own",)

    def __init__(self, column: torch.Tensor) -> None:
        self.column = column

    def take(self, rows: torch.Tensor) -> Labelled:
        return Labelled(self.column[rows])

    def __call__(self, output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return output.gather(1, self.column[:, None])


@pytest.fixture(scope="module")
def parts() -> tuple[TorchAdapter, ModelInputs]:
    torch.manual_seed(0)
    network = Stack().double().eval()
    ids = torch.randint(0, 9, (P, T))
    mask = (torch.arange(T)[None] < torch.tensor(LENGTHS)[:, None]).long()
    return TorchAdapter(network), ModelInputs({"ids": ids, "mask": mask}, mask)


def bench(parts: tuple[TorchAdapter, ModelInputs], view: object = None, **options: object) -> Bench:
    adapter, inputs = parts
    options = {"outcome": Coordinates(), "site": "layer.1", **options}
    return Bench(adapter, options.pop("site"), view or WholeLayer(W), inputs, **options)  # type: ignore[arg-type]


def downstream(parts: tuple[TorchAdapter, ModelInputs]) -> np.ndarray:
    """Effect (W, 2) of one unit of the token mean at layer.1 on the two outcomes: the last layer's weights."""
    return parts[0].submodule("layer.2").weight.detach().numpy()[:2].T


def test_single_writes_have_the_linear_effect(parts):
    b = bench(parts)
    target = b.values.T[:, None] + 2.0
    swept = b.sweep(np.arange(W)[:, None], target, "up")
    np.testing.assert_allclose(
        swept.outcome - b.clean, np.broadcast_to(2 * downstream(parts)[:, None], (W, P, 2)), atol=1e-12
    )
    assert swept.read_back.max() < 1e-12
    assert swept.leakage.max() < 1e-12
    assert b.resumes
    assert b.noise_floor() < 1e-12


@pytest.mark.parametrize("block", [1, 3, 64])
def test_the_block_changes_nothing(parts, block):
    target = np.random.default_rng(1).standard_normal((W, 1, P))
    got = bench(parts, block=block).sweep(np.arange(W)[:, None], target, "x").outcome
    np.testing.assert_allclose(
        got, bench(parts, block=7).sweep(np.arange(W)[:, None], target, "x").outcome, atol=1e-12
    )


def test_arms_of_several_features_and_nan(parts):
    b = bench(parts)
    features = np.array([[0, 3], [2, -1], [-1, -1]])
    values = np.full((3, 2, P), np.nan)
    values[0, 0], values[0, 1, ::2], values[1, 0] = 1.0, -1.0, 0.0
    got = b.sweep(features, values, "pairs").outcome - b.clean
    change = np.zeros((3, P, W))
    change[0, :, 0] = 1.0 - b.values[:, 0]
    change[0, ::2, 3] = -1.0 - b.values[::2, 3]
    change[1, :, 2] = -b.values[:, 2]
    np.testing.assert_allclose(got, change @ downstream(parts), atol=1e-12)
    np.testing.assert_array_equal(got[2], 0.0)


def test_every_token_has_a_value_of_its_own(parts):
    b = bench(parts, position=AllTokens())
    assert b.values.shape == (P, T, W)
    values = np.full((1, 1, P, T), np.nan)
    values[0, 0, :, 1] = 5.0
    swept = b.sweep(np.array([[4]]), values, "second token")
    change = (5.0 - b.values[:, 1, 4]) / np.array(LENGTHS)
    np.testing.assert_allclose(swept.outcome[0] - b.clean, change[:, None] * downstream(parts)[4], atol=1e-12)


def test_padding_is_never_written(parts):
    b = bench(parts, position=AllTokens())
    swept = b.sweep(
        np.array([[0]]), np.where(np.arange(T) >= 2, 1e6, np.nan)[None, None, None].repeat(P, 2), "pad"
    )
    short = np.flatnonzero(np.array(LENGTHS) == 2)
    np.testing.assert_array_equal(swept.outcome[0, short], b.clean[short])
    assert (np.abs(swept.outcome[0] - b.clean).max(axis=1)[np.array(LENGTHS) > 2] > 1e3).all()


def test_each_prompt_meets_its_own_outcome(parts):
    column = torch.arange(P) % W
    b = bench(parts, outcome=Labelled(column), block=4)
    target = b.values.T[:, None] + 1.0
    got = b.sweep(np.arange(W)[:, None], target, "own").outcome[:, :, 0] - b.clean[:, 0]
    weight = parts[0].submodule("layer.2").weight.detach().numpy()
    np.testing.assert_allclose(got, weight[column.numpy()].T, atol=1e-12)


def test_edits_at_several_sites(parts):
    b = bench(parts)
    frozen = b.activations(["layer.2"])["layer.2"].take(np.arange(P))

    def edits(arm, prompt):
        first = lambda h: h + 3.0  # noqa: E731
        free = torch.from_numpy(arm == 0)[:, None, None]
        hold = lambda h: torch.where(free, h, frozen[torch.from_numpy(prompt)])  # noqa: E731
        return {"layer.1": first, "layer.2": hold}

    got = b.run(2, edits, "frozen") - b.clean
    np.testing.assert_allclose(got[0], np.broadcast_to(3 * downstream(parts).sum(0), (P, 2)), atol=1e-12)
    np.testing.assert_allclose(got[1], 0.0, atol=1e-12)


def test_a_sweep_goes_on_where_it_stopped(parts, tmp_path: Path):
    target = np.random.default_rng(2).standard_normal((W, 1, P))
    whole = bench(parts, block=2).sweep(np.arange(W)[:, None], target, "x")
    b = bench(parts, block=2, folder=tmp_path)
    first = b.sweep(np.arange(W)[:, None], target, "x")
    shards = sorted(tmp_path.rglob("shard-*.npz"))
    assert len(shards) > 1
    shards[-1].unlink()
    calls = parts[0].module.calls
    again = bench(parts, block=2, folder=tmp_path).sweep(np.arange(W)[:, None], target, "x")
    assert parts[0].module.calls - calls < W * P
    for s in (first, again):
        assert s.outcome.tobytes() == whole.outcome.tobytes()
    other = b.sweep(np.arange(W)[:, None], target + 1, "x")
    assert not np.allclose(other.outcome, first.outcome), "another sweep must not find the first one's shards"


def test_resumed_runs_equal_full_runs_bit_for_bit(parts):
    target = np.random.default_rng(3).standard_normal((W, 1, P))
    b = bench(parts)
    resumed = b.sweep(np.arange(W)[:, None], target, "x").outcome
    b._start = None
    assert b.sweep(np.arange(W)[:, None], target, "x").outcome.tobytes() == resumed.tobytes()


def test_values_by_token_are_read_from_what_runs_begin_with(parts):
    b = bench(parts, block=3)
    network = parts[0].module
    before = network.calls
    held = b.by_token.values
    assert network.calls == before
    b.__dict__.pop("by_token")
    b._start = None
    assert b.by_token.values.tobytes() == held.tobytes()
    assert network.calls == before + P


def test_later_blocks_are_run_whole_once(parts):
    network, calls = parts[0].module, []
    for rows in (6, 9):
        few = (parts[0], parts[1].take(np.arange(rows)))
        before = network.calls
        assert bench(few, block=3).resumes
        calls.append(network.calls - before)
    assert calls[1] - calls[0] == 2 * 3, "a block more: as it is, and begun at the layer"


def test_activations_in_a_file_change_nothing(parts, monkeypatch):
    target = np.random.default_rng(3).standard_normal((W, 1, P))
    held = bench(parts)
    monkeypatch.setattr(
        "mrinterp.knockouts._bench.KeptActivations", lambda rows, most=0: KeptActivations(rows, 0)
    )
    filed = bench(parts)
    for b in (held, filed):
        assert b.resumes
    one, two = (b.sweep(np.arange(W)[:, None], target, "x").outcome for b in (held, filed))
    assert one.tobytes() == two.tobytes()


def test_leakage_is_seen(parts):
    read = np.eye(W)[:2] + 0.5 * np.eye(W)[[1, 0]]

    class Leaky(Directions):
        def moved(self, h, change):
            return h + change.to(h.dtype).sum(-1, keepdim=True) * torch.ones(W, dtype=h.dtype)

    b = bench(parts, Leaky(read))
    swept = b.sweep(np.array([[0]]), b.values.T[:1, None] + 1, "leaky")
    assert swept.leakage[0] == pytest.approx(1.5)
    assert swept.read_back[0] == pytest.approx(0.5)
    assert CHECKED <= P


def test_latents_are_written_through_the_decoder(parts):
    g = torch.Generator().manual_seed(1)
    weights = {
        "W_enc": torch.eye(W, dtype=torch.float64).repeat(1, 2),
        "b_enc": torch.ones(2 * W, dtype=torch.float64) * 5,
        "W_dec": torch.randn(2 * W, W, generator=g, dtype=torch.float64),
        "b_dec": torch.zeros(W, dtype=torch.float64),
    }
    b = bench(parts, Latents(SparseAutoencoder("standard", weights), W))
    swept = b.sweep(np.array([[3], [9]]), b.values.T[[3, 9], None] + 1, "latent")
    effect = weights["W_dec"].numpy()[[3, 9]] @ downstream(parts)
    np.testing.assert_allclose(swept.outcome - b.clean, effect[:, None].repeat(P, 1), atol=1e-9)


@pytest.mark.parametrize(
    "view",
    [
        Units([5, 1, 3], W),
        Directions(np.random.default_rng(0).standard_normal((3, W))),
        Latents(
            SparseAutoencoder(
                "topk",
                {
                    "W_enc": torch.randn(W, 9),
                    "b_enc": torch.zeros(9),
                    "W_dec": torch.randn(9, W),
                    "b_dec": torch.zeros(W),
                },
                k=3,
            ),
            W,
            [7, 0, 4],
        ),
    ],
)
def test_a_selected_view_reads_and_writes_as_among_all(view):
    h = torch.randn(4, W)
    part = view.select([2, 0])
    assert part.names == (view.names[2], view.names[0])
    torch.testing.assert_close(part.read(h), view.read(h)[:, [2, 0]])
    values = view.read(h).clone()
    values[:, 2] += 1
    values[:, 0] -= 1
    torch.testing.assert_close(part.write(h, values[:, [2, 0]]), view.write(h, values))
    for bad in ([], [3], [-1]):
        with pytest.raises(InputError, match="features to select"):
            view.select(bad)


def test_sampled_outcomes_draw_by_run_not_by_block(parts):
    target = np.zeros((W, 1, P))
    options = {"sampling": Sampling("normal", 2, 1.0, 0.0, 5)}
    draws = [
        bench(parts, block=n, **options).sweep(np.arange(W)[:, None], target, "x").outcome for n in (3, 64)
    ]
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-9)
    assert not np.allclose(draws[0], bench(parts).sweep(np.arange(W)[:, None], target, "x").outcome)


def test_a_span_goes_with_its_prompts(parts):
    span = torch.zeros(P, T, dtype=torch.long)
    span[torch.arange(P), torch.tensor(LENGTHS) - 1] = 1
    target = np.random.default_rng(4).standard_normal((W, 1, P))
    by_span = bench(parts, position=SpanMask(span), block=4).sweep(np.arange(W)[:, None], target, "x")
    last = bench(parts, position=LastToken(), block=4).sweep(np.arange(W)[:, None], target, "x")
    np.testing.assert_allclose(by_span.outcome, last.outcome, atol=1e-12)


def test_prompts_keep_their_names(parts):
    b = bench(parts, prompt=[f"p{i}" for i in range(P)], family=np.arange(P) // 3)
    assert b.subset(np.array([4, 2])).table.to_dict("list") == {"prompt": ["p4", "p2"], "family": [1, 0]}
    assert b.viewing(Units([1], W)).table.equals(b.table)


def test_what_cannot_be_done_is_refused(parts):
    with pytest.raises(InputError, match="family"):
        bench(parts, family=[0, 1])
    with pytest.raises(InputError, match="maximum over tokens"):
        bench(parts, position=MaxOfTokens())
    with pytest.raises(InputError, match="run 1"):
        bench(parts, position=TokenIndex(3))
    b = bench(parts, position=LastToken())
    with pytest.raises(InputError, match="values"):
        b.sweep(np.array([[0]]), np.zeros((1, P)), "x")
    with pytest.raises(InputError, match="number 6"):
        b.sweep(np.array([[6]]), np.zeros((1, 1, P)), "x")
    with pytest.raises(InputError, match=r"arm 0.*infinite"):
        b.sweep(np.array([[0]]), np.full((1, 1, P), np.inf), "x")
    with pytest.raises(InputError, match="no such module"):
        bench(parts, site="layer.9")
