"""Does any path lead from a feature to the outcome? Edits of all sizes, compared with unedited runs bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.adapters._site_output import first_tensor
from mrinterp.core.checks import checked_count, checked_seed, shown
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import edit_of
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values, spread
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.models._write_gradient import write_gradient
from mrinterp.outcomes._generated_text import GeneratedOutcome
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome

__all__ = ["INPUTS", "path_inputs", "paths_to_outcome"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

INPUTS = 8
"""Inputs that are tried, of as many families."""

SETTINGS = (
    (0.0, 1.0),
    (0.0, 10.0),
    (1.0, 0.1),
    (1.0, 1.0),
    (1.0, 100.0),
    (3.0, 3.0),
    (3.0, 30.0),
    (10.0, 10.0),
)
"""How far the other features are moved from their values, and how far the one that is asked about, in natural sd.

Gates open at settings that single inputs do not show, thresholds lie far out, and small edits vanish in rounding where
the others are large: so both go from nothing to far beyond nature."""

FINITE = (len(SETTINGS), 4, 1)
"""How many of the settings are tried: as many as leave a network's outcomes finite. The first leaves the others as they are."""

TOGETHER = 32
"""Features without a slope from which on they are edited in groups of at most as many."""

OTHERS = 512
"""Features that are moved together at most; of more, as many drawn at random."""


def paths_to_outcome(
    bench: Bench, features: Features | None = None, *, inputs: int = INPUTS, seed: int = 0
) -> PathsToOutcome:
    """From which features a path leads to the outcome: the others can be no cause, whatever a regression says.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    features : names or numbers, optional
        Default all of the view.
    inputs : int
        How many inputs are tried, of different families where there are as many.
    seed : int
        Of the settings, the edits, and the draw of inputs.

    Returns
    -------
    PathsToOutcome
        A path is found where the derivative of the outcome by the feature is not zero on some input, or where an edit
        changes a bit of the outcome; of a discrete outcome and one of generated text, a bit of the network's output.

    Raises
    ------
    InputError
        For anything but a bench, or unknown features.

    Notes
    -----
    The derivative is taken at the inputs and at random settings of all features, and settles the most with a backward pass
    per block. Where it is zero that proves nothing (dead units, saturation, steps, rounding): such features are edited on
    every input at 8 settings of the others, each by a random amount of 0.1 to 100 natural sd, and the outcome is compared
    bit for bit with that of the same block without the edit. Not valid beyond the inputs and settings tried: a gate that
    none of them opens hides a path. A path through rounding alone counts as one.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knockouts.paths_to_outcome(bench).without("output")
    ('silent', 'idle')
    """
    if not isinstance(bench, Bench):
        raise InputError("bench", shown(bench), "Give a Bench, for example Study.bench()")
    numbers, seed = feature_numbers(bench, features), checked_seed(seed)
    placed = bench.by_token
    rows = path_inputs(placed.family, checked_count(inputs, "inputs"), seed)
    tried = _Tried.drawn(placed, rows, seed)
    slope, differentiable = tried.gradients()
    slope = slope[numbers]
    found_by = np.where(slope, "gradient", "").astype(object)
    largest, edits = np.full(slope.shape, np.nan), np.zeros(len(numbers), dtype=int)
    clean = tried.outcomes()
    waiting = _groups(np.flatnonzero(~slope.all(axis=1)))
    while waiting:
        group = waiting.pop(0)
        moved, output = tried.moved_by(numbers[group], clean)
        edits[group] += len(tried.rows)
        by_output = output & ~differentiable & (moved == 0)
        if len(group) > 1 and ((moved > 0) | by_output)[~slope[group].all(axis=0)].any():
            waiting += np.array_split(group, 2)
            continue
        largest[group] = moved
        shown_by = np.where(moved > 0, "edit", np.where(by_output, "output", ""))
        found_by[group] = np.where(slope[group], "gradient", shown_by)
    return PathsToOutcome(
        features=tuple(placed.view.names[f] for f in numbers),
        outcomes=tuple(placed.outcome.names),
        path=found_by != "",
        found_by=found_by,
        largest=largest,
        edits=edits,
        meta={
            "inputs": len(rows),
            "families": len(np.unique(placed.family[rows])),
            "settings": len(tried.sizes),
            "others": [float(a) for a, _ in tried.sizes],
            "sizes": [float(b) for _, b in tried.sizes],
            "seed": seed,
            "passes": {"forward": tried.forward, "backward": tried.backward},
        },
    )


def _groups(features: Rows) -> list[Rows]:
    """Features that are edited together first: where nothing changes, none of them has a path, and most edits are saved."""
    if len(features) <= TOGETHER:
        return [np.array([k]) for k in features]
    return list(np.array_split(features, -(-len(features) // TOGETHER)))


def path_inputs(family: NDArray[np.object_], count: int, seed: int) -> Rows:
    """Numbers of some inputs, of different families as long as there are others."""
    # 31: a stream of its own, shared with no other step.
    order = np.random.default_rng([seed, 31]).permutation(len(family))
    turn = np.zeros(len(family), dtype=int)
    for name in np.unique(family):
        own = order[family[order] == name]
        turn[own] = np.arange(len(own))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:count])


@dataclass(eq=False)
class _Tried:
    """Runs of some inputs at random settings of the features, and what editing one more does to them.

    Attributes
    ----------
    rows : ndarray (n,)
        Input of every run.
    others : ndarray (B,)
        Features that are set.
    values : ndarray (n, ..., B)
        What they are set to.
    sizes : list of (float, float)
        How far the others and the one are moved, by setting.
    own : ndarray (n,)
        How far the one is moved, in natural sd.
    """

    bench: Bench
    inputs: Rows
    rows: Rows
    others: Rows
    values: Array
    sizes: list[tuple[float, float]]
    own: Array
    sd: Array
    seed: int
    forward: int = 0
    backward: int = 0

    @classmethod
    def drawn(cls, bench: Bench, inputs: Rows, seed: int) -> _Tried:
        """With all settings, or with fewer where a network has no finite outcome at some."""
        for count in FINITE:
            made = cls.at(bench, inputs, seed, list(SETTINGS[:count]))
            if all(np.isfinite(v).all() for v in made.outcomes()[0]):
                break
        return made

    @classmethod
    def at(cls, bench: Bench, inputs: Rows, seed: int, sizes: list[tuple[float, float]]) -> _Tried:
        rng, F = np.random.default_rng([seed, 32]), bench.features
        others = np.arange(F) if F <= OTHERS else np.sort(rng.choice(F, OTHERS, replace=False))
        sd = spread(clean_values(bench, np.arange(F)))
        # What never varies is moved as far as what does.
        sd = np.where(sd > 0, sd, np.median(sd[sd > 0]) if (sd > 0).any() else 1.0)
        rows = np.repeat(inputs, len(sizes))
        far, own = (np.tile([s[i] for s in sizes], len(inputs)) for i in (0, 1))
        values = bench.values[..., others][rows]
        step = rng.standard_normal(values.shape) * far.reshape(-1, *[1] * (values.ndim - 1)) * sd[others]
        return cls(bench, inputs, rows, others, values + step, sizes, own, sd, seed)

    def blocks(self) -> Iterator[slice]:
        """The runs, block by block: the same for every edit, so that bits can be compared."""
        for a in range(0, len(self.rows), self.bench.block):
            yield slice(a, a + self.bench.block)

    def gradients(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where (F, O) a derivative is not zero, and which outcomes (O,) have one."""
        bench, names = self.bench, list(self.bench.outcome.names)
        found = np.zeros((bench.features, len(names)), dtype=bool)
        has = np.zeros(len(names), dtype=bool)
        every = len(self.others) == bench.features
        states: list[tuple[Rows, Array | None]] = [(self.inputs, None)]
        states += [(self.rows[b], self.values[b]) for b in self.blocks()] if every else []
        for part in bench.outcome.parts:
            if isinstance(part, GeneratedOutcome):
                continue
            columns = [names.index(n) for n in part.names]
            for rows, at in states:
                given = None if at is None else at.reshape(len(rows), -1)
                alone = OutcomeSet([part]).take(rows)
                with bench.begun(rows):
                    inputs = bench.inputs.take(rows)
                    made = write_gradient(
                        bench.adapter, bench.site, bench.view, inputs, alone, bench.position, given
                    )
                if isinstance(made, NotApplicable):
                    break
                has[columns] = True
                self.backward += len(rows) * len(columns)
                slope = made[1].reshape(len(rows), len(columns), -1, bench.features)
                found[:, columns] |= (np.nan_to_num(slope) != 0).any(axis=(0, 2)).T
        return found, has

    def _base(self, block: slice) -> Edit:
        bench, rows = self.bench, self.rows[block]
        wanted = torch.from_numpy(self.values[block].reshape(len(rows), -1))
        view, positions = bench.view.select(self.others), bench.inputs.take(rows).at(bench.position)
        return lambda h: edit_of(view, wanted.to(h.device), positions)(h)

    def _with(self, features: Rows, block: slice, step: Array) -> Edit:
        """The settings, and on top of them some features moved along what writing them writes."""
        bench, rows, base = self.bench, self.rows[block], self._base(block)
        view, positions = bench.view.select(features), bench.inputs.take(rows).at(bench.position)

        def edit(h: torch.Tensor) -> torch.Tensor:
            set_ = base(h)
            present = view.read(set_, positions)
            more = torch.from_numpy(step).to(present.device, present.dtype).reshape(present.shape)
            return view.write(set_, present + more, positions)

        return edit

    def outcomes(self, features: Rows | None = None) -> tuple[list[Array], list[torch.Tensor | None]]:
        """Outcomes (n, O) of every block, 0 where they are of generated text; and the network's output."""
        bench, values, outputs = self.bench, [], []
        if features is not None:
            shape = (len(self.rows), *bench.values.shape[1:-1], len(features))
            rng = np.random.default_rng([self.seed, 33, *features.tolist()])
            drawn = rng.standard_normal(shape) * self.sd[features]
            steps = drawn * self.own.reshape(-1, *[1] * (len(shape) - 1))
        self.forward += len(self.rows)
        for block in self.blocks():
            rows = self.rows[block]
            edit = self._base(block) if features is None else self._with(features, block, steps[block])
            inputs = bench.inputs.take(rows)
            with torch.inference_mode(), bench.begun(rows):
                output = bench.adapter.run(inputs.tensors, write={bench.site: edit}).output
                values.append(_computed(bench.outcome_of(rows), output, inputs.mask_or_ones))
                outputs.append(_raw(output))
        return values, outputs

    def moved_by(
        self, features: Rows, clean: tuple[list[Array], list[torch.Tensor | None]]
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Largest change (O,) of the outcomes by edits of some features, above 0 where any bit changed; and (O,) whether
        the network's output changed."""
        values, outputs = self.outcomes(features)
        before, after = np.concatenate(clean[0]), np.concatenate(values)
        changed = (before != after) & ~(np.isnan(before) & np.isnan(after))
        gap = np.where(changed, np.abs(after - before), 0.0)
        largest = np.where(np.isfinite(gap), gap, np.finfo(float).max).max(axis=0)
        # What cannot be compared counts as changed: no path is claimed to be absent that was not looked for.
        same = [
            a is not None and b is not None and _same(a, b) for a, b in zip(clean[1], outputs, strict=True)
        ]
        return largest, np.full(before.shape[1], not all(same))


def _computed(outcome: OutcomeSet, output: object, mask: torch.Tensor) -> Array:
    """Outcomes (n, O) as computed, without draws; 0 for those of generated text."""
    columns = []
    for part in outcome.parts:
        if isinstance(part, GeneratedOutcome):
            columns.append(np.zeros((len(mask), len(part.names))))
            continue
        value = torch.as_tensor(part(output, mask)).detach().double().cpu().numpy()
        columns.append(value.reshape(len(mask), -1))
    return np.concatenate(columns, axis=1)


def _raw(output: object) -> torch.Tensor | None:
    try:
        return first_tensor(output, "output").detach().clone()
    except InputError:  # nothing to compare
        return None


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
