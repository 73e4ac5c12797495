"""All features of a study's site, scanned: its design is run through the network in parts, then scanned part by part."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_choice
from mrinterp.core.design import SPLITS
from mrinterp.core.errors import InputError
from mrinterp.core.plan import read_plan, study_path
from mrinterp.core.threads import one_blas_thread
from mrinterp.results._scan.feature_scan import FeatureScan
from mrinterp.scan._run_parts import entries_per_run, every_feature, part_bytes, read_parts
from mrinterp.scan._scan_features import scan_features, scan_memory
from mrinterp.scan._scan_folder import PASSES
from mrinterp.scan._scan_job import shard_features
from mrinterp.scan._study_sae import STORED, stored_sae
from mrinterp.study._helped import helped, shared
from mrinterp.study._study import Study

__all__ = ["StudyScan", "scan_study"]

Rows = NDArray[np.int_]

STUDY, FEATURES = PASSES


def scan_study(
    study: str | Path,
    folder: str | Path,
    *,
    split: str = "discovery",
    kind: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    allow_code: bool = False,
    **options: Any,
) -> FeatureScan:
    """Effects of a study's perturbations on every feature of its site: all latents of its autoencoder, else all dimensions.

    Parameters
    ----------
    study : str or Path
        A study file, or the name of one that ships with the package.
    folder : str or Path
        Where everything goes; a scan that was interrupted there goes on. `ScanFolder` reads the effects.
    split : {"discovery", "estimation", "replication", "knockout"}
        Whose runs. On the discovery families, the default, candidates can be chosen that a study then tests on others.
    kind : str, optional
        Kind of perturbation; by default the one that the study estimates from.
    workers : int, optional
        Processes of this machine that share passes and scan.
    scheduler : str, optional
        Address of a scheduler of dask whose workers share them instead.
    allow_code : bool
        As of `Study.from_toml`.
    **options
        ``errors, joint, p_threshold, with_outcomes, draws, seed, precision, device`` of `scan_features`.

    Returns
    -------
    FeatureScan

    Raises
    ------
    InputError
        For a study that could not run, a split without runs of that kind, a folder of something else, or a damaged part.

    Notes
    -----
    Runs go through the network block by block, 16 canonical blocks to a part: the part's features, of latents the entries
    only, and its outcomes are written when it is whole. No process holds the features of all runs: the scan reads them a
    block of features at a time, from all parts. A worker that dies costs the part that it was making. The bytes are those of one
    process whose torch has as many threads (one with ``workers``), for any number of workers.

    Features are in the site's own units, not in natural standard deviations: a mean over the tokens where the study reads.
    Substitutions and noise are deviations from the prompt's mean, pairs and paraphrases changes against the clean run. Not
    valid as a test of candidates that were chosen by it: those need other families.

    Examples
    --------
    >>> from mrinterp import InputError
    >>> from mrinterp.study import scan_study
    >>> try:
    ...     scan_study("minilm_sentiment", "a_folder", split="test")
    ... except InputError as error:
    ...     print(error)
    split: 'test'. Give one of discovery, estimation, replication, knockout
    """
    made = StudyScan.of(study, folder, allow_code=allow_code)
    return made.scan(split, kind, workers, scheduler, **options)


class StudyScan(Study):
    """A study of which nothing is carried out but the choices that its passes need; its run folder lies in the scan's."""

    @classmethod
    def of(cls, study: str | Path, folder: str | Path, *, allow_code: bool = False) -> StudyScan:
        """The scan of a study file into a folder."""
        plan, source = read_plan(study_path(study))
        return cls(plan, source, Path(folder) / STUDY, allow_code)

    def scan(
        self,
        split: str,
        kind: str | None = None,
        workers: int | None = None,
        scheduler: str | None = None,
        **options: Any,
    ) -> FeatureScan:
        """Run what is missing, and scan it: as of `scan_study`."""
        checked_choice(split, "split", SPLITS)
        kind = self._kind(kind)
        with self._begun(), helped(self, workers, scheduler), one_blas_thread():
            self._fix_rules()
            if kind == "noise":
                self._choose_noise()
            names = every_feature(self._network)[1]
            order, outcomes = self._read_features(split, kind)
            client = self.workers.client
            return scan_features(
                self.out.parent,
                features=self.out.parent / FEATURES,
                outcomes=outcomes,
                feature_names=names,
                outcome_names=self._network.outcome.names,
                scheduler=None if client is None else client.scheduler.address,
                **self._of_design(order, kind),
                **options,
            )

    def _read_features(self, split: str, kind: str) -> tuple[Rows, NDArray[np.float64]]:
        """Rows of the design in the order of the parts, and their outcomes: parts that are missing are made."""
        network, design = every_feature(self._network)[0], self._make_design()
        rows, where = self._rows(split, kind), self.out.parent / FEATURES
        of = f"{self.header['rules_hash']} {split} {kind}"
        with shared(self, "_read_features", split, kind):
            return read_parts(network, design, rows, where, of, f"features: {split}")

    def sizes(self, split: str, kind: str | None = None, threads: int | None = None) -> dict[str, Any]:
        """What a scan would take; one block of runs goes through the network, nothing is written.

        Returns
        -------
        dict
            ``runs, features, instruments, families``; ``entries`` of a run that are not zero (None where features are
            dense); ``held_by_a_part`` bytes while a part is made, ``bytes`` of the scan beside the mapped features, ``disk`` bytes
            of all parts.
        """
        checked_choice(split, "split", SPLITS)
        kind = self._kind(kind)
        self.folder.check_same_plan(self.plan)
        self.check_before()
        network, design = self._bare_network, self._drawn_design()
        rows, features = self._rows(split, kind), self.plan.features
        tokens = int(network.lengths[design.runs["input"].to_numpy()[rows]].max(initial=1)) or 1
        entries, count = None, network.width
        if features.kind in STORED:
            sae = stored_sae(network, self.plan, self.source, None)
            viewing, names = every_feature(replace(network, sae=sae))
            count, entries = len(names), entries_per_run(viewing, design, rows)
        elif features.kind == "train_sae":
            count = features.train.latents
            entries = float(min(count, features.train.k * tokens))
        doses = self._of_design(rows, kind)["doses"].shape[1]
        block = int(design.settings["block"])
        held, disk = part_bytes(block, len(rows), tokens, network.width, count, entries)
        outcomes = len(network.outcome.names)
        memory = scan_memory(len(rows), doses, count, outcomes, threads or os.cpu_count() or 1)
        if entries is not None:  # those of a shard's features are put together
            memory += 1.5 * disk * min(1.0, shard_features(doses, count, outcomes) / count)
        return {
            "runs": len(rows),
            "features": count,
            "instruments": doses,
            "families": int(design.runs["family"].iloc[rows].nunique()),
            "entries": entries,
            "held_by_a_part": held,
            "bytes": memory,
            "disk": disk,
        }

    def _kind(self, kind: str | None) -> str:
        """The kind of perturbation that is scanned."""
        there = sorted(set(self._drawn_design().runs["kind"]) - {"clean"})
        return checked_choice(self.plan.estimation.kind if kind is None else kind, "kind", there)

    def _rows(self, split: str, kind: str) -> Rows:
        """Rows of the design that are run: clean ones only where changes are taken against them."""
        paired = self.plan.instruments.paired(kind)
        rows = self._drawn_design().rows(split, (kind, "clean") if paired else (kind,))
        if not len(rows):
            there = sorted(set(self._drawn_design().runs.query("kind == @kind")["split"]))
            raise InputError("split", f"no {kind!r} runs in {split!r}", f"Splits with such runs: {there}")
        return rows

    def _of_design(self, order: Rows, kind: str) -> dict[str, Any]:
        """What a scan takes of the design: the doses that vary in these runs, and whose runs they are."""
        design = self._make_design() if (self.out / "design").exists() else self._drawn_design()
        runs, doses = design.runs.iloc[order], np.asarray(design.doses[order], dtype=float)
        vary = np.flatnonzero(np.ptp(doses, axis=0) > 0)
        instruments: pd.DataFrame = design.instruments.iloc[vary]
        return {
            "doses": doses[:, vary],
            "instruments": instruments,
            "prompt": runs["prompt"].to_numpy(),
            "family": runs["family"].to_numpy(),
            "kind": runs["kind"].to_numpy(),
            "clean": (runs["kind"] == "clean").to_numpy(),
            "paired": self.plan.instruments.paired(kind),
        }
