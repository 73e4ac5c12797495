"""Every kind of knockout and every design on three small networks of double precision, scans, checks of claims."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

import mrinterp
from mrinterp import diagnostics, effects, knockouts, scan
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._feature_view import ChannelMap
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._site_variation import site_variation
from mrinterp.knockouts._support import check_support
from mrinterp.outcomes import CallableOutcome, Logit, OutcomeSet
from mrinterp.positions import MEAN_OF_TOKENS
from tests.design_networks import Residual, bench_of, inputs
from tests.diagnostics import test_claims as claims
from tests.diagnostics.agreement_cases import estimates_of, knockout_of, truth_of
from tests.knockouts.test_design_contract import ANSWERS, DESIGNS
from tests.linear_stack import LinearStack, stack_bench

KINDS: dict[str, dict[str, Any]] = {
    "contrast": {},
    "contrast, wider": {"low": 0.05, "high": 0.8},
    "shift": {},
    "shift, twice": {"size": 2.0},
    "zero": {},
    "mean": {},
    "resample": {"donors": 2, "seed": 3},
    "clamp": {"quantile": 0.75},
    "clamp, value": {"value": 0.3},
    "scale": {"factor": 0.25},
    "steer": {"amount": 0.7},
}


def _images() -> Bench:
    torch.manual_seed(5)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 2), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(36, 2)
    )
    x = torch.randn(20, 1, 4, 4, dtype=torch.float64)
    return Bench(
        TorchAdapter(net.double().eval()),
        "1",
        ChannelMap(Units([0, 2], 4)),
        ModelInputs({"input": x}, torch.ones(20, 9, dtype=torch.long)),
        Logit(0),
        family=np.arange(20) // 2,
        position=MEAN_OF_TOKENS,
    )


@cache
def _benches() -> dict[str, Bench]:
    world = mrinterp.worlds.gated_world(families=12, per_family=2)
    squared = CallableOutcome("squared", lambda output, mask: output[:, 0] ** 2)
    torch.manual_seed(3)
    stream = Residual(
        [0.4 * torch.randn(5, 5, dtype=torch.float64) for _ in range(2)], [1.0, -0.5, 0.3, 0.0, 2.0]
    )
    return {
        "gated": world.bench(first="units", outcome=OutcomeSet([world.outcome, squared])),
        "words": stack_bench(30, LinearStack(1.5)),
        "images": _images(),
        "stream": bench_of(stream, inputs(4, 36, 5), site="start", families=12),
    }


def _answer(bench: str, design: str) -> Any:
    options = dict(ANSWERS[design])
    features = {"epistasis": ["linear", 2], "minimal_set": ["saturated", 3]}.get(design, [0, 1])
    return DESIGNS[design](_benches()[bench], features=features, **options)


def _support(name: str) -> Any:
    """Two swaps into two features: a value of another prompt, and one far outside."""
    bench, features = _benches()[name], np.array([0, 1])
    own = bench.values.reshape(bench.prompts, -1, bench.features)[:, 0, features].T
    written = np.stack([np.roll(own, 1, axis=1), own + 3.0 * np.abs(own).max()], axis=1)
    return check_support(bench, features, written, site_variation(bench))


def _upstream(**options: Any) -> Any:
    bench = _benches()["stream"]
    corruption = knockouts.Corruption.noise(bench, "start", scale=0.5, seed=2)
    return knockouts.rescue(bench, corruption, features=[0, 1, 2], draws=20, **options)


def _agreement(**options: Any) -> Any:
    truth = truth_of()
    rng = np.random.default_rng(5)
    several = [
        estimates_of(truth + 0.1 * rng.standard_normal(len(truth)), 0.1),
        estimates_of(1.4 * truth + 0.2, 0.05, "ivw"),
    ]
    return diagnostics.agreement(
        several, knockout_of(truth), np.array([0.2]), "ivw", "digest", draws=40, **options
    )


def _panel_checks(world: int) -> Any:
    panel = mrinterp.worlds.linear_world(world).panel
    return {
        "identified": diagnostics.identification_checks(panel, "perturbed", 10),
        "manipulated": diagnostics.manipulation_checks(panel, scan.marginal_scan(panel)),
    }


def _claims() -> dict[str, Callable[[], Any]]:
    made = claims.made
    sizes = [0.5, 0.01, 0.3, -0.06]
    return {
        "verdicts": lambda: {
            str(k): np.array([float(w == v) for w in words.ravel()])
            for k, words in enumerate(
                [
                    effects.claim_verdicts(made(sizes), np.array([claims.ROPE])),
                    effects.claim_verdicts(made(sizes, estimand="local slope"), np.array([claims.ROPE])),
                ]
            )
            for v in ("causal",)
        },
        "answer": claims.answer,
    }


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    found: dict[str, Callable[[], Any]] = {}
    for bench in ("gated", "words", "stream"):
        for kind, options in KINDS.items():
            found[f"{kind}, {bench}"] = lambda b=bench, k=kind, o=options: knockouts.knock_out(  # type: ignore[misc]
                _benches()[b], k.split(",")[0], draws=20, allow_off_support=True, **o
            )
        found[f"levels, {bench}"] = lambda b=bench: knockouts.contrast_levels(_benches()[b])  # type: ignore[misc]
        for design in (
            "against_random",
            "direct_effect",
            "dose_response",
            "faithfulness",
            "rectified_contrast",
            "set_effects",
        ):
            found[f"{design}, {bench}"] = partial(_answer, bench, design)
    for design in (
        "epistasis",
        "specificity",
        "minimal_set",
        "ordered_knockouts",
        "site_experiment",
        "rescue",
    ):
        found[f"{design}, gated"] = partial(_answer, "gated", design)
    for kind in ("contrast", "mean", "resample"):
        found[f"{kind}, images"] = lambda k=kind: knockouts.knock_out(_benches()["images"], k, draws=20)  # type: ignore[misc]
    found["against_random, images"] = partial(_answer, "images", "against_random")
    for bench in ("gated", "words", "stream"):
        found[f"support, {bench}"] = partial(_support, bench)
    found["faithfulness, ordered"] = lambda: knockouts.faithfulness(
        _benches()["gated"], "zero", features=[2, 0, 4, 1, 3], proportions=[0.2, 0.6, 1.0], draws=10
    )
    found["rescue, upstream"] = _upstream
    for world in (0, 3, 8):
        panel = mrinterp.worlds.linear_world(world).panel
        found[f"scan, world {world}"] = partial(scan.marginal_scan, panel)
        found[f"checks, world {world}"] = partial(_panel_checks, world)
    panel = mrinterp.worlds.linear_world(3).panel
    found["scan, CR1"] = partial(scan.marginal_scan, panel, covariance="CR1")
    found["scan, one by one"] = partial(scan.marginal_scan, panel, factorial=False)
    found["summary"] = lambda: scan.marginal_scan(panel).to_mrdata()
    found["agreement"] = _agreement
    found["agreement, by z"] = lambda: _agreement(ranked_by="z")
    return found | _claims()
