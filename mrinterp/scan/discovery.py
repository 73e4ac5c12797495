"""Everything that is learned on the discovery split, and nothing after it: the Basis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan import Plan
from mrinterp.models.cut import CutNetwork
from mrinterp.models.text import TokenArrays
from mrinterp.scan.bypass import choose_rank, mean_bypass, nested_order, position_bypass
from mrinterp.scan.dictionary import describe_features, feature_names, learn_dictionary
from mrinterp.scan.reader import read_runs, sharded

__all__ = ["learn_basis"]

Array = NDArray[np.float64]


def learn_basis(
    network: CutNetwork,
    design: Design,
    tokens: TokenArrays,
    plan: Plan,
    folder: Path | None = None,
    labels: dict[str, str] | None = None,
) -> Basis:
    """Scan the discovery split; learn dictionary, bypass bases, their order and the rank.

    Parameters
    ----------
    folder : Path, optional
        Where finished shards are kept.
    labels : dict, optional
        Imported labels by feature name; the others are described by what moves them.

    Raises
    ------
    InputError
        If a kind of perturbation never changes the site (names the kind or the instrument).
    """
    names = feature_names(plan.model.site, plan.features.count)
    for name in labels or {}:
        if name not in names:
            raise InputError(
                f"features.labels, feature {name!r}", "no such feature", near_misses(name, names)
            )
    rows = design.rows("discovery")
    read = read_runs(network, design, tokens, rows, folder=folder and folder / "runs", what="discovery")
    runs = design.runs.iloc[rows].reset_index(drop=True)
    clean = runs["clean"].to_numpy() - rows[0]
    kind = runs["kind"].to_numpy()
    moved = read["mean"] - read["mean"][clean]
    _refuse_silent_instruments(design, rows, kind, moved)
    natural = kind != "noise"
    primary = kind == plan.estimation.kind
    if not primary.any():
        raise InputError(
            "estimation.kind",
            f"no {plan.estimation.kind!r} runs in the design",
            "Ask for runs of that kind, or change the kind",
        )
    with tqdm(total=3, desc="basis", unit="step", disable=None) as bar:
        dictionary = learn_dictionary(
            read["mean"][natural], plan.features.kind, plan.features.count, plan.seed, plan.model.site
        )
        bar.update()
        change = _Change(
            moved[primary],
            read["deviation"][primary] - read["deviation"][clean[primary]],
            read["outcome"][primary] - read["outcome"][clean[primary]],
            runs["family"].to_numpy()[primary],
        )
        mean_rows = mean_bypass(dictionary, change.mean)
        position_rows = position_bypass(change.deviation, 2 * plan.estimation.max_rank, plan.seed)
        bar.update()
        features = change.mean @ dictionary.read.T
        bypass = np.concatenate([change.mean @ mean_rows.T, change.deviation @ position_rows.T], axis=1)
        order = nested_order(features, bypass, change.outcome)
        ceiling = _ceiling(design, plan, features.shape[1])
        rank, path = choose_rank(features, bypass[:, order], change.outcome, change.family, ceiling)
        bar.update()
    values = (read["mean"][natural] - dictionary.center) @ dictionary.read.T
    found = describe_features(values, design.doses[rows[natural]], design.instruments)
    dictionary = replace(
        dictionary, labels=tuple((labels or {}).get(n, d) for n, d in zip(names, found, strict=True))
    )
    support, variance = _token_support(network, design, tokens, rows[natural], folder)
    meta = {
        "ceiling": ceiling,
        "position_classes": design.settings["position_classes"],
        "outcome_sd": read["outcome"][natural].std(axis=0).tolist(),
        "natural_runs": int(natural.sum()),
        "feature_change_sd": float(np.sqrt((features**2).mean())),
    }
    return Basis(dictionary, mean_rows, position_rows, order, rank, path, support, variance, meta)


@dataclass(frozen=True, eq=False)
class _Change:
    """Changes of the primary kind's runs against their clean runs."""

    mean: Array
    deviation: NDArray[np.float32]
    outcome: Array
    family: NDArray


def _refuse_silent_instruments(design: Design, rows: NDArray[np.int_], kind: NDArray, moved: Array) -> None:
    """A perturbation that leaves the site bit for bit as it was is an error of the plan."""
    still = ~(moved != 0).any(axis=1)
    for name in sorted(set(kind) - {"clean"}):
        if still[kind == name].all():
            raise InputError(
                f"instruments.{name}",
                "never changes the site (discovery split)",
                "Check that the site lies downstream of the perturbed input",
            )
    slot = design.columns("slot")
    if not len(slot):
        return
    clean = design.runs["clean"].to_numpy()[rows]
    of_kind = np.flatnonzero(kind == "slot")
    change = np.asarray(design.doses[rows[of_kind]][:, slot]) - np.asarray(
        design.doses[clean[of_kind]][:, slot]
    )
    for j, name in enumerate(design.instruments["instrument"].to_numpy()[slot]):
        used = change[:, j] != 0
        alone = used & (np.abs(change).sum(axis=1) == 1)
        if alone.any() and still[of_kind][alone].all():
            raise InputError(
                f"instrument {name!r}",
                "never changes the site (discovery split)",
                "Give a filler that the tokenizer tells apart from the others",
            )


def _ceiling(design: Design, plan: Plan, features: int) -> int:
    runs = len(design.rows("estimation", (plan.estimation.kind,)))
    return int(min(plan.estimation.max_rank, runs / plan.estimation.runs_per_column - features))


def _token_support(
    network: CutNetwork, design: Design, tokens: TokenArrays, rows: NDArray[np.int_], folder: Path | None
) -> tuple[Array, Array]:
    """Principal axes of single-token activations of the clean sentences, and their variances."""
    inputs = np.unique(design.runs["input"].to_numpy()[rows])
    block = int(design.settings["block"])

    def work(a: int, b: int) -> dict[str, NDArray]:
        n, first, second = network.token_moments(tokens.take(inputs[a:b]))
        return {"n": np.array([n]), "first": first[None], "second": second[None]}

    # Only a sample of sentences is needed for a covariance of a few hundred dimensions.
    count = min(len(inputs), 16 * block)
    parts = sharded(count, block, work, folder and folder / "support", "support")
    n = parts["n"].sum()
    mean = parts["first"].sum(axis=0) / n
    covariance = parts["second"].sum(axis=0) / n - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1].T.copy(), np.maximum(values[::-1], 0.0)
