"""Which checks have power is computed from the design's errors: shared noise silences Q that takes errors as unrelated."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.diagnostics import check_power, diagnose
from mrinterp.diagnostics._check_power import own_q
from mrinterp.scan import marginal_scan
from mrinterp.worlds import linear_world


def test_shared_noise_silences_q_and_its_own_covariance_gives_it_back() -> None:
    scan = marginal_scan(linear_world(0).panel)
    found = check_power(scan.to_mrdata(), "cause", "y", draws=200).set_index(["check", "pleiotropy"])
    plain, own = found.loc["Q, unrelated errors"], found.loc["Q, the design's errors"]
    assert plain.loc["balanced", "alarm"] == 0
    assert own.loc["balanced", "alarm"] < 0.1
    assert own.loc["balanced", "detectable"] < 0.6 * plain.loc["balanced", "detectable"]
    assert np.isinf(found.loc[("Egger intercept", "balanced"), "detectable"])
    assert np.isfinite(found.loc[("Egger intercept", "directional"), "detectable"])
    apart = check_power(scan.to_mrdata(with_errors=False), "cause", "y", draws=200)
    apart = apart.set_index(["check", "pleiotropy"])
    assert apart.loc[("Q, unrelated errors", "balanced"), "alarm"] == pytest.approx(0.05, abs=0.05)
    with pytest.raises(InputError, match="exposure"):
        check_power(scan.to_mrdata(), "nobody")


def test_the_cards_of_a_scan_hold_both_qs() -> None:
    scan = marginal_scan(linear_world(0).panel)
    rows = diagnose(scan).of("cause").set_index("check")
    assert "own covariance" in rows.loc["heterogeneity beyond the design's errors: y", "reason"]
    data = scan.to_mrdata(with_errors=False)
    assert "heterogeneity beyond the design's errors: y" not in set(diagnose(data).of("cause")["check"])
    q, df = own_q(data)
    assert q.shape == df.shape == (5, 1)
    assert (df == 23).all()
