"""Edits of plain token arrays: whole numbers, what is edited and what never is, doses that say so; and a whole screen of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.perturbations import (
    ColumnNoise,
    EmbeddingNoise,
    Paraphrases,
    PixelNoise,
    TokenDeletion,
    TokenMasking,
    TokenResampling,
    TokenSubstitution,
    TokenSwap,
    perturb,
)

BOS, PAD, MASK, SEP = 1, 0, 2, 3


def _prompts(n: int = 60) -> Any:
    """Token rows that begin with BOS and end with SEP at two lengths, padded."""
    ids = np.random.default_rng(0).integers(4, 20, (n, 8))
    ids[:, 0], ids[:, 5] = BOS, SEP
    ids[::2, 5], ids[::2, 7] = 9, SEP
    ids[1::2, 6:] = PAD
    return ids


EDITS: list[Any] = [
    TokenSubstitution(special=(SEP,), pad_id=PAD),
    TokenDeletion(special=(SEP,), pad_id=PAD),
    TokenMasking(special=(SEP,), pad_id=PAD, mask_id=MASK),
    TokenSwap(special=(SEP,), pad_id=PAD),
    TokenResampling(special=(SEP,), pad_id=PAD),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda e: e.kind)
def test_edits_leave_what_is_not_theirs_and_doses_say_what_was_done(edit: Any) -> None:
    ids = _prompts()
    made = perturb(ids, [edit], runs_per_input=4, placebos=1, seed=3)
    assert made.inputs.dtype == ids.dtype
    np.testing.assert_array_equal(made.inputs[:60], ids)
    edited, clean = made.inputs[60:], ids[made.prompt[60:]]
    doses = made.doses[60:, :-1]
    assert set(np.unique(doses)) == {0.0, 1.0}
    assert (doses.sum(axis=1) >= 1).all(), "every run does something"
    assert (edited != clean).any(axis=1).all()
    assert (edited[:, 0] == BOS).all()
    assert ((edited == SEP).sum(axis=1) == 1).all()
    assert not doses[:, made.instruments.index(f"{edit.kind}:token0") if edit.kind != "swap" else 0].any()
    own = (edited != PAD).sum(axis=1)
    if edit.kind == "deletion":
        np.testing.assert_array_equal(own, (clean != PAD).sum(axis=1) - doses.sum(axis=1))
        for row, was, dose in zip(edited, clean, doses, strict=True):
            left = was[(was != PAD) & (dose == 0)]
            np.testing.assert_array_equal(row, np.pad(left, (0, 8 - len(left)), constant_values=PAD))
        return
    np.testing.assert_array_equal(own, (clean != PAD).sum(axis=1))
    if edit.kind == "swap":
        for row, was, dose in zip(edited, clean, doses, strict=True):
            for t in np.flatnonzero(dose):
                was[[t, t + 1]] = was[[t + 1, t]]
            np.testing.assert_array_equal(row, was)
        return
    np.testing.assert_array_equal(edited != clean, doses == 1)
    if edit.kind == "masking":
        assert (edited[doses == 1] == MASK).all()
    if edit.kind == "resampling":
        for t in range(8):
            assert set(edited[doses[:, t] == 1, t]) <= set(ids[:, t]) - {PAD, SEP}
    again = perturb(ids, [edit], runs_per_input=4, placebos=1, seed=3)
    np.testing.assert_array_equal(again.inputs, made.inputs)


def test_every_place_is_edited_about_as_often_as_asked() -> None:
    ids = np.random.default_rng(1).integers(4, 20, (400, 10))
    made = perturb(ids, [TokenSubstitution(0.3)], runs_per_input=5, placebos=0)
    share = made.doses[400:].mean(axis=0)
    # .3, and a tenth of the .028 of runs in which nothing else was drawn; 2,000 runs: 4 errors of .01
    np.testing.assert_allclose(share, 0.3 + 0.1 * 0.7**10, atol=0.041)


def test_substitutes_are_of_the_list_or_about_as_frequent() -> None:
    ids = _prompts()
    listed = perturb(ids, [TokenSubstitution(words={9: [10, 11], 4: [9]})], runs_per_input=3, placebos=0)
    assert listed.instruments == ("substitution:9>10", "substitution:9>11", "substitution:4>9")
    holds = np.isin(ids, [9, 4]).any(axis=1)
    assert set(listed.prompt[60:]) == set(np.flatnonzero(holds)), "others have no such runs"
    changed = listed.inputs[60:] != ids[listed.prompt[60:]]
    pairs = set(
        zip(ids[listed.prompt[60:]][changed].tolist(), listed.inputs[60:][changed].tolist(), strict=True)
    )
    assert pairs == {(9, 10), (9, 11), (4, 9)}
    order = tuple(range(100, 200))
    many = np.random.default_rng(0).integers(100, 200, (50, 6))
    near = perturb(many, [TokenSubstitution(0.5, vocabulary=order)], runs_per_input=4, placebos=0)
    gap = np.abs(near.inputs[50:] - many[near.prompt[50:]])[near.doses[50:] == 1]
    assert gap.min() >= 1
    assert gap.max() <= 20


def test_paraphrases_are_run_once_each_and_as_many_as_there_are() -> None:
    ids = np.array([[5, 6, 7], [8, 9, 4]])
    made = perturb(ids, [Paraphrases([[[7, 6, 5], [6, 5]], []], pad_id=PAD)], runs_per_input=3, placebos=0)
    assert made.prompt.tolist() == [0, 1, 0, 0]
    assert sorted(map(tuple, made.inputs[2:].tolist())) == [(6, 5, PAD), (7, 6, 5)]
    assert sorted(map(tuple, made.doses[2:].tolist())) == [(0.0, 1.0), (1.0, 0.0)]


def test_noise_on_embeddings_and_pixels_comes_in_opposite_pairs() -> None:
    embedded = np.random.default_rng(0).normal(size=(40, 5, 16))
    mask = np.arange(5) < np.where(np.arange(40) % 2, 5, 3)[:, None]
    noise = EmbeddingNoise(0.2, directions=8, mask=mask)
    made = perturb(embedded, [noise], runs_per_input=6, placebos=0)
    change = made.inputs[40:] - embedded[made.prompt[40:]]
    np.testing.assert_allclose(change[::2], -change[1::2], atol=1e-12)
    assert not change[~mask[made.prompt[40:]]].any()
    assert change[mask[made.prompt[40:]]].std() == pytest.approx(0.2, rel=0.1)
    doses = made.doses[40:].reshape(-1, 5, 8)
    assert not doses[~mask[made.prompt[40:]]].any()
    pixels = perturb(np.zeros((3, 4, 4)), [PixelNoise(1.0, 4, antithetic=True)], runs_per_input=3, placebos=0)
    np.testing.assert_array_equal(pixels.doses[3::3], -pixels.doses[4::3])
    assert not np.isclose(np.abs(pixels.doses[5::3]), np.abs(pixels.doses[3::3])).any(), (
        "an odd one stands alone"
    )


@pytest.mark.parametrize(
    ("inputs", "edits", "words"),
    [
        (np.ones((5, 3)), [TokenSwap()], "an array of float64. Give tokens as whole numbers"),
        (_prompts(), [TokenMasking()], "mask_id: missing"),
        (_prompts(), [TokenDeletion()], "no pad_id, and inputs become shorter"),
        (np.ones((5, 3), int), [TokenSwap()], "no input holds a token that it could edit"),
        (_prompts(), [TokenSwap(), ColumnNoise()], "'noise' together with edits of tokens"),
        (_prompts(), [TokenSwap(probability=0.0)], "TokenSwap.probability: 0"),
        (_prompts()[:, :, None], [TokenSwap()], r"one input of shape \(8, 1\)"),
        (_prompts(), [Paraphrases([[[1] * 9]] * 60)], "input 0: 9 tokens; inputs have 8"),
        (_prompts(), [Paraphrases([[[1] * 8]])], "1 lists for 60 inputs"),
        (_prompts(), [EmbeddingNoise(0.1)], r"one input of shape \(8,\)"),
        (_prompts(), [TokenSubstitution(vocabulary=(50,))], "1 tokens to draw from"),
    ],
)
def test_bad_arrays_are_refused_with_the_fix(inputs: Any, edits: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        perturb(inputs, edits, runs_per_input=2)


class _Net(torch.nn.Module):
    """Two features of the mean embedding that rise and fall together; only the first drives the outcome."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mix = torch.nn.Embedding(20, 12), torch.nn.Linear(12, 2)
        with torch.no_grad():
            self.mix.weight[1] = 0.8 * self.mix.weight[0] + 0.6 * self.mix.weight[1]

    def forward(self, ids: Any) -> tuple[Any, Any]:
        features = self.mix(self.embed(ids).mean(1))
        return features, 1.5 * features[:, 0] + 0.05 * torch.randn(len(ids))  # a judge's own scatter


def test_a_token_array_and_a_loop_of_ones_own_give_the_planted_effect() -> None:
    """Edited arrays -> one's own batches -> from_arrays -> estimates on runs and on summaries."""
    ids = np.random.default_rng(0).integers(2, 20, (160, 9))
    ids[:, 0] = BOS
    made = perturb(
        ids, [TokenSubstitution(0.3), TokenResampling(0.3)], runs_per_input=8, family=np.arange(160) // 2
    )
    net, features, outcome = _Net().eval(), [], []
    with torch.no_grad():
        for a in range(0, len(made.inputs), 256):
            f, y = net(torch.from_numpy(made.inputs[a : a + 256]))
            features.append(f.numpy()), outcome.append(y.numpy())
    x, y = np.concatenate(features), np.concatenate(outcome)
    both = np.corrcoef(np.concatenate(features).T)
    assert both[0, 1] > 0.5, "the silent feature accompanies the cause"
    for kind in ("substitution", "resampling"):
        rows = made.rows(kind)
        panel = mrinterp.from_arrays(features=x[rows], outcomes=y[rows], **made.columns(rows))
        found = mrinterp.mr.within(panel)
        np.testing.assert_allclose(found.beta[:, 0], [1.5, 0.0], atol=0.1)
        inside = (found.ci_lower <= np.array([[1.5], [0.0]])) & (np.array([[1.5], [0.0]]) <= found.ci_upper)
        assert inside.all(), found.to_frame()
        assert "placebo:0" in panel.instruments["instrument"].tolist()
        assert "token0" not in " ".join(panel.instruments["instrument"]), "nothing edits the constant column"


def test_a_list_of_pairs_gives_instruments_that_summaries_can_use() -> None:
    """A pair of tokens always moves a feature the same way, where a place is changed as often up as down."""
    ids = np.random.default_rng(0).integers(2, 20, (160, 9))
    pairs = {old: [2 + (old + 5) % 18, 2 + (old + 11) % 18] for old in range(2, 20)}
    made = perturb(ids, [TokenSubstitution(0.15, words=pairs)], runs_per_input=10, placebos=0)
    net = _Net().eval()
    with torch.no_grad():
        x, y = (part.numpy() for part in net(torch.from_numpy(made.inputs)))
    panel = mrinterp.from_arrays(features=x, outcomes=y, **made.columns())
    data = mrinterp.scan.marginal_scan(panel).to_mrdata(with_errors=False)
    (found,) = mrinterp.run_mr(data, "mv_ivw")
    np.testing.assert_allclose(found.beta[:, 0], [1.5, 0.0], atol=0.2)
    assert (np.abs(found.beta[:, 0] - [1.5, 0.0]) < 3 * found.se[:, 0]).all()
