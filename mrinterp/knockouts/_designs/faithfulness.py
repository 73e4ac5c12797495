"""Faithfulness and completeness curves of a ranking, and their areas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_draws, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import span_status
from mrinterp.results._designs.faithfulness import Faithfulness
from mrinterp.stats.agreement.circuit_area import MIB_PROPORTIONS, circuit_areas
from mrinterp.stats.clustered.family_draws import family_draws, percentile_interval

__all__ = ["faithfulness"]

Array = NDArray[np.float64]


def faithfulness(
    bench: Bench,
    values: Replacement,
    features: Features | None = None,
    *,
    proportions: Sequence[float] = MIB_PROPORTIONS,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    allow_off_support: bool = False,
) -> Faithfulness:
    """Keep the first features of a ranking and knock out the others, at growing sizes.

    Parameters
    ----------
    bench : Bench
        Its outcome is the metric m, averaged over prompts with equal weights.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function. The
        benchmark's own is the value on a counterfactual input.
    features : names or numbers, optional
        The ranking: n features, the most important first; default all of the view, in its order. Features
        that are not in it are never touched; rank all of them to ask about the whole site.
    proportions : sequence of float
        Sizes as shares of n, growing, within [0, 1].
    level : float
        Confidence level of the intervals.
    draws, seed : int
        Draws of the family bootstrap, and its seed: numerators and denominators are drawn together.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    Faithfulness
        Faithfulness and completeness at every size, and the areas of the curve.

    Raises
    ------
    InputError
        For unknown or repeated features, or proportions that do not grow within [0, 1].

    Notes
    -----
    As the benchmark defines it: a size is the whole part of proportion x n (few features make the smallest
    circuits empty, f = 0); f is a ratio of means over prompts, not a mean of ratios. Here components are
    the features of one site, not the nodes or edges of a whole graph: the numbers compare with others of
    the same site. Completeness is the faithfulness of the complement.

    Source: CPR and CMD, Mueller et al. 2025, arXiv:2504.13151; faithfulness and completeness, Wang et al.
    2023, arXiv:2211.00593, and Marks et al. 2025, arXiv:2403.19647.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> ranking = ["threshold", "saturated", "linear", "silent", "idle"]
    >>> found = mrinterp.knockouts.faithfulness(bench, "zero", ranking, proportions=[0.2, 0.6, 1])
    >>> found.faithfulness.ravel().round(3)
    array([0.34, 1.  , 1.  ])
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    numbers = feature_numbers(bench, features)
    shares = _checked(proportions)
    D, sizes = len(shares), np.array([int(share * len(numbers)) for share in shares])
    new = replacement_values(bench, numbers, values, allow_off_support)
    kept, rest, read_back = _nested(bench, numbers, new, sizes)
    empty = kept[0]
    rows = np.stack([*(kept[s] for s in sizes), *(rest[s] for s in sizes), bench.clean, empty], axis=1)
    means = rows.mean(axis=0)
    families = len(np.unique(bench.family))
    f, drawn = _normalized(means), _normalized(family_draws(rows, bench.family, draws, seed))
    status, df = span_status(bench, bench.clean - empty, level, "knocking all of them out")

    def known(x: Array) -> Array:
        return np.where(status == "ok", x, np.nan)

    cpr, cmd = circuit_areas(f[0], shares)
    drawn_areas = circuit_areas(np.moveaxis(drawn[:, 0], 1, 0), shares)
    f, low, high = (known(x) for x in (f, *percentile_interval(drawn, level, families)))
    cpr_ends, cmd_ends = (np.stack(percentile_interval(a, level, families)) for a in drawn_areas)
    return Faithfulness(
        ranking=tuple(bench.view.names[i] for i in numbers),
        outcomes=tuple(bench.outcome.names),
        proportions=shares,
        sizes=sizes,
        score=means[:D],
        score_complement=means[D : 2 * D],
        full=means[-2],
        empty=means[-1],
        faithfulness=f[0],
        lower=low[0],
        upper=high[0],
        completeness=f[1],
        completeness_lower=low[1],
        completeness_upper=high[1],
        cpr=known(cpr),
        cpr_interval=known(cpr_ends),
        cmd=known(cmd),
        cmd_interval=known(cmd_ends),
        status=status,
        df=df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=read_back,
        meta={"draws": draws, "seed": seed, "outside_support": outside_support(bench, numbers, new)},
    )


def _checked(proportions: Sequence[float]) -> Array:
    shares = np.asarray(proportions, dtype=float)
    if shares.ndim != 1 or len(shares) < 2 or (np.diff(shares) <= 0).any() or shares[0] < 0 or shares[-1] > 1:
        raise InputError("proportions", f"{list(proportions)}", "Give at least two, growing, within [0, 1]")
    return shares


def _nested(
    bench: Bench, numbers: NDArray[np.int_], new: Array, sizes: NDArray[np.int_]
) -> tuple[dict[int, Array], dict[int, Array], float]:
    """Outcomes (P, O) by size, of the first features alone and of all but them, and the worst read-back."""
    n = len(numbers)
    proper = np.unique(np.concatenate([[0], sizes[sizes < n]]))
    first = np.arange(n) < proper[:, None]
    members = np.concatenate([~first, first[proper > 0]])
    edited = knock_out_sets(bench, numbers, new, slots_of(members), "faithfulness")
    # The whole network is the clean run, and its complement the empty one: not run again.
    kept = dict(zip(proper.tolist(), edited.outcome, strict=False)) | {n: bench.clean}
    rest = dict(zip(proper[proper > 0].tolist(), edited.outcome[len(proper) :], strict=True))
    return kept, rest | {0: bench.clean, n: kept[0]}, float(edited.read_back.max(initial=0.0))


def _normalized(means: Array) -> Array:
    """Curves (..., 2, D, O) of means (..., 2 D + 2, O) that end with the full and the empty network."""
    full, empty = means[..., -2:-1, :], means[..., -1:, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        f = (means[..., :-2, :] - empty) / (full - empty)
    return np.asarray(f.reshape(*f.shape[:-2], 2, -1, f.shape[-1]))
