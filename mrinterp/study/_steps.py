"""How each stage of a study is carried out: made where it is missing, reopened where it is finished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.named_code import check_agreed, named_code
from mrinterp.core.panel import Panel
from mrinterp.core.plan import Plan
from mrinterp.core.run_folder import RunFolder
from mrinterp.core.sumstats import SumStats
from mrinterp.results._agreement import Agreement
from mrinterp.results._estimates import Estimates
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects

if TYPE_CHECKING:
    from mrinterp.models._cut import CutNetwork
    from mrinterp.models._plan_network import StudyNetwork

__all__ = ["Steps"]

T = TypeVar("T")


class Steps(ABC):
    """What the stages of a study do, in the order in which they come; `Study` sees to the order.

    Parameters
    ----------
    plan : Plan
    source : Path
        Folder that the plan's relative paths start from.
    out : Path
        Run folder.
    allow_code : bool
        Whether Python that the plan names is imported without asking.
    """

    def __init__(self, plan: Plan, source: Path, out: Path, allow_code: bool) -> None:
        self.plan, self.source, self.out = plan, Path(source), Path(out)
        self.allow_code = allow_code
        self.folder = RunFolder(self.out)
        self._memory: dict[str, Any] = {}

    def _remembered(self, name: str, make: Callable[[], T]) -> T:
        """What was made or opened once, while this object lives."""
        if name not in self._memory:
            self._memory[name] = make()
        found: T = self._memory[name]
        return found

    @cached_property
    def _opened(self) -> StudyNetwork:
        from mrinterp.models._plan_network import open_study_network

        if not self.allow_code:
            check_agreed(named_code(self.plan, self.source), self.source, self.plan.title)
        return open_study_network(self.plan, self.source)

    @property
    def _network(self) -> CutNetwork:
        """The network on the design's inputs, with the autoencoder whose latents are the features (which is
        trained on discovery and kept, where the plan says so)."""
        from mrinterp.scan._study_sae import open_sae

        def put_on_the_design() -> CutNetwork:
            design, bare = self._make_design(), self._bare_network
            return replace(bare, sae=open_sae(bare, design, self.plan, self.source, self.folder))

        return self._remembered("network", put_on_the_design)

    @property
    def _bare_network(self) -> CutNetwork:
        """The network on the design's inputs, as it stands."""
        return self._remembered("bare network", lambda: self._opened.network(self._drawn_design()))

    def _drawn_design(self) -> Design:
        """The design as it is stored, or drawn in memory where it is not stored yet."""
        from mrinterp.instruments.design import make_design

        if (self.out / "design").exists():
            return self._make_design()
        return self._remembered(
            "drawn design", lambda: make_design(self.plan, self.source, lambda: self._opened.embedding_width)
        )

    def check_before(self) -> None:
        """Refuse what plan and prompts already tell, before anything is run or written.

        Raises
        ------
        InputError
            For what a run could only find out later.
        """
        from mrinterp.study._before import check_before

        design, opened = self._drawn_design(), self._opened
        check_before(self.plan, self.source, self.out, opened, design, self._bare_network)

    def _fix_rules(self) -> None:
        self.folder.fix_rules(self.plan, self.source, self._make_design().digest, self._opened.hash)

    def _make_design(self) -> Design:
        return self._remembered("design", lambda: self.folder.kept("design", Design.load, self._drawn_design))

    def _learn_basis(self) -> Basis:
        from mrinterp.scan._discovery import learn_basis
        from mrinterp.tables._labels import read_labels

        def learn() -> Basis:
            labels = read_labels(self.source / self.plan.features.labels) if self.plan.features.labels else {}
            network, work = self._network, self.folder.work / "basis"
            given = self._opened.plan_features(network.width)
            return learn_basis(network, self._make_design(), self.plan, given, work, labels)

        return self._remembered("basis", lambda: self.folder.kept("basis", Basis.load, learn))

    def _plan_and_run_knockouts(self) -> None:
        design = self._make_design()
        families = design.runs["family"].iloc[design.rows("knockout", ("clean",))]
        self.folder.plan_knockouts(self.plan.knockouts.names, families)
        self._run_knockouts()

    def _run_knockouts(self) -> dict[str, KnockoutEffects]:
        from mrinterp.knockouts._study_knockouts import study_knockouts

        def run() -> dict[str, KnockoutEffects]:
            room, basis = self.folder.knockout_room(), self._learn_basis()
            return study_knockouts(self.plan, lambda: self._network, self._make_design(), basis, room)

        return self._remembered("knockouts", run)

    def _compare_kinds(self) -> KindComparison:
        from mrinterp.knockouts._kinds.compare_kinds import compare_kinds

        def compare() -> KindComparison:
            return compare_kinds({name: e for name, e in self._run_knockouts().items() if name != "random"})

        return self._remembered("kinds", lambda: self.folder.kept("kinds", KindComparison.load, compare))

    def _test_equivalence(self) -> pd.DataFrame:
        def test() -> pd.DataFrame:
            tests = {kind: e.equivalence(rope=self._rope()) for kind, e in self._run_knockouts().items()}
            return pd.concat([t.assign(kind=kind) for kind, t in tests.items()], ignore_index=True)

        return self._remembered("equivalence", lambda: self.folder.kept_table("equivalence.parquet", test))

    def _scan(self, split: str) -> Panel:
        from mrinterp.scan._panel import scan_panel

        def scan() -> Panel:
            work = self.folder.work / split
            return scan_panel(self._network, self._make_design(), self._learn_basis(), split, work)

        return self._remembered(split, lambda: self.folder.kept(f"panel/{split}", Panel.load, scan))

    def _marginal_effects(self) -> dict[str, SumStats]:
        from mrinterp.scan._marginal import marginal_scan

        panel = self._scan("estimation")

        def scanned(kind: str) -> SumStats:
            return self.folder.kept(
                f"sumstats/{kind}", SumStats.load, lambda: marginal_scan(panel, kind, kind != "pair")
            )

        kinds = [k for k in ("noise", "slot", "pair") if (panel.runs["kind"] == k).any()]
        return self._remembered("sumstats", lambda: {kind: scanned(kind) for kind in kinds})

    def _check(self) -> list[dict[str, Any]]:
        from mrinterp.diagnostics._study_checks import study_checks
        from mrinterp.models._gradient import outcomes_without_gradient

        def check() -> list[dict[str, Any]]:
            lacking = outcomes_without_gradient(self._network, np.array([0]))
            found = study_checks(
                self.plan, self._learn_basis(), self._scan("estimation"), self._marginal_effects(), lacking
            )
            return [c.to_dict() for c in found]

        return self._remembered("checks", lambda: list(self.folder.kept_json("checks.json", check)))

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
            makers = rungs(
                self.plan, panel, replication, self._marginal_effects(), gradient if some else None
            )
            bar = tqdm(makers.items(), desc="estimates", unit="method", disable=None)
            return {name: self.folder.kept(f"estimates/{name}", Estimates.load, make) for name, make in bar}

        return self._remembered("estimates", climb)

    def _hold_against_knockouts(self) -> Agreement:
        from mrinterp.diagnostics._agreement import agreement
        from mrinterp.effects._ladder import named_rungs

        def join() -> Agreement:
            screen, frozen = f"ivw_{self.plan.estimation.kind}", self.folder.header["knockouts"]["shift"]
            return agreement(
                named_rungs(self._estimate()), self._run_knockouts()["shift"], self._rope(), screen, frozen
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
        from mrinterp.effects._verdict import verdict_table

        def answer() -> pd.DataFrame:
            primary, truth = self._estimate()["within"], self._run_knockouts()["shift"]
            return verdict_table(primary, truth, self._rope(), self._scan("estimation").labels)

        def kept() -> pd.DataFrame:
            table = self.folder.kept_table("results.parquet", answer)
            self.folder.kept_json("results.json", lambda: table.to_dict(orient="records"))
            return table

        return self._remembered("results", kept)

    def _rope(self) -> np.ndarray:
        return self.plan.estimation.rope * np.asarray(self._learn_basis().meta["outcome_sd"])

    @abstractmethod
    def _draw(self) -> None:
        """Write the figures."""

    @abstractmethod
    def _write_page(self) -> None:
        """Write the page."""
