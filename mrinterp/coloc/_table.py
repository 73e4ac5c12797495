"""Two traits side by side, everything that can be said: hypotheses, fit of one cause, signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._finemap import SusieOptions, finemap_summary
from mrinterp.coloc._priors import HypothesisPriors, Priors
from mrinterp.coloc._signals import colocalize_signals
from mrinterp.core.mrdata import MRData
from mrinterp.results._check import NotApplicable
from mrinterp.results._coloc import Coloc

__all__ = ["PairReport", "report_pair"]


@dataclass(frozen=True, eq=False)
class PairReport:
    """Colocalization of one exposure and one outcome, with the signals where LD and n are known.

    ``misfit`` has one entry per locus: None where one sparse cause describes it, otherwise why the
    numbers do not apply (or why that could not be checked).
    """

    coloc: Coloc
    misfit: tuple[NotApplicable | None, ...]
    checked: bool
    signals: Coloc | NotApplicable | None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; several loci stand under ``loci``."""
        rows = []
        for k in range(len(self.coloc.loci)):
            row = self.coloc.pair(0, 0, k).to_dict()
            why = self.misfit[k]
            row["applies"] = None if not self.checked else why is None
            row["misfit"] = None if why is None else why.to_dict()
            rows.append(row)
        out: dict[str, Any] = rows[0] if len(rows) == 1 else {"loci": rows}
        out |= {
            "method": self.coloc.method,
            "assumes": list(self.coloc.assumes),
            "reference": self.coloc.reference,
        }
        if isinstance(self.signals, Coloc):
            keep = (
                "exposure",
                "outcome",
                "pp_h0",
                "pp_h1",
                "pp_h2",
                "pp_h3",
                "pp_h4",
                "sign",
                "top_instrument",
            )
            records = self.signals.to_frame().to_dict("records")
            out["signals"] = [{name: r[name] for name in keep} for r in records]
        elif self.signals is not None:
            out["signals"] = []
            out["signals_note"] = str(self.signals)
        return out

    def sentences(self) -> list[str]:
        """What a reader at the terminal needs."""
        out = []
        for k in range(len(self.coloc.loci)):
            why = self.misfit[k]
            if why is not None and self.checked:
                out.append(f"Careful: {why}.")
            out.append(str(self.coloc.pair(0, 0, k)))
            if why is not None and not self.checked:
                out.append(f"Not checked: {why}.")
        if isinstance(self.signals, Coloc):
            rows, columns = self.signals.posterior.shape[:2]
            out += [str(self.signals.pair(f, o)) for f in range(rows) for o in range(columns)]
        elif self.signals is not None:
            out.append(f"{self.signals}.")
        return out


def report_pair(
    data: MRData,
    *,
    types: tuple[str, str] = ("quant", "quant"),
    sd: tuple[float | None, float | None] = (None, None),
    n: tuple[float | None, float | None] = (None, None),
    ld_y: np.ndarray | None = None,
    priors: Priors | HypothesisPriors | None = None,
    prior: str = "assumed",
) -> PairReport:
    """Colocalize the exposure and the outcome of ``data``, signal by signal too where LD and n allow.

    Parameters
    ----------
    data : MRData
        One exposure and one outcome; ``ld`` None means that LD is not known here.
    types, sd, n : pair
        Kind, standard deviation and sample size of each trait.
    ld_y : ndarray (J, J), optional
        LD in the outcome's data where it differs.
    priors, prior
        See `mrinterp.coloc._abf.colocalize`.
    """
    ld = data.ld
    known = ld is not None
    result = colocalize(
        data,
        type_x=types[0],
        type_y=types[1],
        sd_x=sd[0],
        sd_y=sd[1],
        priors=priors,
        prior=prior,
        check_misfit=known,
    )
    if known:
        misfit = tuple(
            None if s == "ok" else NotApplicable(str(s), "colocalization") for s in result.status[0, 0]
        )
    else:
        reason = "whether one sparse cause describes the locus can only be tested with LD"
        misfit = tuple(NotApplicable(reason, "the misfit check") for _ in result.loci)
    signals: Coloc | NotApplicable | None = None
    if ld is not None and n[0] is not None and n[1] is not None and len(result.loci) == 1:
        options = SusieOptions()
        x = finemap_summary(
            data.beta_x / data.se_x,
            ld,
            n[0],
            traits=data.exposures,
            instruments=data.instruments,
            options=options,
        )
        y = finemap_summary(
            data.beta_y / data.se_y,
            ld if ld_y is None else ld_y,
            n[1],
            traits=data.outcomes,
            instruments=data.instruments,
            options=options,
        )
        signals = colocalize_signals(x, y, priors)
    return PairReport(result, misfit, known, signals)
