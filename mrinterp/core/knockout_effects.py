"""What the network did when a feature was changed by hand: the truth that estimates are held against."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.storage import (
    FORMAT_VERSION,
    check_format,
    digest_files,
    read_json,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["ROPE_PER_SD", "KnockoutEffects"]

Array = NDArray[np.float64]

ROPE_PER_SD = 0.02
"""Default region of practical equivalence: standard deviations of the outcome per one of the feature."""

CELLS = ("mean", "mean_se", "r2", "changed", "typical")
"""Optional numbers of shape (F, O)."""

PER_FEATURE = ("read_back_error", "leakage", "off_support", "outside_range")
"""Checks of shape (F,), in the order of the fields."""

ENDS = ("effect_bootstrap", "mean_bootstrap")
"""Optional intervals of shape (2, F, O)."""


def _unknown() -> Array:
    return np.array(np.nan)


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
    noise_floor : float
        Largest outcome difference between two identical runs; smaller effects are not measurable.
    mean, mean_se : ndarray (F, O)
        Effect of the knockout itself: mean over inputs of the outcome change (knocked out minus clean),
        inputs alike, error clustered by family. In a two-sided shift: of half the difference of both sides.
    effect_bootstrap, mean_bootstrap : ndarray (2, F, O)
        Percentile 95% intervals of ``effect`` and ``mean``, families drawn with replacement.
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
        Share of inputs whose outcome some swap moved by more than the noise floor.
    typical : ndarray (F, O)
        Root mean square outcome change of a swap.
    moved_by : ndarray (F,)
        Root mean square change of the feature in a swap.
    feature_sd : ndarray (F,), outcome_sd : ndarray (O,)
        Natural standard deviations: of the clean values over inputs (and tokens), of the clean outcomes.
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
    noise_floor: float
    meta: dict[str, Any] = field(default_factory=dict)
    mean: Array = field(default_factory=_unknown)
    mean_se: Array = field(default_factory=_unknown)
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
            "outside": (F, len(self.positions)),
            "massive": (F, len(self.positions)),
        }
        absent = {"effect_df": self.df, "weight": 1.0}
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=float)
            if value.ndim == 0:
                value = np.full(shape, absent.get(name, np.nan))
            if value.shape != shape:
                raise InputError(f"knockout effects: {name}", f"shape {value.shape}", f"Give {shape}")
            object.__setattr__(self, name, value)
        if not self.flags:
            object.__setattr__(self, "flags", ("",) * F)

    @property
    def measurable(self) -> NDArray[np.bool_]:
        """Whether the typical outcome change is above the noise floor, (F, O); False where it is unknown."""
        return self.typical > self.noise_floor

    @property
    def influence(self) -> Array:
        """What every input adds to the error of ``effect``, (F, P, O); zero mean over inputs."""
        each = np.where(np.isnan(self.per_prompt), 0.0, self.per_prompt - self.effect[:, None, :])
        return self.weight[:, :, None] * each

    @property
    def floor_per_unit(self) -> Array:
        """Noise floor over the root mean square change of the feature, (F,): in units of ``effect``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.moved_by > 0, self.noise_floor / self.moved_by, np.nan)

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends of ``effect``, (F, O), by t on ``effect_df`` degrees of freedom."""
        from mrinterp.stats.tails import critical_value

        half = critical_value(level, self.effect_df)[:, None] * self.se
        return self.effect - half, self.effect + half

    def mean_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends of ``mean``, (F, O), by t on ``df`` degrees of freedom."""
        from mrinterp.stats.tails import critical_value

        half = critical_value(level, self.df) * self.mean_se
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
            its interval at level 1 - 2 alpha), ``neglog10p, verdict``. Negligible is exactly that interval
            inside the region.

        Raises
        ------
        InputError
            Without a region, where the natural standard deviations are not known; for one that is not above
            zero, an alpha outside (0, 0.5), or another name.
        """
        from mrinterp.stats.equivalence import tost

        tested = {
            "effect": (self.effect, self.se, self.effect_df[:, None], self.feature_sd[:, None]),
            "mean": (self.mean, self.mean_se, np.array(self.df), np.ones((len(self.features), 1))),
        }
        if of not in tested:
            raise InputError("of", repr(of), "Give 'effect' or 'mean'")
        if not 0 < alpha < 0.5:
            raise InputError("alpha", f"{alpha:g}", "Give a level between 0 and 0.5, such as 0.05")
        value, se, df, scale = tested[of]
        if rope is None:
            with np.errstate(divide="ignore", invalid="ignore"):
                rope = np.where(scale > 0, ROPE_PER_SD * self.outcome_sd / scale, np.nan)
            if np.isnan(self.outcome_sd).all():
                raise InputError("rope", "none given, and no natural spread is known", "Give the region")
        elif not (np.asarray(rope, dtype=float) > 0).all():
            raise InputError("rope", f"{np.min(np.asarray(rope)):g}", "Give half a width above zero")
        wide = np.broadcast_to(np.asarray(rope, dtype=float), value.shape)
        test = tost(value, se, df, wide, alpha)
        columns = {"effect": value, "rope": wide, "lower": test.lower, "upper": test.upper}
        columns |= {"neglog10p": test.neglog10p, "verdict": test.verdict}
        return self._keys().assign(**{name: column.ravel() for name, column in columns.items()})

    def _keys(self) -> pd.DataFrame:
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
        frame = self._keys()
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
        frame["df"], frame["prompts"] = self.df, len(self.prompts)
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
            text += (
                f"; largest effect {self.features[f]} on {self.outcomes[o]}: {self.effect[f, o]:+.4g}"
                f" (95% {lower[f, o]:.4g} to {upper[f, o]:.4g}) outcome units per unit of the feature"
            )
        flagged = [(n, w) for n, w in zip(self.features, self.flags, strict=True) if w]
        if flagged:
            text += f"; {len(flagged)} flagged, first {flagged[0][0]}: {flagged[0][1]}"
        return text + "."

    def save(self, folder: Path) -> None:
        """Write the effects into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            write_table(partial / "effects.parquet", self.to_frame())
            write_table(partial / "prompts.parquet", self.prompts)
            for name in ("per_prompt", "per_input", "weight", "outside", "massive"):
                np.save(partial / f"{name}.npy", getattr(self, name))
            header = {
                "kind": "knockouts",
                "format_version": FORMAT_VERSION,
                "knockout": self.kind,
                "label": self.label,
                "features": list(self.features),
                "outcomes": list(self.outcomes),
                "df": self.df,
                "noise_floor": self.noise_floor,
                "positions": list(self.positions),
                "outcome_sd": self.outcome_sd,
                "flags": list(self.flags),
                "meta": self.meta,
            }
            write_json(partial / "knockouts.json", header)

    @classmethod
    def load(cls, folder: Path) -> KnockoutEffects:
        """Reopen what `save` wrote; what an older version did not write is nan."""
        folder = Path(folder)
        header = read_json(folder / "knockouts.json")
        check_format(str(folder), header, "knockouts")
        frame = read_table(folder / "effects.parquet")
        F, O = len(header["features"]), len(header["outcomes"])

        def cell(name: str) -> Array:
            return frame[name].to_numpy(dtype=float).reshape(F, O) if name in frame else _unknown()

        def row(name: str) -> Array:
            value = cell(name)
            return value if value.ndim == 0 else value[:, 0]

        def ends(prefix: str) -> Array:
            lower, upper = cell(f"{prefix}_lower"), cell(f"{prefix}_upper")
            return lower if lower.ndim == 0 else np.stack([lower, upper])

        def array(name: str) -> Array:
            path = folder / f"{name}.npy"
            return np.load(path) if path.exists() else _unknown()

        given: dict[str, Any] = {n: cell(n) for n in ("effect", "se", *CELLS)}
        given |= {n: row(n) for n in (*PER_FEATURE, "effect_df", "moved_by", "feature_sd")}
        given |= {n: array(n) for n in ("per_prompt", "per_input", "weight", "outside", "massive")}
        given |= {n: tuple(header.get(n, ())) for n in ("features", "outcomes", "positions", "flags")}
        sd = header.get("outcome_sd")
        return cls(
            kind=header["knockout"],
            label=header["label"],
            df=float(header["df"]),
            prompts=read_table(folder / "prompts.parquet"),
            noise_floor=float(header["noise_floor"]),
            meta=header["meta"],
            effect_bootstrap=ends("boot"),
            mean_bootstrap=ends("mean_boot"),
            outcome_sd=_unknown() if sd is None else np.array([np.nan if x is None else x for x in sd]),
            **given,
        )

    @staticmethod
    def digest_of(folder: Path) -> str:
        """Hash of saved effects, frozen before they are joined with any estimate."""
        return digest_files(Path(folder))
