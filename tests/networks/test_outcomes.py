"""Outcomes: one number per run, equal to what the formula says, run by run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.models._plan_outcomes import plain_outcome
from mrinterp.outcomes._logit_outcomes import ClassifierMargin, Logit, LogitDifference, Probability
from mrinterp.outcomes._outcome import AnchorProjection, outcome_values
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome, Projection
from mrinterp.outcomes._target_outcomes import (
    AnswerDifference,
    ContinuationLogProbability,
    ExampleLoss,
    KLToClean,
)
from mrinterp.positions import AllTokens, LastToken, MaxOfTokens, MeanOfTokens, TokenIndex
from tests.tiny import tiny_decoder

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
LOGITS = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
LAST = LOGITS[torch.arange(3), torch.tensor([3, 1, 2])].double().numpy()
OUTPUT = SimpleNamespace(logits=LOGITS)


def _softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


IDS = torch.tensor([[1, 2, 3, 4], [0, 4, 0, 0], [2, 2, 1, 0]])
CONTINUATION = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 1, 0]])
P = np.log(_softmax(LOGITS.double().numpy()))
CONTINUED = [P[0, 1, 3] + P[0, 2, 4], P[1, 0, 4], P[2, 0, 2] + P[2, 1, 1]]
LABELS = torch.tensor([4, 0, 2])
CLEAN = torch.randn(3, 5, generator=torch.Generator().manual_seed(9))
Q = _softmax(CLEAN.double().numpy())
CASES = {
    "logit": (Logit(2), LAST[:, 2]),
    "logit at a token": (Logit(2, TokenIndex(0)), LOGITS[:, 0, 2].numpy()),
    "difference": (LogitDifference(1, 3), LAST[:, 1] - LAST[:, 3]),
    "probability": (Probability(0), _softmax(LAST)[:, 0]),
    "log probability": (Probability(0, log=True), np.log(_softmax(LAST)[:, 0])),
    "margin": (ClassifierMargin(1), LAST[:, 1] - np.delete(LAST, 1, 1).max(1)),
    "continuation": (ContinuationLogProbability(IDS, CONTINUATION), CONTINUED),
    "per token": (
        ContinuationLogProbability(IDS, CONTINUATION, per_token=True),
        np.array(CONTINUED) / [2, 1, 2],
    ),
    "loss": (ExampleLoss(LABELS), -np.log(_softmax(LAST)[np.arange(3), LABELS])),
    "kl": (KLToClean(CLEAN), (Q * np.log(Q / _softmax(LAST))).sum(1)),
    "callable": (
        CallableOutcome("mine", lambda out, mask: out.logits.sum((1, 2))),
        LOGITS.sum((1, 2)).numpy(),
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_values_are_those_of_the_formula(name: str) -> None:
    outcome, expected = CASES[name]
    values = outcome_values(outcome, OUTPUT, MASK)
    assert values.shape == (3, 1)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values[:, 0], expected, rtol=2e-6, atol=1e-7)
    assert len(np.unique(values)) == 3


@pytest.mark.parametrize("name", sorted(set(CASES) - {"callable"}))
def test_batch_mates_and_padding_change_nothing(name: str) -> None:
    outcome, expected = CASES[name]
    for run in range(3):
        length = int(MASK[run].sum())
        one: Any = outcome.take([run]) if hasattr(outcome, "take") else outcome
        if isinstance(one, ContinuationLogProbability):
            one = ContinuationLogProbability(one.ids[:, :length], one.continuation[:, :length], one.per_token)
        alone = outcome_values(
            one, SimpleNamespace(logits=LOGITS[run : run + 1, :length]), MASK[run : run + 1, :length]
        )
        np.testing.assert_allclose(alone[0, 0], np.asarray(expected)[run], rtol=2e-6, atol=1e-7)


def test_a_classifier_needs_no_position() -> None:
    two = LOGITS[:, 0]
    for output in (two, SimpleNamespace(logits=two), (two, "cache")):
        np.testing.assert_array_equal(
            outcome_values(Logit(1), output, MASK)[:, 0], two[:, 1].double().numpy()
        )


def test_divergence_from_itself_is_zero() -> None:
    clean = KLToClean.from_clean(OUTPUT, MASK)
    np.testing.assert_allclose(outcome_values(clean, OUTPUT, MASK), 0, atol=1e-6)
    assert (outcome_values(clean, SimpleNamespace(logits=LOGITS + CLEAN[:, None]), MASK) > 0).all()


def test_projection_and_anchors() -> None:
    hidden = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1))
    output = SimpleNamespace(last_hidden_state=hidden)
    direction = torch.arange(6.0)
    h, d = hidden.double().numpy(), np.arange(6)
    means = np.array([h[0].mean(0), h[1, :2].mean(0), h[2, :3].mean(0)])
    np.testing.assert_allclose(
        outcome_values(Projection(direction), output, MASK)[:, 0], means @ d, rtol=1e-5
    )
    last = outcome_values(Projection(direction, LastToken()), output, MASK)[:, 0]
    np.testing.assert_allclose(last, [h[0, 3] @ d, h[1, 1] @ d, h[2, 2] @ d], rtol=1e-5)
    flat = outcome_values(Projection(direction), hidden[:, 0], MASK)[:, 0]
    np.testing.assert_allclose(flat, h[:, 0] @ d, rtol=1e-5)
    anchor = AnchorProjection("similarity", torch.nn.functional.normalize(direction, dim=0)[None])
    cosine = means @ d / np.linalg.norm(means, axis=1) / np.linalg.norm(d)
    np.testing.assert_allclose(outcome_values(anchor, output, MASK)[:, 0], cosine, rtol=1e-5)


def test_several_at_once() -> None:
    both = OutcomeSet([Logit(2), LogitDifference(1, 3), CASES["kl"][0]])
    assert both.names == ("logit", "logit_difference", "kl_to_clean")
    values = outcome_values(both, OUTPUT, MASK)
    for column, part in enumerate(both.parts):
        np.testing.assert_array_equal(values[:, column], outcome_values(part, OUTPUT, MASK)[:, 0])
    with pytest.raises(InputError, match="no name twice"):
        OutcomeSet([Logit(1), Logit(2)])


def test_half_precision_is_summed_in_single() -> None:
    half = SimpleNamespace(logits=LOGITS.bfloat16())
    single = SimpleNamespace(logits=LOGITS.bfloat16().float())
    for name in ("probability", "kl", "continuation", "loss"):
        np.testing.assert_array_equal(
            outcome_values(CASES[name][0], half, MASK), outcome_values(CASES[name][0], single, MASK)
        )


def _nan_in_run_1(out: Any, mask: Any) -> Any:
    return torch.tensor([1.0, torch.nan, 2.0])


class _Scalar:
    names = ("batch loss",)

    def __call__(self, output: Any, mask: Any) -> Any:
        return output.logits.mean()


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (
            CallableOutcome("mean loss", lambda o, m: o.logits.mean()),
            "outcome 'mean loss': a scalar for the whole batch; 3 runs",
        ),
        (_Scalar(), "outcome 'batch loss'.*one number per run"),
        (CallableOutcome("mine", _nan_in_run_1), "outcome 'mine', run 1: not a finite number"),
        (CallableOutcome("mine", lambda o, m: [1.0, 2.0]), r"shape \(2,\); 3 runs"),
        (Logit(5), "token or class 5 of 5"),
        (ClassifierMargin(-1), "token or class -1"),
        (Logit(1, TokenIndex(3)), "run 1: selects none of its 2 tokens"),
        (Logit(1, MeanOfTokens()), "selects several tokens"),
        (ExampleLoss(LABELS[:2]), r"\(2,\) labels for 3 runs"),
        (ExampleLoss(torch.tensor([0, 5, 1])), "label of run 1: 5 of 5 classes"),
        (KLToClean(CLEAN[:2]), "take"),
        (ContinuationLogProbability(IDS[:2], CONTINUATION[:2]), "take"),
        (Projection(torch.ones(4)), "no|width"),
    ],
)
def test_what_is_not_one_number_per_run_is_refused(outcome: Any, message: str) -> None:
    output: Any = LOGITS if isinstance(outcome, Projection) else OUTPUT
    with pytest.raises(InputError, match=message):
        outcome_values(outcome, output, MASK)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="no logits per run"):
        outcome_values(Logit(1), SimpleNamespace(last_hidden_state=LOGITS), MASK)
    with pytest.raises(InputError, match="run 1: empty"):
        ContinuationLogProbability(IDS, CONTINUATION * torch.tensor([[1], [0], [1]]))
    with pytest.raises(InputError, match="starts at the first token"):
        ContinuationLogProbability(IDS, torch.ones_like(CONTINUATION))
    for position in (MaxOfTokens(), AllTokens()):
        with pytest.raises(InputError, match="each run has one number"):
            outcome_values(Projection(torch.ones(5), position), LOGITS, MASK)


@pytest.mark.needs("transformers")
class TestGenerated:
    @pytest.fixture(scope="class")
    def adapter(self) -> Any:
        from mrinterp.adapters._torch_module import TorchAdapter
        from tests.tiny import tiny_decoder

        return TorchAdapter(tiny_decoder())

    @staticmethod
    def _inputs(runs: int = 6) -> dict[str, Any]:
        ids = torch.randint(1, 20, (runs, 5), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(ids)
        mask[1, 3:] = 0
        return {"input_ids": ids * mask, "attention_mask": mask}

    @staticmethod
    def _outcome(**changes: Any) -> Any:
        from mrinterp.outcomes._generated_text import GeneratedOutcome

        settings: dict[str, Any] = {"new_tokens": 6, "replicates": 3, "seed": 4}
        return GeneratedOutcome(
            "even",
            lambda text: sum(int(t) % 2 == 0 for t in text.split()),
            lambda t: " ".join(map(str, t)),
            **settings | changes,
        )

    def test_draws_depend_on_the_run_and_not_on_the_batch(self, adapter: Any) -> None:
        inputs, runs = self._inputs(), np.array([7, 2, 9, 11, 3, 4])
        whole = self._outcome().draw(adapter, inputs, runs)
        assert whole.shape == (6, 1)
        assert len(np.unique(whole)) > 1
        for i, run in enumerate(runs):
            one = {k: v[i : i + 1] for k, v in inputs.items()}
            np.testing.assert_array_equal(
                self._outcome().draw(adapter, one, np.array([run])), whole[i : i + 1]
            )
        assert not np.array_equal(self._outcome(seed=5).draw(adapter, inputs, runs), whole)
        assert not np.array_equal(self._outcome().draw(adapter, inputs, runs, stream=1), whole)

    def test_greedy_equals_the_library(self, adapter: Any) -> None:
        from mrinterp.outcomes._generated_text import generate

        inputs = {k: v[2:] for k, v in self._inputs().items()}
        ours = generate(adapter, inputs, 6, np.arange(4), temperature=0)
        theirs = adapter.module.generate(
            **inputs, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None
        )
        assert ours == theirs[:, 5:].tolist()

    def test_padding_does_not_leak(self, adapter: Any) -> None:
        from mrinterp.outcomes._generated_text import generate

        inputs = self._inputs()
        short = {k: v[1:2, :3] for k, v in inputs.items()}
        long = {k: v[1:2] for k, v in inputs.items()}
        assert generate(adapter, short, 8, np.array([3])) == generate(adapter, long, 8, np.array([3]))

    def test_sampled_tokens_follow_the_probabilities(self, adapter: Any) -> None:
        from mrinterp.outcomes._generated_text import generate

        n = 3000
        inputs = {k: v[:1].expand(n, -1).clone() for k, v in self._inputs().items()}
        drawn = np.array(generate(adapter, inputs, 1, np.arange(n)))[:, 0]
        one = {k: v[:1] for k, v in inputs.items()}
        with torch.no_grad():
            p = adapter.run(one).output.logits[0, -1].double().softmax(-1).numpy()
        seen = np.bincount(drawn, minlength=len(p)) / n
        assert np.abs(seen - p).max() < 5 * np.sqrt(p * (1 - p) / n).max()
        assert p.max() - p.min() > 0.05

    def test_edits_hold_and_stop_ends_a_text(self, adapter: Any) -> None:
        from mrinterp.outcomes._generated_text import generate

        inputs, runs = self._inputs(), np.arange(6)
        plain = generate(adapter, inputs, 6, runs)
        edited = generate(
            adapter,
            inputs,
            6,
            runs,
            write={"transformer.h.0": lambda h: h + torch.linspace(-9, 9, h.shape[-1])},
        )
        assert plain != edited
        stop = plain[0][2]
        expected = [t[: t.index(stop)] if stop in t else t for t in plain]
        assert generate(adapter, inputs, 6, runs, stop=stop) == expected

    def test_bad_judges_and_padding_are_refused(self, adapter: Any) -> None:
        from mrinterp.outcomes._generated_text import GeneratedOutcome, generate

        inputs, runs = self._inputs(), np.arange(10, 16)
        for answer in (None, float("nan")):
            with pytest.raises(InputError, match=f"outcome 'bad', run 10: the judge gave {answer}"):
                GeneratedOutcome("bad", lambda text, a=answer: a, str, new_tokens=1).draw(
                    adapter, inputs, runs
                )  # type: ignore[misc]
        left = {k: v.flip(1) for k, v in inputs.items()}
        with pytest.raises(InputError, match="Pad on the right"):
            generate(adapter, left, 2, runs)
        with pytest.raises(InputError, match="0 replicates"):
            self._outcome(replicates=0).draw(adapter, inputs, runs)


class OneWord:
    """A tokenizer that knows ``w0`` to ``w29``, more words than the network has logits for."""

    unk_token_id = None

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [int(text[1:])]}


@pytest.mark.needs("transformers")
@pytest.mark.parametrize(("target", "found"), [(20, "20 of 20"), (-1, "-1 of 20"), ("w25", "25 of 20")])
def test_a_token_beyond_the_vocabulary_is_refused_before_any_run(
    target: int | str, found: str, tmp_path: Path
) -> None:
    network: Any = SimpleNamespace(module=tiny_decoder(), tokenizer=OneWord())
    with pytest.raises(
        InputError, match=f"outcome.target: {found} tokens or classes. They count from 0 to 19"
    ):
        plain_outcome(OutcomeSection(name="y", kind="logit", target=target), network, tmp_path, 0)
    plain_outcome(OutcomeSection(name="y", kind="logit", target="w19"), network, tmp_path, 0)


def test_answers_of_each_run_are_compared() -> None:
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(2))
    right, wrong = torch.tensor([[1, -1], [2, 3], [0, -1]]), torch.tensor([2, 0, 6])
    found = AnswerDifference(right, wrong)(logits, torch.ones(3, 1)).flatten()
    assert found[0] == logits[0, 1] - logits[0, 2]
    odds = torch.logsumexp(logits[1, [2, 3]], 0) - logits[1, 0]
    assert torch.isclose(found[1], odds)
    probability = logits[1].softmax(-1)
    assert torch.isclose(found[1].exp(), probability[[2, 3]].sum() / probability[0])
    with pytest.raises(InputError, match="wrong: shape"):
        AnswerDifference(right, torch.tensor([1, -1, 2]))
    with pytest.raises(InputError, match="7"):
        AnswerDifference(right, torch.tensor([1, 7, 2]))(logits, torch.ones(3, 1))
