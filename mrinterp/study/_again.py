"""A finished run repeated: as it was, or at another seed and another scale of the noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.diagnostics._rerun import compare_claims
from mrinterp.evidence._compare import survival
from mrinterp.study._findings import OTHER_RUNS, Findings

__all__ = ["repeated"]


def repeated(study: Findings, out: Path, differently: bool) -> pd.DataFrame:
    """Carry the study out again, and compare; what a different run says is kept, and read by the grades.

    Raises
    ------
    InputError
        If the run is not finished, or ``out`` is its own folder.
    """
    if not (study.out / "results.parquet").exists():
        raise InputError(str(study.out), "not a finished run", "Finish it with mrinterp run first")
    if out.resolve() == study.out.resolve():
        raise InputError("--out", "the run folder itself", "Repeat into another folder")
    plan = other_plan(study) if differently else study.plan
    made: Any = type(study)(plan, study.source, out, study.allow_code, study.given)
    again = made.run()
    return keep_other_run(study, again) if differently else compare_claims(study.results, again.results)


def other_plan(study: Findings) -> Plan:
    """The study's plan with the next seed, and half the noise that it used."""
    noise = study.plan.instruments.noise
    changed = {"seed": study.plan.seed + 1}
    if not noise.runs_per_prompt:
        return study.plan.model_copy(update=changed)
    half = noise.model_copy(update={"scale": _scale(study) / 2})
    instruments = study.plan.instruments.model_copy(update={"noise": half})
    return study.plan.model_copy(update={**changed, "instruments": instruments})


def _scale(study: Findings) -> float:
    """The scale of the noise that a run used; the median over token classes where it was chosen for each."""
    stated = study.plan.instruments.noise.scale
    if isinstance(stated, float | int):
        return float(stated)
    return float(np.median(list(study.choices["noise"]["scale"].values())))


def keep_other_run(study: Findings, again: Findings) -> pd.DataFrame:
    """Hold a run that differs beside a finished one, and keep in the latter's folder what came out.

    Returns
    -------
    DataFrame
        `Study.compare`, with ``survived`` (`mrinterp.evidence._compare.survival`), ``differs`` (whether seed or network is another)
        and ``label`` (in what it differs).
    """
    found = study.compare(again)
    model = study.header["provenance"]["model"] != again.header["provenance"]["model"]
    seed = study.plan.seed != again.plan.seed
    label = f"seed {again.plan.seed}"
    if again.plan.instruments.noise.runs_per_prompt:
        label += f", noise {_scale(again):.2g} in place of {_scale(study):.2g}"
    if model:
        label += ", other weights"
    found = found.assign(survived=survival(found), differs=seed or model, label=label)
    name = f"{OTHER_RUNS}/{again.header['rules_hash'][:12]}.parquet"
    with study.folder.held():
        study.folder.kept_table(name, lambda: found)
        study.folder.record("rerun differently", ("results.parquet",), (name,))
    return found
