"""Propagation rules of RelP: the network run with the same values, and a gradient that follows the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mrinterp.adapters._adapter import Adapter, Edit, Run
from mrinterp.core.errors import InputError

__all__ = ["RelevanceAdapter"]

Tensor = torch.Tensor

ACTIVATIONS = frozenset(
    {"relu", "gelu", "silu", "tanh", "mish", "elu", "leaky_relu", "selu", "hardswish", "relu6"}
)
"""Elementwise functions that are 0 at 0: act(x)/x counts as a constant."""

PRODUCTS = frozenset({"mul", "multiply", "matmul", "bmm"})
"""Where both factors depend on the site, each gets half."""

ATTENTION = frozenset({"softmax"})
"""Its output, the attention pattern, counts as a constant."""

NO_RULE = frozenset(
    {"pow", "square", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "reciprocal", "sigmoid", "logsigmoid", "softplus",
     "log_softmax", "softmin", "logsumexp", "norm", "vector_norm", "normalize", "var", "std", "var_mean", "std_mean",
     "layer_norm", "rms_norm", "group_norm", "instance_norm", "local_response_norm", "sin", "cos", "erf", "glu", "prelu",
     "celu", "gumbel_softmax", "einsum", "tanhshrink", "softsign", "hardsigmoid", "cosine_similarity", "cumprod", "prod",
     "multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu", "bilinear", "cdist"}
)  # fmt: skip
"""Functions that bend what they are given and have no rule."""

ALIASES = {"truediv": "div", "true_divide": "div", "divide": "div", "rmul": "mul", "imul": "mul", "rpow": "pow", "ipow": "pow",
           "rdiv": "rdiv", "rtruediv": "rdiv", "rmatmul": "matmul", "itruediv": "div"}  # fmt: skip

CLOSE = 1e-4
"""Share of a module's largest output up to which it is that of a rule's formula; of half precision two steps of rounding."""

TINY = 1e-12
"""Inputs of an activation function below this have its slope at 0 in place of act(x)/x."""


class RelevanceAdapter:
    """An adapter whose runs give the same values, with a gradient that follows RelP's rules.

    Parameters
    ----------
    adapter : Adapter
        Around a ``torch.nn.Module``; as it was once a run is over.

    Raises
    ------
    InputError
        For a network that is no torch module; in a run, for a module or function that has no rule.
    """

    def __init__(self, adapter: Adapter) -> None:
        if not isinstance(adapter.module, torch.nn.Module):
            raise InputError("relp", "a network that is no torch module", "Use attribution_patching")
        self._adapter = adapter

    @property
    def module(self) -> Any:
        """The network."""
        return self._adapter.module

    @property
    def hash(self) -> str:
        """Its hash."""
        return self._adapter.hash

    def check(self, site: str) -> None:
        """As the adapter's own."""
        self._adapter.check(site)

    def sites(self) -> list[str]:
        """As the adapter's own."""
        return self._adapter.sites()

    def run(
        self,
        inputs: Mapping[str, Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """As the adapter's own."""
        rules = _Rules(self._adapter.module)
        edits = {site: rules.apart(edit) for site, edit in (write or {}).items()}
        with rules.in_force():
            return self._adapter.run(inputs, read, edits)


class _Rules(TorchFunctionMode):
    """What every function of torch does while the network runs."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self.off, self.running = 0, [type(module).__name__]

    def apart(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with plain gradients inside."""

        def plain(*args: Any, **kwargs: Any) -> Any:
            self.off += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.off -= 1

        return plain

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """The rules hold inside; parameters count as constants there. Afterwards the network is as it was."""
        wanted = [p for p in self.module.parameters() if p.requires_grad]
        with ExitStack() as after:
            for p in wanted:
                p.requires_grad_(False)
                after.callback(p.requires_grad_, True)
            for name, module in self.module.named_modules():
                before = module.register_forward_pre_hook(lambda m, a, name=name: self.running.append(name))
                done = module.register_forward_hook(
                    lambda m, a, y: (self.running.pop(), None)[1], always_call=True
                )
                after.callback(before.remove), after.callback(done.remove)
                rule = _module_rule(module)
                if rule is not None and "forward" not in vars(module):
                    module.forward = self._ruled(module, module.forward, rule, name)  # type: ignore[method-assign]
                    after.callback(vars(module).pop, "forward")
            with self:
                yield

    def _ruled(
        self, module: torch.nn.Module, forward: Callable[..., Any], rule: Callable[..., Any], name: str
    ) -> Callable[..., Any]:
        def ruled(x: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.off or not _depends(x):
                return forward(x, *args, **kwargs)
            self.off += 1
            try:
                return rule(module, lambda v: forward(v, *args, **kwargs), x, name)
            finally:
                self.off -= 1

        return ruled

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = str(getattr(func, "__name__", "")).strip("_")
        name = ALIASES.get(name, name)
        some = [_depends(a) for a in (*args, *given.values())]
        if self.off or not any(some):
            return func(*args, **given)
        if name in ACTIVATIONS:
            given.pop("inplace", None)
            rest = (
                args[1:2] if name in ("elu", "leaky_relu") else ()
            )  # its slope; what may follow is "in place"
            return _identity_rule(lambda v: func(v, *rest, **given), args[0] if args else given.pop("input"))
        if name in ATTENTION:
            return func(*args, **given).detach()
        if name == "scaled_dot_product_attention":
            return func(*(a.detach() if i < 2 else a for i, a in enumerate(args)),
                        **{k: v.detach() if k in ("query", "key") else v for k, v in given.items()})  # fmt: skip
        if name in PRODUCTS and sum(some) == 2:
            a, b = args[:2]
            return (func(a, b.detach(), **given) + func(a.detach(), b, **given)) / 2
        if name in NO_RULE or (name == "div" and len(some) > 1 and some[1]) or name == "rdiv":
            self._refuse(name)
        return func(*args, **given)

    def _refuse(self, name: str) -> None:
        where = self.running[-1] or type(self.module).__name__
        fix = "Use attribution_patching, or choose a site behind it"
        raise InputError(
            f"relp, module {where!r}", f"{name} of what the site writes, for which there is no rule", fix
        )


def _depends(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _module_rule(module: torch.nn.Module) -> Callable[..., Any] | None:
    """The rule of a module that is treated as one piece; None where its functions are looked at one by one."""
    kind, home = type(module).__name__, type(module).__module__
    if "norm" in kind.lower() and "batch" not in kind.lower() and not list(module.children()):
        return _normalizer_rule
    if home.startswith("transformers.activations"):
        return _activation_rule
    return None


def _activation_rule(
    module: torch.nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor, name: str
) -> Tensor:
    with torch.no_grad():
        at_zero = forward(torch.zeros_like(x[:1]))
    if at_zero.abs().max() > TINY:
        found = f"{type(module).__name__}, which is not 0 at 0, so that act(x)/x is no constant"
        raise InputError(f"relp, module {name!r}", found, "Use attribution_patching")
    return _identity_rule(forward, x)


def _identity_rule(act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """act(x), with act(x)/x as a constant; at 0 the function's slope, which is the limit."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        y = act(leaf)
        (slope,) = torch.autograd.grad(y.sum(), leaf)
    small = leaf.detach().abs() < TINY
    ratio = torch.where(small, slope, y.detach() / torch.where(small, torch.ones_like(x), leaf.detach()))
    return _with_value(x * ratio.detach(), y.detach())


def _normalizer_rule(
    module: torch.nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor, name: str
) -> Tensor:
    """A layer norm or its like, with what it divides by as a constant; which one it is, its own output says."""
    with torch.no_grad():
        y = forward(x.detach())
    weight, bias = (getattr(module, n, None) for n in ("weight", "bias"))
    fits = all(w is None or w.shape == x.shape[-1:] for w in (weight, bias))
    if not isinstance(y, Tensor) or y.shape != x.shape or not fits:
        _refuse_normalizer(module, name)
    close = max(CLOSE, 2 * torch.finfo(y.dtype).eps)
    eps = next(
        (
            float(e)
            for n in ("eps", "variance_epsilon", "epsilon")
            if (e := getattr(module, n, None)) is not None
        ),
        0.0,
    )
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    for centered in (True, False):
        middle = wide - wide.mean(-1, keepdim=True) if centered else wide
        unit = middle * torch.rsqrt(middle.square().mean(-1, keepdim=True) + eps).detach()
        for scale in [None] if weight is None else [weight, 1.0 + weight]:
            made = unit if scale is None else unit * scale
            made = (made if bias is None else made + bias).to(y.dtype)
            if (made - y).abs().max() <= close * y.abs().max():
                return _with_value(made, y)
    _refuse_normalizer(module, name)
    return y


def _refuse_normalizer(module: torch.nn.Module, name: str) -> None:
    found = f"{type(module).__name__} is neither a layer norm nor a root-mean-square norm over the last axis"
    raise InputError(f"relp, module {name!r}", found, "Use attribution_patching, or choose a site behind it")


def _with_value(made: Tensor, value: Tensor) -> Tensor:
    """The value, bit for bit, with the gradient of what was made."""
    return made + (value - made.detach())
