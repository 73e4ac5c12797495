"""Double knockouts: additive networks show none, gates show what they are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._kinds.mean import Mean
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.epistasis import Epistasis
from mrinterp.results._designs.rescue import Rescue
from tests.design_networks import Readout, bench_of, inputs, linear


def _gates() -> tuple[Readout, torch.Tensor]:
    """y0: an AND of 0 and 1, an OR of 2 and 3, and 4 + 5; values around one, so that zero is a loss."""
    x = inputs() * 0.1 + 1.0

    def y(h: torch.Tensor) -> torch.Tensor:
        both = h[:, 0] * h[:, 1]
        either = torch.maximum(h[:, 2], h[:, 3])
        return (both + either + h[:, 4] + h[:, 5]).unsqueeze(-1)

    return Readout(y), x


def test_an_additive_network_has_none() -> None:
    result = epistasis(linear([[1.0, -2.0, 3.0, 0.5, 0.0, 4.0]]), 0.0)
    assert np.abs(result.interaction).max() < 1e-12
    assert (result.call == "negligible").all()
    assert len(result.pairs) == 15


def test_gates_are_called_what_they_are() -> None:
    module, x = _gates()
    result = epistasis(bench_of(module, x), 0.0)
    h = x.numpy()
    a, b, c, d = h[:, 0], h[:, 1], h[:, 2], h[:, 3]
    either = np.maximum(c, d)
    truth = {
        (0, 1): (a * b).mean(),  # 0 - 0 - 0 + ab: the second loss finds nothing left to lose
        (2, 3): (0 - np.maximum(d, 0) - np.maximum(c, 0) + either).mean(),
    }
    for m, pair in enumerate(result.pairs.tolist()):
        assert result.interaction[m, 0] == pytest.approx(truth.get(tuple(pair), 0.0), abs=1e-12)
    assert result.pair("0", "1").call == "buffering"
    assert result.pair("3", "2").call == "synergy"
    assert result.pair("4", "5").call == "negligible"
    assert (result.call[:, 0] == "negligible").sum() == 13
    assert np.array_equal(np.isnan(result.matrix()), np.eye(6, dtype=bool))
    assert "synergy" in str(result.pair("2", "3"))
    assert "interval" in str(result)


def test_singles_that_pull_apart_are_opposed() -> None:
    x = inputs() * 0.1 + 1.0
    bench = bench_of(Readout(lambda h: h[:, :1] - h[:, 1:2] + 3 * h[:, :1] * h[:, 2:3] * h[:, 1:2]), x)
    assert epistasis(bench, 0.0, ["0", "1"]).call.tolist() == [["buffering"]]
    bench = bench_of(Readout(lambda h: 2 * h[:, :1] - 2 * h[:, 1:2] + h[:, :1] * h[:, 1:2]), x)
    assert epistasis(bench, 0.0, ["0", "1"]).call.tolist() == [["opposed"]]


def test_errors_are_clustered_by_family() -> None:
    module, x = _gates()
    bench = bench_of(module, x)
    result = epistasis(bench, 0.0, pairs=[("0", "1")])
    product = (x[:, 0] * x[:, 1]).numpy()
    sums = np.array([(product - product.mean())[bench.family == f].sum() for f in range(16)])
    assert result.se[0, 0] == pytest.approx(np.sqrt((sums**2).sum() * 16 / 15) / len(product), rel=1e-12)


def _studies_with_a_false_call(correction: str) -> int:
    """Of 60 studies whose interactions have mean zero over families, those with any call."""
    pairs = list(combinations(range(6), 2))

    def y(h: torch.Tensor) -> torch.Tensor:
        # A pair's term is lost as soon as one of the two is zero: the interaction is the term itself.
        alive = torch.stack([(h[:, i] != 0) & (h[:, j] != 0) for i, j in pairs], dim=1)
        return (h[:, 6:] * alive).sum(1, keepdim=True)

    count = 0
    for seed in range(60):
        terms = np.random.default_rng(seed).standard_normal((16, 15))[np.arange(48) % 16]
        bench = bench_of(Readout(y), torch.cat([inputs(seed), torch.from_numpy(terms)], dim=1), block=48)
        result = epistasis(bench, 0.0, range(6), rope_sd=0.0, correction=correction)
        count += bool(np.isin(result.call, ["synergy", "buffering", "opposed"]).any())
    return count


def test_false_calls_stay_at_their_level() -> None:
    # 60 studies at 5% show 3; more than 9 has a chance below .003.
    assert _studies_with_a_false_call("fdr_by") <= 9
    # Without a correction 15 pairs at 5% each find something in half of the studies.
    assert 18 <= _studies_with_a_false_call("none") <= 45


@pytest.mark.parametrize("kind", [Mean(), Resample(donors=1), lambda bench, numbers: np.zeros((6, 48))])
def test_any_kind_with_one_value_per_prompt_serves(kind: object) -> None:
    module, x = _gates()
    result = epistasis(bench_of(module, x), kind)
    assert np.isfinite(result.interaction).all()


def test_values_far_outside_support_are_refused_or_flagged() -> None:
    bench = linear([[1.0] * 6])
    with pytest.raises(InputError, match="allow_off_support=True"):
        epistasis(bench, 50.0)
    flagged = epistasis(bench, 50.0, allow_off_support=True)
    assert "Outside natural support: 0 (100% of what was written)" in str(flagged)
    assert "Outside" not in str(epistasis(bench, "mean"))


def test_block_size_changes_nothing() -> None:
    module, x = _gates()
    one, other = (epistasis(bench_of(module, x, block=b), 0.0) for b in (5, 48))
    np.testing.assert_allclose(one.interaction, other.interaction, rtol=1e-12, atol=1e-12)


def test_an_interrupted_run_is_taken_up(tmp_path: Path) -> None:
    module, x = _gates()
    calls = []
    module.early.register_forward_hook(lambda *_: calls.append(1) or None)
    whole = epistasis(bench_of(module, x, block=16), 0.0)
    epistasis(bench_of(module, x, block=16, folder=tmp_path), 0.0)
    shards = sorted(tmp_path.rglob("*.npz"))
    shards[-1].unlink()
    before = len(calls)
    again = epistasis(bench_of(module, x, block=16, folder=tmp_path), 0.0)
    assert len(calls) - before < len(calls) / 3
    assert np.array_equal(again.interaction, whole.interaction)


def test_saved_and_reopened(tmp_path: Path) -> None:
    module, x = _gates()
    result = epistasis(bench_of(module, x), 0.0)
    result.save(tmp_path / "e")
    again = Epistasis.load(tmp_path / "e")
    assert str(again) == str(result)
    assert again.to_frame().equals(result.to_frame())
    assert len(result.to_frame()) == 15
    with pytest.raises(InputError, match="holds 'epistasis', not 'rescue'"):
        Rescue.load(tmp_path / "e")


def test_one_family_has_no_error() -> None:
    module, x = _gates()
    result = epistasis(bench_of(module, x, families=1), 0.0)
    answer = result.pair("0", "1")
    assert isinstance(answer, NotApplicable)
    assert "one family" in str(answer)
    assert "one family" in str(result)
    assert not np.isin(result.call, ["synergy", "buffering"]).any()


@pytest.mark.parametrize(
    ("pairs", "features", "words"),
    [
        ([("0", "0")], None, "given 2 times"),
        ([("0", "9")], None, "not known"),
        ([("0", "1"), ("1", "0")], None, "given twice"),
        ([("0", "5")], ["0", "1"], "not two of the features"),
        ([], None, "none given"),
        (None, ["0"], "at least two"),
        (None, [], "none given"),
        (None, [0, 0], "given 2 times"),
        (None, [17], "run from 0 to 5"),
    ],
)
def test_bad_pairs_are_refused(pairs: object, features: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        epistasis(linear([[1.0] * 6]), 0.0, features, pairs=pairs)


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros((6, 3)), np.inf, Resample(donors=2)])
def test_bad_values_are_refused(values: object) -> None:
    with pytest.raises(InputError, match="values: "):
        epistasis(linear([[1.0] * 6]), values)


def test_matrices_of_interval_ends() -> None:
    module, x = _gates()
    result = epistasis(bench_of(module, x), 0.0)
    i, j = result.pairs.T
    for name in ("lower", "upper", "adjusted_p"):
        matrix = result.matrix(of=name)
        np.testing.assert_array_equal(matrix[i, j], getattr(result, name)[:, 0])
        np.testing.assert_array_equal(matrix, matrix.T)
    with pytest.raises(InputError, match="interaction"):
        result.matrix(of="middle")


def test_an_unknown_correction_is_refused_before_anything_is_run() -> None:
    with pytest.raises(InputError, match="fdr_by"):
        epistasis(linear([[1.0] * 6]), 0.0, correction="fdr_bv")


def test_intervals_cover_a_known_interaction() -> None:
    """y = ab with E[a] = E[b] = 1, independent: together the two lose what each loses alone, E[ab] = 1."""
    hits, called = 0, 0
    for seed in range(120):
        x = inputs(seed) * 0.5 + 1.0
        bench = bench_of(Readout(lambda h: h[:, :1] * h[:, 1:2] + h[:, 2:3]), x, block=48)
        result = epistasis(bench, 0.0, ["0", "1"])
        hits += bool(result.lower[0, 0] <= 1 <= result.upper[0, 0])
        called += result.call[0, 0] == "buffering"
    assert 105 <= hits <= 120  # 114 expected; four errors
    assert called >= 100


def test_outcomes_of_other_size_have_floors_of_their_own() -> None:
    """An outcome of 1e9 beside one of 1e-6: the rounding of the first says nothing about the second."""
    x = inputs() * 0.1 + 1.0
    module = Readout(lambda h: torch.cat([1e9 * h[:, :1], 1e-6 * h[:, :1] * h[:, 1:2]], dim=1))
    result = epistasis(bench_of(module, x, 2), 0.0, ["0", "1"])
    assert result.call[0].tolist() == ["negligible", "buffering"]
