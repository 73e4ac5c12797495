"""Two traits side by side, everything that can be said: hypotheses, fit of one cause, signals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._finemap import finemap_traits
from mrinterp.coloc._priors import HypothesisPriors, Priors
from mrinterp.coloc._signals import colocalize_signals
from mrinterp.core.errors import InputError
from mrinterp.core.ld import validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.results._check import NotApplicable
from mrinterp.results._coloc import ONE_INSTRUMENT, Coloc

__all__ = ["PairReport", "report_pair"]


@dataclass(frozen=True, eq=False)
class PairReport:
    """Colocalization of one exposure and one outcome, with the signals where LD and n are known.

    Parameters
    ----------
    coloc : Coloc
        Hypotheses, one locus or several.
    misfit : tuple (K,) of NotApplicable or None
        Per locus: None where one sparse cause describes it, otherwise why the numbers do not apply (or
        why that could not be checked).
    checked : tuple (K,) of bool
        Whether the fit could be checked, for which LD is needed.
    signals : Coloc, NotApplicable or None
        Every credible set against every other; None where it was not tried.

    Examples
    --------
    >>> from mrinterp import coloc, tables
    >>> data = tables.summary_from_arrays([0.9, 0.0], [0.1] * 2, [0.8, 0.1], [0.1] * 2)
    >>> print(coloc.report_pair(data, sd_x=1, sd_y=1).sentences()[0][:51])
    exposure and outcome: the two share a cause (PP.H0
    """

    coloc: Coloc
    misfit: tuple[NotApplicable | None, ...]
    checked: tuple[bool, ...]
    signals: Coloc | NotApplicable | None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; several loci are listed under ``loci``."""
        rows = []
        for k in range(len(self.coloc.loci)):
            row = self.coloc.pair(0, 0, k).to_dict()
            why = self.misfit[k]
            row["applies"] = None if not self.checked[k] else why is None
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

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def sentences(self) -> list[str]:
        """What a reader at the terminal needs, one sentence or two each."""
        out = []
        for k in range(len(self.coloc.loci)):
            why = self.misfit[k]
            if why is not None and self.checked[k] and why.reason != ONE_INSTRUMENT:
                out.append(f"Careful: {why}.")
            out.append(str(self.coloc.pair(0, 0, k)))
        if isinstance(self.signals, Coloc):
            rows, columns = self.signals.posterior.shape[:2]
            out += [str(self.signals.pair(f, o)) for f in range(rows) for o in range(columns)]
        elif self.signals is not None:
            out.append(f"{self.signals}.")
        return out


def report_pair(
    data: MRData,
    *,
    type_x: str = "quant",
    type_y: str = "quant",
    sd_x: float | None = None,
    sd_y: float | None = None,
    prior: str = "assumed",
    priors: Priors | HypothesisPriors | None = None,
    ld_y: ArrayLike | None = None,
) -> PairReport:
    """Colocalize one exposure with one outcome, and say everything that LD and sample sizes allow.

    With LD, whether one sparse cause describes each locus; with LD and sample sizes (one locus), the
    colocalization of every credible set of one trait with every one of the other.

    Parameters
    ----------
    data : MRData
        One exposure and one outcome; ``ld`` None means that LD is not known here. Sample sizes are
        ``n_x`` and ``n_y``.
    type_x, type_y : str
        ``"quant"`` or ``"cc"`` (effects are log odds ratios).
    sd_x, sd_y : float, optional
        Standard deviations of quantitative traits, in the units of the effects.
    prior : str
        Size of effects, ``"assumed"`` or ``"estimated"``: see `colocalize`.
    priors : Priors or HypothesisPriors, optional
        Prior of the hypotheses; default `Priors()`.
    ld_y : array_like (J, J), optional
        LD in the outcome's data, where it differs.

    Returns
    -------
    PairReport

    Raises
    ------
    InputError
        Several exposures or outcomes, and what `colocalize` and `finemap_summary` refuse.

    Notes
    -----
    Not valid where the report says that several instruments act and the signals are not compared.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc, tables
    >>> effects = [0.9, 0.0, 0.1], [0.1] * 3, [0.8, 0.1, 0.0], [0.1] * 3
    >>> data = tables.summary_from_arrays(*effects, ld=np.eye(3))
    >>> report = coloc.report_pair(data, sd_x=1, sd_y=1)
    >>> report.coloc["exposure", "outcome"].verdict
    'the two share a cause'
    """
    F, O, _ = data.shape
    if (F, O) != (1, 1):
        raise InputError(
            "data", f"{F} exposures and {O} outcomes", "Give one of each: data.select([exposure], [outcome])"
        )
    result = colocalize(
        data, type_x=type_x, type_y=type_y, sd_x=sd_x, sd_y=sd_y, priors=priors, prior=prior, ld_y=ld_y
    )
    misfit: list[NotApplicable | None] = []
    checked = []
    for place, status in zip(result.loci, result.status[0, 0], strict=True):
        left_open = result.meta["unchecked"].get(place, "") if status == "ok" else ""
        checked.append(not left_open)
        if left_open:
            misfit.append(NotApplicable(left_open, "the misfit check"))
        else:
            misfit.append(None if status == "ok" else NotApplicable(str(status), "colocalization"))
    signals: Coloc | NotApplicable | None = None
    if data.ld is not None and data.n_x is not None and data.n_y is not None and len(result.loci) == 1:
        x = finemap_traits(data, "exposures")
        y = finemap_traits(
            data if ld_y is None else replace(data, ld=validate_ld(ld_y, data.instruments)), "outcomes"
        )
        signals = colocalize_signals(x, y, priors=priors)
    return PairReport(result, tuple(misfit), tuple(checked), signals)
