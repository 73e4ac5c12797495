"""Transcoder pairs: read at one site, written at another, the error kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._transcoder import TranscoderView
from mrinterp.positions import LastToken, MeanOfTokens

WIDTH_IN, WIDTH_OUT, LATENTS = 6, 5, 9
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


class _Transcoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = torch.nn.Linear(WIDTH_IN, LATENTS), torch.nn.Linear(LATENTS, WIDTH_OUT)

    def encode(self, x: Any) -> Any:
        return self.inside(x).relu()

    def decode(self, latents: Any) -> Any:
        return self.outside(latents)


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below = torch.nn.Linear(3, WIDTH_IN)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(WIDTH_IN, 8), torch.nn.GELU(), torch.nn.Linear(8, WIDTH_OUT)
        )
        self.head = torch.nn.Linear(WIDTH_OUT, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.mlp(self.below(x)))


@pytest.fixture
def parts() -> Any:
    torch.manual_seed(0)
    adapter = TorchAdapter(_Net().eval().requires_grad_(False))
    view = TranscoderView(_Transcoder().eval().requires_grad_(False), "mlp:input", "mlp", (7, 2, 4))
    return adapter, view, {"x": torch.randn(3, 4, 3)}


def _run(adapter: Any, view: Any, inputs: Any, write: Any = None) -> Any:
    with torch.no_grad():
        return adapter.run(inputs, read=[view.site_in, view.site_out], write=write)


@pytest.mark.parametrize("position", [MeanOfTokens(), LastToken()])
def test_the_decoded_change_is_written_and_the_error_stays(parts: Any, position: Any) -> None:
    adapter, view, inputs = parts
    positions = position.at(MASK)
    plain = _run(adapter, view, inputs)
    h, y = (plain.activations[s] for s in (view.site_in, view.site_out))
    wanted = view.read(h, positions) + torch.tensor([1.0, 0.0, -2.0])
    after = _run(adapter, view, inputs, view.edits(wanted, positions))
    rows = view.transcoder.outside.weight.T
    step = 1.0 * rows[7] - 2.0 * rows[4]
    change = after.activations[view.site_out] - y
    torch.testing.assert_close(change, positions.selected[..., None] * step, atol=1e-5, rtol=0)
    assert torch.equal(after.activations[view.site_in], h)
    assert (after.output != plain.output).any(-1)[positions.selected].all()
    # y = decoded + error before and after: the edit moved the decoded part alone.
    torch.testing.assert_close(view.error(h, y) + view.transcoder.decode(view.transcoder.encode(h)), y)


def test_writing_what_was_read_changes_no_bit(parts: Any) -> None:
    adapter, view, inputs = parts
    positions = MeanOfTokens().at(MASK)
    plain = _run(adapter, view, inputs)
    values = view.read(plain.activations[view.site_in], positions)
    again = _run(adapter, view, inputs, view.edits(values, positions))
    assert torch.equal(again.output, plain.output)


def test_means_are_over_the_selected_tokens_and_without_tokens_as_they_are(parts: Any) -> None:
    _, view, _ = parts
    h = torch.randn(3, 4, WIDTH_IN)
    latents = view.transcoder.encode(h)[..., [7, 2, 4]]
    by_hand = torch.stack([latents[i, MASK[i].bool()].mean(0) for i in range(3)])
    torch.testing.assert_close(view.read(h, MeanOfTokens().at(MASK)), by_hand)
    torch.testing.assert_close(view.read(h[:, 0]), latents[:, 0])
    torch.testing.assert_close(view.select([2, 0]).read(h[:, 0]), latents[:, 0][:, [2, 0]])
    assert view.select([2, 0]).names == ("latent4", "latent7")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": (3, 3)}, "distinct"),
        ({"latents": (9,)}, "the transcoder has 9 latents"),
        ({"site_in": "head"}, "not reached before 'mlp'"),
        ({"site_in": "below:input"}, "does not take width 3"),
        ({"site_out": "head"}, r"decodes to \(3, 4, 5\); the site has \(3, 4, 2\)"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(parts: Any, change: dict[str, Any], message: str) -> None:
    from dataclasses import replace

    adapter, view, inputs = parts
    positions = MeanOfTokens().at(MASK)
    with pytest.raises(InputError, match=message):
        _run(adapter, view, inputs, replace(view, **change).edits(torch.zeros(3, 3), positions))
