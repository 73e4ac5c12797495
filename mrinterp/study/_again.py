"""A finished run repeated: as it was, or at another seed and another scale of the noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.diagnostics._rerun import compare_claims
from mrinterp.study._findings import Findings

__all__ = ["repeated"]


def repeated(study: Findings, out: Path, differently: bool) -> pd.DataFrame:
    """Carry the study out again, and compare.

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
    return study.compare(again) if differently else compare_claims(study.results, again.results)


def other_plan(study: Findings) -> Plan:
    """The study's plan with the next seed, and half the noise that it used."""
    noise = study.plan.instruments.noise
    changed = {"seed": study.plan.seed + 1}
    if not noise.runs_per_prompt:
        return study.plan.model_copy(update=changed)
    if isinstance(noise.scale, float | int):
        used = float(noise.scale)
    else:
        used = float(np.median(list(study.choices["noise"]["scale"].values())))
    half = noise.model_copy(update={"scale": used / 2})
    instruments = study.plan.instruments.model_copy(update={"noise": half})
    return study.plan.model_copy(update={**changed, "instruments": instruments})
