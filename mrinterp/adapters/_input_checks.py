"""Inputs held against the network that they go into, before the first pass of any work."""

from __future__ import annotations

from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter, Run
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._position_limit import position_table_length, trained_length
from mrinterp.adapters._site_output import first_tensor
from mrinterp.core.errors import InputError

__all__ = ["check_inputs", "check_length"]

_MOVED = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Relative change from which padding moved what it must not; 5% in half precision, where rounding alone is 1%."""

_AGAIN = 4
"""Passes that must give the same output where random numbers were drawn: few draws may come out alike by chance."""


def check_inputs(adapter: Adapter, site: str, inputs: ModelInputs, new_tokens: int = 0) -> None:
    """Refuse inputs on which a network would be wrong without a word.

    Parameters
    ----------
    site : str
        Where features are read.
    new_tokens : int
        Tokens that are generated beyond the inputs.

    Raises
    ------
    InputError
        For more tokens than the network has positions for, token ids beyond its vocabulary, an attention mask that is
        not 0/1, padding on the left that moves the text's positions, random numbers that are drawn in a pass, or a
        site whose first axis is not the runs.

    Notes
    -----
    One pass of one input, and two more where texts are padded on the left.
    """
    module = adapter.module
    _check_tokens(module, inputs, new_tokens)
    one = inputs.take([0])
    state = _random_states(one)
    with torch.inference_mode():
        first = _first_pass(adapter, one, site)
        if not all(map(torch.equal, state, _random_states(one))):
            _refuse_random(adapter, one, first.output, state)
        held = first.activations[site]
        if held.ndim == 0 or len(held) != 1:
            raise InputError(
                f"site {site!r}",
                f"activation of shape {tuple(held.shape)} on one input: its first axis is not the runs",
                "Choose a site that has one activation per run (batch first)",
            )
        _refuse_moved_text(adapter, inputs)


def check_length(module: Any, length: int, where: str, fix: str) -> None:
    """Refuse a length beyond the network's table of positions.

    Raises
    ------
    InputError
        Names ``where`` the length was given, the network's number of positions and the ``fix``.
    """
    most = position_table_length(module)
    if most is not None and length > most:
        raise InputError(where, f"{length} tokens; the network has {most} positions", fix.format(most=most))


def _check_tokens(module: Any, inputs: ModelInputs, new_tokens: int) -> None:
    ids = inputs.tensors.get("input_ids")
    if ids is None or ids.ndim != 2:
        return
    more = f", {new_tokens} of them generated" if new_tokens else ""
    check_length(
        module,
        ids.shape[1] + new_tokens,
        f"inputs of {ids.shape[1]} tokens, padding included{more}",
        "Pad to at most {most} (and shorten longer texts)",
    )
    trained = trained_length(module)
    own = int((torch.ones_like(ids) if inputs.mask is None else inputs.mask.bool().long()).sum(1).max())
    if trained is not None and own + new_tokens > trained:
        raise InputError(
            f"inputs of {own} tokens{more}",
            f"the network was trained on at most {trained} (max_position_embeddings)",
            "Shorten the texts, or set config.max_position_embeddings if the network is meant for longer ones",
        )
    table = _word_table(module)
    outside = (ids < 0) | (ids >= (len(table) if table is not None else torch.iinfo(torch.int64).max))
    if bool(outside.any()):
        row, place = outside.nonzero()[0].tolist()
        known = "no negative ones" if table is None else f"{len(table)} tokens"
        raise InputError(
            f"input_ids, input {row}, token {place}",
            f"{int(ids[row, place])}; the network has {known}",
            "Use the network's own tokenizer",
        )
    mask = inputs.tensors.get("attention_mask")
    if table is not None and mask is not None and mask.shape == ids.shape:
        odd = (mask != 0) & (mask != 1)
        if bool(odd.any()):
            raise InputError(
                "attention_mask",
                f"holds {mask[odd][0].item():g}: it is not 0/1, and the network would take it the wrong way round",
                "Give 1 on a text's own tokens and 0 on padding",
            )


def _word_table(module: Any) -> torch.Tensor | None:
    """The word embedding of a Hugging Face network; None for others."""
    try:
        weight = module.get_input_embeddings().weight
    except (AttributeError, NotImplementedError):
        return None
    return weight if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None


def _first_pass(adapter: Adapter, one: ModelInputs, site: str) -> Run:
    try:
        return adapter.run(one.tensors, read=[site])
    except IndexError as e:
        if "index out of range" not in str(e):
            raise
        sizes = ", ".join(f"{name} {tuple(value.shape[1:])}" for name, value in one.tensors.items())
        raise InputError(
            f"inputs ({sizes})",
            "a table of the network has no row for one of their tokens or positions",
            "Use the network's own tokenizer, and pad to no more tokens than it has positions",
        ) from e


def _random_states(inputs: ModelInputs) -> list[torch.Tensor]:
    """State of every generator that a pass on these inputs may draw from."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in _cuda_devices(inputs))]


def _cuda_devices(inputs: ModelInputs) -> list[torch.device]:
    return sorted({t.device for t in inputs.tensors.values() if t.device.type == "cuda"}, key=str)


def _refuse_random(adapter: Adapter, one: ModelInputs, output: Any, state: list[torch.Tensor]) -> None:
    """Refuse a network whose passes differ by chance; one that seeds its own draws gives the same output again."""
    drawn = [_first(output), *(_first(adapter.run(one.tensors).output) for _ in range(_AGAIN))]
    torch.set_rng_state(state[0])
    for device, before in zip(_cuda_devices(one), state[1:], strict=True):
        torch.cuda.set_rng_state(before, device)
    tensors = [d for d in drawn if d is not None]
    if len(tensors) < len(drawn) or not all(torch.equal(tensors[0], d) for d in tensors[1:]):
        raise InputError(
            "model",
            "draws random numbers in every pass, as dropout does that model.eval() does not switch off: passes of one"
            " input differ",
            "Switch them off (torch.nn.functional.dropout(x, training=self.training)), or seed them inside the network",
        )


def _refuse_moved_text(adapter: Adapter, inputs: ModelInputs) -> None:
    """Refuse padding before a text that changes what the network computes of it."""
    if inputs.mask is None:
        return
    before = inputs.mask.bool().long().argmax(1)
    row = int(before.argmax())
    if not int(before[row]):
        return
    one = inputs.take([row])
    assert one.mask is not None
    own = one.mask[0].bool()
    cut = {name: _cut(value, own) for name, value in one.tensors.items()}
    try:
        padded, alone = _first(adapter.run(one.tensors).output), _first(adapter.run(cut).output)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        return  # the network wants its full length: there is nothing to compare with
    if padded is None or alone is None:
        return
    padded = padded[:, own.to(padded.device)] if padded.ndim > 2 and padded.shape[1] == len(own) else padded
    if padded.shape != alone.shape:
        return
    gap = float((padded.double() - alone.double()).abs().max())
    scale = float(alone.double().abs().max())
    if not gap <= _MOVED.get(alone.dtype, 0.05) * max(scale, 1e-12):
        raise InputError(
            f"input {row}",
            f"padded on the left by {int(before[row])} tokens, and the network counts positions from the padding: what"
            f" it computes of the text changes by {gap / max(scale, 1e-12):.2g} of its size",
            "Pad on the right (tokenizer.padding_side = 'right'), or give position_ids that count from each text's"
            " first token",
        )


def _cut(value: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """One input's tensor without its padding; an attention mask of tokens by tokens is cut both ways."""
    index = own.to(value.device)
    if value.ndim > 1 and value.shape[1] == len(own):
        return value[:, index]
    if value.ndim == 4 and value.shape[-1] == len(own):
        value = value[..., index]
        return value[:, :, index] if value.shape[2] == len(own) else value
    return value


def _first(output: Any) -> torch.Tensor | None:
    try:
        found = first_tensor(output, "output")
    except InputError:
        return None
    return found if found.is_floating_point() else None
