"""Padding that changes nothing is not run: the same numbers, whatever shares a block; where it matters it stays."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.adapters._like_lengths import LikeLengths
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.models._trimmed_runs import padding_is_idle
from mrinterp.outcomes import CallableOutcome, OutcomeSet
from mrinterp.positions import AllTokens

T, W = 12, 6
LENGTHS = np.array([3, 9, 4, 3, 12, 5, 4, 7, 3, 10, 6, 4])


class Reader(torch.nn.Module):
    """Attention over a text's own tokens, twice; without a mask it reads the padding too."""

    def __init__(self, masked: bool = True, fixed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.masked, self.fixed = masked, fixed
        self.embed = torch.nn.Embedding(20, W)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(W, W), torch.nn.Linear(W, W)])
        self.seen: list[int] = []

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        assert not self.fixed or input_ids.shape[1] == T
        self.seen.append(input_ids.numel())
        h = self.embed(input_ids)
        hidden = (attention_mask == 0)[:, None, :] & self.masked
        for layer in self.layers:
            scores = (h @ h.transpose(1, 2)).masked_fill(hidden, -torch.inf)
            h = torch.tanh(layer(scores.softmax(-1) @ h)) + h
        return h


def score(output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    own = mask.unsqueeze(-1)
    return ((output * own).sum(1) / own.sum(1))[:, 0]


def inputs() -> ModelInputs:
    mask = torch.from_numpy(np.arange(T) < LENGTHS[:, None]).long()
    ids = torch.randint(1, 20, mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    return ModelInputs({"input_ids": ids, "attention_mask": mask}, mask)


def bench(module: Reader, **given: object) -> Bench:
    outcome = CallableOutcome("score", score)
    return Bench(
        TorchAdapter(module.eval()), "layers.0", Units([0, 2, 5], W), inputs(), outcome, block=8, **given
    )


def padded(monkeypatch: pytest.MonkeyPatch, **given: object) -> Bench:
    with monkeypatch.context() as patch:
        patch.setattr("mrinterp.models._trimmed_runs.padding_is_idle", lambda *_: False)
        return bench(Reader(), **given)


def test_groups_hold_rows_of_like_length_and_part_none_of_one_length() -> None:
    rng = np.random.default_rng(0)
    for least in (1, 4, 30, 1000):
        lengths = rng.integers(3, 12, 200)
        like = LikeLengths.of(lengths, least)
        assert sorted(np.concatenate(like.groups).tolist()) == list(range(200))
        assert min(map(len, like.groups)) >= min(least, 200)
        assert (like.length >= lengths).all()
        ends = [(lengths[g].min(), lengths[g].max()) for g in like.groups]
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
        assert all((like.length[g] == lengths[g].max()).all() for g in like.groups)
        parts = [np.arange(200)[rows] for rows in like.blocks(7)]
        assert max(map(len, parts)) <= 7
        assert np.array_equal(like.restored(parts), np.arange(200))
    assert len(LikeLengths.of(np.arange(3, 12), 1).groups) == 9
    assert len(LikeLengths.of(np.arange(3, 12), 1000).groups) == 1
    assert np.array_equal(np.sort(np.concatenate(like.repeated(3))), np.arange(600))


@pytest.mark.parametrize("position", [None, AllTokens()])
def test_a_bench_gives_the_numbers_of_padded_runs_with_fewer_tokens(
    monkeypatch: pytest.MonkeyPatch, position: object
) -> None:
    short, long = bench(Reader(), position=position), padded(monkeypatch, position=position)
    assert short._runs.trims
    assert not long._runs.trims
    assert short.resumes == long.resumes
    for name in ("values", "clean"):
        np.testing.assert_allclose(getattr(short, name), getattr(long, name), atol=1e-6)
    np.testing.assert_allclose(short.read(inputs()), long.values, atol=1e-6)
    tokens = (T,) if position else ()
    values = np.random.default_rng(0).standard_normal((2, 1, len(LENGTHS), *tokens))
    counts, found = [], []
    for b in (short, long):
        b.adapter.module.seen.clear()
        found.append(b.sweep(np.array([[0], [2]]), values, "x"))
        counts.append(sum(b.adapter.module.seen))
    np.testing.assert_allclose(found[0].outcome, found[1].outcome, atol=1e-6)
    assert found[0].leakage.max() < 1e-6
    assert counts[0] < 0.75 * counts[1]


def test_runs_without_an_edit_are_the_clean_ones_to_rounding_which_the_noise_floor_shows() -> None:
    b = bench(Reader())
    floor = b.noise_floor()
    assert 0 < floor < 1e-6
    kept = b.activations(["layers.1"])["layers.1"]
    edits = (
        lambda arm, prompt: {"layers.0": lambda h: h},
        lambda arm, prompt: {"layers.1": lambda h: kept.take(prompt)},
    )
    for nothing in edits:
        assert np.abs(b.run(3, nothing, "the same") - b.clean).max() <= 3 * floor


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((40, 1, len(LENGTHS)))
    arms = np.arange(40)[:, None] % 3
    whole = bench(Reader()).sweep(arms, values, "x").outcome
    assert (bench(Reader(), folder=tmp_path).sweep(arms, values, "x").outcome == whole).all()
    shards = sorted(tmp_path.rglob("shard-*.npz"))
    assert len(shards) > 2
    shards[1].unlink()
    assert (bench(Reader(), folder=tmp_path).sweep(arms, values, "x").outcome == whole).all()


@pytest.mark.parametrize("module", [Reader(masked=False), Reader(fixed=True)])
def test_padding_that_is_read_stays(module: Reader) -> None:
    b = bench(module)
    assert not b._runs.trims
    assert len(b._runs.like.groups) == 1


def test_an_outcome_of_the_padding_keeps_it() -> None:
    adapter, outcome = (
        TorchAdapter(Reader().eval()),
        OutcomeSet([CallableOutcome("m", lambda o, m: o[:, :, 0].mean(1))]),
    )
    assert not padding_is_idle(adapter, "layers.0", inputs(), outcome)
    assert padding_is_idle(adapter, "layers.0", inputs(), OutcomeSet([CallableOutcome("s", score)]))


def test_padding_in_front_and_inputs_that_are_not_by_token_stay() -> None:
    given = inputs()
    front = ModelInputs({k: t.flip(1) for k, t in given.tensors.items()}, given.mask.flip(1))
    assert (front.lengths == T).all()
    assert ModelInputs({"x": torch.ones(2, 3)}).lengths is None
    wide = ModelInputs({**given.tensors, "scores": torch.ones(len(LENGTHS), 1, T, T)}, given.mask)
    assert wide.lengths is None
    assert (given.lengths == LENGTHS).all()
    short = given.take([0, 3]).first_tokens(3)
    assert {t.shape for t in (*short.tensors.values(), short.mask)} == {(2, 3)}
