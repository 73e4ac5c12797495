"""What a randomized experiment at a site writes: high and low values of many features at once, and how runs are set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.core.checks import checked_count, checked_fraction
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import ChannelMap
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._edited_runs import CHECKED
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._site_variation import SiteVariation, write_vectors
from mrinterp.knockouts._support import check_support
from mrinterp.stats.clustered.joint_effects import Jackknifed, jackknifed_mean
from mrinterp.stats.clustered.least_squares import families_of, satterthwaite

__all__ = ["SHARES", "MirroredRuns", "WrittenLevels", "along_components", "moved_ones"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

SHARES = (0.25, 0.25, 0.25, 0.5)
"""Inclusion of successive runs that are extrapolated: the smaller one weighs more, so that it gets three runs of four."""

ROWS = 1.5
"""Mirrored runs per effect, outside the largest family, that every fit needs at least."""

HELD = 8_000_000
"""Values checked at a time."""


@dataclass(frozen=True, eq=False)
class MirroredRuns:
    """How the R mirrored runs of a prompt are set: ``inclusion`` (R,), and ``second`` (R,) for those that have no part in
    choosing features; ``codes`` (P,) of the families, ``df`` of errors that leave them out."""

    inclusion: Array
    second: NDArray[np.bool_]
    codes: Rows
    df: float

    @classmethod
    def of(cls, bench: Bench, factors: int, runs: int, inclusion: float, extrapolate: bool) -> MirroredRuns:
        least = 16 if extrapolate else 4
        checked_fraction(inclusion, "inclusion", zero=False)
        checked_count(runs, "runs_per_prompt", least=least)
        if runs % 2:
            raise InputError("runs_per_prompt", f"{runs}", f"Give an even number, such as {runs + 1}")
        if extrapolate and inclusion != 1:
            raise InputError(
                "inclusion", f"{inclusion:g} beside extrapolate", "Leave it out: 1/4 and 1/2 are run"
            )
        codes, names = families_of(bench.family)
        count = np.bincount(codes)
        rows = bench.prompts - (count.max() if len(names) > 1 else 0)
        shares, second = _halves(runs, inclusion, extrapolate)
        if _fewest(shares, second) * rows < ROWS * factors:
            while _fewest(shares, second) * rows < ROWS * factors:
                runs += 2
                shares, second = _halves(runs, inclusion, extrapolate)
            found = f"too few for {factors} features at random on {bench.prompts} prompts"
            raise InputError(
                "runs_per_prompt", found, f"Give at least {runs}, more prompts or fewer features"
            )
        h = (count / bench.prompts)[:, None]
        df = float(satterthwaite(h, 1 / (1 - h))[0]) if len(names) > 1 else 0.0
        return cls(shares, second, codes, df)


def _halves(runs: int, inclusion: float, extrapolate: bool) -> tuple[Array, NDArray[np.bool_]]:
    run = np.arange(runs // 2)
    if not extrapolate:
        return np.full(len(run), float(inclusion)), run % 2 == 1
    return np.array(SHARES)[run % len(SHARES)], run // len(SHARES) % 2 == 1


def _fewest(shares: Array, second: NDArray[np.bool_]) -> int:
    """Runs of a prompt in the smallest fit."""
    return min(int(((shares == s) & (second == half)).sum()) for s in np.unique(shares) for half in (0, 1))


@dataclass(frozen=True, eq=False)
class WrittenLevels:
    """High and low values (K, P[, T]) of K features of a bench, nan where nothing is written; ``moved`` (K,) whether
    anything is, and ``outside`` the share outside natural support, by name, where there is any."""

    bench: Bench
    numbers: Rows
    high: Array
    low: Array
    moved: NDArray[np.bool_]
    outside: dict[str, float]

    @classmethod
    def of(cls, bench: Bench, contrast: Contrast, numbers: Rows, variation: SiteVariation) -> WrittenLevels:
        values = contrast.targets(bench)(numbers)
        step = max(1, HELD // int(np.prod(values.shape[1:])))
        parts = [slice(a, a + step) for a in range(0, len(numbers), step)]
        support = [check_support(bench, numbers[p], values[p], variation) for p in parts]
        moved, share = (np.concatenate([getattr(s, n) for s in support]) for n in ("moved", "outside_range"))
        if not moved.any():
            raise InputError(
                "features", "not one has two values on these inputs", "Give others, or other inputs"
            )
        names = [bench.view.names[f] for f in numbers]
        outside = {n: float(s) for n, s in zip(names, share, strict=True) if s > 0}
        return cls(bench, numbers, values[:, 0], values[:, 1], moved, outside)

    def taken(self, rows: Rows) -> WrittenLevels:
        """Some of the features."""
        return replace(
            self, numbers=self.numbers[rows], high=self.high[rows], low=self.low[rows], moved=self.moved[rows]
        )

    def changes(self, settings: NDArray[np.int8], what: str) -> Array:
        """Outcomes of runs set as ``settings`` (R, P, K) less those of their mirror images, (R, P, O)."""
        h = hashlib.sha256(np.ascontiguousarray(settings).tobytes())
        for values in (self.numbers, self.high, self.low):
            h.update(np.ascontiguousarray(values).tobytes())

        def edits(arm: Rows, prompt: Rows) -> dict[str, Edit]:
            run, mirrored = np.divmod(arm, 2)
            return {self.bench.site: self._edit(settings[run, prompt] * (1 - 2 * mirrored)[:, None], prompt)}

        outcome = self.bench.run(2 * len(settings), edits, what, h.hexdigest())
        return outcome[::2] - outcome[1::2]

    def alone(self, replicates: int, codes: Rows) -> Jackknifed:
        """Effects of every feature with the others as they are, each run several times on every prompt."""
        m, P = len(self.numbers), self.bench.prompts
        O = len(self.bench.outcome.names)
        if not m:
            return jackknifed_mean(np.empty((P, 0, O)), codes)
        settings = np.repeat(np.eye(m, dtype=np.int8), replicates, axis=0)
        settings = np.repeat(settings[:, None], P, axis=1)
        change = self.changes(settings, "site experiment, one at a time").reshape(m, replicates, P, O)
        return jackknifed_mean(change.mean(axis=1).transpose(1, 0, 2), codes)

    def read_back(self) -> Array:
        """Largest difference (K,) between what is written and what is then read, all features at once, on a few prompts."""
        bench, rows = self.bench, np.arange(min(CHECKED, self.bench.prompts))
        worst = np.zeros(len(self.numbers))
        for sign in (1, -1):
            signs = np.full((len(rows), len(self.numbers)), sign)
            edit = {bench.site: self._edit(signs, rows)}
            _, h = bench.run_block(rows, edit, "read back", rows, read=True)
            positions = bench.inputs.take(rows).at(bench.position)
            read = bench.read_view(bench.view.select(self.numbers), h, positions)
            error = np.abs(read - self._wanted(signs, rows))
            worst = np.maximum(worst, error.reshape(-1, len(self.numbers)).max(axis=0))
        return worst

    def _wanted(self, signs: NDArray[np.int_], prompt: Rows) -> Array:
        """Values (n, K), or (n, T, K): high, low, or as they are."""
        high, low = self.high[:, prompt], self.low[:, prompt]
        clean = np.moveaxis(self.bench.values[prompt][..., self.numbers], -1, 0)
        sign = signs.T.reshape(*signs.T.shape, *(1 for _ in high.shape[2:]))
        new = np.where(sign > 0, high, low)
        return np.moveaxis(np.where((sign == 0) | np.isnan(new), clean, new), 0, -1)

    def _edit(self, signs: NDArray[np.int_], prompt: Rows) -> Edit:
        bench = self.bench
        view, inputs = bench.view.select(self.numbers), bench.inputs.take(prompt)
        positions, wanted = (
            inputs.at(bench.position),
            torch.from_numpy(self._wanted(signs, prompt)).flatten(1),
        )
        tokens = None if inputs.mask is None else inputs.mask.shape[1]

        def edit(h: torch.Tensor) -> torch.Tensor:
            if h.ndim != 3 or tokens is None or h.shape[1] == tokens:
                return view.write(h, wanted.to(h.device), positions)
            own = view.write(h[:, :tokens], wanted.to(h.device), positions)
            return torch.cat([own, h[:, tokens:]], dim=1)  # text that is being generated is let alone

        return edit


def moved_ones(written: WrittenLevels) -> tuple[WrittenLevels, Array]:
    """The features that are written at all, and where they stand among all (K, K')."""
    moved = np.flatnonzero(written.moved)
    return written.taken(moved), np.eye(len(written.moved))[:, moved]


def along_components(
    written: WrittenLevels, contrast: Contrast, variation: SiteVariation
) -> tuple[WrittenLevels, Array]:
    """The site's principal components in place of the features, and how much of each one's contrast every feature's is (K, K').

    Components beyond 99.9% of the variance are left out: their contrasts are so small that what features owe to them
    would be noise alone.
    """
    bench, axes = written.bench, variation.axes
    vectors = write_vectors(bench.view.select(written.numbers), variation)
    if np.isnan(vectors).any():
        found = f"{type(bench.view).__name__} does not say what it adds to an activation"
        raise InputError(
            "components", found, f"Give at most {variation.width} features, or a view of directions"
        )
    names = [f"component:{j:03d}" for j in range(len(axes))]
    view = Directions(axes, axes, names=names)
    placed = bench.viewing(ChannelMap(view) if isinstance(bench.view, ChannelMap) else view)
    own = replace(contrast, levels=contrast_levels(placed, contrast.low, contrast.high, contrast.by))
    site = WrittenLevels.of(placed, own, np.arange(len(axes)), variation)
    site, _ = moved_ones(site)
    step = np.nan_to_num(site.high - site.low).reshape(len(site.numbers), -1)
    moved = np.nan_to_num(written.high - written.low).reshape(len(vectors), -1)
    share = moved @ step.T / (step**2).sum(axis=1)
    return site, share * (vectors @ axes[site.numbers].T)
