"""Do estimators recover known effects? Bias, coverage, type-I error and power under named scenarios.

    python benchmarks/mr_simulations.py

writes ``benchmarks/results/mr_simulations.md``: every registered estimator, summary-level and
run-level ones, on the simulators of `mrinterp.worlds`. About eight minutes with one thread; ``--replicates`` scales it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.default_method import default_method
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.registry import find, registered
from mrinterp.results._estimates import Estimates
from mrinterp.worlds._run_worlds import RUNS, RunScenario, simulate_runs
from mrinterp.worlds._summary_worlds import JOINT, SINGLE, Scenario, simulate

__all__ = ["Score", "level_tables", "run", "run_defaults", "run_panels", "small_samples"]

Array = NDArray[np.float64]
Options = Mapping[str, dict[str, Any]]

OPTIONS: dict[str, dict[str, Any]] = {
    "cml": {"n": 50_000},
    "mv_median": {"draws": 200},
    "mv_presso": {"draws": 200},
    "mv_cml": {"draws": 20, "starts": 3},
}
"""What differs from the defaults, for speed or because the method needs it."""

SHARE = {
    "mv_cml": 0.15, "pc_gmm": 0.15, "anderson_rubin_set": 0.08, "lm_set": 0.08, "clr_set": 0.08,
    "mv_median": 0.4, "lasso": 0.5, "grapple": 0.7, "mv_robust": 0.7,
}  # fmt: skip
"""Share of the data sets that slow methods see."""


@dataclass(frozen=True)
class Score:
    """What a method did in a scenario, pooled over exposures, with Monte-Carlo errors from between data sets.

    ``bias`` is the median signed error of non-null effects in units of their size (of null ones where all
    are null; the median, because error-corrected estimators have heavy tails when instruments are weak);
    ``coverage`` of all effects; ``type_one`` the share of null effects that are called; ``power`` the share of the
    others; ``failed`` cells without an estimate. Pairs are (value, Monte-Carlo error).
    """

    method: str
    scenario: str
    replicates: int
    bias: float
    coverage: float
    type_one: float
    power: float
    failed: float
    error: dict[str, float]
    seconds: float


def _cells(found: Estimates, truth: Array) -> Array:
    """(cells, 5): estimate, lower, upper, called, truth. An empty set covers nothing and calls everything."""
    low, high = np.asarray(found.ci_lower, float).copy(), np.asarray(found.ci_upper, float).copy()
    called = ((low > 0) | (high < 0)).astype(float)
    if "pieces" in found.details:
        empty = (found.details["pieces"] == 0) & np.isfinite(found.beta)
        low[empty], high[empty], called[empty] = np.inf, -np.inf, 1.0
    return np.stack(
        [a.ravel() for a in (found.beta, low, high, called, np.broadcast_to(truth, low.shape))], 1
    )


def _rate(values: Array, where: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean over data sets of the share within each, and its Monte-Carlo error."""
    count = where.sum(axis=1)
    share = np.where(where, values, 0.0).sum(axis=1)[count > 0] / count[count > 0]
    if not len(share):
        return float("nan"), float("nan")
    error = share.std(ddof=1) / np.sqrt(len(share)) if len(share) > 1 else np.nan
    return float(share.mean()), float(error)


def _score(name: str, scenario: str, cells: Array, seconds: float) -> Score:
    """``cells`` (replicates, cells, 5) as `_cells` has them."""
    beta, low, high, called, truth = np.moveaxis(cells, -1, 0)
    ok = np.isfinite(beta) & ~np.isnan(low) & ~np.isnan(high)
    null = truth == 0
    shown = ok if null.all() else ok & ~null
    wrong = np.where(shown, (beta - truth) / np.where(null, 1.0, truth), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a cell that never had an estimate
        median = np.nanmedian(wrong, axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(wrong - median), axis=0)
        bias, bias_error = np.nanmean(median), 1.2533 * np.nanmean(spread) / np.sqrt(len(cells))
    coverage = _rate(((low <= truth) & (truth <= high)).astype(float), ok)
    type_one, power = _rate(called, ok & null), _rate(called, ok & ~null)
    errors = {"bias": float(bias_error), "coverage": coverage[1], "type_one": type_one[1], "power": power[1]}
    failed = float((~ok).mean())
    return Score(
        name, scenario, len(cells), float(bias), coverage[0], type_one[0], power[0], failed, errors, seconds
    )


def _scored(
    draw: Callable[[int], tuple[Any, Array]],
    fits: Mapping[str, tuple[Callable[[Any], Estimates], int]],
    scenario: str,
    replicates: int,
) -> list[Score]:
    """Every method, by its name, on the same data sets: (fit, how many of them it sees)."""
    cells: dict[str, list[Array]] = {m: [] for m in fits}
    spent = dict.fromkeys(fits, 0.0)
    for replicate in range(replicates):
        data, truth = draw(replicate)
        for method, (fit, most) in fits.items():
            if replicate < most:
                start = time.process_time()
                cells[method].append(_cells(fit(data), truth))
                spent[method] += time.process_time() - start
    return [_score(m, scenario, np.array(c), spent[m] / len(c)) for m, c in cells.items()]


def _with_ld(data: MRData, method: str) -> MRData:
    """Methods that cannot do without the instruments' correlation get the identity where there is none."""
    required = find(method).options.get("ld", 0) is not None and "ld" in find(method).options
    return replace(data, ld=np.eye(data.shape[2])) if required and data.ld is None else data


def run(
    methods: Options, scenarios: Sequence[Scenario], replicates: int, seed: int = 0, share: bool = False
) -> list[Score]:
    """Score summary-level methods in every scenario on the same data sets."""
    out = []
    for number, scenario in enumerate(scenarios):

        def draw(r: int, scenario: Scenario = scenario, number: int = number) -> tuple[MRData, Array]:
            return simulate(scenario, np.random.default_rng([seed, number, r]))

        fits = {}
        for m, options in methods.items():
            most = max(int(replicates * SHARE.get(m, 1.0)), 2) if share else replicates
            fits[m] = (lambda d, m=m, o=options: estimate(_with_ld(d, m), m, **o), most)
        out += _scored(draw, fits, scenario.name, replicates)
    return out


def run_defaults(design: str, scenarios: Sequence[Scenario], replicates: int, seed: int = 1) -> list[Score]:
    """The default multivariable estimator of a design in every scenario."""

    def fit(data: MRData) -> Estimates:
        name, options = default_method(data)
        return estimate(data, name, **options)

    out = []
    for number, scenario in enumerate(scenarios):

        def draw(r: int, scenario: Scenario = scenario, number: int = number) -> tuple[MRData, Array]:
            return simulate(replace(scenario, design=design), np.random.default_rng([seed, number, r]))

        name, options = default_method(draw(0)[0])
        words = ", ".join(f"{k} {v}" for k, v in options.items())
        label = f"{design}: {name}{f' ({words})' if words else ''}"
        out += _scored(draw, {label: (fit, replicates)}, scenario.name, replicates)
    return out


def run_panels(
    methods: Iterable[str], scenarios: Sequence[RunScenario], replicates: int, seed: int = 2
) -> list[Score]:
    """Score run-level methods in every scenario on the same panels."""
    fits = {m: (find(m).kernel, replicates) for m in methods}
    out = []
    for number, scenario in enumerate(scenarios):

        def draw(r: int, scenario: RunScenario = scenario, number: int = number) -> tuple[Any, Array]:
            return simulate_runs(scenario, np.random.default_rng([seed, number, r]))

        out += _scored(draw, fits, scenario.name, replicates)
    return out


SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "ivw": ("ivw", {}),
    "egger": ("egger", {}),
    "robust_ivw": ("robust_ivw", {}),
    "robust_ivw, published errors": ("robust_ivw", {"errors": "influence", "distribution": "normal"}),
    "robust_egger": ("robust_egger", {}),
    "robust_egger, published errors": ("robust_egger", {"errors": "influence", "distribution": "normal"}),
    "hetpen": ("hetpen", {}),
}


def small_samples(replicates: int, counts: tuple[int, ...] = (10, 20, 40), seed: int = 3) -> list[Score]:
    """Type-I error with few instruments: all valid, or a fifth of them outliers."""
    out = []
    for number, (count, outliers) in enumerate((c, o) for o in (False, True) for c in counts):

        def draw(
            r: int, count: int = count, outliers: bool = outliers, number: int = number
        ) -> tuple[MRData, Array]:
            rng = np.random.default_rng([seed, number, r])
            x, se_y = 0.1 * rng.standard_normal((1, count)), rng.uniform(0.01, 0.02, (1, count))
            far = outliers * (rng.random((1, count)) < 0.2) * rng.choice([-1, 1], (1, count))
            y = se_y * (rng.standard_normal((1, count)) + far * rng.uniform(4, 8, (1, count)))
            se_x = np.full((1, count), 0.01)
            names = tuple(f"g{j}" for j in range(count))
            beta_x = x + se_x * rng.standard_normal((1, count))
            return MRData(
                beta_x=beta_x,
                se_x=se_x,
                beta_y=y,
                se_y=se_y,
                exposures=("x",),
                outcomes=("y",),
                instruments=names,
            ), np.zeros((1, 1))

        fits = {
            label: (lambda d, m=m, o=o: estimate(d, m, **o), replicates) for label, (m, o) in SMALL.items()
        }
        out += _scored(draw, fits, f"{count}{', outliers' if outliers else ' valid'}", replicates)
    return out


MEASURES = {
    "type_one": "Type-I error",
    "coverage": "Coverage of 95% intervals",
    "bias": "Relative bias",
    "power": "Power",
}


def _off(measure: str, score: Score) -> bool:
    """Whether a rate misses its level by more than two Monte-Carlo errors."""
    value, error = getattr(score, measure), score.error[measure]
    if measure == "type_one":
        return bool(value > 0.05 + 2 * max(error, 0.002))
    return bool(measure == "coverage" and value < 0.95 - 2 * max(error, 0.002))


def level_tables(scores: list[Score], measures: Sequence[str] = tuple(MEASURES)) -> str:
    """Markdown: one table per measure, methods by scenarios, Monte-Carlo errors in small print."""
    methods, scenarios = dict.fromkeys(s.method for s in scores), dict.fromkeys(s.scenario for s in scores)
    found = {(s.method, s.scenario): s for s in scores}
    lines: list[str] = []
    for measure in measures:
        lines += [f"**{MEASURES[measure]}**", "", f"| method | {' | '.join(scenarios)} |"]
        lines += ["|---" * (len(scenarios) + 1) + "|"]
        for m in methods:
            row = []
            for c in scenarios:
                s = found.get((m, c))
                value = getattr(s, measure) if s else np.nan
                if s is None or not np.isfinite(value):
                    row.append("")
                    continue
                text = f"{value:.3f}" if measure != "bias" or abs(value) < 10 else f"{value:.0f}"
                text = f"**{text}**" if _off(measure, s) else text
                row.append(f"{text} <sub>{s.error[measure]:.3f}</sub>")
            lines.append(f"| {m} | {' | '.join(row)} |")
        lines.append("")
    failed = [s for s in scores if s.failed > 0]
    if failed:
        words = ", ".join(f"{s.method} in {s.scenario} {s.failed:.0%}" for s in failed)
        lines += [f"Cells without an estimate (their status says why; left out above): {words}.", ""]
    cost = ", ".join(
        f"{m} {1000 * np.mean([s.seconds for s in scores if s.method == m]):.1f}" for m in methods
    )
    return "\n".join([*lines, f"Milliseconds a data set: {cost}.", ""])


HEADER = """# Recovery of known effects

Seeded simulations, written by `benchmarks/mr_simulations.py`. In small print the Monte-Carlo error of each number (from
between data sets; slow methods see fewer of them). Bold: a type-I error above 5%, or a coverage below 95%, by more than
two Monte-Carlo errors. Bias is the median relative error of the non-null effects (the median estimate where all are null).

Scenarios: *two samples*: errors of exposures and outcome independent; *overlap*: they correlate .5 (and so in all that
follow); *weak*, *very weak*: errors of the exposure effects .5 and .7 of their spread (else .15); *balanced*: every instrument acts
on the outcome around the exposures, at random, 1.5 times as strongly as the outcome's error; *directional*: one in ten
does so strongly and in one direction; *correlated*: one in ten acts through a confounder of exposures and outcome;
*null*: no effect anywhere; *LD*: neighbouring instruments correlate .6, and the correlation is known.
"""

SECTIONS = {
    "defaults": """## The default multivariable estimator of each design

Eight exposures whose true effects correlate .85 (effects .3, -.2 and six zeros), 150 instruments (60 under LD). *between*: errors are
noise. *paired*: the exposures' errors act on the outcome, as within-prompt changes do.
""",
    "runs": """## Run-level estimators

Four features (a cause, a twin that lights up with it at .85, two more), three paths beside them, 24 doses, 60 families of two
prompts and eight runs. In *co-activated*, *weak* and *null* the cut is complete. In the others something lies outside
it: a disturbance that features and outcome share (*overlap*), effects of the doses around the cut (*balanced*, *directional*),
or the three paths, which the doses move together with the features (*correlated*). No run-level method knows of these.
""",
    "joint": """## Multivariable estimators, eight co-activated exposures

As above, design *between*. Intervals of `mr_bma` and `susie_mv` are posterior mean +- 1.96 posterior deviations; those of
sets enclose the set, and an empty set covers nothing.
""",
    "single": """## Univariable estimators, one exposure

150 instruments (60 under LD), an outcome with effect .3 and one with none.
""",
    "company": """## Univariable estimators, eight co-activated exposures

The same methods, one exposure at a time, scored against direct effects: what leaving the others out costs.
""",
    "small": """## Few instruments

No effect; all instruments valid, or a fifth of them outliers. Columns: instruments. `hetpen` takes at most 14.
""",
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=60)
    parser.add_argument(
        "--section", action="append", choices=list(SECTIONS), help="only these (default: all)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mr_simulations.md")
    args = parser.parse_args()
    n = args.replicates
    joint = {m: OPTIONS.get(m, {}) for m in registered("multivariable")}
    single = {m: OPTIONS.get(m, {}) for m in registered("univariable")}
    makers: dict[str, Callable[[], str]] = {
        "defaults": lambda: level_tables(
            run_defaults("between", JOINT, 3 * n) + run_defaults("paired", JOINT, 3 * n)
        ),
        "runs": lambda: level_tables(run_panels(registered("run"), RUNS, n)),
        "joint": lambda: level_tables(run(joint, JOINT, n, share=True)),
        "single": lambda: level_tables(run(single, SINGLE, n, share=True)),
        "company": lambda: level_tables(
            run(single, JOINT[:2], max(n // 4, 2)), ("type_one", "coverage", "bias")
        ),
        "small": lambda: level_tables(small_samples(8 * n), ("type_one",)),
    }
    text = HEADER
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for section in args.section or SECTIONS:
        start = time.perf_counter()
        text += f"\n{SECTIONS[section]}\n{makers[section]()}"
        args.out.write_text(text)
        print(f"{section}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
