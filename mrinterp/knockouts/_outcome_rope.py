"""The region of practical equivalence of whole-knockout effects, and the words that go with a cell."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.checks import checked_number
from mrinterp.knockouts._bench import Bench
from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.tests.tails import critical_value

__all__ = [
    "ONE_FAMILY",
    "label_sizes",
    "outcome_rope",
    "outcome_sd",
    "resolutions",
    "span_status",
    "unread",
]

UNREAD = (
    "the run does not read what was edited: however large the edit of the site, its output stays the same (the module"
    " may return several things, of which the network uses another)"
)

ONE_FAMILY = (
    "all prompts are of one family, so that no standard error can be estimated; give at least two families"
)

LABEL_PROMPTS = 8
"""Prompts beyond which two values are those of a label, and not of few prompts."""


def outcome_sd(bench: Bench) -> NDArray[np.float64]:
    """Standard deviation (O,) of the clean outcomes over prompts; 0 where they never vary."""
    if bench.prompts < 2:
        return np.zeros(bench.clean.shape[1])
    return np.asarray(bench.clean.std(axis=0, ddof=1))


def label_sizes(bench: Bench) -> dict[str, float]:
    """Difference between the two values of every outcome that is a label: computed without a draw, with two values."""
    found = {}
    for o, name in enumerate(bench.outcome.names):
        values = np.unique(bench.computed[:, o])
        if len(values) == 2 and name not in bench.outcome.sampled_names and bench.prompts > LABEL_PROMPTS:
            found[name] = float(np.ptp(values))
    return found


def outcome_rope(bench: Bench, rope_sd: float, name: str = "rope_sd") -> NDArray[np.float64]:
    """Half width (O,) of the region of practical equivalence, ``rope_sd`` standard deviations of the outcome.

    0 for an outcome that never varies between prompts: its effects are then compared with zero.

    Raises
    ------
    InputError
        For a negative width, under the argument's ``name``.
    """
    return checked_number(rope_sd, name, least=0, unit="in sd of the outcome") * outcome_sd(bench)


def resolutions(bench: Bench, sampling: bool = False) -> NDArray[np.float64]:
    """Smallest difference (O,) between two runs that is more than noise, in units of each outcome.

    The noise floor of identical runs, or the rounding of the outcome's largest value where that is more: an
    edit that does nothing still changes the order of a sum. 16 steps of single or double precision; one of
    half precision, where a network that computes in it also gives its outcomes in it. A network in half
    precision rounds far more on its way than its outcome shows, so there it is also tried: see `_jittered`.

    A sampled outcome's differences between runs bound no effect: they average out over inputs, and are in
    the errors. It has its rounding alone, but where ``sampling`` asks what two runs differ by.
    """
    floors = bench.noise_floors()
    if not sampling:
        floors = np.where(np.isin(bench.outcome.names, bench.outcome.sampled_names), 0.0, floors)
    floors = np.maximum(floors, _rounding(bench) * np.abs(bench.computed).max(axis=0))
    return np.maximum(floors, _jittered(bench)) if torch.finfo(bench.dtype).bits < 32 else floors


def _jittered(bench: Bench) -> NDArray[np.float64]:
    """Largest change (O,) of each outcome where one in twelve of the site's coordinates moves to a neighbor in
    the network's dtype: a step with the variance that rounding the edited activation has."""
    changes = []
    for a in range(0, bench.prompts, bench.block):
        rows = np.arange(a, min(a + bench.block, bench.prompts))

        def neighbors(h: torch.Tensor, rows: NDArray[np.int_] = rows) -> torch.Tensor:
            dice = np.stack([np.random.default_rng(int(p)).integers(0, 24, h.shape[1:]) for p in rows])
            way = torch.from_numpy((dice == 0) - 1.0 * (dice == 1)).to(h.device)
            # Three quarters of a step at 1 round to the neighbor at every mantissa.
            return (h.double() * (1 + 0.75 * torch.finfo(h.dtype).eps * way)).to(h.dtype)

        # The same name: sampled outcomes are drawn alike, so that only the rounding differs.
        clean = bench.run_block(rows, {}, "rounding", rows)[0]
        moved = bench.run_block(rows, {bench.site: neighbors}, "rounding", rows)[0]
        changes.append(np.abs(moved - clean).max(axis=0))
    return np.asarray(np.max(changes, axis=0))


def _rounding(bench: Bench) -> float:
    """Rounding of an outcome, as a share of it."""
    computed = torch.from_numpy(bench.computed)
    narrow = torch.finfo(bench.dtype).bits < 32 and torch.equal(computed.to(bench.dtype).double(), computed)
    if narrow:
        return float(torch.finfo(bench.dtype).eps)
    single = torch.equal(computed.float().double(), computed)
    return 16 * float(torch.finfo(torch.float32 if single else torch.float64).eps)


def unread(bench: Bench, change: NDArray[np.float64]) -> str:
    """`UNREAD` where edits left every bit of every outcome as it was and the run reads nothing of the site; else empty."""
    return UNREAD if np.size(change) and not np.any(change) and not bench.site_is_read else ""


def span_status(
    bench: Bench, span: NDArray[np.float64], level: float, what: str
) -> tuple[NDArray[np.object_], float]:
    """Whether effects (P, O) that everything else is divided by can be told from zero, outcome by outcome.

    Returns
    -------
    status : ndarray (O,) of str
        ``ok``, or why a share of it is undefined; ``what`` are the words for what was done.
    df : float
        Families minus one.
    """
    mean, se, df = clustered_mean(span, bench.family)
    out = np.full(mean.shape, "ok", dtype=object)
    if not df:
        out[:] = ONE_FAMILY
        return out, df
    silent = unread(bench, span)
    if silent:
        out[:] = silent
        return out, df
    half, floor = critical_value(level, df) * se, resolutions(bench)
    for o, name in enumerate(bench.outcome.names):
        if abs(mean[o]) <= floor[o]:
            out[o] = f"{what} moves {name} by {mean[o]:.2g}, within the noise floor of {floor[o]:.2g}"
        elif abs(mean[o]) <= half[o]:
            out[o] = (
                f"{what} moves {name} by {mean[o]:.2g} +- {half[o]:.2g}: it cannot be told from zero at {level:.0%}"
            )
    return out, df
