"""Attribution methods against their formulas, written out with plain autograd and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from mrinterp.attribution._all_methods import all_methods
from mrinterp.attribution._correlation import correlation
from mrinterp.attribution._gradient import (
    gradient,
)
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.knockouts._bench import Bench
from tests.attribution.attribution_bench import (
    FAMILY,
    GRADIENT,
    Stack,
    bench_of,
    inputs,
    linear,
    square,
)


class TestWrittenOutByHand:
    """Units of a bent network at one token: the formulas with plain autograd, one feature at a time."""

    UNITS, TOKEN = (4, 0, 2), 1

    @pytest.fixture(scope="class")
    def by_hand(self) -> tuple[Bench, Any, np.ndarray]:
        bench, network, given = bench_of("units", "index"), Stack().eval(), inputs()
        x, mask = given.tensors["x"], given.mask

        def outcome(h: Any) -> Any:
            out = network.layers[2](h)
            return torch.stack([square(out, mask), linear(out, mask)], 1)

        with torch.no_grad():
            held = network.layers[1](network.layers[0](x))
        return bench, outcome, held.numpy()

    def _slope(self, outcome: Any, h: np.ndarray) -> np.ndarray:
        """d outcome / d unit (P, F, O) at activations h."""
        leaf = torch.from_numpy(h).requires_grad_(True)
        y = outcome(leaf)
        parts = [torch.autograd.grad(y[:, o].sum(), leaf, retain_graph=True)[0] for o in range(2)]
        return torch.stack(parts, -1)[:, self.TOKEN, list(self.UNITS)].numpy()

    def _path(self, outcome: Any, h: np.ndarray, ends: np.ndarray, steps: int = 400) -> np.ndarray:
        """Slope averaged over midpoints of the straight path of all units together."""
        total = 0.0
        for k in range(steps):
            at = h.copy()
            own = at[:, self.TOKEN, list(self.UNITS)]
            at[:, self.TOKEN, list(self.UNITS)] = own + (k + 0.5) / steps * (ends - own)
            total = total + self._slope(outcome, at) / steps
        return np.asarray(total)

    @pytest.mark.parametrize("target", ["zero", "mean"])
    def test_every_gradient_method(self, by_hand: Any, target: str) -> None:
        bench, outcome, h = by_hand
        clean = h[:, self.TOKEN, list(self.UNITS)]
        ends = np.zeros_like(clean) if target == "zero" else np.broadcast_to(clean.mean(0), clean.shape)
        moved, slope = (ends - clean)[..., None], self._slope(outcome, h)
        shares = {
            "gradient": slope,
            "attribution_patching": slope * moved,
            "gradient_times_activation": -slope * clean[..., None],
            "integrated_gradients": self._path(outcome, h, ends) * moved,
        }
        found = all_methods(bench, target=target, steps=24)
        np.testing.assert_allclose(found["gradient"].beta, slope.mean(0), rtol=1e-9)
        for name in GRADIENT[1:]:
            size = -clean[..., None] if name == "gradient_times_activation" else moved
            np.testing.assert_allclose(found[name].details["change"], shares[name].mean(0), rtol=1e-5)
            per_unit = (shares[name] * size).sum(0) / (size**2).sum(0)
            np.testing.assert_allclose(found[name].beta, per_unit, rtol=1e-5, err_msg=name)

    def test_errors_of_the_gradient_leave_one_family_out(self, by_hand: Any) -> None:
        bench, outcome, h = by_hand
        slope, names = self._slope(outcome, h), np.unique(FAMILY)
        without = np.array([slope[c != FAMILY].mean(0) for c in names])
        share = (len(names) - 1) / len(names)
        se = np.sqrt(share * ((without - slope.mean(0)) ** 2).sum(0))
        np.testing.assert_allclose(gradient(bench).se, se, rtol=1e-9)

    def test_the_probe_is_a_ridge_on_standardized_features(self, by_hand: Any) -> None:
        bench = by_hand[0]
        found = linear_probe(bench, folds=4, penalties=(0.5,))
        x = bench.values / bench.values.std(0)
        centered, y = x - x.mean(0), bench.clean - bench.clean.mean(0)
        weights = np.linalg.solve(centered.T @ centered + 0.5 * np.eye(3), centered.T @ y)
        np.testing.assert_allclose(found.beta, weights / bench.values.std(0)[:, None], rtol=1e-8)

    def test_correlation_is_pearsons(self, by_hand: Any) -> None:
        bench = by_hand[0]
        found = correlation(bench)
        for f, o in np.ndindex(3, 2):
            fit = stats.linregress(bench.values[:, f], bench.clean[:, o])
            assert found.beta[f, o] == pytest.approx(fit.slope, rel=1e-9)
            assert found.details["correlation"][f, o] == pytest.approx(fit.rvalue, rel=1e-9)
