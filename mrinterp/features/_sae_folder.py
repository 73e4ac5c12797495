"""SAEs on disk in the SAELens folder format: ``cfg.json`` and ``sae_weights.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mrinterp.core.errors import InputError
from mrinterp.core.storage import check_sums, read_json, whole_folder, write_json
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._sae_settings import USE, folded, refuse_settings, setting, truth
from mrinterp.features._transcoder_weights import TRANSCODERS, Transcoder

__all__ = ["read_sae", "read_transcoder", "write_sae", "write_transcoder"]

_UNUSED = ("scaling_factor", "finetuning_scaling_factor")
"""Weights that a folder may hold though nothing reads them (factors that are switched off)."""


def read_sae(folder: str | Path, width: int | None = None) -> SparseAutoencoder:
    """Read an SAE; weights come from safetensors, so that nothing in the folder is executed.

    Parameters
    ----------
    folder : path
        With ``cfg.json`` and ``sae_weights.safetensors``.
    width : int, optional
        Width of the site it is used at; checked where given.

    Returns
    -------
    SparseAutoencoder

    Raises
    ------
    InputError
        For a missing or damaged file, an architecture or setting that is not supported, weights that
        do not fit, or a width that is not the site's.

    Notes
    -----
    Both layouts of ``cfg.json`` are read: the flat one and, from version 6 of SAELens on, the one
    with ``metadata``. ``apply_b_dec_to_input`` defaults to true, as it does there. Factors that were fitted after
    training (``finetuning_scaling_factor``) are taken into the decoder. What the SAE was trained on (its site, its
    positions, its context, special tokens) stays in its settings; a bench and a study refuse tokens and sites that
    its training left out. An SAE of one attention head is refused.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrinterp.features import SparseAutoencoder, read_sae, write_sae
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.eye(2), "b_dec": torch.zeros(2)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sae(SparseAutoencoder("standard", weights), folder + "/sae")
    ...     sae = read_sae(folder + "/sae", width=2)
    >>> sae.architecture, sae.latents
    ('standard', 2)
    """
    folder = Path(folder)
    config, weights = _stored(folder)
    where = str(folder / "cfg.json")
    refuse_settings(where, config)
    weights, config = _scaled(where, weights, config)
    architecture, k = _architecture(folder, config)
    sae = SparseAutoencoder(
        architecture,
        {name: value.float() for name, value in weights.items()},
        k,
        truth(where, config, "apply_b_dec_to_input", True),
        _normalization(folder, config),
        truth(where, config, "rescale_acts_by_decoder_norm", False),
        config,
    )
    _check_sizes(folder, config, sae, width)
    return sae


def _stored(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and weights of a folder in the SAELens format, as they are."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_sums(folder, ours=False)
    config = read_json(folder / "cfg.json")
    if not isinstance(config, dict):
        raise InputError(str(folder / "cfg.json"), "not a table of settings", "Give the cfg.json of an SAE")
    path = folder / "sae_weights.safetensors"
    if not path.is_file():
        others = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".pt", ".pth", ".bin", ".pkl")]
        fix = (
            f"{others[0]} is a pickle and is never opened; save it as safetensors"
            if others
            else "Give a folder with cfg.json and sae_weights.safetensors"
        )
        raise InputError(str(folder), "holds no sae_weights.safetensors", fix)
    try:
        return config, load_file(path)
    except (SafetensorError, OSError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Copy the file again") from None


def read_transcoder(folder: str | Path) -> Transcoder:
    """Read a transcoder in the SAELens folder format; nothing in the folder is executed.

    Parameters
    ----------
    folder : path
        With ``cfg.json`` (``architecture`` one of those of `Transcoder`) and ``sae_weights.safetensors``.

    Returns
    -------
    Transcoder
        With the sites that it was trained on in its settings (``hook_name``, ``hook_name_out``).

    Raises
    ------
    InputError
        For a missing or damaged file, an SAE, a setting that is not supported, or weights that do not fit.

    Notes
    -----
    Inputs that are normalized, or from which a bias is subtracted, before they are encoded are refused: SAELens
    subtracts none, whatever ``apply_b_dec_to_input`` says there.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrinterp.features import Transcoder, read_transcoder, write_transcoder
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.ones(2, 3), "b_dec": torch.zeros(3)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_transcoder(Transcoder("transcoder", weights), folder + "/own", hook_name="mlp:input", hook_name_out="mlp")
    ...     read_transcoder(folder + "/own").width_out
    3
    """
    folder = Path(folder)
    config, weights = _stored(folder)
    where = str(folder / "cfg.json")
    refuse_settings(where, config, pair=True)
    architecture, k = _architecture(folder, config)
    if architecture not in TRANSCODERS:
        # Older files say so by their sites or by a decoder of another width alone.
        if weights.get("W_dec", torch.zeros(0, 0)).shape[-1] != len(weights.get("W_enc", ())) or setting(
            config, "hook_name_out", "hook_point_out"
        ):
            plain = {"topk": "transcoder", "standard": "transcoder", "jumprelu": "jumprelu_transcoder"}
            architecture = plain.get(architecture, architecture)
        if architecture not in TRANSCODERS:
            raise InputError(
                where, f"architecture {architecture!r}: no transcoder", 'It is an SAE: kind "sae"'
            )
    normalized = _normalization(folder, config)
    if normalized != "none":
        found = f"normalize_activations is {normalized!r}: its input is scaled before it is encoded"
        raise InputError(where, found, "Give a transcoder of plain activations (normalize_activations none)")
    own = {n: w.float() for n, w in weights.items() if n in TRANSCODERS[architecture] or n not in _UNUSED}
    made = Transcoder(architecture, own, k, config)
    for key, actual in (("d_in", made.width), ("d_sae", made.latents), ("d_out", made.width_out)):
        if config.get(key) is not None and config[key] != actual:
            said = f"{key} is {config[key]}, the weights say {actual}"
            raise InputError(where, said, "cfg.json and weights are of two transcoders")
    return made


def write_transcoder(transcoder: Transcoder, folder: str | Path, **metadata: Any) -> None:
    """Write a transcoder in the SAELens folder format, whole or not at all.

    Parameters
    ----------
    transcoder : Transcoder
    folder : path
        Made by the call; a folder that exists is replaced whole.
    metadata
        What else ``cfg.json`` says under ``metadata``: ``hook_name`` and ``hook_name_out``, its two sites.

    Examples
    --------
    >>> import os, tempfile, torch
    >>> from mrinterp.features import Transcoder, write_transcoder
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.ones(2, 3), "b_dec": torch.zeros(3)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_transcoder(Transcoder("transcoder", weights), folder + "/own")
    ...     sorted(os.listdir(folder + "/own"))
    ['SHA256SUMS', 'cfg.json', 'sae_weights.safetensors']
    """
    use = {name: setting(transcoder.settings, name) for name in (*USE, "hook_name_out")}
    config: dict[str, Any] = {
        "architecture": transcoder.architecture,
        "d_in": transcoder.width,
        "d_sae": transcoder.latents,
        "d_out": transcoder.width_out,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {name: value for name, value in use.items() if value is not None} | metadata,
    }
    if transcoder.k is not None:
        config |= {"activation_fn": "topk", "k": transcoder.k}
    _write(folder, transcoder.weights, config)


def _write(folder: str | Path, weights: Mapping[str, torch.Tensor], config: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    with whole_folder(Path(folder)) as partial:
        plain = {k: v.detach().cpu().float().contiguous().clone() for k, v in weights.items()}
        save_file(dict(sorted(plain.items())), partial / "sae_weights.safetensors")
        write_json(partial / "cfg.json", config)


def write_sae(sae: SparseAutoencoder, folder: str | Path, **metadata: Any) -> None:
    """Write an SAE, whole or not at all; the same SAE gives the same bytes.

    Parameters
    ----------
    sae : SparseAutoencoder
    folder : path
        Made by the call; a folder that exists is replaced whole.
    metadata
        What else ``cfg.json`` says under ``metadata`` (``hook_name``, ``model_name``, ...).

    Examples
    --------
    >>> import os, tempfile, torch
    >>> from mrinterp.features import SparseAutoencoder, write_sae
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.eye(2), "b_dec": torch.zeros(2)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sae(SparseAutoencoder("standard", weights), folder + "/sae", hook_name="h.3")
    ...     sorted(os.listdir(folder + "/sae"))
    ['SHA256SUMS', 'cfg.json', 'sae_weights.safetensors']
    """
    # On what it may be used stays known.
    use = {name: setting(sae.settings, name) for name in USE}
    metadata = {name: value for name, value in use.items() if value is not None} | metadata
    config: dict[str, Any] = {
        "architecture": sae.architecture,
        "d_in": sae.width,
        "d_sae": sae.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": sae.normalize_activations,
        "reshape_activations": "none",
        "metadata": metadata,
    }
    if sae.architecture == "topk":
        config |= {"k": sae.k, "rescale_acts_by_decoder_norm": sae.rescale_by_decoder_norm}
    _write(folder, sae.weights, config)


def _scaled(
    where: str, weights: dict[str, torch.Tensor], config: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and settings with the factors that were fitted after training taken into the decoder, where they are on."""
    factors = [weights.pop(name, None) for name in ("scaling_factor", "finetuning_scaling_factor")]
    factor = next((f for f in factors if f is not None), None)
    if factor is None or not truth(where, config, "finetuning_scaling_factor", False):
        return weights, config
    if bool((factor != 1).any()) and config.get("rescale_acts_by_decoder_norm"):
        raise InputError(
            where,
            "finetuning_scaling_factor together with rescale_acts_by_decoder_norm",
            "Fold scaling_factor into the weights and switch it off",
        )
    if "W_dec" in weights and factor.numel() == len(weights["W_dec"]):
        weights = folded(weights, factor.to(weights["W_dec"]))
    return weights, config | {"finetuning_scaling_factor": False}


def _architecture(folder: Path, config: dict[str, Any]) -> tuple[str, int | None]:
    kwargs = config.get("activation_fn_kwargs") or {}
    architecture = config.get("architecture", "standard")
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if activation == "topk" and architecture in ("standard", "topk"):
        architecture = "topk"
    elif activation not in ("relu", "topk", None):
        raise InputError(
            f"{folder}/cfg.json", f"activation function {activation!r}", "relu and topk are supported"
        )
    if config.get("reshape_activations", "none") not in ("none", "hook_z", None):
        raise InputError(
            f"{folder}/cfg.json",
            f"reshape_activations {config['reshape_activations']!r}",
            "none and hook_z (concatenated heads) are supported",
        )
    k = config.get("k", kwargs.get("k"))
    if k is not None and (isinstance(k, bool) or int(k) != k):
        raise InputError(f"{folder}/cfg.json", f"k = {k!r}", "k is the number of latents kept per token")
    return str(architecture), None if k is None else int(k)


def _normalization(folder: Path, config: dict[str, Any]) -> str:
    value = config.get("normalize_activations")
    if value in (None, False, "none"):
        return "none"
    if value is True or value in ("expected_average_only_in", "covariance_whitening"):
        raise InputError(
            f"{folder}/cfg.json",
            f"normalize_activations is {value!r}: the weights expect inputs scaled by statistics "
            "of the training data, which the folder does not hold",
            "Fold the scaling into the weights where it was trained; save with normalize_activations 'none'",
        )
    return str(value)


def _check_sizes(folder: Path, config: dict[str, Any], sae: SparseAutoencoder, width: int | None) -> None:
    for key, actual in (("d_in", sae.width), ("d_sae", sae.latents)):
        if config.get(key) is not None and config[key] != actual:
            raise InputError(
                f"{folder}/cfg.json",
                f"{key} is {config[key]}, the weights say {actual}",
                "cfg.json and weights are of two SAEs",
            )
    if width is not None and width != sae.width:
        raise InputError(
            f"SAE {folder}",
            f"width {sae.width}; the site has {width}",
            "Choose the site that it was trained on",
        )
