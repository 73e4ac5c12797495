"""The estimators that a design asks for, among those that need summary statistics only."""

from __future__ import annotations

from typing import Any

from mrinterp.core.checks import checked_type
from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.registry import find

__all__ = ["default_method", "standard_methods"]


def default_method(data: MRData) -> tuple[str, dict[str, Any]]:
    """Name and options of the default estimator for these data.

    One exposure: `wald` for one instrument, `ivw_correlated` where the instruments' correlation is known,
    else `ivw`. Several exposures, by the design:

    - between prompts, errors are noise that exposures and outcome share: `grapple`, which corrects for it and
      is robust against outliers (`mrbee`, which corrects too, beyond the 300 exposures that `grapple` takes); with
      correlated instruments `mv_gmm`;
    - paired within prompts, errors of the exposures act on the outcome as any change does, and subtracting
      them would throw signal away: `mv_ivw` with sandwich errors and t (and the instruments' correlation,
      where known).

    Where there are runs, the `within` regression comes before any of them.

    Notes
    -----
    Level in simulation (eight exposures that correlate .85; ten scenarios of overlap, weak instruments, pleiotropy
    and no effect at all; ``benchmarks/results/mr_simulations.md``, "The default multivariable estimator"):
    all keep 5% and 95% within two Monte-Carlo errors (180 data sets each, error at most .008). At their worst:
    `grapple` type-I error .059 and coverage .942, `mv_ivw` .053 and .947, `mv_gmm` .032 and .964. With very
    weak instruments `grapple` is cautious (coverage .998) and leaves one cell in eight without an estimate,
    which the status says.
    """
    F, _, J = data.shape
    if F == 1:
        if J == 1:
            return "wald", {}
        return ("ivw" if data.ld is None else "ivw_correlated"), {}
    if data.design == "paired":
        return "mv_ivw", {"model": "sandwich", "distribution": "t"}
    if data.ld is not None:
        return "mv_gmm", {}
    most = find("grapple").most_exposures
    return ("grapple" if most is None or most >= F else "mrbee"), {}


def standard_methods(data: MRData) -> list[str]:
    """Names of methods with different assumptions that suit the data; the default of the design comes first.

    Parameters
    ----------
    data : MRData

    Returns
    -------
    list of str
        Names for `run_mr`: what the command line runs when no method is named.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> mrinterp.mr.standard_methods(mrinterp.scan.marginal_scan(panel).to_mrdata())
    ['mv_ivw', 'mv_egger', 'ivw']
    """
    checked_type(data, "data", MRData, "mrinterp.scan.marginal_scan(panel).to_mrdata() makes it of runs")
    F, _, J = data.shape
    first = default_method(data)[0]
    if F > 1:
        return list(dict.fromkeys([first, "mv_ivw", "mv_egger", "ivw"]))
    if J == 1:
        return [first]
    return [first, "egger_correlated"] if data.ld is not None else [first, "egger", "weighted_median"]
