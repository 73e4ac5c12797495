"""Attribution methods and the knockout in one table, with how well they agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp.attribution._all_methods import all_methods
from mrinterp.attribution._beside_knockout import beside_knockout
from mrinterp.attribution._gradient import (
    gradient,
)
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._attribution_table import AttributionTable
from mrinterp.worlds._gated import gated_world
from tests.attribution.attribution_bench import (
    GRADIENT,
    bench_of,
)


class TestBesideTheKnockout:
    def test_table_and_agreement_on_the_gated_toy(self, tmp_path: Path) -> None:
        world = gated_world()
        bench = Bench(world.adapter, world.site, world.view, world.inputs, world.outcome, family=world.family)
        zero = knock_out(bench, "zero", draws=20)
        held = beside_knockout(all_methods(bench, target="zero"), zero)
        table = held.to_frame().set_index("feature")
        np.testing.assert_array_equal(table["knockout"], zero.effect[:, 0])
        np.testing.assert_array_equal(table["knockout_lower"], zero.interval()[0][:, 0])
        np.testing.assert_array_equal(table["gradient"], gradient(bench).beta[:, 0])
        assert (table.loc["saturated", list(GRADIENT[:3])] == 0).all()
        assert table.loc["saturated", "knockout"] > 0.6
        scores = held.scores.set_index("method")
        assert list(scores.index) == list(held.methods)
        r = np.corrcoef(table["knockout"], table["integrated_gradients"])[0, 1]
        assert scores.loc["integrated_gradients", "correlation"] == pytest.approx(r)
        signs = (np.sign(table["knockout"]) == np.sign(table["correlation"])).mean()
        assert scores.loc["correlation", "sign_concordance"] == pytest.approx(signs)
        assert f"gradient r {scores.loc['gradient', 'correlation']:.2f}" in str(held)
        held.save(tmp_path / "t")
        assert str(AttributionTable.load(tmp_path / "t")) == str(held)

    def test_some_of_the_features_in_another_order(self) -> None:
        bench = bench_of("latents")
        some = knock_out(bench, "mean", features=["latent5", "latent8"], draws=20)
        held = beside_knockout({"gradient": gradient(bench)}, some)
        names = [bench.view.names.index(f) for f in some.features]
        np.testing.assert_array_equal(held.table["gradient"], gradient(bench).beta[names].ravel())
        assert "2 features in common: at least 4" in str(held)

    def test_what_does_not_apply_keeps_its_row_and_its_reason(self) -> None:
        bench = bench_of(outcome=CallableOutcome("label", lambda out, _m: out[:, 0].argmax(-1)))
        held = beside_knockout(all_methods(bench), knock_out(bench, "mean", draws=20))
        assert held.table["gradient"].isna().all()
        assert "gradient: outcome label has no gradient" in str(held)

    def test_other_features_are_refused(self) -> None:
        effects = knock_out(bench_of("latents"), "mean", draws=20)
        with pytest.raises(InputError, match="nothing about 'latent8'"):
            beside_knockout({"gradient": gradient(bench_of("units"))}, effects)
        with pytest.raises(InputError, match="no attribution methods"):
            beside_knockout({}, effects)


def test_values_written_outside_support_are_flagged_in_every_table() -> None:
    bench = bench_of("units")
    far = knock_out(bench, "clamp", value=99.0, allow_off_support=True, draws=20)
    held = beside_knockout(all_methods(bench), far)
    assert set(held.to_frame()["flags"]) == {"outside support, asked for"}
    assert "3 features of the knockout flagged" in str(held)
    assert set(far.equivalence()["flags"]) == {"outside support, asked for"}
    assert "flagged" not in str(beside_knockout(all_methods(bench), knock_out(bench, "mean", draws=20)))
