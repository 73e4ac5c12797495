"""Colocalization of features with outcomes, locus by locus: one shared cause, or two neighbors?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from mrinterp.core.errors import InputError, near_misses
from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["HYPOTHESES", "ONE_INSTRUMENT", "VERDICT_THRESHOLD", "Coloc", "ColocPair"]

Array = NDArray[np.float64]

HYPOTHESES: tuple[str, ...] = ("H0", "H1", "H2", "H3", "H4")
"""No cause; a cause for trait 1 only; for trait 2 only; two distinct causes; one shared cause."""

VERDICT_THRESHOLD = 0.8
"""Posterior that a hypothesis needs before it is called a finding (Giambartolomei et al. 2014 use it for H4)."""

ONE_INSTRUMENT = (
    "one instrument: two different causes are impossible, so that nothing speaks for a shared one"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ColocPair:
    """One feature, one outcome, one locus; prints as a sentence.

    ``posterior`` (5,) is the posterior of H0 to H4; ``sensitivity`` has one row
    ``(share, p12, PP.H3, PP.H4)`` per prior of the grid; ``instrument_posterior`` (J,) is the posterior
    of each instrument being the shared cause, given H4.

    Parameters
    ----------
    exposure : str
    outcome : str
    locus : str
    posterior : ndarray (5,)
        Posterior of H0 to H4.
    priors : tuple of float (3,)
        p1, p2 and p12 per instrument.
    sensitivity : ndarray (G, 4)
        ``share, p12, PP.H3, PP.H4`` for every prior of the grid.
    sign : float
        Expected sign of the product of the two effects given H4.
    instruments : tuple of str (J,)
        Instruments of the locus.
    instrument_posterior : ndarray (J,) or None
        Posterior of each being the shared cause, given H4.
    top : str
        The likeliest shared cause.
    unchecked : str
        Why it is not known whether one sparse cause describes the locus; "" where it is.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("Coloc").pair(0, 0)
    >>> one.verdict, float(one.posterior.max()) < 0.8
    ('undecided', True)
    """

    exposure: str
    outcome: str
    locus: str
    posterior: Array
    priors: tuple[float, float, float]
    sensitivity: Array
    sign: float
    instruments: tuple[str, ...]
    instrument_posterior: Array | None
    top: str
    unchecked: str = ""

    @property
    def verdict(self) -> str:
        """The hypothesis whose posterior is .8 or more, in words; else ``"undecided"``."""
        if len(self.instruments) < 2:
            return "not applicable"
        return self._leading if self.posterior.max() >= VERDICT_THRESHOLD else "undecided"

    @property
    def _leading(self) -> str:
        words = (
            "neither trait has a cause here",
            f"only {self.exposure} has a cause here",
            f"only {self.outcome} has a cause here",
            "the two have different causes",
            "the two share a cause",
        )
        return words[int(np.argmax(self.posterior))]

    def credible_set(self, coverage: float = 0.95) -> tuple[str, ...]:
        """Smallest set of instruments that holds the shared cause, given H4, with this probability."""
        if self.instrument_posterior is None:
            return ()
        order = np.argsort(-self.instrument_posterior, kind="stable")
        size = int(np.searchsorted(np.cumsum(self.instrument_posterior[order]), coverage)) + 1
        return tuple(self.instruments[j] for j in order[:size])

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        out: dict[str, Any] = {"exposure": self.exposure, "outcome": self.outcome, "locus": self.locus}
        out |= {f"pp_{h.lower()}": float(p) for h, p in zip(HYPOTHESES, self.posterior, strict=True)}
        out |= {"p1": self.priors[0], "p2": self.priors[1], "p12": self.priors[2]}
        out |= {"sign": self.sign, "top_instrument": self.top, "n_instruments": len(self.instruments)}
        out["snp"] = list(self.instruments)
        out["snp_pp_h4"] = None if self.instrument_posterior is None else self.instrument_posterior.tolist()
        rows = ("share", "p12", "pp_h3", "pp_h4")
        out["sensitivity"] = [dict(zip(rows, map(float, row), strict=True)) for row in self.sensitivity]
        out["verdict"] = self.verdict
        out["verdict_threshold"] = VERDICT_THRESHOLD
        return out

    def __str__(self) -> str:
        place = f" at {self.locus}" if self.locus else ""
        pair = f"{self.exposure} and {self.outcome}{place}"
        if len(self.instruments) < 2:
            return f"{pair}: not applicable ({ONE_INSTRUMENT})."
        verdict = self.verdict
        if verdict == "undecided":
            verdict = (
                f"undecided, no hypothesis reaches {VERDICT_THRESHOLD:g}; the likeliest: {self._leading}"
            )
        low, high = self.sensitivity[:, 3].min(), self.sensitivity[:, 3].max()
        direction = "the same direction" if self.sign > 0 else "opposite directions"
        n, (p1, p2, p12) = len(self.instruments), self.priors
        share = p12 / (p12 + max(n - 1, 1) * p1 * p2)
        five = ", ".join(f"PP.{h} {p:.3g}" for h, p in zip(HYPOTHESES, self.posterior, strict=True))
        return (
            f"{pair}: {verdict} ({five}; PP.H4 {low:.3g} to {high:.3g} over priors of H4 given two causes or"
            f" one of {self.sensitivity[0, 0]:g} to {self.sensitivity[-1, 0]:g}, here {share:.2g}). If shared, the"
            f" likeliest cause is {self.top}, which moves them in {direction}."
            + (f" Not checked: {self.unchecked}." if self.unchecked else "")
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Coloc(Result):
    """Posterior of the five hypotheses for F features, O outcomes and K loci.

    Parameters
    ----------
    method : str
        Form of the Bayes factors.
    exposures, outcomes, loci, instruments : tuple of str
        Names.
    posterior : ndarray (F, O, K, 5)
        Posterior of H0 to H4.
    log_sums : ndarray (F, O, K, 4)
        Log sums of Bayes factors behind H1 to H4 (before priors).
    priors : ndarray (K, 3)
        p1, p2, p12 per instrument of each locus.
    shares : ndarray (G,)
        Prior grid over pi4 / (pi3 + pi4).
    sensitivity : ndarray (F, O, K, G, 2)
        PP.H3 and PP.H4 over the grid.
    sign : ndarray (F, O, K)
        Expected sign of the product of the two effects given H4.
    top : ndarray (F, O, K) of int
        Instrument with the largest posterior given H4.
    status : ndarray (F, O, K) of str
        ``"ok"``, or why colocalization does not apply to the cell.
    locus : ndarray (J,) of int
        Locus of each instrument.
    log_bf_x, log_bf_y : ndarray (F, J), (O, J), optional
        Log Bayes factors; None where they belong to pairs.
    assumes, reference, meta
        What the numbers are conditional on, the paper, options.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Coloc").summary)
    colocalization of 3 features with 2 outcomes at 5 loci: a shared cause in 0 of 30 cells
    """

    KIND: ClassVar[str] = "coloc"
    HEADER: ClassVar[str] = "coloc.json"

    method: str
    exposures: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    loci: Annotated[tuple[str, ...], Axis("K")]
    instruments: Annotated[tuple[str, ...], Axis("J")]
    posterior: Annotated[Array, Shape("F", "O", "K", 5)]
    log_sums: Annotated[Array, Shape("F", "O", "K", 4, infinite=True)]
    priors: Annotated[Array, Shape("K", 3)]
    shares: Annotated[Array, Shape("G")]
    sensitivity: Annotated[Array, Shape("F", "O", "K", "G", 2)]
    sign: Annotated[Array, Shape("F", "O", "K")]
    top: Annotated[NDArray[np.int_], Shape("F", "O", "K")]
    status: Annotated[NDArray[Any], Shape("F", "O", "K")]
    locus: Annotated[NDArray[np.int_], Shape("J")]
    log_bf_x: Annotated[Array | None, Shape("F", "J")] = None
    log_bf_y: Annotated[Array | None, Shape("O", "J")] = None
    assumes: tuple[str, ...] = ()
    reference: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.exposures), len(self.outcomes), len(self.loci))
        status = np.asarray(self.status, dtype=object)
        object.__setattr__(self, "status", np.broadcast_to(status, shape) if status.ndim == 0 else status)
        super().__post_init__()

    def _position(self, name: str, names: tuple[str, ...], what: str) -> int:
        if name not in names:
            raise InputError(
                f"coloc[{name!r}]", f"no such {what}", near_misses(name, names) or f"Known: {list(names)[:8]}"
            )
        return names.index(name)

    def __getitem__(self, key: tuple[str, ...]) -> ColocPair | NotApplicable:
        """The pair (feature, outcome) or (feature, outcome, locus); NotApplicable where it misfits."""
        f = self._position(key[0], self.exposures, "feature")
        o = self._position(key[1], self.outcomes, "outcome")
        k = self._position(key[2], self.loci, "locus") if len(key) > 2 else 0
        if len(key) == 2 and len(self.loci) > 1:
            raise InputError(
                f"coloc{list(key)}", f"{len(self.loci)} loci", "Name one: coloc[feature, outcome, locus]"
            )
        if self.status[f, o, k] != "ok":
            return NotApplicable(str(self.status[f, o, k]), f"colocalization of {key[0]} and {key[1]}")
        return self.pair(f, o, k)

    def pair(self, f: int, o: int, k: int = 0) -> ColocPair:
        """The numbers of one cell by position, whatever its status."""
        members = np.flatnonzero(self.locus == k)
        p1, p2, p12 = (float(p) for p in self.priors[k])
        p12s = self.meta["p12_grid"][k]
        rows = np.column_stack([self.shares, np.asarray(p12s, float), self.sensitivity[f, o, k]])
        return ColocPair(
            exposure=self.exposures[f],
            outcome=self.outcomes[o],
            locus=self.loci[k],
            posterior=self.posterior[f, o, k],
            priors=(p1, p2, p12),
            sensitivity=rows,
            sign=float(self.sign[f, o, k]),
            instruments=tuple(self.instruments[j] for j in members),
            instrument_posterior=self.instrument_posterior(f, o, k),
            top=self.instruments[self.top[f, o, k]],
            unchecked=self.meta.get("unchecked", {}).get(self.loci[k], ""),
        )

    def instrument_posterior(self, f: int, o: int, k: int = 0) -> Array | None:
        """Posterior of each instrument of locus ``k`` being the shared cause given H4, or None."""
        if self.log_bf_x is None or self.log_bf_y is None:
            return None
        members = np.flatnonzero(self.locus == k)
        return np.asarray(special.softmax(self.log_bf_x[f, members] + self.log_bf_y[o, members]))

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        applies = self.status == "ok"
        shared = int((applies & (self.posterior[..., 4] >= VERDICT_THRESHOLD)).sum())
        text = (
            f"colocalization of {len(self.exposures):,} features with {len(self.outcomes):,} outcomes at"
            f" {len(self.loci):,} loci: a shared cause in {shared:,} of {int(applies.sum()):,} cells"
        )
        absent = int((~applies).sum())
        return text + (f"; does not apply to {absent:,}" if absent else "")

    def __str__(self) -> str:
        h4 = np.where(self.status == "ok", self.posterior[..., 4], -1.0)
        leading = np.argsort(-h4, axis=None, kind="stable")
        cells = (self.pair(*np.unravel_index(i, h4.shape)) for i in leading if h4.flat[i] >= 0)
        lines = first_lines(cells, int((h4 >= 0).sum()))
        return f"{self.summary}.\n{lines}".rstrip()

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome, locus)."""
        pairs = len(self.exposures) * len(self.outcomes)
        names = pd.MultiIndex.from_product(
            [self.exposures, self.outcomes, self.loci], names=["exposure", "outcome", "locus"]
        )
        frame = names.to_frame(index=False)
        for h in range(5):
            frame[f"pp_h{h}"] = self.posterior[..., h].ravel()
        h4 = self.sensitivity[..., 1]
        frame["pp_h4_lowest"], frame["pp_h4_highest"] = h4.min(-1).ravel(), h4.max(-1).ravel()
        frame["sign"] = self.sign.ravel()
        frame["top_instrument"] = np.array(self.instruments, dtype=object)[self.top.ravel()]
        for i, name in enumerate(("p1", "p2", "p12")):
            frame[name] = np.tile(self.priors[:, i], pairs)
        frame["status"] = self.status.ravel()
        return frame
