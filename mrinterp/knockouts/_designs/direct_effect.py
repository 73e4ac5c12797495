"""Total effect of a knockout, its direct effect with the layers downstream frozen, and the gap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.adapters._kept_activations import KeptActivations
from mrinterp.adapters._site_order import later_sublayers
from mrinterp.core.checks import checked_level
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, outcome_rope, resolutions, unread
from mrinterp.results._designs.direct_effect import DirectEffect
from mrinterp.stats.clustered.interval import ClusteredInterval, clustered_interval

__all__ = ["direct_effect"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


def direct_effect(
    bench: Bench,
    values: Replacement,
    features: Features | None = None,
    *,
    freeze: Sequence[str] | None = None,
    rope_sd: float = 0.02,
    level: float = 0.95,
    allow_off_support: bool = False,
) -> DirectEffect:
    """Knock features out with everything downstream free, and again with it frozen to the clean run.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function.
    features : names or numbers, optional
        K features; default all of the view.
    freeze : sequence of str, optional
        Sites held at their clean activations. Default: the outputs of all attention and MLP sublayers
        after the site, as they are before the residual is added; () freezes nothing.
    rope_sd : float
        Region of practical equivalence of the indirect part, in sd of the clean outcome.
    level : float
        Confidence level of the intervals.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    DirectEffect
        Total, direct and indirect effects (K, O) with intervals, and words for what lies downstream.

    Raises
    ------
    InputError
        For unknown features, sites that do not exist or do not come after the bench's, or where no
        sublayer can be told by its name.

    Notes
    -----
    What "direct" means depends on what is frozen. With the outputs of all later sublayers frozen, what
    is left is the effect along the residual stream: the edited stream reaches the outcome through the
    skip connections and through whatever acts on it there - the normalizations of a post-norm network
    and the final one - which stay live. Where a network has no skip connection around a frozen site,
    the direct effect through it is zero by construction. The gap of total and direct is mediation
    downstream (the natural indirect effect against the clean run); it is called self-repair only where
    it opposes the direct effect and both intervals exclude zero. No correction for the number of
    features. Clean activations of the frozen sites are kept, (P, tokens, width) each: beyond
    1 GiB in a temporary file.

    Source: direct and indirect effects, Pearl 2001, arXiv:1301.2300; in networks, Vig et al. 2020,
    arXiv:2004.12265; self-repair, McGrath et al. 2023, arXiv:2307.15771.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> found = mrinterp.knockouts.direct_effect(bench, "mean", "linear", freeze=())
    >>> found.indirect.round(6)
    array([[0.]])
    """
    checked_level(level)
    region = outcome_rope(bench, rope_sd)
    numbers = feature_numbers(bench, features)
    K = len(numbers)
    new = replacement_values(bench, numbers, values, allow_off_support)
    sites = _sites(bench, freeze)
    edited = knock_out_sets(bench, numbers, new, np.arange(K)[:, None], "total effects")
    held = bench.activations(list(sites)) if sites else {}

    def edits(arm: Rows, prompt: Rows) -> Mapping[str, Edit]:
        made = {site: _held(value, prompt) for site, value in held.items()}
        return made | _knocked_out(bench, numbers, new, arm, prompt)

    key = digest([numbers, hashlib.sha256(new.tobytes()).hexdigest(), sites])
    frozen = bench.run(K + 1, edits, "direct effects", key)
    total, direct = edited.outcome - bench.clean, frozen[:K] - bench.clean
    t, d, gap = (
        clustered_interval(x.transpose(1, 0, 2), bench.family, level) for x in (total, direct, total - direct)
    )
    silent = unread(bench, total)
    downstream = _downstream(d, gap, region, 2 * resolutions(bench))
    if silent:
        downstream[:] = "indeterminate"
    return DirectEffect(
        features=tuple(bench.view.names[f] for f in numbers),
        outcomes=tuple(bench.outcome.names),
        frozen=sites,
        total=t.mean,
        total_se=t.se,
        direct=d.mean,
        direct_se=d.se,
        indirect=gap.mean,
        se=gap.se,
        lower=gap.lower,
        upper=gap.upper,
        downstream=downstream,
        rope=region,
        df=gap.df,
        level=level,
        noise_floor=bench.noise_floor(),
        freeze_error=float(np.abs(frozen[K] - bench.clean).max()),
        read_back_error=edited.read_back,
        status=(silent or "ok") if gap.df else ONE_FAMILY,
        meta={"outside_support": outside_support(bench, numbers, new)},
    )


def _sites(bench: Bench, freeze: Sequence[str] | None) -> tuple[str, ...]:
    if freeze is None:
        order = bench.order
        found = later_sublayers(order, bench.writes) if order else ()
        # A network of one layer has nothing later; one whose sublayers go by other names has none at all.
        if not found and not (order and later_sublayers(order, next(iter(order)))):
            raise InputError(
                "freeze",
                f"no attention or MLP sublayer is known by its name after {bench.writes}",
                "List the sites to freeze (adapter.sites() names them), or () for none",
            )
        return found
    for site in freeze:
        known = bench.order
        if site not in known and f"{site}@1" in known:
            continue  # it runs several times: the pass that reads it says which runs there are
        if site == bench.writes or (known and known.get(site, -1) <= known.get(bench.writes, -1)):
            raise InputError(
                f"freeze: {site!r}", f"is not reached after {bench.writes}", "Freeze sites that come after it"
            )
    return tuple(freeze)


def _held(value: KeptActivations, prompt: Rows) -> Edit:
    return lambda h: value.take(prompt).to(h)


def _knocked_out(
    bench: Bench, numbers: NDArray[np.int_], new: Array, arm: Rows, prompt: Rows
) -> dict[str, Edit]:
    """The edit of every run's own feature; arms from K on knock out nothing."""
    unique = np.unique(arm[arm < len(numbers)])
    if not len(unique):
        return {}
    chosen = numbers[unique]
    view, positions = bench.view.select(chosen), bench.inputs.take(prompt).at(bench.position)
    target = bench.values[prompt][..., chosen].copy()
    rows = np.flatnonzero(arm < len(numbers))
    column = np.searchsorted(unique, arm[rows])
    place = (rows, slice(None), column) if bench.each else (rows, column)
    given = new[arm[rows], prompt[rows]]
    target[place] = np.where(np.isnan(given), target[place], given)
    wanted = torch.from_numpy(target.reshape(len(prompt), -1))
    return {bench.site: lambda h: view.write(h, wanted.to(h.device), positions)}


def _downstream(
    direct: ClusteredInterval, gap: ClusteredInterval, region: Array, floor: Array
) -> NDArray[np.object_]:
    """Words (K, O) for what the gap is to the direct effect."""
    told = np.abs(direct.mean) > np.maximum(direct.critical * direct.se, floor)
    direction = np.where(told, np.sign(direct.mean), 0.0)
    found = ((gap.lower > 0) | (gap.upper < 0)) & (np.abs(gap.mean) > floor)
    out = np.full(gap.mean.shape, "indeterminate", dtype=object)
    out[found & (direction == 0)] = "mediation"
    out[found & (direction * gap.mean > 0)] = "amplification"
    out[found & (direction * gap.mean < 0)] = "self-repair"
    out[((gap.lower >= -region) & (gap.upper <= region)) | (np.abs(gap.mean) <= floor)] = "negligible"
    return out
