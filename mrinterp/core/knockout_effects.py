"""What the network did when a feature was changed by hand: the truth that estimates are held against."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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

__all__ = ["KnockoutEffects"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnockoutEffects:
    """Effects of one kind of knockout of F features on O outcomes.

    Parameters
    ----------
    kind, label : str
        For example ``"shift"`` and the words for it.
    features, outcomes : tuple of str
    effect, se : ndarray (F, O)
        Effect per unit of the feature, equal weights over prompts, error clustered by family.
    df : float
        Families minus one.
    per_prompt : ndarray (F, P, O)
        Effect per unit on every prompt.
    prompts : DataFrame
        ``prompt, family`` of the P prompts.
    read_back_error : ndarray (F,)
        Largest absolute difference between the feature value written and the one read back, in units.
    leakage : ndarray (F,)
        Largest absolute change of any *other* feature, in its units.
    off_support : ndarray (F,)
        Share of the squared norm of the written change that lies where activations never vary.
    outside_range : ndarray (F,)
        Share of prompts where the value written is outside the range of natural values.
    noise_floor : float
        Largest outcome difference between two identical runs; smaller effects are not measurable.
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

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends, (F, O), by t on ``df`` degrees of freedom."""
        from mrinterp.stats.tails import critical_value

        half = critical_value(level, self.df) * self.se
        return self.effect - half, self.effect + half

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome)."""
        lower, upper = self.interval()
        O = len(self.outcomes)
        return pd.DataFrame(
            {
                "kind": self.kind,
                "feature": np.repeat(np.array(self.features, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), len(self.features)),
                "effect": self.effect.ravel(),
                "se": self.se.ravel(),
                "ci_lower": lower.ravel(),
                "ci_upper": upper.ravel(),
                "df": self.df,
                "prompts": len(self.prompts),
                "families": self.prompts["family"].nunique(),
                "read_back_error": np.repeat(self.read_back_error, O),
                "leakage": np.repeat(self.leakage, O),
                "off_support": np.repeat(self.off_support, O),
                "outside_range": np.repeat(self.outside_range, O),
            }
        )

    def save(self, folder: Path) -> None:
        """Write the effects into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            write_table(partial / "effects.parquet", self.to_frame())
            write_table(partial / "prompts.parquet", self.prompts)
            np.save(partial / "per_prompt.npy", self.per_prompt)
            header = {
                "kind": "knockouts",
                "format_version": FORMAT_VERSION,
                "knockout": self.kind,
                "label": self.label,
                "features": list(self.features),
                "outcomes": list(self.outcomes),
                "df": self.df,
                "noise_floor": self.noise_floor,
                "meta": self.meta,
            }
            write_json(partial / "knockouts.json", header)

    @classmethod
    def load(cls, folder: Path) -> KnockoutEffects:
        """Reopen what `save` wrote."""
        folder = Path(folder)
        header = read_json(folder / "knockouts.json")
        check_format(str(folder), header, "knockouts")
        frame = read_table(folder / "effects.parquet")
        F, O = len(header["features"]), len(header["outcomes"])
        grid = {n: frame[n].to_numpy().reshape(F, O) for n in ("effect", "se")}
        per_feature = {
            n: frame[n].to_numpy().reshape(F, O)[:, 0]
            for n in ("read_back_error", "leakage", "off_support", "outside_range")
        }
        return cls(
            header["knockout"],
            header["label"],
            tuple(header["features"]),
            tuple(header["outcomes"]),
            grid["effect"],
            grid["se"],
            float(header["df"]),
            np.load(folder / "per_prompt.npy"),
            read_table(folder / "prompts.parquet"),
            per_feature["read_back_error"],
            per_feature["leakage"],
            per_feature["off_support"],
            per_feature["outside_range"],
            float(header["noise_floor"]),
            header["meta"],
        )

    @staticmethod
    def digest_of(folder: Path) -> str:
        """Hash of saved effects, frozen before they are joined with any estimate."""
        return digest_files(Path(folder))
