"""A whole study, stage after stage; every result is kept on disk, and a run goes on where it stopped."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mrinterp.core.errors import DamagedError, InputError
from mrinterp.core.plan import Plan, read_plan, study_path
from mrinterp.core.run_folder import RunFolder
from mrinterp.core.shown import stage_progress
from mrinterp.core.threads import one_blas_thread
from mrinterp.results._check import NotApplicable
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.study._findings import Findings
from mrinterp.study._helped import helped
from mrinterp.study._stages import STAGES, Stage

if TYPE_CHECKING:
    from mrinterp.knockouts._bench import Bench
    from mrinterp.knockouts._kinds.kind import Kind
    from mrinterp.models._given import GivenObjects

__all__ = ["Study"]


class Study(Findings):
    """One study: a plan, and the folder in which it is carried out.

    Parameters
    ----------
    plan : Plan
        What the study file says.
    source : Path
        Folder that the plan's relative paths start from.
    out : Path
        Run folder. If it holds an unfinished run of the same plan, that run goes on.
    allow_code : bool
        Whether Python that the plan names is imported without asking: who makes a plan in Python runs code anyway.
    given : GivenObjects, optional
        What the plan names as given from memory: `Study.from_model` sees to it.

    Notes
    -----
    The order is the argument, and `STAGES` is the order: the rules are hashed before discovery is read; candidates,
    dictionary and rank before an outcome of any other family is read; knockouts are planned and run while no estimate exists, and
    their digests are frozen before one may be stored. Reading a result early (``Study.from_toml(f).estimates``)
    carries out the earlier stages first. What was done when is recorded in ``study.json``; a knockout is `blind` only
    where that record proves it.

    Not valid as a test of a claim: what is found by changing the plan after its results were read. Other plans on the
    same network and outcome beside the run folder are counted and printed.

    Examples
    --------
    >>> from mrinterp import Study
    >>> study = Study.from_toml("minilm_sentiment", out="runs/example")
    >>> study.plan.title
    'MiniLM: what drives the positive-minus-negative direction'
    >>> print(study)
    MiniLM: what drives the positive-minus-negative direction
      folder: runs/example
      stage:  not begun
    """

    def __init__(
        self,
        plan: Plan,
        source: Path,
        out: Path,
        allow_code: bool = True,
        given: GivenObjects | None = None,
    ) -> None:
        super().__init__(plan, source, out, allow_code, given)
        self._carried_out: set[str] = set()

    @classmethod
    def from_toml(cls, path: str | Path, out: str | Path | None = None, *, allow_code: bool = False) -> Study:
        """Open a study file, or one that ships with the package by its bare name.

        Parameters
        ----------
        path : str or Path
            For example ``"study.toml"``, or ``"minilm_sentiment"``.
        out : str or Path, optional
            Run folder; default ``runs/<name of the file>``.
        allow_code : bool
            Whether functions that the file names may be imported, which runs their code. Without it, only what was
            agreed to before (`mrinterp run` asks) is; see SECURITY.md.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            Names the key of the study file, what was found and the fix.
        """
        path = study_path(path)
        plan, source = read_plan(path)
        return cls(plan, source, Path(out) if out is not None else Path("runs") / path.stem, allow_code)

    @classmethod
    def from_model(
        cls,
        model: Any,
        tokenizer: Any,
        prompts: Any,
        *,
        site: str,
        features: Any,
        outcome: Any,
        out: str | Path | None = None,
        title: str | None = None,
        position: int | str | None = None,
        families: str | None = None,
        seed: int = 0,
        **sections: Any,
    ) -> Study:
        """A study of objects in memory: no study file, no factory, no saved weights.

        Parameters
        ----------
        model : Hugging Face, TransformerLens or nnsight network, or any torch.nn.Module
            In evaluation mode. It is neither moved nor changed.
        tokenizer : tokenizer with character offsets
            None takes the network's own (TransformerLens).
        prompts : list of str, DataFrame, path, array, or dict
            Texts; a table with a column of prompts and optionally families, corrupted partners and answers, found by their
            names; a CSV or JSONL file; ``{"templates": [...], "fillers": {slot: words}}``; arrays (docs/own_model.md).
        site : str
            Where features are read and written.
        features : array (F, width), list of int, SAE, view, str or dict
            Directions; numbers of units; an object with encode and decode; a view of `mrinterp.features`; a kind such as
            ``"independent_components"``; or a section of a study file.
        outcome : tuple, callable, Outcome, str or dict, or a list of them
            Two tokens or classes, whose logits are subtracted; a function of output and mask that gives one number per run;
            an outcome of `mrinterp.outcomes`; a kind that needs no more, such as ``"answer_difference"``; or a section.
        out : str or Path, optional
            Run folder; default ``runs/<title>``. An unfinished run of the same study there goes on.
        title : str, optional
            Default: class of the network, and site.
        position : int or str, optional
            As ``features.position`` in a study file; default ``auto``.
        families : {"auto", "each"}, optional
            As ``prompts.families`` in a study file: without a column, templates are found by the words that prompts share;
            ``each`` makes every prompt its own.
        seed : int
            Of every random draw.
        **sections
            The other sections of a study file: ``splits``, ``instruments``, ``estimation``, ``knockouts``; ``network`` for
            further keys of its ``model``, such as ``padded_length``.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            For what cannot be used: quantized weights, several devices, views that no study file can describe; for a folder
            that holds a run of something else.

        Notes
        -----
        What can be written lies in ``given/`` of the run folder when this returns: prompts, tokenizer, directions, SAE. What
        cannot, such as the network or a lambda, is named in the provenance with class and hash, and `open` takes it again.
        Not valid: a function whose result hangs on what it closes over, since only its code is hashed.

        Examples
        --------
        >>> from mrinterp import InputError, Study
        >>> try:
        ...     Study.from_model(None, None, ["a text"], site="h.0", features="layer", outcome=(" he", " she"))
        ... except InputError as error:
        ...     print(error)
        model: NoneType object. Give a Hugging Face, TransformerLens or nnsight network, or any torch.nn.Module
        """
        from mrinterp.study._from_model import given_study

        sections |= {"title": title, "position": position, "families": families, "seed": seed}
        plan, folder, given = given_study(model, tokenizer, prompts, site, features, outcome, out, sections)
        return cls(plan, folder, folder, True, given)

    @classmethod
    def open(
        cls,
        out: str | Path,
        *,
        model: Any = None,
        tokenizer: Any = None,
        outcome: Any = None,
        allow_code: bool = False,
    ) -> Study:
        """Reopen a run folder.

        Parameters
        ----------
        out : str or Path
            What an earlier run has written.
        model, tokenizer : object, optional
            What a study of `from_model` was given from memory, to go on with. Without them what is finished can be read.
        outcome : callable or Outcome, or dict of them by name, optional
            The same for its outcomes that lie in no file.
        allow_code : bool
            As in `from_toml`; reading what is finished imports nothing.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            If it is not a run folder, or one from a newer version; for objects that its plan does not ask for.
        """
        from mrinterp.study._from_model import GIVEN, given_again

        header, folder = RunFolder(Path(out)).header, Path(out)
        plan, _ = read_plan(header["plan"])
        source = folder if (folder / GIVEN).is_dir() else Path(header["source"])
        return cls(plan, source, folder, allow_code, given_again(plan, folder, model, tokenizer, outcome))

    # -- carrying it out ---------------------------------------------------------------------------

    def run(self, workers: int | None = None, scheduler: str | None = None) -> Study:
        """Carry out every stage that is not done yet, and return the study.

        Parameters
        ----------
        workers : int, optional
            Processes of this machine that share the passes of knockouts and scans; by default this one makes them.
        scheduler : str, optional
            Address of a scheduler of dask, such as ``tcp://10.0.0.1:8786``, whose workers share them instead.

        Returns
        -------
        Study
            This one.

        Raises
        ------
        InputError
            For a folder of another plan or network, or one that another process runs in; input that cannot be used.
            What is finished by then is kept, and the message says how to go on.
        """
        with self._begun(), helped(self, workers, scheduler):
            self._carry_out(STAGES)
            self.folder.finish()
        return self

    def _carry_out(self, stages: tuple[Stage, ...]) -> None:
        with self._begun(), one_blas_thread():
            try:
                for stage in stages:
                    if stage.name not in self._carried_out:
                        with stage_progress(stage.name):
                            stage.carry_out(self)
                        self.folder.record(stage.name, stage.reads, stage.writes)
                        self._carried_out.add(stage.name)
            except DamagedError:
                raise
            except InputError as e:
                kept = self.folder.kept_so_far()
                raise InputError(e.where, e.found, f"{e.fix}. {kept}" if kept else e.fix) from e
            except Exception as e:  # of a user's own function, or ours: the traceback stays
                e.add_note(self.folder.kept_so_far() or "Nothing was finished.")
                raise

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """The run folder, held, once everything is checked that plan and prompts already tell."""
        self.folder.check_same_plan(self.plan)
        if not (self.out / "basis").exists() and not self._carried_out:
            self.check_before()
        with self.folder.held():
            yield

    def _reach(self, name: str) -> None:
        """Carry out everything up to and including a stage; a finished run is only read."""
        self.folder.check_same_plan(self.plan)
        if not self.folder.finished:
            names = [stage.name for stage in STAGES]
            self._carry_out(STAGES[: names.index(name) + 1])

    # -- beyond the plan ---------------------------------------------------------------------------

    def bench(self, folder: Path | None = None, split: str = "knockout") -> Bench:
        """The study's features on clean prompts, for kinds and designs of knockout beyond the plan's.

        Parameters
        ----------
        folder : Path, optional
            Where finished shards of long designs are kept, so that a kill costs little.
        split : str
            Whose prompts: ``knockout``, or another split of the design; ``unread`` are families that the study leaves alone,
            where its knockout split has more than 50.

        Returns
        -------
        Bench
            One unit of a feature is that of the study. `knock_out`, `dose_response`, `epistasis`, `rescue`,
            `direct_effect` and the other designs take it as their first argument.

        Raises
        ------
        InputError
            If the folder holds a run of another plan, or for a split that the design does not have.

        Notes
        -----
        It needs the features, which are fixed on the discovery split, and no estimate: an unfinished study is carried
        out no further than that. What is found on it is not part of the run and is not recorded: a design chosen
        after the report was read is exploratory. `keep_knockout` makes a knockout part of the run.
        """
        from mrinterp.knockouts._study_bench import study_bench

        self._reach("candidates")
        return study_bench(self._network, self.design, self.basis.dictionary, folder, split)

    def keep_knockout(self, name: str, bench: Bench, kind: str | Kind, **options: Any) -> KnockoutEffects:
        """Run a knockout beyond the plan's and keep it in the run folder, with what was readable when it was chosen.

        Parameters
        ----------
        name : str
            What it is called in the run folder, under ``knockouts``.
        bench : Bench
            From `Study.bench` of a split of which nothing was read yet, or a `Bench.subset` of it. After the run that is
            ``bench(split="unread")``: up to 10 of the knockout families beyond the first 50, drawn by the plan's seed.
        kind : str or Kind
            As in `knock_out`.
        **options
            As in `knock_out`.

        Returns
        -------
        KnockoutEffects
            ``meta["planned"]`` is ``selected``: such a knockout can judge a claim, it sets no interval.

        Raises
        ------
        InputError
            For families of which something was read before, or a name that another knockout has.

        Notes
        -----
        The run folder, not the caller, says how it was planned.
        """
        from mrinterp.knockouts._knock_out import knock_out

        if name in self.plan.knockouts.names:
            raise InputError("name", f"{name!r} is a knockout of the study's plan", "Choose another name")
        self._reach("candidates")

        def run() -> KnockoutEffects:
            return knock_out(bench, kind, **options)

        with self.folder.held(), one_blas_thread():
            self.folder.plan_knockouts((name,), bench.family)
            found = self.folder.keep_knockout(name, KnockoutEffects.load, run)
        if found.kind != (kind if isinstance(kind, str) else kind.name):
            raise InputError(
                "name", f"{name!r} holds a knockout of kind {found.kind!r}", "Choose another name"
            )
        return found

    def rerun(self, out: str | Path, *, differently: bool = False) -> pd.DataFrame:
        """Repeat a finished run in another folder, and compare claim by claim.

        Parameters
        ----------
        out : str or Path
            Folder of the repetition.
        differently : bool
            With another seed (other families, other draws) and half the scale of the noise: the same specification
            repeated repeats its bias, and shows no more than that the run can be reproduced.

        Returns
        -------
        DataFrame
            One row per claim: as `mrinterp.diagnostics.compare_claims`; differently, as `compare`, with ``survived``, which this
            run keeps and its grades read: A asks for a claim that survives.

        Raises
        ------
        InputError
            If this run is not finished, or ``out`` is its own folder.
        """
        from mrinterp.study._again import repeated

        return repeated(self, Path(out), differently)

    def cost(self) -> dict[str, float]:
        """What the study will cost, once it is checked; some blocks are run and timed, nothing is written.

        Returns
        -------
        dict
            Forward passes, seconds and bytes: `mrinterp.scan._cost.scan_cost`.

        Raises
        ------
        InputError
            For what a run would refuse, as far as plan and prompts tell it.
        """
        from mrinterp.scan._cost import scan_cost
        from mrinterp.scan._dictionary import refuse_dead_latents
        from mrinterp.scan._study_sae import STORED, stored_sae

        self.folder.check_same_plan(self.plan)
        self.check_before()
        opened, features = self._opened, self.plan.features
        design, network = self._drawn_design(), self._bare_network
        if features.kind in STORED:
            sae = stored_sae(network, self.plan, self.source, None)
            refuse_dead_latents(replace(network, sae=sae), design, features)
        given = opened.plan_features(network.width)
        chosen = features.latents or range(features.count)
        return scan_cost(network, design, len(given.names if given else chosen), self.plan)

    def expected_precision(self) -> pd.DataFrame | NotApplicable:
        """How wide the intervals will be and what they can show, from a rehearsal of the pilot; nothing is written.

        Returns
        -------
        DataFrame or NotApplicable
            By outcome, number of families that are knocked out, and what the prediction may be worth:
            `mrinterp.knockouts._rehearsal.expected_precision`.

        Raises
        ------
        InputError
            For what a run would refuse, as far as plan and prompts tell it.
        """
        from mrinterp.knockouts._choose_position import choose_position
        from mrinterp.knockouts._rehearsal import expected_precision

        self.folder.check_same_plan(self.plan)
        self.check_before()
        network, design = self._bare_network, self._drawn_design()
        if self.plan.features.position == "auto":
            network = network.placed(choose_position(network, design)["position"])
        given = self._opened.plan_features(network.width)
        return expected_precision(self.plan, network, design, given)

    # -- how it prints -----------------------------------------------------------------------------

    @property
    def stage(self) -> str:
        """The last stage that the run folder records; ``not begun`` without one."""
        if not (self.out / "study.json").is_file():
            return "not begun"
        if self.folder.finished:
            return "finished"
        done = {event["step"] for event in self.header.get("history", [])}
        reached = [s.name for s in STAGES if s.name in done or (s.name == "knockouts" and "freeze" in done)]
        return f"{reached[-1]}: {len(reached)} of {len(STAGES)} stages done" if reached else "not begun"

    def _facts(self) -> dict[str, str]:
        """What `print` and a notebook show, by name; nothing is carried out for it."""
        facts = {"folder": str(self.out), "stage": self.stage}
        if self.plan.model.given is not None and self.given is None:
            facts["network"] = (
                f"{self.plan.model.given}, given from memory: to go on, Study.open({str(self.out)!r}, model=..., tokenizer=...)"
            )
        if self.stage == "finished":
            table = self.folder.kept_table("results.parquet", self._answer)
            verdicts = table["verdict"].value_counts()
            outcomes = ", ".join(dict.fromkeys(table["outcome"].astype(str)))
            facts["tested"] = f"{table['feature'].nunique()} features on {outcomes}"
            facts["verdicts"] = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
            facts["knockouts"] = self.folder.planned("shift")
        return facts

    def __repr__(self) -> str:
        facts = self._facts()
        width = max(map(len, facts)) + 1
        return "\n".join([self.plan.title, *(f"  {k + ':':<{width}} {v}" for k, v in facts.items())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th>"
            f"<td style='text-align:left'>{html.escape(v)}</td></tr>"
            for k, v in self._facts().items()
        )
        return f"<table><caption>{html.escape(self.plan.title)}</caption>{rows}</table>"
