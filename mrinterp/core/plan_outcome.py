"""The outcome sections of a study file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mrinterp.core.errors import InputError
from mrinterp.core.section import Section, is_none, refuse_unused_keys

__all__ = ["OutcomeSection"]

# For each kind: keys that it needs, keys that it may have.
OUTCOME_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "anchor_contrast": (("positive",), ("negative",)),
    "anchor_similarity": (("positive",), ("negative",)),
    "logit": (("target",), ("position",)),
    "logit_difference": (("target", "against"), ("position",)),
    "probability": (("target",), ("position", "log")),
    "margin": (("target",), ("position",)),
    "continuation_log_probability": ((), ("per_token",)),
    "loss": ((), ("position",)),
    "answer_difference": ((), ("position",)),
    "kl_to_clean": ((), ("position",)),
    "projection": (("direction",), ("position",)),
    "callable": (("function",), ()),
    "given": (("given",), ()),
    "generated": (("function",), ("new_tokens", "temperature", "stop")),
}


class OutcomeSection(Section):
    """One number per run."""

    name: str = Field(description="Name of the outcome in tables and figures.")
    kind: Literal[
        "anchor_contrast",
        "anchor_similarity",
        "logit",
        "logit_difference",
        "probability",
        "margin",
        "continuation_log_probability",
        "loss",
        "answer_difference",
        "kl_to_clean",
        "projection",
        "callable",
        "given",
        "generated",
    ] = Field(
        default="anchor_contrast",
        description="`anchor_contrast`, `anchor_similarity` (the sentence embedding against anchor sentences); `logit`,"
        " `logit_difference`, `probability`, `margin` (of tokens or classes); `continuation_log_probability`, `loss`"
        " (against the prompt table's own continuation or label); `answer_difference` (logit of each prompt's own right"
        " answer minus that of its wrong one); `kl_to_clean` (divergence from the clean run);"
        " `projection` (of the hidden state on a direction); `callable` (your own function of the output);"
        " `generated` (your own judge of sampled text); `given` (a function or outcome that was given from memory).",
    )
    positive: tuple[str, ...] = Field(
        default=(),
        description="For anchor outcomes: sentences on whose mean embedding the sentence embedding is projected.",
    )
    negative: tuple[str, ...] = Field(
        default=(), description="For anchor outcomes: sentences whose mean embedding is subtracted."
    )
    target: int | str | None = Field(
        default=None, description="Token (as text or number) or class (number or name) whose logit counts."
    )
    against: int | str | None = Field(
        default=None, description="For `logit_difference`: the token or class whose logit is subtracted."
    )
    log: bool = Field(
        default=False,
        description="For `probability`: whether to take its natural logarithm.",
    )
    position: int | str | None = Field(
        default=None,
        description="Token at which the output is read: `last`, a number, or for `projection` also `mean`; left out,"
        " the last token for logits and the mean for `projection`.",
    )
    per_token: bool = Field(
        default=False,
        description="For `continuation_log_probability`: whether to take the mean over the continuation's tokens instead"
        " of the sum, in nats.",
    )
    direction: str | None = Field(
        default=None,
        description="For `projection`: `.npy`, `.npz` or `.csv` file with the direction, one number per coordinate.",
    )
    function: str | None = Field(
        default=None,
        description="`package.module:function`, shown and asked about before it is imported; for `callable` it maps the output and the attention mask to one number"
        " per run, for `generated` it maps one text to a number.",
    )
    given: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="For `given`: what was given from memory, in Python (`Study.from_model`); it lies in no file. Not meant to"
        " be written by hand.",
    )
    new_tokens: int = Field(
        default=16, ge=1, le=4096, description="For `generated`: how many tokens are generated at most."
    )
    temperature: float = Field(
        default=1.0,
        ge=0,
        description="For `generated`: temperature of the sampling; 0 takes the most probable token.",
    )
    stop: int | str | None = Field(
        default=None,
        description="For `generated`: token that ends a text; left out, texts have their full length.",
    )
    sampling: Literal["none", "normal", "bernoulli"] = Field(
        default="none",
        description="`none` takes the outcome as computed; `normal` adds a judge's noise to it; `bernoulli` is a judge"
        " who answers yes (1) or no (0), yes with probability 1 / (1 + exp(-(value - midpoint) / noise)).",
    )
    replicates: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="Draws per run of a sampled or generated outcome; their mean is the run's outcome, so that the noise"
        " of the draws is part of every standard error.",
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="Standard deviation of a `normal` judge's noise, or width of a `bernoulli` judge's threshold, in"
        " units of the outcome.",
    )
    midpoint: float = Field(
        default=0.0,
        description="Value at which a `bernoulli` judge says yes half of the time, in units of the outcome.",
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        refuse_unused_keys(self, OUTCOME_KEYS, ("name", "sampling", "replicates", "noise", "midpoint"))
        if self.kind == "generated" and self.sampling != "none":
            raise InputError("sampling", "a generated outcome is sampled anyway", "Leave sampling out")
        return self

    @property
    def drawn(self) -> bool:
        """Whether the outcome holds draws: no gradient passes through them."""
        return self.sampling != "none" or self.kind == "generated"
