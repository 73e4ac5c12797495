"""What a thousand features cost: passes of the default and of exhaustive ablation at the same median error.

    python benchmarks/truth/passes.py [--networks 2]

A smooth network (1,000 correlated features through 48 tanh units, a hundred of them with weights that matter) on 160 families of
two prompts; the truth is every feature's contrast on 400 other families. The default: a gradient at every prompt, which is the screen,
and the rectified contrast of the features whose predicted effect exceeds half a region of practical equivalence, on ten families; all
others keep the gradient's prediction. Exhaustive ablation: every feature's contrast on m families; m is chosen such that its median error is
that of the default (at most 160: beyond, the ratio is a bound). Errors in regions of practical equivalence, over all features and over those that
were knocked out. Writes ``benchmarks/results/passes.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.core.shown import counted
from mrinterp.features import Units
from mrinterp.knockouts import Bench, Contrast, contrast_levels, knock_out, rectified_contrast
from mrinterp.knockouts._bench_gradient import predicted_contrast
from mrinterp.outcomes import CallableOutcome
from mrinterp.results._contrast_levels import NATURAL_SD

RESULTS = Path(__file__).parents[1] / "results" / "passes.md"
FEATURES, MATTER, HIDDEN, FAMILIES, OTHERS, PROMPTS = 1000, 100, 48, 160, 400, 2
ROPE_SD = 0.02
SCALES = (0.4, 1.0, 1.6)
"""By which the weights are multiplied: the larger, the less a gradient knows."""


def benches(seed: int, scale: float) -> tuple[Bench, Bench]:
    """The prompts that the methods see, and the others that tell the truth."""
    rng = np.random.default_rng(seed)
    loading = rng.standard_normal((20, FEATURES)) / np.sqrt(20)
    shared = rng.standard_normal((FAMILIES + OTHERS, 20)).repeat(PROMPTS, axis=0)
    own = rng.standard_normal((len(shared), FEATURES))
    x = torch.from_numpy(
        (0.5 * shared + 0.5 * rng.standard_normal(shared.shape)) @ loading + 0.7 * own
    ).float()
    first, out = torch.nn.Linear(FEATURES, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    weight = 0.02 * rng.standard_normal((HIDDEN, FEATURES))
    weight[:, :MATTER] += 0.15 * rng.standard_normal((HIDDEN, MATTER))
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(scale * weight))
        out.weight.copy_(torch.from_numpy(rng.standard_normal((1, HIDDEN))))
    network = (
        torch.nn.Sequential(torch.nn.Identity(), first, torch.nn.Tanh(), out).eval().requires_grad_(False)
    )
    outcome = CallableOutcome("y", lambda output, _mask: output[:, 0])
    family = np.arange(FAMILIES + OTHERS).repeat(PROMPTS)
    view = Units(range(FEATURES), FEATURES, [f"f{k}" for k in range(FEATURES)])
    whole = Bench(
        TorchAdapter(network), "0", view, ModelInputs({"input": x}), outcome, family=family, block=4096
    )
    return whole.subset(np.flatnonzero(family < FAMILIES)), whole.subset(np.flatnonzero(family >= FAMILIES))


def of_network(seed: int, scale: float) -> dict[str, float]:
    """Median errors, passes, and the families with which exhaustive ablation does as well."""
    bench, others = benches(seed, scale)
    contrast = Contrast(levels=contrast_levels(bench))
    region = ROPE_SD * float(bench.clean.std())
    truth = knock_out(others, contrast, seed=seed).mean[:, 0] / NATURAL_SD / region
    predicted = predicted_contrast(bench, contrast).mean(axis=0)[:, 0] / NATURAL_SD / region
    chosen = np.flatnonzero(np.abs(predicted) > 0.5)
    made = rectified_contrast(bench, contrast, chosen.tolist(), families=10, prompts=PROMPTS, seed=seed)
    effect = predicted.copy()
    effect[chosen] = made.beta[:, 0] / region
    spent = sum(made.meta["passes"].values())
    everything = knock_out(bench, contrast, seed=seed)
    change = everything.change_by_input[..., 0]
    found = {"rho": float(np.median(made.details["rho"])), "knocked out": len(chosen), "passes": spent}
    order = np.random.default_rng([seed, 1]).permutation(FAMILIES)
    for what, which in (("all", np.arange(FEATURES)), ("knocked", chosen)):
        error = float(np.median(np.abs(effect - truth)[which]))
        families = FAMILIES
        for m in range(1, FAMILIES + 1):
            rows = np.isin(bench.family, order[:m])
            alone = change[:, rows].mean(axis=1) / NATURAL_SD / region
            if np.median(np.abs(alone - truth)[which]) <= error:
                families = m
                break
        exhaustive = families * PROMPTS * (1 + 2 * FEATURES)
        found |= {
            f"error, {what}": error,
            f"families, {what}": families,
            f"ratio, {what}": exhaustive / spent,
        }
    return found


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    names: list[str] = []
    lines = []
    for scale in SCALES:
        rows = [of_network(seed, scale) for seed in counted(range(given.networks), "networks", "network")]
        names = list(rows[0])
        lines.append(
            f"| {scale} | " + " | ".join(f"{np.mean([r[n] for r in rows]):,.3g}" for n in names) + " |"
        )
    head = [
        "# Passes at a thousand features",
        "",
        f"`python benchmarks/truth/passes.py --networks {given.networks}`: means over networks. Errors in regions of practical equivalence;",
        "families: with so many exhaustive ablation has the same median error (160 are all there are: the ratio is then a bound, and the",
        "default less right than all there is to know). Ratio: passes of exhaustive ablation over the default's.",
        "",
        "| weights times | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    lines = head + lines
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
