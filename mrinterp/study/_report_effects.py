"""The report of effects from a table of summary statistics, or from runs in hand: methods, checks, page and twin."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.core.provenance import installed_versions
from mrinterp.diagnostics._manipulation import identification_checks, manipulation_checks
from mrinterp.diagnostics._sensitivity import sensitivity
from mrinterp.diagnostics._shared_causes import shared_causes
from mrinterp.diagnostics._specification import specification_checks
from mrinterp.diagnostics._stability import stability
from mrinterp.diagnostics._steiger import steiger_test
from mrinterp.diagnostics._told_apart import told_apart
from mrinterp.mr._engine.default_method import standard_methods
from mrinterp.mr._engine.driver import estimate, run_mr
from mrinterp.mr._engine.registry import find
from mrinterp.mr._univariable.leave_one_out import leave_one_out_ivw
from mrinterp.report.effects.page import pairs_with_card, write_effects
from mrinterp.report.effects.source import EffectsSource
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.scan._marginal import marginal_scan

__all__ = ["report_effects"]

OF_RUNS = ("within", "tsls", "observational")
"""Methods of runs that a report has where none is named: the within regression, one that uses doses alone, and none."""
MOST_REPEATS = 5_000_000
"""Exposures times outcomes times instruments up to which the estimate is repeated without each."""
FEWEST_FAMILIES = 40
RUNS = "runs"


def report_effects(
    data: MRData | Panel,
    folder: str | Path,
    methods: Sequence[str] | str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    level: float = 0.95,
    title: str = "",
    results: Sequence[Estimates] | None = None,
    settings: Mapping[str, Any] | None = None,
    command: str = "",
) -> Path:
    """Write the report of effects that Mendelian randomization gives: a page that opens by itself, and its twin.

    Parameters
    ----------
    data : MRData or Panel
        Summary statistics (`mrinterp.tables.read`), or runs (`mrinterp.from_arrays`).
    folder : str or Path
        Where ``report.html``, the folder ``report`` (JSON, CSV, methods, BibTeX, STROBE-MR) and, for many exposures,
        files with cards go. It is made where it does not exist.
    methods : sequence of str or str, optional
        Names of estimators, the one that the answer rests on first. By default `standard_methods` for summary statistics,
        and ``within, tsls, observational`` for runs, of whose marginal effects IVW is made too.
    options : mapping, optional
        Options by method, as in `run_mr`.
    level : float
        Confidence level of the intervals.
    title : str, optional
        Heading of the page.
    results : sequence of Estimates, optional
        Estimates that were made already, by the same methods of the same data; then nothing is estimated anew but what checks and figures
        need.
    settings : mapping, optional
        What else a reader should know of how the data were read; printed.
    command : str, optional
        What repeats the report; printed.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        For data of another type, an unknown method or option, or methods that estimate no effect (agreement of signs);
        where ``folder`` holds a page or a folder ``report`` of others.

    Notes
    -----
    Effects are graded by the rules of studies, as far as facts exist: without knockouts, a replication and a plan that was hashed
    first the best grade is D, suggestive. *Not valid* as evidence that there is no effect.

    Examples
    --------
    >>> import tempfile
    >>> from mrinterp import tables
    >>> from mrinterp.study import report_effects
    >>> data = tables.summary_from_arrays([0.1, 0.2], [0.01, 0.01], [0.05, 0.1], [0.02, 0.02])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report_effects(data, folder, methods="ivw").name
    'report.html'
    """
    if not isinstance(data, MRData | Panel):
        fix = "Give summary statistics (mrinterp.tables.read) or runs (mrinterp.from_arrays)"
        raise InputError("data", f"a {type(data).__name__}", fix)
    folder = Path(folder)
    _refuse_foreign(folder / "report.html")
    panel = data if isinstance(data, Panel) else None
    table = data if isinstance(data, MRData) else marginal_scan(data).to_mrdata()
    made = list(results) if results is not None else _estimated(data, methods, options, level)
    if panel is not None and results is None and methods is None:
        made.append(estimate(table, "ivw", level=level))
    left_out: dict[str, str] = {}
    effects = [r for r in made if r.meta.get("scale") != "concordance"]
    left_out |= {
        r.label: "it measures agreement of signs, which is no effect" for r in made if r not in effects
    }
    if not effects:
        raise InputError(
            "methods", "agreement of signs alone", "Name a method that estimates an effect, such as ivw"
        )
    return write_effects(
        _source(table, panel, effects, left_out, level, title, settings or {}, command), folder
    )


def _estimated(
    data: MRData | Panel,
    methods: Sequence[str] | str | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    level: float,
) -> list[Estimates]:
    if methods is None:
        methods = list(OF_RUNS) if isinstance(data, Panel) else standard_methods(data)
    return run_mr(data, methods, options, level=level)


def _source(
    table: MRData,
    panel: Panel | None,
    effects: list[Estimates],
    left_out: dict[str, str],
    level: float,
    title: str,
    settings: Mapping[str, Any],
    command: str,
) -> EffectsSource:
    """Everything that the page shows, computed."""
    single = [r for r in effects if find(r.method).kind == "univariable"]
    if not any(r.method == "ivw" for r in single):
        single = [estimate(table, "ivw", level=level), *single]
    ivw = next(r for r in single if r.method == "ivw")
    single = [ivw, *(r for r in single if r is not ivw)]
    cells = int(np.prod(table.shape))
    repeats = leave_one_out_ivw(table) if cells <= MOST_REPEATS else None
    if repeats is None:
        left_out["Leave-one-out"] = f"{cells:,} repetitions are too many for a page: mrinterp.mr.leave_one_out_ivw makes them"  # fmt: skip
    source: Literal["table", "runs"] = "table" if panel is None else "runs"
    held = EffectsSource(
        title=title or ("Effects from runs" if panel is not None else "Effects from a table of summary statistics"),
        source=source,
        data=table,
        results=tuple(effects),
        single=tuple(single),
        alike=tuple(r.method for r in effects[1:] if _estimand(r, table) == _estimand(effects[0], table)),
        without_each=repeats,
        sensitivity=sensitivity(ivw, data=table),
        checks=tuple(_checks(panel)) if panel is not None else (),
        panel=panel,
        asked=_asked(panel) if panel is not None else {},
        left_out=left_out,
        settings={**settings, "methods": [r.method for r in effects], "options": {r.method: _plain(r) for r in effects}, "level": level},
        command=command,
        versions=installed_versions(),
        digest=_digest(table),
    )  # fmt: skip
    if panel is not None or table.n_x is None or table.n_y is None:
        why = NotApplicable("sample sizes are not known", "direction (Steiger)")
        direction: dict[tuple[str, str], Check | NotApplicable] = (
            {}
            if panel is not None
            else dict.fromkeys(zip(held.table["feature"], held.table["outcome"], strict=True), why)
        )
    else:
        direction = {p: steiger_test(table, *p) for p in pairs_with_card(held.table, len(table.instruments))}
    return replace(held, direction=direction)


def _estimand(result: Estimates, table: MRData) -> str:
    """What a method estimates: with other exposures held, with them free to differ, or without any instrument."""
    if result.method == "observational":
        return "association"
    return "alone" if find(result.method).kind == "univariable" and len(table.exposures) > 1 else "joint"


def _asked(panel: Panel) -> dict[str, pd.DataFrame | NotApplicable]:
    """What grades read of runs beside the estimates; no region is stated, so that a change can move an estimate, not confirm it."""
    return {
        "stability": stability(panel, rope=0.0),
        "company": told_apart(panel),
        "shared causes": shared_causes({RUNS: marginal_scan(panel)}),
    }


def _checks(panel: Panel) -> list[tuple[str, Check | NotApplicable]]:
    """What runs can be asked: whether doses moved them, whether they are enough, and whether the equation holds."""
    perturbed = [str(k) for k in panel.runs["kind"].unique() if k != "clean"]
    found: list[tuple[str, Check | NotApplicable]] = []
    found += [("relevance", c) for c in manipulation_checks(panel, marginal_scan(panel))]
    for kind in perturbed[:1]:
        found += [("data", c) for c in identification_checks(panel, kind, FEWEST_FAMILIES)]
    found += [("linearity", c) for c in specification_checks(panel)]
    return found


def _plain(result: Estimates) -> dict[str, Any]:
    """Options of a method that can be printed."""
    given = result.meta.get("options", {})
    return {k: v for k, v in given.items() if isinstance(v, str | int | float | bool)}


def _digest(data: MRData) -> str:
    """SHA-256 of names, effects and errors."""
    h = hashlib.sha256(
        "\n".join([*data.exposures, "", *data.outcomes, "", *data.instruments]).encode("utf-8", "replace")
    )
    for part in (data.beta_x, data.se_x, data.beta_y, data.se_y):
        h.update(np.ascontiguousarray(part, dtype="<f8").tobytes())
    return h.hexdigest()


def _refuse_foreign(page: Path) -> None:
    """Refuse to write over a page that is none of ours."""
    if page.is_file() and b'<p class="kicker">' not in page.read_bytes()[:65536]:
        raise InputError(
            str(page), "a file that mrinterp did not write", "Name another folder, or move the file away"
        )
