"""What the network did when a feature was changed by hand: the truth that estimates are held against."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest_files
from mrinterp.stats.tests.tails import critical_value

__all__ = ["KnockoutEffects"]

Array = NDArray[np.float64]

CELLS = ("mean", "mean_se", "r2", "changed", "typical")
"""Optional numbers of shape (F, O)."""

PER_FEATURE = ("read_back_error", "leakage", "off_support", "outside_range")
"""Checks of shape (F,), in the order of the fields."""

ENDS = ("effect_bootstrap", "mean_bootstrap")
"""Optional intervals of shape (2, F, O)."""


NO_ERROR = "no interval: all change comes from one family"


def _unknown() -> Array:
    return np.array(np.nan)


def _critical(level: float, df: ArrayLike) -> Array:
    """Critical value of t; refuses what is no confidence level."""
    if not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise InputError("level", f"{level!r}", "Give a confidence level between 0 and 1, such as 0.95")
    return critical_value(level, df)


@dataclass(frozen=True, eq=False)
class KnockoutEffects:
    """Effects of one kind of knockout of F features on O outcomes, over P inputs.

    Every number is defined here and nowhere else. What a kind of knockout does not give is nan.
    A *swap* is one value written into one feature on one input; a kind makes one or more of each input.
    The feature's change in a swap is the value written less the clean one; where every token is written by
    itself, the mean of that over the tokens, so that one unit is one unit at every token.

    Parameters
    ----------
    kind, label : str
        For example ``"shift"`` and the words for it.
    features, outcomes : tuple of str
    effect, se : ndarray (F, O)
        Effect per unit of the feature: least squares through the origin of outcome change on feature
        change over all swaps; inputs weigh by their squared change, so alike in a shift. Error clustered
        by family. nan where nothing was moved.
    df : float
        Families minus one.
    per_prompt : ndarray (F, P, O)
        Effect per unit on every input (nan where its swaps moved nothing).
    prompts : DataFrame
        ``prompt, family`` of the P inputs.
    read_back_error : ndarray (F,)
        Largest absolute difference between the feature value written and the one read back, in units.
    leakage : ndarray (F,)
        Largest absolute change of any *other* feature of the view, in its units.
    off_support : ndarray (F,)
        Share of the squared norm of the written change that lies where activations never vary.
    outside_range : ndarray (F,)
        Share of the values written (of swaps, or of their tokens) outside the range of natural values.
    noise_floor : ndarray (O,)
        Largest difference of each outcome between two identical runs, or its rounding, in half precision also
        what rounding the site's activation does to it; smaller changes are not measurable. One number serves for all outcomes.
    mean, mean_se : ndarray (F, O)
        Effect of the knockout itself: mean over inputs of the outcome change (knocked out minus clean),
        inputs alike, error clustered by family. In a two-sided shift: of half the difference of both sides.
    effect_bootstrap, mean_bootstrap : ndarray (2, F, O)
        Percentile 95% intervals of ``effect`` and ``mean``, families drawn with replacement.
    mean_df : float
        Degrees of freedom of ``mean``: less than ``df`` where some families have more inputs than others.
    effect_df : ndarray (F,)
        Degrees of freedom of ``effect``: less than ``df`` where few families moved much.
    per_input : ndarray (F, P, O)
        Outcome change of every input, mean over its swaps: what ``mean`` is the mean of.
    weight : ndarray (F, P)
        Weight of every input in ``effect``, mean one.
    r2 : ndarray (F, O)
        Share of the squared outcome changes that ``effect`` times the feature change explains (uncentred):
        one where the outcome is linear in the feature, with the same slope on all inputs.
    changed : ndarray (F, O)
        Share of inputs whose outcome some swap moved by more than the noise floor; nan for a sampled outcome,
        where one draw cannot say whether an input changed.
    typical : ndarray (F, O)
        Root mean square outcome change of a swap.
    moved_by : ndarray (F,)
        Root mean square change of the feature in a swap.
    feature_sd : ndarray (F,), outcome_sd : ndarray (O,)
        Natural standard deviations: of the clean values over inputs (and tokens), divisor their number; of the
        clean outcomes.
    positions : tuple of str
        The K positions or token classes that support is checked at.
    outside : ndarray (F, K)
        Share of the tokens written at each position whose value is outside what that position shows on any
        clean input. nan where nothing is written.
    massive : ndarray (F, K)
        Typical size of the feature at a position over the typical coordinate of the site: 100 and
        more is a massive activation, and what is written there says little about other inputs.
    flags : tuple of str
        Per feature, what to know before using its numbers; ``""`` where there is nothing.
    meta : dict
        Among others ``sampled_outcomes`` (drawn, so that their errors carry their noise), ``even_outcomes``
        (least or largest at the clean run: they have no slope there) and ``two_sided`` (whether swaps go both
        ways, so that an even outcome cancels in ``mean`` as well).
    """

    kind: str
    label: str
    features: tuple[str, ...]
    outcomes: tuple[str, ...]
    effect: Array
    se: Array
    df: float
    per_prompt: Array
    prompts: pd.DataFrame
    read_back_error: Array
    leakage: Array
    off_support: Array
    outside_range: Array
    noise_floor: Array
    meta: dict[str, Any] = field(default_factory=dict)
    mean: Array = field(default_factory=_unknown)
    mean_se: Array = field(default_factory=_unknown)
    mean_df: float = float("nan")
    effect_bootstrap: Array = field(default_factory=_unknown)
    mean_bootstrap: Array = field(default_factory=_unknown)
    effect_df: Array = field(default_factory=_unknown)
    per_input: Array = field(default_factory=_unknown)
    weight: Array = field(default_factory=_unknown)
    r2: Array = field(default_factory=_unknown)
    changed: Array = field(default_factory=_unknown)
    typical: Array = field(default_factory=_unknown)
    moved_by: Array = field(default_factory=_unknown)
    feature_sd: Array = field(default_factory=_unknown)
    outcome_sd: Array = field(default_factory=_unknown)
    positions: tuple[str, ...] = ()
    outside: Array = field(default_factory=_unknown)
    massive: Array = field(default_factory=_unknown)
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        F, P, O = self.per_prompt.shape
        shapes: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(CELLS, (F, O)),
            **dict.fromkeys(ENDS, (2, F, O)),
            "effect_df": (F,),
            "per_input": (F, P, O),
            "weight": (F, P),
            "feature_sd": (F,),
            "moved_by": (F,),
            "outcome_sd": (O,),
            "noise_floor": (O,),
            "outside": (F, len(self.positions)),
            "massive": (F, len(self.positions)),
        }
        absent = {"effect_df": self.df, "weight": 1.0}
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=float)
            if value.ndim == 0:
                value = np.full(shape, absent.get(name, value))
            if value.shape != shape:
                raise InputError(f"knockout effects: {name}", f"shape {value.shape}", f"Give {shape}")
            object.__setattr__(self, name, value)
        changed = np.where(self._named("sampled_outcomes"), np.nan, self.changed)
        object.__setattr__(self, "changed", changed)
        if np.isnan(self.mean_df):
            object.__setattr__(self, "mean_df", self.df)
        if not self.flags:
            object.__setattr__(self, "flags", ("",) * F)

    @property
    def measurable(self) -> NDArray[np.bool_]:
        """Whether there is a change that noise does not explain, (F, O); False where it is unknown.

        The typical change is above the noise floor. Of a sampled outcome, whose noise averages out over inputs
        and is part of the errors: the 95% interval of ``mean`` or ``effect`` excludes zero.
        """
        apart = [(lower > 0) | (upper < 0) for lower, upper in (self.interval(), self.mean_interval())]
        return np.where(self._named("sampled_outcomes"), apart[0] | apart[1], self.typical > self.noise_floor)

    @property
    def even(self) -> NDArray[np.bool_]:
        """Outcomes (O,) that are least or largest at the clean run, so that no slope speaks of them."""
        return self._named("even_outcomes")

    @property
    def two_sided(self) -> bool:
        """Whether swaps go both ways, as in a shift: an even outcome then cancels in ``mean`` as well."""
        return bool(self.meta.get("two_sided", False))

    def _named(self, key: str) -> NDArray[np.bool_]:
        return np.isin(self.outcomes, self.meta.get(key, []))

    @property
    def influence(self) -> Array:
        """What every input adds to the error of ``effect``, (F, P, O); zero mean over inputs."""
        each = np.where(np.isnan(self.per_prompt), 0.0, self.per_prompt - self.effect[:, None, :])
        return self.weight[:, :, None] * each

    @property
    def floor_per_unit(self) -> Array:
        """Noise floor over the root mean square change of the feature, (F, O): in units of ``effect``; nan for
        a sampled outcome, whose noise averages out over inputs and is part of the errors."""
        moved = self.moved_by[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            floor = np.where(moved > 0, self.noise_floor / moved, np.nan)
        return np.where(self._named("sampled_outcomes"), np.nan, floor)

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends of ``effect``, (F, O), by t on ``effect_df`` degrees of freedom."""
        half = _critical(level, self.effect_df)[:, None] * self.se
        return self.effect - half, self.effect + half

    def mean_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends of ``mean``, (F, O), by t on ``mean_df`` degrees of freedom."""
        half = _critical(level, self.mean_df) * self.mean_se
        return self.mean - half, self.mean + half

    def equivalence(
        self, rope: ArrayLike | None = None, alpha: float = 0.05, of: str = "effect"
    ) -> pd.DataFrame:
        """Two one-sided tests against the region of practical equivalence.

        Parameters
        ----------
        rope : array broadcast to (F, O), optional
            Half the region's width, in units of what is tested. Default: 0.02 outcome standard deviations
            per standard deviation of the feature for ``effect``, 0.02 outcome standard deviations for ``mean``.
        alpha : float
        of : {"effect", "mean"}
            Effect per unit of the feature, or of the knockout itself.

        Returns
        -------
        DataFrame
            One row per (feature, outcome): ``feature, outcome, effect, rope, lower, upper`` (what is tested, and
            its interval at level 1 - 2 alpha), ``neglog10p, verdict, reason, flags``. Negligible is exactly that
            interval inside the region. ``not applicable`` with its reason: an outcome that is even in the
            feature has no slope at the clean run, and an effect near zero says nothing.

        Raises
        ------
        InputError
            Without a region, where the natural standard deviations are not known; for one that is not above
            zero, an alpha outside (0, 0.5), or another name.
        """
        from mrinterp.results._knockout_equivalence import knockout_equivalence

        return knockout_equivalence(self, rope, alpha, of)

    def keys(self) -> pd.DataFrame:
        """``feature, outcome`` of every cell, in the order of the tables."""
        O = len(self.outcomes)
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), len(self.features)),
            }
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome): the columns are the attributes of the same name.

        ``ci_lower, ci_upper`` are the 95% interval of ``effect``, ``mean_lower, mean_upper`` of ``mean``;
        ``boot_*`` and ``mean_boot_*`` the bootstrap's.
        """
        lower, upper = self.interval()
        mean_lower, mean_upper = self.mean_interval()
        frame = self.keys()
        frame.insert(0, "kind", self.kind)
        cells = {
            "effect": self.effect,
            "se": self.se,
            "ci_lower": lower,
            "ci_upper": upper,
            "boot_lower": self.effect_bootstrap[0],
            "boot_upper": self.effect_bootstrap[1],
            "mean": self.mean,
            "mean_se": self.mean_se,
            "mean_lower": mean_lower,
            "mean_upper": mean_upper,
            "mean_boot_lower": self.mean_bootstrap[0],
            "mean_boot_upper": self.mean_bootstrap[1],
            "r2": self.r2,
            "changed": self.changed,
            "typical": self.typical,
        }
        for name, value in cells.items():
            frame[name] = value.ravel()
        frame["measurable"] = self.measurable.ravel()
        O = len(self.outcomes)
        for name in ("effect_df", "moved_by", "feature_sd", *PER_FEATURE):
            frame[name] = np.repeat(getattr(self, name), O)
        frame["df"], frame["mean_df"], frame["prompts"] = self.df, self.mean_df, len(self.prompts)
        frame["families"] = self.prompts["family"].nunique()
        frame["flags"] = np.repeat(np.array(self.flags, dtype=object), O)
        return frame

    def support_frame(self) -> pd.DataFrame:
        """One row per (feature, position): ``feature, position, outside, massive``."""
        K = len(self.positions)
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), K),
                "position": np.tile(np.array(self.positions, dtype=object), len(self.features)),
                "outside": self.outside.ravel(),
                "massive": self.massive.ravel(),
            }
        )

    def __str__(self) -> str:
        F, O = self.effect.shape
        where = f"{len(self.prompts)} inputs in {self.prompts['family'].nunique()} families"
        text = f"{self.label}: {F} features x {O} outcomes on {where}"
        if np.isfinite(self.effect).any():
            f, o = np.unravel_index(int(np.nanargmax(np.abs(self.effect))), self.effect.shape)
            lower, upper = self.interval()
            known = f"95% {lower[f, o]:.4g} to {upper[f, o]:.4g}"
            text += (
                f"; largest effect {self.features[f]} on {self.outcomes[o]}: {self.effect[f, o]:+.4g}"
                f" ({known if np.isfinite(self.se[f, o]) else NO_ERROR}) outcome units per unit of the feature"
            )
        flagged = [(n, w) for n, w in zip(self.features, self.flags, strict=True) if w]
        if flagged:
            text += f"; {len(flagged)} flagged, first {flagged[0][0]}: {flagged[0][1]}"
        return text + "."

    def save(self, folder: Path) -> None:
        """Write the effects into ``folder``, whole or not at all."""
        from mrinterp.results._knockout_files import write_knockouts

        write_knockouts(self, Path(folder))

    @classmethod
    def load(cls, folder: Path) -> KnockoutEffects:
        """Reopen what `save` wrote; what an older version did not write is nan."""
        from mrinterp.results._knockout_files import read_knockouts

        return cls(**read_knockouts(Path(folder)))

    @staticmethod
    def digest_of(folder: Path) -> str:
        """Hash of saved effects, frozen before they are joined with any estimate."""
        return digest_files(Path(folder))
