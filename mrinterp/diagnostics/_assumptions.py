"""What MR's estimate takes for granted beyond its equation: are doses random, effects alike, and no family or kind alone behind it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mrinterp.core.checks import checked_number, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.shown import listed
from mrinterp.diagnostics._specification import FEWEST, NO_ERROR_LEFT, ROUNDING, _Fitted, tested_check
from mrinterp.mr._runs.run_level import run_data
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.redealt import redealt_test
from mrinterp.stats.tests.tails import critical_value

__all__ = ["assumption_checks"]

Array = NDArray[np.float64]
Found = list[Check | NotApplicable]
Groups = dict[str, Array] | str | None
"""Columns by attribute; a reason where none can be told; None where there is no attribute."""
BY_ATTRIBUTE = "subgroups by attributes"
LEVELS, WORDS = 3, 200
"""Values of an attribute that are told apart, the most frequent ones: more take the power of the test; and values beyond which an
attribute that is no number is a name of single prompts."""

RUN_LEVEL = ("within", "tsls")
OUTSIDE = 0.25
"""Share of a feature's readings beyond its clean range from which they count as extrapolated."""
OPPOSITE = 0.1
"""Share of families with the other sign from which an effect, or what a dose does, is not one and the same."""
KEPT = 0.75
"""What must be left of an estimate without any one family; with less than half its interval would hold 0 (jackknife errors)."""
MOST = 0.9
"""Share of what the outcome does that the bypass must carry alone to be worth a warning: that it carries some is no fault."""

NAMES = {
    "balance of doses": ("doses are unrelated to what prompts are without them", "Draw doses at random, or hold these prompts fixed"),
    "within against between prompts": (
        "runs of a prompt and differences between prompts give the same effects",
        "What differs between prompts moves the outcome too: read estimates within prompts, rest the claim on knockouts",
    ),
    "kinds of perturbation agree": (
        "every kind of perturbation gives the same effects",
        "Leave a kind out and read the rest: one of them acts around the cut, or effects bend",
    ),
    "subgroups of prompts": (
        "effects do not depend on the outcome that a prompt has without perturbation",
        "Estimate subgroups apart: the number is an average over prompts that differ",
    ),
    "subgroups by attributes": (
        "effects do not depend on the named attributes of prompts, such as the words of their slots",
        "Estimate subgroups apart: the number is an average over prompts that differ in what the attribute names",
    ),
    "up and down": (
        "a rise of a feature does what its fall takes back",
        "Rest the claim on contrasts: a threshold, a kink or an effect of one direction is likely",
    ),
}  # fmt: skip
"""Tests with a probability: the null in words, and what to do."""
STEPS = {
    "carried by one family": "Read it without that family (leave one out), and add families",
    "sign in new families": "The number is an average: it says nothing of a single prompt family. Estimate subgroups apart",
    "doses move it one way": "Effects of doses differ in sign: the estimate weighs families unequally, read it by subgroups",
    "overlap": "Use smaller perturbations: what is estimated there is an extrapolation",
    "share of the bypass": "List more features: nearly all that the outcome does goes around what is listed",
}


def assumption_checks(
    panel: Panel,
    rank: int | None = None,
    level: float = 0.025,
    attributes: Mapping[str, ArrayLike] | None = None,
) -> Found:
    """Exchangeability, homogeneity, monotonicity, overlap, and whether one family, one kind or the bypass is behind an estimate.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; default the panel's chosen rank.
    level : float
        Share of outcomes with a right equation for which any of the tests with a probability fails, as far as random signs of the
        families keep it: with 40 families it is .05 where .025 is asked for (``benchmarks/diagnostics/assumptions.py``).
    attributes : dict of str to array (N,), optional
        What is known of the prompts, by name, one value per run of the panel (that of a prompt's clean run counts): words, of which
        the three most frequent ones are told apart, or numbers. A study takes the words of its slots.

    Returns
    -------
    list of Check or NotApplicable
        Of all outcomes: ``balance of doses`` (randomization test against the clean features and outcomes of the prompts),
        ``overlap`` and ``doses move it one way`` (monotonicity of the strongest dose of every feature over families). Of every outcome:
        ``within against between prompts``, ``kinds of perturbation agree`` (leaving one kind out), ``subgroups of prompts``,
        ``subgroups by attributes`` (where attributes are given), ``up and down``; and, as warnings that name features: ``carried by one family`` (leaving one family out), ``sign in new
        families`` (heterogeneity between families, with the prediction interval of a new one) and ``share of the bypass``.

    Raises
    ------
    InputError
        For anything but a panel, a level beyond .5, or attributes of another length.

    Notes
    -----
    The tests of an outcome ask, like `specification_checks`, whether families' scores with columns beyond the fitted ones sum
    to zero, against random signs of the families, at ``level`` over the number that apply. Subgroups are a line in the clean
    outcome. Prediction intervals: a slope per family with its own error variance, their variance by DerSimonian and Laird. Not
    valid below 20 families; warnings have no level.

    Source: Mundlak 1978, 10.2307/1913646 (within against between); DerSimonian & Laird 1986, 10.1016/0197-2456(86)90046-2;
    Higgins, Thompson & Spiegelhalter 2009, 10.1111/j.1467-985X.2008.00552.x (prediction interval).

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> found = mrinterp.diagnostics.assumption_checks(panel)
    >>> sorted({c.verdict for c in found if not isinstance(c, mrinterp.results.NotApplicable)})
    ['passed']
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    checked_number(level, "level", least=1e-9, most=0.5)
    data = run_data(panel, rank).full_rank()
    if data.families < FEWEST:
        return [NotApplicable(f"{data.families} families; {FEWEST} are needed", "assumptions of MR")]
    if data.X.shape[1] + data.R.shape[1] + data.change.absorbed >= len(data.Y):
        return [NotApplicable("there are no more runs than columns", "assumptions of MR")]
    fitted = _Fitted(data)
    groups = _groups(fitted, attributes)
    found: Found = [_balance(panel), _overlap(panel), *_one_way(fitted)]
    for o, outcome in enumerate(panel.outcome_names):
        y, residual = data.Y[:, o], fitted.residual[:, o]
        if data.flat[o] or float(residual @ residual) <= ROUNDING * float(y @ y):
            found.append(
                NotApplicable("features and bypass leave nothing to test", f"assumptions: {outcome}")
            )
            continue
        found += _tested(fitted, o, outcome, level, groups)
        found += _described(fitted, o, outcome)
    return found


def _balance(panel: Panel) -> Check | NotApplicable:
    """Doses that prompts got against what prompts are without them, dealt out again among the prompts."""
    name = "balance of doses"
    clean = (panel.runs["kind"] == "clean").to_numpy()
    real = ~panel.instruments["placebo"].to_numpy(dtype=bool)
    if not clean.any():
        return NotApplicable("no prompt has a clean run", name)
    # A word in a slot is a dose that the clean prompt has too: what is assigned to runs alone can be balanced.
    real &= ~(np.asarray(panel.doses)[clean] != 0).any(axis=0)
    codes, names = families_of(panel.runs["prompt"].to_numpy())
    P = len(names)
    doses, count = np.zeros((P, int(real.sum()))), np.bincount(codes[~clean], minlength=P)
    np.add.at(doses, codes[~clean], np.asarray(panel.doses[~clean][:, real], dtype=float))
    state = np.zeros((P, len(panel.feature_names) + len(panel.outcome_names)))
    state[codes[clean]] = np.concatenate([panel.features[clean], panel.outcomes[clean]], axis=1)
    kept = count > 0
    dealt, traits = (a[kept] - a[kept].mean(axis=0) for a in (doses / np.maximum(count, 1)[:, None], state))
    dealt, traits = (a[:, a.std(axis=0) > 1e-9 * np.abs(a).max(initial=1e-300)] for a in (dealt, traits))
    if min(dealt.shape[1], traits.shape[1]) == 0 or len(dealt) < FEWEST:
        return NotApplicable("no dose that clean prompts lack differs between prompts", name)
    found = redealt_test(dealt / dealt.std(axis=0), traits / traits.std(axis=0))
    return Check(
        name=name,
        null_in_words=NAMES[name][0],
        statistic=found.z,
        df=float(dealt.shape[1]),
        neglog10p=found.neglog10p,
        verdict="failed" if found.neglog10p > 2.0 else "passed",
        note=f"{dealt.shape[1]} doses against {traits.shape[1]} clean readings of {len(dealt)} prompts, all together against"
        f" {found.deals} deals anew: p {10.0**-found.neglog10p:.2g} (fails below .01); the largest association is"
        f" {found.largest:.1f} of its errors.",
        rungs=("tsls",),
        next_step=NAMES[name][1],
    )


def _overlap(panel: Panel) -> Check | NotApplicable:
    """Share of perturbed readings beyond what the feature shows on clean prompts."""
    clean = (panel.runs["kind"] == "clean").to_numpy()
    if clean.sum() < FEWEST:
        return NotApplicable(f"{int(clean.sum())} clean runs; {FEWEST} are needed", "overlap")
    values = np.asarray(panel.features, dtype=float)
    low, high = values[clean].min(axis=0), values[clean].max(axis=0)
    share = ((values[~clean] < low) | (values[~clean] > high)).mean(axis=0)
    names = tuple(panel.feature_names[k] for k in np.flatnonzero(share > OUTSIDE))
    return _warning(
        "overlap",
        "perturbed readings lie in the range of clean ones",
        names,
        f"{share.mean():.0%} of perturbed readings lie beyond the range of the clean runs, at most {share.max():.0%}"
        f" ({panel.feature_names[int(share.argmax())]})",
        float(share.mean()),
    )


def _warning(
    name: str, null: str, names: tuple[str, ...], note: str, statistic: float, outcome: str = ""
) -> Check:
    """A check without a probability: what is worth a warning is named."""
    return Check(
        name=f"{name}: {outcome}" if outcome else name,
        null_in_words=null,
        statistic=statistic,
        df=float("nan"),
        neglog10p=float("nan"),
        verdict="warning" if names else "passed",
        note=note + (f"; doubtful: {listed(names)}." if names else "."),
        outcome=outcome,
        features=names,
        rungs=RUN_LEVEL,
        next_step=STEPS[name],
    )


def _tested(fitted: _Fitted, o: int, outcome: str, level: float, groups: Groups) -> Found:
    """The tests with a probability of one outcome, at one level together."""
    made = dict(_beyond_the_equation(fitted, o))
    if groups is not None:
        made[BY_ATTRIBUTE] = groups if isinstance(groups, str) else np.concatenate([*groups.values()], axis=1)
    applying = sum(not isinstance(t, str) for t in made.values())
    found: Found = []
    for name, tested in made.items():
        if isinstance(tested, str):
            found.append(NotApplicable(tested, f"{name}: {outcome}"))
            continue
        (null, step), answer = NAMES[name], fitted.against(tested, o)
        note = f"{answer[2]} columns beyond the fitted ones, z {answer[0]:.1f}"
        if name == BY_ATTRIBUTE and isinstance(groups, dict):
            note += "; by attribute " + ", ".join(
                f"{n} {fitted.against(c, o)[0]:.1f}" for n, c in groups.items()
            )
        words = (null, RUN_LEVEL, step)
        found.append(tested_check(name, outcome, answer, level / applying, note, words))
    return found


def _groups(fitted: _Fitted, attributes: Mapping[str, ArrayLike] | None) -> Groups:
    """By attribute the columns (N, q) that explain nothing where effects do not depend on it; why there are none."""
    if not attributes:
        return None
    data, panel = fitted.data, fitted.data.panel
    X, runs = fitted.columns[:, : data.X.shape[1]], panel.runs
    order = np.argsort((runs["kind"] != "clean").to_numpy(), kind="stable")
    own = order[np.unique(runs["prompt"].to_numpy()[order], return_index=True)[1]]
    row = dict(zip(runs["prompt"].to_numpy()[own], own.tolist(), strict=True))
    place = np.array([row[q] for q in data.change.prompt])
    prompt = families_of(data.change.prompt)[0]
    groups: dict[str, Array] = {}
    for name, values in attributes.items():
        given = np.asarray(values)
        if given.shape != (len(runs),):
            found = f"shape {given.shape} for {len(runs)} runs"
            raise InputError(f"attributes[{name!r}]", found, "Give one value per run of the panel")
        parts = [X * (c - c.mean())[:, None] for c in _told(given[place], prompt)]
        if parts:
            groups[name] = np.concatenate(parts, axis=1)
    return groups or f"no attribute has two values of {FEWEST} prompts each ({listed(tuple(attributes))})"


def _told(values: NDArray[Any], prompt: NDArray[np.int_]) -> list[Array]:
    """Columns (N,) that tell the values of an attribute: one for each that is frequent but the first, or its size where it is a number."""
    names, code = np.unique(
        values if values.dtype.kind in "iufb" else values.astype(str), return_inverse=True
    )
    count = (
        np.array([len(np.unique(prompt[code == k])) for k in range(len(names))])
        if len(names) <= WORDS
        else np.zeros(0)
    )
    if len(names) > LEVELS and values.dtype.kind in "iuf":
        return [(values - values.mean()) / values.std()]
    often = np.argsort(-count, kind="stable")[:LEVELS]
    often = often[count[often] >= FEWEST]
    if len(often) == len(names):  # the last one is what the others are not
        often = often[:-1]
    return [(code == k).astype(float) for k in often]


def _beyond_the_equation(fitted: _Fitted, o: int) -> Iterator[tuple[str, Array | str]]:
    """Columns (N, q) that explain nothing where effects are alike everywhere, or why there are none."""
    p = fitted.data.X.shape[1]
    X, change, panel = fitted.columns[:, :p], fitted.data.change, fitted.data.panel
    prompt = families_of(change.prompt)[0]
    count = np.bincount(prompt)[:, None]
    if change.absorbed:
        yield "within against between prompts", "prompts have no clean run: their differences are taken out"
    elif (count > 1).sum() < FEWEST:
        yield "within against between prompts", "prompts have one run each"
    else:
        mean = np.zeros((len(count), p))
        np.add.at(mean, prompt, X)
        yield "within against between prompts", (mean / count)[prompt]
    kinds = sorted(set(change.kind))
    if len(kinds) < 2:
        yield "kinds of perturbation agree", f"one kind of perturbation alone ({kinds[0]})"
    else:
        parts = [X * (change.kind == k)[:, None] for k in kinds[1:]]
        yield "kinds of perturbation agree", np.concatenate(parts, axis=1)
    clean = (panel.runs["kind"] == "clean").to_numpy()
    if change.absorbed or not clean.any():
        yield "subgroups of prompts", "no prompt has a clean run to sort it by"
    else:
        own = dict(zip(panel.runs["prompt"][clean], panel.outcomes[clean, o].tolist(), strict=True))
        level = np.array([own[q] for q in change.prompt])
        spread = level.std()
        flat = "the outcome is the same for all clean prompts"
        yield "subgroups of prompts", X * ((level - level.mean()) / spread)[:, None] if spread > 0 else flat
    size = np.abs(X)
    yield "up and down", size - size.mean(axis=0)


def _described(fitted: _Fitted, o: int, outcome: str) -> Found:
    """What has no probability: one family behind an estimate, families of the other sign, the bypass's share."""
    data, p = fitted.data, fitted.data.X.shape[1]
    names = [data.panel.feature_names[k] for k in data.columns]
    beta, se, without = _without_each_family(fitted, o)
    C = len(without)
    clear = np.abs(beta) > critical_value(0.95, float(C - 1)) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(clear, (without * np.sign(beta)).min(axis=0) / np.abs(beta), 1.0)
    alone = tuple(names[k] for k in np.flatnonzero(kept < KEPT))
    slopes, tau = _slopes_of_families(fitted, o)
    half = critical_value(0.95, float(max(C - 2, 1))) * np.hypot(tau, se)
    with np.errstate(divide="ignore", invalid="ignore"):
        opposite = np.where(tau > 0, stats.norm.sf(np.abs(beta) / np.where(tau > 0, tau, 1.0)), 0.0)
    varies = clear & (np.abs(beta) < half) & (opposite > OPPOSITE)
    worst = int(opposite.argmax())
    y = data.Y[:, o]
    own = np.linalg.qr(fitted.columns[:, :p])[0]
    whole = 1.0 - float(fitted.residual[:, o] @ fitted.residual[:, o] / (y @ y))
    share = 1.0 - float(((own.T @ y) ** 2).sum() / (y @ y)) / max(whole, 1e-300)
    return [
        _warning(
            "carried by one family",
            "no family alone makes a quarter of an estimate whose interval excludes 0",
            alone,
            f"leaving one of {C} families out keeps at least {kept.min():.0%} of every such estimate",
            float(kept.min()),
            outcome,
        ),
        _warning(
            "sign in new families",
            "an effect whose interval excludes 0 has the same sign in nearly all families",
            tuple(names[k] for k in np.flatnonzero(varies)),
            f"{int((tau > 0).sum())} of {p} effects differ between families; in a new family the one of {names[worst]} lies, at 95%, in"
            f" {beta[worst] - half[worst]:+.2g} to {beta[worst] + half[worst]:+.2g}, the other sign in {opposite[worst]:.0%} of them",
            float(opposite.max()),
            outcome,
        ),
        _warning(
            "share of the bypass",
            "listed features carry at least a tenth of what the outcome does",
            tuple(names) if share > MOST else (),
            f"features alone explain {1 - share:.0%} of what they and {data.R.shape[1]} bypass components do",
            share,
            outcome,
        ),
    ]  # fmt: skip


def _without_each_family(fitted: _Fitted, o: int) -> tuple[Array, Array, Array]:
    """Effects per column of mean square 1 (p,), their jackknife errors, and the effects without each family (C, p)."""
    Q, e, p = fitted.space, fitted.residual[:, o], fitted.data.X.shape[1]
    R = Q.T @ fitted.columns
    codes = families_of(fitted.data.change.family)[0]
    pulls = []
    for rows in np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1]):
        size, axes = np.linalg.eigh(Q[rows] @ Q[rows].T)
        left = 1.0 - np.clip(size, 0.0, 1.0)
        grown = axes @ (
            np.where(left > NO_ERROR_LEFT**2, 1 / np.maximum(left, NO_ERROR_LEFT**2), 0.0)
            * (axes.T @ e[rows])
        )
        pulls.append(Q[rows].T @ grown)
    both = np.asarray(
        np.linalg.solve(R, np.column_stack([Q.T @ fitted.data.Y[:, o], np.transpose(pulls)]))[:p],
        dtype=np.float64,
    )
    C = len(pulls)
    se: Array = np.sqrt((both[:, 1:] ** 2).sum(axis=1) * (C - 1) / C)
    return both[:, 0], se, np.asarray((both[:, :1] - both[:, 1:]).T, dtype=np.float64)


def _slopes_of_families(fitted: _Fitted, o: int) -> tuple[Array, Array]:
    """How far each family's slope (C, p) lies from the common one, and the sd of true slopes between families (p,)."""
    p, N = fitted.data.X.shape[1], len(fitted.columns)
    inverse = np.linalg.pinv(fitted.columns.T @ fitted.columns, hermitian=True)
    alone = fitted.columns @ (inverse[:, :p] / np.diag(inverse)[:p])
    e = fitted.residual[:, o] * np.sqrt(N / max(N - fitted.columns.shape[1], 1))
    square, cross = np.asarray(fitted.member @ alone**2), np.asarray(fitted.member @ (alone * e[:, None]))
    total = np.asarray(fitted.member @ (e**2))[:, None]
    count = np.asarray(fitted.member.sum(axis=1)).reshape(-1, 1)
    return _between(square, cross, total, count)


def _between(square: Array, cross: Array, total: Array, count: Array) -> tuple[Array, Array]:
    """Slopes (C, p) through the origin by family, less their mean, and their sd beyond errors (p,): DerSimonian and Laird."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(square > 0, cross / square, 0.0)
        # Families of one run have no error variance of their own: that of all stands for it.
        error = np.where(count > 2, (total - slope * cross) / np.maximum(count - 1, 1), np.nan)
        pooled = np.nansum(np.where(count > 2, total - slope * cross, 0.0), axis=0) / max(
            float((count - 1).sum()), 1.0
        )
        # Errors of few runs are uncertain, and small ones would weigh too much: half of the pooled one stands beside.
        error = 0.5 * np.where(np.isfinite(error), error, pooled) + 0.5 * pooled
        weight = np.where((square > 0) & (error > 0), square / error, 0.0)
        sum_ = weight.sum(axis=0)
        middle = (weight * slope).sum(axis=0) / sum_
        q = (weight * (slope - middle) ** 2).sum(axis=0)
        excess = q - ((weight > 0).sum(axis=0) - 1)
        tau = np.sqrt(np.maximum(excess / (sum_ - (weight**2).sum(axis=0) / sum_), 0.0))
    return slope - middle, np.nan_to_num(tau)


def _one_way(fitted: _Fitted) -> Found:
    """Whether the strongest dose of every feature moves it the same way in all families."""
    data = fitted.data
    doses = data.doses()
    if not doses.shape[1]:
        return [NotApplicable("no dose varies", "doses move it one way")]
    D, X = doses / np.sqrt((doses**2).mean(axis=0)), fitted.columns[:, : data.X.shape[1]]
    slopes = D.T @ X / len(X)
    first = np.abs(slopes).argmax(axis=0)
    chosen, mean = D[:, first], slopes[first, np.arange(X.shape[1])]
    rest = X - chosen * mean
    square, cross = np.asarray(fitted.member @ chosen**2), np.asarray(fitted.member @ (chosen * X))
    total = np.asarray(fitted.member @ X**2)
    count = np.asarray(fitted.member.sum(axis=1)).reshape(-1, 1)
    tau = _between(square, cross, total, count)[1]
    clear = np.abs(mean) > 4.0 * np.sqrt((rest**2).mean(axis=0) / len(X))
    opposite = np.where((tau > 0) & clear, stats.norm.sf(np.abs(mean) / np.where(tau > 0, tau, 1.0)), 0.0)
    names = [data.panel.feature_names[k] for k in data.columns]
    note = f"the strongest dose of each of {len(names)} features moves it the other way in {opposite.max(initial=0.0):.0%} of families at most"
    doubtful = tuple(names[k] for k in np.flatnonzero(opposite > OPPOSITE))
    null = "the strongest dose of a feature moves it the same way in nearly all families"
    return [_warning("doses move it one way", null, doubtful, note, float(opposite.max(initial=0.0)))]
