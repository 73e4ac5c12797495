"""What every site of a network is, in words: read off the modules' places, types and widths, not off one library's names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._position_limit import position_table_length
from mrinterp.adapters._site_address import INPUT
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.models._site_heads import heads_at
from mrinterp.models._site_shapes import site_shapes

__all__ = ["SiteRole", "site_roles", "stacks_of"]

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(r"^(mlp|ffn?|feed_?forward|moe|block_sparse_moe)$", re.IGNORECASE)
_ADDED_UP = re.compile(r"^(o_proj|c_proj|out_proj|out_lin|dense|wo|o|W_O)$")
_PARTS = (
    (re.compile(r"^(c_attn|query_key_value|qkv|qkv_proj|Wqkv|in_proj)$"), "queries, keys and values side by side"),
    (re.compile(r"^(q|q_proj|query|q_lin|wq|to_q)$"), "queries"),
    (re.compile(r"^(k|k_proj|key|k_lin|wk|to_k)$"), "keys"),
    (re.compile(r"^(v|v_proj|value|v_lin|wv|to_v)$"), "values"),
)  # fmt: skip
_HOOKS = (
    (r"hook_resid_pre|hook_in", "residual", "residual stream before {block}"),
    (r"hook_resid_mid", "residual", "residual stream between attention and MLP of {block}"),
    (r"hook_resid_post|hook_out", "residual", "residual stream after {block}"),
    (r"(mlp\.)?hook_post", "mlp_neurons", "MLP neurons of {block}, after the activation function"),
    (r"(mlp\.)?hook_pre(_linear)?", "mlp_inputs", "MLP neurons of {block}, before the activation function"),
    (r"hook_mlp_out|mlp\.hook_out", "mlp_output", "what the MLP of {block} adds"),
    (r"(attn\.)?hook_z", "heads", "attention heads of {block}"),
    (r"(attn\.)?hook_(rot_)?q", "queries", "queries of {block}"),
    (r"(attn\.)?hook_(rot_)?k", "queries", "keys of {block}"),
    (r"(attn\.)?hook_v", "queries", "values of {block}"),
    (r"hook_attn_out|attn\.hook_out", "attention_output", "what attention of {block} adds"),
    (r"ln\d?(_pre|_post)?\.hook_\w+", "norm", "layer norm in {block}"),
)
"""Hook points of TransformerLens within a block."""
_HOOKS_OUTSIDE = (
    (r"embed\.hook_in", "other", "numbers of the tokens"),
    (r"pos_embed\.hook_in", "other", "numbers of the positions"),
    (r"hook_embed|embed\.hook_out", "embedding", "word embedding"),
    (r"hook_pos_embed|pos_embed\.hook_out", "embedding", "position embedding"),
    (r"unembed\.hook_in", "output", "what the output layer reads"),
    (r"hook_unembed|unembed\.hook_out", "output", "logits of every token"),
    (r"ln_final\.\w+", "norm", "final layer norm"),
    (r".*embed.*", "embedding", "embedding"),
)
"""Hook points of TransformerLens outside the blocks."""


@dataclass(frozen=True)
class SiteRole:
    """What one site is.

    Parameters
    ----------
    site : str
        Its address.
    kind : str
        One of `mrinterp.results._network_description.SITE_KINDS`.
    what : str
        In words.
    block : int
        Number of its block in its stack; -1 outside the blocks.
    width : int
        Of its activation; 0 where no pass has shown it.
    heads : int
        How many attention heads lie side by side there; 0 where none do, or the network does not say.
    pattern : str
        Its address with K for the block's number: sites of one pattern are the same place of each block.
    """

    site: str
    kind: str
    what: str
    block: int = -1
    width: int = 0
    heads: int = 0
    pattern: str = ""


@dataclass(frozen=True)
class Stack:
    """A list of blocks of one kind, one after the other: its path, and how many there are."""

    path: str
    count: int


def stacks_of(module: torch.nn.Module) -> tuple[Stack, ...]:
    """The network's stacks of blocks, in order; none for a network without such a list."""
    found: list[Stack] = []
    for path, part in module.named_modules():
        if not isinstance(part, torch.nn.ModuleList | torch.nn.Sequential) or not len(part):
            continue
        inside = any(path.startswith(f"{s.path}.") for s in found)
        blocks = list(part)
        alike = len({type(b) for b in blocks}) == 1 and any(True for _ in blocks[0].children())
        if path and alike and not inside:
            found.append(Stack(path, len(blocks)))
    # Short lists of other things (poolers, adapters) stand beside the stack of blocks.
    longest = max((s.count for s in found), default=0)
    return tuple(s for s in found if s.count * 2 >= longest)


def site_roles(adapter: Adapter, inputs: dict[str, torch.Tensor] | None) -> tuple[SiteRole, ...]:
    """What every site of a network is, in the order of the network's modules.

    Parameters
    ----------
    inputs : dict of str to tensor, optional
        A batch that the network is run on once, to see how wide each site is; without one, widths are those that weights
        tell.
    """
    module = adapter.module
    if hasattr(module, "hook_dict"):
        return tuple(_hook_roles(adapter, inputs))
    if not isinstance(module, torch.nn.Module):
        return tuple(
            SiteRole(site, "other", "a site of the adapter", pattern=site) for site in adapter.sites()
        )
    return tuple(_Reader(adapter, module, inputs).roles())


class _Reader:
    """One torch network being read."""

    def __init__(
        self, adapter: Adapter, module: torch.nn.Module, inputs: dict[str, torch.Tensor] | None
    ) -> None:
        self.adapter, self.module = adapter, module
        self.parts = dict(module.named_modules())
        self.stacks = stacks_of(module)
        self.out, self.into = site_shapes(module, inputs)
        self.seen = inputs is not None
        if any(v.ndim == 4 for v in (inputs or {}).values()):  # images: a map's channels are its width
            self.out, self.into = (
                {p: _channels_last(s) for p, s in found.items()} for found in (self.out, self.into)
            )
        self.hidden = self._hidden()
        self.layers = self._layers()
        self.middle = self._middle_step()

    def _hidden(self) -> int:
        """Width of the residual stream: that of the first block's output; else what the configuration says."""
        for stack in self.stacks:
            if f"{stack.path}.0" in self.out:
                return self.out[f"{stack.path}.0"][-1]
        config: Any = getattr(self.module, "config", None)
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        return int(getattr(config, "hidden_size", 0) or getattr(config, "n_embd", 0) or 0)

    def _layers(self) -> list[str]:
        """Layers with weights in the order in which a pass ran them, embeddings and norms aside, of a network without blocks."""
        if self.stacks or not self.seen:
            return []
        leaves = [
            p for p in self.out if p and _has_weights(self.parts[p]) and not list(self.parts[p].children())
        ]
        aside = ("embedding", "norm")
        return [p for p in leaves if not any(n in type(self.parts[p]).__name__.lower() for n in aside)]

    def _middle_step(self) -> tuple[str, str]:
        """What ran last before the middle layer with weights, of what has an activation, and that in words; else empty."""
        if not self.layers:
            return "", ""
        ran, middle = (
            list(self.out),
            self.layers[len(self.layers) // 2],
        )  # in the order in which modules returned
        passed_on = re.compile(r"dropout|identity|flatten", re.IGNORECASE)
        kept = [
            p for p in ran[: ran.index(middle)]
            if p and len(self.out[p]) > 1 and self.out[p][-1] > 1 and not passed_on.search(type(self.parts[p]).__name__)
        ]  # fmt: skip
        if not kept:
            return "", ""
        if middle == self.layers[-1]:
            return kept[-1], "the last step before the output layer (outcomes are then nearly linear in it)"
        return kept[
            -1
        ], f"the last step before {middle}, the middle of {len(self.layers)} layers with weights"

    def roles(self) -> Iterator[SiteRole]:
        for path, part in self.parts.items():
            if not path or isinstance(part, torch.nn.ModuleList):
                continue
            stack, number, rest = self._place(path)
            role = self._outside(path, part) if number < 0 else self._inside(path, part, stack, number, rest)
            yield self._finished(role, self.out.get(path))
            if number >= 0 and isinstance(self.adapter, TorchAdapter):
                yield from self._inputs_worth_naming(path, part, stack, number, rest)

    def _place(self, path: str) -> tuple[Stack | None, int, str]:
        """Which stack and block a module belongs to, and its path inside the block."""
        for stack in self.stacks:
            if path.startswith(f"{stack.path}."):
                number, _, rest = path[len(stack.path) + 1 :].partition(".")
                if number.isdigit():
                    return stack, int(number), rest
        return None, -1, path

    def _finished(self, role: SiteRole, shape: tuple[int, ...] | None) -> SiteRole:
        """With width, heads and the pattern of its address."""
        width = 0 if shape is None or len(shape) < 2 else shape[-1]
        heads, words = 0, role.what
        if self.seen and shape is None:
            words += ", which a pass of the network did not run"
        if role.kind in ("heads", "queries") and width:
            heads, more = _heads_in_words(self.adapter, role.site, width)
            words += more
        stack, number, rest = self._place(role.site)
        pattern = role.site if stack is None else f"{stack.path}.K.{rest}".removesuffix(".")
        return replace(role, width=width, heads=heads, what=words, pattern=pattern, block=number)

    def _named(self, stack: Stack | None, number: int) -> str:
        assert stack is not None
        return f"block {number}" + (f" of {stack.path}" if len(self.stacks) > 1 else "")

    def _inside(
        self, path: str, part: torch.nn.Module, stack: Stack | None, number: int, rest: str
    ) -> SiteRole:
        block, own = self._named(stack, number), rest.rpartition(".")[2]
        shape = self.out.get(path, (0,))
        if not rest:
            what = "feature map" if len(shape) == 4 else "residual stream"
            return SiteRole(
                path, "residual", f"{what} after {block}{self._places(path) if len(shape) == 4 else ''}"
            )
        if "norm" in type(part).__name__.lower():
            return SiteRole(path, "norm", f"{_norm_name(part)} in {block}")
        if "dropout" in type(part).__name__.lower():
            return SiteRole(path, "other", "dropout, which does nothing here")
        attention = next((n for n in rest.split(".") if _ATTENTION.search(n)), "")
        if attention:
            return self._attention(path, part, block, rest, own)
        if shape[-1] == self.hidden and (_MLP.match(own) or own in ("mlp", "feed_forward")):
            return SiteRole(path, "mlp_output", f"what the MLP of {block} adds")
        down = self._down(stack, number)
        wide = 0 if down is None else self.into.get(down, (0,))[-1]
        if wide and shape[-1] == wide and (wide != self.hidden or not _has_weights(part)):
            return self._neuron_layer(path, part, block, stack, number)
        if path == down:
            what = "the mixer" if re.search(r"mixer|ssm", rest) else "the MLP"
            return SiteRole(path, "mlp_output", f"what {what} of {block} adds")
        if len(shape) == 4:
            return SiteRole(path, "other", f"{type(part).__name__} in {block}{self._places(path)}")
        if shape[-1] == self.hidden and any("norm" in type(p).__name__.lower() for p in part.modules()):
            if self._ends_in_norm(path):
                return SiteRole(path, "residual", f"last part of {block}: the stream after it, normalized")
            return SiteRole(path, "residual", f"residual stream within {block}, after its part {rest}")
        return SiteRole(path, "other", f"{type(part).__name__} in {block}")

    def _attention(self, path: str, part: torch.nn.Module, block: str, rest: str, own: str) -> SiteRole:
        cross = "cross-attention" if re.search(r"cross|encoder_attn|EncDec", rest) else "attention"
        for names, words in _PARTS:
            if names.match(own):
                return SiteRole(path, "queries", f"{words} of {cross}, {block}")
        inside = [n for n, _ in part.named_modules() if n]
        mixes = any(_ADDED_UP.match(n.rpartition(".")[2]) for n in inside)
        normed = any(
            "norm" in type(p).__name__.lower() and not re.search(r"[qk]_?norm", n)
            for n, p in part.named_modules()
        )
        if inside and not mixes and self.out.get(path, (0,))[-1] and not _ADDED_UP.match(own):
            return SiteRole(path, "heads", f"attention heads side by side, {block}")
        if _ADDED_UP.match(own) or (inside and not normed):
            return SiteRole(path, "attention_output", f"what {cross} of {block} adds")
        if inside:
            return SiteRole(
                path, "attention_output", f"{cross} of {block}, added to the stream and normalized"
            )
        return SiteRole(path, "other", f"{type(part).__name__} in attention of {block}")

    def _ends_in_norm(self, path: str) -> bool:
        """Whether a norm is what a part runs last; dropout, which does nothing here, aside."""
        ran = [p for p in self.out if p.startswith(f"{path}.")] or [
            n for n in self.parts if n.startswith(f"{path}.")
        ]
        kinds = [type(self.parts[p]).__name__.lower() for p in ran]
        return "norm" in next((k for k in reversed(kinds) if "dropout" not in k), "")

    def _down(self, stack: Stack | None, number: int) -> str | None:
        """The linear map of a block that brings the MLP's neurons back to the width of the residual stream."""
        assert stack is not None
        prefix = f"{stack.path}.{number}."
        found = [
            path
            for path, part in self.parts.items()
            if path.startswith(prefix)
            and not _ATTENTION.search(path.removeprefix(prefix))
            and _is_linear(part)
            and self.out.get(path, (0,))[-1] == self.hidden
        ]
        wide = [p for p in found if self.into.get(p, (0,))[-1] != self.hidden]
        return (wide or found or [None])[-1]

    def _neuron_layer(
        self, path: str, part: torch.nn.Module, block: str, stack: Stack | None, number: int
    ) -> SiteRole:
        assert stack is not None
        prefix, after = f"{stack.path}.{number}.", "MLP neurons of {}, after the activation function"
        wide = self.out[path][-1]
        linear = [
            p
            for p, m in self.parts.items()
            if p.startswith(prefix) and _is_linear(m) and self.out.get(p, (0,))[-1] == wide
            and not _ATTENTION.search(p.removeprefix(prefix))
        ]  # fmt: skip
        if _is_linear(part):
            words = (
                "one of the two factors of the MLP neurons of"
                if len(linear) > 1
                else "MLP neurons before the activation function,"
            )
            return SiteRole(path, "mlp_inputs", f"{words} {block}")
        if len(linear) > 1 and not _has_weights(part):
            return SiteRole(path, "mlp_inputs", f"gate of the MLP neurons of {block}")
        return SiteRole(path, "mlp_neurons", after.format(block))

    def _inputs_worth_naming(
        self, path: str, part: torch.nn.Module, stack: Stack | None, number: int, rest: str
    ) -> Iterator[SiteRole]:
        """What goes into the maps that add up heads or neurons: the only place where a network may show them."""
        shape, block = self.into.get(path), self._named(stack, number)
        if shape is None or not _is_linear(part):
            return
        if _ATTENTION.search(rest) and _ADDED_UP.match(rest.rpartition(".")[2]):
            role = SiteRole(path + INPUT, "heads", f"attention heads side by side, {block}")
        elif path == self._down(stack, number):
            mixer = re.search(r"mixer|ssm", rest)
            what = (
                "channels of the mixer of {}, gated"
                if mixer
                else "MLP neurons of {}, after the activation function"
            )
            role = SiteRole(path + INPUT, "mlp_neurons", what.format(block))
        else:
            return
        yield self._finished(role, shape)

    def _outside(self, path: str, part: torch.nn.Module) -> SiteRole:
        own, kind = path.rpartition(".")[2], type(part).__name__
        if path == self.middle[0]:
            return SiteRole(path, "hidden", f"{kind}, {self.middle[1]}{self._places(path)}")
        if path == (self.layers or [""])[-1]:
            return SiteRole(path, "output", f"{kind}, the output layer")
        if isinstance(part, torch.nn.Embedding):
            positions = position_table_length(part) is not None or re.search(r"pos|wpe", own)
            what = (
                "position embedding"
                if positions
                else "word embedding"
                if part.num_embeddings > 2
                else "type embedding"
            )
            return SiteRole(path, "embedding", what)
        if "norm" in kind.lower():
            if not self.stacks:
                return SiteRole(path, "norm", f"{_norm_name(part)}{self._places(path)}")
            return SiteRole(
                path, "embedding" if "embed" in path else "norm", f"{_norm_name(part)} outside the blocks"
            )
        if "dropout" in kind.lower():
            return SiteRole(path, "other", "dropout, which does nothing here")
        if not self.stacks:
            return SiteRole(path, "other", f"{kind}{self._places(path)}")
        if re.search(r"embed", path):
            images = getattr(self.module, "main_input_name", "") == "pixel_values"
            what = (
                "embeddings of image patches"
                if images
                else "embeddings of words, positions and types together"
            )
            return SiteRole(path, "embedding", what)
        if any(s.path.startswith(f"{path}.") for s in self.stacks):
            return SiteRole(path, "output", "what the whole stack of blocks returns")
        if own in ("lm_head", "embed_out", "output_layer"):
            return SiteRole(path, "output", "logits of every token")
        if re.search(r"classifier|score|head|pooler|decoder", path):
            return SiteRole(path, "output", f"{kind} after the blocks ({own})")
        return SiteRole(path, "other", kind)

    def _places(self, path: str) -> str:
        """What a site holds of one input, as a pass has shown it, after a colon; empty where none was seen."""
        shape = self.out.get(path, ()) if self.seen else ()
        if len(shape) == 4:
            return f": a map of {shape[1]} x {shape[2]} places"
        return {2: ": one vector per input", 3: ": one vector per token or place"}.get(len(shape), "")


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


def _hook_roles(adapter: Adapter, inputs: dict[str, torch.Tensor] | None) -> Iterator[SiteRole]:
    """Hook points of TransformerLens, whose names say what they are."""
    shapes: dict[str, tuple[int, ...]] = {}
    if inputs is not None:
        names, hooked = adapter.sites(), adapter.module.hook_dict
        shapes = site_shapes(adapter.module, inputs, {n: hooked[n] for n in names})[0]
    for site in adapter.sites():
        held = re.match(r"blocks\.(\d+)\.(.+)$", site)
        shape = shapes.get(site, ())
        number, rest = (int(held[1]), held[2]) if held else (-1, site)
        kind, what = next(
            ((k, w) for names, k, w in (_HOOKS if held else _HOOKS_OUTSIDE) if re.fullmatch(names, rest)),
            ("other", "hook point"),
        )
        width = (
            shape[-1]
            if len(shape) > 2 or (len(shape) == 2 and not re.search(r"embed\.hook_in$", site))
            else 0
        )
        heads = _hooked_heads(adapter, rest, shape) if kind in ("heads", "queries") else 0
        each = width if len(shape) == 4 else width // max(heads, 1)
        words = what.format(block=f"block {number}") + (f" ({heads} of width {each})" if heads else "")
        pattern = f"blocks.K.{rest}" if held else site
        yield SiteRole(site, kind, words, number, width, heads, pattern)


def _hooked_heads(adapter: Adapter, rest: str, shape: tuple[int, ...]) -> int:
    """Heads at a hook point: those of its shape, or as many as the network says where they lie side by side."""
    if len(shape) == 4:
        return shape[-2]
    settings = getattr(adapter.module, "cfg", None)
    count = getattr(settings, "n_heads", None)
    if re.search(r"hook_(rot_)?[kv]$", rest):
        count = getattr(settings, "n_key_value_heads", None) or count
    return int(count) if count and len(shape) == 3 and shape[-1] % count == 0 else 0


def _heads_in_words(adapter: Adapter, site: str, width: int) -> tuple[int, str]:
    """How many heads a site holds, and that in brackets; 0 where the network does not say."""
    try:
        held = heads_at(adapter, site, width)
    except InputError:
        return 0, ""
    if not held:
        return 0, ""
    count, each = held[0]
    query = heads_at_most(adapter, site)
    shared = f", each shared by {query // count} query heads" if query > count and query % count == 0 else ""
    return count, f" ({count} of width {each}{shared})"


def heads_at_most(adapter: Adapter, site: str) -> int:
    """How many query heads attention has around a site; 0 where the network does not say."""
    config: Any = getattr(adapter.module, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    names = ("num_attention_heads", "num_heads", "n_heads", "n_head")
    return int(next((getattr(config, n) for n in names if isinstance(getattr(config, n, None), int)), 0))


def _is_linear(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.Linear) or type(part).__name__ in (
        "Conv1D",
        "Linear4bit",
        "Linear8bitLt",
    )


def _has_weights(part: torch.nn.Module) -> bool:
    return any(True for _ in part.parameters())


def _norm_name(part: torch.nn.Module) -> str:
    named = {"rms": "RMS norm", "batch": "batch norm", "group": "group norm", "instance": "instance norm"}
    return next((words for kind, words in named.items() if kind in type(part).__name__.lower()), "layer norm")
