"""Black-box outcomes: a judgement of the text that a decoder generates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.core.errors import InputError
from mrinterp.outcomes._logit_outcomes import logits_of
from mrinterp.outcomes._outcome import check_outcome

__all__ = [
    "GeneratedOutcome",
]


@dataclass(frozen=True)
class GeneratedOutcome:
    """A judgement of generated text, averaged over seeded replicates.

    Parameters
    ----------
    name : str
        Name of the outcome.
    judge : callable
        Text -> one number.
    decode : callable
        Token ids of one continuation -> text (a tokenizer's ``decode``).
    new_tokens : int
        Tokens generated per replicate (fewer where ``stop`` is drawn).
    replicates : int
        Texts per run; their number is part of the design.
    temperature : float
        Of the sampling; zero takes the most probable token.
    seed : int
        Of the draws, which are keyed by run, replicate and token and never by the batch.
    stop : int, optional
        Token that ends a text.

    Notes
    -----
    No gradient passes through it, and it needs forward passes of its own: `draw` in place of a call with an output.

    Examples
    --------
    A network of three tokens that always says token 2, and a judge who counts the letters c:

    >>> import numpy as np, torch
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.outcomes import GeneratedOutcome
    >>> class SaysTwo(torch.nn.Module):
    ...     def forward(self, input_ids, attention_mask):
    ...         return torch.tensor([0.0, 0.0, 9.0]).expand(*input_ids.shape, 3)
    >>> decode = lambda tokens: "".join("abc"[t] for t in tokens)
    >>> outcome = GeneratedOutcome("c", lambda text: text.count("c"), decode, new_tokens=4, temperature=0.0)
    >>> inputs = {"input_ids": torch.tensor([[0, 1]]), "attention_mask": torch.tensor([[1, 1]])}
    >>> outcome.draw(TorchAdapter(SaysTwo().eval()), inputs, runs=np.array([0]))
    array([[4.]])
    """

    name: str
    judge: Callable[[str], float]
    decode: Callable[[list[int]], str]
    new_tokens: int = 16
    replicates: int = 1
    temperature: float = 1.0
    seed: int = 0
    stop: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def draw(
        self,
        adapter: Adapter,
        inputs: Mapping[str, torch.Tensor],
        runs: NDArray[np.int_],
        stream: int = 0,
        write: Mapping[str, Edit] | None = None,
    ) -> NDArray[np.float64]:
        """Mean judgement (runs, 1).

        Parameters
        ----------
        inputs : mapping
            ``input_ids`` and ``attention_mask`` (runs, tokens), padded on the right.
        runs : ndarray (runs,) of int
            Numbers of the runs in the design: draws are keyed by (seed, stream, run, replicate,
            token), so that batches and restarts change nothing.
        write : mapping of site to edit, optional
            Edits that hold during every step; activations are ``tokens + new_tokens`` long.

        Raises
        ------
        InputError
            Where the judge returns anything but a finite number; names the run and its text.
        """
        if self.replicates < 1:
            raise InputError(f"outcome {self.name!r}", f"{self.replicates} replicates", "Give at least one")
        total = np.zeros(len(runs))
        for replicate in range(self.replicates):
            drawn = generate(
                adapter,
                inputs,
                self.new_tokens,
                runs,
                self.temperature,
                (self.seed, stream, replicate),
                self.stop,
                write,
            )
            total += [self._judged(tokens, int(run)) for tokens, run in zip(drawn, runs, strict=True)]
        values = (total / self.replicates)[:, None]
        check_outcome(values, self.names, len(runs))
        return np.asarray(values)

    def _judged(self, tokens: list[int], run: int) -> float:
        text = self.decode(tokens)
        value: Any = self.judge(text)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise InputError(
                f"outcome {self.name!r}, run {run}",
                f"the judge gave {value!r} to {text[:60]!r}",
                "Return a finite number for every text",
            )
        return number


def generate(
    adapter: Adapter,
    inputs: Mapping[str, torch.Tensor],
    new_tokens: int,
    runs: NDArray[np.int_],
    temperature: float = 1.0,
    key: tuple[int, int, int] = (0, 0, 0),
    stop: int | None = None,
    write: Mapping[str, Edit] | None = None,
) -> list[list[int]]:
    """Continue every input by sampling; the draws of a run depend on nothing but its own number.

    Parameters
    ----------
    key : (seed, stream, replicate)
    temperature : float
        Zero takes the most probable token.

    Returns
    -------
    list of list of int
        New tokens per run, ``stop`` left out.

    Raises
    ------
    InputError
        For inputs padded on the left, a negative temperature, or no new tokens.
    """
    if temperature < 0 or new_tokens < 1:
        raise InputError(
            "generate",
            f"temperature {temperature}, {new_tokens} new tokens",
            "temperature >= 0, at least one token",
        )
    mask, ids = inputs["attention_mask"], inputs["input_ids"]
    if bool((mask.long().diff(dim=1) > 0).any()) or not bool(mask[:, 0].all()):
        raise InputError(
            "attention_mask",
            "padding before or between tokens",
            "Pad on the right, so that positions do not depend on the batch",
        )
    ids = torch.nn.functional.pad(ids, (0, new_tokens))
    mask = torch.nn.functional.pad(mask, (0, new_tokens))
    uniform = (
        np.stack([_uniform(key, int(run), new_tokens) for run in runs])
        if len(runs)
        else np.zeros((0, new_tokens))
    )
    rows, going = torch.arange(len(ids), device=ids.device), np.ones(len(ids), dtype=bool)
    out: list[list[int]] = [[] for _ in range(len(ids))]
    with torch.inference_mode():
        for step in range(new_tokens):
            end = mask.sum(1)
            output = adapter.run({**inputs, "input_ids": ids, "attention_mask": mask}, write=write).output
            chosen = _choose(logits_of(output)[rows, end - 1].double(), temperature, uniform[:, step])
            for run, token in enumerate(chosen.tolist()):
                going[run] &= token != stop
                if going[run]:
                    out[run].append(token)
            if not going.any():
                break
            ids[rows, end] = chosen
            mask[rows, end] = 1
    return out


def _uniform(key: tuple[int, int, int], run: int, count: int) -> NDArray[np.float64]:
    seed, stream, replicate = key
    bits = np.random.Philox(key=[seed, stream], counter=[0, 0, replicate, run])
    return np.random.Generator(bits).random(count)


def _choose(logits: torch.Tensor, temperature: float, uniform: NDArray[np.float64]) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    reached = (logits / temperature).softmax(-1).cumsum(-1)
    draw = torch.from_numpy(uniform).to(reached).unsqueeze(-1) * reached[:, -1:]
    return torch.searchsorted(reached, draw, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
