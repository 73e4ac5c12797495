"""The cards of features: everything that a run holds of one, as the page's script draws it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from mrinterp.evidence._rules import measured_truth
from mrinterp.report.finished import FinishedStudy, primary_and_screen
from mrinterp.report.packed import json_numbers, shown_text
from mrinterp.results._check import NotApplicable
from mrinterp.results._claims import CARD_ITEMS, GRADES, Claims, points_in_words
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._diagnosis import ASSUMPTIONS, COLOURS
from mrinterp.results._feature_profiles import SHARES
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["Cards"]

NEAREST = 6
INSTRUMENTS = 8
FAMILIES = 40
"""Families that a card draws, those with the largest effect first; all lie in the run folder."""
PARTS = 9
"""Parts of a borrowed effect that a card draws."""

_RUNGS = (
    ("rectified", "contrasts, rectified", ""),
    ("site_experiment", "experiment at the site", ""),
    ("knockout", "knockouts, other families", "knockout"),
    ("replication", "replication", "knockout"),
    ("within_calibrated", "within, calibrated", "slope"),
    ("within", "within regression", "slope"),
    ("tsls", "two-stage least squares", "slope"),
    ("gradient", "gradient", "slope"),
    ("observational", "observational", "slope"),
)


class Cards:
    """Makes the cards of a study, some features and rows at a time.

    Parameters
    ----------
    study : Study
        A finished one.
    place : mapping
        Where the row of a feature and outcome stands in the page's table.
    features : mapping
        Number of every feature.
    short : mapping
        Full name to what the page calls it.
    """

    def __init__(
        self,
        study: FinishedStudy,
        place: Mapping[tuple[str, str], int],
        features: Mapping[str, int],
        short: Mapping[str, str],
    ) -> None:
        self.study, self.place, self.features, self.short = study, place, features, short
        self.sources = study.card_sources
        self.rungs = _rungs(study)
        self.at = {n: k for k, n in enumerate(study.basis.dictionary.names)}
        self.families = _Families(study.knockouts)
        write = study.basis.dictionary.write
        length = np.linalg.norm(write, axis=1, keepdims=True)
        self.directions = write / np.where(length > 0, length, 1.0)
        self.first = {f: place[f, o] for f, o in reversed(list(place))}

    def of(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Cards of some features and outcomes."""
        names = list(dict.fromkeys(f for f, _ in pairs))
        diagnosis = self.sources.diagnosis
        self.verdicts = _by_pair(self.study.equivalence, names)
        self.findings = {} if diagnosis is None else _by_pair(diagnosis.findings, names)
        self.graded = _Graded(self.study.claims, names)
        rows = _by_pair(self.study.results, names)
        return {
            "features": {str(self.features[f]): self._shared(f) for f in names},
            "rows": {str(self.place[p]): self._own(*p, rows[p][0]) for p in pairs},
            "missing": self.missing(),
        }

    def missing(self) -> list[str]:
        """What this run has none of, and how it is had."""
        held, lines = self.sources, []
        if held.profiles is None:
            lines.append(
                "The inputs that move it most, and its distribution: Study.feature_profiles reads them again."
            )
        if held.dose_response is None:
            lines.append("A dose-response curve: knockouts.dose_response(study.bench()) measures one.")
        if held.borrowed is None:
            lines.append("Whose effect it shows: diagnostics.borrowed_effects(study.panel) takes it apart.")
        if self.study.kinds is None:
            lines.append("Other kinds of knockout: the plan asks for one kind only.")
        if "gradient" not in self.study.estimates:
            lines.append("A gradient.")
        if held.diagnosis is None:
            lines.append("Assumption cards: mrinterp diagnose on the run folder.")
        return lines

    # -- what outcomes share ----------------------------------------------------------------------

    def _shared(self, feature: str) -> dict[str, Any]:
        return {
            **self._profile(feature),
            "nearest": self._nearest(feature),
            "instruments": self._instruments(feature),
        }

    def _profile(self, feature: str) -> dict[str, Any]:
        held = self.sources.profiles
        if held is None or feature not in held.features:
            return {}
        one = held[feature]
        k = held.features.index(feature)
        ends = {
            end: [
                _input(r, held.meta.get("images", {}))
                for r in one.inputs[one.inputs["end"] == end].to_dict("records")
            ]
            for end in ("high", "low")
        }
        tokens = one.tokens[["token", "difference", "count", "families", "z"]].to_dict("split")["data"]
        classes = one.classes[["token_class", "mean", "sd", "share_active"]].to_dict("split")["data"]
        found: dict[str, Any] = {
            **ends,
            "tokens": [[shown_text(t, 80), *json_numbers(more)] for t, *more in tokens],
            "classes": [[shown_text(c, 80), *json_numbers(more)] for c, *more in classes],
            "mean": one.mean,
            "sd": one.sd,
            "active": one.share_active,
        }
        quantiles = held.quantiles[k]
        if np.isfinite(quantiles).all() and np.ptp(quantiles) > 0:
            found["quantiles"] = {"share": list(SHARES), "value": _round(quantiles)}
        return found

    def _nearest(self, feature: str) -> list[list[Any]]:
        names = self.study.basis.dictionary.names
        if feature not in self.at or len(names) < 2:
            return []
        own = self.at[feature]
        cosine = np.nan_to_num(self.directions @ self.directions[own])
        cosine[own] = 0.0
        size = np.abs(cosine)
        near = (
            np.flatnonzero(size >= np.partition(size, -NEAREST)[-NEAREST])
            if len(size) > NEAREST
            else np.arange(len(size))
        )
        order = near[np.argsort(-size[near], kind="stable")][:NEAREST]
        return [
            [
                shown_text(self.short.get(names[k], names[k]), 80),
                round(float(cosine[k]), 4),
                self.first.get(names[k], -1),
            ]
            for k in order
            if abs(cosine[k]) > 0.005
        ]

    def _instruments(self, feature: str) -> list[list[Any]]:
        rows = []
        for kind, s in self.study.sumstats.items():
            at = np.flatnonzero(s.traits["trait"].to_numpy() == feature)
            if not len(at):
                continue
            beta, se = s.beta[at[0]].astype(float), s.se[at[0]].astype(float)
            half = stdtrit(s.dof, 0.975) * se
            with np.errstate(divide="ignore", invalid="ignore"):
                z = np.where(se > 0, beta / se, np.nan)
            names = s.instruments["instrument"].astype(str).to_numpy()
            for j in np.argsort(-np.abs(np.nan_to_num(z)), kind="stable")[:INSTRUMENTS]:
                if np.isfinite([z[j], half[j]]).all():
                    rows.append(
                        [
                            kind,
                            shown_text(names[j], 80),
                            *json_numbers([beta[j], beta[j] - half[j], beta[j] + half[j], z[j]]),
                        ]
                    )
        return sorted(rows, key=lambda r: -abs(float(r[-1] or 0)))[:INSTRUMENTS]

    # -- what one outcome has of its own ----------------------------------------------------------

    def _own(self, feature: str, outcome: str, row: Mapping[Any, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"ladder": self._ladder(row), **self.families.of(feature, outcome)}
        found |= self.graded.of(feature, outcome)
        found |= self._kinds(feature, outcome)
        found |= self._borrowed(feature, outcome)
        found |= self._dose(feature, outcome)
        if self.sources.diagnosis is not None:
            found["checks"] = [_check(r) for r in self.findings.get((feature, outcome), [])]
        return found

    def _ladder(self, row: Mapping[Any, Any]) -> list[list[Any]]:
        return [
            [words, *json_numbers([row[name], row[f"{name}_lower"], row[f"{name}_upper"]]), kind]
            for name, words, kind in self.rungs
        ]

    def _kinds(self, feature: str, outcome: str) -> dict[str, Any]:
        made = self.study.kinds
        if made is None or feature not in made.features or outcome not in made.outcomes:
            return {}
        f, o = made.features.index(feature), made.outcomes.index(outcome)
        lower, upper = made.interval()
        said = {r["kind"]: r["verdict"] for r in self.verdicts.get((feature, outcome), [])}
        rows = []
        for k, kind in enumerate(made.kinds):
            flag = str(made.flags[k, f])
            words = "; ".join(w for w in (said.get(kind, ""), shown_text(flag, 200)) if w)
            numbers = json_numbers([made.effect[k, f, o], lower[k, f, o], upper[k, f, o]])
            rows.append([kind, *numbers, "flagged" if flag else "", words])
        return {"kinds": rows}

    def _borrowed(self, feature: str, outcome: str) -> dict[str, Any]:
        held = self.sources.borrowed
        if held is None or feature not in held.features or outcome not in held.outcomes:
            return {}
        one = held[feature, outcome]
        rows = [["all that it shows", *json_numbers([one.total, np.nan, np.nan]), "", ""]]
        for r in one.table.head(PARTS).to_dict("records"):
            source = str(r["source"])
            words = {"own": "its own", "left": "left unexplained"}.get(
                str(r["kind"])
            ) or f"from {self.short.get(source, source)}"
            near = "" if np.isnan(r["correlation"]) else f"{r['correlation']:.2f}"
            rows.append(
                [
                    shown_text(words, 80),
                    *json_numbers([r["effect"], r["ci_lower"], r["ci_upper"]]),
                    "own" if r["kind"] == "own" else "",
                    near,
                ]
            )
        return {
            "borrowed": rows,
            "borrowed_words": f"Its univariable effect taken apart, per unit of the feature. {shown_text(one, 600)}",
        }

    def _dose(self, feature: str, outcome: str) -> dict[str, Any]:
        held = self.sources.dose_response
        if held is None or feature not in held.features or outcome not in held.outcomes:
            return {}
        one = held[feature, outcome]
        if isinstance(one, NotApplicable):
            return {}
        known = np.isfinite([one.dose, one.effect, one.lower, one.upper]).all(axis=0)
        if not known.any():
            return {}
        numbers = {
            k: _round(v[known])
            for k, v in (
                ("dose", one.dose),
                ("effect", one.effect),
                ("low", one.lower),
                ("high", one.upper),
                ("outside", one.outside),
            )
        }
        return {
            "dose": {**numbers, "words": f"{shown_text(one, 400)} Hollow: values that inputs rarely show."}
        }


class _Graded:
    """Grades with their reasons, and identification cards."""

    def __init__(self, claims: Claims, names: Sequence[str]) -> None:
        self.claims = _by_pair(claims.claims, names)
        self.domains, self.cards = _by_pair(claims.domains, names), _by_pair(claims.cards, names)
        self.rules = str(claims.meta.get("rules", ""))

    def of(self, feature: str, outcome: str) -> dict[str, Any]:
        pair = feature, outcome
        if pair not in self.claims:
            return {}
        row = self.claims[pair][0]
        said = f"{row['grade']} ({GRADES[row['grade']]}) by {self.rules}, {row['points']:g} points"
        measured = measured_truth(self.rules).get(row["grade"], "")
        against = f"Against it: {row['contradiction']}." if row["contradiction"] else ""
        lacking = f"What is missing for a better grade: {row['lacking']}." if row["lacking"] else ""
        return {
            "grade": {
                "words": [shown_text(w, 600) for w in (f"{said}.", measured, against, lacking) if w],
                "domains": [
                    [
                        f"{r['domain']} {r['title']}",
                        points_in_words(r["points"]),
                        shown_text(r["reason"], 400),
                    ]
                    for r in self.domains.get(pair, [])
                ],
                "card": [
                    [CARD_ITEMS[r["item"]], shown_text(r["answer"], 1200)] for r in self.cards.get(pair, [])
                ],
            }
        }


def _rungs(study: FinishedStudy) -> list[tuple[str, str, str]]:
    """Rungs of the ladder that the results have: column, words, kind of mark."""
    _, screen = primary_and_screen(study)
    columns = list(study.results.columns)
    screens = [
        (n, f"univariable IVW, {n.removeprefix('ivw_')}", "slope")
        for n in columns
        if n.startswith("ivw_") and f"{n}_lower" in columns
    ]
    order = [*_RUNGS, *sorted(screens, key=lambda k: k[0] != screen)]
    return [r for r in order if {r[0], f"{r[0]}_lower", f"{r[0]}_upper"} <= set(columns)]


def _by_pair(table: pd.DataFrame, names: Sequence[str]) -> dict[tuple[str, str], list[dict[Any, Any]]]:
    """Rows of a table that are about some features, by feature and outcome."""
    found: dict[tuple[str, str], list[dict[Any, Any]]] = {}
    for row in table[table["feature"].isin(names)].to_dict("records"):
        found.setdefault((row["feature"], row["outcome"]), []).append(row)
    return found


class _Families:
    """Effects family by family, of the knockouts that claims rest on."""

    def __init__(self, knockouts: Mapping[str, KnockoutEffects]) -> None:
        self.held = knockouts.get("contrast") or knockouts["shift"]
        contrast = "contrast" in knockouts
        moved = np.isfinite(self.held.effect_by_input)
        natural = np.where(moved, self.held.change_by_input, np.nan) / NATURAL_SD
        self.values = natural if contrast else self.held.effect_by_input
        families = self.held.inputs["family"].astype(str).to_numpy()
        self.names, code = np.unique(families, return_inverse=True)
        self.each = [np.flatnonzero(code == k) for k in range(len(self.names))]
        self.per_unit = not contrast
        self.title = "Effect by family" if contrast else "Effect by family, matched shift"
        self.words = (
            "Contrasts by hand, per natural sd, family by family; intervals from the prompts of a family, where it has two or more."
            if contrast
            else "Matched shifts, per unit of the feature, family by family; intervals from the prompts of a family, where it has two or more."
        )

    def of(self, feature: str, outcome: str) -> dict[str, Any]:
        held = self.held
        if feature not in held.features or outcome not in held.outcomes or not np.isfinite(self.values).any():
            return {}
        values = self.values[held.features.index(feature), :, held.outcomes.index(outcome)]
        rows = []
        for name, at in zip(self.names, self.each, strict=True):
            known = values[at][np.isfinite(values[at])]
            if not len(known):
                continue
            mean, half = float(known.mean()), np.nan
            if len(known) > 1:
                half = float(stdtrit(len(known) - 1, 0.975) * known.std(ddof=1) / np.sqrt(len(known)))
            rows.append(
                [shown_text(name, 80), *json_numbers([mean, mean - half, mean + half]), "", str(len(known))]
            )
        rows.sort(key=lambda r: -abs(float(r[1] or 0)))
        more = f" The {FAMILIES} largest of {len(rows)}." if len(rows) > FAMILIES else ""
        return {
            "families": rows[:FAMILIES],
            "families_per_unit": self.per_unit,
            "families_title": self.title,
            "families_words": self.words + more,
        }


_MARKED = re.compile(r"^(.*?)\[\[(.*?)\]\](.*)$", re.DOTALL)


def _input(row: Mapping[Any, Any], images: Mapping[str, str]) -> dict[str, Any]:
    """An input with its marked token apart."""
    text, token = str(row["text"]), str(row["token"])
    at = text.find(f"[[{token}]]")
    if at >= 0:
        before, mark, after = text[:at], token, text[at + len(token) + 4 :]
    else:
        found = _MARKED.match(text)
        before, mark, after = found.groups() if found else (text, "", "")
    said = {"before": _ending(before), "token": shown_text(mark, 120), "after": shown_text(after, 200)}
    spaced = {**said, "after": f" {said['after']}" if after[:1].isspace() else said["after"]}
    image = images.get(str(row["input"]))
    drawn = {"image": image} if isinstance(image, str) and image.startswith("data:image/png;base64,") else {}
    return {"value": float(row["value"]), "input": int(row["input"]), **spaced, **drawn}


def _ending(text: str, longest: int = 200) -> str:
    """The last of a long text: what stands before a token is read from its end."""
    line = shown_text(text, 10**9)
    return (line if len(line) <= longest else f"…{line[1 - longest :]}") + (
        " " if text[-1:].isspace() else ""
    )


def _check(row: Mapping[Any, Any]) -> list[str]:
    told = f"{row['reason']} {row['next_step'] or ''}".strip()
    other = "" if row["bears"] else " It does not bear on what the claim rests on."
    name = str(row["assumption"])
    return [
        f"{name}: {ASSUMPTIONS[name]}",
        str(row["colour"]),
        COLOURS[row["colour"]],
        shown_text(row["check"], 80),
        shown_text(told + other, 500),
    ]


def _round(values: Any) -> list[float]:
    return [float(f"{float(v):.6g}") for v in values]
