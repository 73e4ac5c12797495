"""Several studies of one network in one file: sites, positions and dictionaries, with one accounting of what was tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm.auto import tqdm

from mrinterp.core.errors import DamagedError, InputError
from mrinterp.core.named_code import check_agreed, named_code
from mrinterp.core.plan import Plan, differences, read_plan, read_study_file, study_path
from mrinterp.core.run_place import LOCK_FILES, only_process
from mrinterp.core.storage import FORMAT_VERSION, check_format, read_json, whole_file, write_json
from mrinterp.effects._sweep import over_all_studies
from mrinterp.results._sweep_results import SweepResults
from mrinterp.study._study import Study
from mrinterp.study._sweep_plan import SweepMember, is_sweep, sweep_members

if TYPE_CHECKING:
    from mrinterp.models._given import GivenObjects

__all__ = ["Sweep"]

HEADER = "sweep.json"


class Sweep:
    """Several studies of one network: every site, dictionary and position that a study file names.

    Parameters
    ----------
    data : dict
        What the file says: as a study's, with a list or a pattern as ``model.site``, several ``[[features]]``, or a list as
        ``features.position``.
    source : Path
        Folder that its relative paths start from.
    out : Path
        Folder of the sweep; every study has its run folder in it.
    allow_code : bool
        As in `Study`.
    given : GivenObjects, optional
        What its studies were given from memory: `Sweep.from_model` sees to it.

    Notes
    -----
    Studies are carried out one after the other, each in a run folder of its own; what is finished is not repeated, and a study
    that is refused does not stop the others: its status says why. They share prompts, splits and seed. Every effect that was
    tested counts in the false discovery rate of `SweepResults`.

    Examples
    --------
    >>> from mrinterp.study import Sweep
    >>> data = {"title": "layers", "model": {"site": ["encoder.layer.1", "encoder.layer.2"], "folder": "net"},
    ...         "outcome": {"name": "y", "positive": ["good"]}, "prompts": {"table": "prompts.csv"}}
    >>> [m.name for m in Sweep(data, "studies", "runs/layers").members]
    ['encoder.layer.1', 'encoder.layer.2']
    """

    def __init__(
        self,
        data: dict[str, Any],
        source: str | Path,
        out: str | Path,
        allow_code: bool = True,
        given: GivenObjects | None = None,
    ) -> None:
        self.data, self.source, self.out = data, Path(source), Path(out)
        self.allow_code, self.given = allow_code, given
        self._studies: dict[str, Study] = {}

    @classmethod
    def from_toml(cls, path: str | Path, out: str | Path | None = None, *, allow_code: bool = False) -> Sweep:
        """Open a study file that names several sites, positions or dictionaries.

        Parameters
        ----------
        path : str or Path
        out : str or Path, optional
            Folder of the sweep; default ``runs/<name of the file>``.
        allow_code : bool
            As in `Study.from_toml`.

        Returns
        -------
        Sweep

        Raises
        ------
        InputError
            For a file that names one study only, and as `Study.from_toml`.
        """
        path = study_path(path)
        data = read_study_file(path)
        if not is_sweep(data):
            raise InputError(
                str(path), "names one site, one position and one dictionary", "Open it with Study.from_toml"
            )
        place = Path(out) if out is not None else Path("runs") / path.stem
        return cls(data, path.resolve().parent, place, allow_code)

    @classmethod
    def from_model(
        cls,
        model: Any,
        tokenizer: Any,
        prompts: Any,
        *,
        site: str | list[str],
        features: Any,
        outcome: Any,
        out: str | Path | None = None,
        title: str | None = None,
        position: int | str | list[int | str] | None = None,
        families: str | None = None,
        seed: int = 0,
        **sections: Any,
    ) -> Sweep:
        """A sweep of objects in memory: several sites, dictionaries or positions of one network.

        Parameters
        ----------
        model, tokenizer, prompts, outcome, out, title, families, seed, **sections
            As `Study.from_model` takes them.
        site : str or list of str
            Sites, or patterns in which a star stands for one part of a path, such as ``"transformer.h.*"``.
        features : object, list of them, or dict by site
            What `Study.from_model` takes; a list of several, each used at every site; or, for an autoencoder or directions of
            every site's own, a dict with the sites as keys.
        position : int or str, or list of them, optional
            Tokens that features are read at; default ``auto``.

        Returns
        -------
        Sweep

        Raises
        ------
        InputError
            As `Study.from_model`; for one site, position and dictionary (`Study.from_model` is for them); for one
            autoencoder at several sites, which it was not trained at.

        Notes
        -----
        Accounting, folders and resumption are those of a sweep from a file, and the same network gives the same bytes. What
        can be written lies in ``given/`` of the sweep's folder, once for all its studies; `open` takes the network again.

        Examples
        --------
        >>> from mrinterp import InputError
        >>> from mrinterp.study import Sweep
        >>> try:
        ...     Sweep.from_model(None, None, ["a text"], site="h.0", features="layer", outcome=(" he", " she"))
        ... except InputError as error:
        ...     print(error)
        site: one site, one position and one dictionary. Use Study.from_model
        """
        from mrinterp.study._from_model import given_sweep

        sections |= {"title": title, "position": position, "families": families, "seed": seed}
        data, folder, given = given_sweep(model, tokenizer, prompts, site, features, outcome, out, sections)
        return cls(data, folder, folder, True, given)

    @classmethod
    def open(
        cls,
        out: str | Path,
        *,
        model: Any = None,
        tokenizer: Any = None,
        outcome: Any = None,
        allow_code: bool = False,
    ) -> Sweep:
        """Reopen the folder of a sweep.

        Parameters
        ----------
        out : str or Path
        model, tokenizer, outcome : object, optional
            What a sweep of `from_model` was given from memory, to go on with, as in `Study.open`.
        allow_code : bool
            As in `Study.open`.

        Returns
        -------
        Sweep

        Raises
        ------
        InputError
            If it is not the folder of a sweep, or one from a newer version; for objects that it does not ask for.
        """
        from mrinterp.study._from_model import GIVEN, given_again

        header, folder = _read_header(Path(out)), Path(out)
        source = folder if (folder / GIVEN).is_dir() else Path(header["source"])
        sweep = cls(header["data"], source, folder, allow_code)
        sweep.given = given_again(sweep.plan, folder, model, tokenizer, outcome)
        return sweep

    # -- what it is made of ------------------------------------------------------------------------

    @cached_property
    def members(self) -> tuple[SweepMember, ...]:
        """Its studies, in the order of the network's sites; patterns are resolved by loading the network.

        Raises
        ------
        InputError
            As `sweep_members`; for the first study whose keys are refused, by its name.
        """
        members = tuple(sweep_members(self.data, self._known_sites))
        for member in members:
            self._plan(member)
        return members

    def study(self, name: str) -> Study:
        """One of its studies.

        Parameters
        ----------
        name : str
            From `members`, or a site where no two studies share it.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            For a name that fits none, or several.
        """
        found = [m for m in self.members if m.name == name] or [m for m in self.members if m.site == name]
        if len(found) != 1:
            fits = f"{len(found)} studies" if found else "no study"
            raise InputError(
                "name", f"{name!r} names {fits}", f"Give one of {', '.join(m.name for m in self.members)}"
            )
        member = found[0]
        if member.name not in self._studies:
            self._studies[member.name] = Study(
                self._plan(member), self.source, self.out / member.name, self.allow_code, self.given
            )
        return self._studies[member.name]

    @property
    def plan(self) -> Plan:
        """What its studies have in common: the plan of the first, as far as it does not depend on the site."""
        first = sweep_members({**self.data, "model": {**self.data["model"], "site": "any"}}, list)[0]
        return self._plan(first)

    def _plan(self, member: SweepMember) -> Plan:
        try:
            return read_plan(member.data)[0]
        except InputError as e:
            raise InputError(f"{member.name}: {e.where}", e.found, e.fix) from None

    def _known_sites(self) -> list[str]:
        from mrinterp.models._plan_adapter import load_plan_network

        plan = self.plan
        if not self.allow_code:
            check_agreed(named_code(plan, self.source), self.source, plan.title)
        return load_plan_network(plan.model, self.source, self.given).adapter.sites()

    # -- carrying it out ---------------------------------------------------------------------------

    def run(self, workers: int | None = None, scheduler: str | None = None) -> Sweep:
        """Carry out every study that is not finished, and write the table, the map and the page of all.

        Parameters
        ----------
        workers, scheduler : optional
            As of `Study.run`, for one study after the other.

        Returns
        -------
        Sweep
            This one.

        Raises
        ------
        InputError
            For a folder of something else; where no study could be carried out.
        """
        with self._begun():
            refused: dict[str, str] = {}
            bar = tqdm(self.members, desc="studies", unit="study", disable=None)
            for member in bar:
                bar.set_postfix_str(member.name)
                try:
                    self.study(member.name).run(workers, scheduler)
                except InputError as e:
                    refused[member.name] = str(e)
                self._studies.pop(member.name, None)  # the network of one study at a time
            self._write(refused)
        return self

    @property
    def results(self) -> SweepResults:
        """The claims of all studies, with one accounting; those that are not finished are said.

        Raises
        ------
        InputError
            Where none is finished.
        """
        if (self.out / "results").is_dir():
            return SweepResults.load(self.out / "results")
        return self._joined({})

    def cost(self) -> pd.DataFrame:
        """What every study will cost, as `Study.cost`; nothing is written.

        Returns
        -------
        DataFrame
            One row per study: ``study, site, position, dictionary``, and the numbers of `Study.cost`.

        Raises
        ------
        InputError
            For what a run would refuse, by the name of the study.
        """
        rows = []
        for member in tqdm(self.members, desc="dry run", unit="study", disable=None):
            try:
                found = self.study(member.name).cost()
            except InputError as e:
                raise InputError(f"{member.name}: {e.where}", e.found, e.fix) from None
            rows.append(_place(member) | found)
            self._studies.pop(member.name, None)
        return pd.DataFrame(rows)

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """The folder, held, once it is known to be this sweep's."""
        self._refuse_others()
        names = [m.name for m in self.members]
        with only_process(self.out):
            header = {"kind": "sweep", "format_version": FORMAT_VERSION, "data": self.data, "studies": names}
            write_json(self.out / HEADER, header | {"source": str(self.source)})
            yield

    def _refuse_others(self) -> None:
        if (self.out / HEADER).is_file():
            before = _read_header(self.out)["data"]
            changed = differences(before, self.data)
            if changed:
                raise InputError(
                    str(self.out),
                    f"holds another sweep ({'; '.join(changed[:4])})",
                    "Give another --out, or delete the folder to start anew",
                )
            return
        kept = () if self.given is None else ("given",)
        found = (
            sorted(p.name for p in self.out.iterdir() if p.name not in (*LOCK_FILES, *kept))
            if self.out.is_dir()
            else []
        )
        if found:
            raise InputError(
                str(self.out),
                f"not the folder of a sweep, and it holds {found[0]!r}",
                "Give a new or an empty folder (--out)",
            )

    def _joined(self, refused: dict[str, str]) -> SweepResults:
        studies, tables, ropes = [], {}, {}
        for member in self.members:
            study, status = self.study(member.name), refused.get(member.name, "finished")
            if member.name not in refused and study.stage != "finished":
                status = "not finished"
            if status == "finished":
                tables[member.name] = study.results
                ropes[member.name] = dict(
                    zip((o.name for o in study.plan.outcome), map(float, study.rope), strict=True)
                )
            studies.append(_place(member) | {"status": status})
            self._studies.pop(member.name, None)
        return over_all_studies(
            studies, tables, ropes, meta={"title": str(self.data.get("title", "a sweep"))}
        )

    def _write(self, refused: dict[str, str]) -> None:
        from mrinterp.plots._study.sweep_map import sweep_map
        from mrinterp.plots._style import save
        from mrinterp.report.sweep_page import sweep_html

        if len(refused) == len(self.members):
            name, why = next(iter(refused.items()))
            raise InputError(
                str(self.out), f"no study could be carried out; {name}: {why}", "Mend it and run again"
            )
        found = self._joined(refused)
        found.save(self.out / "results")
        with whole_file(self.out / "claims.csv") as partial:
            found.claims.to_csv(partial, index=False)
        save(sweep_map(found), self.out / "sweep_map.svg", self.out / "sweep_map.png")
        with whole_file(self.out / "sweep.html") as partial:
            partial.write_text(sweep_html(found), encoding="utf-8")

    # -- how it prints -----------------------------------------------------------------------------

    def __repr__(self) -> str:
        lines = [
            str(self.data.get("title", "a sweep")),
            f"  folder:  {self.out}",
            f"  studies: {len(self.members)}",
        ]
        return "\n".join([*lines, *(f"    {m.name}: {self.study(m.name).stage}" for m in self.members)])


def _read_header(out: Path) -> dict[str, Any]:
    header = read_json(out / HEADER)
    if not isinstance(header, dict) or not {"data", "source"} <= set(header):
        raise DamagedError(
            str(out / HEADER), "damaged: it describes no sweep", "Delete this file and run the sweep again"
        )
    check_format(str(out), header, "sweep")
    return header


def _place(member: SweepMember) -> dict[str, str]:
    return {
        "study": member.name,
        "site": member.site,
        "position": member.position,
        "dictionary": member.dictionary,
    }
