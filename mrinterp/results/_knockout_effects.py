"""What the network did when a feature was changed by hand: the truth that estimates are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import checked_level
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest_files
from mrinterp.results._result import Axis, Result, Rows, Shape, unknown
from mrinterp.stats.tests.equivalence import NOT_APPLICABLE, tost
from mrinterp.stats.tests.tails import critical_value

__all__ = ["KnockoutEffects"]

Array = NDArray[np.float64]

ROPE_SD = 0.02
"""Default half width of the region of practical equivalence: standard deviations of the outcome, per one of the
feature where the effect is per unit."""

EXTREMAL = (
    "the outcome is least or largest at the clean run: it has no slope there and its changes to both sides cancel;"
    " read the mean effect of a kind that goes one way"
)
NOT_MOVED = "nothing was moved"
NO_ERROR = "no interval: all change comes from one family"

FIRING = ("as_it_is", "as_it_is_lower", "as_it_is_upper")
CELLS = (
    "effect",
    "se",
    "mean",
    "mean_se",
    "r2",
    "share_changed",
    "rms_change",
    "rms_bound",
    "rms_upper",
    *FIRING,
)
"""Columns of the stored table that are numbers of shape (F, O)."""

CHECKS = ("read_back_error", "leakage", "off_support", "outside_range")
"""Columns that say how well a feature was written, (F,)."""

ROWS = ("effect_df", "moved_by", "mean_move", "feature_sd", *CHECKS)
"""Columns that are numbers of shape (F,)."""

BOOTSTRAPS = {"effect_bootstrap": "boot", "mean_bootstrap": "mean_boot"}
"""Intervals of shape (2, F, O), and how the columns of their ends begin."""


def _critical(level: float, df: ArrayLike) -> Array:
    """Critical value of t; refuses anything but a confidence level."""
    return critical_value(checked_level(level), df)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KnockoutEffects(Result):
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
    effect_by_input : ndarray (F, P, O)
        Effect per unit on every input (nan where its swaps moved nothing).
    inputs : DataFrame
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
    change_by_input : ndarray (F, P, O)
        Outcome change of every input, mean over its swaps: what ``mean`` is the mean of.
    as_it_is, as_it_is_lower, as_it_is_upper : ndarray (F, O)
        Of a contrast of a feature that rarely fires, Y(as it is) - Y(usual value), with its 95% interval: what its firing
        does, mean over the inputs where it fires; nan for all other features and kinds.
    weight : ndarray (F, P)
        Weight of every input in ``effect``, mean one.
    r2 : ndarray (F, O)
        Share of the squared outcome changes that ``effect`` times the feature change explains (uncentred):
        one where the outcome is linear in the feature, with the same slope on all inputs.
    share_changed : ndarray (F, O)
        Share of inputs whose outcome some swap moved by more than the noise floor; nan for a sampled outcome,
        where one draw cannot say whether an input changed.
    rms_change : ndarray (F, O)
        Root mean square outcome change of a swap.
    rms_bound, rms_upper : ndarray (F, O)
        Lower and upper bound of the same, one-sided at 95% each, over families like these.
    moved_by : ndarray (F,)
        Root mean square change of the feature in a swap.
    mean_move : ndarray (F,)
        Change of the feature that ``mean`` belongs to: mean over swaps, with their signs, and over the inputs that were
        moved. In a contrast high less low, as the bench reads the feature.
    feature_sd : ndarray (F,), outcome_sd : ndarray (O,)
        Natural standard deviations: of the clean values over inputs (and tokens), divisor their number; of the
        clean outcomes.
    positions : tuple of str
        The K positions or token classes that support is checked at.
    outside : ndarray (F, K)
        Share of the tokens written at each position whose value is outside what that position shows on any
        clean input. nan where nothing is written.
    massive_activation : ndarray (F, K)
        Typical size of the feature at a position over the typical coordinate of the site: 100 and
        more is a massive activation, and what is written there says little about other inputs.
    flags : tuple of str
        Per feature, what to know before using its numbers; ``""`` where there is nothing.
    meta : dict
        Among others ``sampled_outcomes`` (drawn, so that their errors carry their noise), ``extremal_at_clean``
        (least or largest at the clean run: they have no slope there) and ``two_sided`` (whether swaps go both
        ways, so that such an outcome cancels in ``mean`` as well).
    outcome_sd : ndarray (O,)
        Natural standard deviation of the clean outcomes over inputs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("KnockoutEffects").summary)
    knockouts: 3 features, 2 outcomes, 6 positions
    """

    KIND: ClassVar[str] = "knockouts"
    HEADER: ClassVar[str] = "knockouts.json"
    TABLE: ClassVar[str | None] = "effects.parquet"
    IN_TABLE: ClassVar[frozenset[str]] = frozenset({*CELLS, *ROWS, *BOOTSTRAPS})
    STORED_AS: ClassVar[Mapping[str, str]] = {"kind": "knockout"}
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {
        "effect_by_input": "per_prompt",
        "change_by_input": "per_input",
        "inputs": "prompts",
        "massive_activation": "massive",
        "share_changed": "changed",
        "rms_change": "typical",
    }

    kind: str
    label: str
    features: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    effect: Annotated[Array, Shape("F", "O")]
    se: Annotated[Array, Shape("F", "O")]
    df: float
    effect_by_input: Annotated[Array, Shape("F", "P", "O")]
    inputs: Annotated[pd.DataFrame, Rows("P", columns=("family",))]
    read_back_error: Annotated[Array, Shape("F")]
    leakage: Annotated[Array, Shape("F")]
    off_support: Annotated[Array, Shape("F")]
    outside_range: Annotated[Array, Shape("F")]
    noise_floor: Annotated[Array, Shape("O")]
    meta: dict[str, Any] = field(default_factory=dict)
    mean: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    mean_se: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    mean_df: float = float("nan")
    effect_bootstrap: Annotated[Array, Shape(2, "F", "O", ends=(0, 1))] = field(default_factory=unknown)
    mean_bootstrap: Annotated[Array, Shape(2, "F", "O", ends=(0, 1))] = field(default_factory=unknown)
    effect_df: Annotated[Array, Shape("F")] = field(default_factory=unknown)
    change_by_input: Annotated[Array, Shape("F", "P", "O")] = field(default_factory=unknown)
    weight: Annotated[Array, Shape("F", "P")] = field(default_factory=unknown)
    r2: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    share_changed: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    rms_change: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    moved_by: Annotated[Array, Shape("F")] = field(default_factory=unknown)
    rms_bound: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    rms_upper: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    mean_move: Annotated[Array, Shape("F")] = field(default_factory=unknown)
    feature_sd: Annotated[Array, Shape("F")] = field(default_factory=unknown)
    as_it_is: Annotated[Array, Shape("F", "O")] = field(default_factory=unknown)
    as_it_is_lower: Annotated[Array, Shape("F", "O", infinite=True)] = field(default_factory=unknown)
    as_it_is_upper: Annotated[Array, Shape("F", "O", infinite=True)] = field(default_factory=unknown)
    outcome_sd: Annotated[Array, Shape("O")] = field(default_factory=unknown)
    positions: Annotated[tuple[str, ...], Axis("K")] = ()
    outside: Annotated[Array, Shape("F", "K")] = field(default_factory=unknown)
    massive_activation: Annotated[Array, Shape("F", "K")] = field(default_factory=unknown)
    flags: Annotated[tuple[str, ...], Axis("F", fill="")] = ()

    def __post_init__(self) -> None:
        whole = {"effect_df": self.df, "weight": 1.0}  # what holds for every feature where none is given
        sizes = {"effect_df": (len(self.features),), "weight": np.shape(self.effect_by_input)[:2]}
        for name, value in whole.items():
            if np.ndim(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.full(sizes[name], value))
        if np.isnan(self.mean_df):
            object.__setattr__(self, "mean_df", self.df)
        super().__post_init__()
        known = np.where(self._named("sampled_outcomes"), np.nan, self.share_changed)
        object.__setattr__(self, "share_changed", known)

    @property
    def measurable(self) -> NDArray[np.bool_]:
        """Whether there is a change that noise does not explain, (F, O); False where it is unknown.

        The rms_change change is above the noise floor. Of a sampled outcome, whose noise averages out over inputs
        and is part of the errors: the 95% interval of ``mean`` or ``effect`` excludes zero.
        """
        apart = [(lower > 0) | (upper < 0) for lower, upper in (self.interval(), self.mean_interval())]
        return np.where(
            self._named("sampled_outcomes"), apart[0] | apart[1], self.rms_change > self.noise_floor
        )

    @property
    def extremal_at_clean(self) -> NDArray[np.bool_]:
        """Outcomes (O,) that are least or largest at the clean run, so that no slope speaks of them."""
        return self._named("extremal_at_clean") | self._named("even_outcomes")  # its name in older versions

    @property
    def two_sided(self) -> bool:
        """Whether swaps go both ways, as in a shift: an outcome that is least or largest at the clean run then cancels in ``mean`` as well."""
        return bool(self.meta.get("two_sided", False))

    def _named(self, key: str) -> NDArray[np.bool_]:
        return np.isin(self.outcomes, self.meta.get(key, []))

    @property
    def influence(self) -> Array:
        """What every input adds to the error of ``effect``, (F, P, O); zero mean over inputs."""
        each = np.where(np.isnan(self.effect_by_input), 0.0, self.effect_by_input - self.effect[:, None, :])
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
        self,
        *,
        rope_sd: float = ROPE_SD,
        rope: ArrayLike | None = None,
        level: float = 0.95,
        of: str = "effect",
    ) -> pd.DataFrame:
        """Two one-sided tests against the region of practical equivalence.

        Parameters
        ----------
        rope_sd : float
            Half the region's width in standard deviations of the outcome; per standard deviation of the feature
            for ``effect``.
        rope : array broadcast to (F, O), optional
            Half the region's width in units of what is tested, instead of ``rope_sd``.
        level : float
            Both tests are at 1 - level.
        of : {"effect", "mean"}
            Effect per unit of the feature, or of the knockout itself.

        Returns
        -------
        DataFrame
            One row per (feature, outcome): ``feature, outcome, effect, rope, lower, upper`` (what is tested, half
            the region's width in its units, and its interval at level 1 - 2 (1 - level)), ``neglog10p, verdict,
            reason, flags``. Negligible is exactly that interval inside the region. ``not applicable`` with its
            reason: an outcome that is least or largest at the clean run has no slope there, and an effect near
            zero says nothing.

        Raises
        ------
        InputError
            Without a region in raw units, where the natural standard deviations are not known; for one that is
            not above zero, a level outside (0.5, 1), or another name.
        """
        tested = {
            "effect": (self.effect, self.se, self.effect_df[:, None], self.feature_sd[:, None]),
            "mean": (self.mean, self.mean_se, np.array(self.mean_df), np.ones((len(self.features), 1))),
        }
        if not isinstance(of, str) or of not in tested:
            raise InputError("of", repr(of), "Give 'effect' or 'mean'")
        if checked_level(level) <= 0.5:
            raise InputError("level", f"{level!r}", "Give a confidence level between 0.5 and 1, such as 0.95")
        value, se, df, scale = tested[of]
        region = self._region(rope_sd, scale) if rope is None else self._given_region(rope)
        # 1 - 0.95 is not 0.05 in binary; rounded, it is the number that people mean.
        test = tost(value, se, df, region, round(1 - level, 12))
        no_slope = np.broadcast_to(self.extremal_at_clean & (of == "effect" or self.two_sided), value.shape)
        reason = np.where(np.isnan(value), NOT_MOVED, np.where(np.isfinite(se), "", NO_ERROR))
        columns: dict[str, NDArray[Any]] = {"effect": value, "rope": region, "lower": test.lower}
        columns |= {
            "upper": test.upper,
            "neglog10p": np.where(no_slope, np.nan, test.neglog10p),
            "verdict": np.where(no_slope, NOT_APPLICABLE, test.verdict),
            "reason": np.where(no_slope, EXTREMAL, reason),
            "flags": np.broadcast_to(np.array(self.flags, dtype=object)[:, None], value.shape),
        }
        return self.keys().assign(**{name: column.ravel() for name, column in columns.items()})

    def rms_equivalence(self, *, rope_sd: float = ROPE_SD) -> pd.DataFrame:
        """Whether changes of either sign count, by their root mean square: what is asked of a head or subspace as a whole.

        Parameters
        ----------
        rope_sd : float
            Half the region's width in standard deviations of the outcome, per natural sd of what is changed.

        Returns
        -------
        DataFrame
            One row per (feature, outcome): ``feature, outcome, rms, rms_lower, rms_upper`` (one-sided at 95% each), ``rope,
            verdict``. Values of other inputs (``resample``) differ from an input's own by the root of 2 natural sd, so
            that their changes are divided by it. ``causal``: the lower bound lies above the region; ``negligible``: the upper
            one inside it; ``not applicable``: an outcome that is drawn, whose changes hold its noise.

        Raises
        ------
        InputError
            Where the outcomes' natural spread is not known, or for a region that is not above zero.
        """
        rope = self._region(rope_sd, np.ones((len(self.features), 1)))
        scale = np.sqrt(2.0) if self.kind == "resample" else 1.0
        rms, lower, upper = (x / scale for x in (self.rms_change, self.rms_bound, self.rms_upper))
        words = np.where(lower > rope, "causal", np.where(upper <= rope, "negligible", "indeterminate"))
        words = np.where(self._named("sampled_outcomes"), NOT_APPLICABLE, words)
        columns = {"rms": rms, "rms_lower": lower, "rms_upper": upper, "rope": rope, "verdict": words}
        return self.keys().assign(**{name: column.ravel() for name, column in columns.items()})

    def _region(self, rope_sd: float, scale: Array) -> Array:
        """Half widths (F, O) in units of what is tested, from natural standard deviations."""
        if not isinstance(rope_sd, int | float | np.number) or not rope_sd > 0:
            raise InputError("rope_sd", f"{rope_sd!r}", "Give half a width above zero, in sd of the outcome")
        if np.isnan(self.outcome_sd).all():
            raise InputError(
                "rope", "none given, and the outcomes' natural spread is not known", "Give it in raw units"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            region = np.where(scale > 0, rope_sd * self.outcome_sd / scale, np.nan)
        return np.broadcast_to(region, self.effect.shape)

    def _given_region(self, rope: ArrayLike) -> Array:
        """Half widths (F, O) as given in raw units."""
        shape = self.effect.shape
        fix = f"Give half a width above zero, for all cells, each of {shape[1]} outcomes, or {shape}"
        try:
            region = np.broadcast_to(np.asarray(rope, dtype=float), shape)
        except (TypeError, ValueError):
            raise InputError("rope", f"{str(rope)[:60]!r}", fix) from None
        if not (region > 0).all():
            raise InputError("rope", f"{np.min(region):g}", fix)
        return region

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
            "share_changed": self.share_changed,
            "rms_change": self.rms_change,
            "rms_bound": self.rms_bound,
            "rms_upper": self.rms_upper,
            **{name: getattr(self, name) for name in FIRING if np.isfinite(self.as_it_is).any()},
        }
        for name, value in cells.items():
            frame[name] = value.ravel()
        frame["measurable"] = self.measurable.ravel()
        O = len(self.outcomes)
        for name in ROWS:
            frame[name] = np.repeat(getattr(self, name), O)
        frame["df"], frame["mean_df"], frame["inputs"] = self.df, self.mean_df, len(self.inputs)
        frame["families"] = self.inputs["family"].nunique()
        frame["flags"] = np.repeat(np.array(self.flags, dtype=object), O)
        return frame

    def support_frame(self) -> pd.DataFrame:
        """One row per (feature, position): ``feature, position, outside, massive_activation``."""
        K = len(self.positions)
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), K),
                "position": np.tile(np.array(self.positions, dtype=object), len(self.features)),
                "outside": self.outside.ravel(),
                "massive_activation": self.massive_activation.ravel(),
            }
        )

    def __str__(self) -> str:
        F, O = self.effect.shape
        where = f"{len(self.inputs)} inputs in {self.inputs['family'].nunique()} families"
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

    @classmethod
    def _from_table(
        cls, table: pd.DataFrame, header: dict[str, Any], given: dict[str, Any]
    ) -> dict[str, Any]:
        """The numbers by cell and by feature; what an older version did not write is left to its default."""
        former = {old: new for new, old in cls.FORMER_NAMES.items()}
        shape = len(given["features"]), len(given["outcomes"])
        numbers = table.rename(columns=former).select_dtypes("number")
        grid = {str(c): numbers[c].to_numpy(dtype=float).reshape(shape) for c in numbers}
        found = {name: grid[name] for name in CELLS if name in grid}
        found |= {name: grid[name][:, 0] for name in ROWS if name in grid}
        for name, column in BOOTSTRAPS.items():
            if f"{column}_lower" in grid:
                found[name] = np.stack([grid[f"{column}_lower"], grid[f"{column}_upper"]])
        return found

    @staticmethod
    def digest_of(folder: Path) -> str:
        """Hash of saved effects, frozen before they are joined with any estimate."""
        return digest_files(Path(folder))
