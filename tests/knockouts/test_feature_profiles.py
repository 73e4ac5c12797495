"""What a feature is: the inputs at its ends with their token marked, tokens and classes that it responds to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features import Directions
from mrinterp.knockouts import Bench, feature_profiles
from mrinterp.outcomes import CallableOutcome
from mrinterp.positions import MeanOfTokens
from mrinterp.results import FeatureProfiles
from tests.study.finished_study import _design
from tests.study.study_kinds import DECODER, LOGITS, prompt_table, save_tiny_decoder, write_study

WORDS = ["pad", "the", "cat", "dog", "sat", "ran"]


class _Words:
    """As much of a tokenizer as writes numbers as text."""

    def decode(self, ids: list[int]) -> str:
        return " ".join(WORDS[i] for i in ids)


class _Embedded(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(6, 3)
        self.table.weight.data = torch.tensor(
            [[9.0, 9, 9], [0, 1, 0], [2, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, 0]]
        )

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        return (self.table(input_ids) * attention_mask[..., None]).sum(1)


def _bench(families: int = 8, position: Any = None) -> Bench:
    """The cat sat / the dog sat / the cat ran, by turns, padded by one token."""
    rows = [[1, 2, 4, 0], [1, 3, 4, 0], [1, 2, 5, 0], [1, 3, 5, 0]]
    ids = torch.tensor([rows[k % 4] for k in range(4 * families)])
    mask = (torch.arange(4) < 3).long().repeat(len(ids), 1)
    view = Directions(torch.eye(3)[:2].numpy(), torch.eye(3)[:2].numpy(), np.zeros(3), ["animal", "the"])
    outcome = CallableOutcome("y", lambda output, _: output[:, 0])
    inputs = ModelInputs({"input_ids": ids, "attention_mask": mask}, mask)
    net = TorchAdapter(_Embedded().eval().requires_grad_(False))
    return Bench(
        net, "table", view, inputs, outcome, position=position or MeanOfTokens(),
        family=np.repeat(np.arange(families), 4),
    )  # fmt: skip


def test_ends_tokens_and_spread_are_those_of_the_inputs() -> None:
    found = feature_profiles(_bench(), _Words(), most=3)
    animal = found["animal"]
    high, low = (animal.inputs[animal.inputs["end"] == e] for e in ("high", "low"))
    assert set(high["text"]) <= {"the [[cat]] sat", "the [[cat]] ran"}
    assert low["text"].iloc[0] in ("the [[dog]] sat", "the [[dog]] ran")
    assert high["value"].tolist() == [2.0] * 3
    assert low["value"].tolist() == [-1.0] * 3
    assert high["rank"].tolist() == [1, 2, 3]
    assert high["family"].is_unique, "one a family"
    values = np.tile([0.0, 2, 0, 0, -1, 0], 16)
    assert animal.mean == pytest.approx(values.mean())
    assert animal.sd == pytest.approx(values.std())
    assert animal.share_active == pytest.approx(1 / 3)
    tokens = animal.tokens.set_index("token")
    assert tokens.loc["cat", "difference"] == pytest.approx((2 - values.mean()) / values.std())
    assert (tokens.loc["cat", "count"], tokens.loc["cat", "families"]) == (16, 8)
    assert tokens.loc["dog", "difference"] < 0
    assert found["the"].tokens["token"].iloc[0] == "the"
    assert "pad" not in set(found.tokens["token"]), "padding is no token"
    assert "responds to" in str(animal)
    assert "[[cat]]" in str(animal)


def test_a_z_is_the_mean_over_its_error_by_families() -> None:
    """Values that differ between families: those of a token whose embedding depends on what came before."""
    rng = np.random.default_rng(0)
    bench = _bench(families=12)
    shift = torch.from_numpy(rng.normal(0, 0.3, 12)).float()
    table = bench.adapter.module.table
    own = torch.nn.Embedding(6 + 12, 3)
    own.weight.data = torch.cat([table.weight.data, torch.stack([2 + shift, 0 * shift, 0 * shift], 1)])
    ids = bench.inputs.tensors["input_ids"].clone()
    cats = ids == 2
    ids[cats] = 6 + torch.from_numpy(np.asarray(bench.family))[:, None].expand_as(ids)[cats]
    net = _Embedded()
    net.table = own
    adapter = TorchAdapter(net.eval().requires_grad_(False))
    words = [*WORDS, *["cat"] * 12]

    class Words:
        def decode(self, numbers: list[int]) -> str:
            return " ".join(words[i] for i in numbers)

    mask = bench.inputs.mask
    again = Bench(
        adapter, "table", bench.view, ModelInputs({"input_ids": ids, "attention_mask": mask}, mask), bench.outcome,
        position=bench.position, family=bench.family,
    )  # fmt: skip
    found = feature_profiles(again, Words()).tokens.set_index(["feature", "token"]).loc[("animal", "cat")]
    value = own.weight.data[:, 0].double().numpy()[ids.numpy()][:, :3]
    off, here = value - value.mean(), cats.numpy()[:, :3]
    total = np.array([np.where(here, off, 0)[bench.family == f].sum() for f in range(12)])
    count = np.array([here[bench.family == f].sum() for f in range(12)])
    mean = total.sum() / count.sum()
    error = np.sqrt(((total - count * mean) ** 2).sum() * 12 / 11) / count.sum()
    assert found["z"] == pytest.approx(mean / error)
    assert 5 < found["z"] < 1e3


def test_rare_tokens_are_not_told_and_nothing_is_asked_of_none() -> None:
    assert feature_profiles(_bench(families=4), _Words()).tokens.empty
    plain = feature_profiles(_bench())
    assert plain["animal"].inputs["text"].iloc[0].count("[[2]]") == 1
    with pytest.raises(InputError, match="most"):
        feature_profiles(_bench(), most=0)


def test_they_are_saved_and_reopened(tmp_path: Path) -> None:
    found = feature_profiles(_bench(), _Words())
    found.save(tmp_path / "profiles")
    again = FeatureProfiles.load(tmp_path / "profiles")
    assert again.to_frame().equals(found.to_frame())
    assert list(found.to_frame()["feature"]) == ["animal", "the"]
    assert found.to_frame()["highest"].iloc[0].startswith("the [[cat]]")


@pytest.mark.needs("transformers")
def test_a_study_on_a_table_of_prompts_says_what_its_features_respond_to(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    from mrinterp.study import Study

    decoder = save_tiny_decoder(tmp_path / "decoder", tiny_encoder)
    (tmp_path / "prompts.csv").write_text(prompt_table())
    noise = {"runs_per_prompt": 8, "directions_per_class": 4, "scale": 0.1}
    path = write_study(
        tmp_path,
        decoder,
        model={**DECODER, "folder": str(decoder), "kind": "causal"},
        outcome=(LOGITS,),
        prompts=({"table": "prompts.csv", "per_family": 3},),
        instruments=({"noise": noise, "placebo": {"count": 3}},),
    )
    study = Study.from_toml(path, tmp_path / "run")
    found = study.feature_profiles
    assert found.features == study.basis.dictionary.names
    table = found.to_frame()
    assert table["highest"].str.contains("[[", regex=False).all()
    assert (table["responds_to"] != "").any()
    discovery = set(study.design.inputs["text"])
    shown = table["highest"].str.replace("[[", "", regex=False).str.replace("]]", "", regex=False)
    assert {t.removeprefix("[CLS] ").removesuffix(" [SEP]") for t in shown} <= discovery
    assert not (tmp_path / "run" / "knockouts").exists()


def test_images_have_pictures_and_rows_their_telling_values() -> None:
    import base64
    import io

    import matplotlib.image

    from mrinterp.adapters import ModelInputs
    from mrinterp.knockouts._shown_inputs import pictures_of, shown_row

    pixels = torch.zeros(3, 3, 100, 60)
    pixels[1, 0, :50] = 2.0  # red above, black below
    found = pictures_of(ModelInputs({"pixel_values": pixels}), [1, 1, 2])
    assert list(found) == ["1", "2"]
    raw = base64.b64decode(found["1"].removeprefix("data:image/png;base64,"))
    drawn = matplotlib.image.imread(io.BytesIO(raw))
    assert max(drawn.shape[:2]) <= 48
    assert drawn[0, 0, :3].tolist() == [1.0, 0.0, 0.0]
    assert drawn[-1, 0, :3].tolist() == [0.0, 0.0, 0.0]
    assert pictures_of(ModelInputs({"x": torch.ones(3, 4)}), [0]) == {}
    table = torch.linspace(0, 0.1, 65).reshape(5, 13)
    table[2, 7], table[:, 12] = 3.5, 1.0  # the last one is constant
    row = shown_row(ModelInputs({"x": table}))
    assert row is not None
    assert "column 7 = 3.5" in row(2)
    assert row(2).endswith("and 4 nearer the mean")
    assert "column 12" not in row(2)
    named = shown_row(ModelInputs({"x": table}), {7: "malic acid"})
    assert named is not None
    assert "malic acid = 3.5" in named(2)
    assert shown_row(ModelInputs({"input_ids": torch.ones(2, 3, dtype=torch.long)})) is None


def test_columns_of_a_table_are_called_by_their_names() -> None:
    """Columns 1 and 3 are moved by noise; a design of words has none."""
    from mrinterp.knockouts._shown_inputs import column_names

    directions = np.zeros((1, 2, 4), dtype=np.float32)
    directions[0, 0, 1], directions[0, 1, 3] = 0.5, -2.0
    rows = [(f"noise:{n}", "noise", n, "column", "sd of the column", False) for n in ("ash", "hue")]
    words = _design("")
    columns = list(words.instruments.columns)
    table = pd.DataFrame([*rows, ("p0", "placebo", "none", "", "", True)], columns=columns)
    doses = np.zeros((len(words.runs), 3), np.float32)
    design = replace(words, instruments=table, noise_directions=directions, doses=doses)
    assert column_names(design) == {1: "ash", 3: "hue"}
    assert column_names(words) == {}
