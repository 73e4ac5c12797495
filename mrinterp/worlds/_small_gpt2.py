"""Small GPT-2s over a word vocabulary that answer with one of two words, and directions for what their words say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.worlds._kept_network import kept_network, schedule

__all__ = ["Examples", "Training", "level_directions", "small_gpt2", "token_activations"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]


@dataclass(frozen=True)
class Training:
    """Blocks, width and heads of the network; steps and the norm that gradients are cut to; examples per step, the step
    size at the start, and the standard deviation of the weights at the start.

    With three blocks and uncut gradients training left the slope in some seeds (correlation with the log odds .50 to .92),
    and a network that has not learned its task uses the decoy; cut and 450 steps long it is above .999.
    """

    blocks: int
    steps: int
    steepest: float | None = None
    width: int = 64
    heads: int = 4
    batch: int = 64
    rate: float = 3e-3
    spread: float = 0.02


@dataclass(frozen=True, eq=False)
class Examples:
    """N sentences as numbers: ids and classes (N, T), -1 on padding, lengths (N,), and log odds (N,) of the answer."""

    ids: Ints
    classes: Ints
    length: Ints
    log_odds: Array

    def inputs(self, class_names: Sequence[str]) -> ModelInputs:
        """What the network takes."""
        mask = torch.from_numpy((self.classes >= 0).astype(np.int64))
        tensors = {"input_ids": torch.from_numpy(self.ids), "attention_mask": mask}
        return ModelInputs(tensors, mask, torch.from_numpy(self.classes), tuple(class_names))


def small_gpt2(
    name: str,
    seed: int,
    settings: object,
    folder: str | Path | None,
    *,
    words: int,
    training: Training,
    examples: Examples,
    answers: tuple[int, int],
    rng: np.random.Generator,
) -> torch.nn.Module:
    """A GPT-2 trained on the log odds of two answers after the last word, among all words; from its folder where kept."""
    try:
        import transformers
    except ImportError:
        raise InputError("network", "transformers is not installed", "pip install 'mrinterp[hf]'") from None
    shape: dict[str, Any] = {
        "n_positions": examples.ids.shape[1],
        "n_embd": training.width,
        "n_layer": training.blocks,
        "n_head": training.heads,
        "initializer_range": training.spread,
    }
    shape |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    config = transformers.GPT2Config(vocab_size=words, bos_token_id=0, eos_token_id=0, **shape)

    def train(network: torch.nn.Module) -> None:
        _train(network, training, examples, answers, rng)

    known = (settings, training, transformers.__version__)
    return kept_network(name, seed, known, folder, lambda: transformers.GPT2LMHeadModel(config), train)


def _train(
    network: Any, training: Training, pool: Examples, answers: tuple[int, int], rng: np.random.Generator
) -> None:
    """Adam on the log odds of the answers, after the last word."""
    inputs = pool.inputs(())
    chance = torch.from_numpy(1 / (1 + np.exp(-pool.log_odds))).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.rate, weight_decay=0.0)
    (yes, no), run = answers, torch.arange(training.batch)
    for step in range(training.steps):
        rows = rng.integers(0, len(pool.ids), training.batch)
        schedule(optimizer, training.rate, step, training.steps)
        logits = network(**inputs.take(rows).tensors).logits[run, torch.from_numpy(pool.length[rows] - 1)]
        log_p, wanted = logits.log_softmax(-1), chance[torch.from_numpy(rows)]
        loss = -(wanted * log_p[:, yes] + (1 - wanted) * log_p[:, no]).mean()
        optimizer.zero_grad()
        loss.backward()
        if training.steepest is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), training.steepest)
        optimizer.step()


def token_activations(adapter: TorchAdapter, site: str, inputs: ModelInputs) -> Array:
    """Activations (N, T, width) of a site, in float64."""
    with torch.inference_mode():
        h = adapter.run(inputs.tensors, read=[site]).activations[site]
    return np.asarray(h.double().numpy())


def level_directions(
    h: Array,
    classes: Ints,
    upper: Mapping[str, tuple[int, NDArray[np.bool_]]],
    components: int,
    turn: Any = None,
) -> Directions:
    """Directions of what single words say, and components of what is orthogonal to them.

    ``h`` (N, T, width) at tokens of ``classes`` (N, T). ``upper``: by name, the class of the word and whether (N,) its
    level is in the upper half: the direction is the difference of the mean activations at that word. ``turn`` takes the
    rest (n, width) and its components (c, width) and gives others of the same span.
    """
    named = []
    for number, high in upper.values():
        row, token = np.nonzero(classes == number)
        at, is_high = h[row, token], high[row]
        named.append(at[is_high].mean(axis=0) - at[~is_high].mean(axis=0))
    write = np.stack(named)
    own = h[classes >= 0]
    center = own.mean(axis=0)
    rest = (own - center) @ (np.eye(own.shape[1]) - np.linalg.pinv(write) @ write)
    found = np.linalg.svd(rest, full_matrices=False)[2][:components]
    found = found * (rest @ found.T).std(axis=0)[:, None]
    if turn is not None:
        found = turn(rest, found)
    # Signs of components are arbitrary: the largest entry is positive on every machine.
    largest = np.abs(found).argmax(axis=1)
    found = found * np.sign(found[np.arange(len(found)), largest])[:, None]
    names = [*upper, *(f"component{i:02d}" for i in range(components))]
    return Directions.from_write(np.concatenate([write, found]), center, names)
