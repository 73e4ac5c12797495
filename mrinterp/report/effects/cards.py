"""The cards of estimated effects: methods side by side, instruments, what was checked, and what would overturn it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mrinterp.report.columns import FeatureTable
from mrinterp.report.effects.checks import checks_of, identification
from mrinterp.report.effects.grades import Reasons
from mrinterp.report.effects.source import EffectsSource
from mrinterp.report.effects.table import short_label, short_name
from mrinterp.report.packed import json_numbers, shown_text
from mrinterp.results._claims import CARD_ITEMS, points_in_words
from mrinterp.results._diagnosis import ASSUMPTIONS, COLOURS

__all__ = ["EffectCards"]

DRAWN = 40
"""Instruments in a list or a forest of a card, the strongest ones."""
POINTS = 300
"""Instruments in the scatter, funnel and radial figures of a card."""
NEAREST = 6
MEASURED_NOT = "How often effects of tables and of runs in hand are true at a grade was not measured."


class EffectCards:
    """Makes the cards of a source, some rows at a time.

    Parameters
    ----------
    source : EffectsSource
    table : FeatureTable
        The page's, for the places of rows and the numbers of exposures.
    """

    def __init__(self, source: EffectsSource, table: FeatureTable) -> None:
        self.source, self.at = source, table
        self.z = float(ndtri(0.5 + source.level / 2))
        shown = source.table
        self.rows = {
            (r["feature"], r["outcome"]): r for r in shown.to_dict("records")
        }  # of all, since cards name neighbors
        self.number = {pair: k for k, pair in enumerate(self.rows)}
        self.first = {f: table.place[f, o] for f, o in reversed(list(table.place))}

    def of(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Cards of some exposures and outcomes."""
        names = list(dict.fromkeys(x for x, _ in pairs))
        made = self.source.grades.reasons([self.number[p] for p in pairs])
        self.reasons = dict(zip(pairs, made, strict=True))
        return {
            "features": {str(self.at.features[x]): self._shared(x) for x in names},
            "rows": {str(self.at.place[p]): self._own(*p) for p in pairs},
            "missing": self.missing(),
        }

    def missing(self) -> list[str]:
        """What these data cannot show, and what can."""
        held = self.source
        lines = [
            "Inputs that move it most, its distribution, dose-response and knockouts: they need the network (mrinterp.Study).",
            "A replication: other families or another sample, read by the same command.",
            "A region of practical equivalence: none was stated, so that no effect is called negligible.",
        ]
        return [*lines, *(f"{what}: {why}." for what, why in held.left_out.items())]

    # -- what outcomes share ----------------------------------------------------------------------

    def _shared(self, exposure: str) -> dict[str, Any]:
        return {
            "instruments": self._instruments(exposure),
            "nearest": self._nearest(exposure),
            "nearest_title": f"{self.source.noun.capitalize()} that the same instruments move",
            "nearest_words": "Correlation of the instruments' z-scores: what a univariable estimate may take from one another.",
        }

    def _instruments(self, exposure: str) -> list[list[Any]]:
        data = self.source.data
        f, _ = self.source.place(data, exposure, data.outcomes[0])
        b, s = data.beta_x[f], data.se_x[f]
        with np.errstate(all="ignore"):
            z = b / s
        order = np.argsort(-np.abs(np.nan_to_num(z)), kind="stable")[:DRAWN]
        kinds = data.info["kind"].astype(str).tolist() if "kind" in data.info else [""] * len(b)
        return [
            [
                kinds[j],
                shown_text(data.instruments[j], 80),
                *json_numbers([b[j], b[j] - self.z * s[j], b[j] + self.z * s[j], z[j]]),
            ]
            for j in order
            if np.isfinite(z[j])
        ]

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            z = np.nan_to_num(self.source.data.beta_x / self.source.data.se_x, posinf=0, neginf=0)
        length = np.linalg.norm(z, axis=1, keepdims=True)
        return np.asarray(z / np.where(length > 0, length, 1.0))

    def _nearest(self, exposure: str) -> list[list[Any]]:
        names = self.source.data.exposures
        if len(names) < 2:
            return []
        own, _ = self.source.place(self.source.data, exposure, self.source.data.outcomes[0])
        cosine = self._directions @ self._directions[own]
        cosine[own] = 0.0
        order = np.argsort(-np.abs(cosine), kind="stable")[:NEAREST]
        return [
            [short_name(names[k]), round(float(cosine[k]), 4), self.first.get(names[k], -1)]
            for k in order
            if abs(cosine[k]) > 0.005
        ]

    # -- what one outcome has of its own ----------------------------------------------------------

    def _own(self, exposure: str, outcome: str) -> dict[str, Any]:
        row = self.rows[exposure, outcome]
        found: dict[str, Any] = {
            "ladder": self._methods(exposure, outcome),
            "ladder_title": "Every method",
            "ladder_words": f"Intervals of {100 * self.source.level:.4g}%. Filled: the method that the answer rests on.",
            "scattered": self._scattered(exposure, outcome),
            **self._by_instrument(exposure, outcome),
            "checks": [
                [f"{a}: {ASSUMPTIONS[a]}", colour, COLOURS[colour], check, shown_text(why, 500)]
                for a, colour, check, why in checks_of(self.source, row)
            ],
        }
        return found | {"grade": self._grade(row, self.reasons[exposure, outcome])}

    def _grade(self, row: dict[Hashable, Any], why: Reasons) -> dict[str, Any]:
        """The grade with its reasons, and the identification card."""
        words = [f"{self.source.grades.words(self.number[row['feature'], row['outcome']])}.", MEASURED_NOT]
        words += [f"Against it: {row['contradiction']}."] if row["contradiction"] else []
        words += [f"What is missing for a better grade: {why.lacking}."] if why.lacking else []
        domains = [
            [f"{name} {title}", points_in_words(points), shown_text(reason, 400)]
            for name, title, points, reason in why.domains
        ]
        answers = identification(self.source, row)
        card = [[CARD_ITEMS[item], shown_text(answer, 1200)] for item, answer in answers.items()]
        return {"words": [shown_text(w, 700) for w in words], "domains": domains, "card": card}

    def _methods(self, exposure: str, outcome: str) -> list[list[Any]]:
        rows = []
        for k, result in enumerate(self.source.results):
            at = self.source.place(result, exposure, outcome)
            numbers = json_numbers([result.beta[at], result.ci_lower[at], result.ci_upper[at]])
            rows.append([short_label(result.label), *numbers, "" if k == 0 else "slope"])
        return rows

    def _effects(self, exposure: str, outcome: str) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
        """Instruments of a pair, strongest first, and their effects and errors, signs such that the exposure rises."""
        data = self.source.data
        f, o = self.source.place(data, exposure, outcome)
        parts = np.array([data.beta_x[f], data.se_x[f], data.beta_y[o], data.se_y[o]], float)
        here = np.flatnonzero(np.isfinite(parts).all(axis=0) & (parts[0] != 0))
        sign = np.sign(parts[0, here])
        parts = parts[:, here] * np.array([sign, np.ones_like(sign), sign, np.ones_like(sign)])
        with np.errstate(all="ignore"):
            order = np.argsort(-np.nan_to_num(parts[0] / parts[1], posinf=0), kind="stable")
        return here[order], parts[:, order]

    def _scattered(self, exposure: str, outcome: str) -> dict[str, Any] | None:
        """Effects of every instrument on both, and the lines of univariable methods."""
        at, parts = self._effects(exposure, outcome)
        if not len(at):
            return None
        lines = []
        for result in self.source.single:
            place = self.source.place(result, exposure, outcome)
            if np.isfinite(result.beta[place]):
                up = result.details["intercept"][place] if "intercept" in result.details else 0.0
                lines.append(
                    [short_label(result.label), *json_numbers([result.beta[place], np.nan_to_num(up)])]
                )
        more = f" The {POINTS} strongest of {len(at)} instruments." if len(at) > POINTS else ""
        return {
            "names": [shown_text(self.source.data.instruments[j], 40) for j in at[:POINTS]],
            **{k: json_numbers(v[:POINTS]) for k, v in zip("bsgt", parts, strict=True)},
            "lines": lines,
            "z": round(self.z, 4),
            "x": short_name(exposure),
            "y": shown_text(outcome, 80),
            "more": more,
        }

    def _by_instrument(self, exposure: str, outcome: str) -> dict[str, Any]:
        """Ratios of single instruments, and the estimate without each."""
        data, (at, (b, _, g, t)) = self.source.data, self._effects(exposure, outcome)
        some = slice(None, DRAWN)
        ratio, half = g / b, self.z * t / b
        more = f" The {DRAWN} strongest of {len(at)}." if len(at) > DRAWN else ""
        rows = [
            [shown_text(data.instruments[j], 80), *json_numbers([r, r - h, r + h]), "", f"{(x / s) ** 2:.1f}"]
            for j, r, h, x, s in zip(at[some], ratio, half, b, _, strict=False)
        ]
        found: dict[str, Any] = {
            "families": rows,
            "families_title": "Effect by instrument",
            "families_words": f"Effect on the outcome over effect on the exposure, intervals from the outcome's error alone.{more}",
            "families_note": "F",
        }
        if self.source.without_each is not None and len(at) > 2:
            f, o = self.source.place(data, exposure, outcome)
            beta, se = (a[f, o, at] for a in self.source.without_each)
            order = np.argsort(beta, kind="stable")
            if len(order) > DRAWN:  # those that change most, either way
                order = np.concatenate([order[: DRAWN // 2], order[-DRAWN // 2 :]])
            found["without_each"] = [
                [f"without {shown_text(data.instruments[at[k]], 60)}", *json_numbers([beta[k], beta[k] - self.z * se[k], beta[k] + self.z * se[k]]), ""]
                for k in order
            ]  # fmt: skip
            found["without_each_words"] = (
                "Inverse-variance weighted, refitted without one instrument at a time."
                + (f" The {DRAWN} of {len(at)} that change it most." if len(at) > DRAWN else "")
            )
        return found
