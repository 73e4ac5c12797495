"""Feature views: after a write, a read returns what was written, at every position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrinterp import features
from mrinterp import positions as at
from mrinterp.core.basis import Dictionary
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions, Subspace, difference_of_means
from mrinterp.features._feature_view import ChannelMap, edit_of, read_back, writable
from mrinterp.features._latents import Latents, ReconstructionError
from mrinterp.features._principal import PrincipalCoordinates
from mrinterp.features._units import AttentionHeads, Units, WholeLayer

WIDTH, TOKENS, RUNS = 12, 7, 4
MASK = torch.tensor(
    [[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0]]
)
CLASSES = torch.where(MASK.bool(), torch.tensor([0, 1, 1, 1, 2, 2, 2]), -1)
SPAN = torch.tensor(
    [[0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0]]
)


def _rows(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, WIDTH))


def _views() -> dict[str, Any]:
    read = _rows(4)
    dictionary = Dictionary(
        names=tuple("abcd"), read=read, write=np.linalg.pinv(read).T, center=_rows(1, 3)[0]
    )
    return {
        "units": Units([3, 0, 11], WIDTH),
        "directions": Directions(read, center=_rows(1, 1)[0]),
        "from_write": Directions.from_write(_rows(3, 2)),
        "dictionary": Directions.from_dictionary(dictionary),
        "difference": difference_of_means(_rows(9, 4) + 1, _rows(8, 5)),
        "subspace": Subspace(np.linalg.qr(_rows(5).T)[0].T),
        "heads": AttentionHeads([2, 0], 4, WIDTH),
        "coordinates": PrincipalCoordinates(
            AttentionHeads([2, 0], 4, WIDTH), np.linalg.qr(_rows(3, 6)[:, :6].T)[0].T
        ),
        "layer": WholeLayer(WIDTH),
        "latents": Latents(_invertible(), WIDTH, [7, 1, 4]),
        "error": ReconstructionError(_zero(), WIDTH),
    }


class _Linear:
    """An autoencoder whose decoder is undone by its encoder, or that reconstructs nothing."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = torch.from_numpy(matrix)

    def encode(self, x: Any) -> Any:
        return x @ self.matrix.to(x)

    def decode(self, latents: Any) -> Any:
        return latents @ self.matrix.to(latents).T


def _invertible() -> _Linear:
    return _Linear(np.linalg.qr(_rows(WIDTH, 6))[0])


def _zero() -> _Linear:
    return _Linear(np.zeros((WIDTH, WIDTH)))


POSITIONS = {
    "index": at.TokenIndex(1),
    "negative_index": at.TokenIndex(-2),
    "class": at.TokenClass(1),
    "token_of_class": at.TokenOfClass(1, -1),
    "slice": at.TokenSlice(0, 2),
    "span": at.SpanMask(SPAN),
    "mean": at.MeanOfTokens(),
    "last": at.LastToken(),
    "all": at.AllTokens(),
    "each": at.EachToken(at.TokenClass(1)),
}


def _every(base: type, room: Any) -> set[type]:
    """Public classes of a room that are of a kind, but not the kind itself."""
    public = [getattr(room, name) for name in room.__all__]
    return {c for c in public if isinstance(c, type) and issubclass(c, base) and c is not base}


def test_every_public_position_is_tested() -> None:
    # The maximum is read only: `test_max_is_read_and_not_written`.
    assert {type(p) for p in POSITIONS.values()} == _every(at.Position, at) - {at.MaxOfTokens}


def test_every_public_view_is_tested() -> None:
    assert {type(v) for v in _views().values()} == _every(features.TokenFeatureView, features)


@pytest.fixture
def h() -> Any:
    return torch.randn(RUNS, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))


def _values(view: Any, positions: Any, h: Any) -> Any:
    wanted = torch.randn(view.read(h, positions).shape, generator=torch.Generator().manual_seed(5))
    if positions.pooling == "each":
        wanted = (wanted.unflatten(1, (TOKENS, -1)) * positions.selected.unsqueeze(-1)).flatten(1)
    return wanted


@pytest.mark.parametrize("position", sorted([*POSITIONS, "max"]))
class TestEveryPosition:
    def _at(self, position: str) -> Any:
        return at.MaxOfTokens() if position == "max" else POSITIONS[position]

    def test_it_selects_own_tokens_of_every_run(self, position: str) -> None:
        chosen = self._at(position).at(MASK, CLASSES)
        assert chosen.selected.dtype == torch.bool
        assert not (chosen.selected & ~MASK.bool()).any()
        assert chosen.selected.any(1).all()
        torch.testing.assert_close(chosen.weights.sum(1), torch.ones(RUNS, dtype=torch.float64))

    def test_splitting_a_batch_changes_nothing(self, position: str) -> None:
        where = self._at(position)
        for rows in ([0, 1], [2], [3]):
            part = at.SpanMask(SPAN[rows]) if position == "span" else where
            assert torch.equal(
                part.at(MASK[rows], CLASSES[rows]).selected, where.at(MASK, CLASSES).selected[rows]
            )

    def test_the_side_and_length_of_padding_change_nothing(self, position: str) -> None:
        where = self._at(position)
        left = torch.nn.functional.pad(MASK, (3, 0)), torch.nn.functional.pad(CLASSES, (3, 0), value=-1)
        moved = at.SpanMask(torch.nn.functional.pad(SPAN, (3, 0))) if position == "span" else where
        assert torch.equal(moved.at(*left).selected[:, 3:], where.at(MASK, CLASSES).selected)

    def test_it_shows_what_it_is(self, position: str) -> None:
        assert type(self._at(position)).__name__ in repr(self._at(position))
        assert "object at 0x" not in repr(self._at(position))


@pytest.mark.parametrize("kind", sorted(_views()))
@pytest.mark.parametrize("position", sorted(POSITIONS))
class TestEveryKindAtEveryPosition:
    def test_read_returns_what_was_written(self, kind: str, position: str, h: Any) -> None:
        view, positions = _views()[kind], POSITIONS[position].at(MASK, CLASSES)
        wanted = _values(view, positions, h)
        assert float(read_back(view, h, wanted, positions).max()) < 2e-5
        assert float((view.read(h, positions) - wanted).abs().max()) > 0
        assert len(view.names) * (TOKENS if positions.pooling == "each" else 1) == wanted.shape[1]

    def test_other_tokens_and_padding_are_untouched(self, kind: str, position: str, h: Any) -> None:
        view, positions = _views()[kind], POSITIONS[position].at(MASK, CLASSES)
        edited = view.write(h, _values(view, positions, h), positions)
        changed = (edited != h).any(-1)
        assert torch.equal(changed, positions.selected)
        assert not (changed & ~MASK.bool()).any()

    def test_identity_edit_is_exact(self, kind: str, position: str, h: Any) -> None:
        view, positions = _views()[kind], POSITIONS[position].at(MASK, CLASSES)
        assert torch.equal(view.write(h, view.read(h, positions), positions), h)


@pytest.mark.parametrize("kind", sorted(_views()))
def test_without_a_token_axis(kind: str) -> None:
    view = _views()[kind]
    flat = torch.from_numpy(_rows(6, 9)).float()
    wanted = torch.from_numpy(np.random.default_rng(2).standard_normal(view.read(flat).shape)).float()
    assert float(read_back(view, flat, wanted).max()) < 2e-5


@pytest.mark.parametrize("kind", sorted(_views()))
def test_max_is_read_and_not_written(kind: str, h: Any) -> None:
    view, positions = _views()[kind], at.MaxOfTokens().at(MASK)
    values = view.read(h, positions)
    each = view.read(h, at.AllTokens().at(MASK)).unflatten(1, (TOKENS, -1))
    expected = torch.stack([each[i, MASK[i].bool()].amax(0) for i in range(RUNS)])
    torch.testing.assert_close(values, expected)
    with pytest.raises(InputError, match="maximum over tokens can be read but not written"):
        view.write(h, values, positions)
    assert "many edits" in writable(positions).reason
    assert writable(at.MeanOfTokens().at(MASK)) is None


def test_positions_select_the_tokens_they_name() -> None:
    assert at.TokenIndex(1).at(MASK).selected.nonzero().tolist() == [[0, 1], [1, 1], [2, 1], [3, 3]]
    assert at.TokenIndex(-2).at(MASK).selected.nonzero().tolist() == [[0, 2], [1, 5], [2, 1], [3, 4]]
    assert at.LastToken().at(MASK).selected.nonzero().tolist() == [[0, 3], [1, 6], [2, 2], [3, 5]]
    assert at.TokenClass(1).at(MASK, CLASSES).selected.sum(1).tolist() == [3, 3, 2, 2]
    weights = at.MeanOfTokens().at(MASK).weights
    torch.testing.assert_close(weights.sum(1), torch.ones(RUNS, dtype=torch.float64))
    assert float(weights[0, 4:].sum()) == 0


def test_padding_does_not_change_what_is_read(h: Any) -> None:
    longer = torch.cat([h, torch.full((RUNS, 5, WIDTH), torch.nan)], 1)
    mask = torch.nn.functional.pad(MASK, (0, 5))
    for position in (at.MeanOfTokens(), at.LastToken(), at.TokenIndex(1), at.MaxOfTokens()):
        view = Units([1, 2], WIDTH)
        torch.testing.assert_close(view.read(longer, position.at(mask)), view.read(h, position.at(MASK)))


def test_writing_one_direction_leaves_the_others(h: Any) -> None:
    view, positions = Directions(_rows(4)), at.MeanOfTokens().at(MASK)
    before = view.read(h, positions)
    wanted = before.clone()
    wanted[:, 2] += 3
    torch.testing.assert_close(
        view.read(view.write(h, wanted, positions), positions), wanted, atol=1e-5, rtol=0
    )


def test_difference_of_means_puts_the_groups_half_a_unit_apart() -> None:
    a, b = _rows(20, 1) + 2, _rows(20, 2)
    view = difference_of_means(a, b)
    values = [float(view.read(torch.from_numpy(x)).mean()) for x in (a, b)]
    np.testing.assert_allclose(values, [0.5, -0.5], atol=1e-12)


def test_half_precision_is_read_in_single(h: Any) -> None:
    view, positions = WholeLayer(WIDTH), at.MeanOfTokens().at(MASK)
    half = h.bfloat16()
    assert view.read(half, positions).dtype == torch.float32
    torch.testing.assert_close(view.read(half, positions), view.read(half.float(), positions))
    edited = view.write(half, torch.zeros(RUNS, WIDTH), positions)
    assert edited.dtype == torch.bfloat16
    assert float(view.read(edited, positions).abs().max()) < 0.02


def test_channels_of_a_feature_map() -> None:
    maps = torch.randn(3, 5, 4, 2, generator=torch.Generator().manual_seed(1))
    view, positions = ChannelMap(Units([4, 1], 5)), at.MeanOfTokens().at(torch.ones(3, 8))
    torch.testing.assert_close(view.read(maps, positions), maps[:, [4, 1]].mean((2, 3)))
    wanted = torch.arange(6.0).reshape(3, 2)
    edited = view.write(maps, wanted, positions)
    torch.testing.assert_close(edited[:, [4, 1]].mean((2, 3)), wanted)
    assert torch.equal(edited[:, [0, 2, 3]], maps[:, [0, 2, 3]])


def test_a_view_edits_a_network_through_the_adapter() -> None:
    from mrinterp.adapters._torch_module import TorchAdapter

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 2)).eval()
    adapter, view = TorchAdapter(net), Directions(_rows(2))
    wanted = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 0.0]])
    inputs = {"input": torch.randn(3, 3)}
    with torch.no_grad():
        run = adapter.run(inputs, read=["1"], write={"1": edit_of(view, wanted)})
    torch.testing.assert_close(view.read(run.activations["1"]), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Units([12], WIDTH), "unit 12: the site has 12 units. Units run from 0 to 11"),
        (lambda: Units([1, 1], WIDTH), "distinct"),
        (lambda: AttentionHeads([4], 4, WIDTH), "head 4: the layer has 4 heads"),
        (lambda: AttentionHeads([0], 5, WIDTH), "5 heads in a width of 12"),
        (lambda: Subspace(_rows(2)), "off orthonormal"),
        (lambda: Directions(np.vstack([_rows(2), _rows(2)[:1]])), "3 directions span 2 dimensions"),
        (lambda: Directions(_rows(2), write=_rows(2)), "off the identity"),
        (lambda: Directions([[np.nan] * WIDTH]), "not finite"),
        (lambda: difference_of_means(_rows(3), _rows(3)), "same mean"),
        (lambda: Units([1], WIDTH).read(torch.zeros(2, 5)), "width 5; the features are of width 12"),
        (lambda: Units([1], WIDTH).read(torch.zeros(2, 3, WIDTH)), "without positions"),
        (
            lambda: Units([1], WIDTH).write(torch.zeros(2, WIDTH), torch.zeros(1, 1)),
            r"shape \(1, 1\); the view reads \(2, 1\)",
        ),
        (lambda: at.TokenIndex(5).at(MASK), "token 5, run 0: selects none of its 4 tokens"),
        (lambda: at.TokenIndex(-5).at(MASK), "run 0: selects none"),
        (lambda: at.TokenClass(2).at(MASK, CLASSES), "run 0"),
        (lambda: at.TokenClass(1).at(MASK), "no token classes"),
        (lambda: at.SpanMask(SPAN[:2]).at(MASK), "SpanMask"),
    ],
)
def test_bad_input_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
