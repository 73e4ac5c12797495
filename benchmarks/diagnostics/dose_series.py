"""Is a response in proportion to the dose? False alarms and power of `dose_series_checks`.

    python benchmarks/diagnostics/dose_series.py [--worlds 120]

Panels of 2 prompts a family and 2 draws of noise a prompt, each at levels .5, 1 and 2, up and down; 16 features are sums of 24
doses and a prompt's own state, and so is what the outcome responds to. Of responses that are in proportion: the share of panels in
which the outcome's check fails, in which that of the features does, and how often the test alone (without *larger than a tenth*)
is beyond .05. Of responses that are not: the share that is found. Writes benchmarks/results/diagnostics_dose_series.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import mrinterp
from mrinterp.diagnostics import dose_series_checks
from mrinterp.results import Check

RESULTS = Path(__file__).parents[1] / "results"
LEVELS = (0.5, 1.0, 2.0, -0.5, -1.0, -2.0)
DRAWS, PROMPTS, DOSES, FEATURES = 2, 2, 24, 16
Array = NDArray[np.float64]

RESPONSES: dict[str, tuple[bool, Callable[[Array], Array]]] = {
    "in proportion": (True, lambda x: x),
    "tanh, a tenth of natural size": (False, lambda x: np.tanh(0.1 * x) / 0.1),
    "tanh, half of natural size": (False, lambda x: np.tanh(0.5 * x) / 0.5),
    "tanh, natural size": (False, np.tanh),
    "threshold (ReLU)": (False, lambda x: np.maximum(x, 0.0)),
    "quadratic, .1": (False, lambda x: x + 0.1 * x**2),
    "quadratic, .5": (False, lambda x: x + 0.5 * x**2),
    "even, sign by prompt": (False, lambda x: x + 0.5 * x**2 * np.sign(np.sin(37.0 * x[:, :1].mean()))),
}
ERRORS = {"none (a network)": 0.0, ".3 sd a run": 0.3, "1 sd a run": 1.0}
"""Errors of every run, the clean one too: outcomes that are drawn."""


def panel(
    seed: int, families: int, response: Callable[[Array], Array], error: float, uneven: bool
) -> mrinterp.core.panel.Panel:
    """One simulated study; ``uneven``: slopes differ between families, with heavy tails."""
    rng = np.random.default_rng(seed)
    P, L = families * PROMPTS, len(LEVELS)
    drawn = rng.standard_normal((P, DRAWS, 1, DOSES)) * np.array(LEVELS)[:, None]
    doses = np.concatenate([np.zeros((P, 1, DOSES)), drawn.reshape(P, DRAWS * L, DOSES)], axis=1)
    mixed = doses @ rng.standard_normal((DOSES, FEATURES + 1)) / np.sqrt(DOSES)
    slope = np.repeat(rng.standard_t(4, families) if uneven else np.ones(families), PROMPTS)[:, None]
    state = rng.standard_normal((P, 1, FEATURES + 1)) * 0.5
    y = np.stack([slope[p] * (response(mixed[p, :, -1:] + state[p, :, -1:])[:, 0]) for p in range(P)])
    y = y + error * rng.standard_normal(y.shape)
    N = y.size
    return mrinterp.from_arrays(
        doses=doses.reshape(N, DOSES),
        features=(mixed + state)[..., :-1].reshape(N, FEATURES) + error * rng.standard_normal((N, FEATURES)),
        outcomes=y.reshape(N, 1),
        prompt=np.repeat(np.arange(P), 1 + DRAWS * L),
        family=np.repeat(np.arange(P) // PROMPTS, 1 + DRAWS * L),
        kind=np.tile(["clean"] + ["noise"] * DRAWS * L, P),
        clean=np.tile([True] + [False] * DRAWS * L, P),
    )


def measured(worlds: int) -> pd.DataFrame:
    """One row per response, error, number of families and evenness of slopes."""
    rows = []
    for name, (straight, response) in RESPONSES.items():
        for error_name, error in ERRORS.items():
            for families in (20, 40, 100):
                for uneven in (False, True):
                    count = worlds if straight else max(worlds // 4, 20)
                    if not straight and (uneven or families == 100):
                        continue
                    found = [
                        dose_series_checks(panel(seed, families, response, error, uneven), LEVELS)
                        for seed in range(count)
                    ]
                    own = [c for _, c in found if isinstance(c, Check)]
                    rows.append(
                        {
                            "response": name,
                            "error": error_name,
                            "families": families,
                            "slopes": "unequal" if uneven else "equal",
                            "panels": count,
                            "outcome fails": np.mean([c.verdict == "failed" for c in own]),
                            "features fail": np.mean(
                                [c.verdict == "failed" for c, _ in found if isinstance(c, Check)]
                            ),
                            "test alone": np.mean([c.neglog10p > -np.log10(0.05) for c in own]),
                        }
                    )
    return pd.DataFrame(rows)


def page(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    lines = [
        "# Is a response in proportion to the dose? False alarms and power",
        "",
        "`python benchmarks/diagnostics/dose_series.py`. Shares of panels; levels .5, 1 and 2, up and down, 2 draws a prompt, 2 prompts",
        "a family, tested at .05. *Test alone*: beyond .05, however small. The features are in proportion to the dose in all panels.",
        "",
        "| response of the outcome | error of a run | families | slopes of families | panels | outcome fails | features fail | test alone |",
        "|" + "---|" * 8,
    ]
    for r in table.to_dict("records"):
        shares = " | ".join(f"{r[k]:.3f}" for k in ("outcome fails", "features fail", "test alone"))
        lines.append(
            f"| {r['response']} | {r['error']} | {r['families']} | {r['slopes']} | {r['panels']} | {shares} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=120)
    table = measured(parser.parse_args().worlds)
    RESULTS.joinpath("diagnostics_dose_series.md").write_text(page(table), encoding="utf-8")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
