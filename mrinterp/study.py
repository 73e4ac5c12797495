"""A whole study, room after room; every step is kept on disk, and a run goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.plan import Plan, read_plan
from mrinterp.core.run_folder import RunFolder
from mrinterp.core.storage import read_json, write_json, write_table
from mrinterp.core.study_path import study_path
from mrinterp.core.sumstats import SumStats
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._agreement import Agreement
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["Study"]


class Study:
    """One study: a plan, and the folder in which it is carried out.

    Parameters
    ----------
    plan : Plan
    source : Path
        Folder that the plan's relative paths start from.
    out : Path
        Run folder. If it holds an unfinished run of the same plan, that run goes on.

    Notes
    -----
    The order is the argument: the rules are hashed before discovery is read; candidates, dictionary
    and rank before estimation is read; knockouts are run before any estimate exists, and their
    digest is frozen before the two are joined.
    """

    def __init__(self, plan: Plan, source: Path, out: Path) -> None:
        self.plan, self.source, self.out = plan, Path(source), Path(out)
        self.folder = RunFolder(self.out)

    @classmethod
    def from_toml(cls, path: str | Path, out: str | Path | None = None) -> Study:
        """Open a study file, or one that ships with the package by its bare name.

        ``out`` defaults to ``runs/<name of the file>``.
        """
        path = study_path(path)
        plan, source = read_plan(path)
        return cls(plan, source, Path(out) if out is not None else Path("runs") / path.stem)

    @classmethod
    def open(cls, out: str | Path) -> Study:
        """Reopen a run folder.

        Raises
        ------
        InputError
            If it is not a run folder, or one from a newer version.
        """
        header = RunFolder(Path(out)).header
        plan, _ = read_plan(header["plan"])
        return cls(plan, Path(header["source"]), Path(out))

    def run(self) -> Study:
        """Carry out what is not done yet, and return the study."""
        from mrinterp.report.figures import write_figures
        from mrinterp.report.page import write_page

        existed = self.out.exists()
        try:
            self.folder.check_same_plan(self.plan)
            self._fix_header()
            self.basis  # noqa: B018  discovery is read
            self._fix_header()  # candidates, dictionary and rank are fixed
            self.knockouts, self.kinds, self.equivalence  # noqa: B018  blind: no estimate exists yet
            self._fix_header()  # their digests are frozen
            self.panel, self.sumstats, self.checks, self.estimates  # noqa: B018
            self.agreement, self.results  # noqa: B018
            write_figures(self, self.out / "figures")
            write_page(self, self.out / "report.html")
        except InputError:
            if not existed and self.out.exists():
                self.folder.remove()
            raise
        self.folder.finish()
        return self

    def _fix_header(self) -> None:
        """Hash what is fixed by now: the rules; later candidates and knockouts."""
        self.folder.fix_header(self.plan, self.source, self.design.digest, self._opened.hash)

    def rerun(self, out: str | Path) -> pd.DataFrame:
        """Repeat a finished run from its provenance in another folder; compare claim by claim.

        Raises
        ------
        InputError
            If this run is not finished, or ``out`` is its own folder.
        """
        from mrinterp.diagnostics._rerun import compare_claims

        if not (self.out / "results.parquet").exists():
            raise InputError(str(self.out), "not a finished run", "Finish it with mrinterp run first")
        if Path(out).resolve() == self.out.resolve():
            raise InputError("--out", "the run folder itself", "Repeat into another folder")
        again = Study(self.plan, self.source, Path(out)).run()
        return compare_claims(self.results, again.results)

    def cost(self) -> dict[str, float]:
        """Forward passes, seconds (two blocks are run and timed) and bytes; nothing is written."""
        from mrinterp.instruments.design import make_design
        from mrinterp.scan._cost import scan_cost

        opened, features = self._opened, self.plan.features
        design = make_design(self.plan, self.source, lambda: opened.embedding_width)
        network = opened.network(design)
        given = opened.plan_features(network.width)
        chosen = features.latents or range(features.count)
        return scan_cost(network, design, len(given.names if given else chosen), self.plan)

    # -- what the run is made of, in the order in which it is made ---------------------------------

    @cached_property
    def _opened(self) -> Any:
        from mrinterp.models._plan_network import open_study_network

        return open_study_network(self.plan, self.source)

    @cached_property
    def _network(self) -> Any:
        """The network on the design's inputs, with the autoencoder whose latents are the features."""
        from mrinterp.scan._study_sae import open_sae

        bare = self._opened.network(self.design)
        return replace(bare, sae=open_sae(bare, self.design, self.plan, self.source, self.folder))

    @property
    def autoencoder(self) -> Any:
        """The plan's sparse autoencoder, from its folder or trained on discovery and kept under ``sae``;
        None where features are no latents."""
        return self._network.sae

    @cached_property
    def design(self) -> Design:
        """Prompts, families, splits, instruments and doses."""
        from mrinterp.instruments.design import make_design

        return self.folder.kept(
            "design",
            Design.load,
            lambda: make_design(self.plan, self.source, lambda: self._opened.embedding_width),
        )

    @cached_property
    def basis(self) -> Basis:
        """Dictionary, bypass bases and rank, learned on the discovery split."""
        from mrinterp.scan._discovery import learn_basis
        from mrinterp.tables._labels import read_labels

        def learn() -> Basis:
            labels = read_labels(self.source / self.plan.features.labels) if self.plan.features.labels else {}
            network, work = self._network, self.folder.work / "basis"
            return learn_basis(
                network, self.design, self.plan, self._opened.plan_features(network.width), work, labels
            )

        return self.folder.kept("basis", Basis.load, learn)

    @cached_property
    def knockouts(self) -> dict[str, KnockoutEffects]:
        """The matched shift, the plan's other kinds, and random directions shifted, on their own split."""
        from mrinterp.knockouts._study_knockouts import study_knockouts

        return study_knockouts(self.plan, lambda: self._network, self.design, self.basis, self.folder)

    @cached_property
    def kinds(self) -> KindComparison:
        """Every kind of knockout of the features side by side, never pooled, with a test of their equality."""
        from mrinterp.knockouts._kinds.compare_kinds import compare_kinds

        effects = {name: e for name, e in self.knockouts.items() if name != "random"}
        return self.folder.kept("kinds", KindComparison.load, lambda: compare_kinds(effects))

    @cached_property
    def against_random(self) -> AgainstRandom | NotApplicable:
        """Every feature's matched shift, ranked among random directions shifted as far; not applicable where
        the plan asks for no random directions."""
        if "random" not in self.knockouts:
            return NotApplicable(
                "knockouts.random_controls is 0 in the plan", "ranks among random directions"
            )
        return AgainstRandom.of(self.knockouts["shift"], self.knockouts["random"], per="unit")

    @cached_property
    def equivalence(self) -> pd.DataFrame:
        """Two one-sided tests of every kind of knockout against the plan's region (`KnockoutEffects.equivalence`),
        with ``kind`` as the first column: which effects are shown to be negligible, and which are only small."""
        path = self.out / "equivalence.parquet"
        if not path.exists():
            tests = {k: e.equivalence(rope=self.rope) for k, e in self.knockouts.items()}
            write_table(path, pd.concat([t.assign(kind=k) for k, t in tests.items()], ignore_index=True))
        table = pd.read_parquet(path)
        return table[["kind", *(c for c in table if c != "kind")]]

    def bench(self, folder: Path | None = None) -> Any:
        """The study's features on the clean prompts of its knockout split, for kinds and designs beyond the plan's.

        Parameters
        ----------
        folder : Path, optional
            Where finished shards of long designs are kept, so that a kill costs little.

        Returns
        -------
        Bench
            One unit of a feature is that of the study. `knock_out`, `dose_response`, `epistasis`, `rescue`,
            `direct_effect` and the other designs take it as their first argument.

        Raises
        ------
        InputError
            If the folder holds a run of another plan.

        Notes
        -----
        Blind: it needs the features, which are fixed on the discovery split, and no estimate. An unfinished
        study is carried out no further than that. What is found on it is not part of the run: nothing is
        frozen, and a design chosen after the report was read is exploratory.
        """
        from mrinterp.knockouts._study_bench import study_bench

        self.folder.check_same_plan(self.plan)
        if not (self.out / "study.json").exists():
            self._fix_header()  # the rules are hashed before discovery is read
        return study_bench(self._network, self.design, self.basis.dictionary, folder)

    @cached_property
    def panel(self) -> Panel:
        """Runs of the estimation split."""
        return self._panel("estimation")

    @cached_property
    def replication_panel(self) -> Panel:
        """Runs of the replication split: other families, all kinds of perturbation."""
        return self._panel("replication")

    def _panel(self, split: str) -> Panel:
        from mrinterp.scan._panel import scan_panel

        return self.folder.kept(
            f"panel/{split}",
            Panel.load,
            lambda: scan_panel(self._network, self.design, self.basis, split, self.folder.work / split),
        )

    @cached_property
    def sumstats(self) -> dict[str, SumStats]:
        """Marginal effects per kind of perturbation, estimation split."""
        from mrinterp.scan._marginal import marginal_scan

        kinds = [k for k in ("noise", "slot", "pair") if (self.panel.runs["kind"] == k).any()]

        def scan(kind: str) -> SumStats:
            return self.folder.kept(
                f"sumstats/{kind}", SumStats.load, lambda: marginal_scan(self.panel, kind, kind != "pair")
            )

        return {k: scan(k) for k in kinds}

    @cached_property
    def checks(self) -> list[dict[str, Any]]:
        """Manipulation check and what identifies the primary estimate."""
        from mrinterp.diagnostics._even_outcomes import even_outcome_checks
        from mrinterp.diagnostics._manipulation import identification_checks, manipulation_checks
        from mrinterp.diagnostics._reconstruction import reconstruction_check
        from mrinterp.effects._ladder import without_tsls
        from mrinterp.models._gradient import outcomes_without_gradient

        path = self.out / "checks.json"
        if not path.exists():
            found: list[Check | NotApplicable] = []
            for kind, stats in self.sumstats.items():
                found += manipulation_checks(self.panel.select(kinds=(kind,)), stats)
            found += identification_checks(
                self.panel, self.plan.estimation.kind, self.plan.splits.min_families
            )
            lacking = outcomes_without_gradient(self._network, np.array([0]))
            found += [NotApplicable(f"{name}: {why}", "gradient") for name, why in lacking.items()]
            few = without_tsls(self.panel, self.plan.estimation.kind)
            found += [] if few is None else [few]
            found += even_outcome_checks(self.plan.outcome)
            if "sae" in self.basis.meta:
                found.append(reconstruction_check(self.basis.meta["sae"]))
            write_json(path, [c.to_dict() for c in found])
        return list(read_json(path))

    @cached_property
    def estimates(self) -> dict[str, Estimates]:
        """Every rung of the ladder by name; ``replication``: the primary on other families,
        ``replication_<kind>``: on other families and a held-out kind of perturbation."""
        from mrinterp.effects._ladder import rungs
        from mrinterp.models._gradient import gradient_estimates

        def gradient() -> Estimates:
            return gradient_estimates(self._network, self.design, self.basis.dictionary, "estimation")

        lacking = [c for c in self.checks if c["name"] == "gradient" and c["verdict"] == "not applicable"]
        some = len(lacking) < len(self.panel.outcome_names)
        makers = rungs(
            self.plan, self.panel, lambda: self.replication_panel, self.sumstats, gradient if some else None
        )
        bar = tqdm(makers.items(), desc="estimates", unit="method", disable=None)
        return {name: self.folder.kept(f"estimates/{name}", Estimates.load, make) for name, make in bar}

    @cached_property
    def rank_path(self) -> pd.DataFrame:
        """Estimate and interval of every feature over bypass ranks."""
        from mrinterp.mr._runs.within import rank_path

        path = self.out / "rank_path.parquet"
        if not path.exists():
            panel = self.panel.select(kinds=(self.plan.estimation.kind,))
            grid = sorted(
                {r for r in self.basis.path["rank"] if r <= self.basis.meta["ceiling"]} | {self.basis.rank}
            )
            kind = (
                "CR3" if self.plan.estimation.covariance == "bootstrap" else self.plan.estimation.covariance
            )
            write_table(path, rank_path(panel, grid, kind))
        return pd.read_parquet(path)

    @cached_property
    def agreement(self) -> Agreement:
        """Estimates held against the matched shift, whose digest was frozen before."""
        from mrinterp.diagnostics._agreement import agreement
        from mrinterp.effects._ladder import LABELS

        frozen = KnockoutEffects.digest_of(self.out / "knockouts" / "shift")
        if frozen != self.header["knockouts"]["shift"]:
            raise InputError(
                str(self.out / "knockouts"),
                "changed after it was frozen",
                "Delete the run folder and run again",
            )
        named = [replace(e, method=n, label=LABELS.get(n, e.label)) for n, e in self.estimates.items()]
        screen = f"ivw_{self.plan.estimation.kind}"
        return self.folder.kept(
            "agreement",
            Agreement.load,
            lambda: agreement(named, self.knockouts["shift"], self.rope, screen, frozen),
        )

    @property
    def rope(self) -> np.ndarray:
        """Region of practical equivalence per outcome: plan's fraction of sd(outcome) per sd(feature)."""
        return self.plan.estimation.rope * np.asarray(self.basis.meta["outcome_sd"])

    @cached_property
    def results(self) -> pd.DataFrame:
        """The answer: feature, effect with interval, knockout, verdicts."""
        from mrinterp.diagnostics._agreement import verdict_table

        path = self.out / "results.parquet"
        if not path.exists():
            table = verdict_table(
                self.estimates["within"], self.knockouts["shift"], self.rope, self.panel.labels
            )
            write_json(self.out / "results.json", table.to_dict(orient="records"))
            write_table(path, table)
        self.rank_path  # noqa: B018
        return pd.read_parquet(path)

    @property
    def header(self) -> dict[str, Any]:
        """What ``study.json`` holds: plan, hashes, provenance."""
        return self.folder.header
