"""The ladder of estimates that every study climbs, rung by rung."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.basis import Basis
from mrinterp.core.panel import Panel
from mrinterp.core.plan import NOISE_MOVES, TWO_SITES, Plan
from mrinterp.core.plan_inputs import OBSERVED, PERTURBATIONS
from mrinterp.core.sumstats import SumStats
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates, Undecided

__all__ = ["apart_from_own_shifts", "named_rungs", "rank_path_of", "rungs", "without_cut", "without_tsls"]

LABELS = {
    "replication": "within regression, other families",
    "replication_slot": "within regression, other families, slots only",
    "replication_pair": "within regression, other families, pairs only",
    "replication_noise": "within regression, other families, noise only",
    **{
        f"replication_{kind}": f"within regression, other families, {kind} only"
        for kind in PERTURBATIONS
        if kind not in ("slot", "pair", "noise")
    },
}
"""Labels of rungs that share a method with another."""

LABELS_OF_METHODS = {
    "within": "within regression",
    "tsls": "two-stage least squares",
    "ivw": "univariable IVW",
}
"""How rungs are called that have no numbers, by the first word of their names."""

SMALL_RANKS = (0, 1, 2, 5, 10)
"""Ranks at which every path begins."""

MORE_DOSES = 5
"""Doses beyond one per feature that two-stage least squares asks for: five degrees of freedom for its
overidentification test."""


def without_tsls(panel: Panel, kind: str) -> NotApplicable | None:
    """Why there is no two-stage least squares: fewer varying doses than its features need; else None."""
    doses = panel.select(kinds=(kind,)).changes().doses
    real = ~panel.instruments["placebo"].to_numpy(dtype=bool)
    varying, features = int((doses[:, real] != 0).any(axis=0).sum()), len(panel.feature_names)
    if varying >= features + MORE_DOSES:
        return None
    more = {
        "noise": "instruments.noise.directions_per_class is too small",
        "slot": "the slots have too few fillers",
        **dict.fromkeys(("pair", "paraphrase"), "the table has too few kinds of perturbation"),
        OBSERVED: "the corpus holds too few differences of words",
    }
    why = more.get(kind, "too few words or places are edited")
    return NotApplicable(
        f"{varying} doses vary for {features} features, and it needs {features + MORE_DOSES}: {why}",
        "two-stage least squares",
    )


def rungs(
    plan: Plan,
    panel: Panel,
    replication: Callable[[], Panel],
    sumstats: Mapping[str, SumStats],
    gradient: Callable[[], Estimates] | None,
    noise_moves: Sequence[float] | None = None,
) -> dict[str, Callable[[], Estimates]]:
    """Every estimate of a study by name, to be made in this order.

    Parameters
    ----------
    panel : Panel
        Of the estimation split.
    replication : callable
        Gives the panel of the replication split, when it is needed.
    sumstats : mapping of str to SumStats
        Marginal effects per kind of perturbation.
    gradient : callable, optional
        Makes the gradient's estimates; None where no outcome has one.
    noise_moves : sequence of float (F,), optional
        How far the noise moves every feature, in natural sd: beyond `MOVES` the status of the MR estimate says so.
    """
    from mrinterp.mr._engine.driver import estimate
    from mrinterp.mr._runs.observational import observational
    from mrinterp.mr._runs.run_iv import tsls
    from mrinterp.mr._runs.within import within

    e = plan.estimation

    def primary(of: Panel, kind: str) -> Estimates:
        chosen = of.select(kinds=(kind,))
        carried = int((chosen.runs["kind"] == kind).sum() / e.runs_per_column) - len(chosen.feature_names)
        rank = min(chosen.rank, max(carried, 0))
        return within(chosen, rank, e.covariance, draws=e.bootstrap_draws, seed=plan.seed)

    def univariable(kind: str) -> Callable[[], Estimates]:
        data = sumstats[kind].to_mrdata(kind, False, kind == OBSERVED)
        if (
            kind == OBSERVED
        ):  # drawn doses are nearly independent; found ones are not, and their correlation is real
            label = "univariable IVW, doses found and not assigned, given their LD"
            return lambda: replace(estimate(data, "ivw_correlated"), label=label)
        return lambda: replace(estimate(data, "ivw"), label=f"univariable IVW, {kind}")

    def again(kind: str) -> Callable[[], Estimates]:
        return lambda: primary(replication(), kind)

    makers: dict[str, Callable[[], Estimates]] = {"observational": lambda: observational(panel)}
    makers |= {f"ivw_{kind}": univariable(kind) for kind in sumstats}
    makers["within"] = lambda: _gated(primary(panel, e.kind), noise_moves, plan.instruments.noise.scale)
    if without_tsls(panel, e.kind) is None:
        makers["tsls"] = lambda: tsls(panel.select(kinds=(e.kind,)))
    if gradient is not None:
        makers["gradient"] = gradient
    makers["replication"] = again(e.kind)
    makers |= {f"replication_{kind}": again(kind) for kind in sumstats if kind != e.kind}
    if plan.features.kind == "transcoder":
        instrumental = [name for name in makers if name not in ("observational", "gradient")]
        makers |= {name: partial(without_cut, name, panel) for name in instrumental}
    return makers


def without_cut(method: str, panel: Panel) -> Estimates:
    """No estimate of any feature, and why: what is read at one site and written at another has no cut."""
    shape = len(panel.feature_names), len(panel.outcome_names)
    nothing = np.full(shape, np.nan)
    return Estimates(
        method=method,
        label=LABELS.get(method, LABELS_OF_METHODS.get(method.partition("_")[0], method)),
        exposures=panel.feature_names,
        outcomes=panel.outcome_names,
        beta=nothing,
        se=nothing,
        status=np.full(shape, f"not applicable: {TWO_SITES}", dtype=object),
        n_instruments=np.zeros(shape, dtype=int),
        df=nothing,
        assumes=(),
        reference="",
        unit="outcome unit per sd",
        meta={"counted": "runs"},
    )


def _gated(made: Estimates, moves: Sequence[float] | None, scale: float | str) -> Estimates:
    """The estimates, with a word on features that the noise moves far less or more than nature does."""
    if moves is None:
        return made
    status, undecided = made.status.copy(), np.zeros(made.beta.shape)
    low, high = NOISE_MOVES
    for f, moved in enumerate(moves):
        if np.isfinite(moved) and not low <= moved <= high:
            size = "hardly moves it" if moved < low else "moves it beyond nature"
            words = (
                f"this noise {size} ({moved:.2g} natural sd at its tokens; {low:g} to {high:g} is asked for)"
            )
            if isinstance(scale, str):
                words += ", though its scale was chosen for most of the features"
            elif moved > 0:
                words += f": try instruments.noise.scale = {scale / moved:.2g}"
            undecided[f] = np.where(status[f] == "ok", Undecided.NOISE_DOES_NOT_FIT, Undecided.DECIDED)
            status[f] = np.where(status[f] == "ok", words, status[f])
    meta = made.meta | {"noise_moves": [float(m) for m in moves]}
    return replace(made, status=status, details=made.details | {"undecided": undecided}, meta=meta)


def apart_from_own_shifts(made: Estimates) -> Estimates:
    """The estimates of features that do not rest on their own shifts: only these can be compared with shifts."""
    own = np.array([role == "own" for role in made.meta.get("roles", [])])
    if not own.any():
        return made
    cells: dict[str, Any] = {
        n: np.where(own[:, None], np.nan, getattr(made, n))
        for n in ("beta", "se", "ci_lower", "ci_upper", "neglog10p")
    }
    words = np.where(own[:, None], "rests on its own shift, which it cannot be compared with", made.status)
    return replace(made, **cells, status=words.astype(object))


def named_rungs(estimates: Mapping[str, Estimates]) -> list[Estimates]:
    """Every rung under its own name as the method, with the label by which pages and figures call it."""
    return [replace(e, method=name, label=LABELS.get(name, e.label)) for name, e in estimates.items()]


def rank_path_of(plan: Plan, panel: Panel, basis: Basis) -> pd.DataFrame:
    """The primary estimate of every feature over bypass ranks, up to what families and runs carry.

    With a bootstrap in the plan the path uses CR3 errors: a bootstrap at every rank would cost as many runs of it.
    """
    from mrinterp.mr._runs.within import rank_path

    e = plan.estimation
    if plan.features.kind == "transcoder":
        return without_cut("within", panel).to_frame().assign(rank=0)
    # Small ranks besides: where few components are needed, they are where partial variance identifies the most.
    shown = {*SMALL_RANKS, *basis.path["rank"]}
    most = min(basis.meta["ceiling"], max(basis.path["rank"]))
    grid = sorted({int(r) for r in shown if r <= most} | {basis.rank})
    return rank_path(
        panel.select(kinds=(e.kind,)), grid, "CR3" if e.covariance == "bootstrap" else e.covariance
    )
