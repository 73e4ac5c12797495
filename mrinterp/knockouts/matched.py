"""Knockouts that match the estimand: a shift along the dual write direction, everything else held."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.models.cut import CutNetwork
from mrinterp.scan.reader import sharded
from mrinterp.stats.clustered import clustered_mean

__all__ = ["off_support_share", "random_directions", "resample", "shift"]

Array = NDArray[np.float64]

STREAMS = {"clean": 11, "shift": 12, "resample": 13, "random": 14, "repeat": 15}
"""Streams of a sampled outcome's draws, one per sweep."""


def shift(
    network: CutNetwork,
    design: Design,
    basis: Basis,
    size: float = 1.0,
    dictionary: Dictionary | None = None,
    folder: Path | None = None,
    what: str = "shift",
) -> KnockoutEffects:
    """The matched shift: every token moved by plus and minus ``size`` units along the write direction.

    Parameters
    ----------
    size : float
        In units of the feature (natural standard deviations).
    dictionary : Dictionary, optional
        Other directions than the basis's own (random controls).
    folder : Path, optional
        Where finished shards are kept.

    Notes
    -----
    Effect per unit on a prompt: (Y(+size) - Y(-size)) / (2 size), the part that is odd in the shift;
    the mean over prompts with equal weights is the estimand of the within regression.
    """
    d = basis.dictionary if dictionary is None else dictionary
    bench = _Bench(network, design, d)
    steps = np.array([size, -size])
    amount = np.broadcast_to(steps[None, :, None], (len(d.names), 2, bench.prompts))
    swept = bench.sweep(amount, folder, what)
    per_prompt = (swept.outcome[:, 0] - swept.outcome[:, 1]) / (2 * size)
    label = f"matched shift of {size:g} {d.unit} along the dual direction"
    return bench.effects(
        "shift", label, basis, amount, swept, per_prompt, np.ones_like(amount[:, 0]), {"size": size}
    )


def resample(
    network: CutNetwork,
    design: Design,
    basis: Basis,
    donors: int = 2,
    seed: int = 0,
    folder: Path | None = None,
) -> KnockoutEffects:
    """Each feature set to the value it has on other prompts (donors of other families), the rest held.

    Parameters
    ----------
    donors : int
        Donor prompts per prompt; drawn from other families with ``seed``.

    Raises
    ------
    InputError
        If there is no prompt of another family to draw from.

    Notes
    -----
    Effect per unit on a prompt: least squares through the origin of the outcome changes on the
    feature changes of its swaps; over prompts the ratio of sums, so that a swap between equal
    values weighs nothing.
    """
    bench = _Bench(network, design, basis.dictionary)
    family = bench.family
    if len(np.unique(family)) < 2:
        raise InputError(
            "knockout split", "one family", "Resampling draws donors from other families: give at least 2"
        )
    rng = np.random.default_rng([seed, 7])
    donor = np.stack(
        [rng.choice(np.flatnonzero(family != family[p]), donors) for p in range(bench.prompts)], axis=1
    )
    amount = (bench.values[donor] - bench.values[None]).transpose(2, 0, 1)
    swept = bench.sweep(amount, folder, "resample")
    change = swept.outcome - bench.clean[None, None]
    square = (amount**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_prompt = np.where(
            square[:, :, None] > 0, np.einsum("fsp,fspo->fpo", amount, change) / square[:, :, None], 0.0
        )
    weight = square / square.mean(axis=1, keepdims=True)
    label = f"value of {donors} donor prompts of other families"
    meta = {"donors": donors, "seed": seed}
    return bench.effects("resample", label, basis, amount, swept, per_prompt, weight, meta)


def random_directions(basis: Basis, count: int, seed: int) -> Dictionary:
    """Random directions within the natural variation of tokens, scaled like the features.

    Their effects are the baseline that a claim must stand out from. Each is a standard normal draw
    with the covariance of single-token activations, scaled to the median length of the features'
    write directions.
    """
    width = basis.dictionary.write.shape[1]
    if count > width:
        raise InputError(
            "knockouts.random_controls", f"{count} directions of a site of width {width}", f"At most {width}"
        )
    rng = np.random.default_rng([seed, 8])
    raw = rng.standard_normal((count, len(basis.support))) @ (
        np.sqrt(basis.support_variance)[:, None] * basis.support
    )
    length = np.median(np.linalg.norm(basis.dictionary.write, axis=1))
    write = raw / np.linalg.norm(raw, axis=1, keepdims=True) * length
    read = np.linalg.pinv(write).T if count else write
    names = tuple(f"random:{i:02d}" for i in range(count))
    return Dictionary(names, read, write, basis.dictionary.center, unit=basis.dictionary.unit)


@dataclass(frozen=True, eq=False)
class _Swept:
    """Outcomes (F, S, P, O) of every feature x step x prompt; worst read-back error and leakage (F,)."""

    outcome: Array
    read_back: Array
    leakage: Array


class _Bench:
    """The knockout split's clean prompts, ready to be shifted along the directions of a dictionary."""

    def __init__(self, network: CutNetwork, design: Design, dictionary: Dictionary) -> None:
        self.network, self.dictionary = network.viewing(dictionary), dictionary
        rows = design.rows("knockout", ("clean",))
        runs = design.runs.iloc[rows]
        self.table = runs[["prompt", "family"]].reset_index(drop=True)
        self.family = runs["family"].to_numpy()
        self.inputs = runs["input"].to_numpy()
        self.block = int(design.settings["block"])
        self.prompts = len(rows)

        def work(a: int, b: int) -> dict[str, NDArray]:
            draw = STREAMS["clean"], np.arange(a, b)
            reading = self.network.run(self.inputs[a:b], draw=draw, cut=False)
            return {"value": reading.features, "outcome": reading.outcome}

        read = sharded(self.prompts, self.block, work, None, "knockout: clean")
        self.values, self.clean = read["value"], read["outcome"]
        self.start = self._start()

    def _start(self) -> torch.Tensor | None:
        """Unedited activations of all prompts, so that swept runs begin at the site."""
        blocks = []
        for a in range(0, self.prompts, self.block):
            activation = self.network.activation(self.inputs[a : a + self.block])
            if activation is None:
                return None
            blocks.append(activation)
        return torch.cat(blocks)

    def sweep(self, amount: Array, folder: Path | None, what: str) -> _Swept:
        """Shift every prompt by ``amount`` (F, S, P) units along every feature's write direction."""
        stream = STREAMS[what]
        d, (F, S, P) = self.dictionary, amount.shape
        flat_amount = np.ascontiguousarray(amount).ravel()

        def work(a: int, b: int) -> dict[str, NDArray]:
            index = np.arange(a, b)
            feature, prompt, step = index // (S * P), index % P, flat_amount[a:b]
            change = step[:, None] * d.write[feature]
            start = None if self.start is None else self.start[prompt]
            draw = stream, index
            reading = self.network.run(self.inputs[prompt], shift=change, draw=draw, start=start, cut=False)
            moved = reading.features - self.values[prompt]
            moved[np.arange(b - a), feature] -= step
            own = np.abs(moved[np.arange(b - a), feature])
            moved[np.arange(b - a), feature] = 0.0
            return {"outcome": reading.outcome, "own": own, "other": np.abs(moved).max(axis=1)}

        read = sharded(F * S * P, self.block, work, folder, f"knockout: {what}")
        worst = [read[k].reshape(F, S * P).max(axis=1) for k in ("own", "other")]
        return _Swept(read["outcome"].reshape(F, S, P, -1), *worst)

    def effects(
        self,
        kind: str,
        label: str,
        basis: Basis,
        amount: Array,
        swept: _Swept,
        per_prompt: Array,
        weight: Array,
        meta: dict[str, Any],
    ) -> KnockoutEffects:
        """Weighted mean over prompts (weights (F, P) with mean one), its error clustered by family."""
        F, P, O = per_prompt.shape
        mean = (per_prompt * weight[:, :, None]).mean(axis=1)
        influence = weight[:, :, None] * (per_prompt - mean[:, None, :])
        _, se, df = clustered_mean(influence.transpose(1, 0, 2).reshape(P, F * O), self.family)
        written = self.values.T[:, None, :] + amount
        low, high = self.values.min(axis=0)[:, None, None], self.values.max(axis=0)[:, None, None]
        d = self.dictionary
        return KnockoutEffects(
            kind,
            label,
            d.names,
            self.network.outcome.names,
            mean,
            se.reshape(F, O),
            df,
            per_prompt,
            self.table,
            swept.read_back,
            swept.leakage,
            off_support_share(d.write, basis),
            ((written < low) | (written > high)).mean(axis=(1, 2)),
            self._noise_floor(),
            meta,
        )

    def _noise_floor(self) -> float:
        """Largest outcome difference between two identical runs of the first block."""
        rows = np.arange(min(self.block, self.prompts))
        block = self.inputs[rows]
        twice = [self.network.run(block, draw=(STREAMS[s], rows)).outcome for s in ("clean", "repeat")]
        return float(np.abs(twice[0] - twice[1]).max())


def off_support_share(directions: Array, basis: Basis, explained: float = 0.999) -> Array:
    """Share of each direction's squared norm outside the axes that carry 99.9% of token variance."""
    variance = basis.support_variance
    inside = np.cumsum(variance) <= explained * variance.sum()
    along = directions @ basis.support.T
    return np.asarray(1 - (along[:, inside] ** 2).sum(axis=1) / (directions**2).sum(axis=1))
