"""Do estimators recover known effects? Bias, coverage, type-I error and power under named scenarios.

    python benchmarks/mr_simulations.py --replicates 300

writes ``benchmarks/results/mr_simulations.md``. Any registered summary-level estimator can be named with
``--method`` (repeatable); univariable ones are scored against the same direct effects, which shows what
leaving the other exposures out costs.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.mr.driver import estimate

__all__ = ["DEFAULT_METHODS", "SCENARIOS", "Scenario", "Score", "run", "simulate", "table"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """How one data set is drawn.

    ``correlation`` of the exposures' true effects; ``overlap`` is the correlation of an exposure's error
    with the outcome's (0: two samples); ``se_x`` the error of an exposure effect whose true spread is 1;
    ``balanced`` the deviation of pleiotropy of every instrument, in outcome errors; ``invalid`` the share of
    instruments with a large effect of their own, ``kind`` whether it is directional (one sign once instruments
    are oriented to the first exposure) or correlated (through a confounder that also moves the exposures).
    """

    name: str
    effects: tuple[float, ...] = (0.3, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    instruments: int = 150
    correlation: float = 0.85
    overlap: float = 0.5
    se_x: float = 0.15
    se_y: float = 0.1
    balanced: float = 0.0
    invalid: float = 0.0
    kind: str = "directional"


SCENARIOS = (
    Scenario("two samples", overlap=0.0),
    Scenario("overlap"),
    Scenario("weak instruments", se_x=0.5),
    Scenario("very weak instruments", se_x=0.7),
    Scenario("balanced pleiotropy", balanced=1.5),
    Scenario("directional pleiotropy", invalid=0.1),
    Scenario("correlated pleiotropy", invalid=0.1, kind="correlated"),
    Scenario("global null", effects=(0.0,) * 8),
    Scenario("global null, balanced pleiotropy", effects=(0.0,) * 8, balanced=1.5),
)

DEFAULT_METHODS: dict[str, dict[str, Any]] = {
    "ivw": {},
    "mv_ivw": {},
    "mv_egger": {},
    "mv_median": {"draws": 200},
    "mv_lasso": {},
    "mv_presso": {"draws": 200},
    "mv_ivw_me": {},
    "mv_gmm": {},
    "mv_cml": {"draws": 30, "starts": 3},
    "mrbee": {},
    "srivw": {},
    "grapple": {},
    "mr_bma": {},
    "susie_mv": {},
}
"""Methods of the published table with the options that differ from the defaults."""


def simulate(scenario: Scenario, rng: np.random.Generator) -> tuple[MRData, Array]:
    """One data set with its true direct effects (F,)."""
    theta = np.array(scenario.effects)
    F, J = len(theta), scenario.instruments
    shape = np.full((F, F), scenario.correlation) + (1.0 - scenario.correlation) * np.eye(F)
    beta = np.linalg.cholesky(shape) @ rng.standard_normal((F, J))
    error_corr = np.full((F + 1, F + 1), 0.5) + 0.5 * np.eye(F + 1)
    error_corr[:F, F] = error_corr[F, :F] = scenario.overlap
    size = np.exp(0.2 * rng.standard_normal(J))
    se_x, se_y = np.tile(scenario.se_x * size, (F, 1)), (scenario.se_y * size)[None]
    direct = scenario.balanced * scenario.se_y * rng.standard_normal(J)
    bad = np.flatnonzero(rng.random(J) < scenario.invalid)
    if scenario.kind == "correlated":
        confounder = rng.standard_normal(len(bad))
        beta[:, bad] += confounder
        direct[bad] += 0.7 * confounder
    else:
        direct[bad] += np.sign(beta[0, bad]) * scenario.se_y * (5.0 + np.abs(rng.standard_normal(len(bad))))
    errors = np.linalg.cholesky(error_corr) @ rng.standard_normal((F + 1, J))
    data = MRData(
        beta + se_x * errors[:F],
        se_x,
        (theta @ beta + direct)[None] + se_y * errors[F:],
        se_y,
        tuple(f"x{k + 1}" for k in range(F)),
        ("y",),
        tuple(f"g{j + 1}" for j in range(J)),
        error_corr=error_corr,
    )
    return data, theta


@dataclass(frozen=True)
class Score:
    """What a method did in a scenario: averages over replicates and exposures, nan where there is nothing to average.

    ``bias`` is the median signed error of non-null effects in units of their size (of null ones where all are
    null; the median, because error-corrected estimators have heavy tails when instruments are weak); ``coverage`` of all effects; ``type_one`` the share of null effects whose interval excludes 0;
    ``power`` the share of the others; ``failed`` cells without an estimate.
    """

    method: str
    scenario: str
    replicates: int
    bias: float
    coverage: float
    type_one: float
    power: float
    failed: float
    seconds: float


def _score(name: str, scenario: Scenario, cells: Array, seconds: float) -> Score:
    """``cells`` (replicates, F, 4): estimate, lower, upper, truth."""
    beta, low, high, truth = np.moveaxis(cells, -1, 0)
    ok = np.isfinite(beta) & (np.isfinite(low) | np.isinf(low)) & ~np.isnan(high)
    null = truth == 0
    rejected = (low > 0) | (high < 0)

    def mean(values: Array, where: NDArray[np.bool_]) -> float:
        return float(values[where & ok].mean()) if (where & ok).any() else float("nan")

    size = np.where(null, 1.0, truth)
    shown = ok if null.all() else ok & ~null
    bias = float(
        np.mean(
            [
                np.median(((beta - truth) / size)[:, f][shown[:, f]])
                for f in range(len(truth[0]))
                if shown[:, f].any()
            ]
        )
    )
    covered = ((low <= truth) & (truth <= high)).astype(float)
    return Score(
        name,
        scenario.name,
        len(cells),
        bias,
        mean(covered, np.ones_like(null)),
        mean(rejected.astype(float), null),
        mean(rejected.astype(float), ~null),
        float((~ok).mean()),
        seconds,
    )


def run(
    methods: dict[str, dict[str, Any]], scenarios: tuple[Scenario, ...], replicates: int, seed: int = 0
) -> list[Score]:
    """Score every method in every scenario on the same data sets."""
    out = []
    for number, scenario in enumerate(scenarios):
        cells: dict[str, list[Array]] = {m: [] for m in methods}
        spent = dict.fromkeys(methods, 0.0)
        for replicate in range(replicates):
            data, theta = simulate(scenario, np.random.default_rng([seed, number, replicate]))
            for method, options in methods.items():
                start = time.process_time()
                found = estimate(data, method, **options)
                spent[method] += time.process_time() - start
                assert found.ci_lower is not None
                assert found.ci_upper is not None
                cells[method].append(
                    np.stack([found.beta[:, 0], found.ci_lower[:, 0], found.ci_upper[:, 0], theta], axis=-1)
                )
        out += [_score(m, scenario, np.array(c), spent[m]) for m, c in cells.items()]
    return out


def table(scores: list[Score]) -> str:
    """Markdown: one table per scenario."""
    lines = []
    for name in dict.fromkeys(s.scenario for s in scores):
        rows = [s for s in scores if s.scenario == name]
        n = rows[0].replicates
        error = 1.96 * np.sqrt(0.05 * 0.95 / n)
        lines += [
            f"### {name}",
            "",
            f"{n} data sets; Monte-Carlo error of a rate near .05 below {error:.3f}.",
            "",
        ]
        lines += [
            "| method | relative bias | coverage | type-I error | power | failed | ms |",
            "|---|---|---|---|---|---|---|",
        ]
        for s in rows:
            numbers = [
                f"{v:.3f}" if np.isfinite(v) else ""
                for v in (s.bias, s.coverage, s.type_one, s.power, s.failed)
            ]
            lines.append(f"| {s.method} | {' | '.join(numbers)} | {1000 * s.seconds / n:.1f} |")
        lines.append("")
    return "\n".join(lines)


HEADER = """# Recovery of known effects

Seeded simulations: 8 exposures whose true effects correlate .85, 150 instruments, effects .3, -.2 and six zeros (none
under the global null), errors of exposures and outcome correlated .5 (0 in two samples). Rates are pooled over exposures.
Bias is the median relative error, averaged over the non-null exposures (the median estimate under the global null). Intervals of `mr_bma` and `susie_mv` are posterior
mean +- 1.96 posterior deviations. Univariable methods are scored against the direct effects. Written by
`benchmarks/mr_simulations.py`.

"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--method", action="append", help="a registered estimator (default: the published table's)"
    )
    parser.add_argument("--scenario", action="append", help="a scenario by name (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mr_simulations.md")
    args = parser.parse_args()
    methods = {m: DEFAULT_METHODS.get(m, {}) for m in args.method} if args.method else DEFAULT_METHODS
    scenarios = tuple(s for s in SCENARIOS if not args.scenario or s.name in args.scenario)
    scores = run(methods, scenarios, args.replicates, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(HEADER + table(scores))
    print(table(scores))


if __name__ == "__main__":
    main()
