"""Networks whose weights are written by hand, as worlds: a bench, a panel of noisy runs, and the formula's own truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.panel import Panel
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import FeatureView
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.tables._arrays import from_arrays
from mrinterp.worlds._exhaustive_truth import causal_label
from mrinterp.worlds._world import Part, Truth, World, WorldFamily

__all__ = [
    "FULL",
    "REST",
    "SMALL",
    "Built",
    "Sizes",
    "StreamNetwork",
    "family_of_networks",
    "noisy_inputs",
    "panel_of",
    "stream_bench",
    "substituted_inputs",
    "weights_of",
    "wired",
]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]
Perturb = Callable[[np.random.Generator, Rows], tuple[ModelInputs, Array]]
"""Inputs of perturbed runs of these prompts, and their doses (N, J)."""

REST = 0.4
"""What the answer adds of the rest of the network, whose sd is 1; planted causes add .5 to 1.2."""

STEP = 1e-5
"""Step of the local slope, in sd: these networks are linear between their kinks, so that it may be small."""


class StreamNetwork(torch.nn.Module):
    """One layer of rectified units on a residual stream, float64: ``x @ into``, the stream, ``relu``, out.

    ``answer = relu(stream @ units + bias) @ out + stream @ plain + constant``. The features are read and written at
    ``stream``; the rectified units' values are the site ``hidden``, which can be held. With ``token`` inputs have tokens,
    of which the answer reads this one.

    Parameters
    ----------
    into : ndarray (K, W)
        Inputs to stream.
    offset : ndarray (W,)
        Added to the stream.
    plain : ndarray (W,)
        Stream to answer, past the units.
    units, bias, out : ndarray (W, H), (H,), (H,), optional
        The rectified units.
    constant : float
        Added to the answer.
    token : int, optional
        The token that is read.
    """

    into: torch.Tensor
    offset: torch.Tensor
    plain: torch.Tensor
    units: torch.Tensor
    bias: torch.Tensor
    out: torch.Tensor

    def __init__(
        self,
        into: Array,
        offset: Array,
        plain: Array,
        units: Array | None = None,
        bias: Array | None = None,
        out: Array | None = None,
        constant: float = 0.0,
        token: int | None = None,
    ) -> None:
        super().__init__()
        given = {"into": into, "offset": offset, "plain": plain}
        given |= {
            "units": np.zeros((len(plain), 0)) if units is None else units,
            "bias": np.zeros(0) if bias is None else bias,
            "out": np.zeros(0) if out is None else out,
        }
        for name, value in given.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, dtype=float)))
        self.constant, self.token = constant, token
        self.stream, self.hidden = torch.nn.Identity(), torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answers (runs, 1) to inputs (runs, K), or (runs, tokens, K)."""
        stream = self.stream(x @ self.into + self.offset)
        if self.token is not None:
            stream = stream[:, self.token]
        hidden = self.hidden(torch.relu(stream @ self.units + self.bias))
        return (hidden @ self.out + stream @ self.plain + self.constant).unsqueeze(-1)


@dataclass(frozen=True)
class Sizes:
    """Families, prompts in each, and perturbed runs per prompt."""

    families: int
    prompts: int
    runs: int

    @property
    def family(self) -> Rows:
        """The family (P,) of every prompt."""
        return np.repeat(np.arange(self.families), self.prompts)

    def normal(self, rng: np.random.Generator, count: int) -> Array:
        """Inputs (P, count): standard normal, half of the variance shared by a family."""
        own = rng.standard_normal((self.families, count))[self.family]
        return np.asarray(0.5**0.5 * (own + rng.standard_normal((len(self.family), count))))


SMALL, FULL = Sizes(30, 4, 8), Sizes(160, 4, 10)


@dataclass(frozen=True, eq=False)
class Built:
    """A network with inputs and its answer as a formula, before it is a world.

    Features are the first F of the C coordinates that the formula takes; what is written into one changes its
    coordinate by as much.

    Attributes
    ----------
    bench : Bench
        Network, features, P inputs and outcome.
    coordinates : ndarray (P, C)
        Clean values of what the formula takes.
    answer : callable
        The formula: coordinates (..., C) to answers (...).
    perturb : callable
        Makes the panel's perturbed runs.
    values : ndarray (P, F), optional
        What the bench reads of the features, in units of the coordinates; default the coordinates.
    placed : ndarray (P, F), optional
        What it reads at the token that counts, which all kinds but the shift write; default `values`.
    scale : float
        What the bench reads, per unit of the coordinates.
    bypass : callable, optional
        Inputs of N runs to what of the cut is listed beside the features (N, R).
    impostors : mapping of str to str
        Features without effect, and the cause whose effect they show.
    copies : tuple of str
        Features that are one another's copies.
    direct : ndarray (F,), optional
        Effect per unit with later sites held.
    broken : frozenset of str
        Of the world.
    """

    bench: Bench
    coordinates: Array
    answer: Callable[[Array], Array]
    perturb: Perturb
    values: Array | None = None
    placed: Array | None = None
    scale: float = 1.0
    bypass: Callable[[Array], Array] | None = None
    impostors: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[str, ...] = ()
    direct: Array | None = None
    broken: frozenset[str] = frozenset()


def wired(
    x: Array,
    family: Rows,
    names: tuple[str, ...],
    mix: Array,
    rng: np.random.Generator,
    *,
    plain: Mapping[int, float],
    offset: Mapping[int, float] | None = None,
    units: Array | None = None,
    bias: Array | None = None,
    out: Array | None = None,
    constant: float = 0.0,
    token: int | None = None,
    mixed: bool = True,
    apart: int | None = None,
) -> tuple[Bench, Callable[[Array], Array], Array]:
    """A bench of a `StreamNetwork`, given in coordinates that a random rotation of the stream hides.

    The last coordinate is the rest of the network: independent of all others, read by the answer, and moved by no dose,
    so that runs leave something unexplained, as they do in networks that nobody wrote.

    Parameters
    ----------
    x : ndarray (P, C) or (P, T, C)
        Inputs.
    family : ndarray (P,)
        Of every prompt.
    names : tuple of str
        Of the F features, the first of C coordinates.
    mix : ndarray (C, C)
        Inputs to coordinates: how features accompany each other.
    plain, offset : mapping of int to float
        By coordinate: what the answer adds of it, and what is added to it.
    units : ndarray (C, H)
        With ``bias``, ``out``, ``constant`` and ``token``: as in `StreamNetwork`.
    mixed : bool
        Whether the inputs too are rotated, so that none of them is a feature.
    apart : int, optional
        A coordinate that has a unit of the stream to itself: where nothing reads it, editing it leaves every bit of the
        answer as it was.

    Returns
    -------
    bench : Bench
    coordinates : callable
        Inputs (..., C) to coordinates (..., C).
    rest : ndarray (C,)
        The direction of the inputs in which the last coordinate lies.
    """
    C = len(mix)
    turned, rotation = np.flatnonzero(np.arange(C) != apart), np.eye(C)
    rotation[np.ix_(turned, turned)] = np.linalg.qr(rng.standard_normal((len(turned), len(turned))))[0]
    entry = (np.linalg.qr(rng.standard_normal((C, C)))[0] if mixed else np.eye(C)) @ mix.T
    weights, added = weights_of(plain, C), np.zeros(C)
    if offset:
        added[list(offset)] = list(offset.values())
    network = StreamNetwork(
        entry @ rotation,
        added @ rotation,
        rotation.T @ weights,
        None if units is None else rotation.T @ units,
        bias,
        out,
        constant,
        token,
    )
    read = rotation[: len(names)]  # orthonormal: its own dual, to the bit
    view = Directions(read, read, names=names)
    bench = stream_bench(network, x, family, view)
    return bench, lambda given: np.asarray(given @ entry + added), entry[:, -1]


def weights_of(plain: Mapping[int, float], count: int) -> Array:
    """What the answer adds of each coordinate (C,), that of the rest included."""
    weights = np.zeros(count)
    weights[list(plain)] = list(plain.values())
    weights[-1] = REST
    return weights


def stream_bench(network: torch.nn.Module, x: Array, family: Rows, view: FeatureView) -> Bench:
    """A bench of a `StreamNetwork` on inputs (P, K) or (P, T, K)."""
    mask = None if x.ndim == 2 else torch.ones(x.shape[:2], dtype=torch.long)
    inputs = ModelInputs({"x": torch.from_numpy(np.ascontiguousarray(x))}, mask)
    outcome = CallableOutcome("answer", lambda output, _mask: output[:, 0])
    return Bench(TorchAdapter(network.eval()), "stream", view, inputs, outcome, family=family, block=2048)


def noisy_inputs(
    inputs: ModelInputs,
    seed: int,
    still: Array | None = None,
    instruments: int = 24,
    size: float = 0.7,
    own: float = 0.5,
) -> Perturb:
    """Noise on the inputs: doses are standard normal and move all of them at random, but not in the direction ``still``
    (K,) of unit length; ``own`` is not recorded."""
    ((key, tensor),) = inputs.tensors.items()
    shape = tuple(tensor.shape[1:])
    way = np.random.default_rng([seed, 7]).standard_normal((instruments, *shape)) / np.sqrt(instruments)
    if still is not None:
        way -= (way @ still)[..., None] * still

    def perturb(rng: np.random.Generator, rows: Rows) -> tuple[ModelInputs, Array]:
        doses = rng.standard_normal((len(rows), instruments))
        moved = size * (np.tensordot(doses, way, 1) + own * rng.standard_normal((len(rows), *shape)))
        made = tensor[torch.from_numpy(rows)] + torch.from_numpy(moved)
        return replace(inputs.take(rows), tensors={key: made}), doses

    return perturb


def substituted_inputs(
    inputs: ModelInputs, fields: Sequence[Sequence[int]], numbers: Sequence[int]
) -> Perturb:
    """Some fields of the inputs are given another value, numbers get noise; of the last one no dose is known.

    A field is one column of zeros and ones, or several of which one is one. Each is replaced in half of the runs, by a
    value drawn alike; a dose is 1 where its value was put in.
    """
    ((key, tensor),) = inputs.tensors.items()
    values = [np.array([[0.0], [1.0]]) if len(f) == 1 else np.eye(len(f)) for f in fields]

    def perturb(rng: np.random.Generator, rows: Rows) -> tuple[ModelInputs, Array]:
        made, doses = tensor.numpy()[rows].copy(), []
        for field_, levels in zip(fields, values, strict=True):
            put, which = rng.random(len(rows)) < 0.5, rng.integers(len(levels), size=len(rows))
            made[np.flatnonzero(put)[:, None], list(field_)] = levels[which[put]]
            doses.append(np.eye(len(levels))[which] * put[:, None])
        noise = rng.standard_normal((2, len(rows), len(numbers)))
        made[:, list(numbers)] += 0.7 * noise[0] + 0.35 * noise[1]
        return replace(inputs.take(rows), tensors={key: torch.from_numpy(made)}), np.hstack(
            [*doses, noise[0]]
        )

    return perturb


def exact_effects(built: Built) -> tuple[dict[str, Array], Array]:
    """Effects (F, 1) by estimand, from the formula alone, and the sd (F,) that slopes are per.

    A contrast is written at the values .1 and .9 of the way through the clean ones, or only where a feature fires
    where more than half of its values are one; donors are all prompts of other families.
    """
    C, family = built.coordinates, built.bench.family
    F = built.bench.features
    values = C[:, :F] if built.values is None else built.values
    placed = values if built.placed is None else built.placed
    clean, sd = built.answer(C), values.std(axis=0)
    kinds = ("contrast", "resample", "mean", "zero", "shift", "slope", "resample rms")
    found = {kind: np.zeros((F, 1)) for kind in kinds}
    other = family[:, None] != family[None]
    for f in range(F):

        def change(by: Array, f: int = f) -> Array:
            """Change of the answer where feature f changes by so much, (P, n)."""
            moved = np.repeat(C[:, None], by.shape[1], axis=1)
            moved[:, :, f] += by
            return np.asarray(built.answer(moved) - clean[:, None])

        v = placed[:, f]
        low, high, written = _levels(v)
        step = np.full_like(v, sd[f])
        one = [
            high - placed[:, f],
            low - placed[:, f],
            v.mean() - v,
            -v,
            step,
            -step,
            STEP * step,
            -STEP * step,
        ]
        by = change(np.stack(one, axis=1))
        found["contrast"][f] = (written * (by[:, 0] - by[:, 1])).mean()
        found["mean"][f], found["zero"][f] = by[:, 2:4].mean(axis=0)
        found["shift"][f] = (by[:, 4] - by[:, 5]).mean() / 2
        found["slope"][f] = (by[:, 6] - by[:, 7]).mean() / (2 * STEP)
        donors = change(v[None, :] - v[:, None])
        found["resample"][f] = donors[other].mean()
        found["resample rms"][f] = np.sqrt((donors[other] ** 2).mean())
    if built.direct is not None:
        found["direct"] = (built.direct * sd)[:, None]
    return found, sd * built.scale


def _levels(v: Array) -> tuple[float, float, NDArray[np.bool_]]:
    """Low and high value of a feature, and the prompts (P,) on which they are written."""
    usual = float(np.median(v))
    away = np.abs(v - usual) > 1e-6 * np.abs(v).max()
    if away.any() and away.mean() < 0.5:
        low, high = sorted([usual, float(np.median(v[away]))])
        return low, high, away
    low, high = np.quantile(v, [0.1, 0.9], method="hazen")
    return float(low), float(high), np.ones(len(v), dtype=bool)


def panel_of(
    benches: Sequence[Bench],
    perturb: Perturb,
    rng: np.random.Generator,
    runs: int,
    bypass: Callable[[Array], Array] | None = None,
) -> Panel:
    """Every prompt once clean and ``runs`` times perturbed: features of all benches (sites of one network), bypass and
    answers of real forward passes."""
    bench = benches[0]
    clean = np.arange(bench.prompts)
    rows = np.repeat(clean, runs)
    inputs, doses = perturb(rng, rows)
    made = [
        Bench(b.adapter, b.site, b.view, inputs, b.outcome, position=b.position, block=4096) for b in benches
    ]
    prompt = np.concatenate([clean, rows])
    beside = np.zeros((len(prompt), 0))
    if bypass is not None:
        (before,), (after,) = bench.inputs.tensors.values(), inputs.tensors.values()
        beside = bypass(np.concatenate([before.numpy(), after.numpy()]))
    return from_arrays(
        doses=np.concatenate([np.zeros((bench.prompts, doses.shape[1])), doses]),
        features=np.concatenate([np.hstack([b.values for b in each]) for each in (benches, made)]),
        outcomes=np.concatenate([bench.computed, made[0].computed]),
        prompt=prompt,
        family=bench.family[prompt],
        bypass=beside,
        clean=np.arange(len(prompt)) < bench.prompts,
        feature_names=[n for b in benches for n in b.view.names],
        outcome_names=bench.outcome.names,
    )


def built_world(name: str, built: Built, seed: int, runs: int) -> World:
    """The world of a built network: its bench, a panel of noisy runs, and the formula's truth.

    What is causal follows from the effects as it does for `exhaustive_truth`.
    """
    bench, names = built.bench, built.bench.view.names
    effects, sd = exact_effects(built)
    rope = ROPE_SD * bench.computed.std(axis=0)
    borrows = [names.index(built.impostors[n]) if n in built.impostors else -1 for n in names]
    group = [names.index(built.copies[0]) if n in built.copies else k for k, n in enumerate(names)]
    truth = Truth(
        names,
        tuple(bench.outcome.names),
        causal_label(effects, rope),
        np.array(borrows),
        np.array(group),
        effects,
        rope=rope,
        feature_sd=sd,
    )
    panel = panel_of([bench], built.perturb, np.random.default_rng([seed, 9]), runs, built.bypass)
    return World(name, f"seed {seed}", seed, truth, panel=panel, bench=bench, broken=built.broken)


def family_of_networks(
    name: str, part: Part, about: str, build: Callable[[np.random.Generator, Sizes, int], Built]
) -> WorldFamily:
    """A family whose worlds ``build(rng, sizes, seed)`` writes by hand."""

    def draw(seed: int, small: bool) -> World:
        sizes = SMALL if small else FULL
        built = build(np.random.default_rng([seed, crc32(name.encode())]), sizes, seed)
        return built_world(name, built, seed, sizes.runs)

    return WorldFamily(name, part, about, draw)
