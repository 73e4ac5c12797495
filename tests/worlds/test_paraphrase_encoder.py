"""Weights of a second encoder are read from an ONNX file: names found again, matrices turned round, other types refused."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from tests.conftest import need

A, B = np.arange(6, dtype="<f4").reshape(2, 3), np.arange(300, dtype="<f4") / 7


@pytest.fixture(scope="module")
def stored_tensors() -> Any:
    need("transformers")
    folder = str(Path(__file__).parents[2] / "benchmarks" / "effects")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("paraphrase_encoder").stored_tensors
    finally:
        sys.path.remove(folder)


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def part(field: int, content: bytes | int) -> bytes:
    """A field of a message: a number, or bytes with their length."""
    if isinstance(content, int):
        return number(field << 3) + number(content)
    return number(field << 3 | 2) + number(len(content)) + content


def tensor(name: str, value: np.ndarray, kind: int = 1) -> bytes:
    shape = b"".join(part(1, n) for n in value.shape)
    return shape + part(2, kind) + part(8, name.encode()) + part(9, value.tobytes())


def model(kind: int = 1) -> memoryview:
    node = part(1, b"x") + part(1, b"onnx::MatMul_1") + part(2, b"y")
    node += part(3, b"/model/model.0/auto_model/encoder/layer.0/output/dense/MatMul") + part(4, b"MatMul")
    stored = part(5, tensor("onnx::MatMul_1", A, kind)) + part(5, tensor("model.0.auto_model.bias", B))
    return memoryview(part(1, 8) + part(7, part(1, node) + stored))


def test_names_and_matrices_are_those_of_pytorch(stored_tensors):
    found = stored_tensors(model())
    assert sorted(found) == ["bias", "encoder.layer.0.output.dense.weight"]
    np.testing.assert_array_equal(found["encoder.layer.0.output.dense.weight"], A.T)
    np.testing.assert_array_equal(found["bias"], B)


def test_another_type_is_refused_by_name(stored_tensors):
    with pytest.raises(InputError, match=r"onnx::MatMul_1.*type 10"):
        stored_tensors(model(kind=10))
