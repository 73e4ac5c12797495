"""Sections of a study file: the network, and the features that are read from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mrinterp.core.errors import InputError
from mrinterp.core.section import Section, is_none, refuse_unused_keys

__all__ = [
    "FeaturesSection",
    "ModelSection",
]

# For each kind: keys that it needs, keys that it may have.
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
    "subspace": (("file",), ("coordinates",)),
    "embedding": (("tokens",), ()),
    "token": (("tokens",), ()),
    "sae": (("folder",), ("latents", "count", "choose")),
    "train_sae": ((), ("train", "latents", "count", "choose")),
    "transcoder": (("folder",), ("reads", "latents", "count", "choose")),
}


class ModelSection(Section):
    """Which network, and where it is read and written."""

    kind: Literal["encoder", "causal", "classifier", "module", "transformer_lens", "nnsight"] = Field(
        default="encoder",
        description="`encoder` (hidden states), `causal` (next-token logits) or `classifier`: a Hugging Face network with"
        " that head; `module`, `transformer_lens` or `nnsight`: what your own factory returns, a plain torch module"
        " or an object for the adapter of that name.",
    )
    given: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Class of a network that was given from memory, in Python (`Study.from_model`): it lies in no file, and a"
        " study that names it goes on where the network is given again. Not meant to be written by hand.",
    )
    package: str | None = Field(
        default=None,
        description="Installed Python package that contains the network; nothing is downloaded.",
    )
    folder: str | None = Field(
        default=None,
        description="Folder with `config.json` and safetensors weights: inside `package` where one is given, else"
        " relative to the study file.",
    )
    hub: str | None = Field(
        default=None,
        description="Hugging Face id `owner/name`, read from the local cache (safetensors only); nothing is downloaded.",
    )
    revision: str | None = Field(
        default=None,
        description="Commit, branch or tag of `hub`; left out, the main branch as the cache knows it.",
    )
    module: str | None = Field(
        default=None,
        description="Factory `package.module:function`, importable or beside the study file, that returns the network in"
        " evaluation mode. It is shown and asked about before it is imported.",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments that the factory is called with."
    )
    tokenizer: str | None = Field(
        default=None,
        description="Folder of a Hugging Face tokenizer, for networks that come from a factory or from memory.",
    )
    device: str = Field(default="cpu", description="Where the network runs, such as `cpu` or `cuda:0`.")
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = Field(
        default="float32",
        description="Floating-point type of the weights; sums are taken in float32 or better whatever it is.",
    )
    site: str = Field(
        description="Where features are read and written: the dotted path of a module, whose output is meant (with"
        " `:input` after it, what goes into it; with `@2` after it, its second run, where a pass runs it several times),"
        " or the name of a hook point.",
    )
    beside: str | None = Field(
        default=None,
        description="Second site, for a `site` through which only part of the signal passes (MLP neurons, heads): the"
        " residual stream that runs in parallel; its token mean and class deviations join the bypass.",
    )
    embedding: str = Field(
        default="embeddings.word_embeddings",
        description="Dotted path of the word embedding, where noise is added.",
    )
    padded_length: int = Field(
        default=32,
        ge=4,
        le=4096,
        description="Length, in tokens, that every input is padded to; at most what the network has positions for.",
    )
    block: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="How many runs share a forward pass; part of the plan, since results are stored block by block.",
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        common = ("device", "dtype", "site", "beside", "embedding", "padded_length", "block")
        in_memory = dict.fromkeys(MODEL_KEYS, (("given",), ("tokenizer",)))
        refuse_unused_keys(self, MODEL_KEYS if self.given is None else in_memory, common)
        return self


class TrainSection(Section):
    """Training of a top-k sparse autoencoder on the discovery split."""

    latents: int = Field(
        default=256, ge=1, le=1_000_000, description="Number of latents of the autoencoder that is trained."
    )
    k: int = Field(default=8, ge=1, le=10_000, description="Latents that stay active on each token.")
    steps: int = Field(default=1000, ge=1, le=10_000_000, description="Training steps.")
    batch: int = Field(default=256, ge=1, le=1_000_000, description="Tokens per training step.")
    rate: float = Field(default=2e-3, gt=0, description="Learning rate of the Adam optimizer.")


class FeaturesSection(Section):
    """What is read, and later written, at the site.

    One unit of a feature is its standard deviation over the noise-free runs of the discovery split, whatever its kind.
    """

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
        "transcoder",
    ] = Field(
        default="independent_components",
        description="`independent_components`, `principal_components` (learned from the discovery split); `units`,"
        " `layer`, `heads` (coordinates of the site); `directions`, `subspace` (from a file); `embedding`, `token`"
        " (rows of the word embedding or of the output layer); `sae` (latents of a stored sparse autoencoder) or"
        " `train_sae` (of one trained on the discovery split); `transcoder` (latents of a stored transcoder, read at `reads` and"
        " written at `model.site`).",
    )
    count: int = Field(
        default=48,
        ge=1,
        le=100_000,
        description="Number of components to learn; of latents, how many are kept, those that vary most over the"
        " discovery split.",
    )
    units: tuple[int, ...] | Literal["all"] | None = Field(
        default=None, description="For `units`: numbers of the coordinates of the site, from 0, or `all`."
    )
    heads: tuple[int, ...] | None = Field(
        default=None,
        description="For `heads`: numbers of the attention heads, from 0; the site is then the one where their outputs"
        " are concatenated (such as `...attn.c_proj:input`).",
    )
    head_count: int | None = Field(
        default=None,
        ge=1,
        description="For `heads`: how many heads the site holds; left out, what the network says (keys and values that"
        " queries share have fewer heads).",
    )
    coordinates: Literal["leading", "all"] | Annotated[int, Field(ge=1, le=1000)] = Field(
        default="leading",
        description="For `heads` and `subspace`: a number makes so many features of each head, or of the subspace, its leading"
        " principal coordinates over the discovery split; `leading` is 1 for a head, `all` its own coordinates (a subspace's"
        " own rows in either case). Head or subspace as a whole is resampled and set to its mean beside them.",
    )
    file: str | None = Field(
        default=None,
        description="For `directions` and `subspace`: a `.npy`, `.npz` or `.csv` file with one direction (or one"
        " orthonormal row) per row.",
    )
    folder: str | None = Field(
        default=None,
        description="For `sae` and `transcoder`: folder of a sparse autoencoder or a transcoder in the SAELens format.",
    )
    reads: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="For `transcoder`: the site whose activation it encodes; left out, the input of `model.site`, which is the"
        " sublayer whose output it predicts.",
    )
    latents: tuple[int, ...] | None = Field(
        default=None,
        description="For `sae`, `transcoder` and `train_sae`: numbers of the latents, from 0; left out, the `count` that vary most. Of a"
        " trained one those are taken that live after training, and how many they are is said.",
    )
    choose: Literal["spread", "screen"] = Field(
        default="spread",
        exclude_if=lambda choose: choose == "spread",
        description="For `sae`, `transcoder` and `train_sae`: how the `count` latents are chosen: by `spread`, those that vary most, or"
        " by `screen`, those whose changes go with an outcome's most clearly over all perturbed runs of the discovery split; a"
        " bound of the association of those that are left out is then said.",
    )
    tokens: tuple[str | int, ...] | None = Field(
        default=None,
        description="For `embedding` and `token`: the tokens, as text or numbers, whose rows of the word embedding or of"
        " the output layer are the directions.",
    )
    train: TrainSection = Field(
        default=TrainSection(), description="For `train_sae`: how the autoencoder is trained."
    )
    position: int | str = Field(
        default="auto",
        description="Tokens at which features are read and written: `mean` over the input's tokens, `last`, a number"
        " (negative ones count from the end), a slice (`'2:5'`), the name of a token class, or one token of a class"
        " (`'person:last'`); `auto` takes the token class that carries at"
        " least half of what makes the outcome differ between discovery prompts (to first order), else `mean`, and says"
        " which and why.",
    )
    labels: str | None = Field(
        default=None,
        description="CSV file with the columns `feature` and `label`: descriptions shown beside the features.",
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        refuse_unused_keys(self, FEATURE_KEYS, ("position", "labels"))
        if self.choose == "screen" and self.latents is not None:
            raise InputError("choose", "'screen', and latents are given", "Keep one of the two")
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
        return self.kind in ("sae", "train_sae", "transcoder")
