"""Which instruments are used: those associated with an exposure, and of neighbors the strongest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_fraction, checked_number
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.stats.sparse.sparsity import greedy_clumps
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["associated", "cautions", "independent"]

GENOME_WIDE = 5e-8
_MANY = 100  # instruments from which on a few associated ones are few
_FEW = 0.1  # share of associated instruments
_MOST = 20  # traits that are spoken of
_TINY, _ALL_WEIGHT = 0.1, 0.5  # of the median standard error; of the weight


def strength(data: MRData) -> NDArray[np.float64]:
    """-log10 p of every instrument's strongest association with an exposure, (J,); -inf where none is known."""
    with np.errstate(all="ignore"):
        values = neglog10p_normal(data.beta_x / data.se_x)
    return np.asarray(np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf))


def associated(data: MRData, p_threshold: float) -> MRData:
    """Only instruments whose association with some exposure has a p below the threshold.

    Raises
    ------
    InputError
        For a threshold that is no p-value, or where no instrument is left.
    """
    checked_fraction(p_threshold, "p_threshold", zero=False)
    strong = strength(data)
    several = " every exposure" if len(data.exposures) > 1 else f" {data.exposures[0]}"
    kept = strong > -np.log10(p_threshold)
    if not kept.any():
        raise InputError(
            "p_threshold",
            f"none of {len(strong):,} instruments is associated with{several.replace('every', 'any')}"
            f" at p < {p_threshold:g} (smallest p: 1e-{strong.max():.3g})",
            "Raise the threshold, or leave it out",
        )
    reasons = np.full(
        int((~kept).sum()), f"p of its association with{several} is not below {p_threshold:g}", object
    )
    return _keep(data, kept, reasons)


def independent(data: MRData, max_r2: float = 0.001, kb: float = 10_000.0) -> MRData:
    """Of correlated instruments the one most associated with an exposure: by LD, else by distance.

    Raises
    ------
    InputError
        Where neither LD nor positions are known.
    """
    checked_fraction(max_r2, "clump_r2", one=False)
    checked_number(kb, "clump_kb", least=0)
    strong = strength(data)
    names = np.array(data.instruments, dtype=object)
    if data.ld is not None:
        leaders, group = greedy_clumps(strong, data.ld, -np.inf, max_r2)
        r2 = data.ld[np.arange(len(names)), leaders[group]] ** 2
        words = [
            f"correlated with {names[leaders[g]]} (r^2 = {r:.2g}), which is stronger"
            for g, r in zip(group, r2, strict=True)
        ]
        said = f"Of instruments with r^2 above {max_r2:g}, the one most associated with an exposure is kept."
    else:
        chromosome, position = _places(data)
        leaders, group = _greedy_by_distance(strong, chromosome, position, kb * 1000)
        words = [f"within {kb:g} kb of {names[leaders[g]]}, which is stronger" for g in group]
        said = f"Of instruments within {kb:g} kb (no LD is given), the one most associated with an exposure is kept."
    kept = np.zeros(len(names), bool)
    kept[leaders] = True
    out = _keep(data, kept, np.array(words, dtype=object)[~kept])
    return replace(out, meta={**out.meta, "notes": [*out.meta.get("notes", []), said]})


def _keep(data: MRData, kept: NDArray[np.bool_], reasons: NDArray[np.object_]) -> MRData:
    lost = pd.DataFrame({"instrument": np.array(data.instruments, dtype=object)[~kept], "reason": reasons})
    dropped = pd.concat([data.dropped, lost], ignore_index=True) if len(lost) else data.dropped
    return replace(data.select(instruments=kept), dropped=dropped)


def _places(data: MRData) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Chromosome and position of every instrument."""
    fix = "Give LD (--ld FILE), or the columns chromosome and position"
    if not {"chromosome", "position"} <= set(data.info):
        raise InputError("clump", "neither LD nor positions of the instruments", fix)
    chromosome = data.info["chromosome"].fillna("").astype(str).to_numpy(dtype=object)
    position = pd.to_numeric(data.info["position"], errors="coerce").to_numpy(dtype=float)
    lacking = np.flatnonzero((chromosome == "") | np.isnan(position))
    if len(lacking):
        where = f"instrument {data.instruments[lacking[0]]!r}"
        found = f"no LD, and no position ({len(lacking):,} such instruments)"
        raise InputError(f"clump, {where}", found, fix)
    return chromosome, position


def _greedy_by_distance(
    strong: NDArray[np.float64], chromosome: NDArray[np.object_], position: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Strongest first, each taking its neighbors on the chromosome with it: leaders, and each one's leader."""
    group = np.full(len(strong), -1)
    leaders: list[int] = []
    for j in np.argsort(-strong, kind="stable"):
        if group[j] < 0:
            near = (group < 0) & (chromosome == chromosome[j]) & (np.abs(position - position[j]) <= reach)
            group[near] = len(leaders)
            leaders.append(int(j))
    return np.array(leaders, dtype=int), group


def cautions(data: MRData) -> list[str]:
    """What should be known before any estimate: instruments without effects, one that carries all weight."""
    return [*_hardly_associated(data), *_one_carries_all(data)]


def _hardly_associated(data: MRData) -> list[str]:
    out = []
    with np.errstate(all="ignore"):
        strong = neglog10p_normal(data.beta_x[:_MOST] / data.se_x[:_MOST])
    for name, row in zip(data.exposures, strong, strict=False):
        known = row[~np.isnan(row)]
        count = int((known > -np.log10(GENOME_WIDE)).sum())
        if len(known) >= _MANY and count < _FEW * len(known):
            out.append(
                f"Careful: of {len(known):,} instruments {count:,} are associated with {name} at p < {GENOME_WIDE:g}. The"
                " others add noise and pull estimates toward 0 (or, where samples overlap, toward the"
                " correlation): choose instruments with --p-threshold and --clump (in Python p_threshold, clump)."
            )
    return out


def _one_carries_all(data: MRData) -> list[str]:
    out: list[str] = []
    if len(data.instruments) < 3:
        return out
    with np.errstate(all="ignore"):
        for outcome, se in zip(data.outcomes[:_MOST], data.se_y[:_MOST], strict=False):
            weight = np.nan_to_num(np.square(data.beta_x[:_MOST] / se), nan=0.0, posinf=0.0)
            share = weight / weight.sum(axis=1, keepdims=True)
            j = int(np.nanargmax(np.append(np.nan_to_num(share).max(axis=0), 0.0)))
            if j < len(se) and se[j] < _TINY * np.nanmedian(se) and share[:, j].max() > _ALL_WEIGHT:
                out.append(_weighty(data.instruments[j], outcome, se[j], np.nanmedian(se), share[:, j].max()))
        for exposure, beta, se in zip(
            data.exposures[:_MOST], data.beta_x[:_MOST], data.se_x[:_MOST], strict=False
        ):
            strong = np.nan_to_num(np.square(beta / se), nan=0.0, posinf=0.0)
            j = int(strong.argmax())
            if strong.sum() > 0 and se[j] < _TINY**2 * np.nanmedian(se) and strong[j] > 0.9 * strong.sum():
                out.append(
                    f"Careful: the standard error of {data.instruments[j]} on {exposure} ({se[j]:.2g}) is far below the"
                    f" others' (median {np.nanmedian(se):.2g}); mean F is its own. Check its unit."
                )
    return out


def _weighty(instrument: str, outcome: str, se: float, median: float, share: float) -> str:
    return (
        f"Careful: {instrument} carries {100 * min(share, 0.999):.3g}% of the weight for {outcome}: its standard error"
        f" ({se:.2g}) is far below the others' (median {median:.2g}). Check its unit, or leave it out."
    )
