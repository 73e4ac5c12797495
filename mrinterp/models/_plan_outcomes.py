"""The outcomes that a study file asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mrinterp.adapters._hugging_face import padded_inputs
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.models._plan_adapter import AdaptedNetwork
from mrinterp.models._plan_files import named_function, read_numbers
from mrinterp.models._text import CONTINUATION
from mrinterp.outcomes._generated_text import GeneratedOutcome
from mrinterp.outcomes._logit_outcomes import ClassifierMargin, Logit, LogitDifference, Probability
from mrinterp.outcomes._outcome import AnchorProjection, Sampling, sentence_embedding
from mrinterp.outcomes._projection_and_callable import CallableOutcome, Projection
from mrinterp.outcomes._target_outcomes import (
    AnswerDifference,
    CleanDivergence,
    ContinuationLogProbability,
    ExampleLoss,
)
from mrinterp.positions import LAST_TOKEN, MEAN_OF_TOKENS, Position, named_position

__all__ = [
    "PER_INPUT",
    "answers_in_words",
    "per_input_outcome",
    "plain_outcome",
    "sampling_of",
]

PER_INPUT = ("continuation_log_probability", "loss", "kl_to_clean", "answer_difference")
"""Kinds that compare each input with something of its own: its continuation, its label, its clean input, its answers."""
NEEDS = {
    "loss": ("label",),
    "continuation_log_probability": (CONTINUATION,),
    "kl_to_clean": ("clean",),
    "answer_difference": ("label", "wrong"),
}
"""Columns that each of them needs."""
_ANSWERS = ("label", "wrong")


def plain_outcome(
    section: OutcomeSection,
    network: AdaptedNetwork,
    folder: Path,
    seed: int,
    given: Mapping[str, Any] | None = None,
) -> Any:
    """An outcome that needs nothing but the network's output; one of kind ``given`` is the one that was given by its name.

    Raises
    ------
    InputError
        For positive and negative anchors with the same mean, a target that is not a token or class, or a
        file or function that does not exist.
    """
    name, kind = section.name, section.kind
    if kind in ("anchor_contrast", "anchor_similarity"):
        negative = embedded(network, section.negative) if section.negative else None
        return AnchorProjection(name, embedded(network, section.positive), negative)
    if kind == "projection":
        path = folder / str(section.direction)
        direction = np.asarray(read_numbers(path, "outcome.direction")["read"], dtype=float).squeeze()
        if direction.ndim != 1 or not np.isfinite(direction).all():
            raise InputError(
                "outcome.direction", f"shape {direction.shape}", "Give one finite direction (width,)"
            )
        return Projection(
            torch.from_numpy(direction).to(network.device), _position(section, MEAN_OF_TOKENS), name
        )
    if kind == "given":
        return _given(section, given or {})
    if kind == "callable":
        return CallableOutcome(name, named_function(str(section.function), "outcome.function", folder))
    if kind == "generated":
        return _generated(section, network, folder, seed)
    where = _position(section, LAST_TOKEN)
    target = _target(section.target, "outcome.target", network)
    if kind == "logit_difference":
        against = _target(section.against, "outcome.against", network)
        if against == target:
            found = f"{section.against!r} is the same token or class as target {section.target!r} (number {target})"
            raise InputError("outcome.against", found, "Give another: the difference would always be 0")
        return LogitDifference(target, against, where, name)
    if kind == "probability":
        return Probability(target, where, section.log, name)
    return (Logit if kind == "logit" else ClassifierMargin)(target, where, name)


def per_input_outcome(
    section: OutcomeSection, network: AdaptedNetwork, inputs: ModelInputs, table: pd.DataFrame
) -> Any:
    """An outcome that compares each input of the design with something of its own.

    Parameters
    ----------
    inputs : ModelInputs
        All inputs of the design.
    table : DataFrame
        The design's inputs, with ``label``, ``continuation`` or ``clean`` as ``section.kind`` needs.

    Raises
    ------
    InputError
        Where the table lacks the column, or a label is not a token or class.
    """
    for column in NEEDS[section.kind]:
        if column not in table:
            raise InputError(
                f"outcome {section.name!r}",
                f"kind {section.kind!r} needs a {column!r} for every prompt",
                f"Give prompts.table with a column {column!r} (or inputs.{column}, for inputs that are no texts)",
            )
    if section.kind == "continuation_log_probability":
        assert inputs.classes is not None
        marked = inputs.classes.eq(inputs.class_names.index(CONTINUATION))
        ids = inputs.tensors["input_ids"]
        return ContinuationLogProbability(ids, marked, section.per_token, section.name)
    where = _position(section, LAST_TOKEN)
    if section.kind == "kl_to_clean":
        return CleanDivergence(network.adapter, inputs, table["clean"].to_numpy(), where, section.name)
    if section.kind == "answer_difference":
        right, wrong = (_answers(table[column], network) for column in NEEDS[section.kind])
        return AnswerDifference(right, wrong, where, section.name)
    labels = _answers(table["label"], network)
    if labels.shape[1] > 1:
        row = int((labels >= 0).sum(1).argmax())
        raise InputError(
            f"outcome {section.name!r}",
            f"input {row} has several right answers",
            "Use kind 'answer_difference', or give one label for each prompt",
        )
    return ExampleLoss(labels[:, 0], where, section.name)


def _answers(column: pd.Series, network: AdaptedNetwork) -> torch.Tensor:
    """Tokens or classes (N, A) of every input's answers, -1 after the last one of each."""
    known: dict[str, list[int]] = {}
    for cell in column.unique():
        several = json.loads(cell) if cell.startswith("[") and cell.endswith("]") else [_number(cell)]
        known[cell] = [
            _target(a if isinstance(a, int) else _number(str(a)), f"{column.name} {a!r}", network)
            for a in several
        ]
    most = max(map(len, known.values()))
    rows = {cell: [*ids, *[-1] * (most - len(ids))] for cell, ids in known.items()}
    return torch.tensor([rows[cell] for cell in column], device=network.device)


def answers_in_words(section: OutcomeSection, network: AdaptedNetwork, table: pd.DataFrame) -> str:
    """What an outcome takes for the answers of the first prompt, token by token; empty for outcomes without answers."""
    columns = [c for c in NEEDS.get(section.kind, ()) if c in _ANSWERS and c in table]
    if not columns:
        return ""
    said = []
    for column in columns:
        cell = table[column].iloc[:1]
        ids = [int(i) for i in _answers(cell, network)[0] if i >= 0]
        decode = getattr(network.tokenizer, "decode", None)
        words = (
            ids if decode is None or _classifies(network.module) else [f"{i} ({decode([i])!r})" for i in ids]
        )
        said.append(f"{column} {cell.iloc[0]!r} is token or class {', '.join(map(str, words))}")
    return f"outcome {section.name!r}, first prompt: {'; '.join(said)}"


def sampling_of(section: OutcomeSection, seed: int, number: int) -> Sampling | None:
    """How a section's outcome is sampled; None where it is not.

    Raises
    ------
    InputError
        For draws of an outcome that is not sampled, or a sampled one without noise.
    """
    if section.sampling == "none":
        if section.replicates > 1 and section.kind != "generated":
            raise InputError(
                "outcome.replicates",
                f"{section.replicates} draws of an outcome that is not sampled",
                "Set outcome.sampling to normal or bernoulli, or replicates to 1",
            )
        return None
    if section.noise <= 0:
        raise InputError("outcome.noise", f"{section.noise:g}", "A sampled outcome needs a positive noise")
    return Sampling(section.sampling, section.replicates, section.noise, section.midpoint, seed, number)


def embedded(network: AdaptedNetwork, texts: tuple[str, ...]) -> torch.Tensor:
    """Sentence embeddings of anchors (texts, width)."""
    if network.tokenizer is None:
        raise InputError("tokenizer", "the network has no tokenizer", "Give model.tokenizer, for the anchors")
    # Padded on the right whatever the tokenizer's habit: absolute positions must not move.
    for i, text in enumerate(texts):
        if not network.tokenizer(text, add_special_tokens=False)["input_ids"]:
            fix = "Give a sentence, or leave the entry out"
            raise InputError(f"outcome, anchor sentence {i + 1} ({text!r})", "has no tokens", fix)
    longest = max(len(ids) for ids in network.tokenizer(list(texts))["input_ids"])
    padded = padded_inputs(network.tokenizer, texts, longest)
    tensors = {name: value.to(network.device) for name, value in padded.items()}
    with torch.inference_mode():
        return sentence_embedding(network.adapter.run(tensors).output, tensors["attention_mask"])


def _given(section: OutcomeSection, given: Mapping[str, Any]) -> Any:
    """The function or outcome that was given from memory under the section's name."""
    thing = given.get(section.name)
    if thing is None:
        raise InputError(
            f"outcome {section.name!r}",
            f"{section.given} was given from memory and lies in no file",
            "Give it again: Study.open(folder, model=..., outcome=...). What is finished can be read without it",
        )
    return thing if hasattr(thing, "names") else CallableOutcome(section.name, thing)


def _generated(section: OutcomeSection, network: AdaptedNetwork, folder: Path, seed: int) -> GeneratedOutcome:
    if network.tokenizer is None:
        raise InputError(
            "tokenizer", "the network has no tokenizer", "Give model.tokenizer, to decode what is generated"
        )
    judge = named_function(str(section.function), "outcome.function", folder)
    stop = None if section.stop is None else _target(section.stop, "outcome.stop", network)
    return GeneratedOutcome(
        section.name,
        judge,
        network.tokenizer.decode,
        section.new_tokens,
        section.replicates,
        section.temperature,
        seed,
        stop,
    )


def _position(section: OutcomeSection, default: Position) -> Position:
    if section.position is None:
        return default
    if isinstance(section.position, str) and section.position not in ("mean", "last"):
        raise InputError(
            f"outcome {section.name!r}, position", f"{section.position!r}", "Use 'last', 'mean' or a number"
        )
    return named_position(section.position)


def _number(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _target(target: int | str | None, key: str, network: AdaptedNetwork) -> int:
    """Id of a token or class given as text or number."""
    config = getattr(network.module, "config", None)
    classes = getattr(config, "id2label", None) if _classifies(network.module) else None
    if isinstance(target, int):
        return _within(target, len(classes) if classes else _vocabulary(network.module), key)
    text = str(target)
    if classes:
        named = {str(label): int(i) for i, label in classes.items()}
        if text not in named:
            fix = near_misses(text, named) or f"Classes: {', '.join(list(named)[:8])}"
            raise InputError(key, f"{text!r} is not a class", fix)
        return named[text]
    if network.tokenizer is None:
        raise InputError(key, f"{text!r}, and the network has no tokenizer", "Give the token's id")
    ids = network.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == network.tokenizer.unk_token_id:
        pieces = network.tokenizer.convert_ids_to_tokens(ids)
        found = "unknown to the tokenizer" if len(ids) == 1 else f"{len(ids)} tokens {pieces}"
        spaced = network.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        one = len(spaced) == 1 and spaced[0] != network.tokenizer.unk_token_id
        fix = f'Write " {text}", which is one token: a new word begins with a space' if one else ""
        raise InputError(
            key,
            f"{text!r} is {found}",
            fix or "Give text that is one token (spaces count), or its id",
        )
    return _within(int(ids[0]), _vocabulary(network.module), key)


def _within(number: int, count: int | None, key: str) -> int:
    """The number of a token or class, if the network has so many; a network of another kind may not tell."""
    if number < 0 or (count is not None and number >= count):
        last = "They count from 0" + ("" if count is None else f" to {count - 1}")
        raise InputError(key, f"{number} of {'unknown' if count is None else count} tokens or classes", last)
    return number


def _vocabulary(module: Any) -> int | None:
    """Number of tokens that a Hugging Face language model gives logits of; None for another network."""
    head = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    return None if head is None else int(head.weight.shape[0])


def _classifies(module: Any) -> bool:
    return type(module).__name__.endswith(("ForSequenceClassification", "ForImageClassification"))
