"""Outcomes that compare each run with something of its own: a continuation, a label, its clean run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.outcomes._logit_outcomes import check_labels, logits_at, logits_of
from mrinterp.positions import LAST_TOKEN, Position

__all__ = [
    "AnswerDifference",
    "CleanDivergence",
    "ContinuationLogProbability",
    "CorrectAnswer",
    "ExampleLoss",
    "KLToClean",
]

Rows = Sequence[int] | torch.Tensor


@dataclass(frozen=True, eq=False)
class ContinuationLogProbability:
    """Log-probability of a continuation at the end of each run's input, in nats.

    Parameters
    ----------
    ids : tensor (runs, tokens) of int
        The inputs, continuation included.
    continuation : tensor (runs, tokens) of bool
        Which of them are the continuation; never a run's first token.
    per_token : bool
        Mean over the continuation's tokens instead of the sum.
    name : str
        Name of the outcome.

    Examples
    --------
    Two equally likely tokens, so that the second token of the input has probability one half:

    >>> import torch
    >>> from mrinterp.outcomes import ContinuationLogProbability
    >>> outcome = ContinuationLogProbability(torch.tensor([[0, 1]]), torch.tensor([[False, True]]))
    >>> outcome(torch.zeros(1, 2, 2), torch.ones(1, 2)).exp().item()
    0.5
    """

    ids: torch.Tensor
    continuation: torch.Tensor
    per_token: bool = False
    name: str = "log_probability"

    def __post_init__(self) -> None:
        if self.ids.shape != self.continuation.shape or self.ids.ndim != 2:
            raise InputError(
                "continuation",
                f"{tuple(self.continuation.shape)} for ids {tuple(self.ids.shape)}",
                "Give both (runs, tokens)",
            )
        for bad, found in (
            (~self.continuation.bool().any(1), "empty"),
            (self.continuation.bool()[:, 0], "starts at the first token"),
        ):
            if bool(bad.any()):
                raise InputError(
                    f"continuation, run {int(bad.nonzero()[0, 0])}",
                    found,
                    "Mark at least one token, after the prompt",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Rows) -> ContinuationLogProbability:
        """The same outcome for some of the runs."""
        return ContinuationLogProbability(self.ids[rows], self.continuation[rows], self.per_token, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        logits = logits_of(output)
        if logits.ndim != 3 or logits.shape[:2] != self.ids.shape:
            raise InputError(
                f"outcome {self.name!r}",
                f"logits {tuple(logits.shape)} for ids {tuple(self.ids.shape)}",
                "Use a causal language model, and take() the batch's rows",
            )
        targets = self.ids[:, 1:].to(logits.device).unsqueeze(-1)
        each = logits[:, :-1].log_softmax(-1).gather(-1, targets).squeeze(-1)
        chosen = self.continuation[:, 1:].bool().to(logits.device)
        total = torch.where(chosen, each, torch.zeros_like(each)).sum(1, keepdim=True)
        return total / chosen.sum(1, keepdim=True) if self.per_token else total


@dataclass(frozen=True, eq=False)
class ExampleLoss:
    """Cross-entropy of each run's own label, in nats: never averaged over the batch.

    Parameters
    ----------
    labels : tensor (runs,) of int
        Class, or next token at ``position``.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import ExampleLoss
    >>> ExampleLoss(torch.tensor([0, 1]))(torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.ones(2, 1)).round(decimals=2)
    tensor([[0.6900],
            [0.0000]])
    """

    labels: torch.Tensor
    position: Position = LAST_TOKEN
    name: str = "loss"

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Rows) -> ExampleLoss:
        """The same outcome for some of the runs."""
        return ExampleLoss(self.labels[rows], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        logits = logits_at(output, mask, self.position)
        check_labels(self.labels, logits, self.name)
        labels = self.labels.long().to(logits.device)
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none").unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class AnswerDifference:
    """Logit of each run's own right answer minus that of its own wrong answer.

    Parameters
    ----------
    right, wrong : tensor (runs, answers) or (runs,) of int
        Tokens or classes; a run with fewer answers than others has -1 after its last.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Raises
    ------
    InputError
        For a run without an answer, or shapes that do not match.

    Notes
    -----
    Of several answers the logarithm of their summed exponentials is taken, so that the difference is the log odds of any
    right answer against any wrong one, in nats.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import AnswerDifference
    >>> logits = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 1.0]])  # two runs, three classes
    >>> AnswerDifference(torch.tensor([0, 1]), torch.tensor([1, 2]))(logits, torch.ones(2, 1)).flatten().tolist()
    [2.0, -1.0]
    """

    right: torch.Tensor
    wrong: torch.Tensor
    position: Position = LAST_TOKEN
    name: str = "answer_difference"

    def __post_init__(self) -> None:
        for key in ("right", "wrong"):
            value = getattr(self, key)
            value = value.unsqueeze(-1) if value.ndim == 1 else value
            if value.ndim != 2 or len(value) != len(self.right) or bool((value < 0).all(1).any()):
                raise InputError(
                    f"outcome {self.name!r}, {key}",
                    f"shape {tuple(value.shape)} for {len(self.right)} runs, or a run without an answer",
                    "Give at least one token or class for every run",
                )
            object.__setattr__(self, key, value)

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Rows) -> AnswerDifference:
        """The same outcome for some of the runs."""
        return AnswerDifference(self.right[rows], self.wrong[rows], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1).

        Raises
        ------
        InputError
            For another number of answers than runs, or an answer that is no token or class.
        """
        logits = logits_at(output, mask, self.position)
        return self._together(logits, self.right) - self._together(logits, self.wrong)

    def _together(self, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        for column in range(answers.shape[1]):
            check_labels(answers[:, column].clamp(min=0), logits, self.name)
        answers = answers.long().to(logits.device)
        own = logits.gather(-1, answers.clamp(min=0))
        if answers.shape[1] == 1:  # as a plain difference of logits, bit for bit
            return own
        return own.masked_fill(answers < 0, -torch.inf).logsumexp(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class CorrectAnswer:
    """One where the largest logit is that of the run's own label, else zero; its mean is the accuracy.

    Parameters
    ----------
    labels : tensor (runs,) of int
        Class, or next token at ``position``.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Notes
    -----
    Discrete: no gradient passes through it. Of equal largest logits the first is the answer.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import CorrectAnswer
    >>> CorrectAnswer(torch.tensor([0, 1]))(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.ones(2, 1)).flatten().tolist()
    [1.0, 0.0]
    """

    labels: torch.Tensor
    position: Position = LAST_TOKEN
    name: str = "correct"

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Rows) -> CorrectAnswer:
        """The same outcome for some of the runs."""
        return CorrectAnswer(self.labels[rows], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1).

        Raises
        ------
        InputError
            For another number of labels than runs, or a label that is not a class.
        """
        logits = logits_at(output, mask, self.position)
        check_labels(self.labels, logits, self.name)
        return (logits.argmax(-1) == self.labels.to(logits.device)).double().unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class KLToClean:
    """Divergence KL(clean || run) of the predicted distribution from the run's clean one, in nats.

    Parameters
    ----------
    clean_logits : tensor (runs, classes)
        Logits of each run's clean run at the same position: `KLToClean.from_clean`.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Notes
    -----
    It is zero at the clean run and positive on either side, so that it has no slope there: ``flat_at_clean`` says so,
    and what is linear in a shift (the matched shift, gradients, linear estimates) does not apply.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import KLToClean
    >>> clean, mask = torch.zeros(1, 2), torch.ones(1, 1)
    >>> divergence = KLToClean.from_clean(clean, mask)
    >>> divergence(clean, mask).item(), divergence(torch.tensor([[1.0, -1.0]]), mask).round(decimals=2).item()
    (0.0, 0.43...)
    """

    flat_at_clean: ClassVar[bool] = True
    clean_logits: torch.Tensor
    position: Position = LAST_TOKEN
    name: str = "kl_to_clean"

    @classmethod
    def from_clean(cls, output: Any, mask: torch.Tensor, position: Position | None = None) -> KLToClean:
        """The divergence from this output of the clean runs."""
        where = LAST_TOKEN if position is None else position
        return cls(logits_at(output, mask, where).detach().clone(), where)

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Rows) -> KLToClean:
        """The same outcome for some of the runs."""
        return KLToClean(self.clean_logits[rows], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        logits = logits_at(output, mask, self.position)
        if logits.shape != self.clean_logits.shape:
            raise InputError(
                f"outcome {self.name!r}",
                f"{tuple(logits.shape)} logits, clean {tuple(self.clean_logits.shape)}",
                "take() the batch's rows",
            )
        clean = self.clean_logits.to(logits).log_softmax(-1)
        terms = clean.exp() * (clean - logits.log_softmax(-1))
        return torch.where(clean.exp() > 0, terms, torch.zeros_like(terms)).sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class CleanDivergence:
    """KL(clean || run) for the inputs of a design, in nats.

    Parameters
    ----------
    adapter : Adapter
    inputs : ModelInputs
        All N inputs.
    clean : ndarray (N,) of int
        Number of each input's clean input.
    position : Position
        Token whose logits count.

    Notes
    -----
    Clean logits are as wide as the vocabulary: they are computed for the distinct clean inputs of each
    block (`take`) and not kept beyond it.
    """

    flat_at_clean: ClassVar[bool] = True
    adapter: Adapter
    inputs: ModelInputs
    clean: NDArray[np.int_]
    position: Position = LAST_TOKEN
    name: str = "kl_to_clean"

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Any) -> KLToClean:
        """The outcome of some of the inputs, with their clean logits."""
        distinct, place = np.unique(self.clean[np.asarray(rows)], return_inverse=True)
        inputs = self.inputs.take(distinct)
        with torch.no_grad():
            logits = logits_at(self.adapter.run(inputs.tensors).output, inputs.mask_or_ones, self.position)
        return KLToClean(logits[torch.as_tensor(place, device=logits.device)], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (N, 1) of all inputs."""
        return self.take(np.arange(len(self.inputs)))(output, mask)
