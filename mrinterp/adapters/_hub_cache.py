"""A network by its hub id, from the local cache: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from mrinterp.core.errors import InputError

__all__ = ["hub_folder"]


def hub_folder(name: str, revision: str | None = None) -> Path:
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
        For a name that is none, or a network that is not in the cache with safetensors weights.
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
        raise InputError("model.hub", repr(name), "Give owner/name, as the hub has it") from None
    except (LocalEntryNotFoundError, OSError):
        raise InputError(
            f"model.hub {name!r}", "not in the local cache, and nothing is downloaded", fetch
        ) from None
    if not any(cached.rglob("*.safetensors")):
        raise InputError(f"model.hub {name!r}", "in the local cache without safetensors weights", fetch)
    return cached
