"""Two runs, claim by claim: the same or different beyond error, and what about the runs could be the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.basis import Basis
from mrinterp.core.plan import differences
from mrinterp.results._claims import Claims

__all__ = ["compare_runs", "survival"]

ALIKE = 0.9
"""Cosine of write directions from which two features count as the same one."""
LEVEL = 0.05
PLACES = (
    *(f"model.{k}:" for k in ("given", "package", "folder", "hub", "revision")),
    *(f"inputs.{k}:" for k in ("file", "folder", "array", "index")),
    "prompts.table:",
    "prompts.templates:",
)
"""Keys of a plan that say where something lies: whether it is another one, its digest says."""
DRAWN_BY = ("seed", "prompts", "inputs", "splits", "instruments", "model")
"""Keys of a plan that decide which inputs, families and doses there are."""
COLUMNS = ("effect", "ci_lower", "ci_upper", "verdict", "grade")


class ComparedStudy(Protocol):
    """What a study must have to be compared."""

    @property
    def header(self) -> dict[str, Any]: ...
    @property
    def basis(self) -> Basis: ...
    @property
    def claims(self) -> Claims: ...


def compare_runs(first: ComparedStudy, second: ComparedStudy) -> pd.DataFrame:
    """Every claim of two finished runs.

    Parameters
    ----------
    first, second : ComparedStudy
        Features are matched by their write directions, whatever they are called; one whose match points the other way counts
        with the opposite sign.

    Returns
    -------
    DataFrame
        ``feature, outcome, feature_other`` and effect, interval, verdict and grade of both (``_other``); ``difference`` in errors
        of both, ``q`` (Benjamini & Hochberg over the claims that are compared); ``same``: ``identical``, ``same within errors``,
        ``different beyond error`` (q < .05), ``not compared``; and ``reason``.

    Notes
    -----
    Errors are taken as independent: where two runs share families the test is too careful. *Same within errors* is no proof of
    sameness: ``detectable`` is the difference that would have been found with chance .8.
    """
    one, two = first.claims.claims, second.claims.claims
    match, sign = _matched(first.basis, second.basis)
    frame = one[["feature", "outcome", *COLUMNS]].assign(
        feature_other=one["feature"].map(match).astype(object), sign=one["feature"].map(sign).fillna(1.0)
    )
    other = two[["feature", "outcome", *COLUMNS]].rename(columns={"feature": "feature_other"})
    both = frame.merge(other, on=["feature_other", "outcome"], how="left", suffixes=("", "_other"))
    flipped = (both["sign"] < 0).to_numpy()
    effect, low, high = (
        both[c].to_numpy(dtype=float) for c in ("effect_other", "ci_lower_other", "ci_upper_other")
    )
    both = both.assign(
        effect_other=np.where(flipped, -effect, effect),
        ci_lower_other=np.where(flipped, -high, low),
        ci_upper_other=np.where(flipped, -low, high),
    )
    why = "; ".join(reasons_between(first.header, second.header)) or "nothing that is recorded differs"
    return _judged(both.drop(columns="sign"), why)


def _judged(both: pd.DataFrame, why: str) -> pd.DataFrame:
    """The verdict of every pair of numbers."""
    known = both[["effect", "effect_other", "ci_upper", "ci_upper_other"]].notna().all(axis=1).to_numpy()
    half = [
        (both[f"ci_upper{e}"] - both[f"ci_lower{e}"]).to_numpy(dtype=float) / 2 / stats.norm.ppf(0.975)
        for e in ("", "_other")
    ]
    error = np.hypot(*half)
    gap = (both["effect_other"] - both["effect"]).to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(gap == 0, 0.0, gap / error)
    q = np.full(len(both), np.nan)
    if known.any():
        q[known] = stats.false_discovery_control(np.clip(2 * stats.norm.sf(np.abs(z[known])), 0.0, 1.0))
    words = np.where(q < LEVEL, "different beyond error", "same within errors").astype(object)
    equal = known & (gap == 0) & (both["ci_upper"] == both["ci_upper_other"]).to_numpy()
    words[equal & (both["grade"] == both["grade_other"]).to_numpy()] = "identical"
    words[~known] = "not compared"
    missing = both["feature_other"].isna().to_numpy()
    reason = np.where(words == "different beyond error", why, "").astype(object)
    reason[~known] = "no number in one of the two"
    reason[missing] = f"no feature of the other run points the same way (cosine of at least {ALIKE:g})"
    detectable = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error
    return both.assign(difference=z, q=q, detectable=detectable, same=words, reason=reason)


def survival(both: pd.DataFrame) -> pd.Series:
    """How the claims of a run came out in another one: verdict, sign and size, whatever the errors of the two.

    Parameters
    ----------
    both : DataFrame
        `compare_runs`.

    Returns
    -------
    Series of str
        One of `mrinterp.results._claims.SURVIVAL`. A causal claim survives where it is causal there, with the same sign and half to twice the size; it does
        not where it has the other sign or is negligible there. Of what is negligible here it is said whether it is there. *No claim*
        where nothing was decided here, or the other run has no such feature.
    """
    here, there = (both[c].to_numpy(dtype=object) for c in ("verdict", "verdict_other"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (both["effect_other"] / both["effect"]).to_numpy(dtype=float)
    causal, absent = here == "causal", here == "negligible"
    again, alike = there == "causal", (ratio >= 0.5) & (ratio <= 2.0)
    found = np.select(
        [
            (both["same"] == "not compared").to_numpy() | ~(causal | absent),
            causal & again & alike,
            causal & again & (ratio > 0),
            causal & (again | (there == "negligible")),
            absent & (there == "negligible"),
            absent & again,
        ],
        ["no claim", "survives", "survives in sign, not in size", "does not survive", "absent there too", "does not survive"],
        "not resolved there",
    )  # fmt: skip
    return pd.Series(found, index=both.index, dtype=object)


def _matched(first: Basis, second: Basis) -> tuple[dict[str, str], dict[str, float]]:
    """Every feature's partner, and whether it points the same way; nothing for features without one."""
    a, b = (_unit(np.asarray(x.dictionary.write, dtype=float)) for x in (first, second))
    names = [x.dictionary.names for x in (first, second)]
    if a.shape[1] != b.shape[1]:
        return {}, {}
    cosine = a @ b.T
    best = np.abs(cosine).argmax(axis=1)
    at = cosine[np.arange(len(a)), best]
    kept = np.abs(at) >= ALIKE
    match = {names[0][k]: names[1][best[k]] for k in np.flatnonzero(kept)}
    return match, {names[0][k]: float(np.sign(at[k])) for k in np.flatnonzero(kept)}


def _unit(write: NDArray[np.float64]) -> NDArray[np.float64]:
    """Write directions, one a row, of length one."""
    size = np.linalg.norm(write, axis=1, keepdims=True)
    return np.asarray(write / np.where(size > 0, size, 1.0))


def reasons_between(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What differs between two runs: network, seed, plan, data, versions; by their headers.

    Parameters
    ----------
    first, second : mapping
        ``study.json`` of each; *here* is the first, *there* the second.

    Returns
    -------
    list of str
        Empty where nothing that is recorded differs. Where files lie is no difference: what is in them is, by its digest. Other
        data are named only where neither seed nor plan asks for them.
    """
    a, b = first["provenance"], second["provenance"]
    keys = differences(second["plan"], first["plan"])
    seeds = [k for k in keys if k.startswith("seed:")]
    plan = [k for k in keys if k not in seeds and not k.startswith(("title:", *PLACES))]
    found = ["model: other weights"] if a["model"] != b["model"] else []
    found += [f"seed: {seeds[0].removeprefix('seed: ')}"] if seeds else []
    found += [f"plan: {_some(plan)}"] if plan else []
    if a["design"] != b["design"] and not any(k.startswith(DRAWN_BY) for k in [*seeds, *plan]):
        found.append("data: other inputs, families or doses under the same plan")
    changed = [
        f"{k} {b['versions'].get(k, 'absent')} there, {a['versions'].get(k, 'absent')} here"
        for k in sorted(set(a["versions"]) | set(b["versions"]))
        if a["versions"].get(k) != b["versions"].get(k)
    ]
    return found + ([f"versions: {_some(changed)}"] if changed else [])


def _some(lines: list[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(lines[:3]) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")
