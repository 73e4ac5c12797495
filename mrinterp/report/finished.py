"""What the page needs of a finished study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.sumstats import SumStats
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._agreement import Agreement
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._claims import Claims
from mrinterp.results._designs.dose_response import DoseResponse
from mrinterp.results._diagnosis import Diagnosis
from mrinterp.results._estimates import Estimates
from mrinterp.results._feature_profiles import FeatureProfiles
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._negative_controls import NegativeControls

__all__ = ["CardSources", "FinishedStudy", "drawn_methods", "primary_and_screen"]


@dataclass(frozen=True)
class CardSources:
    """What cards show beyond the parts that every study has; None where a run has none of it."""

    profiles: FeatureProfiles | None = None
    diagnosis: Diagnosis | None = None
    borrowed: BorrowedEffects | None = None
    dose_response: DoseResponse | None = None


class FinishedStudy(Protocol):
    """The results of a study, as `mrinterp.study.Study` offers them.

    ``estimates`` holds at least ``within``, ``knockouts`` at least ``shift``; everything else in
    these two and in ``sumstats`` may be missing. ``kinds`` is None where one kind of knockout was run.
    """

    out: Path

    @property
    def header(self) -> dict[str, Any]: ...
    @property
    def results(self) -> pd.DataFrame: ...
    @property
    def pilot(self) -> dict[str, Any]: ...
    @property
    def rungs(self) -> pd.DataFrame: ...
    @property
    def claim_checks(self) -> list[Check | NotApplicable]: ...
    @property
    def controls(self) -> Mapping[str, NegativeControls | NotApplicable]: ...
    @property
    def ladder(self) -> pd.DataFrame: ...
    @property
    def claims(self) -> Claims: ...
    @property
    def card_sources(self) -> CardSources: ...
    @property
    def agreement(self) -> Agreement: ...
    @property
    def basis(self) -> Basis: ...
    @property
    def checks(self) -> list[dict[str, Any]]: ...
    @property
    def design(self) -> Design: ...
    @property
    def borrowed(self) -> BorrowedEffects | NotApplicable: ...
    @property
    def estimates(self) -> dict[str, Estimates]: ...
    @property
    def knockouts(self) -> dict[str, KnockoutEffects]: ...
    @property
    def kinds(self) -> KindComparison | None: ...
    @property
    def whole_features(self) -> dict[str, KnockoutEffects]: ...
    @property
    def against_random(self) -> AgainstRandom | NotApplicable: ...
    @property
    def equivalence(self) -> pd.DataFrame: ...
    @property
    def sumstats(self) -> dict[str, SumStats]: ...
    @property
    def choices(self) -> dict[str, dict[str, Any]]: ...
    @property
    def scale_path(self) -> pd.DataFrame | NotApplicable: ...
    @property
    def rank_path(self) -> pd.DataFrame: ...


def primary_and_screen(study: FinishedStudy) -> tuple[str, str]:
    """Names of the primary estimate and of the univariable screen."""
    return "within", f"ivw_{study.header['plan']['estimation']['kind']}"


def drawn_methods(study: FinishedStudy) -> list[str]:
    """Methods shown against the knockouts: screen, primary and gradient, as far as they have numbers for the
    first outcome."""
    primary, screen = primary_and_screen(study)
    summary = study.agreement.scores
    first = summary[summary["outcome"] == summary["outcome"].iloc[0]]
    usable = set(first.loc[first["n"] > 0, "method"])
    return [m for m in (screen, primary, "gradient") if m in usable]
