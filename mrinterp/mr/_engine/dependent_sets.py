"""Exposures that the data cannot tell apart come back as one set: its members, what they do together, its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.shown import listed
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.dependence import DependentSet

__all__ = ["with_sets"]

Array = NDArray[np.float64]

PROBABILITIES = ("pip", "inclusion")
"""Details that are the posterior probability that an exposure acts."""

LEVEL = 0.05
"""Error rate of the verdict on a set."""


def with_sets(estimates: Estimates, sets: Sequence[tuple[DependentSet, NDArray[np.int_]]]) -> Estimates:
    """The same estimates with every set of dependent exposures spread over its members.

    Parameters
    ----------
    estimates : Estimates
        Jointly of the exposures that each set keeps; the cells of its other members are empty.
    sets : sequence of (DependentSet, ndarray of int)
        Sets, and the outcomes (columns) to which each applies.

    Returns
    -------
    Estimates
        Copies (rank 1) have the effect of the whole set in every member's own unit; members of larger sets have no
        effect of their own, and no member has a probability of its own. Each member's status names the others and the verdict on the set, and
        ``meta["dependent_sets"]`` lists, by outcome, members, how they depend on one another, the set's effect or
        the effects of the members that the others are made of, and -log10 p or the probability that one of them acts.

    Notes
    -----
    p of a set of rank r is r times the smallest of the kept members' (Bonferroni): it tests that no member acts.
    """
    if not sets:
        return estimates
    fields: dict[str, Any] = {
        n: np.array(getattr(estimates, n), dtype=float)
        for n in ("beta", "se", "df", "ci_lower", "ci_upper", "neglog10p")
    }
    status, count = estimates.status.copy(), estimates.n_instruments.copy()
    details = {k: np.array(v, dtype=float) for k, v in estimates.details.items()}
    found: list[dict[str, Any]] = []
    for one, cols in sets:
        for o in cols.tolist():
            entry = _entry(estimates, one, o)
            words = _words(estimates, one, o, entry)
            members = np.array(one.members)
            _spread(fields, details, one, o, members)
            count[members, o] = estimates.n_instruments[one.kept[0], o]
            status[members, o] = words
            found.append(entry)
    meta = {**estimates.meta, "dependent_sets": [*estimates.meta.get("dependent_sets", []), *found]}
    for name in ("credible_sets", "best_models"):
        if name in meta:
            meta[name] = _whole(meta[name], sets, estimates.exposures)
    return replace(estimates, **fields, status=status, n_instruments=count, details=details, meta=meta)


def _entry(e: Estimates, one: DependentSet, o: int) -> dict[str, Any]:
    """What the set does together, for ``meta``."""
    kept = list(one.kept)
    out: dict[str, Any] = {
        "outcome": e.outcomes[o],
        "members": [e.exposures[m] for m in one.members],
        "depend": one.relations(e.exposures),
        "rank": one.rank,
    }
    if not np.isfinite(e.beta[kept, o]).all():
        return out | {"verdict": "no estimate"}
    columns = ("beta", "se", "ci_lower", "ci_upper")
    effect = {n: [float(v) for v in getattr(e, n)[kept, o]] for n in columns}
    out |= (
        {n: v[0] for n, v in effect.items()}
        if one.rank == 1
        else effect | {"of": [e.exposures[k] for k in kept]}
    )
    for name in PROBABILITIES:
        if name in e.details:
            out["probability"] = float(1.0 - np.prod(1.0 - e.details[name][kept, o]))
            out["verdict"] = "acts" if out["probability"] > 1 - LEVEL else "undecided"
            return out
    strength = e.neglog10p[kept, o]
    if np.isfinite(strength).all():
        out["neglog10p"] = float(max(strength.max() - np.log10(one.rank), 0.0))
        out["verdict"] = "acts" if out["neglog10p"] > -np.log10(LEVEL) else "undecided"
    return out


MOST_NAMED = 6
"""Members of a set that a status names; all of them are in ``meta["dependent_sets"]``."""


def _words(e: Estimates, one: DependentSet, o: int, entry: dict[str, Any]) -> list[str]:
    """The status of every member."""
    own = [str(e.status[k, o]) for k in one.kept]
    if entry.get("verdict") == "no estimate":
        return [own[0] if own[0] != "ok" else "no estimate of the set that it belongs to"] * len(one.members)
    more = next((f"; {w}" for w in own if w != "ok"), "")
    names = entry["members"]
    verdict = _verdict(entry)
    out = []
    for name in names:
        others = listed([n for n in names if n != name], MOST_NAMED)
        if one.rank == 1:
            text = f"the data cannot tell it from {others}: this is the effect of the set{verdict}"
        else:
            related = "; ".join(entry["depend"])
            text = (
                f"the data cannot tell it from {others} ({related}), so that it has no effect of its own:"
                f" they are one set{verdict}"
            )
        out.append(text + more)
    return out


def _verdict(entry: dict[str, Any]) -> str:
    """Whether any of the members acts, in words."""
    if "probability" in entry:
        return f", and one of its members acts with probability {entry['probability']:.3g}"
    if "neglog10p" not in entry:
        return ""
    p = entry["neglog10p"]
    shown = "p < 1e-300" if p > 300 else f"p = {10.0**-p:.2g}"
    if entry["verdict"] == "acts":
        return f", of which at least one acts ({shown})"
    return f", and it is not shown that any of its members acts ({shown})"


def _spread(
    fields: dict[str, Array], details: dict[str, Array], one: DependentSet, o: int, members: NDArray[np.int_]
) -> None:
    """Fill the members' cells: a copy's in its own unit, those of a larger set with nothing."""
    first = one.kept[0]
    if one.rank > 1:
        for name, values in [*fields.items(), *details.items()]:
            kept = values[list(one.kept), o]
            values[members, o] = kept.max() if name == "set" else np.inf if name == "df" else np.nan
        return
    size = one.made_of[:, 0]
    ends = np.array([fields["ci_lower"][first, o], fields["ci_upper"][first, o]])[None, :] / size[:, None]
    for name, values in [*fields.items(), *details.items()]:
        values[members, o] = np.nan if name in PROBABILITIES else values[first, o]
    fields["beta"][members, o] /= size
    fields["se"][members, o] /= np.abs(size)
    fields["ci_lower"][members, o], fields["ci_upper"][members, o] = ends.min(axis=1), ends.max(axis=1)


def _whole(
    listed: list[dict[str, Any]],
    sets: Sequence[tuple[DependentSet, NDArray[np.int_]]],
    exposures: Sequence[str],
) -> list[dict[str, Any]]:
    """Findings that list exposures by name, with all members of a set where one of it stands."""
    whole = {exposures[k]: [exposures[m] for m in one.members] for one, _ in sets for k in one.kept}

    def widened(value: Any) -> Any:
        if isinstance(value, list):
            return [widened(v) for v in value]
        if not isinstance(value, dict):
            return value
        out = {k: widened(v) for k, v in value.items() if k != "exposures"}
        if "exposures" in value:
            names = [n for x in value["exposures"] for n in whole.get(x, [x])]
            out["exposures"] = [x for x in exposures if x in names]
        return {k: out[k] for k in value}

    return [widened(v) for v in listed]
