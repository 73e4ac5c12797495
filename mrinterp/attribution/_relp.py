"""Relevance patching: attribution patching with the propagation rules of RelP in place of the gradient."""

from __future__ import annotations

from mrinterp.attribution._gradient import first_order
from mrinterp.attribution._method import Target, attribution_estimates
from mrinterp.attribution._relevance_rules import RelevanceAdapter
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates

__all__ = ["relp"]

RULES = (
    "attention patterns, normalizers and the ratio of every activation function to its input stay as they are on the clean"
    " prompt"
)


def relp(
    bench: Bench, features: Features | str | int | None = None, *, target: Target = "mean"
) -> Estimates | NotApplicable:
    """Propagation coefficient times (value put in - clean value): relevance patching.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site of a ``torch.nn.Module``, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view.
    target : "mean", "zero", Kind, array or ModelInputs
        What would be put in: as in `attribution_patching`.

    Returns
    -------
    Estimates
        As `attribution_patching`; ``details["change"]`` is the mean predicted outcome change.
    NotApplicable
        Where every outcome is sampled, or one is discrete. One sampled outcome among others has nan and the
        reason as its status.

    Raises
    ------
    InputError
        For a feature that the view does not have, a target that does not fit the prompts, or a network with a module or
        function for which there is no rule: it is named.

    Notes
    -----
    Attribution patching, with coefficients in place of the gradient: what a layer norm (or a root-mean-square norm)
    divides by counts as a constant; an activation function as the constant act(x)/x times x; attention patterns as
    constants; of a product of two values each factor gets half; linear maps have their own weights. In a network without
    biases the coefficients times the values sum to the output. Between network and outcome (a probability of logits) the
    plain gradient is taken.

    Not valid where what the rules hold still is what matters: a feature that acts by moving attention has no coefficient
    for it.

    Written from the paper's abstract and its table of rules, not held against its authors' numbers. The rules are those of layer-wise relevance propagation (LRP), *on which patent claims exist*:
    whether they bear on your use is yours to find out. For that reason no other function calls this one unless it is asked
    to (``all_methods(bench, relp=True)``).

    Source: Rezaei Jafari et al. 2025, arXiv:2508.21258; the rules: Ali et al. 2022, arXiv:2202.07304.

    Examples
    --------
    >>> from mrinterp.attribution import relp
    >>> from mrinterp.worlds import gated_world
    >>> round(relp(gated_world().bench(), "linear", target="zero").beta.item(), 6)
    1.0
    """
    numbers = feature_numbers(bench, features)
    found = first_order(bench, target, RelevanceAdapter(bench.adapter))
    if isinstance(found, NotApplicable):
        return found
    return attribution_estimates(
        bench,
        numbers,
        method="relp",
        label="relevance patching",
        **found,
        assumes=(RULES, "the value put in is one that occurs beside everything else held"),
        reference="Rezaei Jafari et al. 2025, arXiv:2508.21258",
        meta={"target": target if isinstance(target, str) else type(target).__name__},
    )
