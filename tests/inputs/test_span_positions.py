"""Features read at a span of tokens, or at one token of a class: as a study file names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.positions import TokenOfClass, TokenSlice, named_position
from mrinterp.study import Study
from tests.inputs.input_nets import write_input_study

MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("1:3", [1, 2]), ("0:1", [0]), (":2", [0, 1]), ("1:-1", None), ("-2:", None), ("-3:-1", None)],
)
def test_slices_count_own_tokens_as_python_does(name: str, numbers: list[int] | None) -> None:
    position = named_position(name)
    assert isinstance(position, TokenSlice)
    selected = position.at(MASK).selected
    for own, chosen in zip(MASK.bool(), selected, strict=True):
        tokens = torch.arange(6)[own].tolist()
        start, stop = (int(e) if e else None for e in name.split(":"))
        assert torch.arange(6)[chosen].tolist() == tokens[start:stop]
        assert numbers is None or tokens[start:stop] == [tokens[n] for n in numbers]


def test_one_token_of_a_class() -> None:
    classes = torch.tensor([[0, 1, 1, 2, 1, -1], [1, 1, 0, -1, -1, -1], [-1, -1, 1, 0, 2, 1]])
    for name, index in (("word:last", -1), ("word:first", 0), ("word:1", 1), ("word:-2", -2)):
        position = named_position(name, ["a", "word", "b"])
        assert position == TokenOfClass(1, index)
        for chosen, own in zip(position.at(MASK, classes).selected, classes, strict=True):
            assert torch.arange(6)[chosen].tolist() == [torch.arange(6)[own == 1].tolist()[index]]
    with pytest.raises(InputError, match="selects none"):
        named_position("word:2", ["a", "word", "b"]).at(MASK, classes)
    for unknown in ("wort:last", "word:middle", ":"):
        with pytest.raises(InputError, match="no token class"):
            named_position(unknown, ["a", "word", "b"])


def test_a_study_reads_at_a_span(tmp_path: Path) -> None:
    path = write_input_study(
        tmp_path, "tokens", features={"position": "2:4"}, instruments={"deletion": {"runs_per_prompt": 0}}
    )
    study = Study.from_toml(path, tmp_path / "run", allow_code=True)
    network, rows = study._bare_network, np.arange(3)
    read = network.run(rows).mean
    whole = network.token_activations(rows)
    lengths = network.inputs.mask.sum(1)[:3].tolist()
    each = torch.split(whole, lengths)
    for found, tokens in zip(read, each, strict=True):
        np.testing.assert_allclose(found, tokens[2:4].double().mean(0), rtol=1e-5)
    far = write_input_study(tmp_path, "tokens", features={"position": "7:9"})
    with pytest.raises(InputError, match="selects none of its 7 tokens"):
        Study.from_toml(far, tmp_path / "other", allow_code=True).check_before()
