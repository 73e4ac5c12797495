"""How well the autoencoder whose latents are the features fits the site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrinterp.results._check import Check

__all__ = ["reconstruction_check"]

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
