"""The truth about a network by brute force: every feature, every kind of knockout, every prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._kinds.mean import Mean
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._kinds.shift import Shift
from mrinterp.knockouts._kinds.zero import Zero
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.worlds._world import Truth

__all__ = ["NATURAL_SD", "causal_label", "exhaustive_truth"]

NATURAL_SD = 2.563
"""Natural standard deviations from the .1 to the .9 quantile of a normal feature: what a contrast is divided by."""
BOUND = 1.645
"""Standard errors from a number to its one-sided 95% bound."""
SIGN_VARIES = 2.0
"""Half widths of the ROPE from which the size of a resampling change makes a cause of a feature whose mean contrast is
inside it: some prompts then go up where others go down."""


def exhaustive_truth(
    bench: Bench,
    borrows_from: Mapping[str, str] | None = None,
    group: Mapping[str, str] | None = None,
    causal: Sequence[str] | None = None,
    donors: int = 2,
) -> Truth:
    """Knock out every feature of a bench on every prompt, in every way.

    Parameters
    ----------
    bench : Bench
        F features on P prompts, O outcomes.
    borrows_from : mapping of str to str, optional
        Impostors by name, and the cause whose effect each shows. Those that turn out to be causes of their own, or whose
        cause turns out to be none, borrow nothing.
    group : mapping of str to str, optional
        Copies by name, and the feature that each is a copy of.
    causal : sequence of str, optional
        The causes, where how the network was made says which they are. Default: by knockouts, see Notes.
    donors : int
        Of resampling, per prompt.

    Returns
    -------
    Truth
        Effects ``contrast`` (high less low, token by token), ``resample``, ``mean``, ``zero`` (knocked out less clean),
        ``shift`` (per sd of the feature as the bench reads it) and ``resample rms`` (root mean square over prompts and
        donors, unsigned), in outcome units; their errors over families like the bench's; the ROPE, .02 sd of the outcome
        per natural sd.

    Raises
    ------
    InputError
        For a name that is no feature of the bench.

    Notes
    -----
    Causal: the contrast per natural sd (divided by 2.563) is larger than the ROPE, or the root mean square resampling
    change divided by the root of 2 larger than two of them. Exact on the bench's own prompts.

    Examples
    --------
    >>> import mrinterp
    >>> truth = mrinterp.worlds.exhaustive_truth(mrinterp.worlds.gated_world(families=10).bench())
    >>> truth.causal[:, 0].tolist(), truth.effects["zero"].round(2)[2:4, 0].tolist()
    ([True, False, False, False, False], [-1.0, -1.0])
    """
    names = tuple(bench.view.names)
    number = {name: k for k, name in enumerate(names)}
    for given in (*(borrows_from or {}).items(), *(group or {}).items(), tuple(causal or ())):
        for name in given:
            if name not in number:
                raise InputError("features", f"{name!r}", f"Give names of the bench's features: {names[:5]}")
    kinds: tuple[Kind, ...] = (Contrast(), Resample(donors=donors), Mean(), Zero(), Shift())
    effects, errors = {}, {}
    for kind in kinds:
        # What features are shifted by is the reading itself; all else is written token by token.
        placed = bench if kind.name == "shift" else bench.by_token
        found = knock_out(placed, kind, draws=2, allow_off_support=True)
        effects[kind.name], errors[kind.name] = found.mean, found.mean_se
        if kind.name == Resample.name:
            effects["resample rms"] = found.rms_change
            errors["resample rms"] = (found.rms_upper - found.rms_bound) / (2 * BOUND)
    rope = ROPE_SD * bench.clean.std(axis=0)
    if causal is None:
        label = causal_label(effects, rope)
    else:
        label = np.repeat(np.isin(names, list(causal))[:, None], len(rope), axis=1)
    return Truth(
        names,
        tuple(bench.outcome.names),
        label,
        _borrowed(np.asarray(label.any(axis=1)), number, borrows_from or {}),
        np.array([number[(group or {}).get(name, name)] for name in names]),
        effects,
        errors,
        rope,
        bench.values.reshape(-1, bench.features).std(axis=0),
    )


def causal_label(effects: Mapping[str, NDArray[np.float64]], rope: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which features (F, O) change the outcome by more than the ROPE (O,), by contrast and by resampling."""
    label = np.abs(effects["contrast"]) / NATURAL_SD > rope
    return np.asarray(label | (effects["resample rms"] / np.sqrt(2) > SIGN_VARIES * rope))


def _borrowed(
    causal: NDArray[np.bool_], number: Mapping[str, int], given: Mapping[str, str]
) -> NDArray[np.int_]:
    out = np.full(len(causal), -1)
    for name, cause in given.items():
        if causal[number[cause]] and not causal[number[name]]:
            out[number[name]] = number[cause]
    return out
