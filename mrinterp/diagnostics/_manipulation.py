"""Manipulation check: did the perturbations move the site, and did placebos leave it alone?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.panel import Changes, Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.mr._runs.run_level import MIN_PARTIAL_VARIANCE, run_data
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.redealt import redealt_test

__all__ = ["identification_checks", "manipulation_checks", "placebo_check"]

PLACEBO_LEVEL = 0.01
"""Probability below which the placebo check fails: a study runs one for every kind of perturbation."""

WITHOUT_F = "no first stage, since no instrument of this kind has effects with standard errors"
"""In place of the median F, of runs without edits among others."""

LEAST_PLACES = 6
"""Runs, prompts or families below which dealing out anew gives no small probability."""


def manipulation_checks(panel: Panel, sumstats: SumStats) -> list[Check | NotApplicable]:
    """Did the perturbations change the site, and did placebos leave it alone?

    Parameters
    ----------
    panel : Panel
        N runs of one split, all kinds of perturbation.
    sumstats : SumStats
        Marginal effects over the same runs (`marginal_scan`).

    Returns
    -------
    list of Check or NotApplicable
        Per kind of perturbation the share of runs that changed the site and the median first-stage F; then
        the placebos on all traits together (`placebo_check`), or why there is none.

    Notes
    -----
    Not valid as a test of the exclusion restriction: an instrument may move the site and yet act around the
    feature that is asked about. A median F below about 10 says that estimates of one feature at a time are weak.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> found = mrinterp.diagnostics.manipulation_checks(panel, mrinterp.scan.marginal_scan(panel))
    >>> found[0].verdict
    'passed'
    """
    change = panel.changes()
    checks: list[Check | NotApplicable] = []
    moved = np.asarray((np.abs(change.features) > 0).any(axis=1))
    beta, se = np.asarray(sumstats.beta, float), np.asarray(sumstats.se, float)
    # An outcome that a kind of perturbation never reaches has no error there, and no z-score.
    z = np.divide(beta, se, out=np.full(beta.shape, np.nan), where=se > 0)
    role = (sumstats.traits["role"] == "feature").to_numpy()
    for kind in sorted(set(change.kind)):
        of_kind = np.flatnonzero(change.kind == kind)
        share = float(moved[of_kind].mean())
        columns = (sumstats.instruments["kind"] == kind).to_numpy() & np.isfinite(beta).all(axis=0)
        f = float(np.nanmedian(z[role][:, columns] ** 2)) if columns.any() else float("nan")
        said = f"median first-stage F of {int(columns.sum())} instruments {f:.1f}"
        size = float(np.sqrt((change.features[of_kind] ** 2).mean()))
        checks.append(
            Check(
                name=f"manipulation: {kind}",
                null_in_words="the perturbation leaves the site unchanged",
                statistic=f,
                df=float(columns.sum()),
                neglog10p=float("nan"),
                verdict="passed" if share > 0.5 else ("warning" if share > 0 else "failed"),
                note=f"{share:.1%} of {len(of_kind)} runs changed the site; {said if np.isfinite(f) else WITHOUT_F};"
                f" features moved by {size:.2f} sd (root mean square).",
            )
        )
    placebo = sumstats.instruments["placebo"].to_numpy(dtype=bool)
    if not placebo.any():
        checks.append(NotApplicable("the design has no placebo instruments", "placebo instruments"))
        return checks
    kind = str(sumstats.meta.get("kind", "all"))
    return [*checks, placebo_check(panel if kind == "all" else panel.select(kinds=(kind,)), kind)]


def placebo_check(panel: Panel, kind: str = "all") -> Check | NotApplicable:
    """Do placebos move any trait, all of them tested together?

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt; some instruments are placebos.
    kind : str
        Kind of perturbation, for the check's name.

    Returns
    -------
    Check or NotApplicable
        Failed at p below .01. ``df`` counts the placebos.

    Notes
    -----
    A placebo's doses are drawn by a coin, whatever the runs do. So they are dealt out again among the runs of each prompt (among
    prompts, where a prompt has one run or one dose; among families, where a family has one), up to 1,999 times, and the squared
    length of their products with the changes of all F features and O outcomes, each on the scale of its own spread, is compared
    with that of the deals: exact, whatever the traits' tails and correlations, and however few the families. An average
    change that all runs share (of a corrupted prompt against its clean one) is no placebo effect: where a prompt has
    several runs, changes are taken from their mean, else from the mean of all runs. Level and power:
    `benchmarks/diagnostics/placebo_level.py`. Not valid for doses that were chosen, not drawn; with fewer than 6 places to
    deal to p cannot be small.

    Source: Fisher 1935, The Design of Experiments; Phipson & Smyth 2010, 10.2202/1544-6115.1585.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> print(mrinterp.diagnostics.placebo_check(panel))
    placebo instruments does not apply: the design has no placebo instruments
    """
    placebo = panel.instruments["placebo"].to_numpy(dtype=bool)
    if not placebo.any():
        return NotApplicable("the design has no placebo instruments", "placebo instruments")
    change = panel.changes()
    several = len(change.prompt) >= 2 * len(set(zip(change.prompt, change.kind, strict=True)))
    several = several and _varies(change.doses[:, placebo], _prompts(change))
    change = panel.deviations() if several else change
    doses, traits = (a - a.mean(axis=0) for a in (change.doses[:, placebo], _traits(change)))
    values = np.concatenate([np.asarray(panel.features, float), np.asarray(panel.outcomes, float)], axis=1)
    live = changes_beyond_rounding(traits, values)
    doses = doses[:, (np.abs(doses) > 0).any(axis=0)]
    dealt, moved, within = _places(change, doses, traits[:, live])
    if not live.any() or not doses.shape[1] or len(dealt) < LEAST_PLACES:
        return NotApplicable(
            f"{len(dealt)} places to deal them to, {int(live.sum())} traits that change, {doses.shape[1]} placebos that vary",
            "placebo instruments",
        )
    dealt, moved = (a / np.sqrt((a**2).mean(axis=0)).clip(1e-300) for a in (dealt, moved))
    found = redealt_test(dealt, moved, within)
    failed = found.neglog10p > -np.log10(PLACEBO_LEVEL)
    return Check(
        name=f"placebo instruments: {kind}",
        null_in_words="no-op perturbations have no effect on any trait",
        statistic=found.z,
        df=float(doses.shape[1]),
        neglog10p=found.neglog10p,
        verdict="failed" if failed else "passed",
        note=f"{doses.shape[1]} placebos on {int(live.sum())} traits, all together against {found.deals} deals of their doses"
        f" anew: p {10.0**-found.neglog10p:.2g} (fails below {PLACEBO_LEVEL:g}); the largest single effect is"
        f" {found.largest:.1f} of its errors.",
    )


def _places(
    change: Changes, doses: NDArray[np.float64], traits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int_] | None]:
    """Doses and traits of what doses were dealt to, and inside which groups: runs of a prompt, else prompts, else families."""
    prompt, family = _prompts(change), families_of(change.family)[0]
    if _varies(doses, prompt):
        return doses, traits, prompt
    place = prompt if _varies(doses, family) else family
    count = np.bincount(place)[:, None]
    dealt, moved = np.zeros((len(count), doses.shape[1])), np.zeros((len(count), traits.shape[1]))
    np.add.at(dealt, place, doses)
    np.add.at(moved, place, traits)
    return dealt / count, moved / count, None


def _prompts(change: Changes) -> NDArray[np.int_]:
    """Numbers of prompt and kind of every run."""
    return np.unique(
        [f"{p} {k}" for p, k in zip(change.prompt, change.kind, strict=True)], return_inverse=True
    )[1]


def _varies(doses: NDArray[np.float64], group: NDArray[np.int_]) -> bool:
    """Whether doses differ inside groups."""
    first = np.zeros(int(group.max(initial=-1)) + 1, dtype=int)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return bool((np.abs(doses - doses[first[group]]) > 1e-12).any())


def _traits(change: Changes) -> NDArray[np.float64]:
    """Changes of features and outcomes, side by side."""
    return np.concatenate([change.features, change.outcomes], axis=1)


def identification_checks(panel: Panel, kind: str, min_families: int) -> list[Check]:
    """Are there families, runs and independent changes enough for the within regression?

    Parameters
    ----------
    panel : Panel
        Runs of one split.
    kind : str
        The kind of perturbation whose runs make the estimate.
    min_families : int
        Fewest families with which errors clustered by family are trusted.

    Returns
    -------
    list of Check
        On families, residual degrees of freedom, and features that the other columns explain.

    Notes
    -----
    In the example one feature is a copy of another: neither has an effect by itself. Passing says that numbers can be computed, not that they are right: a path around the features that the
    bypass leaves out shows in none of these.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> [c.verdict for c in mrinterp.diagnostics.identification_checks(panel, "perturbed", 10)]
    ['passed', 'passed', 'warning']
    """
    chosen = panel.select(kinds=(kind,))
    change = chosen.changes()
    families = len(set(change.family))
    runs = len(change.prompt)
    columns = change.features.shape[1] + panel.rank + change.absorbed
    free = runs - columns
    return [
        Check(
            name="families",
            null_in_words="errors clustered by family have enough clusters",
            statistic=float(families),
            df=float("nan"),
            neglog10p=float("nan"),
            verdict="passed" if families >= min_families else "failed",
            note=f"{families} families in the estimation split; inference by instruments needs {min_families}.",
        ),
        Check(
            name="residual degrees of freedom",
            null_in_words="runs exceed fitted columns",
            statistic=float(runs),
            df=float(free),
            neglog10p=float("nan"),
            verdict="passed" if free > columns else "warning",
            note=f"{runs} runs, {columns} columns (bypass rank {panel.rank}): columns are {columns / runs:.0%} of runs.",
        ),
        _told_apart(chosen),
    ]


def _told_apart(panel: Panel) -> Check:
    """Features whose change the other columns explain have no effect of their own to be estimated."""
    data = run_data(panel)
    near = data.columns[data.partial_variance() < MIN_PARTIAL_VARIANCE]
    lost = np.unique(np.concatenate([near, data.dead, *(np.array(s.members) for s in data.sets)]).astype(int))
    names, count = [panel.feature_names[f] for f in lost], len(panel.feature_names)
    some = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
    return Check(
        name="features told apart",
        null_in_words="other features and the bypass explain a feature's change",
        statistic=float(len(names)),
        df=float(count),
        neglog10p=float("nan"),
        verdict="passed" if not names else ("failed" if len(names) == count else "warning"),
        features=tuple(names),
        rungs=("within", "tsls"),
        note=f"{len(names)} of {count} features are not identified by themselves{some}."
        + (
            " They do not change, or are linear combinations of each other or of the bypass, as all coordinates of a"
            " layer-normalized site are: list fewer, or choose components."
            if names
            else ""
        ),
    )
