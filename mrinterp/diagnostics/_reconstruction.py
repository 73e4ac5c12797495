"""A dictionary as a measurement of its site: what it misses, what writing a feature moves beside it, which latents share instruments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import MOVED, Dictionary
from mrinterp.core.checks import checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.shown import listed
from mrinterp.results._check import Check, NotApplicable

__all__ = ["dictionary_checks", "left_out_check", "past_checks", "reconstruction_check"]

Array = NDArray[np.float64]
Found = list[Check | NotApplicable]

MR_RUNGS, WRITTEN = ("within", "tsls", "observational"), ("rectified", "shift")
READ_BACK, SHARED, PAST = (
    "writes read back",
    "latents that share instruments",
    "past the dictionary",
)
OWN = 0.2
"""How far from 1 a feature's own reading may end when one unit is written; rounding is 1e-6."""
MOST = 4000
"""Features beyond which neither matrix of all pairs is made."""
ALIKE, KIN, TAKEN = 0.8, 0.3, -0.3
"""Cosine of what doses do to two features from which they share instruments; of their decoder rows, from which two latents are of one
direction; and of what doses do, below which one of two such latents takes over where the other falls silent (absorption)."""
FEW_DOSES = 10
"""Doses below which profiles are alike by chance."""
MUCH_PAST = 0.25
"""Share of an effect past the dictionary from which a warning is due."""

ENOUGH = 0.5
"""Share of variance below which most of the site is not in the latents."""


def reconstruction_check(facts: Mapping[str, Any], transcoder: bool = False) -> Check:
    """Reconstruction error, explained variance, active and dead latents, and loss recovered.

    Parameters
    ----------
    facts : mapping
        What the basis holds under ``sae``.
    transcoder : bool
        Whether they are of a transcoder, which predicts the site from another one.
    """
    recovered = facts["loss_recovered"]
    if isinstance(recovered, str):
        kept = f"loss recovered does not apply ({recovered})"
    else:
        kept = "loss recovered " + ", ".join(f"{v:.1%} ({name})" for name, v in recovered.items())
    explained = float(facts["explained_variance"])
    return Check(
        name="transcoder" if transcoder else "autoencoder",
        null_in_words="the latents carry none of the site's variance",
        statistic=explained,
        df=float(facts["tokens"]),
        neglog10p=float("nan"),
        verdict="passed" if explained >= ENOUGH else "warning",
        note=f"{facts['summary']}; {len(facts['dead'])} of {facts['latents']} latents dead on discovery; {kept}."
        f"{_fewer(facts)} {_rest(transcoder)}",
    )


def _rest(transcoder: bool) -> str:
    if transcoder:
        return "What it does not predict of the site stays there under every knockout."
    return "What it does not reconstruct is part of the bypass."


def _fewer(facts: Mapping[str, Any]) -> str:
    if "asked" not in facts:
        return ""
    return f" The plan asks for {facts['asked']} latents: {facts['taken']} live after training, and these are the features."


def left_out_check(facts: Mapping[str, Any]) -> Check:
    """Whether latents that go with an outcome were left out, and how strongly those that were can go with it at most.

    Parameters
    ----------
    facts : mapping
        What the basis holds under ``screen``.
    """
    more = facts["passed_left_out"]
    rare = (
        f"; {facts['unbounded']:,} change in fewer than 10 families and are not bounded"
        if facts["unbounded"]
        else ""
    )
    return Check(
        name="latents left out",
        null_in_words="no latent that was left out goes with an outcome",
        statistic=float(facts["missed_at_most"]),
        df=float(facts["families"] - 1),
        neglog10p=float("nan"),
        verdict="warning" if more else "passed",
        note=f"of {facts['latents']:,} latents {facts['changing']:,} change under the perturbations of the discovery split,"
        f" {facts['passed']:,} clearly with an outcome; {facts['taken']:,} were taken. With probability {1 - facts['level']:g}"
        f" none that was left out has a correlation above {facts['missed_at_most']:.2f} with an outcome{rare}. This bounds"
        " associations: a cause whose association other features cancel has none.",
        next_step=f"Raise features.count by {more:,}, or say that the study is of the strongest"
        if more
        else "",
    )


def past_checks(facts: Mapping[str, Any]) -> Found:
    """The share of what the perturbations do to each outcome that goes past the dictionary.

    Parameters
    ----------
    facts : mapping
        What the basis holds under ``sae``.
    """
    past = facts.get("past", "it was made by a version that did not ask")
    if isinstance(past, str):
        return [NotApplicable(past, PAST)]
    found: Found = []
    for outcome, (share, se) in past.items():
        if not np.isfinite(share):
            found.append(NotApplicable("no perturbation changes the outcome", f"{PAST}: {outcome}"))
            continue
        found.append(
            Check(
                name=f"{PAST}: {outcome}",
                null_in_words="what perturbations do to the outcome goes through the dictionary",
                statistic=share,
                df=float("nan"),
                neglog10p=float("nan"),
                verdict="warning" if abs(share) > MUCH_PAST else "passed",
                note=f"{share:.1%} (standard error {se:.1%}) of what the perturbations do to it is gone where the"
                " reconstruction takes the site's place.",
                outcome=outcome,
                rungs=MR_RUNGS,
                next_step="The latents measure the site with error: hold the reconstruction error fixed (bypass), or train more"
                " latents",
            )
        )
    return found


def dictionary_checks(dictionary: Dictionary, panel: Panel) -> Found:
    """Does writing a feature move it, and it alone; and which latents do the same doses move, so that instruments cannot part them?

    Parameters
    ----------
    dictionary : Dictionary
        Of F features; ``Study.basis.dictionary``.
    panel : Panel
        Runs of these features, in this order.

    Returns
    -------
    list of Check or NotApplicable
        ``writes read back``, from the read-back matrix: by how much every feature is read to have changed, in its own units, when one
        unit of another is written (``statistic``: the largest change of another). ``latents that share instruments``: pairs that the
        same doses move together (splitting), and pairs of one decoder direction of which one rises where the other falls
        (absorption); ``statistic`` counts the pairs. Both are warnings that name features: what is written is what it is, and only
        *this feature and no other* is not true of it.

    Raises
    ------
    InputError
        For anything but a dictionary and a panel, or features of other names.

    Notes
    -----
    Linear features are written by their dual directions, and read back exactly. Latents are written by decoder rows, and thresholds,
    top-k competition and overlapping rows move the readings of others: the read-back matrix is then measured on natural inputs, as
    a mean over these, and tells nothing of single ones. Pairs are compared by their doses' effects at least 10 doses give; not valid
    where doses hardly move the features, since profiles of noise are then compared.

    Source: Bricken et al. 2023, transformer-circuits.pub/2023/monosemantic-features (splitting); Chanin et al. 2024,
    10.48550/arXiv.2409.14507 (absorption).

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> from mrinterp.core.basis import MOVED, Dictionary
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> axes = np.eye(len(panel.feature_names))
    >>> exact = Dictionary(names=panel.feature_names, read=axes, write=axes, center=axes[0] * 0)
    >>> mrinterp.diagnostics.dictionary_checks(exact, panel)[0].verdict
    'passed'
    """
    checked_type(dictionary, "dictionary", Dictionary, "Study.basis.dictionary is one")
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    if dictionary.names != panel.feature_names:
        found = f"{listed(panel.feature_names)}; the dictionary has {listed(dictionary.names)}"
        raise InputError("panel features", found, "Give runs of the dictionary's features, in its order")
    if len(dictionary.names) > MOST:
        why = f"{len(dictionary.names):,} features; all pairs are held against one another up to {MOST:,}"
        return [NotApplicable(why, READ_BACK), NotApplicable(why, SHARED)]
    return [_written(dictionary), _sharing(dictionary, panel)]


def _written(dictionary: Dictionary) -> Check:
    matrix, names = dictionary.read_back, dictionary.names
    own, beside, leaking = np.diag(matrix), dictionary.moved_beside, dictionary.leaking
    away = np.abs(matrix - np.diag(own))
    to, of = np.unravel_index(int(away.argmax()), away.shape)
    off = tuple(names[k] for k in np.flatnonzero(np.abs(own - 1.0) > OWN))
    said = (
        f"; {len(leaking)} of {len(names)} move another by more than {MOVED:g}: {listed(leaking)}"
        if leaking
        else ""
    )
    said += (
        f"; {len(off)} read back less than {1 - OWN:g} or more than {1 + OWN:g} of their own" if off else ""
    )
    return Check(
        name=READ_BACK,
        null_in_words="writing one unit of a feature moves its own reading by one, and no other's",
        statistic=float(beside.max(initial=0.0)),
        df=float(len(names)),
        neglog10p=float("nan"),
        verdict="warning" if leaking or off else "passed",
        note=f"one unit written is read back as {own.min():.2g} to {own.max():.2g}; another feature moves by {beside.max():.2g} units at"
        f" most ({names[of]} moves {names[to]}){said}.",
        features=leaking or off,
        rungs=WRITTEN,
        next_step="Read it as the effect of writing the decoder row, not of this latent alone; Study.read_back names the others",
    )


def _sharing(dictionary: Dictionary, panel: Panel) -> Check | NotApplicable:
    """Pairs whose doses' effects are alike, and pairs of one direction whose doses' effects are opposite."""
    change = panel.changes()
    doses = change.doses[:, ~panel.instruments["placebo"].to_numpy(dtype=bool)]
    doses = doses[:, (doses != 0).any(axis=0)]
    if doses.shape[1] < FEW_DOSES:
        return NotApplicable(f"{doses.shape[1]} doses vary; {FEW_DOSES} are needed", SHARED)
    profile = _unit((doses / np.sqrt((doses**2).sum(axis=0))).T @ change.features)
    row = _unit(dictionary.write.T)
    alike, kin = np.triu(profile.T @ profile, 1), np.triu(row.T @ row, 1)
    split, absorbed = np.argwhere(alike >= ALIKE), np.argwhere((kin >= KIN) & (alike <= TAKEN))
    names = dictionary.names
    said = [
        f"{names[a]} and {names[b]} (profiles {alike[a, b]:+.2f}, decoder rows {kin[a, b]:+.2f})"
        for a, b in (*split, *absorbed)
    ]
    named = tuple(names[k] for k in np.unique(np.concatenate([split, absorbed])).tolist())
    words = f"{len(split)} pairs rise with the same doses (splitting), {len(absorbed)} of one decoder direction take over from one another (absorption)"
    return Check(
        name=SHARED,
        null_in_words="no two latents are moved by the same doses in the same proportions",
        statistic=float(len(said)),
        df=float(doses.shape[1]),
        neglog10p=float("nan"),
        verdict="warning" if said else "passed",
        note=words + (f": {listed(said)}." if said else "."),
        features=named,
        rungs=MR_RUNGS,
        next_step="Instruments cannot say which of a pair acts: read the pair as one, or rest the claim on knockouts",
    )


def _unit(columns: Array) -> Array:
    length = np.sqrt((columns**2).sum(axis=0))
    return np.asarray(columns / np.where(length > 0, length, 1.0))
