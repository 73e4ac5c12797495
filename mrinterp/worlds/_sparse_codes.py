"""Sparse codes: thousands of correlated latents in a hierarchy, a few planted causes, and runs that are kept sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.worlds._sparse_runs import SparseRuns
from mrinterp.worlds._world import Truth, World, WorldFamily

__all__ = ["SPARSE_FAMILIES"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

NAME = "sparse codes"
CHILDREN = 3
"""Children of every parent: they fire only where it does."""
TOPICS, INSTRUMENTS, HITS = 32, 256, 8
"""Topics that latents share; instruments; and how many of these move a latent beside its topics."""
MOST_FREQUENT, LEAST_FREQUENT = 0.3, 0.002
"""Of the parents: the shares of runs in which they fire fall as one over the rank (Zipf)."""
BENCH_PROMPTS = 400
BLOCK = 256
"""Runs drawn at a time: the scores of all latents are dense for so many only."""
NOISE = 0.3
"""Standard deviation of the outcome that no latent explains; causes together have about 1."""


@dataclass(frozen=True)
class _Code:
    """How often latents fire, what moves them, and whose children they are: parents first, then children."""

    parents: int
    threshold: Array
    topics: Array
    pushes: sparse.csr_array
    shown: Rows

    @property
    def parent(self) -> Rows:
        """The parent (F,) of every latent; its own number for parents."""
        P = self.parents
        return np.concatenate([np.arange(P), np.repeat(np.arange(P), CHILDREN)])


def _code(rng: np.random.Generator, latents: int) -> _Code:
    P = latents // (1 + CHILDREN)
    rate = np.maximum(MOST_FREQUENT / (1 + np.arange(P)), LEAST_FREQUENT)
    threshold = np.concatenate([norm.isf(rate), rng.uniform(-0.5, 0.8, P * CHILDREN)])
    own = rng.standard_normal((latents, TOPICS))
    parent = np.concatenate([np.arange(P), np.repeat(np.arange(P), CHILDREN)])
    topics = own / np.linalg.norm(own, axis=1, keepdims=True)
    topics[P:] = 0.8 * topics[parent[P:]] + 0.6 * topics[P:]
    rows = rng.integers(INSTRUMENTS, size=latents * HITS)
    sizes = rng.normal(scale=0.5, size=latents * HITS)
    pushes = sparse.csr_array(
        (sizes, (rows, np.repeat(np.arange(latents), HITS))), shape=(INSTRUMENTS, latents)
    )
    return _Code(P, threshold, topics, pushes, rng.permutation(latents))


def _activations(
    rng: np.random.Generator, code: _Code, doses: sparse.csr_array, prompt: Rows, family: Rows
) -> sparse.csc_array:
    """Values (N, F), in the order in which latents are shown: what their scores exceed their thresholds by.

    Of a score's variance the topics have a half, of which families share a half; the rest is the prompt's own but for a
    tenth, which is each run's own. Doses move topics and, beside them, some latents each.
    """
    F, P = len(code.threshold), code.parents
    way = rng.standard_normal((INSTRUMENTS, TOPICS)) * 0.3
    shared = rng.standard_normal((family.max() + 1, TOPICS))
    own = rng.standard_normal((prompt.max() + 1, TOPICS))
    seeds = rng.integers(2**62, size=prompt.max() + 1)
    parts = []
    for a in range(0, len(prompt), BLOCK):
        rows = np.arange(a, min(a + BLOCK, len(prompt)))
        topic = 0.5**0.5 * (shared[family[rows]] + own[prompt[rows]]) + doses[rows] @ way
        # A prompt's noise is drawn again from its seed wherever one of its runs lies: nothing of (prompts, F) is kept.
        of_prompt, number = np.unique(prompt[rows], return_inverse=True)
        noise = np.stack([np.random.default_rng(seeds[p]).standard_normal(F, np.float32) for p in of_prompt])[
            number
        ]
        score = 0.5**0.5 * topic @ code.topics.T + 0.45**0.5 * noise + (doses[rows] @ code.pushes).toarray()
        score += 0.05**0.5 * rng.standard_normal(score.shape, np.float32)
        value = np.maximum(score - code.threshold, 0.0)
        value[:, P:] *= (value[:, :P] > 0).repeat(CHILDREN, axis=1)
        parts.append(sparse.csr_array(value[:, code.shown]))
    return sparse.csc_array(sparse.vstack(parts))


def _doses(rng: np.random.Generator, clean: NDArray[np.bool_]) -> sparse.csr_array:
    """Eight instruments in every perturbed run, normal doses."""
    rows = np.repeat(np.flatnonzero(~clean), 8)
    columns = rng.integers(INSTRUMENTS, size=len(rows))
    return sparse.csr_array(
        (rng.standard_normal(len(rows)), (rows, columns)), shape=(len(clean), INSTRUMENTS)
    )


def _planted(
    rng: np.random.Generator, values: sparse.csc_array, tree: Rows, shown: NDArray[np.bool_], causes: int
) -> Array:
    """Effects per unit (F,): causes of different trees, of those that fire in .4% of the runs and on the bench."""
    often = np.diff(values.indptr) > 0.004 * values.shape[0]
    chosen: list[int] = []
    for k in rng.permutation(np.flatnonzero(often & shown)):
        if tree[k] not in tree[chosen]:
            chosen.append(int(k))
        if len(chosen) == causes:
            break
    size = rng.uniform(0.75, 1.5, len(chosen)) * rng.choice([-1.0, 1.0], len(chosen)) / np.sqrt(causes)
    effects = np.zeros(values.shape[1])
    effects[chosen] = size / _sd(values)[chosen]
    return effects


def _sd(values: sparse.csc_array) -> Array:
    """Standard deviation (F,) of sparse values; 1 where nothing fires."""
    mean, square = values.mean(axis=0), values.power(2).mean(axis=0)
    sd = np.sqrt(np.maximum(np.asarray(square - mean**2), 0.0))
    return np.where(sd > 0, sd, 1.0)


def _bench(values: Array, effects: Array, family: Rows, names: Sequence[str]) -> Bench:
    """The latents as units of a site from which one linear map leads to the outcome."""
    layer = torch.nn.Linear(len(effects), 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(effects)[None])
    network = torch.nn.Sequential(torch.nn.Identity(), layer).eval().requires_grad_(False)
    outcome = CallableOutcome("y", lambda output, _mask: output[:, 0])
    view, inputs = (
        Units(range(len(effects)), len(effects), names),
        ModelInputs({"input": torch.from_numpy(values)}),
    )
    return Bench(TorchAdapter(network), "0", view, inputs, outcome, family=family, block=256)


def _exact(values: Array, effects: Array, family: Rows, sd: Array) -> dict[str, Array]:
    """Effects (F, 1) by estimand on the bench's prompts (P, F): all are linear in the feature."""
    P, F = values.shape
    other = float((family[:, None] != family).sum())
    total, square = values.sum(axis=0), (values**2).sum(axis=0)
    members = np.unique(family, return_counts=True)[1]
    sums = np.stack([values[family == k].sum(axis=0) for k in np.unique(family)])
    inside = sum(
        2 * n * (values[family == k] ** 2).sum(axis=0)
        for k, n in zip(np.unique(family), members, strict=True)
    )
    apart = 2 * P * square - 2 * total**2 - (inside - 2 * (sums**2).sum(axis=0))
    fires = values > 0
    median = np.array([np.median(values[fires[:, k], k]) if fires[:, k].any() else 0.0 for k in range(F)])
    found = {
        "slope": effects * sd,
        "zero": -effects * values.mean(axis=0),
        "mean": np.zeros(F),
        "contrast": effects * median * fires.mean(axis=0),
        "resample rms": np.abs(effects) * np.sqrt(np.maximum(apart, 0.0) / other),
    }
    return {kind: effect[:, None] for kind, effect in found.items()}


def _draw(seed: int, small: bool) -> World:
    latents, causes = (1024, 10) if small else (16_384, 50)
    families, prompts, runs = (100, 4, 4) if small else (400, 5, 7)
    rng = np.random.default_rng([seed, 11])
    code = _code(rng, latents)
    P = families * prompts
    prompt = np.repeat(np.arange(P), runs + 1)
    family, clean = prompt // prompts, np.arange(len(prompt)) % (runs + 1) == 0
    doses = _doses(rng, clean)
    values = _activations(rng, code, doses, prompt, family)
    tree = code.parent[code.shown]
    seen = np.flatnonzero(clean)[:: max(1, P // BENCH_PROMPTS)]
    at_bench = values[seen].toarray()
    effects = _planted(rng, values, tree, (at_bench > 0).sum(axis=0) >= 2, causes)
    outcome = values @ effects + NOISE * rng.standard_normal(len(prompt))
    names = tuple(f"latent{k}" for k in range(latents))
    made = SparseRuns(values, doses, outcome[:, None], prompt, family, clean, names, ("y",))
    cause = np.flatnonzero(effects)
    borrows = np.full(latents, -1)
    for k in cause:
        borrows[(tree == tree[k]) & (np.arange(latents) != k)] = k
    sd = _sd(values)
    truth = Truth(
        names,
        ("y",),
        (effects != 0)[:, None],
        borrows,
        effects=_exact(at_bench, effects, family[seen], sd),
        rope=ROPE_SD * outcome[clean].std(keepdims=True),
        feature_sd=sd,
    )
    bench = _bench(at_bench, effects, family[seen], names)
    panel = made.panel(np.arange(latents)) if small else None
    return World(NAME, f"seed {seed}", seed, truth, panel=panel, bench=bench, sparse=made)


SPARSE_FAMILIES = (
    WorldFamily(
        NAME,
        "development",
        "16,384 latents (small: 1,024), Zipf, children firing only with parents; 50 (10) causes, each with silent relatives.",
        _draw,
    ),
)
