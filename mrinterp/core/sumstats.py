"""Effects of every instrument on every trait, with standard errors: the GWAS of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_numbers_of
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.shown import Shown, listed
from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["SumStats"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SumStats(Shown):
    """Dense marginal effects of J instruments on T traits (features, then outcomes).

    Parameters
    ----------
    beta, se : ndarray (T, J)
        Effect per dose unit and its standard error (float32 on disk).
    traits : DataFrame
        ``trait, role`` (``feature`` or ``outcome``) and ``label``.
    instruments : DataFrame
        ``instrument, kind, locus, allele, unit, placebo``.
    dof : ndarray (J,)
        Degrees of freedom of the errors: families in which the dose varies less one, fewer where some of
        them weigh more than others.
    clusters : int
        Families in the scan.
    error_cov : ndarray (J, K, K), optional
        Covariance of the errors of one instrument's effects among K traits.
    error_traits : tuple of str, optional
        Names of those traits; all T by default.
    outcome_cov : ndarray (J, T, O), optional
        Covariance of every trait's errors with the outcomes', where ``error_cov`` does not hold all traits.
    meta : dict
        Split, kinds and ``design`` (``paired`` or ``between``).
    ld : ndarray (J, J), optional
        Correlation of the doses in the scan: the design's linkage disequilibrium (nan where a dose
        does not vary).

    Raises
    ------
    InputError
        Where shapes disagree.

    Notes
    -----
    `mrinterp.scan.marginal_scan` makes it from a `Panel`; `to_mrdata` hands it to estimators.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> doses = np.tile([0.0, 1.0, 2.0], 4)[:, None]
    >>> noise = np.random.default_rng(0).normal(size=(12, 1))
    >>> runs = {"prompt": np.repeat(range(4), 3), "family": np.repeat(range(4), 3), "clean": doses[:, 0] == 0}
    >>> panel = mrinterp.from_arrays(doses=doses, features=doses + noise, outcomes=doses - noise, **runs)
    >>> mrinterp.scan.marginal_scan(panel).to_mrdata().shape  # exposures, outcomes, instruments
    (1, 1, 1)
    """

    beta: NDArray[Any]
    se: NDArray[Any]
    traits: pd.DataFrame
    instruments: pd.DataFrame
    dof: NDArray[np.float64]
    clusters: int
    error_cov: NDArray[Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    ld: NDArray[Any] | None = None
    error_traits: tuple[str, ...] | None = None
    outcome_cov: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.traits), len(self.instruments))
        for name in ("beta", "se"):
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"SumStats {name}",
                    f"shape {getattr(self, name).shape}, expected {shape}",
                    "Traits on rows, instruments on columns",
                )

    @property
    def size(self) -> int:
        """Sample size behind every effect: runs under a perturbation; 0 where it is not known. Errors are clustered all the same."""
        return int(self.meta.get("runs", 0))

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        role = self.traits["role"]
        outcomes = list(self.traits["trait"][role == "outcome"])
        return (
            f"effects of {len(self.instruments):,} instruments on {int((role == 'feature').sum()):,} features and"
            f" {listed(outcomes)}, from {self.clusters:,} families ({self.meta.get('design', 'between')})"
        )

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        T, J = self.beta.shape
        few = slice(0, -(-rows // max(J, 1)))  # traits enough for that many rows
        head = pd.DataFrame(
            {
                "trait": np.repeat(self.traits["trait"].to_numpy()[few], J),
                "instrument": np.tile(self.instruments["instrument"].to_numpy(), len(self.traits[few])),
                "beta": np.ravel(self.beta[few]),
                "se": np.ravel(self.se[few]),
            }
        )
        return head.head(rows), T * J

    def to_frame(self, max_rows: int = 1_000_000) -> pd.DataFrame:
        """One row per (trait, instrument), refused beyond ``max_rows``."""
        T, J = self.beta.shape
        if max_rows < T * J:
            raise InputError(
                "SumStats.to_frame",
                f"{T} x {J} rows",
                f"Select traits first, or raise max_rows above {max_rows}",
            )
        return pd.DataFrame(
            {
                "trait": np.repeat(self.traits["trait"].to_numpy(), J),
                "instrument": np.tile(self.instruments["instrument"].to_numpy(), T),
                "beta": self.beta.ravel(),
                "se": self.se.ravel(),
            }
        )

    def to_mrdata(
        self,
        kind: str | None = None,
        with_errors: bool = True,
        with_ld: bool = False,
        exposures: Sequence[str] | None = None,
        with_sizes: bool = False,
    ) -> MRData:
        """Exposures are the feature traits (or those named), outcomes the outcome traits; placebos stay out.

        ``with_ld`` hands on the design's correlation between instruments: for colocalization and
        fine-mapping within a locus (``info["locus"]``), and for estimators of correlated instruments. ``with_sizes`` hands on
        `size` as ``n_x`` and ``n_y``, for Steiger's test.
        Every trait keeps its own instruments: an effect whose error is zero is missing for that trait alone, and
        where a feature did not change at all it is known to be 0 (``MRData.unmoved``). Instruments that never
        varied, or are measured for no trait, are listed in ``dropped``.
        """
        use = ~self.instruments["placebo"].to_numpy(dtype=bool)
        if kind is not None:
            use &= (self.instruments["kind"] == kind).to_numpy()
        fx = np.flatnonzero((self.traits["role"] == "feature").to_numpy())
        if exposures is not None:
            features = [str(n) for n in self.traits["trait"].to_numpy()[fx]]
            fx = fx[checked_numbers_of(exposures, "exposures", features, numbers=False)]
        oy = np.flatnonzero((self.traits["role"] == "outcome").to_numpy())
        beta, se = np.array(self.beta, float), np.array(self.se, float)
        error = np.nan_to_num(se) > 0
        zero = (beta == 0) & (se == 0)
        beta[~error], se[~error] = np.nan, np.nan
        still = zero & ~error
        measured = error.any(axis=0) | still.any(axis=0)
        keep = use & measured
        names = self.instruments["instrument"].to_numpy()
        dropped = pd.DataFrame(
            {
                "instrument": names[use & ~measured],
                "reason": "its dose did not vary, or no error could be measured",
            }
        )
        trait = self.traits["trait"].to_numpy()
        beta[fx] = np.where(still[fx], 0.0, beta[fx])
        sigma, sigma_xy = self._errors(fx, oy, keep) if with_errors else (None, None)
        return MRData(
            beta_x=beta[fx][:, keep],
            se_x=se[fx][:, keep],
            beta_y=beta[oy][:, keep],
            se_y=se[oy][:, keep],
            exposures=tuple(trait[fx]),
            outcomes=tuple(trait[oy]),
            instruments=tuple(names[keep]),
            sigma=sigma,
            sigma_xy=sigma_xy,
            unmoved=still[fx][:, keep] if still[fx].any() else None,
            ld=np.asarray(self.ld, float)[np.ix_(keep, keep)] if with_ld and self.ld is not None else None,
            design=self.meta.get("design", "between"),
            n_x=np.full(len(fx), float(self.size)) if with_sizes and self.size else None,
            n_y=np.full(len(oy), float(self.size)) if with_sizes and self.size else None,
            info=self.instruments.loc[keep].reset_index(drop=True),
            dropped=dropped,
        )

    def _errors(
        self, fx: NDArray[np.int_], oy: NDArray[np.int_], keep: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Covariance of all errors of each instrument, or where it was not kept that with the outcomes only."""
        names = self.traits["trait"].to_numpy()
        place = {n: i for i, n in enumerate(names if self.error_traits is None else self.error_traits)}
        wanted = [str(n) for n in names[np.concatenate([fx, oy])]]
        if self.error_cov is not None and all(n in place for n in wanted):
            t = np.array([place[n] for n in wanted])
            return np.asarray(self.error_cov, float)[keep][:, t[:, None], t[None, :]], None
        if self.outcome_cov is not None:
            return None, np.asarray(self.outcome_cov, float)[keep][:, fx]
        return None, None

    def save(self, folder: Path) -> None:
        """Write the summary statistics into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            np.save(partial / "beta.npy", np.asarray(self.beta, np.float32))
            np.save(partial / "se.npy", np.asarray(self.se, np.float32))
            np.save(partial / "dof.npy", self.dof)
            if self.ld is not None:
                np.save(partial / "ld.npy", np.asarray(self.ld, np.float32))
            if self.error_cov is not None:
                np.save(partial / "error_cov.npy", np.asarray(self.error_cov, np.float32))
            if self.outcome_cov is not None:
                np.save(partial / "outcome_cov.npy", np.asarray(self.outcome_cov, np.float32))
            write_table(partial / "traits.parquet", self.traits)
            write_table(partial / "instruments.parquet", self.instruments)
            header = {
                "kind": "sumstats",
                "format_version": FORMAT_VERSION,
                "clusters": self.clusters,
                "meta": self.meta,
                "error_traits": None if self.error_traits is None else list(self.error_traits),
            }
            write_json(partial / "sumstats.json", header)

    @classmethod
    def load(cls, folder: Path) -> SumStats:
        """Reopen what `save` wrote, memory-mapped."""
        folder = Path(folder)
        header = read_header(folder / "sumstats.json", "sumstats")
        traits = header.get("error_traits")

        def stored(name: str) -> NDArray[Any] | None:
            path = folder / f"{name}.npy"
            return np.load(path, mmap_mode="r") if path.exists() else None

        return cls(
            beta=np.load(folder / "beta.npy", mmap_mode="r"),
            se=np.load(folder / "se.npy", mmap_mode="r"),
            traits=read_table(folder / "traits.parquet"),
            instruments=read_table(folder / "instruments.parquet"),
            dof=np.load(folder / "dof.npy"),
            clusters=int(header["clusters"]),
            error_cov=stored("error_cov"),
            error_traits=None if traits is None else tuple(traits),
            outcome_cov=stored("outcome_cov"),
            meta=header["meta"],
            ld=stored("ld"),
        )
