"""Inputs that are no texts, read from the files that people have them in; and what is wrong with a file, named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.errors import InputError
from mrinterp.core.plan_inputs import InputsSection
from mrinterp.instruments.input_files import read_inputs

IDS = np.array([[1, 5, 6, 0], [1, 7, 8, 9], [1, 6, 5, 0]])


def _section(**keys: Any) -> InputsSection:
    return InputsSection.model_validate({"families": "each", **keys})


def test_tokens_from_every_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", IDS.astype(np.int32))
    np.savez(tmp_path / "t.npz", tokens=IDS, topic=["a", "b", "a"], seen=(IDS > 0).astype(int))
    (tmp_path / "t.csv").write_text("t0,t1,t2,t3,topic,y\n1,5,6,,a,2\n1,7,8,9,b,0\n1,6,5,,a,2\n")
    plain = read_inputs(_section(kind="tokens", file="t.npy", pad_id=0), tmp_path)
    masked = read_inputs(
        InputsSection(kind="tokens", file="t.npz", array="tokens", family="topic", mask="seen"), tmp_path
    )
    blank = read_inputs(InputsSection(kind="tokens", file="t.csv", family="topic", label="y"), tmp_path)
    for given in (plain, masked, blank):
        assert given.values.dtype == np.int64
        np.testing.assert_array_equal(given.values, IDS)
        assert given.own is not None
        np.testing.assert_array_equal(given.own, IDS > 0)
    assert len(set(plain.family)) == 3
    assert masked.family.tolist() == blank.family.tolist() == ["a", "b", "a"]
    assert blank.label is not None
    assert blank.label.tolist() == ["2", "0", "2"]
    whole = read_inputs(_section(kind="tokens", file="t.npy"), tmp_path)
    assert whole.own is not None
    assert whole.own.all(), "without pad_id or mask every token is an input's own"


def test_tables_from_every_kind_of_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [1.5, 2.0, 3.0], "ward": ["x", "x", "y"], "dose": [0, 1, 1]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    np.save(tmp_path / "t.npy", frame[["dose", "age"]].to_numpy())
    frame[["ward"]].to_csv(tmp_path / "more.csv", index=False)
    for name in ("t.csv", "t.parquet"):
        given = read_inputs(
            InputsSection(kind="table", file=name, family="ward", columns=("dose", "age")), tmp_path
        )
        assert given.names == ("dose", "age")
        np.testing.assert_array_equal(given.values, [[0, 1.5], [1, 2], [1, 3]])
        assert given.family.tolist() == ["x", "x", "y"]
    beside = read_inputs(InputsSection(kind="table", file="t.npy", index="more.csv", family="ward"), tmp_path)
    assert beside.names == ("c0", "c1")
    assert beside.family.tolist() == ["x", "x", "y"]
    rest = read_inputs(InputsSection(kind="table", file="t.csv", family="ward"), tmp_path)
    assert rest.names == ("age", "dose")


def test_images_from_arrays_and_from_a_folder(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 5)).astype(np.uint8)
    np.savez(tmp_path / "i.npz", pixel_values=pixels, other=np.zeros((3, 2)))
    (tmp_path / "pngs").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "pngs" / f"{'cab'[i]}.png")
    (tmp_path / "i.csv").write_text("file,scene\na.png,x\nb.png,y\nc.png,x\n")
    read = read_inputs(_section(kind="images", file="i.npz", mean=[0.5] * 3, sd=[0.25] * 3), tmp_path)
    np.testing.assert_allclose(read.values, (pixels / 255 - 0.5) / 0.25, atol=1e-6)
    folder = read_inputs(InputsSection(kind="images", folder="pngs", index="i.csv", family="scene"), tmp_path)
    np.testing.assert_allclose(folder.values, pixels[[1, 2, 0]] / 255, rtol=1e-6)
    assert folder.family.tolist() == ["x", "y", "x"]


def _nan_at(row: int) -> Any:
    x = np.arange(12.0).reshape(4, 3)
    x[row, 1] = np.nan
    return x


WRONG: list[tuple[str, Any, dict[str, Any], str, str]] = [
    ("absent", None, {"kind": "table", "file": "no.csv"}, "inputs.file", "no such file"),
    ("ending", None, {"kind": "images", "file": "x.csv"}, "inputs.file", "ends in '.csv'"),
    ("floats", {"x.npy": IDS + 0.5}, {"kind": "tokens", "file": "x.npy"}, "x.npy", "float64"),
    ("negative", {"x.npy": IDS - 1}, {"kind": "tokens", "file": "x.npy"}, "row 1, token 3", "-1"),
    ("only padding", {"x.npy": IDS * [[1], [0], [1]]}, {"kind": "tokens", "file": "x.npy", "pad_id": 0}, "row 2", "padding"),
    ("left padding", {"x.npz": {"a": IDS, "m": np.fliplr(IDS > 0)}},
     {"kind": "tokens", "file": "x.npz", "array": "a", "mask": "m"}, "row 1", "padding before"),
    ("no such array", {"x.npz": {"ids": IDS}}, {"kind": "tokens", "file": "x.npz", "array": "idz"}, "inputs.array", "'idz'"),
    ("two arrays", {"x.npz": {"a": IDS, "b": IDS}}, {"kind": "tokens", "file": "x.npz"}, "x.npz", "arrays a"),
    ("no family", {"x.npz": {"a": IDS}}, {"kind": "tokens", "file": "x.npz", "families": None, "family": "f"}, "inputs.family", "'f'"),
    ("shape", {"x.npy": np.zeros((5, 4, 4))}, {"kind": "images", "file": "x.npy"}, "x.npy", "shape (5, 4, 4)"),
    ("channels last", {"x.npy": np.zeros((5, 8, 8, 3))}, {"kind": "images", "file": "x.npy"}, "x.npy", "channels seem"),
    ("channel means", {"x.npy": np.ones((5, 3, 8, 8))}, {"kind": "images", "file": "x.npy", "mean": [1.0]}, "inputs.mean", "3 channels"),
    ("integers", {"x.npy": np.ones((5, 3, 8, 8), int)}, {"kind": "images", "file": "x.npy"}, "x.npy", "int64"),
    ("not finite", {"x.npy": _nan_at(2)}, {"kind": "table", "file": "x.npy"}, "row 3", "not finite"),
    ("empty cell", {"x.csv": "a,b\n1,2\n3,\n"}, {"kind": "table", "file": "x.csv"}, "row 2, column 'b'", "empty"),
    ("words", {"x.csv": "a,b\n1,u\n3,v\n"}, {"kind": "table", "file": "x.csv"}, "column 'b'", "'u': not numbers"),
    ("column", {"x.csv": "age,b\n1,2\n3,4\n"}, {"kind": "table", "file": "x.csv", "columns": ["agee"]}, "inputs.columns", "'agee'"),
    ("repeats", {"x.npy": IDS[[0, 1, 0]]}, {"kind": "tokens", "file": "x.npy"}, "row 3", "repeats row 1"),
    ("pickle", {"x.npy": np.array([{}, {}], object)}, {"kind": "table", "file": "x.npy"}, "x.npy", "cannot be read"),
    ("rows", {"x.npy": IDS, "m.csv": "f\na\n"}, {"kind": "tokens", "file": "x.npy", "index": "m.csv"}, "m.csv", "1 rows for 3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "keys", "where", "found"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_what_is_wrong_with_a_file_is_named(
    files: Any, keys: dict[str, Any], where: str, found: str, tmp_path: Path
) -> None:
    for name, content in (files or {}).items():
        if isinstance(content, str):
            (tmp_path / name).write_text(content)
        elif isinstance(content, dict):
            np.savez(tmp_path / name, **content)
        else:
            np.save(tmp_path / name, content, allow_pickle=True)
    with pytest.raises(InputError) as e:
        read_inputs(_section(**keys), tmp_path)
    assert where in e.value.where
    assert found in e.value.found
    assert e.value.fix
