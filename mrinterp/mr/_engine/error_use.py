"""What a method does with the errors of the exposure effects, and for which design that is right, in words."""

from __future__ import annotations

__all__ = ["PAIRED_NOTE", "SUBTRACTS", "error_sentences", "right_design"]

SUBTRACTS = ("nothing", "own", "shared")
"""What an estimator takes out of its moments: no errors, the exposures' own, those shared with the outcome too."""

PAIRED_NOTE = (
    "the design is paired within prompts: the errors this method subtracts are mostly causal there,"
    " so that it may throw signal away; prefer the within regression or mv_ivw"
)

_CAUSAL = "(in a paired design these are mostly causal; use the within regression or mv_ivw there)"
_SENTENCES = {
    "shared": f"the design is between prompts: it subtracts the errors that exposures and outcome share {_CAUSAL}",
    "own": f"the design is between prompts: it subtracts the estimation errors of the exposure effects {_CAUSAL}",
}
_WEIGHED = (
    "the known correlation of the errors enters weights and standard errors only: the estimate is not"
    " corrected for it (no correction is due in a paired design; between prompts instruments must be strong)"
)
_IGNORED = "the errors of exposure and outcome are independent (their known correlation is not used)"
_IGNORED_PAIRED = (
    "the errors that exposures and outcome share are causal, as in a paired design (their known"
    " correlation is not used)"
)


def right_design(subtracts: str) -> str:
    """``"between"`` for methods that subtract errors, else ``"either"``: there is no correction to be wrong."""
    return "either" if subtracts == "nothing" else "between"


def error_sentences(subtracts: str, known: bool, used: bool, design: str) -> tuple[list[str], list[str]]:
    """Sentences that complete "Assumes ...": on what is subtracted, and on what was known and left out.

    Parameters
    ----------
    subtracts : str
        One of `SUBTRACTS`.
    known, used : bool
        Whether the data hold the errors' correlation, and whether the method used it.
    design : str
        ``"between"`` or ``"paired"``.
    """
    said = [_SENTENCES[subtracts]] if subtracts in _SENTENCES else []
    if not known:
        return said, []
    if not used:
        return said, [_IGNORED_PAIRED if design == "paired" and subtracts == "nothing" else _IGNORED]
    return (said or [_WEIGHED]), []
