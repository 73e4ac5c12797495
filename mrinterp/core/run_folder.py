"""The folder of a run: what is finished is kept whole, what was fixed once stays fixed, and the order is recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import ValidationError

from mrinterp.core.errors import InputError
from mrinterp.core.history import OUTCOME_NUMBERS, appended, families_in_words, how_planned, uses_outcomes
from mrinterp.core.knockout_room import K, Knockout, Room, one_name
from mrinterp.core.plan import KnockoutsSection, Plan, differences
from mrinterp.core.provenance import Provenance, earlier_plans
from mrinterp.core.run_place import StoredParts, refuse_others, write_study_header
from mrinterp.core.storage import (
    FORMAT_VERSION,
    digest,
    digest_file,
    digest_files,
    read_table,
)

__all__ = ["RunFolder"]

T = TypeVar("T")
COLLECTIONS = ("panel", "sumstats", "estimates", "knockouts", "grades")
"""Folders whose entries are results of their own."""
SCANNED = ("estimation", "replication")
"""Splits that are scanned after the knockouts are frozen."""
CANDIDATES = ("basis", "contrast_levels", "pilot.json")
"""Parts that are hashed before an outcome of any other family than those of discovery is read."""


class RunFolder(StoredParts):
    """Steps, header and record of a run.

    Parameters
    ----------
    path : Path
        May not exist yet.

    Notes
    -----
    Numbers that use outcomes of families beyond discovery (`OUTCOME_NUMBERS`) are refused until the digests of the
    plan's knockouts are frozen in the header. The record (``history`` in ``study.json``) only grows: one event a
    step, in the order in which they came, without a clock, so that the same plan gives the same bytes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._agreed: tuple[dict[str, Any], Plan] | None = None  # a stored plan and the one that it is

    def place(self, name: str) -> Path:
        """Where a step may write a result of this name.

        Raises
        ------
        InputError
            For a number that uses outcomes of families beyond discovery, before the knockouts are frozen.
        """
        if uses_outcomes(name) and not self.frozen:
            raise InputError(
                str(self.path / name),
                "uses outcomes of families beyond discovery, and the digest of the blind knockouts is not frozen yet",
                "Run the knockouts first: Study.run() carries out every step in order",
            )
        self._made.add(name)
        return self.path / name

    def finish(self) -> None:
        """Clear away what only unfinished steps need."""
        shutil.rmtree(self.work, ignore_errors=True)

    def kept_so_far(self) -> str:
        """What a person is told when a run stops; nothing where nothing was kept."""
        if not (self.path / "study.json").exists():
            return ""
        on = "the same command goes on from there (with another study file, give another --out)"
        return f"What is finished is kept in {self.path}: {on}"

    # -- knockouts ---------------------------------------------------------------------------------

    @property
    def planned_names(self) -> tuple[str, ...]:
        """The knockouts that the plan names, but for those that are left out."""
        names = KnockoutsSection.model_validate(self.header["plan"].get("knockouts", {})).names
        left_out = self.left_out
        return tuple(n for n in names if n not in left_out)

    @property
    def left_out(self) -> dict[str, str]:
        """Knockouts that the plan names and this network does not allow, and why."""
        events = [e for e in self._history if e["step"] == "leave out knockout"]
        return {name: e["reason"] for e in events for name in e["names"]}

    def leave_out(self, name: str, why: Callable[[], str]) -> None:
        """Record that a knockout of the plan cannot be made, before it is planned.

        Parameters
        ----------
        why : callable
            The reason; empty where it can be made. Asked only where neither this nor its plan stands in the record.
        """
        if self._event("plan knockouts", name) is None and name not in self.left_out and (reason := why()):
            self._append("leave out knockout", ("network",), {}, names=[name], reason=reason)

    def plan_knockouts(self, names: Sequence[str], families: Iterable[Any]) -> None:
        """Record which knockouts will be run on which families, and what was readable when this was decided.

        They are ``blind`` if the plan names them, rules and candidates are hashed, the families are those of the
        knockout or the replication split, and no number that uses outcomes of families beyond discovery exists; else ``selected``.
        The folder finds this out by itself. Planning the same again changes nothing.

        Parameters
        ----------
        names : sequence of str
            Results that `keep_knockout` will be given; planned together, they may share families.
        families : iterable
            Families of the prompts that the knockouts run on, as in the design.

        Raises
        ------
        InputError
            For a name planned before on other families; or, for knockouts that the study's plan does not name,
            families of which something was read before.
        """
        header, wanted = self.header, sorted({str(f) for f in families})
        stated = families_in_words(self._runs(), wanted)
        for name in map(one_name, names):
            before = self._event("plan knockouts", name)
            if before is not None and before["families"] != stated:
                found = "was planned on other families"
                raise InputError(f"knockout {name!r}", found, "Give the new one another name")
        new = [n for n in names if self._event("plan knockouts", n) is None]
        if not new:
            return
        own = set(new) <= set(self.planned_names)
        seen = self._families_read(but_for=self.planned_names if own else ())
        read = sorted(set(wanted) & seen)
        if read and not own:
            raise InputError(
                f"knockouts {', '.join(new)}",
                f"{len(read)} of {len(wanted)} families were read before, for example {read[0]!r}",
                "Choose unread families, so that they can judge: of over 50 knockout families, Study.bench(split='unread')",
            )
        existed = self.readable()
        hashed = bool(header["rules_hash"] and header["candidates_hash"])
        known = self._families_of("knockout", "replication")
        blind = own and hashed and not existed and not read and set(wanted) <= known
        planned = "blind" if blind else "selected"
        more: dict[str, Any] = {"names": new, "planned": planned, "existed": existed, "families": stated}
        self._append("plan knockouts", ("rules", "candidates", "basis", *existed), {}, **more)

    def keep_knockout(self, name: str, load: Callable[[Path], K], make: Callable[[], K]) -> K:
        """One planned knockout: reopened where it is finished, else run and saved with how it was planned.

        ``meta`` of what is saved says ``planned`` (``blind`` or ``selected``), ``existed`` (what was readable)
        and ``families``.

        Raises
        ------
        InputError
            For one that was not planned, or ran on other families; or one that changed after it was frozen.
        """
        plan, path = self._event("plan knockouts", one_name(name)), self.path / "knockouts" / name
        if plan is None and self.finished and path.exists():  # of an older version, which planned unrecorded
            self.check_frozen(name)
            return self._loaded(path, load)
        if plan is None:
            fix = "Plan it first (plan_knockouts), so that what is readable by then is recorded"
            raise InputError(f"knockout {name!r}", "was not planned in this folder", fix)
        if self._is_absent(f"knockouts/{name}"):
            made: Any = make()
            self._check_families(name, made, plan)
            stated = {**self._standing(name, plan), "families": plan["families"]}
            replace(made, meta={**made.meta, **stated}).save(path)
        self.check_frozen(name)
        found = self._loaded(path, load)
        if self._event("keep knockout", name) is None:
            written, standing = digest_files(path), self._standing(name, plan)
            more = {} if name in self.planned_names else {"knockouts": {name: written}}
            event = {**standing, "families": plan["families"]}
            self._append("keep knockout", ("network", "basis"), {f"knockouts/{name}": written}, more, **event)
        return found

    def _standing(self, name: str, plan: dict[str, Any]) -> dict[str, Any]:
        """Whether a knockout is blind when it is stored, and what was readable then."""
        kept = self._event("keep knockout", name)
        if kept is not None:  # made once more: how it was chosen does not change
            return {"planned": kept["planned"], "existed": kept["existed"]}
        existed = self.readable() if plan["planned"] == "blind" else plan["existed"]
        return {"planned": "selected" if existed else plan["planned"], "existed": existed}

    def _check_families(self, name: str, made: Knockout, plan: dict[str, Any]) -> None:
        ran = families_in_words(self._runs(), sorted({str(f) for f in made.inputs["family"]}))
        if ran != plan["families"]:
            found = f"ran on {ran['count']} families that are not the {plan['families']['count']} it was planned on"
            raise InputError(f"knockout {name!r}", found, "Run it on the families that were planned")

    def freeze_knockouts(self) -> None:
        """Fix the digests of the plan's knockouts; what changes later is found out, not fixed anew.

        Raises
        ------
        InputError
            If one of them is missing, or is not the one whose digest was fixed before.
        """
        names = self.planned_names
        for name in names:
            if not (self.path / "knockouts" / name).exists():
                raise InputError(
                    str(self.path), f"the knockout {name!r} is missing", "Run the knockouts first"
                )
            self.check_frozen(name)
        if self._event("freeze") is None:
            digests = {n: digest_files(self.path / "knockouts" / n) for n in names}
            fixed = {"knockouts": digests | self.header["knockouts"]}
            read = [f"knockouts/{n}" for n in names]
            self._append("freeze", read, {}, fixed, names=list(names), existed=self.readable())

    def check_frozen(self, name: str) -> None:
        """Refuse a knockout that is not the one whose digest was frozen."""
        frozen, path = self.header["knockouts"].get(name), self.path / "knockouts" / name
        if frozen is None:
            return
        self._loaded(path, lambda path: None)
        if frozen != digest_files(path):
            found = f"{name!r} changed after it was frozen"
            raise InputError(str(self.path / "knockouts"), found, "Delete the run folder and run again")

    @property
    def frozen(self) -> bool:
        """Whether the digests of all knockouts of the plan are fixed."""
        if not (self.path / "study.json").exists():
            return False
        return set(self.planned_names) <= set(self.header.get("knockouts", {}))

    @property
    def finished(self) -> bool:
        """Whether the run has its answer, with the knockouts frozen."""
        return (self.path / "results.parquet").exists() and self.frozen

    def planned(self, name: str) -> str:
        """``blind`` where the record proves it of a stored knockout, else ``selected``."""
        return how_planned(self.header, name)

    def knockout_room(self) -> Room:
        """What the knockouts are handed: a place for their own results and shards, and no more."""

        def keep(name: str, load: Callable[[Path], Any], make: Callable[[], Any]) -> Any:
            return self.keep_knockout(name, load, make)

        return Room(keep, self.planned_names, self.work / "knockouts")

    def readable(self) -> list[str]:
        """Numbers in the folder that use outcomes of families beyond discovery, by name.

        Knockouts that the study's plan names, once they are planned, are not among them: they do not choose each
        other.
        """
        found = [n for name in OUTCOME_NUMBERS for n in self._entries(name)]
        found += [f".work/{s}" for s in SCANNED if (self.work / s).exists()]
        own, stored = self.planned_names, self._entries("knockouts")
        beyond = [
            n for n in stored if n.split("/")[1] not in own or not self._event("plan knockouts", n[10:])
        ]
        return [*found, *beyond]

    def _entries(self, name: str) -> list[str]:
        """A part of the folder by name, a collection by its entries; nothing where it is not there."""
        path = self.path / name
        if name in COLLECTIONS and path.is_dir():
            return [f"{name}/{p.name}" for p in sorted(path.iterdir()) if not p.name.startswith(".")]
        return [name] if path.exists() else []

    def _runs(self) -> pd.DataFrame:
        return read_table(self.path / "design" / "runs.parquet")

    def _families_of(self, *splits: str) -> set[str]:
        """Families of some splits of the design, as text."""
        runs = self._runs()
        return set(runs.loc[runs["split"].isin(splits), "family"].astype(str))

    def _families_read(self, but_for: Sequence[str] = ()) -> set[str]:
        """Families of which a step (such as predicting all knockouts) or a planned knockout but ``but_for`` read an outcome."""
        readers = {"basis": "discovery", "sae": "discovery", "estimates/rectified": "knockout"}
        splits = [split for n, split in readers.items() if (self.path / n).exists()]
        splits += [s for s in SCANNED if (self.path / "panel" / s).exists() or (self.work / s).exists()]
        read = self._families_of(*splits)
        for event in self._history:
            if event["step"] == "plan knockouts" and not set(event["names"]) <= set(but_for):
                said = event["families"]
                read |= self._families_of(*said["splits"]) | set(said["names"])
        return read

    # -- header and record -------------------------------------------------------------------------

    def check_same_plan(self, plan: Plan) -> None:
        """Refuse a folder that holds a run of another plan, or files that are no run's.

        Raises
        ------
        InputError
            With the keys that differ, or the files; or where the path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(str(self.path), "a file", "Give a folder to run into (--out)")
        if not (self.path / "study.json").exists():
            refuse_others(self.path)
            return
        stored = self.header["plan"]
        if self._agreed == (stored, plan):  # asked by everything that is read of a study
            return
        as_stored = stored
        with suppress(ValidationError):  # keys at their defaults may be stated or left out
            stored = Plan.model_validate(stored).to_dict()
        changes = differences(stored, plan.to_dict())
        if changes:
            raise InputError(
                str(self.path),
                f"holds a run of another plan ({'; '.join(changes[:5])})",
                "Give another --out, or delete the folder to start anew",
            )
        self._agreed = as_stored, plan

    def fix_rules(
        self, plan: Plan, source: Path, design: str, model: str, given: dict[str, Any] | None = None
    ) -> None:
        """Write ``study.json`` with the hash of the rules: plan, design and network.

        What was ``given`` from memory, and lies in no file, is named in the provenance.

        Raises
        ------
        InputError
            If network or design, or a basis that was fixed before, are not those the run was begun with.
        """
        before = self.header if (self.path / "study.json").exists() else {}
        stated = before.get("plan", plan.to_dict())  # `check_same_plan` has held them against each other
        rules = digest({"plan": stated, "design": design, "model": model})
        self._unchanged(before, "rules_hash", rules, "network or design")
        candidates = before.get("candidates_hash", "")
        if candidates and self._has_candidates():
            self._unchanged(before, "candidates_hash", self._candidates(rules))
        earlier = before.get("earlier_plans")
        if earlier is None:
            earlier = earlier_plans(self.path, model, plan.to_dict()["outcome"], rules)
        origin = Provenance(model, design, rules, candidates, {"plan": plan.seed}, command="mrinterp run")
        from_memory = {"given": given, "command": "Study.from_model"} if given else {}
        header = {
            "kind": "study",
            "format_version": FORMAT_VERSION,
            "plan": stated,
            "source": str(source),
            "rules_hash": rules,
            "candidates_hash": candidates,
            "knockouts": before.get("knockouts", {}),
            "earlier_plans": earlier,
            "provenance": origin.after(before.get("provenance", {})) | from_memory,
            "history": before.get("history", []),
        }
        if not any(e["step"] == "rules" for e in header["history"]):
            existed = [
                n for name in ("sae", "basis", *OUTCOME_NUMBERS, "knockouts") for n in self._entries(name)
            ]
            wrote = {"design": self._digest("design")}
            header["history"] = appended(
                header["history"], "rules", ("study file", "network"), wrote, digest=rules, existed=existed
            )
        write_study_header(self.path, header)

    def fix_candidates(self) -> None:
        """Add the hash of candidates, dictionary, rank, levels and pilot to the header; fixed once."""
        header = self.header
        candidates = self._candidates(header["rules_hash"])
        self._unchanged(header, "candidates_hash", candidates)
        if self._event("candidates") is None:
            origin = header["provenance"] | {"candidates": candidates}
            fixed = {"candidates_hash": candidates, "provenance": origin}
            existed = self.readable()
            self._append("candidates", ("rules", "basis"), {}, fixed, digest=candidates, existed=existed)

    def _has_candidates(self) -> bool:
        """Whether all parts that are hashed as candidates are there, and whole; what is missing is made anew, and all of
        it held against the hash by `fix_candidates`."""
        there = [n for n in CANDIDATES if (self.path / n).exists()]
        for name in there:
            self._loaded(self.path / name, lambda path: None)
        return "basis" in there and not any(self._wrote(n) for n in CANDIDATES if n not in there)

    def _changed_candidates(self) -> str:
        """The parts hashed as candidates that are not those which were stored first; by name."""
        first = {n: self._wrote(n)[:1] for n in CANDIDATES if (self.path / n).exists()}
        return " and ".join(n for n, d in first.items() if d and d[0] != self._digest(n)) or "basis"

    def _candidates(self, rules: str) -> str:
        fixed = {"rules": rules, "basis": digest_files(self.path / "basis")}
        if (self.path / "contrast_levels").exists():
            fixed["contrast_levels"] = digest_files(self.path / "contrast_levels")
            fixed["pilot"] = digest_file(self.path / "pilot.json")
        chosen = [n for n in ("position.json", "noise.json") if (self.path / n).exists()]
        return digest(fixed | {n: digest_file(self.path / n) for n in chosen})

    def _unchanged(self, before: dict[str, Any], name: str, now: str, what: str = "") -> None:
        if before.get(name) and before[name] != now:
            raise InputError(
                str(self.path),
                f"its {what or self._changed_candidates()} is not the one it was begun with",
                "Run into another --out, or delete the folder",
            )

    def record(self, step: str, read: Iterable[str], writes: Iterable[str]) -> None:
        """Add a finished step to the record: what it read, and the digests of what it wrote.

        What stands there already with the same digest is not added again.
        """
        known = {name: value for event in self._history for name, value in event["wrote"].items()}
        names = [n for name in writes for n in self._entries(name)]
        made = {m.split("/")[0] for m in self._made} | self._made
        asked = [n for n in names if n not in known or n in made]
        new = {n: value for n in asked if (value := self._digest(n)) != known.get(n)}
        if new:
            self._append(step, read, new)

    def _event(self, step: str, name: str = "") -> dict[str, Any] | None:
        """The first event of a step; of a knockout's, the one that names it."""

        def fits(event: dict[str, Any]) -> bool:
            return event["step"] == step and (
                not name or name in event.get("names", ()) or f"knockouts/{name}" in event["wrote"]
            )

        return next((e for e in self._history if fits(e)), None)

    def _append(
        self,
        step: str,
        read: Iterable[str],
        wrote: dict[str, str],
        fixed: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """One more event, and what is fixed with it, in one whole write of the header."""
        header = self.header
        for key, value in (fixed or {}).items():
            header[key] = {**header[key], **value} if isinstance(value, dict) else value
        history = appended(header.get("history", []), step, read, wrote, **more)
        write_study_header(self.path, {**header, "history": history})
