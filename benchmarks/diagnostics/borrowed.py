"""Does the co-activation decomposition name the true source, and do its intervals cover?

Writes ``benchmarks/results/diagnostics_borrowed.md``: on worlds whose impostors are known, how often the source that
most of an impostor's effect is borrowed from is the true one; and how often the 95% intervals of every part hold its
true value, over simulated runs whose covariances are known.

    python benchmarks/diagnostics/borrowed.py [worlds] [naming]

With ``naming`` only the impostors of all families of worlds: ``benchmarks/results/diagnostics_naming.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import mrinterp
from mrinterp.effects._claims import shift_estimates
from mrinterp.results import BorrowedEffects, Estimates, NotApplicable
from mrinterp.worlds import Truth, World

Array = NDArray[np.float64]
RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_borrowed.md"

NAMING = RESULTS.with_name("diagnostics_naming.md")

SLOPES = np.array([1.0, 0.0, 0.0, -0.5, 0.0, 0.3])
"""Joint effects of six features; the second and third only move with the first."""


def named_rightly(found: BorrowedEffects, truth: Truth, bypass: bool = True) -> tuple[int, int]:
    """Impostors whose main source is the true one (or cannot be told apart from it), and impostors in all; the main source
    among the features alone where the bypass is no answer."""
    main = found.main_source if bypass else found.main_feature
    right = count = 0
    for f, o, cause in impostors(truth):
        right += bool((truth.group[members(found, main[f, o])] == truth.group[cause]).any())
        count += 1
    return right, count


def impostors(truth: Truth) -> list[tuple[int, int, int]]:
    """Feature, outcome, and the cause whose effect it shows over the inputs as they are."""
    with_cause = [(f, int(truth.borrows_from[f])) for f in np.flatnonzero(truth.borrows_from >= 0)]
    return [(int(f), int(o), c) for f, c in with_cause for o in np.flatnonzero(truth.causal[c])]


def members(found: BorrowedEffects, source: int) -> NDArray[np.int_]:
    """Features that a source stands for."""
    return np.flatnonzero(found.member == source) if source >= 0 else np.zeros(0, int)


LENDS = 0.01
"""Share of the largest exact part below which a feature lends nothing in some runs."""


def on_the_runs(panel: mrinterp.Panel, truth: Truth, f: int, o: int) -> NDArray[np.float64]:
    """What every feature lends to one in these runs, (F,), by the exact effects: most is lent by another one than over the inputs
    as they are, where the perturbations move other features together than inputs do."""
    x = panel.changes().features
    effect = truth.effects.get("shift", truth.effects.get("slope"))
    assert effect is not None
    parts = np.abs(effect[:, o] / truth.feature_sd * (x.T @ x[:, f]))  # effects are per sd
    parts[truth.group == truth.group[f]] = 0.0
    return parts


def named(found: BorrowedEffects | None, truth: Truth, panel: mrinterp.Panel | None) -> NDArray[np.int_]:
    """Impostors named rightly, wrongly, not named, and named as one of a group; by what they show on the panel's runs, or (None)
    by their label. Rightly: the true main source is among the named ones, and none of these lends nothing."""
    out = np.zeros(4, int)
    for f, o, cause in impostors(truth):
        parts = truth.causal[:, o].astype(float) if panel is None else on_the_runs(panel, truth, f, o)
        wanted = cause if panel is None else int(np.argmax(parts))
        some = np.zeros(0, int) if found is None else np.flatnonzero(found.named[f, :, o])
        if found is None or not len(some):
            out[2] += 1
            continue
        groups = [np.isin(truth.group, truth.group[members(found, s)]) for s in some]
        hit = any(g[wanted] for g in groups) and all(parts[g].max() > LENDS * parts.max() for g in groups)
        out[0 if hit else 1] += 1
        out[3] += len(some) > 1
    return out


def covariance(correlation: float) -> Array:
    """Of the six features: the second and third move with the first, the last with the fourth."""
    sigma = np.eye(6)
    for a, b, r in ((0, 1, correlation), (0, 2, correlation / 2), (1, 2, correlation**2 / 2), (3, 5, 0.5)):
        sigma[a, b] = sigma[b, a] = r
    return sigma


def true_parts(sigma: Array) -> tuple[Array, Array, Array]:
    """Total, own and borrowed (F, F) of the univariable slopes."""
    borrowed = (SLOPES[:, None] * sigma / np.diag(sigma)).T
    return borrowed.sum(axis=1), np.diag(borrowed).copy(), borrowed - np.diag(np.diag(borrowed))


def simulated_runs(seed: int, families: int, correlation: float, unequal: float = 0.3) -> mrinterp.Panel:
    """Runs in families: each has an effect of its own size, and errors that its runs share."""
    rng = np.random.default_rng(seed)
    per, sigma = 12, covariance(correlation)
    prompt = np.repeat(np.arange(families * 3), per // 3 + 1)
    family = prompt // 3
    clean = np.tile(np.arange(per // 3 + 1) == 0, families * 3)
    x = rng.standard_normal((len(prompt), 6)) @ np.linalg.cholesky(sigma).T * ~clean[:, None]
    size = 1.0 + unequal * rng.standard_normal(families)[family]
    shared = rng.standard_normal((families, 6))[family] * 0.3
    y = (x @ SLOPES) * size + (x * shared).sum(axis=1) + 0.3 * rng.standard_normal(len(prompt))
    runs = {"prompt": prompt, "family": family, "clean": clean}
    return mrinterp.from_arrays(doses=~clean[:, None] * 1.0, features=x, outcomes=y[:, None], **runs)


def simulated_summary(seed: int, instruments: int, correlation: float, error: float) -> mrinterp.MRData:
    """Effects of instruments on the six features and the outcome, in two samples without overlap."""
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((instruments, 6)) @ np.linalg.cholesky(covariance(correlation)).T
    g = b @ SLOPES
    se = np.full((6, instruments), error)
    return mrinterp.MRData(
        beta_x=b.T + error * rng.standard_normal((6, instruments)),
        se_x=se,
        beta_y=(g + 0.2 * rng.standard_normal(instruments))[None],
        se_y=np.full((1, instruments), 0.2),
        exposures=tuple(f"x{i}" for i in range(6)),
        outcomes=("y0",),
        instruments=tuple(f"z{j}" for j in range(instruments)),
    )


def covered(found: BorrowedEffects, correlation: float) -> dict[str, tuple[int, int]]:
    """Of total, own and borrowed parts: intervals that hold the true value, and intervals in all."""
    total, own, borrowed = true_parts(covariance(correlation))
    critical = stats.t.ppf(0.975, found.df)
    out = {}
    inside = np.abs(found.own[:, 0] - own) <= critical * found.own_se[:, 0]
    out["own"] = (int(inside.sum()), 6)
    others = ~np.eye(6, dtype=bool)
    near = np.abs(found.borrowed[:, :, 0] - borrowed) <= critical * found.borrowed_se[:, :, 0]
    large = others & (np.abs(borrowed) > 0)
    out["borrowed, not zero"] = (int(near[large].sum()), int(large.sum()))
    zero = others & (borrowed == 0)
    out["borrowed, zero"] = (int(near[zero].sum()), int(zero.sum()))
    if not found.meta.get("corrected"):
        near = np.abs(found.total[:, 0] - total) <= critical * found.total_se[:, 0]
        out["total"] = (int(near.sum()), 6)
    return out


def _coverage_rows(worlds: int) -> list[str]:
    rows = []
    cases = [("runs", n, r) for n in (20, 60) for r in (0.6, 0.9)]
    cases += [("summary", n, r) for n in (40, 150) for r in (0.6, 0.9)]
    for kind, size, correlation in cases:
        sums: dict[str, list[int]] = {}
        for seed in range(worlds):
            data = (
                simulated_runs(seed, size, correlation)
                if kind == "runs"
                else simulated_summary(seed, size, correlation, 0.15)
            )
            found = mrinterp.diagnostics.borrowed_effects(data)
            if isinstance(found, NotApplicable):
                continue
            for name, (hit, count) in covered(found, correlation).items():
                pair = sums.setdefault(name, [0, 0])
                pair[0], pair[1] = pair[0] + hit, pair[1] + count
        for name, (hit, count) in sums.items():
            unit = "families" if kind == "runs" else "instruments"
            rows.append(f"| {kind} | {size} {unit} | {correlation} | {name} | {hit / count:.3f} | {count} |")
    return rows


def _naming_rows(worlds: int) -> list[str]:
    rows = []
    for correlation in (0.5, 0.7, 0.85, 0.95):
        for families in (60,):
            for kind in ("runs, bypass held", "runs, bypass left out", "summary"):
                right = 0
                for seed in range(worlds):
                    panel = mrinterp.worlds.linear_world(
                        seed, families=families, co_activation=correlation
                    ).panel
                    data = mrinterp.scan.marginal_scan(panel).to_mrdata() if kind == "summary" else panel
                    rank = 0 if kind.endswith("out") else None
                    found = mrinterp.diagnostics.borrowed_effects(data, rank=rank)
                    s = found.main_source[1, 0]
                    right += bool(s >= 0 and found.member[0] == s)
                rows.append(
                    f"| linear_world, correlation {correlation} | {families} | {kind} | {right / worlds:.2f} | {worlds} |"
                )
    return rows


def _family_rows(worlds: int) -> list[str]:
    rows, all_of_it = [], np.zeros((3, 4), int)
    for name, family in mrinterp.worlds.world_families().items():
        if family.part != "development" or family.trained or family.slow or family.name.endswith("program"):
            continue
        tally, alike, count = np.zeros((3, 4), int), 0, 0
        applies = np.zeros(3, bool)
        for seed in range(worlds):
            world = family.make(seed)
            data = world.mr_data if world.panel is None else world.panel
            if data is None or not (world.truth.borrows_from >= 0).any():
                break
            runs = (
                world.panel
                if world.panel is not None and {"shift", "slope"} & set(world.truth.effects)
                else None
            )
            found = mrinterp.diagnostics.borrowed_effects(data)
            tally[0] += named(None if isinstance(found, NotApplicable) else found, world.truth, runs)
            applies[0] = True
            for f, o, cause in impostors(world.truth):
                count += 1
                alike += (
                    runs is None
                    or world.truth.group[np.argmax(on_the_runs(runs, world.truth, f, o))]
                    == world.truth.group[cause]
                )
            if world.bench is not None and world.bench.features <= 100:
                shift, known = shifts(world)
                applies[1:] = True
                tally[1] += named(by_knockouts(world, shift, known), world.truth, runs)
                found = mrinterp.diagnostics.natural_borrowed(world.panel, shift)
                tally[2] += named(None if isinstance(found, NotApplicable) else found, world.truth, None)
        if not applies[0]:
            continue
        all_of_it += tally
        broken = ", ".join(sorted(world.broken)) or "nothing"
        cells = [_three(t) if a else "no network" for t, a in zip(tally, applies, strict=True)]
        rows.append(f"| {name} | {broken} | {count} | {alike / count:.2f} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    rows.append(f"| **all** | | {all_of_it[0].sum()} | | {' | '.join(_three(t) for t in all_of_it)} |")
    return rows


def _three(tally: NDArray[np.int_]) -> str:
    """Share rightly named of those named, with the counts; the last of those that are named with others."""
    right, wrong, none, several = (int(v) for v in tally)
    share = f"{right / (right + wrong):.2f}" if right + wrong else "none named"
    return f"{share} ({right}, {wrong}, {none}; {several})"


def shifts(world: World) -> tuple[Estimates, list[str]]:
    """Effects of shifts of 40 inputs, as in a study, and the features that have one."""
    assert world.bench is not None
    bench = world.bench.subset(np.arange(0, world.bench.prompts, max(world.bench.prompts // 40, 1)))
    shift = shift_estimates(mrinterp.knock_out(bench, "shift", draws=10, allow_off_support=True))
    return shift, [n for n, b in zip(shift.exposures, shift.beta, strict=True) if np.isfinite(b).all()]


def by_knockouts(world: World, shift: Estimates, known: list[str]) -> BorrowedEffects | None:
    """The decomposition of the runs by the effects of shifts, as in a study; None where no feature can be shifted."""
    found = (
        mrinterp.diagnostics.borrowed_effects(world.panel, known, rank=0, effects=shift) if known else None
    )
    return found if isinstance(found, BorrowedEffects) else None


def naming(worlds: int) -> None:
    """The page of the impostors alone."""
    head = "# Impostors of `world_families()`: are they named, and rightly?"
    how = f"Written by `benchmarks/diagnostics/borrowed.py {worlds} naming`; worlds a family. Bar: rightly in at least .90."
    table = (
        "Share named rightly of those that are named (named rightly, wrongly, not named; named as one of several)."
        " Nobody is named where the joint fit explains less than 90% of the outcome's changes. Up to 3 sources whose parts differ by"
        " less than their errors are named together, where each clearly lends and together they are half of all parts; rightly if"
        " the true main source is among them and none that lends nothing. *Runs*: the decomposition of the perturbed runs, by their joint fit or by the effects of"
        " shifts, as studies do it; right is the feature from which most is borrowed *in these runs* by the exact effects. *Inputs*:"
        " `natural_borrowed`, by shifts; right is the feature that the impostor accompanies over the inputs as they are. *Alike*:"
        " impostors for which both are the same one.\n\n| family | what it breaks | impostors | alike | runs, joint fit | runs, by"
        " knockouts | inputs, by knockouts |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(_family_rows(worlds))
    )
    NAMING.write_text("\n\n".join([head, how, table]) + "\n")


def main(worlds: int) -> None:
    """Run everything and write the page."""
    parts = [
        "# Co-activation decomposition: is the named source the true one, and do the intervals cover?",
        f"Written by `benchmarks/diagnostics/borrowed.py {worlds}`. Bar: named rightly in at least .90.",
        "## The twin of `linear_world`: share named rightly\n\n| world | families | data | named rightly | worlds |\n|---|---|---|---|---|\n"
        + "\n".join(_naming_rows(worlds // 2)),
        "## Coverage of 95% intervals, six features of known covariance\n\nFamilies differ in the size of the effects and"
        " share errors; summary statistics have known sampling errors (.15 sd of the instruments' effects), which are"
        " corrected for.\n\n| data | size | correlation | part | coverage | intervals |\n|---|---|---|---|---|---|\n"
        + "\n".join(_coverage_rows(worlds)),
    ]
    RESULTS.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    (naming if "naming" in sys.argv else main)(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
