"""Manipulation check: did the perturbations move the site, and did placebos leave it alone?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from mrinterp.core.panel import Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.mr._runs.run_level import MIN_PARTIAL_VARIANCE, run_data
from mrinterp.results._check import Check, NotApplicable

__all__ = ["identification_checks", "manipulation_checks"]


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
        the mean square of the placebos' z-scores, or why there is none.

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
        size = float(np.sqrt((change.features[of_kind] ** 2).mean()))
        checks.append(
            Check(
                name=f"manipulation: {kind}",
                null_in_words="the perturbation leaves the site unchanged",
                statistic=f,
                df=float(columns.sum()),
                neglog10p=float("nan"),
                verdict="passed" if share > 0.5 else ("warning" if share > 0 else "failed"),
                note=f"{share:.1%} of {len(of_kind)} runs changed the site; median first-stage F of"
                f" {int(columns.sum())} instruments {f:.1f}; features moved by {size:.2f} sd (root mean square).",
            )
        )
    placebo = sumstats.instruments["placebo"].to_numpy(dtype=bool)
    if not placebo.any():
        checks.append(NotApplicable("the design has no placebo instruments", "placebo instruments"))
        return checks
    return [*checks, _placebo_check(z[:, placebo], str(sumstats.meta.get("kind", "all")))]


def _placebo_check(z: np.ndarray, kind: str) -> Check | NotApplicable:
    """Mean square of the placebos' z-scores (traits, placebos): 1 where errors are right.

    The traits of one placebo are correlated, so that placebos, not z-scores, are counted: the bound
    is three standard errors of the mean of as many chi-squares.
    """
    z = z[np.isfinite(z).any(axis=1)]
    z = z[:, np.isfinite(z).all(axis=0)]
    if not z.size:
        return NotApplicable("too few runs for an error of any placebo", "placebo instruments")
    square, count = float((z**2).mean()), z.shape[1]
    bound = 1 + 3 * np.sqrt(2 / max(count, 1))
    share = float((np.abs(z) > stats.norm.ppf(0.975)).mean())
    return Check(
        name=f"placebo instruments: {kind}",
        null_in_words="no-op perturbations have no effect on any trait",
        statistic=square,
        df=float(count),
        neglog10p=float("nan"),
        verdict="passed" if square <= bound else "failed",
        note=f"mean square of the z-scores of {count} placebos on {len(z)} traits {square:.2f} (1 expected, up to"
        f" {bound:.2f} by chance); {share:.1%} lie beyond 1.96 (5% expected).",
    )


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
