"""Damage the network upstream, give features their clean values back, and see how much returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest
from mrinterp.knockouts._bench import CHECKED, Bench
from mrinterp.knockouts._clean_values import own_tokens
from mrinterp.knockouts._designs.corruption import Damage
from mrinterp.knockouts._designs.shares import shares_of
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.options import check_whole
from mrinterp.knockouts._outcome_rope import check_draws, check_level
from mrinterp.results._designs.rescue import Rescue
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["rescue"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


def rescue(
    bench: Bench,
    features: Features | Mapping[str, Features] | None,
    damage: Damage,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Rescue:
    """Share of a damage's effect that comes back when features are set to their clean values.

    Parameters
    ----------
    bench : Bench
        Made with ``first`` at the damaged site where that comes before its own.
    features : names or numbers, or sets of them by name, optional
        Each is restored alone; None for every feature of the view.
    damage : Damage
    level, draws, seed
        Of Fieller's interval; of the family bootstrap beside it.

    Raises
    ------
    InputError
        For unknown features, damage before the layer that edited runs begin at, or damage that is done only
        after the bench's site.

    Notes
    -----
    Share: mean of Y(damaged) - Y(restored) over mean of Y(damaged) - Y(clean), equal weights over
    prompts. It says that the clean value suffices in an otherwise damaged network; a feature that
    recovers much need not be necessary. Where the damage itself cannot be told from zero the share is
    undefined: the outcome's status says so. A feature that the damage did not move has nothing to get back:
    its share is 0, and asking for it says that it does not apply.

    Source: causal tracing, Meng et al. 2022, arXiv:2202.05262; noising against denoising, Heimersheim &
    Nanda 2024, arXiv:2404.15255; ratio, Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x.
    """
    check_level(level)
    check_draws(draws)
    check_whole("seed", seed, 0, "Give a whole number of at least 0")
    names, members = _restorations(bench, features)
    _refuse_after(bench, damage)
    what = f"rescue, {damage.label}"[:60].replace("/", "_")

    def edits(arm: Rows, prompt: Rows) -> Mapping[str, Edit]:
        return _with_restored(bench, dict(damage.edits(prompt)), members[arm], prompt)

    key = digest([damage.key, hashlib.sha256(np.packbits(members).tobytes()).hexdigest()])
    outcome = bench.run(len(members), edits, what, key).transpose(1, 0, 2)
    lost, back = outcome[:, 0] - bench.clean, outcome[:, 1:] - outcome[:, :1]
    effect, effect_se, df = clustered_mean(lost, bench.family)
    recovered, recovered_se, _ = clustered_mean(back, bench.family)
    found = shares_of(bench, -back, lost, damage.label, level, draws, seed)
    moved, error = _checks(bench, damage, members)
    return Rescue(
        restored=names,
        outcomes=tuple(bench.outcome.names),
        damage=damage.label,
        damage_effect=effect,
        damage_se=effect_se,
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


def _refuse_after(bench: Bench, damage: Damage) -> None:
    """Refuse damage that is done only after the bench's site: no feature there can undo it."""
    sites = list(damage.edits(np.arange(1)))
    here = bench.order.get(bench.site, -1)
    if sites and all(bench.order.get(site, -1) > here for site in sites):
        raise InputError(
            f"damage at {', '.join(sites)}",
            f"is done after {bench.site}, whose features it cannot move: there is nothing to give back",
            "Damage an earlier site, or make the bench at a later one",
        )


def _restorations(
    bench: Bench, features: Features | Mapping[str, Features] | None
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Names (S), and members (S + 1, F), the first arm restoring nothing."""
    if isinstance(features, Mapping):
        sets = {name: feature_numbers(bench, given, f"set {name!r}") for name, given in features.items()}
        if not sets:
            raise InputError("features", "no set given", "Give at least one")
    else:
        sets = {bench.view.names[f]: np.array([f]) for f in feature_numbers(bench, features)}
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
    view, positions = bench.view.select(unique), bench.inputs.take(prompt).at(bench.rule)
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


def _checks(bench: Bench, damage: Damage, members: NDArray[np.bool_]) -> tuple[Array, Array]:
    """How far the damage moved every set (S,), and the error of restoring it (S,) on the first prompts."""
    damaged = np.concatenate(
        [
            _values_under(bench, dict(damage.edits(rows)), rows)
            for rows in _blocks(np.arange(bench.prompts), bench.block)
        ]
    )
    own = own_tokens(bench.inputs) if bench.each else np.ones(bench.prompts, dtype=bool)
    moved = np.sqrt(((damaged - bench.values)[own] ** 2).mean(axis=0))
    natural = bench.values[own].std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        in_sd = np.where(natural > 0, moved / natural, np.where(moved > 0, np.inf, 0.0))
    error = np.zeros(len(members) - 1)
    first = np.arange(min(CHECKED, bench.prompts))
    for pair in _blocks(np.arange(len(error) * len(first)), bench.block):
        arm, prompt = np.divmod(pair, len(first))
        chosen = members[arm + 1]
        read = _values_under(bench, _with_restored(bench, dict(damage.edits(prompt)), chosen, prompt), prompt)
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
        read = bench.view.read(run.activations[bench.site], inputs.at(bench.rule))
    return read.double().cpu().numpy().reshape(len(prompt), *bench.values.shape[1:])
