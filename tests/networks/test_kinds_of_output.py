"""Outputs of every kind, read and written."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp import knockouts as designs
from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.features import Units
from mrinterp.knockouts import Bench
from mrinterp.outcomes import CallableOutcome, OutcomeSet

D, RUNS, T = 6, 24, 4
FIRST = CallableOutcome("first", lambda output, mask: output[:, 0, 0])


def _x(seed: int = 0) -> torch.Tensor:
    return torch.randn(RUNS, T, D, generator=torch.Generator().manual_seed(seed))


def _inputs() -> ModelInputs:
    return ModelInputs({"x": _x()}, torch.ones(RUNS, T, dtype=torch.long))


@dataclasses.dataclass
class _Plain:
    hidden: torch.Tensor
    weights: torch.Tensor


@dataclasses.dataclass(frozen=True)
class _Frozen:
    hidden: torch.Tensor
    weights: torch.Tensor


class _Named(NamedTuple):
    hidden: torch.Tensor
    weights: torch.Tensor


class _Attributes(dict[str, Any]):
    """A dict whose keys are attributes."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.__dict__ = self


def _model_output(**given: Any) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=given["hidden"], hidden_states=given["weights"])


KINDS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "dict": (dict, lambda o: o["hidden"], lambda o: o["weights"]),
    "ordered": (OrderedDict, lambda o: o["hidden"], lambda o: o["weights"]),
    "attributes": (_Attributes, lambda o: o.hidden, lambda o: o.weights),
    "dataclass": (_Plain, lambda o: o.hidden, lambda o: o.weights),
    "frozen": (_Frozen, lambda o: o.hidden, lambda o: o.weights),
    "named tuple": (_Named, lambda o: o.hidden, lambda o: o.weights),
    "tuple": (lambda hidden, weights: (hidden, weights), lambda o: o[0], lambda o: o[1]),
    "list": (lambda hidden, weights: [hidden, weights], lambda o: o[0], lambda o: o[1]),
    "model output": (_model_output, lambda o: o.last_hidden_state, lambda o: o.hidden_states),
}


class _Structured(torch.nn.Module):
    def __init__(self, kind: str, used: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.made, self.used = KINDS[kind][0], KINDS[kind][used]
        self.inner = _Inner(self.made)
        self.out = torch.nn.Linear(D, D)

    def forward(self, x: Any) -> Any:
        return self.out(self.used(self.inner(x)))


class _Inner(torch.nn.Module):
    def __init__(self, made: Callable[..., Any]) -> None:
        super().__init__()
        self.a, self.made = torch.nn.Linear(D, D), made

    def forward(self, x: Any) -> Any:
        return self.made(hidden=self.a(x), weights=self.a(2 * x))


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.needs("transformers")] * (k == "model output")) for k in KINDS],
)
def test_every_kind_of_output_is_read_and_written(kind: str) -> None:
    net = _Structured(kind, 1).eval().requires_grad_(False)
    run = TorchAdapter(net).run({"x": _x()}, read=["inner"], write={"inner": lambda h: h + 1})
    torch.testing.assert_close(run.activations["inner"], net.inner.a(_x()) + 1)
    torch.testing.assert_close(run.output, net.out(net.inner.a(_x()) + 1))
    bench = Bench(TorchAdapter(net), "inner", Units([0, 1], D), _inputs(), FIRST, block=10)
    assert mrinterp.knock_out(bench, "zero").flags == ("", "")


@pytest.mark.parametrize("kind", ["dict", "dataclass", "tuple", "list", "named tuple", "attributes"])
def test_an_edit_that_nothing_reads_is_said_to_be_so(kind: str) -> None:
    bench = Bench(
        TorchAdapter(_Structured(kind, 2).eval()), "inner", Units([0, 1], D), _inputs(), FIRST, block=10
    )
    found = mrinterp.knock_out(bench, "zero")
    assert all(flag.startswith("the run does not read what was edited") for flag in found.flags)
    assert "noise floor" not in str(found.flags)


DESIGNS: dict[str, Callable[[Bench], Any]] = {
    "dose response": lambda b: designs.dose_response(b, draws=20).status,
    "epistasis": lambda b: designs.epistasis(b, "zero").status,
    "direct effect": lambda b: designs.direct_effect(b, "zero", freeze=()).status,
    "ordered knockouts": lambda b: designs.ordered_knockouts(b, "zero", random_orders=2).status,
    "specificity": lambda b: designs.specificity(b, "zero", controls="second").status,
    "set effects": lambda b: designs.set_effects(b, "zero", {"a": [0]}, draws=20).status,
    "faithfulness": lambda b: designs.faithfulness(b, "zero", [0], draws=20).status,
    "minimal set": lambda b: designs.minimal_set(b, "zero", outcome="first", draws=20).status,
    "site experiment": lambda b: designs.site_experiment(b, beside=0).status,
    "rectified contrast": lambda b: designs.rectified_contrast(b, prediction=None).status,
    "several at once": lambda b: designs.knock_out_jointly(b, "mean", {"a": [0, 1]}).flags,
}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("used", [1, 2])
def test_designs_say_so_too(design: str, used: int) -> None:
    """Where the network uses the other thing that the module returns, and not where it uses the site."""
    outcomes = OutcomeSet([FIRST, CallableOutcome("second", lambda output, mask: output[:, 0, 1])])
    net = _Structured("dict", used).eval().requires_grad_(False)
    family = [i // 2 for i in range(RUNS)]
    bench = Bench(TorchAdapter(net), "inner", Units([0, 1], D), _inputs(), outcomes, family=family, block=10)
    said = np.unique(np.asarray(DESIGNS[design](bench), dtype=str)).tolist()
    assert ("the run does not read what was edited" in said[0]) == (used == 2), said
    assert used == 1 or (len(said) == 1 and "noise floor" not in said[0]), said


def test_an_outcome_that_an_edit_cannot_reach_is_another_matter() -> None:
    """The site is read, the outcome looks at another token."""
    net = _Structured("dict", 1).eval()
    outcome = CallableOutcome("last token", lambda output, mask: output[:, -1, 0])
    bench = Bench(
        TorchAdapter(net),
        "inner",
        Units([0], D),
        _inputs(),
        outcome,
        position=mrinterp.positions.TokenIndex(0),
    )
    assert "not measurable" in mrinterp.knock_out(bench, "zero").flags[0]
