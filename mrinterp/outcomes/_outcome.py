"""Outcomes: the network's output turned into one number per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError
from mrinterp.positions import checked_mask

__all__ = [
    "AnchorProjection",
    "Outcome",
    "Sampling",
    "check_is_outcome",
    "check_outcome",
    "hidden_of",
    "named_entry",
    "outcome_values",
    "sentence_embedding",
]


class Outcome(Protocol):
    """One number per run from a network's output: what an outcome of your own has to offer.

    A class with ``names`` and a call is an outcome; it need not inherit from anything. `CallableOutcome` makes one of a
    function. A method ``take(rows)`` marks an outcome that is tied to the inputs (their labels, say): it is handed the
    rows of each block. ``flat_at_clean = True`` marks one that is smallest or largest at the clean run, so that it has
    no slope there.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import Outcome
    >>> class Length:
    ...     names = ("length",)
    ...     def __call__(self, output, mask):
    ...         return output.norm(dim=-1, keepdim=True)
    >>> outcome: Outcome = Length()
    >>> outcome(torch.tensor([[3.0, 4.0]]), torch.ones(1, 1)).tolist()
    [[5.0]]
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One name per outcome."""
        ...

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes of shape (runs, O)."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How an outcome is sampled: seeded replicates around the computed value, averaged per run.

    Parameters
    ----------
    kind : {"normal", "bernoulli"}
        The value plus normal noise, or yes and no (1 and 0).
    replicates : int
        Draws per run.
    noise : float
        Standard deviation of the noise; of a yes or no, the scale of the logistic curve. In units of the outcome.
    midpoint : float
        Value at which yes and no are equally likely; not used by ``normal``.
    seed : int
        Of the draws.
    number : int
        Of the outcome among those of a study: each has draws of its own.

    Notes
    -----
    Every draw is keyed by (seed, stream, run), never by the batch, so that block size, restarts and
    processes change nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.outcomes import Sampling
    >>> judge = Sampling("bernoulli", replicates=1000, noise=1.0, midpoint=0.0, seed=0)
    >>> judge.draw(np.array([[0.0], [5.0]]), stream=1, runs=np.array([0, 1])).round(1).tolist()
    [[0.5], [1.0]]
    """

    kind: str
    replicates: int
    noise: float
    midpoint: float
    seed: int
    number: int = 0

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


def named_entry(output: Any, name: str) -> Any:
    """An entry of a network's output by its name, in a dict or as an attribute; None without it."""
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def hidden_of(output: Any, where: str) -> torch.Tensor:
    """Last hidden states of a network's output: itself, by their name, or the first entry of a tuple or list.

    Raises
    ------
    InputError
        Where there are none; names ``where``.
    """
    hidden = output if isinstance(output, torch.Tensor) else named_entry(output, "last_hidden_state")
    if hidden is None and isinstance(output, tuple | list) and output:
        hidden = output[0]
    if not isinstance(hidden, torch.Tensor):
        found = f"{type(output).__name__} without last_hidden_state"
        raise InputError(where, found, "Load the network without a head (encoder), or use CallableOutcome")
    return hidden


def sentence_embedding(output: Any, mask: torch.Tensor) -> torch.Tensor:
    """Token mean of the last hidden state, scaled to length one: the embedding that anchors are made of.

    Parameters
    ----------
    output : tensor (runs, tokens, width), or an object with ``last_hidden_state``
        What the network returned.
    mask : tensor (runs, tokens)
        One on a run's own tokens, zero on padding.

    Returns
    -------
    tensor (runs, width)
        In float32 or better.

    Raises
    ------
    InputError
        For an output with logits, or a mask that is not 0/1.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import sentence_embedding
    >>> hidden = torch.tensor([[[3.0, 4.0], [3.0, 4.0], [9.0, 0.0]]])
    >>> sentence_embedding(hidden, torch.tensor([[1, 1, 0]])).round(decimals=4).tolist()
    [[0.6..., 0.8...]]
    """
    if named_entry(output, "logits") is not None:
        raise InputError(
            "outcome",
            "anchors need a sentence embedding, the network gives logits",
            "Load it with model.kind = 'encoder', or choose an outcome of logits",
        )
    hidden = hidden_of(output, "outcome")
    hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
    weight = checked_mask(mask).unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weight).sum(1) / weight.sum(1)
    return mean / mean.norm(dim=-1, keepdim=True)


class AnchorProjection:
    """Projection of the sentence embedding on a direction: a contrast of anchors, or one anchor.

    Parameters
    ----------
    name : str
        Name of the outcome.
    positive, negative : tensor (A, width)
        Embeddings of the anchors (`sentence_embedding`); with no negative ones the outcome is the mean
        similarity to the positive ones.

    Raises
    ------
    InputError
        Where the anchors have the same mean.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import AnchorProjection
    >>> warm, cold = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> AnchorProjection("warmth", warm, cold)(torch.tensor([[[2.0, 0.0]]]), torch.ones(1, 1)).tolist()
    [[1.0]]
    """

    def __init__(self, name: str, positive: torch.Tensor, negative: torch.Tensor | None = None) -> None:
        self.names: tuple[str, ...] = (name,)
        direction = positive.mean(0)
        if negative is not None and len(negative):
            direction = direction - negative.mean(0)
        if float(direction.norm()) < 1e-8:
            raise InputError(
                f"outcome {name!r}",
                "positive and negative anchors have the same mean",
                "Give positive and negative anchors that differ",
            )
        self.direction = direction

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        embedding = sentence_embedding(output, mask)
        return (embedding @ self.direction.to(embedding)).unsqueeze(-1)

    def __repr__(self) -> str:
        return f"AnchorProjection({self.names[0]!r})"


def check_is_outcome(given: Any) -> None:
    """Refuse what is not an outcome, with the way to make one of it.

    Raises
    ------
    InputError
        For a function, a class in place of its instance, or anything else without names and a call.
    """
    names = getattr(given, "names", None)
    if isinstance(given, type):
        raise InputError("outcome", f"the class {given.__name__}", f"Give an instance, {given.__name__}(...)")
    if isinstance(names, tuple) and names and (callable(given) or hasattr(given, "draw")):
        return
    if callable(given):
        called = getattr(given, "__name__", type(given).__name__)
        known = called.isidentifier()
        raise InputError(
            "outcome",
            f"the function {called}" if known else "a function without a name",
            f"Give CallableOutcome('{called if known else 'name'}', {called if known else 'function'}) of"
            " mrinterp.outcomes; the function takes (output, mask) and returns one number per run",
        )
    raise InputError(
        "outcome",
        shown(given),
        "Give an outcome of mrinterp.outcomes, such as Logit(0); several as OutcomeSet([...])",
    )


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
            "Have the outcome return a finite number for that input",
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
