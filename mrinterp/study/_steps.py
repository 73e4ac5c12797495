"""How each stage of a study is carried out: made where it is missing, reopened where it is finished."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.panel import Panel
from mrinterp.core.plan import HELD_OUT
from mrinterp.core.plan_inputs import PERTURBATIONS
from mrinterp.core.shown import counted
from mrinterp.core.storage import rounded
from mrinterp.core.sumstats import SumStats
from mrinterp.results._agreement import Agreement
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import NotApplicable
from mrinterp.results._claims import Claims
from mrinterp.results._contrast_levels import ContrastLevels
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome
from mrinterp.results._designs.site_experiment import SiteExperiment
from mrinterp.results._estimates import Estimates
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._negative_controls import NegativeControls
from mrinterp.study._helped import shared
from mrinterp.study._opened import Opened

__all__ = ["Steps"]

CONTRAST_RUNGS = {"rectified": "contrast", "rectified_judge": "judge", "rectified_again": "again"}
"""Rungs that rest on contrasts, and the knockouts that each is made of."""


class Steps(Opened):
    """What the stages of a study do, in the order in which they come; `Study` sees to the order."""

    def _choose_position(self) -> dict[str, Any] | None:
        """The tokens where features are read, and why; None where the plan states them."""
        from mrinterp.knockouts._choose_position import choose_position

        if self.plan.features.position != "auto":
            return None

        def choose() -> dict[str, Any]:
            return rounded(choose_position(self._bare_network, self._stored_design()))

        return self._remembered("position", lambda: dict(self.folder.kept_json("position.json", choose)))

    def _choose_noise(self) -> dict[str, Any] | None:
        """The noise's scale by token class; None where the plan states it, or has no noise."""
        from mrinterp.knockouts._study_choices import study_noise

        noise = self.plan.instruments.noise
        if noise.scale != "auto" or not noise.runs_per_prompt:
            return None

        def choose() -> dict[str, Any]:
            network, design = self._network, self._stored_design()
            given = self._opened.plan_features(network.width)
            return rounded(study_noise(self.plan, network, design, given, self.folder.work / "noise"))

        return self._remembered("noise", lambda: dict(self.folder.kept_json("noise.json", choose)))

    def check_before(self) -> None:
        """Refuse what plan and prompts already tell, before anything is run or written.

        Raises
        ------
        InputError
            For what a run could only find out later.
        """
        from mrinterp.study._before import check_before

        def check() -> bool:
            design, opened = self._drawn_design(), self._opened
            check_before(self.plan, self.source, self.out, opened, design, self._bare_network)
            return True

        self._remembered("checked before", check)

    def _fix_rules(self) -> None:
        digest, opened = self._stored_design().digest, self._opened
        self.folder.fix_rules(self.plan, self.source, digest, opened.hash, opened.from_memory)

    def _stored_design(self) -> Design:
        return self._kept("design", Design.load, self._drawn_design)

    def _make_design(self) -> Design:
        """The design, with the scale of its noise once that is chosen."""
        stored = self._stored_design()
        if not (self.out / "noise.json").exists():
            return stored
        return self._remembered(
            "scaled design", lambda: stored.with_noise((self._choose_noise() or {})["scale"])
        )

    def _learn_basis(self) -> Basis:
        from mrinterp.scan._discovery import learn_basis
        from mrinterp.tables._labels import read_labels

        def learn() -> Basis:
            labels = read_labels(self.source / self.plan.features.labels) if self.plan.features.labels else {}
            network, work = self._network, self.folder.work / "basis"
            given, design = self._opened.plan_features(network.width), self._make_design()
            with shared(self, "_learn_basis"):
                return learn_basis(network, design, self.plan, given, work, labels)

        return self._kept("basis", Basis.load, learn)

    def _learn_levels(self) -> ContrastLevels:
        from mrinterp.knockouts._study_contrast import study_levels

        def learn() -> ContrastLevels:
            return study_levels(self._network, self._make_design(), self._learn_basis())

        return self._kept("contrast_levels", ContrastLevels.load, learn)

    def _pilot(self) -> dict[str, Any]:
        from mrinterp.knockouts._noise_moves import noise_moves
        from mrinterp.knockouts._study_contrast import pilot

        def run() -> dict[str, Any]:
            work, levels = self.folder.work / "pilot", self._learn_levels()
            design, basis = self._make_design(), self._learn_basis()
            moved = noise_moves(self._network, design, basis, levels)
            known: dict[str, Any] = {} if moved is None else {"noise_moves": moved.tolist()}
            known |= {"calibration": self._calibration_plan()}
            # Rounded to what does not depend on the order of sums.
            return rounded(pilot(self.plan, self._network, design, basis, levels, work) | known)

        return self._remembered("pilot", lambda: dict(self.folder.kept_json("pilot.json", run)))

    def _follow_paths(self) -> PathsToOutcome | None:
        """From which features a path leads to the outcomes; None in finished runs of versions that did not ask."""
        from mrinterp.knockouts._study_knockouts import study_paths

        if self.folder.finished and not (self.out / "paths").exists():
            return None

        def run() -> PathsToOutcome:
            return study_paths(self.plan, self._network, self._make_design(), self._learn_basis())

        return self._kept("paths", PathsToOutcome.load, run)

    def _calibration_plan(self) -> dict[str, Any] | None:
        """Which features rest on their own shifts and which calibrate the others, by the gradient on discovery; None
        where no outcome has one: all shifts then calibrate."""
        from mrinterp.effects._calibrated import calibration_plan
        from mrinterp.models._gradient import gradient_estimates, outcomes_without_gradient

        network = self._network
        if len(outcomes_without_gradient(network, np.array([0]))) == len(network.outcome.names):
            return None
        dictionary = self._learn_basis().dictionary
        found = gradient_estimates(network, self._make_design(), dictionary, "discovery")
        return calibration_plan(found, seed=self.plan.seed).to_dict()

    def _knocked_out(self) -> dict[str, tuple[str, NDArray[np.int_]]]:
        from mrinterp.knockouts._study_contrast import knocked_out

        return knocked_out(self.plan, self._make_design(), int(self._pilot()["families"]))

    def _plan_knockouts(self) -> None:
        from mrinterp.knockouts._study_bench import clean_runs
        from mrinterp.models._redrawn import why_not_redrawn

        if self.plan.knockouts.redrawn_network:
            self.folder.leave_out("redrawn", lambda: why_not_redrawn(self._network, self.plan.seed))
        names, rows = self.folder.planned_names, self._knocked_out()
        groups = {"kinds": tuple(n for n in names if n not in rows)} | {n: (n,) for n in rows if n != "kinds"}
        for of, planned in groups.items():
            split, chosen = rows[of]
            self.folder.plan_knockouts(planned, clean_runs(self._make_design(), split)["family"].iloc[chosen])

    def _plan_and_run_knockouts(self) -> None:
        self._plan_knockouts()
        self._run_knockouts()
        self._randomize_site()
        self._knock_out_wholes()

    def _run_knockouts(self) -> dict[str, KnockoutEffects]:
        from mrinterp.knockouts._study_knockouts import study_knockouts

        def run() -> dict[str, KnockoutEffects]:
            room, basis, levels = self.folder.knockout_room(), self._learn_basis(), self._learn_levels()
            design, rows = self._make_design(), self._knocked_out()
            with shared(self, "_run_knockouts"):
                return study_knockouts(self.plan, lambda: self._network, design, basis, levels, rows, room)

        return self._remembered("knockouts", run)

    def _randomize_site(self) -> SiteExperiment | None:
        """All features at random at once, where an outcome is a draw and features are many; else None."""
        from mrinterp.knockouts._study_contrast import joins, study_site_experiment

        basis = self._learn_basis()
        if not joins(self.plan, basis):
            return None

        def run() -> SiteExperiment:
            levels, rows = self._learn_levels(), self._knocked_out()["contrast"]
            network, design, work = self._network, self._make_design(), self.folder.work / "site_experiment"
            with shared(self, "_randomize_site"):
                return study_site_experiment(self.plan, network, design, basis, levels, rows, work)

        return self._kept("site_experiment", SiteExperiment.load, run)

    def _knock_out_wholes(self) -> dict[str, KnockoutEffects]:
        """Heads and subspaces, all coordinates at once, where the plan's features are such; else nothing."""
        from mrinterp.knockouts._study_knockouts import WHOLES, study_wholes

        older = self.folder.finished and not (self.out / next(iter(WHOLES))).exists()
        if older or self.plan.features.kind not in ("heads", "subspace"):
            return {}

        def run(name: str) -> KnockoutEffects:
            given = self._opened.plan_features(self._network.width)
            assert given is not None
            design, basis, rows = self._make_design(), self._learn_basis(), self._knocked_out()["kinds"]
            return study_wholes(self.plan, self._network, design, basis, given.wholes, rows, name)

        return {n: self._kept(n, KnockoutEffects.load, partial(run, n)) for n in WHOLES}

    def _compare_kinds(self) -> KindComparison:
        from mrinterp.knockouts._kinds.compare_kinds import compare_kinds

        def compare() -> KindComparison:
            return compare_kinds({name: e for name, e in self._run_knockouts().items() if name in per_unit})

        per_unit = ("shift", *(k.named for k in self.plan.knockouts.kinds))

        return self._kept("kinds", KindComparison.load, compare)

    def _test_equivalence(self) -> pd.DataFrame:
        def test() -> pd.DataFrame:
            made = {n: e for n, e in self._run_knockouts().items() if n not in ("contrast", *HELD_OUT)}
            tests = {kind: e.equivalence(rope=self._rope()) for kind, e in made.items()}
            return pd.concat([t.assign(kind=kind) for kind, t in tests.items()], ignore_index=True)

        return self._remembered("equivalence", lambda: self.folder.kept_table("equivalence.parquet", test))

    def _scan(self, split: str) -> Panel:
        from mrinterp.scan._panel import scan_panel

        def scan() -> Panel:
            work = self.folder.work / split
            design, basis = self._make_design(), self._learn_basis()
            with shared(self, "_scan", split):
                return scan_panel(self._network, design, basis, split, work)

        return self._kept(f"panel/{split}", Panel.load, scan)

    def _marginal_effects(self) -> dict[str, SumStats]:
        from mrinterp.scan._marginal import marginal_scan

        panel = self._scan("estimation")
        kinds = [k for k in PERTURBATIONS if (panel.runs["kind"] == k).any()]
        made = {k: partial(marginal_scan, panel, k, not self.plan.instruments.paired(k)) for k in kinds}
        return {k: self._kept(f"sumstats/{k}", SumStats.load, make) for k, make in made.items()}

    def _check(self) -> list[dict[str, Any]]:
        from mrinterp.diagnostics._study_checks import study_checks
        from mrinterp.models._gradient import outcomes_without_gradient

        def check() -> list[dict[str, Any]]:
            lacking = outcomes_without_gradient(self._network, np.array([0]))
            panel, sumstats, design = self._scan("estimation"), self._marginal_effects(), self._make_design()
            words = design.words(design.rows("estimation"))
            found = study_checks(
                self.plan, self._learn_basis(), panel, sumstats, lacking, self._follow_paths(), words
            )
            return [c.to_dict() for c in found]

        return self._remembered("checks", lambda: list(self.folder.kept_json("checks.json", check)))

    def _take_apart(self) -> BorrowedEffects | NotApplicable:
        """Whose effect every feature shows by itself; a reason where the runs cannot say."""
        from mrinterp.diagnostics._study_checks import study_borrowed
        from mrinterp.effects._claims import shift_estimates

        if self.folder.finished and not (self.out / "borrowed").exists():
            why = "its runs could not be taken apart, or it was made by a version that did not ask"
            return NotApplicable(why, "borrowed effects")

        def take() -> BorrowedEffects | NotApplicable:
            if (self.out / "borrowed").exists():
                return self.folder.kept("borrowed", BorrowedEffects.load, lambda: found)
            shift = shift_estimates(self._run_knockouts()["shift"])
            found = study_borrowed(self.plan, self._scan("estimation"), shift)
            if isinstance(found, NotApplicable):
                return found
            return self.folder.kept("borrowed", BorrowedEffects.load, lambda: found)

        return self._remembered("borrowed", take)

    def _estimate(self) -> dict[str, Estimates]:
        from mrinterp.effects._ladder import rungs
        from mrinterp.models._gradient import gradient_estimates

        def gradient() -> Estimates:
            return gradient_estimates(
                self._network, self._make_design(), self._learn_basis().dictionary, "estimation"
            )

        def climb() -> dict[str, Estimates]:
            lacking = [
                c for c in self._check() if c["name"] == "gradient" and c["verdict"] == "not applicable"
            ]
            some = len(lacking) < len(self._scan("estimation").outcome_names)
            replication, panel = (lambda: self._scan("replication")), self._scan("estimation")
            makers: dict[str, Callable[[], Estimates]] = {}
            makers |= {name: partial(self._contrast_rung, name) for name in CONTRAST_RUNGS}
            moved = self._pilot().get("noise_moves") if self.plan.estimation.kind == "noise" else None
            makers |= rungs(
                self.plan, panel, replication, self._marginal_effects(), gradient if some else None, moved
            )
            makers["within_calibrated"] = partial(self._calibrate, makers["within"])
            bar = counted(list(makers.items()), "methods", "method")
            return {name: self.folder.kept(f"estimates/{name}", Estimates.load, make) for name, make in bar}

        return self._remembered("estimates", climb)

    def _calibrate(self, within: Callable[[], Estimates]) -> Estimates:
        from mrinterp.effects._calibrated import CalibrationPlan, calibrated_estimates
        from mrinterp.effects._ladder import without_cut

        if self.plan.features.kind == "transcoder":
            return without_cut("within_calibrated", self._scan("estimation"))
        roles, shift = self._pilot()["calibration"], self._run_knockouts()["shift"]
        planned = None if roles is None else CalibrationPlan.from_dict(roles)
        # One unit of every feature is its standard deviation on discovery.
        unit = np.ones(len(shift.features))
        found = calibrated_estimates(
            self.folder.kept("estimates/within", Estimates.load, within), shift, planned, feature_sd=unit
        )
        shifted = 2 * len(shift.inputs) * (len(unit) if planned is None else len(planned.to_shift))
        spent = {"forward": len(self._scan("estimation").runs), "resumed": shifted}
        label = "within regression, calibrated by shifts"
        return replace(found, method="within_calibrated", label=label, meta=found.meta | {"passes": spent})

    def _contrast_rung(self, name: str) -> Estimates:
        from mrinterp.knockouts._study_contrast import study_rectified

        of = CONTRAST_RUNGS[name]
        knockout, levels = self._run_knockouts()[of], self._learn_levels()
        basis, design = self._learn_basis(), self._make_design()
        return study_rectified(self.plan, self._network, design, basis, levels, knockout, of)

    def _hold_against_knockouts(self) -> Agreement:
        from mrinterp.diagnostics._agreement import agreement
        from mrinterp.effects._ladder import apart_from_own_shifts, named_rungs

        def join() -> Agreement:
            screen, frozen = f"ivw_{self.plan.estimation.kind}", self.folder.header["knockouts"]["shift"]
            slopes = {
                n: apart_from_own_shifts(e) for n, e in self._estimate().items() if n not in CONTRAST_RUNGS
            }
            return agreement(
                named_rungs(slopes), self._run_knockouts()["shift"], self._rope(), screen, frozen
            )

        def held() -> Agreement:
            self.folder.check_frozen("shift")
            found = self.folder.kept("agreement", Agreement.load, join)
            return replace(found, meta=found.meta | {"knockout_planned": self.folder.planned("shift")})

        return self._remembered("agreement", held)

    def _follow_ranks(self) -> pd.DataFrame:
        from mrinterp.effects._ladder import rank_path_of

        def follow() -> pd.DataFrame:
            return rank_path_of(self.plan, self._scan("estimation"), self._learn_basis())

        return self._remembered("rank path", lambda: self.folder.kept_table("rank_path.parquet", follow))

    def _answer(self) -> pd.DataFrame:
        from mrinterp.diagnostics._sensitivity import with_robustness
        from mrinterp.effects._claims import claim_table, rests_on, shift_estimates
        from mrinterp.effects._doubts import with_doubts, without_path, without_sign

        def answer() -> pd.DataFrame:
            made, knockouts, rungs = self._estimate(), self._run_knockouts(), self._rungs()
            resample = next((e for e in knockouts.values() if e.kind == "resample"), None)
            judge, again, chosen = made["rectified_judge"], made["rectified_again"], None
            if self.plan.estimation.rests_on == "mr":
                judge, again = shift_estimates(knockouts["shift"]), made["replication"]
                chosen = rests_on({n: e for n, e in rungs.items() if n != "rectified"})
            table = claim_table(
                rungs,
                knockouts["contrast"],
                judge,
                again,
                self._rope(),
                self._scan("estimation").labels,
                resample,
                self._randomize_site() if chosen is None else None,
                chosen,
                self._make_design().runs["family"].nunique(),
            )
            checks = self._checks_of_mr()
            said = without_sign(with_doubts(table, checks), checks)
            rope = dict(zip(judge.outcomes, self._rope().tolist(), strict=True))
            return with_robustness(without_path(said, checks, knockouts["contrast"]), made["within"], rope)

        def kept() -> pd.DataFrame:
            table = self.folder.kept_table("results.parquet", answer)
            self.folder.kept_json("results.json", lambda: table.to_dict(orient="records"))
            return table

        return self._remembered("results", kept)

    def _checks_of_mr(self) -> list[dict[str, Any]]:
        """Everything that was asked of the runs, of the path over ranks, and whether MR's intervals cover the matched shifts."""
        from mrinterp.diagnostics._claim_checks import rank_checks, slope_checks
        from mrinterp.diagnostics._study_controls import mr_control_checks

        held, path = self._hold_against_knockouts(), self._follow_ranks()
        more = (*rank_checks(path), *slope_checks(held), *mr_control_checks(self._controls()))
        return [*self._check(), *(c.to_dict() for c in more)]

    def _controls(self) -> dict[str, NegativeControls | NotApplicable]:
        """The empirical nulls of what is computed already."""
        from mrinterp.diagnostics._study_controls import study_controls

        def control() -> dict[str, NegativeControls | NotApplicable]:
            panel = self._scan("estimation").select(kinds=(self.plan.estimation.kind,))
            knockouts, left_out = self._run_knockouts(), self.folder.left_out
            return study_controls(panel, self._follow_paths(), self._estimate(), knockouts, left_out)

        return self._remembered("negative controls", control)

    def _rungs(self) -> dict[str, Estimates]:
        """The rungs of the ladder: estimates of the study's own families."""
        others = ("rectified_judge", "rectified_again", "replication")
        return {n: e for n, e in self._estimate().items() if not n.startswith(others)}

    def _follow_scale(self) -> pd.DataFrame | None:
        """Effects at two scales of the noise: the plan's largest and smallest level, or on few families 1 and 1/2; else None."""
        from mrinterp.effects._scale_path import at_levels, scale_path, with_runs_of
        from mrinterp.scan._cost import half_scale_rows
        from mrinterp.scan._panel import scan_panel

        design, basis, noise = self._make_design(), self._learn_basis(), self.plan.instruments.noise
        # What is followed is an estimate by instruments, which a transcoder's features have not.
        if not noise.runs_per_prompt or self.plan.features.kind == "transcoder":
            return None

        def follow() -> pd.DataFrame:
            panel, work = self._scan("estimation"), self.folder.work / "half_scale"
            if noise.levels:
                return scale_path(*at_levels(panel, noise.series), self.plan.estimation.runs_per_column)
            rows = half_scale_rows(design, self.plan, len(basis.dictionary.names))
            weaker = replace(design, noise_directions=design.noise_directions * np.float32(0.5))
            half = scan_panel(self._network, weaker, basis, "estimation", work, rows)
            return scale_path(*with_runs_of(panel, half), self.plan.estimation.runs_per_column)

        return self._remembered("scale path", lambda: self.folder.kept_table("scale_path.parquet", follow))

    def _compare_rungs(self) -> pd.DataFrame:
        from mrinterp.effects._doubts import doubted_rungs
        from mrinterp.effects._rungs import passes_of, rung_table

        def compare() -> pd.DataFrame:
            made, results, rungs = self._estimate(), self._answer(), self._rungs()
            rope = dict(zip(made["rectified"].outcomes, self._rope().tolist(), strict=True))
            passes = {n: passes_of(n, e, len(self._scan("estimation").runs)) for n, e in rungs.items()}
            held = self._hold_against_knockouts()
            doubts = doubted_rungs(self._checks_of_mr(), rope)
            return rung_table(rungs, held, made["rectified_judge"], results, rope, passes, doubts)

        return self._remembered("rungs", lambda: self.folder.kept_table("rungs.parquet", compare))

    def _rope(self) -> np.ndarray:
        return self.plan.estimation.rope * np.asarray(self._learn_basis().meta["outcome_sd"])

    @abstractmethod
    def _grade(self) -> Claims:
        """Grade the claims."""

    @abstractmethod
    def _profile(self) -> object:
        """What the features are, kept for their cards."""

    @abstractmethod
    def _draw(self) -> None:
        """Write the figures."""

    @abstractmethod
    def _write_page(self) -> None:
        """Write the page."""
