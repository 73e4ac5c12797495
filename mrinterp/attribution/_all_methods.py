"""All cheap comparators on one bench."""

from __future__ import annotations

from mrinterp.attribution._correlation import correlation
from mrinterp.attribution._gradient import attribution_patching, gradient, gradient_times_activation
from mrinterp.attribution._integrated_gradients import integrated_gradients
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.attribution._method import Target
from mrinterp.knockouts._bench import Bench
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates

__all__ = ["comparators"]


def comparators(
    bench: Bench, target: Target = "mean", steps: int = 16
) -> dict[str, Estimates | NotApplicable]:
    """What users of cheaper methods would have answered, by method name.

    Parameters
    ----------
    bench : Bench
        The inputs, features and outcome of the knockouts that they are held against.
    target : "mean", "zero", Kind, array or ModelInputs
        What attribution patching and integrated gradients put in.
    steps : int
        Backward passes of integrated gradients.

    Returns
    -------
    dict of str to Estimates or NotApplicable
        ``correlation``, ``linear_probe``, ``gradient``, ``gradient_times_activation``,
        ``attribution_patching``, ``integrated_gradients``: each the effect of one unit more of the
        feature, so that all can be held against one knockout (`beside_knockout`).
    """
    few = NotApplicable(
        f"{bench.prompts} prompts: a slope with intercept needs at least three", "correlation"
    )
    return {
        "correlation": correlation(bench) if bench.prompts >= 3 else few,
        "linear_probe": linear_probe(bench),
        "gradient": gradient(bench),
        "gradient_times_activation": gradient_times_activation(bench),
        "attribution_patching": attribution_patching(bench, target),
        "integrated_gradients": integrated_gradients(bench, target, steps),
    }
