"""Organisms: small networks trained on a hidden rule, a decision tree over ten fields, half of which only come along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.checks import checked_count, checked_seed
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome import Outcome
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.worlds._exhaustive_truth import exhaustive_truth
from mrinterp.worlds._kept_network import kept_network, schedule
from mrinterp.worlds._world import World, WorldFamily

__all__ = ["ORGANISM_FAMILIES", "Organism", "Rule", "organism"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

FIELDS, DEEPEST, MOST_IN_RULE = 10, 4, 5
"""Fields of an input, depth of the deepest rule, and fields that a rule uses at most, so that each has a decoy."""
TOGETHER = 0.9
"""Correlation of a decoy with its field: it is the field's twin so often, else a coin of its own."""
FAINTEST = 0.1
"""Share of the inputs whose answer changes with a field of the rule, at least: a field below is none of it."""
LOG_ODDS = 3.0
"""Of the answer that the rule gives."""
WIDTH, HIDDEN, STEPS, RATE = 24, 48, 300, 1e-2
SITE = "blocks.0"
EVERY = np.array([[(row >> k) & 1 for k in range(FIELDS)] for row in range(2**FIELDS)])
"""All inputs there are."""


@dataclass(frozen=True)
class Rule:
    """A decision tree: at a node the field that is asked and the two branches, at a leaf the answer.

    Attributes
    ----------
    field : int
        Which of the ten fields is asked; -1 at a leaf.
    answer : bool
        At a leaf.
    no, yes : Rule or None
        Where the field is 0, and where it is 1; None at a leaf.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> print(mrinterp.worlds.organism(0, families=4, steps=2).rule)
    not field9
    """

    field: int = -1
    answer: bool = False
    no: Rule | None = None
    yes: Rule | None = None

    def __str__(self) -> str:
        if self.no is None or self.yes is None:
            return str(self.answer).lower()
        if self.no.field < 0 and self.yes.field < 0:
            return f"field{self.field}" if self.yes.answer else f"not field{self.field}"
        return f"({self.yes} if field{self.field} else {self.no})"

    def answers(self, fields: Ints) -> NDArray[np.bool_]:
        """The rule's answer (N,) to fields (N, 10) of 0 and 1."""
        if self.no is None or self.yes is None:
            return np.full(len(fields), self.answer)
        return np.where(fields[:, self.field] == 1, self.yes.answers(fields), self.no.answers(fields))

    @property
    def fields(self) -> tuple[int, ...]:
        """The fields that the tree asks, sorted."""
        if self.no is None or self.yes is None:
            return ()
        return tuple(sorted({self.field, *self.no.fields, *self.yes.fields}))


class _Network(torch.nn.Module):
    """Ten fields embedded in a residual stream, two blocks of rectified units, and a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Linear(FIELDS, WIDTH)
        self.blocks = torch.nn.ModuleList(_Block() for _ in range(2))
        self.out = torch.nn.Linear(WIDTH, 1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        """Logits (runs, 1) of fields (runs, 10) of -1 and 1."""
        h = self.embed(fields)
        for block in self.blocks:
            h = block(h)
        return self.out(h)


class _Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(WIDTH, HIDDEN), torch.nn.Linear(HIDDEN, WIDTH)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.down(torch.relu(self.up(h)))


@dataclass(frozen=True, eq=False)
class Organism:
    """The network with inputs, ready for a bench, and its rule.

    Attributes
    ----------
    number, depth : int
        Which organism it is, and how deep its rule.
    rule : Rule
        What the network was trained on.
    accuracy : float
        Share of all 1,024 inputs on which network and rule agree.
    decoy_of : dict of int to int
        Decoys, and the field of the rule that each goes along with.
    adapter : TorchAdapter
        The network, ready to be run and edited.
    site : str
        Where features are read and written: the residual stream after the first block.
    view : Directions
        The ten fields: differences of mean activations, over all inputs alike.
    inputs : ModelInputs
        P inputs, no tokens.
    outcome : Outcome
        The logit.
    family : ndarray (P,) of int
        Inputs of one family agree in the fields that are neither in the rule nor decoys.
    values : ndarray (P, 10)
        The fields, 0 or 1.

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.worlds.organism(0, families=10, steps=2).bench()
    Bench(site='blocks.0', features=10, outcomes=1, prompts=40, families=10)
    """

    number: int
    depth: int
    rule: Rule
    accuracy: float
    decoy_of: dict[int, int]
    adapter: TorchAdapter
    site: str
    view: Directions
    inputs: ModelInputs
    outcome: Outcome
    family: Ints
    values: Ints

    def bench(self, outcome: Outcome | OutcomeSet | None = None, **options: Any) -> Bench:
        """A bench of the network on its inputs.

        Parameters
        ----------
        outcome : Outcome or OutcomeSet, optional
            Default the logit.
        **options
            Of `mrinterp.knockouts.Bench`, such as ``block`` or ``folder``.

        Returns
        -------
        Bench
            Ten features on P inputs, errors clustered by family.
        """
        given = {"family": self.family, **options}
        measured = self.outcome if outcome is None else outcome
        return Bench(self.adapter, self.site, self.view, self.inputs, measured, **given)


def organism(
    number: int,
    families: int = 160,
    per_family: int = 4,
    *,
    steps: int | None = None,
    folder: str | Path | None = None,
) -> Organism:
    """Train one of the organisms.

    Parameters
    ----------
    number : int
        Of the rule, the weights and the inputs; the rule's depth is 1 more than the rest of its division by 4. The
        benchmark's one hundred are 0 to 99.
    families, per_family : int
        How many families, and inputs in each.
    steps : int, optional
        Of training. Default 300, on all 1,024 inputs: about two seconds on one core.
    folder : path, optional
        Where the trained network is kept, and found again. Default: it is trained anew.

    Returns
    -------
    Organism
        Network, features, inputs, and the rule.

    Raises
    ------
    InputError
        For a number below 0 and counts below 1.

    Notes
    -----
    A rule of depth d asks d to 5 of the ten fields, each of which changes the answer to a tenth of the inputs or more;
    each has a decoy that correlates .9 with it in the inputs, and no part in the rule. Half of the weight of training is on
    inputs whose decoys are drawn apart, so that the network can tell them from the rule.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.worlds.organism(1, families=10, steps=2)
    >>> found.depth, len(found.rule.fields), len(found.decoy_of)
    (2, 2, 2)
    """
    checked_seed(number)
    steps = STEPS if steps is None else steps
    for name, count in (("families", families), ("per_family", per_family), ("steps", steps)):
        checked_count(count, name)
    depth = 1 + number % DEEPEST
    rng = np.random.default_rng([number, 1])
    rule, decoy_of = _rule(rng, depth)
    drawn = _fields(np.random.default_rng([number, 2]), decoy_of, families, per_family)
    network = kept_network(
        "organism",
        number,
        (str(rule), decoy_of, steps, WIDTH, HIDDEN, RATE, LOG_ODDS, TOGETHER),
        folder,
        _Network,
        lambda made: _train(made, rule, decoy_of, steps),
    )
    adapter = TorchAdapter(network)
    with torch.inference_mode():
        run = adapter.run({"fields": _signs(EVERY)}, read=[SITE])
    h = run.activations[SITE].double().numpy()
    agree = (run.output[:, 0].numpy() > 0) == rule.answers(EVERY)
    write = np.stack(
        [h[EVERY[:, k] == 1].mean(axis=0) - h[EVERY[:, k] == 0].mean(axis=0) for k in range(FIELDS)]
    )
    view = Directions.from_write(write, h.mean(axis=0), [f"field{k}" for k in range(FIELDS)])
    outcome = CallableOutcome("logit", lambda output, _mask: output[:, 0])
    return Organism(
        number,
        depth,
        rule,
        float(agree.mean()),
        decoy_of,
        adapter,
        SITE,
        view,
        ModelInputs({"fields": _signs(drawn)}),
        outcome,
        np.repeat(np.arange(families), per_family),
        drawn,
    )


def _signs(fields: Ints) -> torch.Tensor:
    return torch.from_numpy(2.0 * fields - 1.0).float()


def _rule(rng: np.random.Generator, depth: int) -> tuple[Rule, dict[int, int]]:
    """A tree of this depth whose every field matters, and a decoy for each: drawn until one is found."""
    while True:
        order = rng.permutation(FIELDS)
        most = min(MOST_IN_RULE, 2**depth - 1)
        pool = order[: rng.integers(depth, most + 1)]
        rule = _tree(rng, depth, tuple(pool.tolist()))
        answers = rule.answers(EVERY)
        changes = [(rule.answers(EVERY ^ (np.arange(FIELDS) == k)) != answers).mean() for k in pool]
        if min(changes) >= FAINTEST and 0.25 <= answers.mean() <= 0.75:
            return rule, dict(zip(order[len(pool) :].tolist(), pool.tolist(), strict=False))


def _tree(rng: np.random.Generator, depth: int, pool: tuple[int, ...]) -> Rule:
    """Every path asks fields that it did not ask before; one branch goes down to the full depth."""
    if not depth:
        return Rule(answer=bool(rng.integers(2)))
    field = int(rng.choice(pool))
    left = tuple(k for k in pool if k != field)
    # The other branch is as deep or ends earlier.
    depths = [depth - 1, int(rng.integers(0, depth))]
    while True:
        no, yes = (_tree(rng, depths[k], left) for k in rng.permutation(2))
        if no != yes:  # else nothing is asked here
            return Rule(field, False, no, yes)


def _fields(rng: np.random.Generator, decoy_of: dict[int, int], families: int, per_family: int) -> Ints:
    """Fields (P, 10): coins, but for decoys."""
    count = families * per_family
    drawn = rng.integers(0, 2, (count, FIELDS))
    idle = [k for k in range(FIELDS) if k not in decoy_of and k not in decoy_of.values()]
    own = rng.integers(0, 2, (families, len(idle)))
    drawn[:, idle] = np.repeat(own, per_family, axis=0)
    together = rng.random((count, FIELDS)) < TOGETHER
    for decoy, field in decoy_of.items():
        drawn[:, decoy] = np.where(together[:, decoy], drawn[:, field], drawn[:, decoy])
    return np.asarray(drawn)


def _train(network: _Network, rule: Rule, decoy_of: dict[int, int], steps: int) -> None:
    """Adam on the log odds of all inputs, weighted half alike and half as often as they come."""
    chance = np.full(len(EVERY), 2.0**-FIELDS)
    for decoy, field in decoy_of.items():
        same = EVERY[:, decoy] == EVERY[:, field]
        chance *= np.where(same, 1 + TOGETHER, 1 - TOGETHER)
    weight = torch.from_numpy(0.5 * 2.0**-FIELDS + 0.5 * chance).float()
    wanted = torch.from_numpy(LOG_ODDS * (2.0 * rule.answers(EVERY) - 1)).float()
    fields = _signs(EVERY)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for step in range(steps):
        schedule(optimizer, RATE, step, steps)
        loss = (weight * (network(fields)[:, 0] - wanted) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _world(seed: int, small: bool, folder: str | Path | None, first: int) -> World:
    """Organisms of two depths in turn: ``first`` is 0 for depths 1 and 2, 2 for depths 3 and 4."""
    made = organism(DEEPEST * (seed // 2) + first + seed % 2, 60 if small else 160, folder=folder)
    bench = made.bench(block=256)
    names = bench.view.names
    decoys = {names[decoy]: names[field] for decoy, field in made.decoy_of.items()}
    truth = exhaustive_truth(bench, decoys, causal=[names[k] for k in made.rule.fields])
    family = f"organisms of depth {first + 1} and {first + 2}"
    return World(family, f"organism {made.number}: {made.rule}", seed, truth, bench=bench)


def _shallow(seed: int, small: bool, folder: str | Path | None) -> World:
    return _world(seed, small, folder, 0)


def _deep(seed: int, small: bool, folder: str | Path | None) -> World:
    return _world(seed, small, folder, 2)


ORGANISM_FAMILIES = (
    WorldFamily(
        "organisms of depth 1 and 2",
        "development",
        "Networks trained on a decision tree that asks one to three of ten fields: those are causal, and each has a decoy "
        "that correlates .9 with it and is not in the rule.",
        _shallow,
        trained=True,
    ),
    WorldFamily(
        "organisms of depth 3 and 4",
        "evaluation",
        "Networks trained on a decision tree that asks three to five of ten fields, some of them on one branch only: those "
        "are causal, and each has a decoy that correlates .9 with it and is not in the rule.",
        _deep,
        trained=True,
    ),
)
