"""A bench of objects in memory: texts, a matrix, an autoencoder, two tokens, as `Study.from_model` takes them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from mrinterp.adapters._hugging_face import torch_device
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._site_address import INPUT
from mrinterp.core.checks import checked_choice, checked_seed, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.plan_inputs import InputsSection
from mrinterp.core.plan_model import FeaturesSection
from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.features._dictionary_view import dictionary_view
from mrinterp.features._directions import Directions
from mrinterp.features._latents import Latents
from mrinterp.features._sae_folder import read_sae, read_transcoder
from mrinterp.features._train_sae import train_topk_sae
from mrinterp.features._transcoder import TranscoderView
from mrinterp.features._transcoder_weights import Transcoder
from mrinterp.instruments.given_prompts import written_inputs, written_prompts
from mrinterp.instruments.input_files import read_inputs
from mrinterp.instruments.prompt_table import read_prompts
from mrinterp.instruments.templates import check_fillers, read_templates
from mrinterp.models._array_inputs import argument_name, array_inputs
from mrinterp.models._cut import CutNetwork
from mrinterp.models._given import network_facts
from mrinterp.models._given_features import features_section, outcome_sections
from mrinterp.models._plan_adapter import AdaptedNetwork
from mrinterp.models._plan_features import plan_features
from mrinterp.models._plan_outcomes import PER_INPUT, per_input_outcome, plain_outcome, sampling_of
from mrinterp.models._text import CONTINUATION, tokenize
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import Position, named_position
from mrinterp.scan._dictionary import leading_dictionary, learn_dictionary

__all__ = ["FromModel"]

DRAWN = 4
"""Prompts that are drawn of a template, where ``per_family`` does not say it."""


class FromModel:
    """What a bench can be made of, beside adapters, views and inputs."""

    @classmethod
    def from_model(
        cls,
        model: Any,
        tokenizer: Any,
        prompts: Any,
        *,
        site: str,
        features: Any,
        outcome: Any,
        position: Position | int | str = "mean",
        families: str = "auto",
        padded_length: int | None = None,
        block: int = 64,
        seed: int = 0,
        folder: Path | None = None,
    ) -> Self:
        """A bench of objects in memory, given as `Study.from_model` takes them.

        Parameters
        ----------
        model : Hugging Face, TransformerLens or nnsight network, or any torch.nn.Module
            In evaluation mode. It is neither moved nor changed.
        tokenizer : tokenizer with character offsets
            None takes the network's own (TransformerLens).
        prompts : list of str, DataFrame, path, array, or dict
            As in `Study.from_model`; of every template, 4 prompts (or ``per_family``) are drawn.
        site : str
            Where features are read and written.
        features : array (F, width), list of int, SAE, view, str or dict
            As in `Study.from_model`; any view and any object with encode and decode.
        outcome : tuple, callable, Outcome, str or dict, or a list of them
            As in `Study.from_model`.
        position : Position, int or str
            The tokens that features are read and written at; a name such as ``"last"``, or of a slot.
        families : {"auto", "each"}
            What makes families, the cluster of all errors, where no column names them.
        padded_length : int, optional
            Tokens that every prompt is padded to; default the longest.
        block : int
            Runs per forward pass.
        seed : int
            Of what is drawn or learned.
        folder : Path, optional
            Where finished shards of long sweeps are kept.

        Returns
        -------
        Bench

        Raises
        ------
        InputError
            For what cannot be used, as in `Study.from_model`.

        Notes
        -----
        Features that are learned (components, leading coordinates, an autoencoder) are learned from these prompts' own
        activations, never from outcomes. Not valid as a study: nothing is held out, and what is knocked out after looking
        is exploratory.

        Examples
        --------
        >>> from mrinterp import Bench, InputError
        >>> try:
        ...     Bench.from_model(None, None, ["a text"], site="h.0", features=[3], outcome=(" he", " she"))
        ... except InputError as error:
        ...     print(error)
        model: NoneType object. Give a Hugging Face, TransformerLens or nnsight network, or any torch.nn.Module
        """
        checked_type(site, "site", str, "the path of a module, or a hook point")
        facts, seed = network_facts(model), checked_seed(seed)
        facts.adapter.check(site)
        checked_choice(families, "families", ("auto", "each"))
        words = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
        network = AdaptedNetwork(facts.adapter, words, torch_device(facts.device))
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            arrays = written_inputs(prompts, place, {})
            if arrays is None:
                texts = _texts(prompts, place, families, seed)
                inputs, frame = _inputs(network, texts, padded_length), texts.frame
            else:
                inputs, frame = _arrays(network, arrays, place, site, facts.kind)
            outcomes = _outcomes(outcome, place, network, inputs, frame, seed)
            where = _position(position, inputs)
            cut = CutNetwork(facts.adapter, site, inputs, outcomes, where)
            view = _view(features, place, network, cut, facts.embedding or "", block, seed)
        return cls(  # type: ignore[call-arg]
            facts.adapter,
            site,
            view,
            inputs,
            outcomes,
            position=where,
            family=frame["family"].to_numpy(),
            block=block,
            folder=folder,
        )


@dataclass(frozen=True)
class _Texts:
    """Prompts (``text, family`` and what outcomes compare with), and the slots whose characters they name."""

    frame: pd.DataFrame
    slots: tuple[str, ...] = ()


def _texts(prompts: Any, place: Path, families: str, seed: int) -> _Texts:
    asked = {} if families == "auto" else {"families": families}
    section, _ = written_prompts(prompts, place, asked)
    if "table" in section:
        file = place / Path(section["table"]).name
        table = read_prompts(file, section.get("columns"), section.get("families", "auto")).frame
        return _Texts(table.rename(columns={"prompt": "text"}))
    fillers = {slot: tuple(words) for slot, words in section["fillers"].items()}
    check_fillers(fillers)
    rng, rows = np.random.default_rng([seed, 41]), []
    for template in read_templates(place / "templates.txt", list(fillers)):
        for _ in range(int(section.get("per_family", DRAWN))):
            chosen = {slot: words[int(rng.integers(len(words)))] for slot, words in fillers.items()}
            text, spans = template.fill(chosen)
            row: dict[str, Any] = {"text": text, "family": f"t{template.line:03d}"}
            for slot, (start, end) in spans.items():
                row |= {f"{slot}_start": start, f"{slot}_end": end}
            rows.append(row)
    return _Texts(pd.DataFrame(rows).drop_duplicates("text", ignore_index=True), tuple(fillers))


def _inputs(network: AdaptedNetwork, texts: _Texts, length: int | None) -> ModelInputs:
    frame, slots = texts.frame, list(texts.slots)
    classes = ["first", "last", *slots, "rest", *([CONTINUATION] if CONTINUATION in frame else [])]
    if length is None and network.tokenizer is not None:
        after = frame.get(CONTINUATION, pd.Series("", index=frame.index))
        length = max(len(ids) for ids in network.tokenizer((frame["text"] + after).tolist())["input_ids"])
    return tokenize(network.tokenizer, frame, length or 1, classes, slots, None, network.device)


def _arrays(
    network: AdaptedNetwork, arrays: dict[str, Any], place: Path, site: str, kind: str
) -> tuple[ModelInputs, pd.DataFrame]:
    """Inputs that are no texts, with their families (each its own, where none are given) and labels."""
    arrays = arrays if "family" in arrays else {**arrays, "families": "each"}
    section = _validated(InputsSection, arrays, "prompts")
    given = read_inputs(section, place.parent)
    argument = argument_name(network.module, section, kind == "transformer_lens")
    rows = pd.DataFrame({"array_row": np.arange(len(given)), "family": given.family})
    values: dict[str, Any] = {"values": given.values}
    if given.own is not None:
        values |= {"own": given.own, "classes": np.where(given.own, 0, -1)}
    design: Any = SimpleNamespace(inputs=rows, arrays=values, settings={"position_classes": ["token"]})
    inputs = array_inputs(network.adapter, section, design, site, network.device, argument)
    return inputs, rows if given.label is None else rows.assign(label=given.label.astype(str))


def _position(position: Position | int | str, inputs: ModelInputs) -> Position | None:
    """The tokens that are read and written; None where inputs have none."""
    if isinstance(position, Position):
        return position
    return None if inputs.mask is None else named_position(position, inputs.class_names)


def _outcomes(
    outcome: Any, place: Path, network: AdaptedNetwork, inputs: ModelInputs, table: pd.DataFrame, seed: int
) -> OutcomeSet:
    sections, given = outcome_sections(outcome, place)
    table = table.assign(clean=np.arange(len(table)))
    parts, sampling = [], []
    for number, raw in enumerate(sections):
        section = _validated(OutcomeSection, raw, "outcome")
        if section.kind in PER_INPUT:
            parts.append(per_input_outcome(section, network, inputs, table))
        else:
            parts.append(plain_outcome(section, network, place.parent, seed, given))
        sampling.append(sampling_of(section, seed, number))
    return OutcomeSet(parts, sampling)


def _view(
    features: Any,
    place: Path,
    network: AdaptedNetwork,
    cut: CutNetwork,
    embedding: str,
    block: int,
    seed: int,
) -> Any:
    """The view that was given; or one of the directions, units or latents that were given or are learned."""
    if all(hasattr(features, name) for name in ("names", "read", "write")):
        return features
    options = dict(features) if isinstance(features, Mapping) else {}
    if "transcoder" in options or isinstance(features, Transcoder):
        return _transcoder(features, options, cut.site)
    sae = options.get("sae", features)
    if callable(getattr(sae, "encode", None)) and callable(getattr(sae, "decode", None)):
        return Latents(sae, cut.width, options.get("latents"))
    section = _validated(FeaturesSection, features_section(features, place, cut.site), "features")
    if section.kind == "sae":
        return Latents(read_sae(place.parent / str(section.folder), cut.width), cut.width, section.latents)
    if section.kind == "transcoder":
        stored = read_transcoder(place.parent / str(section.folder))
        return _transcoder(stored, {"reads": section.reads, "latents": section.latents}, cut.site)
    if section.kind == "train_sae":
        train = section.train
        tokens = torch.cat(
            [cut.token_activations(rows).float().cpu() for rows in _blocks(cut, block)]
        ).clone()
        trained = train_topk_sae(
            tokens, train.latents, train.k, steps=train.steps, batch=train.batch, rate=train.rate, seed=seed
        )
        return Latents(trained.sae, cut.width, section.latents)
    given = plan_features(section, cut.width, network, embedding, place.parent, cut.site)
    if given is not None and not given.leading:
        return Directions(given.read, given.write, names=given.names)
    means = np.concatenate([cut.run(rows).mean for rows in _blocks(cut, block)])
    if given is None:
        return dictionary_view(learn_dictionary(means, section.kind, section.count, seed, cut.site))
    return dictionary_view(leading_dictionary(given.names, given.wholes.values(), means, given.leading))


def _transcoder(features: Any, options: Mapping[str, Any], site: str) -> TranscoderView:
    """A transcoder (any object with encode and decode) that writes at ``site``; it reads that module's input by default."""
    given = options.get("transcoder", features)
    chosen = options.get("latents")
    if chosen is None:
        if not isinstance(given, Transcoder):
            found = f"a {type(given).__name__} without numbers of latents"
            raise InputError("features.latents", found, "Add latents = [...]")
        chosen = range(given.latents)
    return TranscoderView(given, options.get("reads") or f"{site}{INPUT}", site, tuple(map(int, chosen)))


def _blocks(cut: CutNetwork, block: int) -> list[NDArray[np.int_]]:
    count = len(cut.inputs)
    return [np.arange(a, min(a + block, count)) for a in range(0, count, block)]


def _validated(section: Any, raw: Mapping[str, Any], place: str) -> Any:
    """A section of a study file, checked as there."""
    try:
        return section.model_validate(dict(raw))
    except ValidationError as e:
        first = e.errors()[0]
        reason = first.get("ctx", {}).get("error")
        key = ".".join(map(str, (place, *first["loc"])))
        if isinstance(reason, InputError):
            raise InputError(f"{key}.{reason.where}", reason.found, reason.fix) from None
        raise InputError(key, first["msg"], "Give what a study file takes there") from None
