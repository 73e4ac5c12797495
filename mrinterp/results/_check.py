"""The outcome of testing an assumption, or the reason why the test does not apply."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Check", "NotApplicable"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One tested assumption.

    Parameters
    ----------
    name : str
        What was checked, for example ``"first stage"``.
    null_in_words : str
        The hypothesis that the statistic is compared with.
    statistic, df, neglog10p : float
        Test statistic, its degrees of freedom and -log10 p (nan where there is no test).
    verdict : str
        ``"passed"``, ``"failed"`` or ``"warning"``.
    note : str
        One sentence with the numbers a reader needs.
    outcome : str
        The outcome that it is about; empty: all.
    features : tuple of str
        The features that a failure is about; empty: all.
    rungs : tuple of str
        Rungs of the ladder that a failure bears on, such as ``"within"``; empty: the study as a whole.
    next_step : str
        What to do where it failed.

    Examples
    --------
    >>> from mrinterp.results import Check
    >>> check = Check(name="first stage", null_in_words="instruments do not move the feature", statistic=40.0,
    ...               df=9.0, neglog10p=7.1, verdict="passed", note="F = 40 on 9 instruments.")
    >>> print(check)
    first stage: passed. F = 40 on 9 instruments.
    """

    name: str
    null_in_words: str
    statistic: float
    df: float
    neglog10p: float
    verdict: str
    note: str = ""
    outcome: str = ""
    features: tuple[str, ...] = ()
    rungs: tuple[str, ...] = ()
    next_step: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name}: {self.verdict}. {self.note}"


@dataclass(frozen=True)
class NotApplicable:
    """A result that does not apply, with its reason: a value, not an exception.

    Parameters
    ----------
    reason : str
        Why it does not apply, in a sentence that can be shown.
    name : str
        What the result would have been of.

    Examples
    --------
    >>> from mrinterp.results import NotApplicable
    >>> print(NotApplicable("one instrument only", "heterogeneity"))
    heterogeneity does not apply: one instrument only
    """

    reason: str
    name: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {"name": self.name, "verdict": "not applicable", "note": self.reason}

    def __str__(self) -> str:
        return f"{self.name or 'this'} does not apply: {self.reason}"
