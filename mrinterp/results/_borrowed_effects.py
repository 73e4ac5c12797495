"""Whose effect a feature's univariable estimate carries: its own, or that of what moves with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines
from mrinterp.stats.tests.tails import critical_value

__all__ = ["BYPASS", "BorrowedEffect", "BorrowedEffects"]

Array = NDArray[np.float64]

BYPASS = "the bypass"
"""Name of the source that is what passes the features by."""

ENOUGH = 0.9
"""Share of an outcome's changes that a joint fit must explain, so that its parts name a source."""

UNRANKED = "which cannot be ranked"

NAMED = 3
"""Sources that a sentence names; the others are added up. Also the most that are named together."""

MOST = 0.5
"""Share of all parts that sources must lend together, so that they are named together."""


@dataclass(frozen=True, kw_only=True)
class BorrowedEffect:
    """One feature and one outcome; prints as a sentence.

    Parameters
    ----------
    feature : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    total : float
        The univariable estimate: the effect that the feature shows.
    own : float
        What of it is the feature's own.
    source : str
        What most is borrowed from; empty where more is its own than borrowed from any one source.
    company : tuple of str
        The features that can be named as those that most is borrowed from (`BorrowedEffects.named`): one, several that cannot be
        ranked, or none.
    table : DataFrame
        One row per part, the largest first: ``source, kind, effect, se, ci_lower, ci_upper, correlation,
        named``.
    status : str
        ``ok``, or what cannot be told apart.
    unit : str
        What one unit of the effects is.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> example("BorrowedEffects")["feature 0", "outcome 1"].feature
    'feature 0'
    """

    feature: str
    outcome: str
    total: float
    own: float
    source: str
    company: tuple[str, ...]
    table: pd.DataFrame = field(repr=False, compare=False)
    status: str
    unit: str
    level: float

    def __str__(self) -> str:
        if not np.isfinite(self.total):
            return f"{self.feature} on {self.outcome}: {self.status}."
        rows = self.table.set_index("kind")
        parts = [f"{_number(rows.loc['own'])} its own"]
        borrowed = self.table[self.table["kind"].isin(("borrowed", "bypass"))]
        for row in borrowed.head(NAMED).to_dict("records"):
            near = "" if np.isnan(row["correlation"]) else f" (correlation {_short(row['correlation'])})"
            parts.append(f"{_number(row)} borrowed from {row['source']}{near}")
        others = borrowed.iloc[NAMED:]
        if len(others):
            parts.append(f"{others['effect'].sum():.2g} from the rest ({len(others)})")
        left = rows.loc["left"]
        if abs(left["effect"]) > 1e-9 * max(abs(self.total), 1e-300):
            parts.append(f"{_number(left)} left unexplained or from sampling error")
        head = f"{self.feature} on {self.outcome}: {self.total:.2g} {self.unit}".rstrip()
        several = (
            f"It borrows most from {_together(self.company)}, {UNRANKED}" if len(self.company) > 1 else ""
        )
        notes = [several, "" if self.status == "ok" else f"Note: {self.status}"]
        note = "".join(f" {n}." for n in notes if n)
        return f"{head}, of which {', '.join(parts)} ({100 * self.level:.4g}% intervals).{note}"


def _together(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]} together"


def _number(row: Any) -> str:
    return f"{row['effect']:.2g} [{row['ci_lower']:.2g}, {row['ci_upper']:.2g}]"


def _short(correlation: float) -> str:
    return f"{correlation:.2f}".replace("0.", ".", 1)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BorrowedEffects(Result):
    """Univariable effects of F features on O outcomes, taken apart into their own part and parts from S sources.

    Parameters
    ----------
    features, outcomes : tuple of str
    sources : tuple of str
        What effects may be borrowed from: features (those that cannot be told apart as one source, named as a group), then
        ``the bypass`` where there is one.
    total, total_se : ndarray (F, O)
        The univariable estimate, and its standard error.
    own, own_se : ndarray (F, O)
        Its own part; of a feature that belongs to a group, the group's.
    borrowed, borrowed_se : ndarray (F, S, O)
        Parts from every source; 0 from the source that the feature itself belongs to.
    left, left_se : ndarray (F, O)
        What remains: in summary statistics the sampling error of the effects that the univariable estimate does not
        correct for; 0 at run level; with effects from elsewhere what they do not explain.
    own_and_largest_se : ndarray (F, O)
        Standard error of the own part and the largest borrowed part together.
    correlation : ndarray (F, S)
        Of the feature's changes with the source's; nan with the bypass.
    member : ndarray (F,) of int
        The source that the feature itself belongs to; -1 where it is none.
    status : ndarray (F, O) of str
        ``ok``, or what cannot be told apart, or why there is no number.
    df, level : float
        Degrees of freedom of t, and confidence level of the intervals.
    unit : str
        What one unit of the effects is.
    meta : dict
        ``level_of`` (``runs`` or ``summary``), ``clusters``, how sources were chosen; of a joint fit of runs, ``fit``: the share
        of every outcome's changes that it explains.

    Notes
    -----
    Without effects from elsewhere, total = own + borrowed over all sources + left, exactly.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("BorrowedEffects").summary)
    borrowed effects: 3 features, 4 sources, 2 outcomes
    """

    KIND: ClassVar[str] = "borrowed effects"

    features: Annotated[tuple[str, ...], Axis("F")]
    sources: Annotated[tuple[str, ...], Axis("S")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    total: Annotated[Array, Shape("F", "O")]
    total_se: Annotated[Array, Shape("F", "O")]
    own: Annotated[Array, Shape("F", "O")]
    own_se: Annotated[Array, Shape("F", "O")]
    borrowed: Annotated[Array, Shape("F", "S", "O")]
    borrowed_se: Annotated[Array, Shape("F", "S", "O")]
    left: Annotated[Array, Shape("F", "O")]
    left_se: Annotated[Array, Shape("F", "O")]
    own_and_largest_se: Annotated[Array, Shape("F", "O")]
    correlation: Annotated[Array, Shape("F", "S")]
    member: Annotated[NDArray[np.int_], Shape("F")]
    status: Annotated[NDArray[Any], Shape("F", "O")]
    df: float
    level: float = 0.95
    unit: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def main_source(self) -> NDArray[np.int_]:
        """The source (F, O) that most of the effect is borrowed from; -1 where more is its own, or nothing is borrowed."""
        part = self.borrowed * np.sign(self.total)[:, None, :]
        if not len(self.sources):
            return np.full(self.total.shape, -1)
        place = np.argmax(np.nan_to_num(part, nan=-1.0), axis=1)
        most = np.take_along_axis(part, place[:, None, :], axis=1)[:, 0]
        with np.errstate(invalid="ignore"):
            return np.where((most > 0) & (most > np.abs(self.own)), place, -1)

    @cached_property
    def main_feature(self) -> NDArray[np.int_]:
        """The source (F, O), the bypass aside, that more is borrowed from than from any other and than is its own; else -1."""
        part = np.nan_to_num(np.abs(self.borrowed[:, [s != BYPASS for s in self.sources]]), nan=-1.0)
        if not part.shape[1]:
            return np.full(self.total.shape, -1)
        place = np.argmax(part, axis=1)
        most = np.take_along_axis(part, place[:, None, :], axis=1)[:, 0]
        with np.errstate(invalid="ignore"):
            return np.where((most > 0) & (most > np.abs(self.own)), place, -1)

    @cached_property
    def named(self) -> NDArray[np.bool_]:
        """The sources (F, S, O) that can be named as those that most is borrowed from: one, or up to 3 that cannot be ranked; none
        where more is the feature's own, or where something of `why_unnamed` stands against it."""
        known = (self.why_unnamed == "") & (self.main_feature >= 0)
        return np.asarray(self._alike & known[:, None, :])

    @cached_property
    def _alike(self) -> NDArray[np.bool_]:
        """The largest part that is borrowed from a feature, and those (F, S, O) that differ from it by less than their errors."""
        size = self._sizes
        if not size.shape[1]:
            return np.zeros(size.shape, bool)
        error = np.nan_to_num(self.borrowed_se)
        place = np.argmax(size, axis=1)[:, None, :]
        largest, its = (np.take_along_axis(a, place, axis=1) for a in (size, error))
        near = largest - size <= critical_value(self.level, self.df) * np.hypot(error, its)
        np.put_along_axis(near, place, True, axis=1)
        return np.asarray(near & (size > 0) & (self.main_feature >= 0)[:, None, :])

    @cached_property
    def _sizes(self) -> Array:
        """Sizes of the parts (F, S, O) that are borrowed from features; the bypass's is -1."""
        size = np.nan_to_num(np.abs(self.borrowed))
        size[:, [s == BYPASS for s in self.sources]] = -1.0
        return size

    @cached_property
    def why_unnamed(self) -> NDArray[Any]:
        """Why no source can be named (F, O), where most of the effect is not the feature's own; else empty.

        The joint fit explains less than 90% of the outcome's changes (``meta["fit"]``), so that its parts may be wrong; or several
        of the largest parts differ by less than their errors and are no group that can be named: more than 3, one of which the
        interval holds 0 or has the other sign, or together less than half of all parts.
        """
        why = np.full(self.total.shape, "", dtype=object)
        alike, fit = self._alike, np.array(self.meta.get("fit", [1.0] * len(self.outcomes)))
        for f, o in np.argwhere(self.main_feature >= 0):
            if fit[o] < ENOUGH:
                why[f, o] = f"features and bypass together explain {fit[o]:.0%} of the outcome's changes"
            elif alike[f, :, o].sum() > 1:
                against = self._no_group(f, np.flatnonzero(alike[f, :, o]), o)
                names = listed([self.sources[s] for s in self._largest_first(f, o)], NAMED)
                why[f, o] = against and f"parts from {names} differ by less than their errors{against}"
        return why

    def _no_group(self, f: int, some: NDArray[np.int_], o: int) -> str:
        """What stands against naming sources together that cannot be ranked; empty where nothing does."""
        if len(some) > NAMED:
            return f", of which at most {NAMED} are named together"
        parts, errors = self.borrowed[f, some, o], self.borrowed_se[f, some, o]
        # Of the feature's whole effect, whatever its sign: parts that oppose each other are no company.
        lends = parts * np.sign(self.total[f, o]) > critical_value(self.level, self.df) * errors
        if not lends.all():
            worst = self.sources[some[int(np.argmin(lends))]]
            return f", and {worst} may lend nothing of it"
        everything = np.abs(np.nan_to_num([self.own[f, o], self.left[f, o]])).sum()
        everything += np.abs(np.nan_to_num(self.borrowed[f, :, o])).sum()
        share = np.abs(parts).sum() / everything
        return "" if share >= MOST else f", and together they are {share:.0%} of all parts"

    def _largest_first(self, f: int, o: int) -> list[int]:
        """The sources that differ from the largest by less than their errors, the largest first."""
        some = np.flatnonzero(self._alike[f, :, o])
        return [int(s) for s in some[np.argsort(-self._sizes[f, some, o], kind="stable")]]

    def company(self, feature: str, outcome: str) -> tuple[str, ...]:
        """The sources that can be named as those that most of an effect is borrowed from, the largest part first.

        Parameters
        ----------
        feature, outcome : str
            Names.

        Returns
        -------
        tuple of str
            One; several that cannot be ranked; none where more is the feature's own or where nobody can be named.

        Raises
        ------
        InputError
            For unknown names.

        Examples
        --------
        >>> from mrinterp.results import example
        >>> example("BorrowedEffects").company("feature 0", "outcome 1")
        ()
        """
        f, o = self._at((feature, outcome), self.features, self.outcomes)
        return self._company(f, o)

    def _company(self, f: int, o: int) -> tuple[str, ...]:
        return tuple(self.sources[s] for s in self._largest_first(f, o) if self.named[f, s, o])

    def __getitem__(self, key: tuple[str, str]) -> BorrowedEffect:
        f, o = self._at(key, self.features, self.outcomes)
        table = self._rows(np.array([f]), np.array([o])).drop(columns=["feature", "outcome", "status"])
        table = table[table["kind"] != "total"]
        order = np.argsort(-np.abs(table["effect"].to_numpy()), kind="stable")
        s = int(self.main_source[f, o])
        return BorrowedEffect(
            feature=self.features[f],
            outcome=self.outcomes[o],
            total=float(self.total[f, o]),
            own=float(self.own[f, o]),
            source=self.sources[s] if s >= 0 else "",
            company=self._company(f, o),
            table=table.iloc[order].reset_index(drop=True),
            status=str(self.status[f, o]),
            unit=self.unit,
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome, part): the total, its own part, one per source (``named``: whether most is said to be
        borrowed from it), what is left."""
        F, O = self.total.shape
        return self._rows(np.repeat(np.arange(F), O), np.tile(np.arange(O), F))

    def _rows(self, f: NDArray[np.int_], o: NDArray[np.int_]) -> pd.DataFrame:
        """The parts of some features and outcomes, in order; a feature is no source of itself."""
        S, n = len(self.sources), len(f)
        names = np.array(["", "", *self.sources, ""], dtype=object)
        kinds = ["bypass" if s == BYPASS else "borrowed" for s in self.sources]
        parts: dict[str, Array] = {}
        for name, single, many in (("effect", "", ""), ("se", "_se", "_se")):
            ends = [getattr(self, part + single)[f, o][:, None] for part in ("total", "own", "left")]
            borrowed = getattr(self, f"borrowed{many}")[f, :, o]
            parts[name] = np.concatenate([ends[0], ends[1], borrowed, ends[2]], axis=1)
        near = np.full((n, S + 3), np.nan)
        near[:, 2:-1] = self.correlation[f]
        half = critical_value(self.level, self.df) * parts["se"]
        frame = pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object)[f], S + 3),
                "outcome": np.repeat(np.array(self.outcomes, dtype=object)[o], S + 3),
                "kind": np.tile(np.array(["total", "own", *kinds, "left"], dtype=object), n),
                "source": np.tile(names, n),
                "effect": parts["effect"].ravel(),
                "se": parts["se"].ravel(),
                "ci_lower": (parts["effect"] - half).ravel(),
                "ci_upper": (parts["effect"] + half).ravel(),
                "correlation": near.ravel(),
                "named": np.pad(self.named[f, :, o], ((0, 0), (2, 1))).ravel(),
                "status": np.repeat(self.status[f, o], S + 3),
            }
        )
        itself = (np.arange(S + 3)[None, :] == self.member[f][:, None] + 2) & (self.member[f] >= 0)[:, None]
        rows: pd.DataFrame = frame[~itself.ravel()].reset_index(drop=True)
        return rows

    def __str__(self) -> str:
        size = np.abs(np.nan_to_num(self.total)).max(axis=1)
        order = np.argsort(-size, kind="stable")
        cells = (self[self.features[f], y] for y in self.outcomes for f in order)
        return first_lines(cells, self.total.size)

    @property
    def groups(self) -> tuple[str, ...]:
        """Sources that are several features which the data cannot tell apart."""
        held = np.bincount(self.member[self.member >= 0], minlength=len(self.sources))
        return tuple(s for s, n in zip(self.sources, held, strict=True) if n > 1)

    def short(self, feature: str, outcome: str) -> str:
        """Total, own part and the largest borrowed one, without intervals."""
        return self._short(*self._at((feature, outcome), self.features, self.outcomes))

    def _short(self, f: int, o: int) -> str:
        parts = np.where(np.arange(len(self.sources)) == self.member[f], 0.0, self.borrowed[f, :, o])
        if not np.isfinite(self.total[f, o]):
            return f"{self.features[f]}: {self.status[f, o]}"
        # As many decimals as show two digits of the total.
        d = max(2, 1 - int(np.floor(np.log10(max(abs(self.total[f, o]), 1e-12)))))
        own = f"{self.own[f, o]:.{d}f} its own"
        said = f"{self.features[f]}: {self.total[f, o]:.{d}f} {self.unit}, of which {own}"
        if not np.nan_to_num(parts).any():
            return said
        company = self._largest_first(f, o)
        if len(company) > 1 and self.named[f, company[0], o]:
            each = "; ".join(f"{parts[s]:.{d}f}{self._close(f, s)}" for s in company)
            names = _together([self.sources[s] for s in company])
            return f"{said}, {parts[company].sum():.{d}f} borrowed from {names}, {UNRANKED} ({each})"
        s = int(np.argmax(np.abs(np.nan_to_num(parts))))
        close, why = self._close(f, s), self.why_unnamed[f, o]
        unsure = f"; whose it is cannot be said: {why}" if why else ""
        return f"{said}, {parts[s]:.{d}f} borrowed from {self.sources[s]}{close}{unsure}"

    def _close(self, f: int, s: int) -> str:
        near = self.correlation[f, s]
        return "" if np.isnan(near) else f", correlation {_short(near)}"

    def shorts(self) -> dict[tuple[str, str], str]:
        """`short` of every feature and outcome."""
        cells = np.ndindex(self.total.shape)
        return {(self.features[f], self.outcomes[o]): self._short(f, o) for f, o in cells}

    def shown_by_others(self, outcome: str) -> list[str]:
        """Features whose effect on an outcome is more another source's than their own, the clearest first: those whose
        total is not 0 by its interval."""
        (o,) = self._at((outcome,), self.outcomes)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.nan_to_num(np.abs(self.total[:, o]) / self.total_se[:, o])
        clear = (self.main_source[:, o] >= 0) & (z > critical_value(self.level, self.df))
        order = np.argsort(-z, kind="stable")
        return [self.features[f] for f in order if clear[f]]

    def impostors(self) -> str:
        """How many features show mostly what they borrow, and from whom, in one sentence."""
        found = [
            f"{self.features[f]} (from {self.sources[self.main_source[f, o]]}, on {self.outcomes[o]})"
            for f, o in np.argwhere(self.main_source >= 0)
        ]
        if not found:
            return "No feature shows more of another source's effect than of its own."
        return f"Most of their effect is borrowed: {listed(found, 6)}."
