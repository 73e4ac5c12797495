"""Facts that a study has only where it computed more than a claim needs: company, doses, stability, shared causes, other runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable

__all__ = ["Asked", "company_facts", "facts_beyond", "shared_cause_facts", "stability_facts"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALONE, FEW, NOT_IT = 0.9, 3, 0.1
"""Posterior that names the feature; members of a set that still says something; posterior that rules it out."""
KEYS = ["feature", "outcome"]
NOT_KEPT = NotApplicable("it was made by a version that did not ask")
NO_SLOPE = NotApplicable("no claim rests on instruments")
Held = pd.DataFrame | NotApplicable
"""A table of a study or of runs, or why there is none."""


@dataclass(frozen=True)
class Asked:
    """The claims that are asked about: keys ``feature, outcome``, effect (C,), and which rest on instruments (C,)."""

    table: pd.DataFrame
    effect: Array
    slope: Bools

    def column(self, frame: pd.DataFrame, name: str, missing: Any) -> NDArray[Any]:
        """A column of another table, in the order of the claims."""
        both = self.table[KEYS].merge(frame[[*KEYS, name]], on=KEYS, how="left")[name]
        return both.fillna(missing).to_numpy() if missing is not None else both.to_numpy(dtype=float)

    def everywhere(self, value: Any) -> NDArray[Any]:
        """One value for every claim."""
        return np.full(len(self.table), value, dtype=object if isinstance(value, str) else None)


def facts_beyond(study: Any, asked: Asked) -> tuple[dict[str, Bools], dict[str, NDArray[Any]]]:
    """Facts and values by name; where a study holds nothing of a subject, its facts are false and a value says why."""
    true: dict[str, Bools] = {}
    values: dict[str, NDArray[Any]] = {}
    for facts, words in (
        company_facts(_held(study, "told_apart"), asked),
        _doses(study, asked),
        stability_facts(_held(study, "stability") if asked.slope.any() else NO_SLOPE, asked),
        shared_cause_facts(_held(study, "shared_causes"), asked),
        _other_runs(study, asked),
    ):
        true |= facts
        values |= words
    return true, values


Found = tuple[dict[str, Bools], dict[str, NDArray[Any]]]


def _held(study: Any, name: str) -> Held:
    """A table of a study, or the reason why there is none."""
    found = getattr(study, name, None)
    return found if isinstance(found, pd.DataFrame | NotApplicable) else NOT_KEPT


def company_facts(found: Held, asked: Asked) -> Found:
    """Whether the runs tell a feature from those that are active together with it (`told_apart`)."""
    names = ("company_known", "alone_is_cause", "in_small_set", "company_is_cause")
    if isinstance(found, NotApplicable):
        none = {n: asked.everywhere(False) for n in names}
        blank = asked.everywhere(np.nan)
        return none, {"company_why": asked.everywhere(found.reason), "pip": blank, "set_size": blank, "company": asked.everywhere("")}  # fmt: skip
    pip = asked.column(found, "pip", None)
    size = asked.column(found, "set", 0).astype(float)
    company = asked.column(found, "company", "").astype(object)
    known = np.isfinite(pip)
    true = {
        "company_known": known,
        "alone_is_cause": known & (pip >= ALONE),
        "in_small_set": known & (size > 0) & (size <= FEW),
        "company_is_cause": known & (pip < NOT_IT) & (company != ""),
    }
    why = asked.everywhere("the runs do not tell it from others, or the fit did not end")
    return true, {"company_why": why, "pip": pip, "set_size": size, "company": company}


def _doses(study: Any, asked: Asked) -> Found:
    """Whether the outcome follows the dose in the direction of the effect, and nowhere in the other."""
    found = _held(study, "dose_directions")
    if isinstance(found, NotApplicable):
        return {"dose_monotone": asked.everywhere(False)}, {"doses": asked.everywhere(0.0)}
    said = asked.column(found, "direction", "").astype(object)
    up, down = said == "rising", said == "falling"
    same = (up & (asked.effect > 0)) | (down & (asked.effect < 0))
    return {"dose_monotone": np.asarray(same, dtype=bool)}, {
        "doses": asked.column(found, "doses", 0).astype(float)
    }


def stability_facts(found: Held, asked: Asked) -> Found:
    """Whether an estimate by instruments stays where it is when it is adjusted otherwise (`stability`)."""
    if isinstance(found, NotApplicable):
        none = {n: asked.everywhere(False) for n in ("stable", "unstable")}
        return none, {"stability_why": asked.everywhere(found.reason), "moved_most": asked.everywhere("")}
    true = {n: asked.slope & asked.column(found, n, False).astype(bool) for n in ("stable", "unstable")}
    return true, {
        "stability_why": asked.everywhere("the changes are too uncertain to tell"),
        "moved_most": asked.column(found, "moved_most", "").astype(object),
    }


def shared_cause_facts(found: Held, asked: Asked) -> Found:
    """Whether feature and outcome share the perturbation that moves them, where few of a locus do (`shared_causes`)."""
    names = ("colocalized", "coloc_shared", "coloc_distinct")
    if isinstance(found, NotApplicable):
        none = {n: asked.everywhere(False) for n in names}
        return none, {"coloc_why": asked.everywhere(found.reason), "coloc_at": asked.everywhere("")}
    true = {n: asked.column(found, n, False).astype(bool) for n in names}
    return true, {
        "coloc_why": asked.column(found, "why", NOT_KEPT.reason).astype(object),
        "coloc_at": asked.column(found, "at", "").astype(object),
    }


def _other_runs(study: Any, asked: Asked) -> Found:
    """Whether the claim holds in another run that differs in seed or network, and whether one says otherwise."""
    runs: Mapping[str, pd.DataFrame] = getattr(study, "other_runs", {})
    holds, denied, said = asked.everywhere(False), asked.everywhere(False), asked.everywhere("")
    for frame in runs.values():
        if not frame["differs"].all():  # the same specification once more: it repeats its bias
            continue
        other = asked.column(frame, "effect_other", None)
        survived = asked.column(frame, "survived", "").astype(object)
        here = survived == "survives"
        against = np.isin(survived, ("does not survive", "survives in sign, not in size"))
        holds, denied = holds | here, denied | against
        label = str(frame["label"].iloc[0])
        words = np.array([f"{label} {v:+.3g}" for v in other], dtype=object)
        said = np.where(np.isfinite(other), np.where(said == "", words, said + "; " + words), said)
    return (
        {
            "several_seeds": np.asarray(holds, dtype=bool),
            "other_run_contradicts": np.asarray(denied, dtype=bool),
        },
        {"other_runs": said.astype(object)},
    )
