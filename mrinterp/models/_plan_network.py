"""The network of a study: its adapter, tokenizer and outcomes; and how it is put on the inputs of a design."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._input_checks import check_inputs, check_length
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.adapters._site_address import INPUT
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.core.storage import digest_files
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.models._array_inputs import argument_name, array_inputs, array_noise, network_tensor
from mrinterp.models._cut import CutNetwork
from mrinterp.models._given import GivenObjects, class_name, object_hash
from mrinterp.models._nearest_sites import check_site
from mrinterp.models._plan_adapter import AdaptedNetwork, load_plan_network
from mrinterp.models._plan_features import PlanFeatures, plan_features
from mrinterp.models._plan_outcomes import PER_INPUT, per_input_outcome, plain_outcome, sampling_of
from mrinterp.models._text import tokenize
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import named_position

__all__ = ["StudyNetwork", "open_study_network"]


@dataclass(frozen=True, eq=False)
class StudyNetwork:
    """The network that a plan names, with its outcomes, ready to be put on the inputs of a design."""

    plan: Plan
    folder: Path
    adapted: AdaptedNetwork
    outcomes: tuple[Any, ...]
    """One per section of the plan; None for those that need the inputs (`PER_INPUT`)."""
    sampling: tuple[Sampling | None, ...]
    given: GivenObjects | None = None
    """What was given from memory."""

    @property
    def adapter(self) -> Adapter:
        """The network behind its adapter."""
        return self.adapted.adapter

    @property
    def tokenizer(self) -> Any:
        """The network's tokenizer."""
        return self.adapted.tokenizer

    @cached_property
    def hash(self) -> str:
        """Hash of the weights, and of the files that features and outcomes are read from."""
        features = self.plan.features
        named = {"features.file": features.file, "features.folder": features.folder}
        named |= {f"outcome {o.name!r}, direction": o.direction for o in self.plan.outcome}
        files = {key: self.folder / name for key, name in named.items() if name is not None}
        outcomes = {} if self.given is None else self.given.outcomes
        if not files and not outcomes:
            return self.adapter.hash
        h = hashlib.sha256(self.adapter.hash.encode())
        for _, thing in sorted(outcomes.items()):
            h.update(object_hash(thing).encode())
        for key, path in sorted(files.items()):
            if not path.exists():
                raise InputError(key, f"{path}: no such file", "Give a path relative to the study file")
            h.update(digest_files(path).encode() if path.is_dir() else path.read_bytes())
        return h.hexdigest()

    @property
    def from_memory(self) -> dict[str, Any]:
        """What lies in no file, for the provenance: class and weights of the network, and what outcomes were given."""
        if self.plan.model.given is None or self.given is None:
            return {}
        found: dict[str, Any] = {"model": {"class": self.plan.model.given, "weights": self.adapter.hash}}
        if self.plan.model.tokenizer is None and self.tokenizer is not None:
            found["tokenizer"] = {"class": class_name(type(self.tokenizer))}
        for name, thing in sorted(self.given.outcomes.items()):
            kind = thing if not hasattr(thing, "names") else type(thing)
            found.setdefault("outcomes", {})[name] = {"object": class_name(kind), "hash": object_hash(thing)}
        return found

    @property
    def mask_token(self) -> str | None:
        """What the tokenizer writes for a masked word; None where it has no such token."""
        return None if self.tokenizer is None else self.tokenizer.mask_token

    def one_token_words(self) -> list[str]:
        """Words that are one token each after a space, in the order of their tokens' numbers; no special tokens."""
        if self.tokenizer is None:
            raise InputError(
                "tokenizer", "the network has no tokenizer", "Give model.tokenizer, for its vocabulary"
            )
        special = {*self.tokenizer.all_special_ids, *getattr(self.tokenizer, "added_tokens_decoder", {})}
        texts = (self.tokenizer.decode([i]).strip() for i in range(len(self.tokenizer)) if i not in special)
        words = list(dict.fromkeys(text for text in texts if text.isalpha()))
        coded = self.tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
        single = [(ids[0], word) for word, ids in zip(words, coded, strict=True) if len(ids) == 1]
        return [word for number, word in sorted(single) if number not in special]

    @cached_property
    def embedding_width(self) -> int:
        """Width of the word embedding."""
        site = self.plan.model.embedding
        module = dict(self.adapted.module.named_modules()).get(site)
        weight = getattr(module, "weight", None)
        if weight is not None:
            return int(weight.shape[-1])
        if self.plan.model.kind != "transformer_lens":
            raise InputError(
                f"model.embedding {site!r}", "has no weight", "Give the path of the word embedding module"
            )
        device = self.adapted.device
        trial = {
            n: torch.ones(1, 4, dtype=torch.long, device=device) for n in ("input_ids", "attention_mask")
        }
        with torch.inference_mode():
            return int(self.adapter.run(trial, read=[site]).activations[site].shape[-1])

    @property
    def argument(self) -> str:
        """The network's argument that gets inputs which are no texts."""
        assert self.plan.inputs is not None
        first = self.plan.model.kind == "transformer_lens"
        return argument_name(self.adapter.module, self.plan.inputs, first)

    def noise_places(self, one: Mapping[str, Any]) -> tuple[int, int]:
        """Places and width of the activation that noise is added to, on one input (its array under ``values``)."""
        site = self.plan.model.embedding
        given = {self.argument: network_tensor(self.adapter, np.asarray(one["values"]), self.adapted.device)}
        with torch.inference_mode():
            shape = self.adapter.run(given, read=[site]).activations[site].shape
        if len(shape) not in (2, 3, 4):
            found = f"activation of shape {tuple(shape)} on one input"
            raise InputError(f"model.embedding {site!r}", found, 'Choose another module, or "input"')
        if len(shape) == 4:
            return int(np.prod(shape[2:])), int(shape[1])
        return (1 if len(shape) == 2 else int(shape[1])), int(shape[-1])

    def inputs(self, design: Design) -> ModelInputs:
        """All distinct inputs of a design: texts padded to the plan's length, or arrays."""
        if self.plan.inputs is not None:
            return array_inputs(
                self.adapter,
                self.plan.inputs,
                design,
                self.plan.model.site,
                self.adapted.device,
                self.argument,
            )
        s = design.settings
        return tokenize(
            self.tokenizer,
            design.inputs,
            int(s["padded_length"]),
            s["position_classes"],
            s["slots"],
            s["split_at"],
            self.adapted.device,
        )

    def network(
        self, design: Design, inputs: ModelInputs | None = None, sae: SparseAutoencoder | None = None
    ) -> CutNetwork:
        """The network on a design's inputs.

        Parameters
        ----------
        inputs : ModelInputs, optional
            What `inputs` returned for the design.
        sae : SparseAutoencoder, optional
            Whose latents are the features.

        Raises
        ------
        InputError
            For a position that an input does not have, or a column that an outcome lacks.
        """
        inputs = self.inputs(design) if inputs is None else inputs
        outcomes = [
            per_input_outcome(section, self.adapted, inputs, design.inputs)
            if section.kind in PER_INPUT
            else outcome
            for section, outcome in zip(self.plan.outcome, self.outcomes, strict=True)
        ]
        stated, model = self.plan.features.position, self.plan.model
        # Until it is chosen on discovery, which any position serves for.
        named = "mean" if stated == "auto" else stated
        if inputs.mask is None and named != "mean":
            found = f"{stated!r}, and the site {model.site!r} holds one vector per input"
            raise InputError("features.position", found, "Leave it out")
        position = None if inputs.mask is None else named_position(named, inputs.class_names)
        inputs.at(position)
        noise_at = None
        if self.plan.inputs is not None:
            noise_at = array_noise(design, self.argument, model.embedding, self.adapted.device)
        made = OutcomeSet(outcomes, self.sampling)
        check_inputs(self.adapter, model.site, inputs, made.new_tokens)
        adapter = self.adapter
        if self.plan.features.kind == "transcoder":
            adapter = PairedSites.of(adapter, read_site(self.plan), model.site, inputs.take([0]).tensors)
        return CutNetwork(
            adapter,
            model.site,
            inputs,
            made,
            position,
            model.embedding,
            model.beside,
            sae,
            noise_at=noise_at,
        )

    def plan_features(self, width: int) -> PlanFeatures | None:
        """Features that the plan defines, for a site of this width; None where they are learned."""
        model = self.plan.model
        return plan_features(
            self.plan.features, width, self.adapted, model.embedding, self.folder, model.site
        )


def read_site(plan: Plan) -> str:
    """Where features are read: a transcoder's own site, by default the input of the module that it predicts; else the site
    where they are written too."""
    if plan.features.kind != "transcoder":
        return plan.model.site
    return plan.features.reads or f"{plan.model.site}{INPUT}"


def open_study_network(plan: Plan, folder: Path, given: GivenObjects | None = None) -> StudyNetwork:
    """Load the plan's network, or take the one ``given``, check its sites, and make the outcomes that need no inputs.

    Raises
    ------
    InputError
        For a network that is not there, an unknown site, a padded length beyond the network's positions, or an
        outcome that cannot be made.
    """
    adapted = load_plan_network(plan.model, folder, given)
    on_inputs = plan.inputs is not None and plan.model.embedding == "input"
    sites = (plan.model.site, None if on_inputs else plan.model.embedding, plan.model.beside, read_site(plan))
    for site in dict.fromkeys(sites):
        if site is not None:
            check_site(adapted.adapter, site)
    if plan.inputs is None:
        check_length(
            adapted.adapter.module,
            plan.model.padded_length or 0,
            "model.padded_length",
            "Set it to {most} or less (and shorten longer prompts)",
        )
    kept = None if given is None else given.outcomes
    outcomes = tuple(
        None if section.kind in PER_INPUT else plain_outcome(section, adapted, folder, plan.seed, kept)
        for section in plan.outcome
    )
    sampling = tuple(sampling_of(section, plan.seed, i) for i, section in enumerate(plan.outcome))
    return StudyNetwork(plan, folder, adapted, outcomes, sampling, given)
