"""Project directions out of every weight that writes them into the residual stream."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._site_output import first_tensor
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.edits._weight_edit import (
    WeightEdit,
    checked,
    is_linear,
    output_axis,
    replace_parameter,
)

__all__ = ["WRITERS", "project_out", "stream_writers"]

Array = NDArray[np.float64]

_LLAMA = (r"embed_tokens", r"layers\.\d+\.self_attn\.o_proj", r"layers\.\d+\.mlp\.down_proj")
_BERT = (
    r"embeddings\.LayerNorm",
    r"encoder\.layer\.\d+\.attention\.output\.LayerNorm",
    r"encoder\.layer\.\d+\.output\.LayerNorm",
)
WRITERS: dict[str, tuple[str, ...]] = {
    "gpt2": (r"wte", r"wpe", r"h\.\d+\.attn\.c_proj", r"h\.\d+\.mlp\.c_proj"),
    "gpt_neox": (r"embed_in", r"layers\.\d+\.attention\.dense", r"layers\.\d+\.mlp\.dense_4h_to_h"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "bert": _BERT,
    "roberta": _BERT,
}
"""Ends of the dotted paths of all writers, by Hugging Face model type.

In pre-norm networks these are embeddings and output projections. In post-norm ones (BERT) every sum
is normalized at once, so that what stands in the stream was written by a LayerNorm.
"""

LEFT = 1e-4
"""Length along the directions, over that of the stream, above which a writer must have been missed (one
rounding of the stream where that is more)."""


def project_out(
    module: torch.nn.Module,
    directions: ArrayLike,
    example: Mapping[str, torch.Tensor],
    *,
    writers: Sequence[str] | None = None,
    stream: Sequence[str] | None = None,
) -> WeightEdit:
    """A copy of a network that can no longer write some directions into its residual stream.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; it is not changed.
    directions : array (k, width) or (width,)
        Their span is removed; length and order do not matter.
    example : mapping of str to tensor
        Keyword inputs on which the copy is compared with the run-time ablation.
    writers : sequence of str, optional
        Dotted paths of all modules whose output is added to the stream: linear layers, embeddings,
        normalizations. Default: known by the Hugging Face model type (`stream_writers`).
    stream : sequence of str, optional
        Sites where the stream is looked at afterwards, to find writers that were not named. Default: the layers
        of every stack; where there are none, the result says that this was not checked.

    Returns
    -------
    WeightEdit
        Equal to removing the span from the output of every writer, at every token.

    Raises
    ------
    InputError
        For directions of another width, a network whose writers are not known, a stream that still holds
        the directions, and where no weights can do it. A normalization that writes into the stream
        (post-norm networks such as BERT; networks that normalize embeddings) scales each token by its own
        length: its affine weights can silence coordinates, not any other direction. Ablate at run time there.

    Notes
    -----
    W becomes (I - P) W and b becomes (I - P) b, P the projection on the span. Token embeddings tied to the
    unembedding are untied, because what the unembedding reads is not what is ablated.

    Source: Arditi et al. 2024, arXiv:2406.11717 (weight orthogonalization).

    Examples
    --------
    >>> from mrinterp.edits import project_out
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)).eval()
    >>> example = {"input": torch.randn(4, 2)}
    >>> edit = project_out(network, [1.0, 0.0, 0.0], example, writers=["0"], stream=["0"])
    >>> edit.module[0](example["input"])[:, 0].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    given = np.atleast_2d(np.asarray(directions, dtype=float))
    span = _span(given)
    paths = stream_writers(module) if writers is None else tuple(writers)
    if not paths:
        raise InputError("writers", "none", "Name every module that writes into the stream")
    adapter = TorchAdapter(module)
    edited = duplicate(module)
    for site in stream or ():
        adapter.submodule(site)
    for path in paths:
        adapter.submodule(path)
        _project(edited.get_submodule(path), path, span)
    label = f"{len(span)} direction{'s' if len(span) > 1 else ''} projected out of {len(paths)} writers"
    looked = _refuse_left(edited, span, example, _layers(edited) if stream is None else tuple(stream))
    label += "" if looked else " (whether other modules write them was not checked: name sites of the stream)"
    return checked(module, edited, {path: _removed(span) for path in paths}, example, label)


def stream_writers(module: torch.nn.Module) -> tuple[str, ...]:
    """Dotted paths of all modules that write into the residual stream of a network of a known type.

    Parameters
    ----------
    module : torch.nn.Module
        A Hugging Face network: its ``config.model_type`` says what it is.

    Returns
    -------
    tuple of str
        What `project_out` takes as ``writers``.

    Raises
    ------
    InputError
        For a network of another type, or one with layers that the table does not have (cross-attention).

    Notes
    -----
    Known by name, not by running the network: not valid for one whose modules were exchanged.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> from mrinterp.edits import stream_writers
    >>> network = torch.nn.ModuleDict({"wte": torch.nn.Embedding(5, 2), "ln_f": torch.nn.LayerNorm(2)})
    >>> network.config = SimpleNamespace(model_type="gpt2")
    >>> stream_writers(network)
    ('wte',)
    """
    config = getattr(module, "config", None)
    kind = getattr(config, "model_type", None)
    if kind not in WRITERS:
        raise InputError(
            "writers",
            f"not known for {type(module).__name__}" + (f" of type {kind!r}" if kind else ""),
            f"Name every module that writes into the stream (known types: {', '.join(WRITERS)})",
        )
    if getattr(config, "add_cross_attention", False):
        raise InputError("writers", "the network has cross-attention", "Name every module that writes")
    ends = re.compile(rf"(.*\.)?({'|'.join(WRITERS[kind])})")
    return tuple(name for name, _ in module.named_modules() if ends.fullmatch(name))


def _span(given: Array) -> Array:
    """Orthonormal rows that span the directions."""
    if given.ndim != 2 or not given.size or not np.isfinite(given).all():
        raise InputError("directions", f"shape {given.shape}, or not finite", "Give (k, width), finite")
    _, singular, rows = np.linalg.svd(given, full_matrices=False)
    if not singular[0] > 0:
        raise InputError("directions", "all zero", "Give a direction with a length")
    return rows[singular > 1e-10 * singular[0]]  # float64: what is smaller is rounding of dependent rows


def _project(writer: torch.nn.Module, path: str, span: Array) -> None:
    """Take the span out of what one module writes."""
    if is_linear(writer):
        _remove(writer, "weight", path, span, axis=output_axis(writer))
    elif isinstance(writer, torch.nn.Embedding):
        _remove(writer, "weight", path, span, axis=1)
    elif isinstance(scales := getattr(writer, "weight", None), torch.Tensor) and scales.ndim == 1:
        _check_width(len(scales), span, path)
        kept = _kept_coordinates(span, path)
        for name in ("weight", "bias"):
            value = getattr(writer, name, None)
            if value is not None:
                replace_parameter(writer, name, value.detach() * torch.from_numpy(kept).to(value))
        return
    else:
        raise InputError(
            f"writer {path!r}",
            f"a {type(writer).__name__}: not a linear layer, an embedding or a normalization",
            "Name the modules inside it that write",
        )
    if getattr(writer, "bias", None) is not None:
        _remove(writer, "bias", path, span, axis=0)


def _remove(owner: torch.nn.Module, name: str, path: str, span: Array, axis: int) -> None:
    old = getattr(owner, name).detach()
    _check_width(old.shape[axis], span, path)
    rows = torch.from_numpy(span).to(old.device)
    value = old.double().movedim(axis, -1)
    value = value - (value @ rows.T) @ rows
    replace_parameter(owner, name, value.movedim(-1, axis).contiguous())


def _check_width(width: int, span: Array, path: str) -> None:
    if width != span.shape[1]:
        raise InputError(
            f"writer {path!r}",
            f"writes {width} coordinates, the directions have {span.shape[1]}",
            "Give directions of the width that the module writes",
        )


def _kept_coordinates(span: Array, path: str) -> Array:
    """1 for coordinates that stay, 0 for those of a span of coordinates; any other span is refused."""
    share = (span**2).sum(axis=0)
    axes = share > 0.5
    if axes.sum() != len(span) or not np.allclose(share, axes, atol=1e-9):
        raise InputError(
            f"writer {path!r}",
            "a normalization, which scales every token by its own length: no weights of it take out a direction"
            " that is not a coordinate",
            "Ablate the direction at run time (knock_out), or choose coordinates",
        )
    return np.where(axes, 0.0, 1.0)


def _removed(span: Array) -> Edit:
    def edit(h: torch.Tensor) -> torch.Tensor:
        rows = torch.from_numpy(span).to(h.device)
        value = h.double()
        return (value - (value @ rows.T) @ rows).to(h.dtype)

    return edit


def _layers(module: torch.nn.Module) -> tuple[str, ...]:
    """Layers of every stack."""
    return tuple(
        f"{name}.{i}"
        for name, stack in module.named_modules()
        if isinstance(stack, torch.nn.ModuleList)
        for i in range(len(stack))
    )


def _refuse_left(
    edited: torch.nn.Module, span: Array, example: Mapping[str, torch.Tensor], sites: tuple[str, ...]
) -> bool:
    """Look for the directions in the stream of the edited network; whether there was a site to look at."""
    found: dict[str, tuple[float, float]] = {}
    handles = []

    def look(site: str) -> object:
        def hook(_module: torch.nn.Module, _inputs: object, output: object) -> None:
            given = first_tensor(output, site)
            h = given.double()
            if h.shape[-1] == span.shape[1]:
                along = (h @ torch.from_numpy(span).to(h.device).T).norm(dim=-1)
                share = float((along / h.norm(dim=-1).clamp_min(1e-30)).max())
                found[site] = share, max(LEFT, float(torch.finfo(given.dtype).eps))

        return hook

    for site in sites:
        handles.append(edited.get_submodule(site).register_forward_hook(look(site)))  # type: ignore[arg-type]
    try:
        with torch.inference_mode():
            edited(**example)
    finally:
        for handle in handles:
            handle.remove()
    left = {site: share for site, (share, allowed) in found.items() if share > allowed}
    if left:
        site = next(iter(left))
        raise InputError(
            f"stream at {site!r}",
            f"still holds the directions ({left[site]:.2g} of its length)",
            "Name every module that writes into the stream, embeddings and positions among them",
        )
    return bool(found)
