"""Whether each run's answer is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mrinterp.outcomes._logit_outcomes import check_labels, logits_at
from mrinterp.positions import LAST_TOKEN, PositionRule

__all__ = ["CorrectAnswer"]


@dataclass(frozen=True, eq=False)
class CorrectAnswer:
    """One where the largest logit is the run's own label's, else zero; its mean is the accuracy.

    Parameters
    ----------
    labels : tensor (runs,) of int
        Class, or next token at ``position``.

    Notes
    -----
    Discrete: no gradient passes through it. Of equal largest logits the first is the answer.
    """

    labels: torch.Tensor
    position: PositionRule = LAST_TOKEN
    name: str = "correct"

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def take(self, rows: Sequence[int] | torch.Tensor) -> CorrectAnswer:
        """The same outcome for some of the runs."""
        return CorrectAnswer(self.labels[rows], self.position, self.name)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1).

        Raises
        ------
        InputError
            For another number of labels than runs, or a label that is no class.
        """
        logits = logits_at(output, mask, self.position)
        check_labels(self.labels, logits, self.name)
        return (logits.argmax(-1) == self.labels.to(logits.device)).double().unsqueeze(-1)
