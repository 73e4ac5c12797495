"""The folder of a run: what is finished is kept whole, what was fixed once stays fixed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan, differences
from mrinterp.core.provenance import Provenance, earlier_plans
from mrinterp.core.storage import FORMAT_VERSION, digest, digest_files, read_header, write_json

__all__ = ["RunFolder"]

T = TypeVar("T")


class RunFolder:
    """Steps and header of a run.

    Parameters
    ----------
    path : Path
        May not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def work(self) -> Path:
        """Where finished shards of unfinished steps wait."""
        return self.path / ".work"

    def kept(self, name: str, load: Callable[[Path], T], make: Callable[[], Any]) -> T:
        """A step's result: reopened where it is finished, made and saved whole where it is not.

        Raises
        ------
        InputError
            If what is there is damaged.
        """
        folder = self.path / name
        if not folder.exists():
            make().save(folder)
            shutil.rmtree(self.work / name.rsplit("/", 1)[-1], ignore_errors=True)
        try:
            return load(folder)
        except InputError:
            raise
        except (OSError, ValueError, KeyError) as e:
            fix = "Delete this folder and run again: only what is missing is made anew"
            raise InputError(str(folder), f"damaged ({str(e).splitlines()[0]})", fix) from e

    def finish(self) -> None:
        """Clear away what only unfinished steps need."""
        shutil.rmtree(self.work, ignore_errors=True)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def header(self) -> dict[str, Any]:
        """What ``study.json`` holds: plan, hashes, provenance."""
        if not (self.path / "study.json").is_file():
            raise InputError(
                str(self.path),
                "not a run folder: it holds no study.json",
                "Give a folder that mrinterp run has written",
            )
        header = read_header(self.path / "study.json", "study")
        if not isinstance(header.get("plan"), dict):
            raise InputError(
                str(self.path), "its study.json holds no plan", "Give a folder that mrinterp run has written"
            )
        return header

    def check_same_plan(self, plan: Plan) -> None:
        """Refuse a folder that holds a run of another plan.

        Raises
        ------
        InputError
            With the keys that differ; or where the path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(str(self.path), "a file", "Give a folder to run into (--out)")
        if not (self.path / "study.json").exists():
            return
        changes = differences(self.header["plan"], plan.to_dict())
        if changes:
            raise InputError(
                str(self.path),
                f"holds a run of another plan ({'; '.join(changes[:5])})",
                "Give another --out, or delete the folder to start anew",
            )

    def fix_header(self, plan: Plan, source: Path, design: str, model: str) -> None:
        """Write ``study.json``: plan, hashes as far as they are fixed by now, provenance.

        Digests and the count of earlier plans are fixed once: what changes later is found out, not
        fixed anew.

        Raises
        ------
        InputError
            If network, design or basis are not those the run was begun with.
        """
        rules = digest({"plan": plan.to_dict(), "design": design, "model": model})
        basis, path = self.path / "basis", self.path / "study.json"
        candidates = digest({"rules": rules, "basis": digest_files(basis)}) if basis.exists() else ""
        before = self.header if path.exists() else {}
        for name, now, what in (
            ("rules_hash", rules, "network or design"),
            ("candidates_hash", candidates, "basis"),
        ):
            if before.get(name) and now and before[name] != now:
                raise InputError(
                    str(self.path),
                    f"its {what} is not the one it was begun with",
                    "Run into another --out, or delete the folder",
                )
        earlier = before.get("earlier_plans")
        if earlier is None:
            earlier = earlier_plans(self.path, model, plan.to_dict()["outcome"], rules)
        seeds = {"plan": plan.seed}
        header = {
            "kind": "study",
            "format_version": FORMAT_VERSION,
            "plan": plan.to_dict(),
            "source": str(source),
            "rules_hash": rules,
            "candidates_hash": candidates,
            "knockouts": self._knockout_digests() | before.get("knockouts", {}),
            "earlier_plans": earlier,
            "provenance": asdict(Provenance(model, design, rules, candidates, seeds, command="mrinterp run")),
        }
        write_json(path, header)

    def _knockout_digests(self) -> dict[str, str]:
        folder = self.path / "knockouts"
        if not folder.exists():
            return {}
        return {p.name: digest_files(p) for p in sorted(folder.iterdir()) if not p.name.startswith(".")}
