"""The outcome sections of a study file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mrinterp.core.errors import InputError
from mrinterp.core.section import Section, refuse_unused_keys

__all__ = ["OutcomeSection"]

OUTCOME_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "anchor_contrast": (("positive",), ("negative",)),
    "anchor_similarity": (("positive",), ("negative",)),
    "logit": (("target",), ("position",)),
    "logit_difference": (("target", "against"), ("position",)),
    "probability": (("target",), ("position", "log")),
    "margin": (("target",), ("position",)),
    "continuation_log_probability": ((), ("per_token",)),
    "loss": ((), ("position",)),
    "kl_to_clean": ((), ("position",)),
    "projection": (("direction",), ("position",)),
    "callable": (("function",), ()),
    "generated": (("function",), ("new_tokens", "temperature", "stop")),
}


class OutcomeSection(Section):
    """One number per run."""

    name: str
    kind: Literal[
        "anchor_contrast",
        "anchor_similarity",
        "logit",
        "logit_difference",
        "probability",
        "margin",
        "continuation_log_probability",
        "loss",
        "kl_to_clean",
        "projection",
        "callable",
        "generated",
    ] = "anchor_contrast"
    positive: tuple[str, ...] = ()
    """Anchor sentences; the outcome is the sentence embedding's projection on their mean ..."""
    negative: tuple[str, ...] = ()
    """... minus the mean of these."""
    target: int | str | None = None
    """Token (as text or id) or class (number or name)."""
    against: int | str | None = None
    """The token or class that is subtracted."""
    log: bool = False
    """Logarithm of the probability."""
    position: int | str | None = None
    """Where logits (default last) or the hidden state (default mean) are taken: ``last`` or an
    index; for the hidden state also ``mean``."""
    per_token: bool = False
    """Mean over the continuation's tokens instead of the sum."""
    direction: str | None = None
    """``.npy``, ``.npz`` or ``.csv`` file with the direction (width,)."""
    function: str | None = None
    """``package.module:function``: (output, mask) to one number per run; of a generated outcome, the
    judge of one text."""
    new_tokens: int = Field(default=16, ge=1, le=4096)
    temperature: float = Field(default=1.0, ge=0)
    stop: int | str | None = None
    """Token that ends a generated text."""
    sampling: Literal["none", "normal", "bernoulli"] = "none"
    """none: as computed. normal: a judge whose score is the value plus noise. bernoulli: a judge who
    answers yes with probability 1 / (1 + exp(-(value - midpoint) / noise))."""
    replicates: int = Field(default=1, ge=1, le=100_000)
    """Seeded draws per run of a sampled or generated outcome; their mean is the run's outcome, so that
    their noise enters every error."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of a normal judge's noise, or width of a bernoulli judge's threshold."""
    midpoint: float = 0.0
    """Value at which a bernoulli judge says yes half of the time."""

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        refuse_unused_keys(self, OUTCOME_KEYS, ("name", "sampling", "replicates", "noise", "midpoint"))
        if self.kind == "generated" and self.sampling != "none":
            raise InputError("sampling", "a generated outcome is sampled already", "Leave sampling out")
        return self

    @property
    def drawn(self) -> bool:
        """Whether the outcome holds draws: no gradient passes through them."""
        return self.sampling != "none" or self.kind == "generated"
