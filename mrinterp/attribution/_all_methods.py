"""All attribution methods on one bench."""

from __future__ import annotations

from mrinterp.attribution._correlation import correlation
from mrinterp.attribution._gradient import attribution_patching, gradient, gradient_times_activation
from mrinterp.attribution._integrated_gradients import integrated_gradients
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.attribution._method import Target
from mrinterp.attribution._relp import relp as relevance_patching
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features
from mrinterp.results._attribution_scores import AttributionScores

__all__ = ["all_methods"]


def all_methods(
    bench: Bench,
    features: Features | str | int | None = None,
    *,
    target: Target = "mean",
    steps: int = 16,
    relp: bool = False,
) -> AttributionScores:
    """What cheaper methods would have answered in place of a knockout, by the name of the method.

    Parameters
    ----------
    bench : Bench
        The inputs, features and outcome of the knockouts that they are compared with.
    features : names or numbers, optional
        Of which features results are returned; default all of the view.
    target : "mean", "zero", Kind, array or ModelInputs
        What attribution patching and integrated gradients put in: as in `attribution_patching`.
    steps : int
        Backward passes of integrated gradients.
    relp : bool
        Whether relevance patching is among them: its rules are those of layer-wise relevance propagation, on which patent
        claims exist (see `mrinterp.attribution.relp`).

    Returns
    -------
    AttributionScores
        ``correlation``, ``linear_probe``, ``gradient``, ``gradient_times_activation``,
        ``attribution_patching``, ``integrated_gradients``, where asked for ``relp``: each the effect of one unit more of the
        feature, so that all can be compared with one knockout (`beside_knockout`).

    Raises
    ------
    InputError
        As the methods do: for a feature that the view does not have, a target that does not fit, or a network for which
        `relp` has no rule.

    Notes
    -----
    None of these numbers is valid as the effect of a knockout without one to compare it with: see the notes of
    each method.

    Examples
    --------
    >>> from mrinterp.attribution import all_methods
    >>> from mrinterp.worlds import gated_world
    >>> scores = all_methods(gated_world(families=10).bench(), "silent", target="zero")
    >>> round(scores["gradient"].beta.item(), 6), scores["correlation"].beta.item() > 0.5
    (0.0, True)
    """
    return AttributionScores(
        methods={
            "correlation": correlation(bench, features),
            "linear_probe": linear_probe(bench, features),
            "gradient": gradient(bench, features),
            "gradient_times_activation": gradient_times_activation(bench, features),
            "attribution_patching": attribution_patching(bench, features, target=target),
            "integrated_gradients": integrated_gradients(bench, features, target=target, steps=steps),
            **({"relp": relevance_patching(bench, features, target=target)} if relp else {}),
        }
    )
