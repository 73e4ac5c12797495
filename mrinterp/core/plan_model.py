"""Sections of a study file: the network, and the features that are read from it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mrinterp.core.errors import InputError
from mrinterp.core.section import Section, refuse_unused_keys

__all__ = ["FeaturesSection", "ModelSection", "TrainSection"]

_STORED = ((), ("package", "folder", "hub", "revision"))
_MADE = (("module",), ("arguments", "tokenizer"))
MODEL_KEYS = {
    "encoder": _STORED,
    "causal": _STORED,
    "classifier": _STORED,
    "module": _MADE,
    "transformer_lens": _MADE,
    "nnsight": _MADE,
}
FEATURE_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "independent_components": ((), ("count",)),
    "principal_components": ((), ("count",)),
    "units": (("units",), ()),
    "layer": ((), ()),
    "heads": (("heads",), ("head_count", "coordinates")),
    "directions": (("file",), ()),
    "subspace": (("file",), ()),
    "embedding": (("tokens",), ()),
    "token": (("tokens",), ()),
    "sae": (("folder",), ("latents", "count")),
    "train_sae": ((), ("train", "latents", "count")),
}


class ModelSection(Section):
    """Which network, and where it is read and written."""

    kind: Literal["encoder", "causal", "classifier", "module", "transformer_lens", "nnsight"] = "encoder"
    """encoder, causal, classifier: a Hugging Face folder and its head. The others: what a factory of
    yours returns, a plain torch module or an object for the adapter of that name."""
    package: str | None = None
    """Installed Python package that carries the network (no download)."""
    folder: str | None = None
    """Folder of the network: inside the package, or on its own path."""
    hub: str | None = None
    """Hub id ``owner/name``: from the local cache (safetensors only); nothing is downloaded."""
    revision: str | None = None
    """Commit, branch or tag of the hub id."""
    module: str | None = None
    """Factory ``package.module:function``, importable or beside the study file; returns the network
    in evaluation mode."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the factory."""
    tokenizer: str | None = None
    """Folder of a Hugging Face tokenizer, for networks that come from a factory."""
    device: str = "cpu"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Of the weights; sums are taken in float32 or better whatever it is."""
    site: str
    """Where features are read and written: dotted path of the module whose output it is (``:input``
    after it: what goes in), or a hook point."""
    beside: str | None = None
    """A second site, for one that is only part of a cut: the residual stream that runs beside it.
    Its token mean and class deviations join the bypass."""
    embedding: str = "embeddings.word_embeddings"
    """The word embedding, where noise is added."""
    padded_length: int = Field(default=32, ge=4, le=4096)
    block: int = Field(default=64, ge=1, le=4096)
    """Canonical run block: how many runs share a forward pass."""

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        common = ("device", "dtype", "site", "beside", "embedding", "padded_length", "block")
        refuse_unused_keys(self, MODEL_KEYS, common)
        return self


class TrainSection(Section):
    """Training of a top-k sparse autoencoder on the discovery split."""

    latents: int = Field(default=256, ge=1, le=1_000_000)
    k: int = Field(default=8, ge=1, le=10_000)
    """Latents kept per token."""
    steps: int = Field(default=1000, ge=1, le=10_000_000)
    batch: int = Field(default=256, ge=1, le=1_000_000)
    rate: float = Field(default=2e-3, gt=0)


class FeaturesSection(Section):
    """What is read, and later written, at the site. One unit of a feature is its natural standard
    deviation on the discovery split, whatever its kind."""

    kind: Literal[
        "independent_components",
        "principal_components",
        "units",
        "layer",
        "heads",
        "directions",
        "subspace",
        "embedding",
        "token",
        "sae",
        "train_sae",
    ] = "independent_components"
    count: int = Field(default=48, ge=1, le=100_000)
    """Components to learn; of latents, the ones that vary most over the discovery split."""
    units: tuple[int, ...] | Literal["all"] | None = None
    """Coordinates of the site."""
    heads: tuple[int, ...] | None = None
    """Attention heads; the site is where their outputs stand side by side (``...c_proj:input``)."""
    head_count: int | None = Field(default=None, ge=1)
    """Heads of the layer; default what the network's configuration says."""
    coordinates: Literal["leading", "all"] = "leading"
    """leading: one feature per head, along which it varies most over the discovery split. all: every
    coordinate of every head."""
    file: str | None = None
    """``.npy``, ``.npz`` or ``.csv`` with one direction (or orthonormal row of a rotation) per row."""
    folder: str | None = None
    """Folder of an SAE in the SAELens format."""
    latents: tuple[int, ...] | None = None
    """Which latents; default the ``count`` that vary most."""
    tokens: tuple[str | int, ...] | None = None
    """Tokens whose embedding rows (kind embedding) or output rows (kind token) are the directions."""
    train: TrainSection = TrainSection()
    position: int | str = "mean"
    """Where features are read and written: ``mean`` over the input's tokens, ``last``, a position
    (negative ones count from the end), or the name of a token class."""
    labels: str | None = None
    """CSV file of imported labels: columns ``feature, label``."""

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        refuse_unused_keys(self, FEATURE_KEYS, ("position", "labels"))
        if self.position in ("all", "max"):
            why = {
                "all": "every token would be a feature of its own, and sentences differ in length",
                "max": "a maximum over tokens can be read but not written",
            }[str(self.position)]
            raise InputError(
                "position",
                f"{self.position!r} is not allowed for estimates: {why}",
                "Use 'mean', 'last', a position or a token class",
            )
        return self

    @property
    def sparse(self) -> bool:
        """Whether features are latents of an autoencoder."""
        return self.kind in ("sae", "train_sae")
