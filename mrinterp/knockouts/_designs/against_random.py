"""All features of a candidate list, knocked out beside random directions of the same site."""

from __future__ import annotations

from typing import Any

from mrinterp.core.checks import checked_choice, checked_count, checked_draws, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import ChannelMap
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._site_variation import random_directions, site_variation
from mrinterp.results._against_random import PER, AgainstRandom

__all__ = ["against_random"]

CONTROLS = 50
"""Random directions by default, where the site has as many dimensions."""


def against_random(
    bench: Bench,
    kind: str | Kind,
    features: Features | None = None,
    *,
    controls: int | None = None,
    per: str = "sd",
    draws: int = 1000,
    seed: int = 0,
    allow_off_support: bool = False,
    **options: Any,
) -> AgainstRandom:
    """Knock out every candidate, and random directions in the same way; rank the ones among the others.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    kind : str or Kind
        What is written, as for `knock_out`.
    features : names or numbers, optional
        The candidates; default all of the view.
    controls : int, optional
        Random directions; default 50, or as many as the site's support has dimensions where those are fewer.
    per : {"sd", "unit", "knockout"}
        What is compared: the effect per natural standard deviation of the feature, per unit of it, or the
        mean effect of the knockout itself.
    draws : int
        Draws of the family bootstrap.
    seed : int
        Of the random directions and of the bootstrap.
    allow_off_support : bool
        Run values far outside what a candidate shows all the same. Random directions always are; they are
        flagged where that happens.
    **options
        Of the kind, where it is given by name.

    Returns
    -------
    AgainstRandom
        The effects of candidates and random directions, and the rank of each candidate.

    Raises
    ------
    InputError
        As `knock_out` and `random_directions`; for another ``per``.

    Notes
    -----
    The directions are those of `random_directions`: random rotations of the site's natural variation, so that
    what a network does to any push of natural size is told from what it does to a candidate. The candidates'
    own effects, per input and with all checks, are those of `knock_out` with the same arguments.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> ranks = mrinterp.knockouts.against_random(bench, "mean", "linear", controls=3)
    >>> ranks.summary
    'features against random directions: 1 features, 3 controls, 1 outcomes'
    """
    checked_draws(draws), checked_seed(seed)
    checked_choice(per, "per", tuple(PER))
    if controls is not None:
        checked_count(controls, "controls")
    dimensions = len(site_variation(bench).axes)
    if not dimensions:
        raise InputError("random controls", f"activations of {bench.site} never vary", "Give several inputs")
    controls = min(CONTROLS, dimensions) if controls is None else controls
    drawn = random_directions(bench, controls, seed)
    view = ChannelMap(drawn) if isinstance(bench.view, ChannelMap) else drawn
    drawing = {"draws": draws, "seed": seed} | options
    effects = knock_out(bench, kind, features, allow_off_support=allow_off_support, **drawing)
    random = knock_out(bench.viewing(view), kind, allow_off_support=True, **drawing)
    return AgainstRandom.of(effects, random, per)
