"""Open the network that a plan names: adapter, tokenizer, outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.models.cut import CutNetwork
from mrinterp.models.outcomes import AnchorProjection, Sampling, sentence_embedding
from mrinterp.models.pretrained import load_encoder, locate_model
from mrinterp.models.text import TokenArrays, tokenize
from mrinterp.models.torch_module import TorchAdapter

__all__ = ["OpenNetwork", "open_network"]


@dataclass(frozen=True, eq=False)
class OpenNetwork:
    """A network ready to be scanned, and what is needed to feed it."""

    network: CutNetwork
    tokenizer: Any
    hash: str

    def tokens(self, design: Design) -> TokenArrays:
        """All distinct inputs of a design, padded to the plan's length."""
        s = design.settings
        return tokenize(
            self.tokenizer,
            design.inputs,
            int(s["padded_length"]),
            s["position_classes"],
            s["slots"],
            s["split_at"],
        )


def open_network(plan: Plan, folder: Path) -> OpenNetwork:
    """Load the plan's network, hook its site, and embed the outcome's anchors.

    Raises
    ------
    InputError
        For a network that is not there, an unknown site, or anchors that cancel.
    """
    module, tokenizer = load_encoder(locate_model(plan.model.package, plan.model.folder, folder))
    adapter = TorchAdapter(module)
    for site in (plan.model.site, plan.model.embedding):
        adapter.submodule(site)
    positive = _embed(adapter, tokenizer, plan.outcome.positive)
    negative = _embed(adapter, tokenizer, plan.outcome.negative) if plan.outcome.negative else None
    outcome = AnchorProjection(plan.outcome.name, positive, negative)
    network = CutNetwork(adapter, plan.model.site, plan.model.embedding, outcome, _sampling(plan))
    return OpenNetwork(network, tokenizer, adapter.hash)


def _sampling(plan: Plan) -> Sampling | None:
    o = plan.outcome
    if o.sampling == "none":
        if o.replicates > 1:
            raise InputError(
                "outcome.replicates",
                f"{o.replicates} draws of an outcome that is not sampled",
                "Set outcome.sampling to normal or bernoulli, or replicates to 1",
            )
        return None
    if o.noise <= 0:
        raise InputError("outcome.noise", f"{o.noise:g}", "A sampled outcome needs a positive noise")
    return Sampling(o.sampling, o.replicates, o.noise, o.midpoint, plan.seed)


def _embed(adapter: TorchAdapter, tokenizer: Any, texts: tuple[str, ...]) -> torch.Tensor:
    coded = tokenizer(list(texts), padding=True, return_tensors="np")
    ids = torch.from_numpy(np.asarray(coded["input_ids"], dtype=np.int64))
    mask = torch.from_numpy(np.asarray(coded["attention_mask"], dtype=np.int64))
    with torch.inference_mode():
        return sentence_embedding(adapter.run({"input_ids": ids, "attention_mask": mask}).output, mask)
