"""Hugging Face networks with their heads: encoders, causal decoders, classifiers; safetensors only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mrinterp.adapters._input_checks import check_length
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._weights_folder import weights_folder
from mrinterp.core.errors import InputError, near_misses

__all__ = [
    "DTYPES",
    "HuggingFaceNetwork",
    "load_network",
    "load_tokenizer",
    "no_tokens",
    "padded_inputs",
    "refuse_other_inputs",
    "torch_device",
]

IMAGE_CLASSIFIER = "AutoModelForImageClassification"
"""What `classifier` loads where the folder holds a classifier of images."""
HEADS = {
    "encoder": "AutoModel",
    "causal": "AutoModelForCausalLM",
    "classifier": "AutoModelForSequenceClassification",
}
OWN_CODE = (
    "Read that code; then load the network yourself (trust_remote_code=True) and give the object to Study.from_model, or return it"
    " from a factory module:function, which is shown and asked about"
)
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, eq=False)
class HuggingFaceNetwork:
    """A Hugging Face network in evaluation mode, with its tokenizer; what `load_network` returns.

    Parameters
    ----------
    adapter : TorchAdapter
        The network, ready to be read and edited.
    tokenizer : transformers tokenizer or None
        None where the folder has none.
    device : torch.device
        Where the network runs.
    dtype : torch.dtype
        Of its weights.

    Examples
    --------
    Around a network of one's own, without a tokenizer (`load_network` fills in all four):

    >>> import torch
    >>> from mrinterp.adapters import HuggingFaceNetwork, TorchAdapter
    >>> net = torch.nn.Sequential(torch.nn.Embedding(9, 4)).eval()
    >>> network = HuggingFaceNetwork(TorchAdapter(net), None, torch.device("cpu"), torch.float32)
    >>> network.adapter.sites()
    ['0']
    """

    adapter: TorchAdapter
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype

    def inputs(self, texts: Sequence[str], length: int) -> dict[str, torch.Tensor]:
        """Texts as ``input_ids`` and ``attention_mask`` (runs, length) on the network's device.

        Parameters
        ----------
        texts : sequence of str
        length : int
            Tokens that every text is padded to, on the right.

        Raises
        ------
        InputError
            For a network without a tokenizer, a length beyond its positions, no texts, an empty text, or one longer
            than ``length``.
        """
        if self.tokenizer is None:
            raise InputError(
                "tokenizer",
                "the network's folder has no tokenizer",
                "Give the network token ids, or save its tokenizer in the same folder",
            )
        check_length(
            self.adapter.module, length, "length", "Pad to {most} or less (and shorten longer texts)"
        )
        return {k: v.to(self.device) for k, v in padded_inputs(self.tokenizer, texts, length).items()}


def load_network(
    folder: str | Path | None = None,
    *,
    package: str | None = None,
    hub: str | None = None,
    revision: str | None = None,
    head: str = "encoder",
    device: str = "cpu",
    dtype: str = "float32",
) -> HuggingFaceNetwork:
    """Load a network from a local folder, an installed package, or by its hub id.

    Parameters
    ----------
    folder : path, optional
        Folder with ``config.json`` and safetensors weights (inside the package where one is given).
    package : str, optional
        Installed package that ships the network.
    hub, revision : str, optional
        Hub id ``owner/name``, and its commit, branch or tag: read from the local cache, never downloaded.
    head : str
        ``encoder`` (hidden states), ``causal`` (next-token logits) or ``classifier``.
    device, dtype : str
        For example ``"cpu"``, ``"cuda:0"``; ``"float32"``, ``"bfloat16"``. Sums over tokens, latents and
        outcomes are taken in float32 or better whatever the network's dtype.

    Returns
    -------
    HuggingFaceNetwork
        Its adapter, tokenizer, device and dtype.

    Raises
    ------
    InputError
        For a folder or hub id that is not there, weights that are not
        safetensors (pickles are never opened), a head that the folder holds no weights of, or an
        unknown device or dtype.

    Examples
    --------
    ``load_network("gpt2", head="causal").adapter`` is the network of a folder ``gpt2``. A folder that does not exist
    is refused, and nothing is downloaded in its place:

    >>> from mrinterp import InputError
    >>> from mrinterp.adapters import load_network
    >>> try:
    ...     load_network("no_such_folder")
    ... except InputError as error:
    ...     print(error)
    network 'no_such_folder': no such folder, and nothing is downloaded. Give a folder made by save_pretrained, ...
    """
    if head not in HEADS:
        raise InputError("head", repr(head), near_misses(head, HEADS) or f"Known: {', '.join(HEADS)}")
    if dtype not in DTYPES:
        raise InputError("dtype", repr(dtype), near_misses(dtype, DTYPES) or f"Known: {', '.join(DTYPES)}")
    where = torch_device(device)
    if package is None and folder is not None and not Path(folder).is_dir():
        raise InputError(
            f"network {str(folder)!r}",
            "no such folder, and nothing is downloaded",
            "Give a folder made by save_pretrained, or a hub id as hub=",
        )
    path = weights_folder(package, None if folder is None else str(folder), Path(), hub, revision)
    try:
        import transformers
    except ImportError:
        raise InputError("network", "transformers is not installed", "pip install 'mrinterp[hf]'") from None
    refuse_other_inputs(path, head)
    loader = getattr(transformers, _loader(path, head))
    model = _weights(loader, path, head, DTYPES[dtype])
    module = model.to(where).eval().requires_grad_(False)
    return HuggingFaceNetwork(TorchAdapter(module), _tokenizer(path), where, DTYPES[dtype])


def padded_inputs(tokenizer: Any, texts: Sequence[str], length: int) -> dict[str, torch.Tensor]:
    """Tokenize and pad on the right to a fixed length, so that results do not depend on the batch.

    A tokenizer without a padding token pads with token 0, which the attention mask hides.

    Raises
    ------
    InputError
        For no texts, an empty text, or one longer than ``length``; names it and the length needed.
    """
    coded = [list(i) for i in tokenizer(list(texts))["input_ids"]] if len(texts) else []
    if not coded:
        raise InputError("texts", "none given", "Give at least one text")
    longest = max(range(len(coded)), key=lambda i: len(coded[i]))
    if len(coded[longest]) > length:
        found = f"{len(coded[longest])} tokens, padded length {length}"
        raise InputError(
            f"text {longest} ({texts[longest][:40]!r})", found, f"Pad to {len(coded[longest])} or more"
        )
    ids = torch.full((len(coded), length), tokenizer.pad_token_id or 0, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, tokens in enumerate(coded):
        if not tokens:
            raise InputError(f"text {i}", "no tokens", no_tokens(texts[i]))
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def no_tokens(text: str) -> str:
    """What to do about a text that has no tokens."""
    known = "Look at the tokenizer (mrinterp describe): it drops every word of it"
    return known if text.strip() else "Leave empty texts out"


def refuse_other_inputs(path: Path, head: str | None = None) -> None:
    """Refuse a stored network that takes neither texts nor images, or both at once.

    Raises
    ------
    InputError
        Names the architecture, what it takes, and the way round.
    """
    config = _config(path)
    parts = [k.removesuffix("_config") for k in ("vision_config", "audio_config") if k in config]
    name = _architecture(config)
    if parts and ("text_config" in config or "thinker_config" in config) and head != "causal":
        takes = f"{'images' if parts == ['vision'] else 'sound' if parts == ['audio'] else 'images and sound'} beside texts"
        fix = "Write a factory that returns the part that is meant (model.language_model, model.text_model, model.vision_model)"
        raise InputError(
            f"network {path}",
            f"{name or 'it'} takes {takes}, and a study gives a network inputs of one kind",
            f"{fix}, and give it as module:function",
        )
    import transformers

    takes = getattr(getattr(transformers, name, None), "main_input_name", "input_ids")
    if takes not in ("input_ids", "pixel_values"):
        what = {"input_values": "sound", "input_features": "sound", "pixel_values_videos": "films"}.get(
            takes, takes
        )
        raise InputError(
            f"network {path}",
            f"{name} takes {what} ({takes}), and a study gives a network texts, token numbers, images or rows of numbers",
            "Write a factory that returns a network of one of these: what follows the sound's encoder, say, on its stored outputs",
        )


def _architecture(config: dict[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def _loader(path: Path, head: str) -> str:
    """The class of transformers that loads a head; of an encoder stored without its decoder that encoder's own."""
    name = _architecture(_config(path))
    if head == "classifier" and name.endswith("ForImageClassification"):
        return IMAGE_CLASSIFIER
    return name if head == "encoder" and name.endswith("EncoderModel") else HEADS[head]


def _weights(loader: Any, path: Path, head: str, dtype: torch.dtype) -> Any:
    from transformers.utils import logging

    options = {
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
        "output_loading_info": True,
    }
    config = _config(path)
    if config.get("quantization_config"):
        method = dict(config["quantization_config"]).get("quant_method", "a method that it does not name")
        raise InputError(
            f"network {path}",
            f"quantized weights ({method}): what lies outside plain tensors is not hashed",
            "Take the weights as they were before (in bfloat16), or dequantize() the loaded network and save it",
        )
    try:
        with _quietly(logging), torch.random.fork_rng(devices=[]):
            # Weights that the folder lacks and no outcome reads (a pooler) are drawn: always alike.
            torch.manual_seed(0)
            model, info = loader.from_pretrained(path, **options)
    except (OSError, ValueError) as e:
        first = str(e).strip().splitlines()[0].rstrip(".")
        fix = "Give a folder with a known architecture and safetensors weights"
        if "auto_map" in config:
            first = f"brings code of its own ({', '.join(map(str, config['auto_map'].values()))}), which is not run"
            fix = OWN_CODE
        raise InputError(f"network {path}", first, fix) from None
    missing = sorted(k for k in info["missing_keys"] if not k.startswith("pooler."))
    if missing:
        raise InputError(
            f"network {path}",
            f"holds no weights for {missing[0]!r} ({len(missing)} missing)",
            f"It was saved without the head {head!r}: choose another",
        )
    return model.to(dtype)


def _config(path: Path, name: str = "config.json") -> dict[str, Any]:
    """What a JSON file of the folder says; nothing where it cannot be read, which loading then says."""
    try:
        found = json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _quietly(logging: Any) -> Iterator[None]:
    """Without transformers's log and progress bar; both are then as they were."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises
    ------
    InputError
        Where the folder holds none.
    """
    tokenizer = _tokenizer(folder)
    if tokenizer is None:
        raise InputError("model.tokenizer", f"{folder} holds no tokenizer", "Save one with save_pretrained")
    return tokenizer


def _tokenizer(path: Path) -> Any:
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        return None
    try:
        import transformers
    except ImportError:
        raise InputError("tokenizer", "transformers is not installed", "pip install 'mrinterp[hf]'") from None
    try:
        return transformers.AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as e:
        own = "auto_map" in _config(path, "tokenizer_config.json")
        found = "brings code of its own, which is not run" if own else str(e).strip().splitlines()[0][:200]
        fix = (
            OWN_CODE
            if own
            else "Save the tokenizer again with save_pretrained (the fast one, tokenizer.json)"
        )
        raise InputError(f"tokenizer {path}", found, fix) from None


def torch_device(device: str) -> torch.device:
    """The device of that name; refused where this machine does not have it."""
    try:
        where = torch.device(device)
    except RuntimeError:
        raise InputError("device", repr(device), "For example 'cpu' or 'cuda:0'") from None
    if where.type == "cuda" and not torch.cuda.is_available():
        raise InputError("device", f"{device!r}, but torch sees no GPU", "Use device='cpu'")
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise InputError(
            "device", f"{device!r}; torch sees GPUs 0 to {last}", f"Use 'cuda:0' to 'cuda:{last}'"
        )
    try:
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as e:
        found = f"{device!r}, which this machine or this build of torch does not have ({str(e).splitlines()[0][:80]})"
        raise InputError("device", found, "Use 'cpu', or 'cuda:0' where there is a GPU") from None
    return where
