"""Co-activation decomposition: whose effect a feature's univariable estimate carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_level, checked_numbers_of, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.diagnostics._borrowed_runs import (
    MOST_CHOSEN,
    MOST_JOINT,
    NO_SOURCE,
    all_at_once,
    given_effects,
    grouped,
    made_result,
    near_copies,
    run_borrowed,
)
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.borrowed import (
    BorrowedParts,
    Layout,
    Sums,
    borrowed_parts,
    forward_choice,
    run_sums,
)
from mrinterp.stats.clustered.dependence import dependent_sets

__all__ = ["borrowed_effects"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

LEAST = 5
"""Fewest instruments of a jackknife over instruments."""

LEAST_LEFT = 0.1
"""Share of an exposure's sum of squared effects that must be more than sampling error."""

SAME = 1e-9
"""Variance, of exposures scaled to length 1, of a direction in which they do not differ at all."""

WEAK = "the instruments do not move it beyond sampling error"


def borrowed_effects(
    data: Panel | MRData,
    sources: Sequence[str] | None = None,
    *,
    rank: int | None = None,
    effects: Estimates | None = None,
    level: float = 0.95,
) -> BorrowedEffects | NotApplicable:
    """Take every feature's univariable effect apart: its own part, and what it borrows from named others.

    Parameters
    ----------
    data : Panel or MRData
        N runs with F features, or the effects of J instruments on F exposures; O outcomes.
    sources : sequence of str, optional
        Features that effects may be borrowed from. Default: all of them, up to 400 and a third of the runs (of the
        instruments); beyond that up to 40 are chosen on half of the families (of the instruments), and everything is
        estimated on the other half.
    rank : int, optional
        Components of the bypass that are held beside the features (runs only); default the panel's.
    effects : Estimates, optional
        Effects of the features found in another way, such as by knockouts, instead of the joint fit; they must have
        numbers for the sources. What they do not explain is ``left``.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    BorrowedEffects or NotApplicable
        ``NotApplicable`` where the instruments are too weak for the correction of sampling error, or too few.

    Raises
    ------
    InputError
        For data of another type, unknown sources, instruments that are correlated, or features none of which changes.

    Notes
    -----
    With H the products of the features' (and the bypass's) changes and c those with the outcome, MV = H^-1 c are the
    joint effects, UV_k = c_k / H_kk the univariable ones, d_lk = H_lk / H_kk the slope of source l on feature k, and
    UV_k = sum over l of MV_l d_lk, exactly. A feature that is no source is fitted beside the sources, one at a time.
    Intervals: delete-one-family jackknife of the whole decomposition (of summary statistics: delete one instrument).
    In summary statistics of a ``between`` design H and c are free of the known sampling error (MRBEE); what the plain
    univariable estimate differs by is ``left``. Features that are copies or sums of one another are one source.

    Not valid where a cause is neither among the features nor in the bypass: what it does is then shown as the own part
    of its company. With fewer than about 20 families intervals are too narrow. A part is a statement about these
    perturbations: another kind moves features together in another way.

    Source: the omitted-variable formula (Angrist & Pischke 2009, Mostly Harmless Econometrics, section 3.2.2), with
    every term named.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.diagnostics.borrowed_effects(mrinterp.worlds.linear_world(0, copy=False).panel)
    >>> found["twin", "y"].source
    'cause'
    """
    checked_type(data, "data", (Panel, MRData), "mrinterp.from_arrays makes a panel of arrays")
    level = checked_level(level)
    names = data.feature_names if isinstance(data, Panel) else data.exposures
    wanted = None if sources is None else checked_numbers_of(sources, "sources", list(names), numbers=False)
    if isinstance(data, MRData):
        return _summary_borrowed(data, wanted, effects, level)
    return run_borrowed(data, rank, wanted, effects, level)


def _summary_borrowed(
    data: MRData, wanted: Ints | None, effects: Estimates | None, level: float
) -> BorrowedEffects | NotApplicable:
    """The decomposition of instruments' effects, outcome by outcome where their weights differ."""
    if data.ld is not None and not np.allclose(data.ld, np.eye(len(data.instruments)), atol=0.1):
        raise InputError("data.ld", "correlated instruments", "Clump them first: mrinterp.coloc.clump")
    some = _Instruments.of(data)
    J = len(some.g[0])
    # Among more the search costs their cube; those that are chosen as sources are grouped again below.
    near = dependent_sets(some.b[some.live].T, SAME) if len(some.live) <= MOST_JOINT else []
    sets = [s.among(some.live) for s in near]
    spare = [m for s in sets for m in s.members if m not in s.kept]
    kept, rows, note = np.setdiff1d(some.live, spare), np.arange(J), ""
    if wanted is not None:
        kept = np.intersect1d(kept, wanted)
    elif not all_at_once(len(kept), len(kept), J):
        first = np.arange(J) % 2 == 0
        scaled = (some.b * np.sqrt(some.weight.mean(axis=0))).T
        out = (some.g * np.sqrt(some.weight)).T
        place = forward_choice(
            scaled[first][:, kept], out[first], np.zeros((int(first.sum()), 0)), MOST_CHOSEN
        )
        kept, rows = np.sort(kept[place]), np.flatnonzero(~first)
        note = f"{len(kept)} sources chosen on {int(first.sum())} instruments, estimated on the others"
    if not len(kept):
        return NotApplicable(NO_SOURCE, "borrowed effects")
    if len(rows) <= len(kept) + 1:
        return NotApplicable(f"{len(rows)} instruments for {len(kept)} sources", "borrowed effects")
    found = grouped(data.exposures, sets, kept, some.live, some.b[kept][:, rows].T)
    base = kept[found.order]
    own, spanned, words = near_copies(some.b[base][:, rows].T, some.b[some.live][:, rows].T, found, len(kept))
    layout = Layout(found.starts, own, spanned)
    given = None if effects is None else given_effects(effects, data.exposures, data.outcomes, base, 0)
    parts = []
    for group in _alike(some.weight):
        mine = None if given is None else (given[0][:, group], given[1][:, group])
        try:
            whole = some.sums(rows, base, group)
            each = (some.sums(rows[[j]], base, group) for j in range(len(rows)))
            parts.append(borrowed_parts(whole, each, layout, mine))
        except np.linalg.LinAlgError:
            why = "the instruments are too weak to tell the sources apart beyond sampling error"
            return NotApplicable(why, "borrowed effects")
    meta = {"level_of": "summary", "clusters": len(rows), "rank": 0, "chosen": note, **some.meta}
    return made_result(
        data.exposures,
        data.outcomes,
        found.names,
        _side_by_side(parts, _alike(some.weight)),
        some.live,
        own,
        words,
        found.starts,
        {},
        data.unit,
        level,
        meta,
        some.dead_words,
    )


@dataclass(frozen=True, eq=False)
class _Instruments:
    """Effects ``b`` (F, J) and ``g`` (O, J) of the instruments that have all of them, and their known errors.

    ``live`` (L,): exposures that the instruments move beyond sampling error.
    """

    b: Array
    g: Array
    weight: Array
    errors: Array | None
    live: Ints
    dead_words: dict[int, str]
    meta: dict[str, Any]

    @classmethod
    def of(cls, data: MRData) -> _Instruments:
        known = np.zeros(data.beta_x.shape, bool) if data.unmoved is None else data.unmoved
        b, se = np.where(known, 0.0, data.beta_x), np.where(known, 0.0, data.se_x)
        everything = np.concatenate([b, se, data.beta_y, data.se_y])
        whole = np.asarray(np.isfinite(everything).all(axis=0))
        if whole.sum() < LEAST:
            raise InputError(
                "data",
                f"{int(whole.sum())} instruments with an effect on every trait",
                f"Give at least {LEAST}; leave out traits that lack effects (data.select)",
            )
        b, se, g, sy = b[:, whole], se[:, whole], data.beta_y[:, whole], data.se_y[:, whole]
        corrected = data.design == "between"
        errors = data.select(instruments=whole).error_covariance() if corrected else None
        weak = (b**2).sum(axis=1) * (1.0 - LEAST_LEFT) <= (se**2).sum(axis=1) if corrected else ~b.any(axis=1)
        words = dict.fromkeys(np.flatnonzero(weak).tolist(), WEAK)
        meta = {"corrected": corrected, "left_out_instruments": int((~whole).sum())}
        return cls(b, g, 1.0 / sy**2, errors, np.flatnonzero(~weak), words, meta)

    def sums(self, rows: Ints, base: Ints, group: Ints) -> Sums:
        """Sums over some instruments for outcomes of one weight, the known errors' products taken off."""
        w = self.weight[group[0], rows] / self.weight[group[0]].mean()
        root = np.sqrt(w)
        b, g = self.b[:, rows] * root, self.g[group][:, rows] * root
        plain = run_sums(b[base].T, b[self.live].T, g.T)
        if self.errors is None:
            return plain
        F = len(self.b)
        S = np.einsum("j,jkl->kl", w, self.errors[rows])
        xx, xy = S[:F, :F], S[:F, F + group]
        return Sums(
            plain.base - xx[np.ix_(base, base)],
            plain.across - xx[np.ix_(base, self.live)],
            plain.square - np.diag(xx)[self.live],
            plain.base_out - xy[base],
            plain.out - xy[self.live],
            plain.plain_square,
            plain.plain_out,
        )


def _alike(weight: Array) -> list[Ints]:
    """Outcomes (O, J) in groups whose weights are proportional: one decomposition serves all of a group."""
    scaled = weight / weight.mean(axis=1, keepdims=True)
    _, which = np.unique(np.round(scaled, 9), axis=0, return_inverse=True)
    return [np.flatnonzero(which.ravel() == g) for g in range(int(which.max()) + 1)]


def _side_by_side(parts: list[BorrowedParts], groups: list[Ints]) -> BorrowedParts:
    """Decompositions of groups of outcomes as one, outcomes in their order; correlations are those of the first."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(groups))
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in parts], axis=-1)[..., order]
        for name in BorrowedParts.__dataclass_fields__
        if name not in ("cosine", "clusters")
    }
    return replace(parts[0], **joined)
