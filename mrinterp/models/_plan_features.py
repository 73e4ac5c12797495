"""Features that a study file defines in full: units, heads, files of directions, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.plan_model import FeaturesSection
from mrinterp.features._directions import Directions, Subspace
from mrinterp.features._units import AttentionHeads, Units, WholeLayer
from mrinterp.models._plan_adapter import AdaptedNetwork
from mrinterp.models._plan_files import read_numbers
from mrinterp.models._site_heads import check_heads, heads_at

__all__ = ["PlanFeatures", "plan_features"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlanFeatures:
    """F linear features as the plan defines them, before they are scaled to units of their spread.

    ``read, write`` (F, width): values of an activation h are ``read @ h``, written along ``write``. ``wholes``:
    orthonormal rows (k, width) of each head or subspace that the features are coordinates of, by its name; with
    ``leading`` the features are its so many leading principal coordinates, learned on the discovery split, in place of
    ``read, write``.
    """

    names: tuple[str, ...]
    read: Array
    write: Array
    wholes: Mapping[str, Array] = field(default_factory=dict)
    leading: int = 0


def plan_features(
    section: FeaturesSection, width: int, network: AdaptedNetwork, embedding: str, folder: Path, site: str
) -> PlanFeatures | None:
    """The features that a study file defines, for a site of this name and width; None for kinds that are learned.

    Raises
    ------
    InputError
        For a unit or head that the site does not have, a file of another width or made for another site, or
        directions that depend on each other.
    """
    if section.kind == "units":
        if section.units == "all":
            return _units(WholeLayer(width), width)
        return _units(Units(section.units or (), width), width)
    if section.kind == "layer":
        return _units(WholeLayer(width), width)
    if section.kind == "heads":
        return _heads(section, width, network, site)
    if section.kind in ("directions", "subspace"):
        return _from_file(section, width, folder, site)
    if section.kind in ("embedding", "token"):
        return _token_rows(section, width, network, embedding)
    return None


def _units(view: Units, width: int) -> PlanFeatures:
    rows = np.eye(width)[view.index.numpy()]
    return PlanFeatures(tuple(n.replace(":", ".") for n in view.names), rows, rows)


def _heads(section: FeaturesSection, width: int, network: AdaptedNetwork, site: str) -> PlanFeatures:
    held = heads_at(network.adapter, site, width)
    count = section.head_count or (held[0][0] if held else None)
    if count is None:
        raise InputError(
            "features.head_count",
            "missing, and the network's configuration does not say how many heads the site holds",
            "Add head_count",
        )
    chosen = section.heads or ()
    if len(set(chosen)) < len(chosen) or not chosen:
        raise InputError("features.heads", f"{list(chosen)}", "Give distinct heads, at least one")
    view = AttentionHeads(chosen, count, width)
    check_heads(view, network.adapter, site)
    slices = view.index.numpy().reshape(len(chosen), -1)
    heads = {f"head{h}": np.eye(width)[own] for h, own in zip(chosen, slices, strict=True)}
    if section.coordinates == "all":
        return replace(_units(view, width), wholes=heads)
    return _leading(heads, 1 if section.coordinates == "leading" else section.coordinates, width)


def _leading(wholes: Mapping[str, Array], count: int, width: int) -> PlanFeatures:
    """Leading principal coordinates of heads or of a subspace; one of each goes by the whole's name."""
    for name, rows in wholes.items():
        if count > len(rows):
            found = f"{count} coordinates of {name}, which has {len(rows)}"
            raise InputError("features.coordinates", found, f"Ask for at most {len(rows)}")
    names = [f"{name}.pc{i}" if count > 1 else name for name in wholes for i in range(count)]
    nothing = np.zeros((0, width))
    return PlanFeatures(tuple(names), nothing, nothing, wholes, count)


def _from_file(section: FeaturesSection, width: int, folder: Path, site: str) -> PlanFeatures:
    found = read_numbers(folder / str(section.file), "features.file")
    made_for = str(found.get("site", site))
    # A network and its base model name the same layer with and without a prefix.
    if not (site.endswith(made_for) or made_for.endswith(site)):
        raise InputError(
            "features.file",
            f"{section.file} was made for site {made_for!r}; the study reads {site!r}",
            "Set model.site to it, or give a file made for this site",
        )
    names = [str(n) for n in found["names"]] if "names" in found else None
    if "read" not in found:
        raise InputError(
            "features.file", f"arrays {', '.join(found)}", "Name the one with the read vectors 'read'"
        )
    read = np.atleast_2d(np.asarray(found["read"], dtype=float))
    if read.ndim != 2 or read.shape[1] != width:
        raise InputError(
            "features.file",
            f"{section.file} holds an array of shape {read.shape}; the site is {width} wide",
            "Give one row of that width per direction",
        )
    view = (
        Subspace(read, names=names)
        if section.kind == "subspace"
        else Directions(read, found.get("write"), names=names)
    )
    if isinstance(view, Subspace) and isinstance(section.coordinates, int):
        return _leading({"subspace": view.read_rows}, section.coordinates, width)
    names_of = tuple(n.replace(":", ".") for n in view.names)
    wholes = {"subspace": view.read_rows} if isinstance(view, Subspace) else {}
    return PlanFeatures(names_of, view.read_rows, view.write_rows, wholes)


def _token_rows(
    section: FeaturesSection, width: int, network: AdaptedNetwork, embedding: str
) -> PlanFeatures:
    """Rows of the embedding or of the output layer, scaled to length one; written by their duals."""
    tokens = section.tokens or ()
    table = _table(section.kind, network, embedding)
    if table.shape[1] != width:
        raise InputError(
            f"features.kind {section.kind!r}",
            f"rows of width {table.shape[1]}; the site is {width} wide",
            "Choose a site of the residual stream",
        )
    ids = [_token_id(t, network, len(table)) for t in tokens]
    rows = table[ids].double().cpu().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    names = [str(t).strip().replace(":", ".") or repr(t) for t in tokens]
    view = Directions(rows, names=names)
    return PlanFeatures(view.names, view.read_rows, view.write_rows)


def _table(kind: str, network: AdaptedNetwork, embedding: str) -> torch.Tensor:
    module: Any = network.module
    getter = "get_output_embeddings" if kind == "token" else "get_input_embeddings"
    try:
        layer = getattr(module, getter)()
    except (AttributeError, NotImplementedError):
        layer = dict(module.named_modules()).get(embedding) if kind == "embedding" else None
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        raise InputError(
            f"features.kind {kind!r}",
            f"{type(module).__name__} shows no {'output' if kind == 'token' else 'word'} embedding matrix",
            "Save the rows in a file and use kind 'directions'",
        )
    return weight.detach()


def _token_id(token: str | int, network: AdaptedNetwork, count: int) -> int:
    if isinstance(token, str):
        if network.tokenizer is None:
            raise InputError("features.tokens", f"{token!r}, and the network has no tokenizer", "Give its id")
        ids = network.tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or ids[0] == network.tokenizer.unk_token_id:
            raise InputError(
                "features.tokens",
                f"{token!r} is not a single token",
                "Give text that is one token, or its id",
            )
        return int(ids[0])
    if not 0 <= token < count:
        raise InputError("features.tokens", f"token {token} of {count}", "They count from 0")
    return token
