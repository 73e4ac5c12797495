"""Every public outcome keeps one contract, found by walking the face: an outcome that is added comes under it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp import outcomes
from mrinterp.adapters import TorchAdapter
from mrinterp.outcomes._outcome import outcome_values

RUNS, TOKENS, VOCABULARY = 6, 4, 5
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]] * 2)
LOGITS = torch.randn(RUNS, TOKENS, VOCABULARY, generator=torch.Generator().manual_seed(0))
OUTPUT = SimpleNamespace(logits=LOGITS)
HIDDEN = SimpleNamespace(last_hidden_state=LOGITS)
IDS = torch.arange(RUNS * TOKENS).reshape(RUNS, TOKENS) % VOCABULARY
ENDING = torch.zeros(RUNS, TOKENS, dtype=torch.bool)
ENDING[:, 1] = True


class _Repeats(torch.nn.Module):
    """A network that finds every next token equally likely, so that what is generated is up to the draws."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*input_ids.shape, VOCABULARY)


def _made(name: str) -> tuple[Any, Any]:
    """An outcome of every public kind, and an output to take it of."""
    make = getattr(outcomes, name)
    labels, anchors = torch.arange(RUNS) % VOCABULARY, torch.eye(VOCABULARY)
    arguments: dict[str, tuple[Any, ...]] = {
        "AnchorProjection": ("anchors", anchors[:2], anchors[2:3]),
        "AnswerDifference": (torch.stack([labels, labels - 1], 1), (labels + 2) % VOCABULARY),
        "CallableOutcome": ("mine", lambda output, mask: output.logits[:, 0, 0]),
        "ClassifierMargin": (1,),
        "ContinuationLogProbability": (IDS, ENDING),
        "CorrectAnswer": (labels,),
        "ExampleLoss": (labels,),
        "GeneratedOutcome": ("sum", lambda text: float(len(text)), lambda tokens: "x" * sum(tokens)),
        "KLToClean": (LOGITS.flip(0)[:, 0],),
        "Logit": (2,),
        "LogitDifference": (1, 3),
        "OutcomeSet": ([outcomes.Logit(0), outcomes.CorrectAnswer(labels)],),
        "Probability": (0,),
        "Projection": (torch.arange(float(VOCABULARY)),),
    }
    return make(*arguments[name]), HIDDEN if name in ("AnchorProjection", "Projection") else OUTPUT


OUTCOMES = sorted(
    name
    for name in outcomes.__all__
    if inspect.isclass(getattr(outcomes, name)) and name not in ("Outcome", "Sampling")
)
COMPUTED = sorted(set(OUTCOMES) - {"GeneratedOutcome"})


def _rows(output: Any, rows: Any) -> Any:
    return SimpleNamespace(**{name: value[rows] for name, value in vars(output).items()})


def _draw(outcome: Any, rows: Any) -> Any:
    inputs = {"input_ids": IDS[rows], "attention_mask": MASK[rows]}
    return outcome.draw(TorchAdapter(_Repeats().eval()), inputs, np.asarray(rows))


def _values(outcome: Any, output: Any, rows: Any) -> Any:
    if isinstance(outcome, outcomes.GeneratedOutcome):
        return _draw(outcome, rows)
    part = outcome.take(rows) if hasattr(outcome, "take") else outcome
    return outcome_values(part, _rows(output, rows), MASK[rows])


@pytest.mark.parametrize("name", OUTCOMES)
class TestEveryOutcome:
    def test_one_number_per_run_and_name_in_float64(self, name: str) -> None:
        outcome, output = _made(name)
        values = _values(outcome, output, np.arange(RUNS))
        assert values.shape == (RUNS, len(outcome.names))
        assert values.dtype == np.float64
        assert len(np.unique(values)) > 1

    def test_it_has_names_and_shows_its_kind(self, name: str) -> None:
        outcome, _ = _made(name)
        assert isinstance(outcome.names, tuple)
        assert all(isinstance(n, str) and n for n in outcome.names)
        assert name in repr(outcome)
        assert "object at 0x" not in repr(outcome)

    def test_splitting_a_batch_changes_nothing(self, name: str) -> None:
        outcome, output = _made(name)
        whole = _values(outcome, output, np.arange(RUNS))
        parts = [_values(outcome, output, np.array(rows)) for rows in ([0, 1], [2], [3, 4, 5])]
        np.testing.assert_array_equal(np.concatenate(parts), whole)

    def test_order_of_the_runs_changes_nothing_else(self, name: str) -> None:
        outcome, output = _made(name)
        order = np.array([4, 0, 5, 2, 1, 3])
        whole = _values(outcome, output, np.arange(RUNS))
        np.testing.assert_array_equal(_values(outcome, output, order), whole[order])


# What a function of the user's makes of padding is up to the function.
@pytest.mark.parametrize("name", sorted(set(OUTCOMES) - {"CallableOutcome"}))
def test_padding_has_no_part_in_it(name: str) -> None:
    outcome, output = _made(name)
    padding = MASK.eq(0)[:, :, None]
    other = SimpleNamespace(**{k: torch.where(padding, v + 7, v) for k, v in vars(output).items()})
    everyone = np.arange(RUNS)
    np.testing.assert_array_equal(_values(outcome, other, everyone), _values(outcome, output, everyone))


@pytest.mark.parametrize("name", COMPUTED)
def test_doubles_are_not_rounded(name: str) -> None:
    outcome, output = _made(name)
    double = SimpleNamespace(**{k: v.double() for k, v in vars(output).items()})
    single, exact = (_values(outcome, o, np.arange(RUNS)) for o in (output, double))
    np.testing.assert_allclose(single, exact, rtol=1e-5, atol=1e-6)
