"""Our tests of direction under the names of published fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrinterp.diagnostics._steiger import steiger_test
from mrinterp.results._check import NotApplicable
from mrinterp.stats.tests import direction
from mrinterp.stats.tests.tails import neglog10p_normal, two_sided_p
from tests.reference.mr_cases import Case, Entry
from tests.reference.mr_fits import Ours, Values


def _correlations(case: Case, entry: Entry, source: str) -> tuple[np.ndarray, np.ndarray]:
    d, out = case.data, []
    for beta, se, n in ((d.beta_x[0], d.se_x[0], "n_exp"), (d.beta_y[0], d.se_y[0], "n_out")):
        if source == "p":
            out.append(direction.correlations_from_p(neglog10p_normal(beta / se), case.meta[n]))
        elif source == "frequency":  # the published run had none and took .3 for all
            out.append(direction.correlations_from_frequency(beta, 0.3))
        else:
            out.append(direction.correlations_from_effects(beta, se, case.meta[n]))
    return out[0], out[1]


def instrument_correlations(source: str) -> Ours:
    def own(case: Case, entry: Entry) -> Values:
        x, y = _correlations(case, entry, source)
        return {"r_exposure": x.tolist(), "r_outcome": y.tolist()}

    return Ours("steiger_test", own=own)


def steiger(case: Case, entry: Entry) -> Values:
    """The test of all instruments together, taken as independent even where they are not, as published."""
    sized = replace(
        case.data, ld=None, n_x=np.array([case.meta["n_exp"]]), n_y=np.array([case.meta["n_out"]])
    )
    check = steiger_test(sized)
    r2 = [float(np.sum(r**2)) for r in _correlations(case, entry, "effects")]
    out: Values = {"r2_exp": r2[0], "r2_out": r2[1], "correct_causal_direction": r2[0] > r2[1]}
    if isinstance(check, NotApplicable):
        return {**out, **dict.fromkeys(("steiger_test", "vz", "vz0", "vz1", "sensitivity_ratio"), np.nan)}
    for_x, for_y = direction.precision_volumes(*np.sqrt(r2))
    volumes = {"vz": for_y - for_x, "vz0": for_y, "vz1": for_x, "sensitivity_ratio": for_x / for_y}
    return {**out, **volumes, "steiger_test": float(two_sided_p(check.neglog10p))}


def directionality(case: Case, entry: Entry) -> Values:
    x, y = (float(np.sum(r**2)) for r in _correlations(case, entry, "p"))
    z = direction.compare_correlations(np.sqrt(x), np.sqrt(y), case.meta["n_exp"], case.meta["n_out"])
    return {
        "snp_r2.exposure": x,
        "snp_r2.outcome": y,
        "correct_causal_direction": x > y,
        "steiger_pval": float(two_sided_p(neglog10p_normal(z))),
    }


def steiger_filtering(case: Case, entry: Entry) -> Values:
    x, y = _correlations(case, entry, "frequency")
    z = direction.compare_correlations(np.abs(x), np.abs(y), case.meta["n_exp"], case.meta["n_out"])
    return {
        "rsq.exposure": (x**2).tolist(),
        "rsq.outcome": (y**2).tolist(),
        "steiger_dir": (x**2 > y**2).tolist(),
        "steiger_pval": two_sided_p(neglog10p_normal(z)).tolist(),
    }
