"""What features are: the inputs that move them most, the tokens and token classes that they respond to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Rows, Shape, unknown

__all__ = ["SHARES", "FeatureProfile", "FeatureProfiles"]

SHARES = (0.0, 0.01, 0.05, *(round(0.1 * k, 1) for k in range(1, 10)), 0.95, 0.99, 1.0)
"""Shares of its values below a feature's quantiles."""


@dataclass(frozen=True, kw_only=True)
class FeatureProfile:
    """One feature: what it responds to, and the inputs that move it most.

    Parameters
    ----------
    feature : str
    inputs, tokens, classes : DataFrame
        Rows of `FeatureProfiles` of this feature.
    mean, sd : float
        Of its values at the tokens where it is read, in units of the feature.
    share_active : float
        Share of those tokens at which it is not zero.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> profiles = example("FeatureProfiles")
    >>> profiles[profiles.features[0]].responds_to
    'good +1.5, bad -1.2'
    """

    feature: str
    inputs: pd.DataFrame
    tokens: pd.DataFrame
    classes: pd.DataFrame
    mean: float
    sd: float
    share_active: float

    @property
    def responds_to(self) -> str:
        """The tokens that it responds to most, with how far each moves it in its sd; empty where none does."""
        first = self.tokens.head(3)
        return ", ".join(f"{t} {d:+.1f}" for t, d in zip(first["token"], first["difference"], strict=True))

    def __str__(self) -> str:
        lines = [
            f"{self.feature}: mean {self.mean:.3g}, sd {self.sd:.3g}, not zero at {self.share_active:.0%} of tokens"
        ]
        if self.responds_to:
            lines.append(f"  responds to {self.responds_to} (sd)")
        for end, words in (("high", "highest"), ("low", "lowest")):
            rows = self.inputs[self.inputs["end"] == end].head(3)
            if len(rows):
                lines.append(f"  {words}:")
                lines += [f"    {v:+.2f}  {t}" for v, t in zip(rows["value"], rows["text"], strict=True)]
        if len(self.classes) > 1:
            found = [
                f"{c} {m:+.2f}"
                for c, m in zip(self.classes["token_class"], self.classes["mean"], strict=True)
            ]
            lines.append(f"  mean by token class: {', '.join(found)}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FeatureProfiles(Result):
    """What features are, from clean inputs.

    Parameters
    ----------
    features : tuple of str
    mean, sd, share_active : ndarray (F,)
        Of the values at the tokens where features are read, in units of the features; share of them that is not zero.
    inputs : DataFrame
        ``feature, end`` (``high`` or ``low``), ``rank, input`` (its number), ``family, value, token, token_class, text``: the
        inputs with the highest and the lowest value, one a family, with the token of that value between ``[[`` and ``]]``.
    tokens : DataFrame
        ``feature, token, difference`` (mean at this token less the mean over all, in sd of the feature), ``count, families,
        z``: largest z first. A token counts where it occurs in at least five families.
    classes : DataFrame
        ``feature, token_class, mean, sd, share_active, count``, and ``difference`` as for tokens.
    meta : dict
        Where features were read, and on how many inputs.
    quantiles : ndarray (F, Q)
        Of the same values, below which lie 0, 1, 5, 10, 20 ... 90, 95, 99 and 100% of them.

    Notes
    -----
    A description, not a claim: what moves a feature need not be what its effect rests on, and inputs that occur together are
    not told apart. z takes families as independent and is not adjusted for the number of tokens that were looked at.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("FeatureProfiles").summary)
    profiles of features: 3 features
    """

    KIND: ClassVar[str] = "profiles of features"
    HEADER: ClassVar[str] = "feature_profiles.json"

    features: Annotated[tuple[str, ...], Axis("F")]
    mean: Annotated[NDArray[np.float64], Shape("F")]
    sd: Annotated[NDArray[np.float64], Shape("F")]
    share_active: Annotated[NDArray[np.float64], Shape("F")]
    inputs: Annotated[
        pd.DataFrame,
        Rows(columns=("feature", "end", "rank", "input", "family", "value", "token", "token_class", "text")),
    ]
    tokens: Annotated[
        pd.DataFrame, Rows(columns=("feature", "token", "difference", "count", "families", "z"))
    ]
    classes: Annotated[
        pd.DataFrame, Rows(columns=("feature", "token_class", "mean", "sd", "share_active", "count"))
    ]
    meta: dict[str, Any] = field(default_factory=dict)
    quantiles: Annotated[NDArray[np.float64], Shape("F", len(SHARES))] = field(default_factory=unknown)

    def __getitem__(self, feature: str) -> FeatureProfile:
        """One feature by its name."""
        (k,) = self._at((feature,), self.features)
        own = {
            name: table[table["feature"] == feature].reset_index(drop=True)
            for name, table in (("inputs", self.inputs), ("tokens", self.tokens), ("classes", self.classes))
        }
        return FeatureProfile(
            feature=feature,
            mean=float(self.mean[k]),
            sd=float(self.sd[k]),
            share_active=float(self.share_active[k]),
            **own,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per feature: ``responds_to``, the input with the highest and with the lowest value, ``mean, sd,
        share_active``."""
        rows = []
        for name in self.features:
            one = self[name]
            ends = {e: one.inputs.loc[one.inputs["end"] == e, "text"] for e in ("high", "low")}
            found = {e: (texts.iloc[0] if len(texts) else "") for e, texts in ends.items()}
            rows.append(
                {
                    "feature": name,
                    "responds_to": one.responds_to,
                    "highest": found["high"],
                    "lowest": found["low"],
                    "mean": one.mean,
                    "sd": one.sd,
                    "share_active": one.share_active,
                }
            )
        return pd.DataFrame(rows)
