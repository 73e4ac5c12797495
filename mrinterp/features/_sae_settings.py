"""Settings of a trained SAE that change what is read: obeyed by the reader, held against the inputs, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._site_address import INPUT, module_path
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._transformer_lens import TransformerLensAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._transcoder_weights import PairedLatents, Transcoder
from mrinterp.positions import Position

__all__ = ["USE", "check_sae_use", "folded", "refuse_settings", "setting", "truth"]

USE = (
    "hook_name",
    "prepend_bos",
    "context_size",
    "seqpos_slice",
    "exclude_special_tokens",
    "model_from_pretrained_kwargs",
)
"""Settings that say on what an SAE may be used; kept when it is written again."""

_OBEYED = (
    "normalize_activations",
    "rescale_acts_by_decoder_norm",
    "finetuning_scaling_factor",
    "normalize_sae_decoder",
)
_TRAINING = re.compile(
    r"^(lp_|l1_|l2_|aux|sparsity|scale_sparsity|decoder_|init|lr|noise|grad|adam|weight_decay)"
)
"""Settings of the training alone."""
_SCALING = re.compile(r"scal|norm")
_HOOK = re.compile(r"^blocks\.(\d+)\.(.+)$")


def setting(config: Mapping[str, Any], *names: str) -> Any:
    """A setting by one of its names, from the flat layout of ``cfg.json`` or the one with ``metadata``."""
    more = config.get("metadata")
    for place in (config, more if isinstance(more, Mapping) else {}):
        for name in names:
            if place.get(name) is not None:
                return place[name]
    return None


def truth(where: str, config: Mapping[str, Any], name: str, default: bool) -> bool:
    """A setting that is true or false.

    Raises
    ------
    InputError
        For anything else, the text "false" included.
    """
    value = setting(config, name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InputError(where, f"{name} is {value!r}", "Write true or false, without quotes")
    return value


def refuse_settings(where: str, config: Mapping[str, Any], pair: bool = False) -> None:
    """Refuse settings under which an SAE (or, with ``pair``, a transcoder) reads something else than the site's activation.

    Raises
    ------
    InputError
        For an SAE of one attention head, one that writes elsewhere than it reads, or a scaling that is not known.
    """
    head = setting(config, "hook_head_index", "hook_point_head_index", "hook_head_index_out")
    if head is not None:
        raise InputError(
            where,
            f"hook_head_index is {head}: it was trained on one attention head, not on the whole site",
            "Use an SAE of the whole site (hook_head_index null)",
        )
    read, written = (
        setting(config, "hook_name", "hook_point"),
        setting(config, "hook_name_out", "hook_point_out"),
    )
    if written is not None and written != read and not pair:
        raise InputError(
            where,
            f"reads {read} and writes {written}",
            'It is a transcoder: kind "transcoder" in a study file, or TranscoderView',
        )
    every = (
        {**(config.get("metadata") or {}), **config} if isinstance(config.get("metadata"), dict) else config
    )
    for name, value in every.items():
        number = isinstance(value, int | float) and value not in (0, 1)
        if (
            (number or value is True)
            and _SCALING.search(name)
            and name not in _OBEYED
            and not _TRAINING.search(name)
        ):
            raise InputError(
                where,
                f"{name} is {value!r}: a scaling that this program does not know",
                "Fold it into the weights and take it out of cfg.json (or just take it out, where it does not change"
                " what is read)",
            )


def check_sae_use(
    view: Any, adapter: Adapter, site: str, inputs: ModelInputs, position: Position | None = None
) -> None:
    """Hold what an SAE was trained on against the network, the site and the tokens that are read.

    Parameters
    ----------
    view : object
        A view of latents, or an SAE; anything else passes.
    position : Position, optional
        Where features are read.

    Raises
    ------
    InputError
        For another site or layer, tokens at positions that were left out of its training or lie beyond its context,
        and texts with or without the first token that it was trained with.
    """
    while hasattr(view, "view"):
        view = view.view
    sae: Any
    if isinstance(view, PairedLatents):
        sae, pair = view.transcoder, view.pair
        if not isinstance(sae, Transcoder) or not sae.settings:
            return
        _check_site(sae.settings, pair.inner, pair.reads)
        there = {"hook_name": setting(sae.settings, "hook_name_out", "hook_point_out")}
        _check_site(there, pair.inner, pair.writes)
    else:
        sae = view if isinstance(view, SparseAutoencoder) else getattr(view, "sae", None)
        if not isinstance(sae, SparseAutoencoder) or not sae.settings:
            return
        _check_site(sae.settings, adapter, site)
    selected = inputs.at(position) if position is not None and inputs.mask is not None else None
    if selected is None or inputs.mask is None:
        return
    own, chosen = inputs.mask.bool().cpu().numpy(), selected.selected.cpu().numpy()
    _check_places(sae.settings, own, chosen)
    ids = inputs.tensors.get("input_ids")
    if ids is not None and tuple(ids.shape) == own.shape:
        _check_tokens(sae.settings, adapter, ids.cpu().numpy(), own, chosen)


def _check_places(config: Mapping[str, Any], own: np.ndarray, chosen: np.ndarray) -> None:
    """Refuse tokens at places that the SAE was not trained on."""
    place = np.where(own, own.cumsum(axis=1) - 1, -1)
    context, kept = setting(config, "context_size"), setting(config, "seqpos_slice")
    span = int(context) if isinstance(context, int) and context > 0 else own.shape[1]
    trained = np.zeros(max(span, own.shape[1]), dtype=bool)
    trained[np.arange(span)[slice(*kept)] if kept else slice(span)] = True
    outside = chosen & ~trained[place]
    if outside.any():
        row, token = np.argwhere(outside)[0]
        beyond = place[row, token] >= span
        why = f"context_size {span}" if beyond else f"seqpos_slice {list(kept)}"
        raise InputError(
            f"SAE, input {row}",
            f"token {place[row, token]} is read, a position that its training left out ({why})",
            "Shorten the texts"
            if beyond
            else "Choose a position inside it, such as 'last' or a token's number",
        )


def _check_tokens(
    config: Mapping[str, Any], adapter: Adapter, ids: np.ndarray, own: np.ndarray, chosen: np.ndarray
) -> None:
    """Refuse texts that begin otherwise than the SAE's, and special tokens that its training left out."""
    special = _special_tokens(adapter)
    left_out = setting(config, "exclude_special_tokens")
    if left_out:
        known = set(special.values()) if left_out is True else {int(i) for i in np.atleast_1d(left_out)}
        hit = chosen & np.isin(ids, list(known))
        if hit.any():
            row, token = np.argwhere(hit)[0]
            raise InputError(
                f"SAE, input {row}",
                f"special token {ids[row, token]} is read, which its training left out (exclude_special_tokens)",
                "Choose a position without special tokens, such as a slot or a token's number",
            )
    bos, begins = special.get("bos_token_id"), setting(config, "prepend_bos")
    if bos is None or begins is None:
        return
    rows, start = np.arange(len(ids)), own.argmax(axis=1)
    has = ids[rows, start] == bos
    if begins is True and not has.all():
        row = int(np.flatnonzero(~has)[0])
        raise InputError(
            f"SAE, input {row}",
            f"begins with token {ids[row, start[row]]}; the SAE was trained on texts that begin with the token {bos}"
            " (prepend_bos)",
            "Put the tokenizer's bos_token in front of every text",
        )
    if begins is False and (has & chosen[rows, start]).any():
        row = int(np.flatnonzero(has & chosen[rows, start])[0])
        raise InputError(
            f"SAE, input {row}",
            f"the first token {bos} is read; the SAE was trained without it (prepend_bos is false)",
            "Leave it out of the texts, or choose a position after it",
        )


def _special_tokens(adapter: Adapter) -> dict[str, int]:
    """Ids of the network's special tokens, as far as it says, by name."""
    config: Any = getattr(adapter.module, "config", None)
    if config is None:  # TransformerLens holds its tokenizer
        config = getattr(adapter.module, "tokenizer", None)
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id")
    found = {name: getattr(config, name, None) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _check_site(config: Mapping[str, Any], adapter: Adapter, site: str) -> None:
    hook = setting(config, "hook_name", "hook_point")
    options = setting(config, "model_from_pretrained_kwargs") or {}
    in_stream = re.search(r"resid|mlp_out|attn_out|embed", str(hook or "resid")) is not None
    torch_site = isinstance(adapter, TorchAdapter)
    if torch_site and in_stream and options.get("center_writing_weights"):
        raise InputError(
            "SAE",
            "was trained on activations of TransformerLens with center_writing_weights: without their mean over the"
            " width, which this network keeps",
            "Load the network with TransformerLens and use TransformerLensAdapter",
        )
    if not isinstance(hook, str) or hook == site:
        return
    trained, here = _place(hook, None), _place(site, adapter if torch_site else None)
    if trained and here:
        # A part of a layer may be the stream itself under another name; the output of a layer is never a part.
        elsewhere = trained != here if trained[0] == here[0] else here[0] == "stream"
    else:
        elsewhere = (torch_site or isinstance(adapter, TransformerLensAdapter)) and hook in adapter.sites()
    if elsewhere:
        raise InputError(
            f"site {site!r}",
            f"the SAE was trained at {hook}, which is another place in the network",
            "Choose the site that it was trained on (what hook_resid_pre of layer N holds is the output of layer N - 1)",
        )


def _place(site: str, adapter: Adapter | None) -> tuple[str, int] | None:
    """The residual stream after so many layers, or a part of one layer; None where the name does not say."""
    named = _HOOK.match(site)
    if named:
        layer, rest = int(named.group(1)), named.group(2)
        if rest in ("hook_resid_pre", "hook_resid_post"):
            return "stream", layer + (rest == "hook_resid_post")
        return "part", layer
    if isinstance(adapter, TorchAdapter):
        path = module_path(site)
        if adapter.can_resume(path):
            return "stream", int(path.rpartition(".")[2]) + (not site.endswith(INPUT))
        numbers = re.findall(r"(?:^|\.)(\d+)(?=\.)", path)
        return ("part", int(numbers[0])) if numbers else None
    return None


def folded(weights: dict[str, torch.Tensor], factor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weights with a factor of every latent on the way out taken into the decoder."""
    return {**weights, "W_dec": weights["W_dec"] * factor.reshape(-1, 1)}
