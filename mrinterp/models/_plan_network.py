"""The network of a study: its adapter, tokenizer and outcomes; and how it is put on the inputs of a design."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._input_checks import check_inputs, check_length
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.core.storage import digest_files
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.models._cut import CutNetwork
from mrinterp.models._given import GivenObjects, class_name, object_hash
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

    def inputs(self, design: Design) -> ModelInputs:
        """All distinct inputs of a design, padded to the plan's length."""
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
        stated = self.plan.features.position
        # Until it is chosen on discovery, which any position serves for.
        position = named_position("mean" if stated == "auto" else stated, inputs.class_names)
        inputs.at(position)
        model = self.plan.model
        made = OutcomeSet(outcomes, self.sampling)
        check_inputs(self.adapter, model.site, inputs, made.new_tokens)
        return CutNetwork(
            self.adapter,
            model.site,
            inputs,
            made,
            position,
            model.embedding,
            model.beside,
            sae,
        )

    def plan_features(self, width: int) -> PlanFeatures | None:
        """Features that the plan defines, for a site of this width; None where they are learned."""
        model = self.plan.model
        return plan_features(
            self.plan.features, width, self.adapted, model.embedding, self.folder, model.site
        )


def open_study_network(plan: Plan, folder: Path, given: GivenObjects | None = None) -> StudyNetwork:
    """Load the plan's network, or take the one ``given``, check its sites, and make the outcomes that need no inputs.

    Raises
    ------
    InputError
        For a network that is not there, an unknown site, a padded length beyond the network's positions, or an
        outcome that cannot be made.
    """
    adapted = load_plan_network(plan.model, folder, given)
    for site in (plan.model.site, plan.model.embedding, plan.model.beside):
        if site is not None:
            adapted.adapter.check(site)
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
