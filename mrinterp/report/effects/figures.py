"""The figures of estimated effects: of all of them, and of the pairs with the strongest evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mrinterp.plots._coloc.ld_heatmap import ld_heatmap
from mrinterp.plots._inline_svg import inline_svg
from mrinterp.plots._mr.conditional_strengths import conditional_strengths
from mrinterp.plots._mr.estimated_effects import estimated_effects
from mrinterp.plots._mr.forest import mr_forest
from mrinterp.plots._mr.funnel import mr_funnel
from mrinterp.plots._mr.leave_one_out import mr_leave_one_out
from mrinterp.plots._mr.radial import mr_radial
from mrinterp.plots._mr.scatter import mr_scatter
from mrinterp.plots._sites.evidence_quantiles import evidence_quantiles
from mrinterp.plots._study.path_diagram import path_diagram
from mrinterp.plots._study.run_changes import run_changes
from mrinterp.report.effects.source import EffectsSource
from mrinterp.report.packed import shown_text
from mrinterp.results._estimates import Estimates

__all__ = ["drawn_figures", "figures_left_out"]

PAIRS = 3
"""Pairs of exposure and outcome with figures of their own; the cards draw the same of all."""
LONGEST_NAME = 28
FEWEST = 10
"""Effects from which quantiles of evidence say something."""
MOST_CONDITIONAL = 50
"""Exposures up to which strength given the others is drawn."""


@dataclass(frozen=True)
class Drawn:
    """One figure as an SVG element, with its words."""

    title: str
    svg: str
    words: str
    wide: bool = False


def drawn_figures(source: EffectsSource) -> tuple[list[Drawn], list[tuple[str, list[Drawn]]]]:
    """Figures of all effects; and by pair, for those with the strongest evidence."""
    source = _short_named(source)
    number = iter(range(1000))
    whole = [_drawn(next(number), *parts) for parts in _of_all(source)]
    known = source.table[np.isfinite(source.table["effect"])]
    pairs = []
    for row in known.head(PAIRS).to_dict("records"):
        x, y = str(row["feature"]), str(row["outcome"])
        made = [_drawn(next(number), *parts) for parts in _of_pair(source, x, y)]
        pairs.append((f"{x} on {y}", made))
    return whole, pairs


def _short_named(source: EffectsSource) -> EffectsSource:
    """The same under names that fit into figures, each once."""
    drawn = {
        part: _fitting([str(n) for n in getattr(source.data, part)])
        for part in ("exposures", "outcomes", "instruments")
    }
    x, y = (dict(zip(getattr(source.data, p), drawn[p], strict=True)) for p in ("exposures", "outcomes"))

    def renamed(result: Estimates) -> Estimates:
        return replace(
            result,
            exposures=tuple(x[n] for n in result.exposures),
            outcomes=tuple(y[n] for n in result.outcomes),
        )

    panel = source.panel and replace(
        source.panel,
        feature_names=tuple(x.get(n, n) for n in source.panel.feature_names),
        outcome_names=tuple(y.get(n, n) for n in source.panel.outcome_names),
    )
    return replace(
        source,
        data=replace(
            source.data,
            exposures=drawn["exposures"],
            outcomes=drawn["outcomes"],
            instruments=drawn["instruments"],
            info=source.data.info.iloc[:, :0],
        ),
        results=tuple(map(renamed, source.results)),
        single=tuple(map(renamed, source.single)),
        panel=panel,
        sensitivity=None,
    )


def _fitting(names: list[str]) -> tuple[str, ...]:
    """Names cut to what a figure holds; numbered where they would be the same."""
    cut = [shown_text(n, LONGEST_NAME) for n in names]
    if len(set(cut)) == len(cut):
        return tuple(cut)
    return tuple(f"{shown_text(n, LONGEST_NAME - 8)} {k}" for k, n in enumerate(names, start=1))


Parts = tuple[str, str, bool, Callable[[], Any]]


def _drawn(number: int, title: str, words: str, wide: bool, draw: Callable[[], Any]) -> Drawn:
    return Drawn(title, inline_svg(draw, f"figure-{number}", f"{title}. {words}"), words, wide)


def _of_all(source: EffectsSource) -> Iterator[Parts]:
    first, data = source.primary, source.data
    outcome = str(source.table["outcome"].iloc[0])
    effects = first.beta.size
    if len(first.exposures) > 1:
        yield (
            "The largest effects",
            f"{first.label}, effects on {outcome}.",
            True,
            lambda: estimated_effects(first, outcome),
        )
    if effects >= FEWEST and len(first.exposures) >= FEWEST:
        yield (
            "Evidence against what no effect would give",
            "Inflation far above 1: many effects, or errors that are too small.",
            False,
            lambda: evidence_quantiles(first, outcome),
        )
    if _conditional(source):
        yield (
            "Strength given the other exposures",
            "Below 10 a joint estimate is weak.",
            False,
            lambda: conditional_strengths(data),
        )
    if data.ld is not None:
        yield (
            "Correlation of the instruments",
            "Correlated instruments count as fewer.",
            False,
            lambda: ld_heatmap(data),
        )


def _conditional(source: EffectsSource) -> bool:
    F, _, J = source.data.shape
    return 1 < F <= MOST_CONDITIONAL and F < J


def _of_pair(source: EffectsSource, x: str, y: str) -> Iterator[Parts]:
    data, single = source.data, list(source.single)
    yield (
        "Scatter",
        "An instrument a point, bars its errors; a method a line.",
        False,
        lambda: mr_scatter(data, single, x, y),
    )
    yield (
        "Forest",
        "An instrument a row: its effect on the outcome over that on the exposure.",
        False,
        lambda: mr_forest(data, single, x, y),
    )
    yield (
        "Funnel",
        "Lopsided: effects around the exposure do not average to zero.",
        False,
        lambda: mr_funnel(data, single, x, y),
    )
    yield (
        "Radial",
        "Crosses: instruments that disagree beyond their errors.",
        False,
        lambda: mr_radial(data, single, x, y),
    )
    if source.panel is not None:
        panel, first = source.panel, source.primary
        yield (
            "Changes within prompts",
            "What perturbed runs did to feature and outcome. The slope that the eye sees is not an effect.",
            False,
            lambda: run_changes(panel, x, y),
        )
        yield ("Paths", "Dashed: what is assumed not to be there.", True, lambda: path_diagram(first, x, y))
    whole, repeats = _repeats(source, x, y)
    if len(repeats) > 2:
        yield ("Leave-one-out", "Inverse-variance weighted, without one instrument at a time.", False,
               lambda: mr_leave_one_out(whole, repeats, x, y))  # fmt: skip


def _repeats(source: EffectsSource, x: str, y: str) -> tuple[Estimates, list[tuple[str, Estimates]]]:
    """IVW of one pair, whole and without each of its instruments."""
    data, first = source.data, source.single[0]
    f, o = data.exposures.index(x), data.outcomes.index(y)
    whole = first[x, y]
    one = Estimates(
        method=first.method, label=first.label, exposures=(x,), outcomes=(y,), beta=[[whole.beta]], se=[[whole.se]],  # type: ignore[arg-type]
        status=first.status[:1, :1], n_instruments=first.n_instruments[:1, :1], unit=first.unit, level=first.level,
    )  # fmt: skip
    if source.without_each is None:
        return one, []
    beta, se = (a[f, o] for a in source.without_each)
    here = np.isfinite(data.beta_x[f]) & np.isfinite(data.beta_y[o]) & np.isfinite(beta) & np.isfinite(se)
    return one, [
        (data.instruments[j], replace(one, beta=[[beta[j]]], se=[[se[j]]], ci_lower=None, ci_upper=None, neglog10p=None))  # type: ignore[arg-type]
        for j in np.flatnonzero(here)
    ]  # fmt: skip


def figures_left_out(source: EffectsSource) -> list[tuple[str, str]]:
    """Figures that do not apply, with the reason."""
    F, O, J = source.data.shape
    left = []
    if F == 1:
        left.append(("The largest effects, and strength given the other exposures", "there is one exposure"))
    elif not _conditional(source):
        why = f"{F} exposures need more than {F} instruments, and there are {J}" if F >= J else f"there are more than {MOST_CONDITIONAL} exposures"  # fmt: skip
        left.append(("Strength given the other exposures", why))
    if F < FEWEST:
        left.append(("Quantiles of evidence (QQ)", f"{FEWEST} effects on one outcome are the fewest that say something, and there are {F}"))  # fmt: skip
    if source.data.ld is None:
        left.append(("Correlation of the instruments (LD)", "it is not known: --ld gives it"))
    if source.without_each is None or J < 3:
        why = source.left_out.get("Leave-one-out", "it takes three instruments or more")
        left.append(("Leave-one-out", why))
    left.append(("Replication, dose-response, knockouts", "they need the network or other families (mrinterp.Study)"))  # fmt: skip
    return left
