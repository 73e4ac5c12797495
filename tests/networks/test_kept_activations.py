"""Activations in memory and in a file: the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters._kept_activations import KeptActivations


def kept(whole: torch.Tensor, most: int, block: int) -> KeptActivations:
    """A tensor put in block by block, as runs in inference mode give it."""
    out = KeptActivations(len(whole), most)
    for a in range(0, len(whole), block):
        rows = np.arange(a, min(a + block, len(whole)))
        with torch.inference_mode():
            out.put(rows, whole[rows].clone())
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("most", [0, 1 << 30])
def test_what_is_taken_is_what_was_put_in(dtype: torch.dtype, most: int) -> None:
    whole = torch.randn(150, 3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    rows = np.array([149, 0, 64, 64, 3])
    for block in (7, 150):
        held = kept(whole, most, block)
        assert torch.equal(held.take(rows), whole[rows])
        assert held.take(rows).dtype == dtype
        starts, parts = zip(*held.parts(), strict=True)
        assert starts == (0, 64, 128)
        assert torch.equal(torch.cat(parts), whole)


def test_what_is_taken_is_a_copy_that_gradients_run_through() -> None:
    held = kept(torch.ones(4, 2), 0, 2)
    taken = held.take(np.array([1]))
    taken[:] = 7.0
    assert torch.equal(held.take(np.array([1])), torch.ones(1, 2))
    weight = torch.ones(2, requires_grad=True)
    (held.take(np.array([0, 3])) * weight).sum().backward()
    assert torch.equal(weight.grad, torch.full((2,), 2.0))


def test_the_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held = kept(torch.ones(4, 2), 0, 2)
    assert held.take(np.arange(4)).sum() == 8
    assert not list(tmp_path.iterdir())
