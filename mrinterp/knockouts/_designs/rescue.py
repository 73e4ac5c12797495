"""Corruption the network upstream, give features their clean values back, and see how much returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.core.checks import checked_draws, checked_level, checked_seed, shown
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import written_tokens
from mrinterp.knockouts._designs.corruption import Corruption
from mrinterp.knockouts._designs.shares import shares_of
from mrinterp.knockouts._edited_runs import CHECKED
from mrinterp.knockouts._feature_numbers import FeatureSets, feature_sets
from mrinterp.results._designs.rescue import Rescue
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["rescue"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


def rescue(
    bench: Bench,
    corruption: Corruption,
    features: FeatureSets | None = None,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Rescue:
    """Share of a corruption's effect that comes back when features are set to their clean values.

    Parameters
    ----------
    bench : Bench
        Made with ``first`` at the corrupted site where that comes before its own.
    corruption : Corruption
        What is done upstream: noise, other inputs, or a knockout of another site's features.
    features : names or numbers, or sets of them by name, optional
        Each is restored alone; default every feature of the view.
    level : float
        Confidence level of Fieller's interval and of the bootstrap's.
    draws, seed : int
        Draws of the family bootstrap, and its seed.

    Returns
    -------
    Rescue
        What the corruption did to every outcome, and the share that each restoration recovers.

    Raises
    ------
    InputError
        For unknown features, a corruption before the layer that edited runs begin at, or one that is done only
        after the bench's site.

    Notes
    -----
    Share: mean of Y(corrupted) - Y(restored) over mean of Y(corrupted) - Y(clean), equal weights over
    prompts. It says that the clean value suffices in an otherwise corrupted network; a feature that
    recovers much need not be necessary. Where its effect itself cannot be told from zero the share is
    undefined: the outcome's status says so. A feature that the corruption did not move has nothing to get back:
    its share is 0, and asking for it says that it does not apply.

    Source: causal tracing, Meng et al. 2022, arXiv:2202.05262; noising against denoising, Heimersheim &
    Nanda 2024, arXiv:2404.15255; ratio, Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench(first="units")
    >>> corrupted = mrinterp.knockouts.Corruption.noise(bench, "units", scale=2.0)
    >>> mrinterp.knockouts.rescue(bench, corrupted, {"all": None}).share.round(6)
    array([[1.]])
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    if not isinstance(corruption, Corruption):
        raise InputError("corruption", shown(corruption), "Give one, such as Corruption.noise(bench, site)")
    names, members = _restorations(bench, features)
    _refuse_after(bench, corruption)
    what = f"rescue, {corruption.label}"[:60].replace("/", "_")

    def edits(arm: Rows, prompt: Rows) -> Mapping[str, Edit]:
        return _with_restored(bench, dict(corruption.edits(prompt)), members[arm], prompt)

    key = digest([corruption.key, hashlib.sha256(np.packbits(members).tobytes()).hexdigest()])
    outcome = bench.run(len(members), edits, what, key).transpose(1, 0, 2)
    lost, back = outcome[:, 0] - bench.clean, outcome[:, 1:] - outcome[:, :1]
    effect, effect_se, df = clustered_mean(lost, bench.family)
    recovered, recovered_se, _ = clustered_mean(back, bench.family)
    found = shares_of(bench, -back, lost, corruption.label, level, draws, seed)
    moved, error = _checks(bench, corruption, members)
    return Rescue(
        restored=names,
        outcomes=tuple(bench.outcome.names),
        corruption=corruption.label,
        corruption_effect=effect,
        corruption_se=effect_se,
        recovered=recovered,
        recovered_se=recovered_se,
        share=found.share,
        lower=found.lower,
        upper=found.upper,
        boot_lower=found.boot_lower,
        boot_upper=found.boot_upper,
        moved=moved,
        restoration_error=error,
        status=found.status,
        df=df,
        level=level,
        noise_floor=bench.noise_floor(),
        meta={"draws": draws, "seed": seed},
    )


def _refuse_after(bench: Bench, corruption: Corruption) -> None:
    """Refuse a corruption that is done only after the bench's site: no feature there can undo it."""
    sites = list(corruption.edits(np.arange(1)))
    here = bench.order.get(bench.site, -1)
    if sites and all(bench.order.get(site, -1) > here for site in sites):
        raise InputError(
            f"corruption at {', '.join(sites)}",
            f"is done after {bench.site}, whose features it cannot move: there is nothing to give back",
            "Corruption an earlier site, or make the bench at a later one",
        )


def _restorations(bench: Bench, features: FeatureSets | None) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Names (S), and members (S + 1, F), the first arm restoring nothing."""
    sets = feature_sets(bench, features)
    members = np.zeros((len(sets) + 1, bench.features), dtype=bool)
    for row, chosen in enumerate(sets.values(), start=1):
        members[row, chosen] = True
    return tuple(sets), members


def _with_restored(
    bench: Bench, edits: dict[str, Edit], chosen: NDArray[np.bool_], prompt: Rows
) -> Mapping[str, Edit]:
    """The edits of a block with the chosen features (n, F) set to their clean values on top of them."""
    unique = np.flatnonzero(chosen.any(axis=0))
    if not len(unique):
        return edits
    view, positions = bench.view.select(unique), bench.inputs.take(prompt).at(bench.position)
    clean = bench.values[prompt][..., unique]
    give = chosen[:, unique]
    give = np.broadcast_to(give[:, None, :] if bench.each else give, clean.shape)
    held, mask = (torch.from_numpy(np.array(a).reshape(len(prompt), -1)) for a in (clean, give))
    before = edits.get(bench.site)

    def edit(h: torch.Tensor) -> torch.Tensor:
        h = h if before is None else before(h)
        present = view.read(h, positions)
        wanted = torch.where(mask.to(h.device), held.to(present), present)
        return view.write(h, wanted, positions)

    return {**edits, bench.site: edit}


def _checks(bench: Bench, corruption: Corruption, members: NDArray[np.bool_]) -> tuple[Array, Array]:
    """How far the corruption moved every set (S,), and the error of restoring it (S,) on the first prompts."""
    corrupted = np.concatenate(
        [
            _values_under(bench, dict(corruption.edits(rows)), rows)
            for rows in _blocks(np.arange(bench.prompts), bench.block)
        ]
    )
    own = written_tokens(bench) if bench.each else np.ones(bench.prompts, dtype=bool)
    moved = np.sqrt(((corrupted - bench.values)[own] ** 2).mean(axis=0))
    natural = bench.values[own].std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        in_sd = np.where(natural > 0, moved / natural, np.where(moved > 0, np.inf, 0.0))
    error = np.zeros(len(members) - 1)
    first = np.arange(min(CHECKED, bench.prompts))
    for pair in _blocks(np.arange(len(error) * len(first)), bench.block):
        arm, prompt = np.divmod(pair, len(first))
        chosen = members[arm + 1]
        read = _values_under(
            bench, _with_restored(bench, dict(corruption.edits(prompt)), chosen, prompt), prompt
        )
        off = np.abs(read - bench.values[prompt]).reshape(len(pair), -1, bench.features).max(axis=1)
        np.maximum.at(error, arm, np.where(chosen, off, 0.0).max(axis=1))
    return np.where(members[1:], in_sd, 0.0).max(axis=1), error


def _blocks(rows: Rows, block: int) -> list[Rows]:
    return [rows[a : a + block] for a in range(0, len(rows), block)]


def _values_under(bench: Bench, edits: Mapping[str, Edit], prompt: Rows) -> Array:
    """Values of all features of the bench in edited runs of these prompts."""
    inputs = bench.inputs.take(prompt)
    with torch.inference_mode(), bench.begun(prompt):
        run = bench.adapter.run(inputs.tensors, read=[bench.site], write=dict(edits))
        read = bench.view.read(run.activations[bench.site], inputs.at(bench.position))
    return read.double().cpu().numpy().reshape(len(prompt), *bench.values.shape[1:])
