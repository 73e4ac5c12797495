"""Double knockouts: what two features do together beyond what each does alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_shares, off_support_words

__all__ = ["CALLS", "Epistasis", "Interaction"]

Array = NDArray[np.float64]

MATRICES = ("interaction", "se", "lower", "upper", "joint", "p", "adjusted_p")

CALLS = ("synergy", "buffering", "opposed", "negligible", "indeterminate")


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """One pair and one outcome; prints as a sentence.

    Parameters
    ----------
    features : tuple of str (2,)
        The two features.
    outcome : str
        Name of the outcome.
    single : tuple of float (2,)
        Effect of each knockout alone.
    joint : float
        Effect of both together.
    interaction : float
        Joint less the two singles, in units of the outcome.
    lower : float
        Lower end of the interval.
    upper : float
        Upper end of the interval.
    adjusted_p : float
        Adjusted for the number of tests.
    call : str
        Synergy, buffering, opposed, negligible or indeterminate.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("Epistasis").pair("feature 0", "feature 1", "outcome 0")
    >>> one.call
    'synergy'
    """

    features: tuple[str, str]
    outcome: str
    single: tuple[float, float]
    joint: float
    interaction: float
    lower: float
    upper: float
    adjusted_p: float
    call: str
    level: float

    def __str__(self) -> str:
        a, b = self.features
        return (
            f"{a} and {b} on {self.outcome}: {self.call}. Together {self.joint:.3g}, alone"
            f" {self.single[0]:.3g} and {self.single[1]:.3g}; interaction {self.interaction:.3g}"
            f" ({self.level:.0%} interval {self.lower:.3g} to {self.upper:.3g}, adjusted p"
            f" {self.adjusted_p:.2g}), in units of the outcome."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Epistasis(Result):
    """Interactions of M pairs among K features, for O outcomes; effects in units of the outcome.

    Parameters
    ----------
    features, outcomes : tuple of str
    pairs : ndarray (M, 2) of int
        Positions among the features.
    single, single_se : ndarray (K, O)
        Mean effect of every knockout alone.
    joint, joint_se : ndarray (M, O)
        Mean effect of the two together.
    interaction, se, lower, upper : ndarray (M, O)
        joint - single - single, prompt by prompt; errors clustered by family.
    p, adjusted_p : ndarray (M, O)
        Of the null that the interaction lies within the region of practical equivalence; adjusted
        over the pairs of an outcome.
    call : ndarray (M, O) of str
        ``synergy``: the joint effect is larger than additive in the direction of the singles (or there
        is one where neither single has any); ``buffering``: smaller than additive in that direction;
        ``opposed``: an interaction of singles that pull in different directions; ``negligible``: the
        interval lies within the region; ``indeterminate``: neither.
    rope : ndarray (O,)
        Half width of the region, in units of the outcome.
    df, level, noise_floor : float
    read_back_error : ndarray (K + M,)
        Largest difference between a value written and the one read, singles first.
    status : str
        ``ok``, or why there are no errors and intervals.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Epistasis").summary)
    epistasis: 3 features, 2 outcomes
    """

    KIND: ClassVar[str] = "epistasis"

    features: Annotated[tuple[str, ...], Axis("K")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    pairs: Annotated[NDArray[np.int_], Shape("M", 2)]
    single: Annotated[Array, Shape("K", "O")]
    single_se: Annotated[Array, Shape("K", "O")]
    joint: Annotated[Array, Shape("M", "O")]
    joint_se: Annotated[Array, Shape("M", "O")]
    interaction: Annotated[Array, Shape("M", "O")]
    se: Annotated[Array, Shape("M", "O")]
    lower: Annotated[Array, Shape("M", "O")]
    upper: Annotated[Array, Shape("M", "O")]
    p: Annotated[Array, Shape("M", "O")]
    adjusted_p: Annotated[Array, Shape("M", "O")]
    call: Annotated[NDArray[Any], Shape("M", "O")]
    rope: Annotated[Array, Shape("O")]
    df: float
    level: float
    noise_floor: float
    read_back_error: Annotated[Array, Shape("K+M")]
    status: str = "ok"
    meta: dict[str, Any] = field(default_factory=dict)

    def _outcome(self, outcome: str | None) -> int:
        if outcome is None and len(self.outcomes) == 1:
            return 0
        if outcome not in self.outcomes:
            raise InputError(
                f"outcome {outcome!r}", "not among the knockouts'", f"Known: {list(self.outcomes)}"
            )
        return self.outcomes.index(outcome)

    def pair(self, a: str, b: str, outcome: str | None = None) -> Interaction | NotApplicable:
        """One pair, in either order; NotApplicable where one family leaves no error."""
        for name in (a, b):
            if name not in self.features:
                raise InputError(
                    f"pair {a!r}, {b!r}", f"no feature {name!r}", near_misses(name, self.features)
                )
        want = {self.features.index(a), self.features.index(b)}
        found = [m for m, pair in enumerate(self.pairs.tolist()) if set(pair) == want]
        if not found:
            raise InputError(f"pair {a!r}, {b!r}", "not knocked out together", "List it among the pairs")
        m, o = found[0], self._outcome(outcome)
        if self.status != "ok":
            return NotApplicable(self.status, f"interaction of {a} and {b}")
        i, j = self.pairs[m]
        return Interaction(
            features=(self.features[i], self.features[j]),
            outcome=self.outcomes[o],
            single=(float(self.single[i, o]), float(self.single[j, o])),
            joint=float(self.joint[m, o]),
            interaction=float(self.interaction[m, o]),
            lower=float(self.lower[m, o]),
            upper=float(self.upper[m, o]),
            adjusted_p=float(self.adjusted_p[m, o]),
            call=str(self.call[m, o]),
            level=self.level,
        )

    def matrix(self, outcome: str | None = None, of: str = "interaction") -> Array:
        """Interactions (K, K), symmetric; nan on the diagonal and where a pair was not run.

        Parameters
        ----------
        outcome : str, optional
            May be left out where there is one.
        of : {"interaction", "se", "lower", "upper", "joint", "p", "adjusted_p"}
            What stands in the matrix: ``lower`` and ``upper`` are the ends of the intervals.
        """
        if of not in MATRICES:
            raise InputError("of", repr(of), f"Give one of {', '.join(MATRICES)}")
        out = np.full((len(self.features),) * 2, np.nan)
        i, j = self.pairs.T
        out[i, j] = out[j, i] = getattr(self, of)[:, self._outcome(outcome)]
        return out

    def to_frame(self) -> pd.DataFrame:
        """One row per (pair, outcome); ``outside_support``: share of what was written into the worse of the two
        features that its place never shows."""
        M, O = self.interaction.shape
        names, share = np.array(self.features, dtype=object), off_support_shares(self.meta, self.features)
        i, j = np.repeat(self.pairs, O, axis=0).T
        o = np.tile(np.arange(O), M)
        frame = {
            "feature_a": names[i],
            "feature_b": names[j],
            "outcome": np.array(self.outcomes, dtype=object)[o],
            "effect_a": self.single[i, o],
            "effect_b": self.single[j, o],
            "effect_both": self.joint.ravel(),
            "interaction": self.interaction.ravel(),
            "se": self.se.ravel(),
            "ci_lower": self.lower.ravel(),
            "ci_upper": self.upper.ravel(),
            "p": self.p.ravel(),
            "adjusted_p": self.adjusted_p.ravel(),
            "rope": self.rope[o],
            "call": self.call.ravel(),
            "outside_support": np.fmax(share[i], share[j]),
        }
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        M, K = len(self.pairs), len(self.features)
        if self.status != "ok":
            return f"{M} double knockout{'s' if M > 1 else ''} of {K} features: {self.status}."
        words = []
        for o, outcome in enumerate(self.outcomes):
            counts = {c: int((self.call[:, o] == c).sum()) for c in CALLS}
            m = int(np.argmax(np.abs(self.interaction[:, o])))
            i, j = self.pairs[m]
            strongest = self.pair(self.features[i], self.features[j], outcome)
            listed = ", ".join(f"{n} {c}" for c, n in counts.items() if n)
            words.append(
                f"{outcome}: {M} pair{'s' if M > 1 else ''} of {K} features, {listed}. The largest: {strongest}"
            )
        return first_lines(words, len(words)) + off_support_words(self.meta)
