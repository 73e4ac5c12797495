"""What a study found, part by part: reading one carries out what comes before it."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.panel import Panel
from mrinterp.core.plan import TWO_SITES
from mrinterp.core.storage import digest
from mrinterp.core.sumstats import SumStats
from mrinterp.evidence._compare import compare_runs
from mrinterp.evidence._grade import grade
from mrinterp.evidence._rules import DEFAULT, read_rules
from mrinterp.report.finished import CardSources
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._agreement import Agreement
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._claims import Claims
from mrinterp.results._contrast_levels import ContrastLevels
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome
from mrinterp.results._designs.site_experiment import SiteExperiment
from mrinterp.results._estimates import Estimates
from mrinterp.results._feature_profiles import FeatureProfiles
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._negative_controls import NegativeControls
from mrinterp.results._read_back import ReadBack
from mrinterp.study._steps import Steps

if TYPE_CHECKING:
    from mrinterp.features._sae import SparseAutoencoder
    from mrinterp.features._transcoder_weights import Transcoder
    from mrinterp.results._diagnosis import Diagnosis

__all__ = ["Findings"]

PROFILED = 256
"""Discovery prompts that say what a feature is, at most."""
OTHER_RUNS = "other_runs"
"""Where a run keeps how its claims came out in repetitions at another seed and scale of the noise."""
MOST_PROFILED = 400
"""Features up to which a run keeps what they are."""


class Findings(Steps):
    """The results of a study, each made or reopened when it is read."""

    @abstractmethod
    def _reach(self, name: str) -> None:
        """Carry out everything up to and including a stage."""

    @property
    def header(self) -> dict[str, Any]:
        """What ``study.json`` holds: plan, hashes, record of the steps (``history``), provenance."""
        return self.folder.header

    @property
    def design(self) -> Design:
        """Prompts, families, splits, instruments and doses."""
        self._reach("rules")
        return self._make_design()

    @property
    def basis(self) -> Basis:
        """Dictionary, bypass bases and rank, learned on the discovery split."""
        self._reach("discovery")
        return self._learn_basis()

    @property
    def read_back(self) -> ReadBack:
        """By how much every feature is read to have changed when one unit of each is written: which writes move others too."""
        return ReadBack.of(self.basis.dictionary)

    @property
    def feature_profiles(self) -> FeatureProfiles:
        """What the features are, on at most 256 discovery prompts from all of its families: the inputs that move each most, with
        the token marked, and the tokens and token classes that it responds to. Nothing of other families is read."""
        self._reach("discovery")
        return self._remembered("feature profiles", lambda: self._profile() or self._look_at_features())

    def _look_at_features(self) -> FeatureProfiles:
        """What the features are: one pass over discovery prompts."""
        from mrinterp.knockouts._feature_profiles import feature_profiles
        from mrinterp.knockouts._shown_inputs import column_names
        from mrinterp.knockouts._study_bench import clean_runs, study_bench

        design, dictionary = self._make_design(), self._learn_basis().dictionary
        prompts = len(clean_runs(design, "discovery"))
        rows = np.unique(np.linspace(0, prompts - 1, min(prompts, PROFILED)).astype(int))
        bench = study_bench(self._network, design, dictionary, split="discovery", rows=rows)
        return feature_profiles(bench, self._opened.tokenizer, columns=column_names(design))

    def _profile(self) -> FeatureProfiles | None:
        """The same as the run keeps it; None for so many features that it keeps none."""
        if len(self._learn_basis().dictionary.names) > MOST_PROFILED:
            return None
        kept = partial(self.folder.kept, "feature_profiles", FeatureProfiles.load, self._look_at_features)
        return self._remembered("stored profiles", kept)

    @property
    def contrast_levels(self) -> ContrastLevels:
        """The low and the high natural value of every feature by token class, from clean activations of the discovery split,
        in a study of fewer than 160 families of those of estimation and knockout too."""
        self._reach("discovery")
        return self._learn_levels()

    @property
    def choices(self) -> dict[str, dict[str, Any]]:
        """What was chosen on the discovery split since the plan leaves it open, and why: ``position`` and ``noise``."""
        self._reach("discovery")
        found = {"position": self._choose_position(), "noise": self._choose_noise()}
        return {name: choice for name, choice in found.items() if choice is not None}

    @property
    def pilot(self) -> dict[str, Any]:
        """How many families are knocked out (``families``), what said so (``chosen_by``), and the half widths of intervals
        to expect (``half_width, bound``, per natural sd, by outcome)."""
        self._reach("discovery")
        return self._pilot()

    @property
    def paths(self) -> PathsToOutcome | NotApplicable:
        """From which features a path leads to the outcomes, on a few discovery families (`paths_to_outcome`)."""
        self._reach("discovery")
        why = "the run is of a version that did not ask"
        return self._follow_paths() or NotApplicable(why, "paths to the outcome")

    @property
    def autoencoder(self) -> SparseAutoencoder | Transcoder | None:
        """The plan's sparse autoencoder (or transcoder), from its folder or trained on discovery and kept under ``sae``;
        None where features are not latents."""
        self._reach("discovery")
        return self._network.sae

    @property
    def rope(self) -> np.ndarray:
        """Half width of the region of practical equivalence per outcome, (O,): the plan's fraction of the outcome's
        standard deviation, per standard deviation of a feature."""
        self._reach("discovery")
        return self._rope()

    @property
    def knockouts(self) -> dict[str, KnockoutEffects]:
        """Natural contrasts, the matched shift, the plan's other kinds and random directions shifted, on their own split;
        ``judge`` and ``again``: contrasts on the two halves of the replication families.

        Reading them freezes their digests. ``meta["planned"]`` says ``blind`` where the record of the run folder
        proves it, else ``selected``.
        """
        self._reach("freeze")

        def labelled() -> dict[str, KnockoutEffects]:
            planned = {name: {"planned": self.folder.planned(name)} for name in self._run_knockouts()}
            return {
                name: e
                if planned[name].items() <= e.meta.items()
                else replace(e, meta=e.meta | planned[name])
                for name, e in self._run_knockouts().items()
            }

        return self._remembered("knockouts, labelled", labelled)

    @property
    def site_experiment(self) -> SiteExperiment | NotApplicable:
        """Effects of all features set at random in the same runs, where an outcome is a draw and features are 40 or more."""
        self._reach("freeze")
        why = "no outcome is a draw, or there are fewer than 40 features: one at a time is as good or better"
        return self._randomize_site() or NotApplicable(why, "the randomized experiment at the site")

    @property
    def whole_features(self) -> dict[str, KnockoutEffects]:
        """What each head or subspace does as a whole, all coordinates at once, resampled (``whole_resample``) and set to its
        mean (``whole_mean``): sizes without a sign (`KnockoutEffects.rms_equivalence`). Empty for other features."""
        self._reach("freeze")
        return self._knock_out_wholes()

    @property
    def kinds(self) -> KindComparison:
        """Every kind of knockout of the features side by side, never pooled, with a test of their equality."""
        self._reach("kinds")
        return self._compare_kinds()

    @property
    def equivalence(self) -> pd.DataFrame:
        """Two one-sided tests of every kind of knockout against the plan's region (`KnockoutEffects.equivalence`),
        with ``kind`` as the first column: which effects are shown to be negligible, and which are only small."""
        self._reach("kinds")
        table = self._test_equivalence()
        return table[["kind", *(c for c in table if c != "kind")]]

    @property
    def against_random(self) -> AgainstRandom | NotApplicable:
        """Every feature's matched shift, ranked among random directions shifted as far; not applicable where
        the plan asks for no random directions."""
        if "random" not in self.knockouts:
            why = "knockouts.random_controls is 0 in the plan"
            return NotApplicable(why, "ranks among random directions")
        return AgainstRandom.of(self.knockouts["shift"], self.knockouts["random"], per="unit")

    @property
    def panel(self) -> Panel:
        """Runs of the estimation split."""
        self._reach("scan")
        return self._scan("estimation")

    @property
    def sumstats(self) -> dict[str, SumStats]:
        """Marginal effects per kind of perturbation, estimation split."""
        self._reach("scan")
        return self._marginal_effects()

    @property
    def checks(self) -> list[dict[str, Any]]:
        """Manipulation check and what identifies the primary estimate."""
        self._reach("checks")
        return self._check()

    @property
    def borrowed(self) -> BorrowedEffects | NotApplicable:
        """Whose effect every feature shows by itself: its own part of the univariable effect, and the parts borrowed from
        named others (`mrinterp.diagnostics.borrowed_effects`)."""
        self._reach("checks")
        return self._take_apart()

    @property
    def borrowed_naturally(self) -> BorrowedEffects | NotApplicable:
        """Whose effect every feature shows over the estimation split's inputs as they are, by what the matched shifts say that each
        does (`mrinterp.diagnostics.natural_borrowed`)."""
        from mrinterp.diagnostics._beside import natural_borrowed

        panel, shift = self.panel, self._shift_estimates()
        return self._remembered("borrowed naturally", lambda: natural_borrowed(panel, shift))

    @property
    def beside(self) -> pd.DataFrame | NotApplicable:
        """What a correlation ranking, a probe, the inputs that move a feature most and model-X knockoffs would have concluded from
        the estimation split's inputs as they are, beside the claim (``verdict``) (`mrinterp.diagnostics.beside_it`)."""
        from mrinterp.diagnostics._beside import beside_it

        panel, shift = self.panel, self._shift_estimates()
        found = self._remembered("beside it", lambda: beside_it(panel, shift))
        if isinstance(found, NotApplicable):
            return found
        return found.merge(
            self.results[["feature", "outcome", "verdict"]], on=["feature", "outcome"], how="left"
        )

    def _shift_estimates(self) -> Estimates | None:
        """What the matched shifts say that each feature does; None where none was made."""
        from mrinterp.effects._claims import shift_estimates

        made = self.knockouts.get("shift")
        return None if made is None else shift_estimates(made)

    @property
    def replication_panel(self) -> Panel:
        """Runs of the replication split: other families, all kinds of perturbation."""
        self._reach("replication scan")
        return self._scan("replication")

    @property
    def estimates(self) -> dict[str, Estimates]:
        """Every rung of the ladder by name. ``rectified``: what claims rest on; ``rectified_judge, rectified_again``: the
        same on the two halves of the replication families; ``replication``: MR on other families,
        ``replication_<kind>``: on other families and a held-out kind of perturbation."""
        self._reach("estimates")
        return self._estimate()

    @property
    def agreement(self) -> Agreement:
        """Estimates compared with the matched shift, whose digest was frozen before."""
        self._reach("agreement")
        return self._hold_against_knockouts()

    @property
    def rank_path(self) -> pd.DataFrame:
        """Estimate and interval of every feature over bypass ranks."""
        self._reach("results")
        return self._follow_ranks()

    @property
    def scale_path(self) -> pd.DataFrame | NotApplicable:
        """The within estimate of every feature at the noise's scale (``full``) and at half of it (``half``), on a few
        families, with what differs beyond errors (``curvature``); not applicable without noise."""
        self._reach("estimates")
        found = self._follow_scale()
        if found is None:
            return NotApplicable("the design has no noise", "the path over the noise's scale")
        return found

    @property
    def told_apart(self) -> pd.DataFrame | NotApplicable:
        """Posterior probability that each feature has an effect of its own, all features and the bypass held against each other
        (`mrinterp.diagnostics.told_apart`), on the runs of the estimation split."""
        from mrinterp.diagnostics._told_apart import told_apart

        self._reach("estimates")
        if self.plan.features.kind == "transcoder":
            return NotApplicable(TWO_SITES, "which of the features that are active together")
        return self._remembered("told apart", lambda: told_apart(self._scan("estimation")))

    @property
    def dose_directions(self) -> pd.DataFrame | NotApplicable:
        """Whether the outcome rises or falls over the doses that the plan has among its kinds of knockout
        (`mrinterp.diagnostics.dose_directions`)."""
        from mrinterp.diagnostics._dose import dose_directions

        return self._remembered("dose directions", lambda: dose_directions(self.knockouts))

    @property
    def stability(self) -> pd.DataFrame | NotApplicable:
        """How far estimates by instruments move when outlying families or a kind of perturbation are left out, or twice the bypass
        rank is adjusted for (`mrinterp.diagnostics.stability`)."""
        from mrinterp.diagnostics._stability import stability

        self._reach("estimates")
        if self.plan.features.kind == "transcoder":
            return NotApplicable(TWO_SITES, "stability of estimates by instruments")
        return self._remembered("stability", lambda: stability(self._scan("estimation"), self._rope()))

    @property
    def shared_causes(self) -> pd.DataFrame | NotApplicable:
        """Whether one allele of a place (a slot, a word) moves feature and outcome, where places have three and more
        (`mrinterp.diagnostics.shared_causes`)."""
        from mrinterp.diagnostics._shared_causes import shared_causes

        self._reach("scan")
        sd = np.asarray(self._learn_basis().meta["outcome_sd"], dtype=float)
        return self._remembered("shared causes", lambda: shared_causes(self._marginal_effects(), sd))

    @property
    def other_runs(self) -> dict[str, pd.DataFrame]:
        """This run's claims held beside those of its repetitions at another seed and scale of the noise, by what is kept of
        them (`Study.rerun`, differently)."""
        stored = {n for event in self.header["history"] for n in event["wrote"]}
        found = sorted(f"{OTHER_RUNS}/{p.name}" for p in (self.out / OTHER_RUNS).glob("*.parquet"))
        return {n: self.folder.kept_table(n, pd.DataFrame) for n in found if n in stored}

    @property
    def results(self) -> pd.DataFrame:
        """The answer, largest effect first: what is claimed per natural sd (``effect, ci_lower, ci_upper, verdict``) and
        what it ``rests_on``; what contrasts on other families say (``knockout*, confirmed``) and the estimate on yet others
        (``replication*, replicated``); every rung on one scale (``<rung>, <rung>_se, <rung>_lower, <rung>_upper``);
        ``robustness``, what an unmeasured feature must explain to undo MR's number."""
        self._reach("results")
        return self._answer()

    @property
    def rungs(self) -> pd.DataFrame:
        """Coverage and cost of every rung: share of features whose knockout, of the rung's own estimand, both errors allow
        (``coverage``), median half width in regions of practical equivalence, and passes of the network."""
        self._reach("results")
        return self._compare_rungs()

    @property
    def claims(self) -> Claims:
        """Every claim with its grade by the default rules: points and reasons, what is missing for the next grade, its
        identification card."""
        self._reach("results")
        return self._grade()

    def grade(self, rules: str = DEFAULT) -> Claims:
        """Grade the claims by a version of the rules; the grades by other versions stay beside these.

        Parameters
        ----------
        rules : str
            One of `mrinterp.evidence.rule_versions`.

        Returns
        -------
        Claims
            Also kept in the run folder, under ``grades``.

        Raises
        ------
        InputError
            For rules of another name.
        """
        read_rules(rules)
        self._reach("results")
        if not os.access(self.out, os.W_OK):  # someone else's run: graded, and not kept
            return self._grade(rules)
        with self.folder.held():
            found = self._grade(rules)
            self.folder.record("grades", ("results.parquet",), (f"grades/{self._graded(rules)}",))
        return found

    def write_report(self) -> None:
        """Write the page of a finished run anew, and beside it the same for machines and for writing up."""
        self._reach("results")
        with self.folder.held():
            self._write_page()
            self.folder.record("report", ("everything above",), ("report.html", "report"))

    def compare(self, other: Findings) -> pd.DataFrame:
        """Hold the claims of another finished run beside these: the same, or different beyond error, and why.

        Parameters
        ----------
        other : Study
            A finished one, of the same network or another one.

        Returns
        -------
        DataFrame
            One row per claim of this run, its features matched by their directions: `mrinterp.evidence._compare.compare_runs`.
        """
        return compare_runs(self, other)

    def _graded(self, rules: str) -> str:
        """What grades are kept as: by version of the rules, and by the other runs that they read."""
        runs = sorted(self.other_runs) if (self.out / OTHER_RUNS).is_dir() else []
        return f"{rules}-{digest(runs)[:8]}" if runs else rules

    def _grade(self, rules: str = DEFAULT) -> Claims:
        name = self._graded(rules)

        def kept() -> Claims:
            if (self.out / "grades" / name).exists() or os.access(self.out, os.W_OK):
                return self.folder.kept(f"grades/{name}", Claims.load, lambda: grade(self, rules))
            return grade(self, rules)

        return self._remembered(f"grades by {name}", kept)

    @property
    def card_sources(self) -> CardSources:
        """What the page's cards show beyond the answer: what features are, every check of every claim, whose effect the
        univariable estimates show. What this run does not hold is None."""
        borrowed = self.borrowed
        return CardSources(
            profiles=self.feature_profiles if (self.out / "feature_profiles").exists() else None,
            diagnosis=self.diagnosis,
            borrowed=None if isinstance(borrowed, NotApplicable) else borrowed,
        )

    @property
    def diagnosis(self) -> Diagnosis:
        """Assumption cards: per claim every assumption, the checks that attacked it, and what they found."""
        from mrinterp.diagnostics._diagnose import diagnose

        return diagnose(self)

    @property
    def controls(self) -> dict[str, NegativeControls | NotApplicable]:
        """Negative controls that the run holds, by their set: what cannot act, asked of the same estimators, and the null
        that they imply; ``claims`` holds the claims against the null of the rung that they rest on."""
        from mrinterp.diagnostics._study_controls import rung_null

        self._reach("results")
        made, rests_on = self._controls(), str(self.results["rests_on"].iloc[0])
        return made | {"claims": rung_null(made, rests_on, self.estimates.get(rests_on))}

    @property
    def ladder(self) -> pd.DataFrame:
        """Claim by claim which rungs of one estimand cannot both be true (``local slopes, contrasts``), and how many times its
        linear extrapolation the contrast is (``ratio, ratio_lower, ratio_upper, finding``)."""
        from mrinterp.diagnostics._ladder import ladder

        self._reach("results")
        rope = dict(zip(self.knockouts["contrast"].outcomes, self.rope.tolist(), strict=True))
        return self._remembered("ladder", lambda: ladder(self.results, self.knockouts["shift"], rope))

    @property
    def claim_checks(self) -> list[Check | NotApplicable]:
        """Do negative controls stay silent, do other families confirm the claims in sign and size, did the intervals of MR
        cover the matched shifts, and do the rungs of the ladder agree?"""
        from mrinterp.diagnostics._claim_checks import claim_checks, rank_checks
        from mrinterp.diagnostics._ladder import ladder_checks
        from mrinterp.diagnostics._study_controls import knockout_control_checks, mr_control_checks

        def check() -> list[Check | NotApplicable]:
            found = self.controls
            controls = knockout_control_checks(found, self.knockouts, self.rope, self.against_random)
            held = [*claim_checks(self.results, self.agreement), *rank_checks(self.rank_path)]
            return [*mr_control_checks(found), *controls, *held, *ladder_checks(self.ladder)]

        return list(self._remembered("claim checks", check))

    def _draw(self) -> None:
        from mrinterp.report.figures import write_figures

        write_figures(self, self.folder.place("figures"))

    def _write_page(self) -> None:
        from mrinterp.report.page import write_page
        from mrinterp.report.twin.files import write_twin

        write_page(self, self.folder.place("report.html"))
        write_twin(self, self.folder.place("report"))
