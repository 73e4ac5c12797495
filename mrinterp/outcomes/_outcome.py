"""Outcomes: the network's output turned into one number per run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from mrinterp.core.errors import InputError

__all__ = ["AnchorProjection", "Outcome", "Sampling", "check_outcome", "outcome_values", "sentence_embedding"]


class Outcome(Protocol):
    """Model output -> one number per run."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name per outcome."""
        ...

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes of shape (runs, O)."""
        ...


@dataclass(frozen=True)
class Sampling:
    """A sampled outcome: seeded replicates around the computed value, averaged per run.

    Parameters
    ----------
    kind : {"normal", "bernoulli"}
        The value plus normal noise, or yes and no (1 and 0).
    replicates : int
        Draws per run.
    noise : float
        Standard deviation of the noise; of a yes or no, the scale of the logistic curve.
    midpoint : float
        Value at which yes and no are alike; not used by ``normal``.
    seed : int

    Notes
    -----
    Every draw is keyed by (seed, stream, run), never by the batch, so that block size, restarts and
    processes change nothing.
    """

    kind: str
    replicates: int
    noise: float
    midpoint: float
    seed: int
    number: int = 0
    """Number of the outcome among those of a study: each has draws of its own."""

    def __post_init__(self) -> None:
        if self.kind not in ("normal", "bernoulli"):
            raise InputError("kind of sampling", repr(self.kind), "Give 'normal' or 'bernoulli'")

    def draw(self, values: np.ndarray, stream: int, runs: np.ndarray) -> np.ndarray:
        """Mean over replicates for values (N, O) of the given runs (N,)."""
        out = np.empty_like(values)
        for i, run in enumerate(runs):
            counter = [0, 0, self.number, int(run)]
            rng = np.random.Generator(np.random.Philox(key=[self.seed, stream], counter=counter))
            size = (self.replicates, values.shape[1])
            if self.kind == "normal":
                out[i] = (values[i] + self.noise * rng.standard_normal(size)).mean(axis=0)
            else:
                chance = 1 / (1 + np.exp(-(values[i] - self.midpoint) / self.noise))
                out[i] = (rng.random(size) < chance).mean(axis=0)
        return out


def sentence_embedding(output: Any, mask: torch.Tensor) -> torch.Tensor:
    """Token mean of the last hidden state, scaled to length one; shape (runs, width), float32 or better."""
    if getattr(output, "logits", None) is not None:
        raise InputError(
            "outcome",
            "anchors need a sentence embedding, the network gives logits",
            "Load it with model.kind = 'encoder', or choose an outcome of logits",
        )
    hidden = output.last_hidden_state if hasattr(output, "last_hidden_state") else output
    if not isinstance(hidden, torch.Tensor):
        hidden = hidden[0]
    hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weight).sum(1) / weight.sum(1)
    return mean / mean.norm(dim=-1, keepdim=True)


class AnchorProjection:
    """Projection of the sentence embedding on a direction: a contrast of anchors, or one anchor.

    Parameters
    ----------
    name : str
    positive, negative : tensor (A, width)
        Embeddings of the anchors; with no negative ones the outcome is the mean similarity to the
        positive ones.
    """

    def __init__(self, name: str, positive: torch.Tensor, negative: torch.Tensor | None = None) -> None:
        self.names: tuple[str, ...] = (name,)
        direction = positive.mean(0)
        if negative is not None and len(negative):
            direction = direction - negative.mean(0)
        if float(direction.norm()) < 1e-8:
            raise InputError(
                f"outcome {name!r}",
                "the anchors cancel each other",
                "Give positive and negative anchors that differ",
            )
        self.direction = direction

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        return (sentence_embedding(output, mask) @ self.direction).unsqueeze(-1)


def check_outcome(values: np.ndarray, names: tuple[str, ...], runs: int) -> None:
    """Refuse an outcome that is not one finite number per run."""
    if values.shape != (runs, len(names)):
        raise InputError(
            f"outcome {names[0]!r}",
            f"shape {values.shape} for {runs} runs",
            "Return one number per run, not one for the batch",
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"outcome {names[bad[0][1]]!r}, run {bad[0][0]}",
            "not a finite number",
            "Mend the outcome for that input",
        )


def outcome_values(outcome: Outcome, output: Any, mask: torch.Tensor) -> np.ndarray:
    """Outcomes (runs, O) in float64, checked.

    Raises
    ------
    InputError
        For a scalar for the whole batch, another number of runs, or a value that is not finite;
        names the outcome and the run.
    """
    result = outcome(output, mask)
    values = np.asarray(
        result.detach().double().cpu() if isinstance(result, torch.Tensor) else result, dtype=float
    )
    if values.ndim == 1 and len(outcome.names) == 1:
        values = values[:, None]
    check_outcome(values, outcome.names, len(mask))
    return values
