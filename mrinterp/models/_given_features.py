"""Features and outcomes that are given from memory, as sections of a study file and the files that these name."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._site_address import INPUT
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan_model import FEATURE_KEYS
from mrinterp.core.plan_outcome import OUTCOME_KEYS
from mrinterp.features._directions import Directions, Subspace
from mrinterp.features._latents import Latents
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._sae_folder import write_sae, write_transcoder
from mrinterp.features._transcoder import TranscoderView
from mrinterp.features._transcoder_weights import Transcoder
from mrinterp.features._units import AttentionHeads, Units, WholeLayer
from mrinterp.models._given import class_name, importable_name
from mrinterp.outcomes._logit_outcomes import ClassifierMargin, Logit, LogitDifference, Probability
from mrinterp.outcomes._projection_and_callable import CallableOutcome, Projection
from mrinterp.positions import LAST_TOKEN, MEAN_OF_TOKENS, Position, TokenIndex

__all__ = ["features_section", "outcome_sections"]

_PATHS = ("file", "folder", "labels")
"""Keys of the features that name files."""

TRIALS = 64
"""Vectors on which an autoencoder of ours is held against the one that was given."""


def features_section(features: Any, folder: Path, site: str) -> dict[str, Any]:
    """A study file's section for features that were given, with its files written into ``folder``, a part of ``given/``.

    Parameters
    ----------
    features : object
        A kind's name, a section, a matrix (directions, width), numbers of units, an autoencoder, or a view.

    Raises
    ------
    InputError
        For anything else, and for views or autoencoders that no study file can describe.
    """
    place = f"{folder.name}/"
    if isinstance(features, str):
        if features not in FEATURE_KEYS:
            fix = near_misses(features, FEATURE_KEYS) or f"Kinds: {', '.join(FEATURE_KEYS)}"
            raise InputError("features", repr(features), fix)
        return {"kind": features}
    if isinstance(features, Mapping):
        section = dict(features)
        if "sae" in section:
            return {**features_section(section.pop("sae"), folder, site), **section}
        if "transcoder" in section:
            return {**_transcoder(section.pop("transcoder"), section.get("reads"), folder, site), **section}
        if isinstance(section.get("file"), np.ndarray | torch.Tensor):
            return {**_array(section.pop("file"), folder), **section}
        copied = {
            k: _copied(section[k], f"features.{k}", folder) for k in _PATHS if section.get(k) is not None
        }
        return {**section, **copied}
    if isinstance(features, TranscoderView):
        if features.site_out != site:
            found = f"{site!r}; the transcoder writes at {features.site_out!r}"
            raise InputError("site", found, "Give the site that it writes")
        section = _transcoder(features.transcoder, features.site_in, folder, site)
        return {**section, "latents": list(features.latents)}
    if isinstance(features, Latents):
        return {**features_section(features.sae, folder, site), "latents": features.index.tolist()}
    if isinstance(features, Units):
        return _units(features, folder)
    if isinstance(features, Directions):
        kind = "subspace" if isinstance(features, Subspace) else "directions"
        arrays: dict[str, Any] = {"read": features.read_rows, "names": np.array(features.names)}
        if kind == "directions":
            arrays["write"] = features.write_rows
        np.savez(folder / "directions.npz", **arrays)
        return {"kind": kind, "file": f"{place}directions.npz"}
    if isinstance(features, Transcoder):
        return _transcoder(features, None, folder, site)
    if callable(getattr(features, "encode", None)) and callable(getattr(features, "decode", None)):
        sae = as_sae(features)
        write_sae(sae, folder / "sae", hook_name=site)
        return {"kind": "sae", "folder": f"{place}sae", "count": min(48, sae.latents)}
    return _array(features, folder)


def _copied(path: Any, key: str, folder: Path) -> str:
    """A file or folder that a section names, copied beside what else was given."""
    source = Path(path)
    if not source.exists():
        raise InputError(key, f"{source}: no such file", "Give a path from the working folder")
    target = folder / source.name
    shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    return f"{folder.name}/{source.name}"


def _units(view: Units, folder: Path) -> dict[str, Any]:
    index = view.index.tolist()
    if isinstance(view, WholeLayer) and index == list(range(view.width)):
        return {"kind": "layer"}
    if isinstance(view, AttentionHeads):
        heads = list(dict.fromkeys(i // view.head_width for i in index))
        if index == [h * view.head_width + i for h in heads for i in range(view.head_width)]:
            return {"kind": "heads", "heads": heads, "head_count": view.head_count, "coordinates": "all"}
    if list(view.names) == [str(i) for i in index]:
        return {"kind": "units", "units": index}
    rows = np.eye(view.width)[index]
    np.savez(folder / "directions.npz", read=rows, write=rows, names=np.array(view.names))
    return {"kind": "directions", "file": f"{folder.name}/directions.npz"}


def _array(features: Any, folder: Path) -> dict[str, Any]:
    try:
        given = features.detach().cpu().double() if isinstance(features, torch.Tensor) else features
        array = np.asarray(given)
        whole = array.ndim == 1 and array.size and np.issubdtype(array.dtype, np.integer)
        array = array if whole else np.asarray(array, dtype=float)
    except (TypeError, ValueError):
        array = np.zeros(0)
        whole = False
    if whole:
        return {"kind": "units", "units": [int(i) for i in array]}
    if array.ndim != 2 or not array.size:
        found = (
            f"array of shape {array.shape}"
            if array.ndim != 1 or array.size
            else f"{type(features).__name__} object"
        )
        raise InputError(
            "features",
            found,
            "Give a matrix (directions, width), numbers of units, an object with encode and decode, a view of"
            " mrinterp.features, or a kind such as 'independent_components'",
        )
    np.save(folder / "directions.npy", array)
    return {"kind": "directions", "file": f"{folder.name}/directions.npy"}


def as_sae(sae: Any) -> SparseAutoencoder:
    """An autoencoder of anyone's making as one of ours: its weights by their names, and held against it on random vectors.

    Raises
    ------
    InputError
        Where its weights have other names, or no known architecture of ours gives the values that it gives.
    """
    if isinstance(sae, SparseAutoencoder):
        return sae
    fix = (
        "Give weights W_enc (width, latents), W_dec (latents, width), b_enc, b_dec (or Linear layers encoder and decoder) of a"
        " standard, top-k, jumprelu or gated one; or use Bench, which takes any object with encode and decode"
    )
    weights = _named_weights(sae, _NAMES, fix)
    width, latents = weights["W_enc"].shape
    weights.setdefault("b_dec", torch.zeros(width))
    trial = torch.randn(TRIALS, width, generator=torch.Generator().manual_seed(0))
    trial = trial * torch.logspace(-1, 1.5, TRIALS)[:, None] + weights["b_dec"]
    values, back = _values_of(sae, trial, fix)
    for candidate in _candidates(weights, sae, latents):
        if _same(candidate.encode(trial), values) and _same(candidate.decode(values, trial), back):
            return candidate
    raise InputError(
        "features", f"{type(sae).__name__} gives other values than an autoencoder of its weights would", fix
    )


def _named_weights(given: Any, names: Mapping[str, tuple[str, ...]], fix: str) -> dict[str, torch.Tensor]:
    """Weights in float32 by our names, those of Linear layers turned."""
    found = {name: _weight(given, known) for name, known in names.items()}
    missing = [n for n in ("W_enc", "W_dec") if found[n] is None]
    if missing:
        raise InputError("features", f"{type(given).__name__} has no weight {missing[0]}", fix)
    weights = {n: w.detach().cpu().float() for n, w in found.items() if w is not None}
    for name, layer in (("W_enc", "encoder"), ("W_dec", "decoder")):
        if getattr(given, name, None) is None and isinstance(getattr(given, layer, None), torch.nn.Linear):
            weights[name] = weights[name].T
    return weights


def _values_of(given: Any, trial: torch.Tensor, fix: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What an object encodes of vectors, and decodes of that, in float32."""
    parameter = next(given.parameters(), trial) if isinstance(given, torch.nn.Module) else trial
    with torch.no_grad():
        try:
            values = given.encode(trial.to(parameter))
            back = given.decode(values).cpu().float()
        except (RuntimeError, TypeError) as e:
            found = f"{type(given).__name__} fails on {tuple(trial.shape)} ({e})"
            raise InputError("features", found, fix) from None
    return values.cpu().float(), back


def _kept_latents(given: Any) -> int | None:
    """Latents kept per token, where an object or its settings say so."""
    named = (getattr(o, "k", None) for o in (given, getattr(given, "cfg", None)))
    return next((int(v) for v in named if isinstance(v, int)), None)


_NAMES = {
    "W_enc": ("W_enc", "encoder.weight", "encoder"),
    "b_enc": ("b_enc", "encoder.bias"),
    "W_dec": ("W_dec", "decoder.weight", "decoder"),
    "b_dec": ("b_dec", "decoder.bias", "pre_bias", "bias"),
    "threshold": ("threshold",),
    "b_gate": ("b_gate",),
    "b_mag": ("b_mag",),
    "r_mag": ("r_mag",),
}
"""Names of an autoencoder's weights, ours first, then those of Linear layers."""


def _weight(sae: Any, names: tuple[str, ...]) -> torch.Tensor | None:
    for name in names:
        value = sae
        for part in name.split("."):
            value = getattr(value, part, None)
        if isinstance(value, torch.Tensor):
            return value
    return None


def _candidates(weights: dict[str, torch.Tensor], sae: Any, latents: int) -> list[SparseAutoencoder]:
    """Autoencoders of these weights by every architecture that they could have."""
    k = _kept_latents(sae)
    plain = {n: weights.get(n, torch.zeros(latents)) for n in ("b_enc",)}
    plain |= {n: weights[n] for n in ("W_enc", "W_dec", "b_dec")}
    kinds: list[tuple[str, dict[str, torch.Tensor], int | None, bool]] = [("standard", plain, None, False)]
    if k is not None and 1 <= k <= latents:
        kinds += [("topk", plain, k, False), ("topk", plain, k, True)]
    if "threshold" in weights:
        threshold = weights["threshold"].expand(latents).contiguous()
        kinds.append(("jumprelu", {**plain, "threshold": threshold}, None, False))
    if {"b_gate", "b_mag", "r_mag"} <= set(weights):
        own = {n: weights[n] for n in ("W_enc", "b_gate", "b_mag", "r_mag", "W_dec", "b_dec")}
        kinds.append(("gated", own, None, False))
    return [
        SparseAutoencoder(kind, own, count, centered, normalized, rescaled)
        for kind, own, count, rescaled in kinds
        for normalized in ("none", "layer_norm", "constant_norm_rescale")
        for centered in (True, False)
    ]


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to rounding of single precision."""
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().max() <= 1e-4 * other.abs().max().clamp(min=1e-6))


def _transcoder(transcoder: Any, reads: str | None, folder: Path, site: str) -> dict[str, Any]:
    """A transcoder's section, its weights written; ``reads`` is the input of ``site`` where it is left out."""
    made = as_transcoder(transcoder)
    where = reads or f"{site}{INPUT}"
    write_transcoder(made, folder / "transcoder", hook_name=where, hook_name_out=site)
    section = {"kind": "transcoder", "folder": f"{folder.name}/transcoder", "count": min(48, made.latents)}
    return section | ({} if reads is None else {"reads": reads})


def as_transcoder(given: Any) -> Transcoder:
    """A transcoder of anyone's making as one of ours: its weights by their names, and held against it on random vectors.

    Raises
    ------
    InputError
        Where its weights have other names, or no known architecture of ours gives the values that it gives.
    """
    if isinstance(given, Transcoder):
        return given
    fix = "Save its weights in the SAELens format (kind transcoder), or use a Bench with TranscoderView"
    weights = _named_weights(given, {**_NAMES, "W_skip": ("W_skip",)}, fix)
    names = {
        n: w for n, w in weights.items() if n in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "W_skip")
    }
    names.setdefault("b_enc", torch.zeros(names["W_enc"].shape[1]))
    names.setdefault("b_dec", torch.zeros(names["W_dec"].shape[1]))
    kind = "jumprelu_" * ("threshold" in names) + "skip_" * ("W_skip" in names) + "transcoder"
    if "threshold" in names:
        names["threshold"] = names["threshold"].expand(names["W_enc"].shape[1]).contiguous()
    trial = torch.randn(TRIALS, len(names["W_enc"]), generator=torch.Generator().manual_seed(0))
    trial = trial * torch.logspace(-1, 1.5, TRIALS)[:, None]
    values, back = _values_of(given, trial, fix)
    k = _kept_latents(given)
    for number in (None, k) if k is not None else (None,):
        candidate = Transcoder(kind, names, number)
        if _same(candidate.encode(trial), values) and _same(candidate.decode(values), back):
            return candidate
    found = f"{type(given).__name__} gives other values than a transcoder of its weights would"
    raise InputError("features", found, fix)


def outcome_sections(outcome: Any, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Study file sections for outcomes that were given, and what of them lies in no file, by the outcome's name.

    Parameters
    ----------
    outcome : object, or list of them
        A section, a kind that needs no more, two tokens or classes (whose logits are subtracted), a function of output and
        mask, or an outcome.

    Raises
    ------
    InputError
        For anything else, for outcomes tied to inputs, and for two of one name.
    """
    several = outcome if isinstance(outcome, list) else [outcome]
    sections, given = [], {}
    for number, one in enumerate(several):
        section, thing = _outcome(one, folder, number)
        sections.append(section)
        if thing is not None:
            given[section["name"]] = thing
    return sections, given


def _outcome(one: Any, folder: Path, number: int) -> tuple[dict[str, Any], Any]:
    if isinstance(one, Mapping):
        section = {"name": str(one.get("kind", "outcome")), **one}
        function = section.get("function")
        if callable(function):
            return _function(section.pop("function"), section)
        if isinstance(section.get("direction"), np.ndarray | torch.Tensor):
            section["direction"] = _write_direction(section["direction"], folder, number)
        elif section.get("direction") is not None:
            section["direction"] = _copied(section["direction"], "outcome.direction", folder)
        return section, None
    if isinstance(one, str):
        if one not in OUTCOME_KEYS or OUTCOME_KEYS[one][0]:
            ready = [k for k, (needed, _) in OUTCOME_KEYS.items() if not needed]
            fix = near_misses(one, ready) or f"Of a name alone: {', '.join(ready)}; else give a section"
            raise InputError("outcome", repr(one), fix)
        return {"name": one, "kind": one}, None
    if isinstance(one, tuple) and len(one) == 2 and all(isinstance(t, str | int | np.integer) for t in one):
        target, against = (t if isinstance(t, str) else int(t) for t in one)
        name = f"{str(target).strip()} - {str(against).strip()}"
        return {"name": name, "kind": "logit_difference", "target": target, "against": against}, None
    if isinstance(one, CallableOutcome):
        return _function(one.function, {"name": one.name})
    if hasattr(one, "names") and callable(one):
        return _outcome_object(one, folder, number)
    if callable(one):
        name = getattr(one, "__name__", type(one).__name__)
        return _function(one, {"name": "outcome" if name == "<lambda>" else name})
    raise InputError(
        "outcome",
        f"{type(one).__name__} object",
        "Give a section (dict), two tokens such as (' he', ' she'), a function (output, mask) of one number per run, or an"
        " outcome of mrinterp.outcomes",
    )


def _function(function: Any, section: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """A function by the name that it is imported by; kept in memory where it has none."""
    name = importable_name(function)
    if name is not None:
        return {**section, "kind": section.get("kind", "callable"), "function": name}, None
    if section.get("kind", "callable") != "callable":
        raise InputError(
            "outcome, function",
            f"{class_name(function)} cannot be imported by its name",
            "Put the judge into a module of its own, so that a later run can import it",
        )
    return {**section, "kind": "given", "given": class_name(function)}, function


def _outcome_object(one: Any, folder: Path, number: int) -> tuple[dict[str, Any], Any]:
    names = tuple(one.names)
    if len(names) != 1:
        raise InputError("outcome", f"{type(one).__name__} with {len(names)} names", "Give one outcome each")
    if hasattr(one, "take"):
        raise InputError(
            "outcome",
            f"{type(one).__name__} is tied to inputs of its own",
            "Name the kind instead ('loss', 'answer_difference', 'kl_to_clean'), with the answers in the prompts' table",
        )
    section: dict[str, Any] = {"name": names[0]}
    where = _position_name(getattr(one, "position", None))
    if where is not None:
        section["position"] = where
        if isinstance(one, LogitDifference):
            return section | {
                "kind": "logit_difference",
                "target": one.positive,
                "against": one.negative,
            }, None
        if isinstance(one, Logit | Probability | ClassifierMargin):
            kind = {Logit: "logit", Probability: "probability", ClassifierMargin: "margin"}[type(one)]
            more = {"log": one.log} if isinstance(one, Probability) else {}
            return section | {"kind": kind, "target": one.target, **more}, None
        if isinstance(one, Projection):
            return section | {
                "kind": "projection",
                "direction": _write_direction(one.direction, folder, number),
            }, None
    return {"name": names[0], "kind": "given", "given": class_name(type(one))}, one


def _position_name(position: Position | None) -> int | str | None:
    if position == LAST_TOKEN:
        return "last"
    if position == MEAN_OF_TOKENS:
        return "mean"
    return position.index if isinstance(position, TokenIndex) else None


def _write_direction(direction: Any, folder: Path, number: int) -> str:
    array: NDArray[np.float64] = np.asarray(
        direction.detach().cpu().double() if isinstance(direction, torch.Tensor) else direction, dtype=float
    )
    name = f"outcome{number}.npy"
    np.save(folder / name, array)
    return f"{folder.name}/{name}"
