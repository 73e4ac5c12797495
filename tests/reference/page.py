"""Writes how every published number of the reference cases compares with ours.

    python -m tests.reference.page [FOLDER]

Into FOLDER (benchmarks/results by default): ``reference_agreement.md``, a table per method, the exceptions with
their evidence and what is not covered; ``reference_agreement.csv``, one row per number.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from mrinterp.mr._univariable.mrmix import mixture_error
from tests.conftest import ROOT, reference_folder
from tests.reference.elsewhere import find_test
from tests.reference.mr_cases import ALL, load_case
from tests.reference.mr_compare import held, our_values
from tests.reference.mr_exceptions import EXCEPTIONS, KINDS, Differs
from tests.reference.mr_mapping import MAPPED, NOT_COVERED, OTHER_ROOMS, REMARKS

COLUMNS = [
    "case",
    "method_id",
    "package",
    "field",
    "ours",
    "theirs",
    "difference",
    "tolerance",
    "status",
    "reason",
]


def rows() -> Iterator[dict[str, object]]:
    """One per published number that ours answers, one per entry that is tested elsewhere or not at all."""
    seen = set()
    for case in filter(None, map(load_case, ALL)):
        seen.add(case.name)
        for entry in case.entries.values():
            if entry.method_id in MAPPED:
                for number in held(case, entry):
                    yield {**asdict(number), "difference": number.difference}
            else:
                yield _uncompared(case.name, entry.method_id, entry.package)
    for path in sorted(reference_folder().glob("*/*/expected.json")):
        if path.parent.name not in seen:
            for e in json.loads(path.read_text())["entries"]:
                yield _uncompared(path.parent.name, e["method_id"], f"{e['package']} {e['version']}")


def _uncompared(case: str, method_id: str, package: str) -> dict[str, object]:
    where = find_test(method_id)
    status = "tested elsewhere" if where else "not covered"
    reason = where or {**NOT_COVERED, **OTHER_ROOMS}.get(method_id, "no test names it")
    return {"case": case, "method_id": method_id, "package": package, "status": status, "reason": reason}


def summary(frame: pd.DataFrame) -> list[str]:
    lines = ["| method | package | cases | numbers | agree | exceptions | differ | largest difference that agrees |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    compared = frame[frame["status"].isin(["agrees", "exception", "differs"])]
    for (method, package), part in compared.groupby(["method_id", "package"]):
        count = Counter(part["status"])
        fits = part.loc[part["status"] == "agrees", "difference"]
        largest = f"{fits.max():.2g}" if fits.notna().any() else ""
        lines.append(
            f"| {method} | {package} | {part['case'].nunique()} | {len(part)} | {count['agrees']} |"
            f" {count['exception'] or ''} | {count['differs'] or ''} | {largest} |"
        )
    return lines


def exceptions(frame: pd.DataFrame) -> list[str]:
    """Each kind of exception: where it is used, on how many numbers, and whether its evidence holds."""
    lines = ["| kind | why ours differs | evidence (checked entry by entry) | method: cases (fields) | numbers |",
             "|---|---|---|---|---|"]  # fmt: skip
    used = frame[frame["status"] == "exception"]
    for kind, (reason, evidence) in KINDS.items():
        rows = [x for x in EXCEPTIONS if x.kind == kind and load_case(x.case) is not None]
        fails = [f"{x.case} {x.method_id}" for x in rows if not _holds(x)]
        words = " ".join((evidence.__doc__ or "").split()).replace("|", "/")
        where: dict[str, dict[str, list[str]]] = {}
        for x in rows:
            where.setdefault(x.method_id, {}).setdefault(", ".join(x.fields), []).append(x.case)
        places = "; ".join(
            f"{method}: " + ", ".join(f"{' '.join(cases)} ({fields})" for fields, cases in groups.items())
            for method, groups in where.items()
        )
        lines.append(
            f"| {kind} | {reason} | {words}{' FAILS on ' + ', '.join(fails) if fails else ''} | {places} |"
            f" {int((used['reason'] == reason).sum())} |"
        )
    return lines


def mrmix_errors() -> str:
    """How MRMix's published errors compare with ours, at the published theta, pi0 and sigma^2."""
    inside, outside = [], []
    for case in filter(None, map(load_case, ALL)):
        entry = case.entries.get("mrmix.default")
        if entry is None:
            continue
        r, d = entry.results, case.data
        ours = mixture_error(
            (d.beta_x[0], d.se_x[0], d.beta_y[0], d.se_y[0]), r["theta"], r["pi0"], r["sigma2"]
        )
        regular = 0.001 < r["pi0"] < 0.99 and abs(r["theta"]) < 0.999 and r["sigma2"] < 0.0099
        (inside if regular else outside).append(r["SE_theta"] / ours)
    return (
        f"theirs is {min(inside):.2g} to {max(inside):.2g} times ours on the {len(inside)} cases where their estimates"
        f" are inside their bounds, {min(outside):.2g} to {max(outside):.2g} on the {len(outside)} others"
    )


def _holds(row: Differs) -> bool:
    case = load_case(row.case)
    assert case is not None
    return row.evidence(case, case.entries[row.method_id], our_values(row.case, row.method_id))


def uncompared(frame: pd.DataFrame) -> list[str]:
    lines = ["| method | cases | status | where or why |", "|---|---|---|---|"]
    left = frame[frame["status"].isin(["tested elsewhere", "not covered"])]
    for (method, status, reason), part in left.groupby(["method_id", "status", "reason"]):
        lines.append(f"| {method} | {part['case'].nunique()} | {status} | {reason} |")
    return lines


def main(folder: Path) -> None:
    frame = pd.DataFrame(list(rows())).reindex(columns=COLUMNS)
    count = Counter(frame["status"])
    entries = frame.drop_duplicates(["case", "method_id"])
    text = [
        "# Agreement with published packages",
        "",
        f"{len(entries)} published results on {frame['case'].nunique()} cases; {count['agrees']} numbers agree within"
        f" their tolerance, {count['exception']} differ on purpose, {count['differs']} differ.",
        f"{count['tested elsewhere']} further results are compared with ours by the tests named below,"
        f" {count['not covered']} are not covered.",
        "",
        "Differences are relative. Every number is a row of `reference_agreement.csv`.",
        "",
        "## By method",
        "",
        *summary(frame),
        "",
        "## Exceptions",
        "",
        *exceptions(frame),
        "",
        "## Remarks",
        "",
        *(
            f"- {method}: {remark.replace('{mrmix_errors}', mrmix_errors())}"
            for method, remark in REMARKS.items()
        ),
        "",
        "## Not in the table above",
        "",
        *uncompared(frame),
        "",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reference_agreement.md").write_text("\n".join(text))
    frame.to_csv(folder / "reference_agreement.csv", index=False, float_format="%.10g")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmarks" / "results")
