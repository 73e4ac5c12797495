"""Do features and outcomes respond in proportion to the dose? Tested within draws that were run at several levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_number, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.shown import listed
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["dose_series_checks"]

Array = NDArray[np.float64]

NAME = "in proportion to the dose"
FEWEST = 20
"""Families with which their scores say something."""
BENT = 0.1
"""Departure from proportion below which a response is called proportional, however clearly it is told from none."""
SAME = 1e-4
"""Share of a dose by which the runs of a draw may miss its level (doses are stored in single precision)."""
ROUNDING = 1e-6
"""Share of a response that single precision may bend it by."""


def dose_series_checks(
    panel: Panel, levels: Sequence[float], kind: str = "noise", level: float = 0.05
) -> list[Check | NotApplicable]:
    """Whether features and outcomes respond in proportion to the dose, within draws that were run at several levels.

    Parameters
    ----------
    panel : Panel
        Runs of ``kind`` with the clean run of their prompt. Those of a prompt stand draw by draw, each at every level, in the
        order of ``levels``: as `DoseSeries` and a study's ``instruments.noise.levels`` make them.
    levels : sequence of float (L,)
        What each draw was multiplied by: two or more sizes, each up and down, such as ``(0.5, 1.0, -0.5, -1.0)``.
    kind : str
        Of perturbation.
    level : float
        Share of proportional outcomes for which the check of an outcome fails, and of sets of proportional features for which
        that of the features does.

    Returns
    -------
    list of Check or NotApplicable
        One of the features together, which names those that do not respond in proportion, then one per outcome. ``statistic`` is
        Hotelling's T squared over families (of features: the largest), ``df`` 2. The note says how large it is: the response
        per unit of dose at the largest level, against the smallest; the part that both directions of a draw share, against the
        whole response at the largest level; and the share of all squares that is not in proportion. A check fails where the
        departure is beyond errors and one of the first two is larger than a tenth.

    Raises
    ------
    InputError
        For levels that are no series, or runs that are not at these levels.

    Notes
    -----
    Of every draw the response is taken apart into what is linear, quadratic and cubic in the level. Two scores a draw are summed over
    families: the quadratic part, and the cubic part by the sign of the linear one (saturation, thresholds). What a clean run adds by chance is in
    neither: it is the same at all levels. No equation, and no other feature, is assumed; a feature that bends says nothing against
    an effect of the feature on an outcome that does the same. Not valid where the error of a sampled outcome depends on the dose, or
    below 20 families; quadratic parts that differ in sign from draw to draw show in the share of squares only.

    Measured: ``benchmarks/diagnostics/dose_series.py``. Source: Hotelling 1931, 10.1214/aoms/1177732979.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> from mrinterp.diagnostics import dose_series_checks
    >>> from mrinterp.perturbations import ColumnNoise, DoseSeries, perturb
    >>> levels = (0.5, 2.0, -0.5, -2.0)
    >>> table = np.random.default_rng(0).normal(size=(60, 2))
    >>> made = perturb(table, [DoseSeries(ColumnNoise(), levels, kind="noise")], runs_per_input=8, placebos=0)
    >>> x = made.inputs
    >>> panel = mrinterp.from_arrays(features=x, outcomes=np.c_[x[:, 0], np.maximum(x[:, 1], 0)], **made.columns())
    >>> [c.verdict for c in dose_series_checks(panel, levels)]
    ['passed', 'passed', 'failed']
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    checked_number(level, "level", least=1e-9, most=0.5)
    sizes = _checked_levels(levels)
    chosen = panel.select(kinds=(kind,))
    families = chosen.runs.loc[chosen.runs["kind"] == kind, "family"].nunique()
    if families < FEWEST:
        return [NotApplicable(f"{families} families; scores of families need at least {FEWEST}", NAME)]
    found = _responses(chosen, kind, sizes)
    K, O = len(panel.feature_names), len(panel.outcome_names)
    checks: list[Check | NotApplicable] = [_of_features(found, sizes, panel.feature_names, level)]
    for o, outcome in enumerate(panel.outcome_names):
        name = f"{NAME}: {outcome}"
        if not found.moving[K + o]:
            checks.append(NotApplicable("the outcome does not vary in these runs", name))
            continue
        failed = bool(found.fails(level / O)[K + o])
        checks.append(
            _check(
                name, found, K + o, failed, f"The outcome's response {found.words(K + o, sizes)}.", outcome
            )
        )
    return checks


@dataclass(frozen=True, eq=False)
class _Responses:
    """How every trait (T,), features first, responds over the levels.

    Parameters
    ----------
    moving : ndarray (T,) of bool
    T2, neglog10p : ndarray (T,)
        Hotelling's T squared of the two scores, and its tail.
    growth : ndarray (T,)
        Response per unit of dose at the largest level over that at the smallest, less 1.
    shared : ndarray (T,)
        Mean of what both directions of a draw share at the largest level, over the root mean square response there.
    share : ndarray (T,)
        Of the squares of all changes, what is not in proportion.
    """

    moving: NDArray[np.bool_]
    T2: Array
    neglog10p: Array
    growth: Array
    shared: Array
    share: Array

    def fails(self, level: float) -> NDArray[np.bool_]:
        """Departures beyond errors at a level, and larger than a tenth."""
        large = np.fmax(np.abs(self.growth), np.abs(self.shared)) > BENT
        return np.asarray(self.moving & large & (self.neglog10p > -np.log10(level)))

    def words(self, t: int, sizes: Array) -> str:
        """The size of a trait's departure."""
        small, large, times = np.abs(sizes).min(), np.abs(sizes).max(), 1 + self.growth[t]
        grows = f"is {times:.2f} of that at {small:g}" if np.isfinite(times) else "has no direction"
        return (
            f"per unit of dose at level {large:g} {grows}; what both directions of a draw share is {self.shared[t]:+.0%} of the response there; {self.share[t]:.1%} of all squares are not in"
            f" proportion (p {10.0 ** -self.neglog10p[t]:.2g})"
        )


def _checked_levels(levels: Sequence[float]) -> Array:
    sizes = np.asarray(levels, dtype=float)
    known = sizes.ndim == 1 and bool(np.isfinite(sizes).all()) and len(np.unique(sizes)) == len(sizes)
    if not known or len(sizes) < 4 or not np.allclose(np.sort(sizes), np.sort(-sizes)) or (sizes == 0).any():
        fix = "Give two or more different sizes, each up and down: (0.5, 1.0, -0.5, -1.0)"
        raise InputError("levels", listed([f"{s:g}" for s in np.atleast_1d(sizes).ravel()]) or "none", fix)
    return sizes


def _responses(panel: Panel, kind: str, sizes: Array) -> _Responses:
    """Linear, quadratic and cubic responses of all traits, draw by draw, and their scores by families."""
    change, L = panel.changes(), len(sizes)
    order = np.argsort(pd.factorize(change.prompt)[0], kind="stable")
    _refuse_other_levels(panel, change.doses[order], change.prompt[order], sizes)
    y = np.concatenate([change.features, change.outcomes], axis=1)[order].reshape(
        -1, L, len(panel.feature_names) + len(panel.outcome_names)
    )
    moving = changes_beyond_rounding(
        y.reshape(-1, y.shape[2]),
        np.concatenate([np.asarray(panel.features), np.asarray(panel.outcomes)], axis=1),
    )
    linear, square = sizes / (sizes @ sizes), sizes**2 / (sizes**4).sum()
    cubic = sizes**3 - sizes * (sizes**4).sum() / (sizes @ sizes)
    cubic = cubic / (cubic @ cubic)
    a, q, c = (np.einsum("l,dlt->dt", weights, y) for weights in (linear, square, cubic))
    codes, names = families_of(change.family[order][::L])
    scores = np.zeros((len(names), 2, y.shape[2]))
    np.add.at(scores, codes, np.stack([q, c * np.sign(a)], axis=1))
    strong, weak = (np.abs(sizes) == size for size in (np.abs(sizes).max(), np.abs(sizes).min()))
    with np.errstate(divide="ignore", invalid="ignore"):
        per_dose = [
            (np.einsum("l,dlt->dt", which / sizes / which.sum(), y) * a).sum(axis=0)
            for which in (strong, weak)
        ]
        growth = per_dose[0] / per_dose[1] - 1.0
        shared = y[:, strong].mean(axis=(0, 1)) / np.sqrt((y[:, strong] ** 2).mean(axis=(0, 1)))
        squares = (y**2).sum(axis=(0, 1))
        share = np.clip(1.0 - (sizes @ sizes) * (a**2).sum(axis=0) / squares, 0.0, 1.0)
    T2, p = _hotelling(scores)
    straight = share <= ROUNDING**2
    return _Responses(moving, np.where(straight, 0.0, T2), np.where(straight, 0.0, p), growth, shared, share)


def _refuse_other_levels(panel: Panel, doses: Array, prompt: NDArray[np.object_], sizes: Array) -> None:
    """Refuse runs that are not at the levels, or whose draws are not whole."""
    L = len(sizes)
    codes, names = pd.factorize(prompt)
    count = np.bincount(codes)
    if (count % L).any():
        which = int(np.flatnonzero(count % L)[0])
        raise InputError(
            f"prompt {names[which]!r}", f"{count[which]} runs for {L} levels", "Run every draw at every level"
        )
    real = ~panel.instruments["placebo"].to_numpy(dtype=bool)
    drawn = doses[:, real].reshape(len(doses) // L, L, -1)
    off = np.abs(drawn - drawn[:, :1] * (sizes / sizes[0])[:, None]).max(axis=(1, 2))
    bad = np.flatnonzero(off > SAME * np.abs(drawn).max(axis=(1, 2)))
    if len(bad):
        fix = "Give the levels in the order in which each draw was run"
        raise InputError(f"doses of prompt {prompt[bad[0] * L]!r}", "not one draw at the levels", fix)


def _hotelling(scores: Array) -> tuple[Array, Array]:
    """T squared of the mean of scores (C, 2, T), and -log10 p of F on 2 and C - 2 degrees of freedom; 0 without variation."""
    C, mean = len(scores), scores.mean(axis=0)
    left = scores - mean
    xx, yy = (left**2).sum(axis=0) / (C - 1)
    xy = (left[:, 0] * left[:, 1]).sum(axis=0) / (C - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(xy / np.sqrt(xx * yy), -1 + 1e-12, 1 - 1e-12)
        u, v = mean[0] / np.sqrt(xx), mean[1] / np.sqrt(yy)
        T2 = C * (u**2 - 2 * r * u * v + v**2) / (1 - r**2)
    T2 = np.nan_to_num(T2, nan=0.0, posinf=0.0)
    return T2, (C - 2) / 2 * np.log1p(T2 / (C - 1)) / np.log(10.0)


def _of_features(
    found: _Responses, sizes: Array, names: tuple[str, ...], level: float
) -> Check | NotApplicable:
    """Which features do not respond in proportion."""
    K = len(names)
    count = int(found.moving[:K].sum())
    if not count:
        return NotApplicable("no feature moves in these runs", f"{NAME}: features")
    failed = found.fails(level / count)[:K]
    bent = tuple(names[k] for k in np.flatnonzero(failed))
    size = np.where(found.moving[:K], np.fmax(np.abs(found.growth), np.abs(found.shared))[:K], -1.0)
    worst = int(np.where(failed, size + 1e6, size).argmax())
    said = (
        f"{len(bent)} of {count} features do not respond in proportion ({listed(bent)})"
        if bent
        else "all features respond in proportion to the dose, to a tenth"
    )
    note = f"{said}; of {names[worst]} the response {found.words(worst, sizes)}."
    return _check(f"{NAME}: features", found, worst, bool(bent), note, features=bent)


def _check(
    name: str,
    found: _Responses,
    t: int,
    failed: bool,
    note: str,
    outcome: str = "",
    features: tuple[str, ...] = (),
) -> Check:
    return Check(
        name=name,
        null_in_words="a change grows in proportion to the dose",
        statistic=float(found.T2[t]),
        df=2.0,
        neglog10p=float(found.neglog10p[t]),
        verdict="failed" if failed else "passed",
        note=note,
        outcome=outcome,
        features=features,
        next_step="Read effects as those of changes of this size; the path over the levels and the contrasts show others",
    )
