"""Is the equation that MR rests on right? Tests of it on the runs themselves, one outcome at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csr_matrix

from mrinterp.core.checks import checked_number, checked_type
from mrinterp.core.panel import Panel
from mrinterp.core.shown import listed
from mrinterp.mr._runs.run_level import RunData, run_data
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.sign_flip import sign_flip_test

__all__ = ["specification_checks", "tested_check"]

Array = NDArray[np.float64]

FEWEST = 20
"""Families with which signs of families say something."""
RUN_LEVEL, LEAST_SQUARES = ("within", "tsls"), ("within",)
NOT_MOVED = 0.001
"""Probability of as large a conditional F, without any movement, above which a feature counts as not moved."""
RUNS_PER_COLUMN = 15
"""Runs for each column below which squares of predictions follow the errors: with 2 to 5, .40 to .72 false alarms."""
NO_ERROR_LEFT = 1e-3
"""Share of an error's variance that fitting must leave for the rest to be scaled up."""
ROUNDING = 1e-12
"""Share of the outcome's squares below which a residual is rounding."""
SAME = 1e-5
"""Length of a direction of doses, over the longest, below which it adds no dimension."""


def specification_checks(
    panel: Panel, rank: int | None = None, level: float = 0.05
) -> list[Check | NotApplicable]:
    """Tests of the equation *outcome change = effects x feature changes + bypass*: one of its features, five per outcome.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; default the panel's chosen rank.
    level : float
        Share of outcomes with a right equation for which any of the five fails.

    Returns
    -------
    list of Check or NotApplicable
        First ``moved by doses of their own``: the features that doses move only as they move the other columns, such as
        consequences of the outcome. Then for every outcome:

        ``doses beyond the cut``: do doses still explain what features and bypass leave of the outcome? A cause that is left
        out, pleiotropy, or a consequence of the outcome among the features makes it fail.
        ``over-identification``: do all doses give the same effects in two-stage least squares?
        ``curvature``: do squares and cubes of the predicted change still explain something?
        ``slope changes with size``: do the effects depend on how large the perturbation is, as behind a gate?
        ``least squares against two stages``: does what moves features without a dose (sampling, a common driver) change
        the effects?

        ``statistic`` is a z-score, ``df`` the dimensions tested; each is compared with ``level`` over the number of tests
        that apply to its outcome. ``rungs`` names the estimates that a failure makes doubtful: where all doses give the same
        effects in two stages, doses beyond the cut make least squares doubtful only.

    Raises
    ------
    InputError
        For anything but a panel, or a level beyond .5.

    Notes
    -----
    Every test asks whether the families' scores Z'e sum to zero, e the residual and Z what is tested with the fitted columns
    taken out of it, against random signs of the families (`sign_flip_test`): valid with more doses than families, with unequal
    families and with errors correlated inside a family. Residuals are scaled up, family by family, by what fitting took from
    them: with half as many columns as runs the level still holds (without, every right equation failed). A test that passes has found nothing: a cause that is moved
    in proportion to a listed feature by every dose shows in none. Needs 20 families (with 20 right equations fail in .10, with 60 in .04, of level .05).

    Strength is the conditional F of every feature given the other columns (Sanderson & Windmeijer 2016,
    10.1016/j.jeconom.2015.06.004), compared with no movement at all.

    Source: Sargan 1958, 10.2307/1907619 and Hansen 1982, 10.2307/1912775 (over-identification); Ramsey 1969,
    10.1111/j.2517-6161.1969.tb00796.x (curvature); Hausman 1978, 10.2307/1913827; signs of families: Canay, Romano & Shaikh
    2017, 10.3982/ECTA13081.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> [c.verdict for c in mrinterp.diagnostics.specification_checks(panel)]
    ['passed', 'passed', 'passed', 'passed', 'passed', 'passed']
    >>> mrinterp.diagnostics.specification_checks(panel, rank=0)[1].verdict  # the paths around the features left out
    'failed'
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    checked_number(level, "level", least=1e-9, most=0.5)
    data = run_data(panel, rank).full_rank()
    if data.families < FEWEST:
        reason = f"{data.families} families; signs of families need at least {FEWEST}"
        return [NotApplicable(reason, f"specification: {o}") for o in panel.outcome_names]
    fitted = _Fitted(data)
    found: list[Check | NotApplicable] = [_moved_alone(fitted)]
    for o, outcome in enumerate(panel.outcome_names):
        if data.flat[o]:
            found.append(
                NotApplicable("the outcome does not vary in these runs", f"specification: {outcome}")
            )
            continue
        found += _of_outcome(fitted, o, outcome, level)
    return found


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Least squares and two stages of all outcomes, and sums of scores over families."""

    data: RunData

    @cached_property
    def columns(self) -> Array:
        """Features and bypass (N, d), each of mean square 1."""
        columns = np.concatenate([self.data.X, self.data.R], axis=1)
        return np.asarray(columns / np.sqrt((columns**2).mean(axis=0)))

    @cached_property
    def space(self) -> Array:
        """Orthonormal basis of the columns (N, d)."""
        return np.asarray(np.linalg.qr(self.columns)[0])

    @cached_property
    def doses(self) -> Array:
        """Orthonormal basis of what the doses span (N, J)."""
        return _basis(self.data.doses())

    @cached_property
    def residual(self) -> Array:
        """What least squares leaves of the outcomes (N, O)."""
        return self.beyond(self.data.Y)

    @cached_property
    def first_stage(self) -> Array:
        """The columns in coordinates of the doses (J, d)."""
        return np.asarray(self.doses.T @ self.columns)

    @cached_property
    def member(self) -> csr_matrix:
        """Which family (C) every run (N) belongs to."""
        codes = families_of(self.data.change.family)[0]
        return csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))

    @cached_property
    def pull(self) -> Array:
        """What every run adds to the effects by two stages (N, d)."""
        return np.asarray(self.doses @ np.linalg.pinv(self.first_stage).T)

    def beyond(self, what: Array) -> Array:
        """What the columns leave of other columns."""
        return np.asarray(what - self.space @ (self.space.T @ what))

    @cached_property
    def full(self) -> Array:
        """The residual (N, O) as large, within every family, as the errors that it is made of."""
        return self.scaled_up(self.residual, self.space, self.space)

    def scaled_up(self, residual: Array, left: Array, right: Array) -> Array:
        """Residuals (N, O) of u - left right' u, family by family of the covariance of u: fitting takes some of it."""
        inner, out = right.T @ right, np.empty_like(residual)
        codes = families_of(self.data.change.family)[0]
        for rows in np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1]):
            cross = left[rows] @ right[rows].T
            covariance = np.eye(len(rows)) - cross - cross.T + left[rows] @ inner @ left[rows].T
            size, axes = np.linalg.eigh(covariance)
            # What fitting took as good as whole cannot be scaled up; it is left as it is.
            weight = np.where(size > NO_ERROR_LEFT, 1 / np.sqrt(np.maximum(size, NO_ERROR_LEFT)), 1.0)
            out[rows] = axes @ (weight[:, None] * (axes.T @ residual[rows]))
        return out

    def test(self, tested: Array, residual: Array, full: Array) -> tuple[float, float, int]:
        """z, -log10 p and dimensions of scores of `tested` (N, q) with a residual (N,), as it is and scaled up."""
        length = np.sqrt((tested**2).sum(axis=0))
        kept = tested[:, length > SAME * max(length.max(initial=0.0), 1e-300)]
        kept = kept / np.sqrt((kept**2).sum(axis=0))
        z, p = sign_flip_test(np.asarray(self.member @ (kept * full[:, None])), kept.T @ residual)
        return z, p, kept.shape[1]

    def against(self, columns: Array, o: int) -> tuple[float, float, int]:
        """The same of columns (N, q) that the fitted ones may explain, with what least squares leaves of one outcome."""
        return self.test(self.beyond(columns), self.residual[:, o], self.full[:, o])


def _moved_alone(fitted: _Fitted) -> Check | NotApplicable:
    """Which features no dose moves beyond what it does to the other columns."""
    name, data = "moved by doses of their own", fitted.data
    (J, d), p = fitted.first_stage.shape, data.X.shape[1]
    N = len(fitted.columns)
    if d > J or J + data.change.absorbed >= N:
        return NotApplicable(f"{J} doses that vary by themselves for {d} columns", name)
    # Column k less its prediction from the others by the doses is columns @ pull[:, k], with `own` squares along the doses.
    inverse = np.linalg.pinv(fitted.first_stage.T @ fitted.first_stage, hermitian=True)
    own = 1 / np.diag(inverse)
    alone = fitted.columns @ (inverse * own)
    rest = (alone**2).sum(axis=0) - ((fitted.doses.T @ alone) ** 2).sum(axis=0)
    F = (own * (N - J - data.change.absorbed) / ((J - d + 1) * np.maximum(rest, 1e-300)))[:p]
    unmoved = np.flatnonzero(stats.f.isf(NOT_MOVED, J - d + 1, N - J - data.change.absorbed) > F)
    names = tuple(data.panel.feature_names[data.columns[k]] for k in unmoved)
    least = data.panel.feature_names[data.columns[int(F.argmin())]]
    return Check(
        name=name,
        null_in_words="doses move the feature only as they move the other columns",
        statistic=float(F.min()),
        df=float(J - d + 1),
        neglog10p=float("nan"),
        verdict="failed" if names else "passed",
        note=f"{len(names)} of {p} features are not moved by doses beyond the other columns"
        + (f" ({listed(names)})" if names else "")
        + f"; least conditional F {F.min():.1f} ({least}).",
        features=names,
        rungs=RUN_LEVEL,
        next_step="A consequence of other features or of the outcome, or too few instruments: add instruments, or rest the"
        " claim on knockouts",
    )


def _basis(columns: Array) -> Array:
    """Orthonormal basis of what columns (N, J) span, by their Gram matrix: N is many times J."""
    size, axes = np.linalg.eigh(columns.T @ columns)
    kept = size > SAME**2 * max(float(size.max(initial=0.0)), 1e-300)
    return np.asarray(columns @ (axes[:, kept] / np.sqrt(size[kept])))


def _of_outcome(fitted: _Fitted, o: int, outcome: str, level: float) -> list[Check | NotApplicable]:
    """The five tests of one outcome, at one level together."""
    y, residual = fitted.data.Y[:, o], fitted.residual[:, o]
    if float(residual @ residual) <= ROUNDING * float(y @ y):
        reason = (
            "features and bypass explain the outcome to the last digit: nothing is left to test. Where a feature is read"
            " after the outcome is decided, it is a consequence of it"
        )
        return [NotApplicable(reason, f"specification: {outcome}")]
    found = {name: _TESTS[name](fitted, o) for name in _TESTS}
    applying = sum(not isinstance(f, str) for f in found.values())
    stages = found["over-identification"]
    agree = not isinstance(stages, str) and stages[0][1] <= -np.log10(level / applying)
    checks: list[Check | NotApplicable] = []
    for name, what in found.items():
        if isinstance(what, str):
            checks.append(NotApplicable(what, f"{name}: {outcome}"))
            continue
        tested, note = what
        null, rungs, step = _WORDS[name]
        # Its residual is that of least squares, which may be what is wrong.
        if name == "doses beyond the cut" and agree:
            rungs = LEAST_SQUARES
        checks.append(tested_check(name, outcome, tested, level / applying, note, (null, rungs, step)))
    return checks


def tested_check(
    name: str,
    outcome: str,
    tested: tuple[float, float, int],
    level: float,
    note: str,
    words: tuple[str, tuple[str, ...], str],
) -> Check:
    """The check of what was tested with a probability: z, -log10 p and dimensions (`_Fitted.test`) of one outcome, at a level.

    ``words``: the null, the rungs that a failure bears on, and what to do.
    """
    (z, p, df), (null, rungs, step) = tested, words
    return Check(
        name=f"{name}: {outcome}",
        null_in_words=null,
        statistic=z,
        df=float(df),
        neglog10p=p,
        verdict="failed" if p > -np.log10(level) else "passed",
        note=f"{note} (p = {10**-p:.2g}).",
        outcome=outcome,
        rungs=rungs,
        next_step=step,
    )


Found = tuple[tuple[float, float, int], str] | str


def _doses_beyond(fitted: _Fitted, o: int) -> Found:
    tested = _basis(fitted.beyond(fitted.doses))
    if not tested.shape[1]:
        return "features and bypass carry everything that the doses do: no dose is left to test with"
    y = fitted.data.Y[:, o]
    share = float(((tested.T @ y) ** 2).sum() / (y @ y))
    carried = 1 - float(fitted.residual[:, o] @ fitted.residual[:, o] / (y @ y))
    note = f"features and bypass explain {carried:.1%} of the outcome's changes, doses another {share:.2%}"
    return fitted.test(tested, fitted.residual[:, o], fitted.full[:, o]), note


def _over_identification(fitted: _Fitted, o: int) -> Found:
    J, d = fitted.first_stage.shape
    if d >= J:
        return f"{J} doses that vary by themselves for {d} columns: none is left over"
    y = fitted.data.Y[:, o]
    theta = np.linalg.lstsq(fitted.first_stage, fitted.doses.T @ y, rcond=None)[0]
    left_over = np.linalg.qr(fitted.first_stage, mode="complete")[0][:, d:]
    residual = y - fitted.columns @ theta
    full = fitted.scaled_up(residual[:, None], fitted.columns, fitted.pull)[:, 0]
    found = fitted.test(fitted.doses @ left_over, residual, full)
    return found, f"{J - d} doses more than columns, z {found[0]:.1f}"


def _curvature(fitted: _Fitted, o: int) -> Found:
    (N, d), least = fitted.columns.shape, RUNS_PER_COLUMN
    if least * d > N:
        return f"{N} runs for {d} columns: predictions follow the errors, and it needs {least} runs a column"
    predicted = fitted.data.Y[:, o] - fitted.residual[:, o]
    scaled = predicted / max(float(np.sqrt((predicted**2).mean())), 1e-300)
    tested = fitted.beyond(np.stack([scaled**2, scaled**3], axis=1))
    found = fitted.test(tested, fitted.residual[:, o], fitted.full[:, o])
    return found, f"square and cube of the predicted change, z {found[0]:.1f}"


def _with_size(fitted: _Fitted, o: int) -> Found:
    p = fitted.data.X.shape[1]
    size = np.sqrt((fitted.columns**2).mean(axis=1))
    # Less its part that is the same for all runs: that the columns carry already.
    tested = fitted.beyond(fitted.columns[:, :p] * (size - size.mean())[:, None])
    found = fitted.test(tested, fitted.residual[:, o], fitted.full[:, o])
    return found, f"each feature times the size of the perturbation, {p} in all, z {found[0]:.1f}"


def _two_ways(fitted: _Fitted, o: int) -> Found:
    J, d = fitted.first_stage.shape
    if d > J:
        return f"{J} doses that vary by themselves for {d} columns: two stages do not identify the effects"
    unmoved = fitted.columns - fitted.doses @ fitted.first_stage
    if float((unmoved**2).sum()) <= ROUNDING * float((fitted.columns**2).sum()):
        return "the doses determine every change of features and bypass: both ways are one"
    found = fitted.test(fitted.beyond(unmoved), fitted.residual[:, o], fitted.full[:, o])
    share = float((unmoved**2).sum() / (fitted.columns**2).sum())
    return found, f"{share:.0%} of what features and bypass do comes from no dose, z {found[0]:.1f}"


_TESTS: dict[str, Callable[[_Fitted, int], Found]] = {
    "doses beyond the cut": _doses_beyond,
    "over-identification": _over_identification,
    "curvature": _curvature,
    "slope changes with size": _with_size,
    "least squares against two stages": _two_ways,
}
_WORDS = {
    "doses beyond the cut": (
        "features and bypass carry all that the doses do to the outcome",
        RUN_LEVEL,
        "List more bypass components, or more features: a path around them, or a consequence of the outcome among them, is"
        " likely",
    ),
    "over-identification": (
        "every dose gives the same effects",
        RUN_LEVEL,
        "List more bypass components or features, or rest the claim on knockouts",
    ),
    "curvature": (
        "the outcome changes in proportion to features and bypass",
        RUN_LEVEL,
        "Use smaller perturbations, or rest the claim on contrasts",
    ),
    "slope changes with size": (
        "effects do not depend on the size of the perturbation",
        RUN_LEVEL,
        "Use smaller perturbations, or rest the claim on contrasts: a gate or a threshold is likely",
    ),
    "least squares against two stages": (
        "what moves features without a dose does not move the outcome on another way",
        LEAST_SQUARES,
        "Read two-stage least squares instead: something unmeasured moves features and outcome together",
    ),
}
"""Per test: the null, the rungs that a failure bears on, and what to do."""
