"""Studies redrawn from exhaustive knockout tables: do the intervals cover, on networks that nobody tuned for?

    python benchmarks/effects/redrawn_studies.py [NETWORK ...] [--kinds contrast ...] [--redraws 200]

With networks named, rows of the others stay as they are.

Of each table (`truth_tables.py`) families are drawn at random, again and again: n are knocked out (10 families x 4
prompts, or 20 x 2), the prediction is taken on N, the truth is the mean over families that the study never used, its
error added: covered where |estimate - truth| <= sqrt(half^2 + half_truth^2). Beside the rectified effect stand the
knockouts alone. Writes ``redrawn_studies.csv`` (a row per cell: network, outcome, kind of knockout, design),
``redrawn_studies.md`` (every bar, met or missed) and ``redrawn_studies.png`` to ``benchmarks/results``.

Outcomes: ``smooth`` as computed; ``probability`` its logistic function about the median, in sd; ``label`` above the
median or not; ``sampled`` one draw of the probability per run, drawn anew in every study. The prediction of a probability
goes through the same function. Labels and draws have none, as in `mrinterp.knockouts.rectified_contrast`, since no gradient
flows through them: their knockouts stand alone. Effects of the contrast are per natural sd, (high - low) / 2.563; of the
shift per sd of the mean over tokens; of the others the change itself (resampling: slope on the change of the reading, per
natural sd).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from redrawn_bars import bars, figure, report
from scipy import stats
from truth_tables import TruthTable, read

from mrinterp.stats import rectified_mean
from mrinterp.stats.tests.equivalence import verdict
from mrinterp.stats.tests.tails import critical_value

HERE = Path(__file__).parent.parent
SCALES = ("smooth", "probability", "label", "sampled")
PREDICTED = ("smooth", "probability")
DESIGNS = {"10 x 4": (10, 4), "20 x 2": (20, 2)}
KINDS = ("contrast", "resample", "mean", "zero", "shift")
NATURAL_SD = 2.563
ROPE_SD, MATTERS, RESAMPLED = 0.02, 0.1, 2.0
"""The ROPE in sd of the outcome; in ROPEs, the effect that matters, and what matters under resampling."""
ROUNDING = 1e-4
"""Of the ROPE, or of the effect: what tables in single precision may be off by where effects are all alike."""

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Runs:
    """One kind of knockout on one outcome: effects per prompt (P, K, 4) on the four scales, in units of the ROPE.

    ``effect`` has the probability's effect where the scale is sampled; ``ends`` (A, P, K) are the two probabilities whose
    difference it is, times ``weight`` (A, P, K) and summed over A swaps; ``from_clean``: the second is the clean run's.
    nan where a prompt was not moved. ``resampled`` (P, K, 4): see `resampled_size`.
    """

    effect: Array
    predicted: Array
    ends: tuple[Array, Array]
    from_clean: bool
    weight: Array
    family: Array
    resampled: Array


def scaled(y: Array, clean: Array, scale: str) -> Array:
    """Outcomes on a scale; a sampled one has its probability."""
    middle, sd = np.median(clean), clean.std()
    if scale == "smooth":
        return y
    return (y > middle).astype(float) if scale == "label" else 1 / (1 + np.exp(-(y - middle) / sd))


def rope_of(clean: Array, scale: str) -> float:
    """Half width of the region of practical equivalence on a scale: a drawn outcome has its own sd."""
    values = scaled(clean, clean, scale)
    spread = np.sqrt(values.mean() * (1 - values.mean())) if scale == "sampled" else values.std()
    return float(ROPE_SD * spread)


def arms_of(table: TruthTable, kind: str) -> tuple[list[int], list[int] | None]:
    """Arms that are taken, and those they are held against (None: the clean run)."""
    if kind in ("contrast", "shift"):
        up, down = ("high", "low") if kind == "contrast" else ("up", "down")
        return [table.arm(f"{kind} {up}")], [table.arm(f"{kind} {down}")]
    return [a for a, name in enumerate(table.arms) if name.split()[0] == kind], None


def weights(table: TruthTable, kind: str, arms: list[int], against: list[int] | None) -> Array:
    """What an outcome's change is multiplied by (A, P, K), so that the mean is the effect; nan where no arm moved it: the
    high value of a gate that is usually open is its usual one, which is not written."""
    moved = np.moveaxis(table.moved[arms].astype(float), 1, 2)
    if against is not None:
        held = np.moveaxis(table.moved[against].astype(float), 1, 2)
        moved = np.where(np.isnan(moved), held, moved)
    if kind == "resample":
        square = np.nanmean(np.nan_to_num(moved) ** 2, axis=(0, 1))
        # The slope on the change, times the natural sd, which is the change's root mean square over root two.
        return moved / np.sqrt(2 * np.where(square > 0, square, 1)) / len(arms)
    size = {"contrast": 1 / NATURAL_SD, "shift": 0.5}.get(kind, 1.0)
    return np.where(np.isnan(moved), np.nan, size)


def runs_of(table: TruthTable, outcome: int, kind: str) -> Runs:
    """Effects of one kind on one outcome, on all scales."""
    clean = table.clean[:, outcome]
    take, against = arms_of(table, kind)

    def ends(change: Array, arms: list[int] | None) -> Array:
        if arms is None:
            return np.broadcast_to(clean[None, :, None], (len(take), len(clean), len(table.features)))
        return clean[None, :, None] + np.moveaxis(change[arms, ..., outcome].astype(float), 1, 2)

    weight = weights(table, kind, take, against)
    made = {}
    for name, change in (("effect", table.change), ("predicted", table.predicted)):
        upper, lower = ends(change, take), ends(change, against)
        made[name] = np.stack(
            [
                (weight * (scaled(upper, clean, s) - scaled(lower, clean, s))).sum(axis=0) / rope_of(clean, s)
                for s in SCALES
            ],
            axis=-1,
        )
    # A prediction of 0 has the weight 0, as one that is missing.
    made["predicted"] *= np.isin(SCALES, PREDICTED)
    pair = tuple(scaled(ends(table.change, arms), clean, "sampled") for arms in (take, against))
    return Runs(
        **made,
        ends=(pair[0], pair[1]),
        from_clean=against is None,
        weight=weight / rope_of(clean, "sampled"),
        family=table.family,
        resampled=resampled_size(table, outcome),
    )


def resampled_size(table: TruthTable, outcome: int) -> Array:
    """Squared resampling changes over 2, (P, K, 4), in squared units of the ROPE: their root mean square is an effect's size."""
    clean = table.clean[:, outcome]
    arms, _ = arms_of(table, "resample")
    y = clean[None, :, None] + np.moveaxis(table.change[arms, ..., outcome].astype(float), 1, 2)
    parts = [
        ((scaled(y, clean, s) - scaled(clean, clean, s)[:, None]) ** 2).mean(axis=0)
        / 2
        / rope_of(clean, s) ** 2
        for s in SCALES
    ]
    return np.stack(parts, axis=-1)


def root_bounds(each: Array, level: float = 0.9) -> tuple[Array, Array]:
    """Bounds of the root of a mean over families, (..., families, K, 4) -> (..., K, 4) each; one-sided at 95%."""
    count = each.shape[-3]
    half = critical_value(level, count - 1) * each.std(axis=-3, ddof=1) / np.sqrt(count)
    mean = each.mean(axis=-3)
    return np.sqrt(np.maximum(mean - half, 0)), np.sqrt(mean + half)


def covered(estimate: Array, half: Array, truth: Array, truth_half: Array) -> Array:
    """Whether intervals hold the truth, which has an error of its own; nan where there is no number."""
    inside = np.abs(estimate - truth) <= np.sqrt(half**2 + truth_half**2) + ROUNDING * (1 + np.abs(truth))
    return np.where(np.isfinite(estimate) & np.isfinite(half) & np.isfinite(truth), inside, np.nan)


def share_below(coverage: Array, least: float = 0.85) -> float:
    """Share of studies whose coverage lies below ``least``; studies without a feature are left out."""
    known = coverage[np.isfinite(coverage)]
    return float((known < least).mean()) if len(known) else np.nan


def slope_of(estimate: Array, truth: Array) -> float:
    """Least-squares slope of estimates on truths through the origin, over features."""
    known = np.isfinite(estimate) & np.isfinite(truth)
    below = (truth[known] ** 2).sum()
    return float((estimate[known] * truth[known]).sum() / below) if below > 0 else np.nan


@dataclass(frozen=True, eq=False)
class Draws:
    """R studies: prompts that are knocked out (R, n, prompts), families (R, N), the n first, and (R, rest) unused ones."""

    knocked: Array
    families: Array
    unused: Array


def all_families(count: int) -> int:
    """N of a study: half of many families, five eighths of few."""
    return count // 2 if count >= 200 else 5 * count // 8


def rows_of(family: Array) -> Array:
    """Prompts (C, prompts) of every family; all have as many."""
    return np.argsort(family, kind="stable").reshape(int(family.max()) + 1, -1)


def draw(rng: np.random.Generator, rows: Array, design: tuple[int, int], count: int) -> Draws:
    """Draw families, and prompts of those that are knocked out; ``rows`` (C, prompts) are those of every family."""
    n, prompts = design
    order = rng.permuted(np.tile(np.arange(len(rows)), (count, 1)), axis=1)
    N = all_families(len(rows))
    own = rng.permuted(rows[order[:, :n]], axis=2)[..., :prompts]
    return Draws(own, order[:, :N], order[:, N:])


def sampled_effect(rng: np.random.Generator, runs: Runs, rows: Array) -> Array:
    """One draw of every run's outcome: effects (..., K) of prompts (...). A clean run is drawn once for all features."""
    upper, lower = (end[:, rows] for end in runs.ends)
    chance = rng.random((1, *rows.shape, 1) if runs.from_clean else lower.shape)
    drawn = 1.0 * (rng.random(upper.shape) < upper) - (chance < lower)
    return (runs.weight[:, rows] * drawn).sum(axis=0)


def of_families(values: Array, rows: Array, families: Array) -> tuple[Array, Array]:
    """Values (R, rows, K, 4) of all prompts of some families, with numbers of families.

    Where every prompt was moved, the families' means: the same estimate at less work.
    """
    R, N = families.shape
    if np.isfinite(values).all():
        return values[rows].mean(axis=1)[families], np.arange(N)
    return values[rows[families]].reshape(R, -1, *values.shape[1:]), np.repeat(np.arange(N), rows.shape[1])


def studies_apart(values: Array) -> Array:
    """(R, rows, K, 4) -> (rows, K, R * 4): each study's outcomes stand beside those of the others."""
    R, rows, K, S = values.shape
    return values.transpose(1, 2, 0, 3).reshape(rows, K, R * S)


def redraws(
    runs: Runs, design: tuple[int, int], count: int, seed: int, at_once: int = 50
) -> dict[str, Array]:
    """R studies, each array (R, K, 4): estimates, half widths, the truth, and bounds of what resampling does.

    ``rectified``, ``alone`` and ``truth``, each with its ``..._half``; ``df`` of the first; ``unflipped``;
    ``resampled_lower, resampled_upper``.
    """
    rng = np.random.default_rng(seed)
    parts = [batch(rng, runs, design, min(at_once, count - a)) for a in range(0, count, at_once)]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def batch(rng: np.random.Generator, runs: Runs, design: tuple[int, int], R: int) -> dict[str, Array]:
    """Some studies at once: each is an outcome of its own, on the same numbers of families."""
    n, prompts = design
    rows = rows_of(runs.family)
    made = draw(rng, rows, design, R)
    knocked = runs.effect[made.knocked].reshape(R, n * prompts, -1, len(SCALES))
    knocked[..., SCALES.index("sampled")] = sampled_effect(rng, runs, made.knocked.reshape(R, -1))
    mine = runs.predicted[made.knocked].reshape(knocked.shape)
    predicted, its_family = of_families(runs.predicted, rows, made.families)
    effect, whose = of_families(runs.effect, rows, made.unused)
    C, g, everyone = (studies_apart(x) for x in (knocked, mine, predicted))
    named, K, O = np.repeat(np.arange(n), prompts), *C.shape[1:]
    size = np.tile([largest_label(runs) if s == "label" else np.nan for s in SCALES], R)
    size = np.broadcast_to(size, (K, O))
    rectified = rectified_mean(C, g, named, everyone, its_family, largest=size)
    truth = rectified_mean(studies_apart(effect), None, whose)
    found = {"rectified": rectified.beta, "rectified_half": (rectified.upper - rectified.lower) / 2}
    found |= {"df": rectified.df, "unflipped": rectified.unflipped}
    for name, x in (("alone", rectified), ("truth", truth)):
        found |= {name: x.alone, f"{name}_half": critical_value(0.95, x.alone_df) * x.alone_se}
    lower, upper = root_bounds(runs.resampled[made.knocked].mean(axis=2))
    apart = {k: v.reshape(K, R, len(SCALES)).swapaxes(0, 1) for k, v in found.items()}
    return apart | {"resampled_lower": lower, "resampled_upper": upper}


def largest_label(runs: Runs) -> float:
    """Largest effect on a label that one prompt can have, in units of the ROPE."""
    return float(np.nanmax(np.abs(runs.effect[..., SCALES.index("label")]), initial=0)) or 1.0


def correlation(runs: Runs) -> Array:
    """Correlation (K, 4) of effect and prediction across all prompts; nan where either is constant, or there is none."""
    out = np.full(runs.effect.shape[1:], np.nan)
    for k, s in np.ndindex(*out.shape):
        x, y = runs.effect[:, k, s], runs.predicted[:, k, s]
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() > 2 and x[known].std() > 1e-9 and y[known].std() > 1e-9:
            out[k, s] = np.corrcoef(x[known], y[known])[0, 1]
    return out


def cells(
    table: TruthTable, network: str, count: int, kinds: tuple[str, ...] = KINDS
) -> list[dict[str, object]]:
    """Every cell of a network's table."""
    found = []
    C = len(np.unique(table.family))
    there = [kind for kind in kinds if any(arm.split()[0] == kind for arm in table.arms)]
    for outcome, kind in product(range(len(table.outcomes)), there):
        runs = runs_of(table, outcome, kind)
        whole = np.nan_to_num(rectified_mean(runs.effect, None, runs.family).alone)
        missable = root_bounds(runs.resampled[rows_of(runs.family)].mean(axis=1), 0.95)[0] > RESAMPLED
        rho = correlation(runs)
        for design, size in DESIGNS.items():
            stacked = redraws(runs, size, count, seed=len(found))
            for s, scale in enumerate(SCALES):
                one = {k: v[..., s] for k, v in stacked.items()}
                cell = {"network": network, "outcome": table.outcomes[outcome], "kind": kind}
                cell |= {"scale": scale, "design": design}
                ratio = all_families(C) / size[0]
                drawn = scale == "sampled"
                found.append(cell | scores(one, whole[:, s], rho[:, s], missable[:, s], ratio, drawn))
    return found


def scores(
    one: dict[str, Array], whole: Array, rho: Array, missable: Array, ratio: float, drawn: bool
) -> dict[str, object]:
    """A cell's numbers, from R studies of K features: arrays (R, K); ``whole`` (K,) the effects on all families.

    As `mrinterp.effects.claim_verdicts`, a study calls negligible only what its own resampled prompts show to be small
    too, unless the outcome is ``drawn``; and causal, where it is, what stands out among all features.
    """
    matter = np.abs(whole) > MATTERS
    hit = covered(one["rectified"], one["rectified_half"], one["truth"], one["truth_half"])
    alone = covered(one["alone"], one["alone_half"], one["truth"], one["truth_half"])
    words = verdict(one["rectified"] - one["rectified_half"], one["rectified"] + one["rectified_half"], 1.0)
    words[one["unflipped"]] = "indeterminate"
    called = words == "causal"
    if drawn:
        words[called & ~stand_out(one)] = "indeterminate"
    size = np.nan_to_num(np.abs(one["rectified"]), nan=-1)
    ten = size >= np.sort(size, axis=1)[:, -min(10, size.shape[1])][:, None]
    slopes = np.array(
        [[slope_of(b, t) for b, t in zip(one[k], one["truth"], strict=True)] for k in ("rectified", "alone")]
    )
    good = (np.abs(slopes - 1) <= 0.1).mean(axis=1)
    alone_negligible = words == "negligible"
    negligible = alone_negligible & (drawn | (one["resampled_upper"] <= RESAMPLED))
    at_stake = max(missable.sum() * len(hit), 1)
    return {
        "features": len(whole),
        "matter": int(matter.sum()),
        "coverage_all": _mean(hit),
        "coverage_matter": _mean(hit[:, matter]),
        "alone_coverage_matter": _mean(alone[:, matter]),
        "below_85": share_below(_by_study(hit, matter)),
        "alone_below_85": share_below(_by_study(alone, matter)),
        "causal": int((words == "causal").sum() / len(hit)),
        "coverage_causal": _mean(hit[words == "causal"]),
        "false_coverage_rate": false_coverage_rate(hit, words == "causal"),
        "coverage_causal_each": _mean(hit[called]),
        "false_coverage_rate_each": false_coverage_rate(hit, called),
        "coverage_ten": _mean(hit[ten]),
        "slope": float(np.median(slopes[0])),
        "slope_within": good[0],
        "alone_slope_within": good[1],
        **widths(one, matter, rho, ratio),
        "missable": int(missable.sum()),
        "missed": float((alone_negligible & missable).sum() / at_stake),
        "missed_after_resampling": float((negligible & missable).sum() / at_stake),
        "worst_feature_missed": float((negligible & missable).mean(axis=0).max(initial=0)),
        "negligible": float(negligible.sum(axis=1).mean()),
        "negligible_by_contrast": float(alone_negligible.sum(axis=1).mean()),
        "sign_varies": float((alone_negligible & (one["resampled_lower"] > RESAMPLED)).sum(axis=1).mean()),
        "unflipped": float(one["unflipped"].mean()),
    }


def false_coverage_rate(hit: Array, called: Array) -> float:
    """Mean over studies of the share of the called features whose interval misses; 0 where none is called.

    Source: Benjamini & Yekutieli 2005, 10.1198/016214504000001907.
    """
    missed = np.where(called, hit == 0, False).sum(axis=1)
    return float((missed / np.maximum(called.sum(axis=1), 1)).mean())


def stand_out(one: dict[str, Array]) -> Array:
    """Effects (R, K) beyond the ROPE at a false discovery rate of .05 over a study's features."""
    error = one["rectified_half"] / critical_value(0.95, one["df"])
    p = 2 * stats.t.sf((np.abs(one["rectified"]) - 1.0) / np.where(error > 0, error, np.nan), one["df"])
    p = np.where(np.isfinite(p), np.minimum(p, 1.0), 1.0)
    return np.asarray(stats.false_discovery_control(p, axis=1) <= 0.05)


def widths(one: dict[str, Array], matter: Array, rho: Array, ratio: float) -> dict[str, object]:
    """Half widths in ROPE over features that matter, against the knockouts alone and against what is possible."""
    half, alone = (_root_mean_square(one[k]) for k in ("rectified_half", "alone_half"))
    known = matter & np.isfinite(rho) & (alone > 0.01)
    rho = np.nan_to_num(rho)
    possible = 1 / (1 - rho**2 + rho**2 / ratio)
    strong = known & (np.abs(rho) >= 0.95) & (ratio >= 10)
    weak = known & ~strong
    share, gain = half[strong] / alone[strong], (alone[weak] / half[weak]) ** 2 / possible[weak]
    return {
        "half_width": _mean(half[matter]),
        "alone_half_width": _mean(alone[matter]),
        "rho": _median(rho[known]),
        "strong": int(strong.sum()),
        "weak": int(weak.sum()),
        "strong_ratio": _median(share),
        "strong_met": int((share <= 0.5).sum()),
        "weak_gain_share": _median(gain),
        "weak_met": int((gain >= 0.8).sum()),
    }


def _root_mean_square(x: Array) -> Array:
    """Over studies, those without a number left out; nan where none has one."""
    known = np.isfinite(x)
    count = known.sum(axis=0)
    return np.where(
        count > 0, np.sqrt((np.where(known, x, 0) ** 2).sum(axis=0) / np.maximum(count, 1)), np.nan
    )


def _median(x: Array) -> float:
    return float(np.median(x)) if len(x) else np.nan


def _by_study(hit: Array, matter: Array) -> Array:
    chosen = hit[:, matter]
    known = np.isfinite(chosen)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, chosen, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _mean(x: Array) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if known.size else np.nan


def main() -> None:
    """Redraw the studies of all tables that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--redraws", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--tables", type=Path, default=HERE / "truth")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    paths = sorted(p for p in given.tables.glob("*.npz") if not given.networks or p.stem in given.networks)
    rows = [row for path in paths for row in cells(read(path), path.stem, given.redraws, given.kinds)]
    frame, kept = pd.DataFrame(rows), given.out / "redrawn_studies.csv"
    if given.networks and kept.is_file():
        before = pd.read_csv(kept)
        frame = pd.concat([before[~before["network"].isin(given.networks)], frame], ignore_index=True)
    frame.round(4).to_csv(given.out / "redrawn_studies.csv", index=False)
    (given.out / "redrawn_studies.md").write_text(report(frame, bars(frame), given.redraws))
    figure(frame, given.out / "redrawn_studies.png")
    print(report(frame, bars(frame), given.redraws))


if __name__ == "__main__":
    main()
