"""Whether this machine is ready for a study: versions, adapters, device, threads, memory, disk, caches."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from mrinterp.core.provenance import installed_versions
from mrinterp.scan._cost import memory_of_machine

__all__ = ["checkup"]

GIB = 2**30
SMALL_MEMORY, SMALL_DISK = 4.0, 1.0
"""GiB below which even a small study may not fit."""

OPTIONAL = {
    "transformers": ("Hugging Face networks (encoder, causal, classifier) and tokenizers", "hf"),
    "transformer_lens": ("networks of TransformerLens (kind transformer_lens)", "stacks"),
    "nnsight": ("networks wrapped by nnsight (kind nnsight)", "stacks"),
}
"""Packages behind adapters: what they serve, and the extra that installs them."""

Row = dict[str, str]


def checkup() -> list[Row]:
    """Look at this machine as a study would use it.

    Returns
    -------
    list of dict
        ``name, verdict, found, fix``; a verdict is ``ok``, ``note`` (works, but) or ``broken``.

    Examples
    --------
    >>> from mrinterp.study import checkup
    >>> {row["verdict"] for row in checkup()} <= {"ok", "note", "broken"}
    True
    """
    return [*_environment(), *_adapters(), *_device(), *_room(), *_compiled(), *_hub(), _browser()]


def _row(name: str, found: str, verdict: str = "ok", fix: str = "") -> Row:
    return {"name": name, "verdict": verdict, "found": found, "fix": fix}


def _environment() -> Iterator[Row]:
    own = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
    where = sys.prefix if own else f"the system's own Python ({sys.prefix})"
    fix = "" if own else "A virtual environment keeps versions apart (python -m venv)"
    yield _row(
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, in {where}",
        "ok" if own else "note",
        fix,
    )
    versions = installed_versions()
    told = ", ".join(
        f"{name} {number}" for name, number in versions.items() if name not in ("python", "blas")
    )
    yield _row("versions", told)
    for line in metadata.requires("mrinterp") or () if _installed() else ():
        name = line.split(";")[0].split(">")[0].split("<")[0].split("=")[0].split("[")[0].strip()
        if "extra ==" not in line and not _has(name):
            yield _row(name, "not installed", "broken", "Install mrinterp again: pip install mrinterp")


def _installed() -> bool:
    return _has("mrinterp")


def _has(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _adapters() -> Iterator[Row]:
    yield _row("adapter torch", "any torch module, by a factory module:function (kind module)")
    for name, (serves, extra) in OPTIONAL.items():
        try:
            importlib.import_module(name)
        except ImportError as e:
            absent = getattr(e, "name", None) == name
            found = "not installed" if absent else f"cannot be imported ({e})"
            fix = f"pip install 'mrinterp[{extra}]' for {serves}"
            yield _row(f"adapter {name}", found, "note" if absent else "broken", fix)
        except Exception as e:  # a library that fails while it is imported says so in any way
            yield _row(
                f"adapter {name}",
                f"fails on import ({type(e).__name__}: {e})",
                "broken",
                f"Install it again, or uninstall {name}",
            )
        else:
            yield _row(f"adapter {name}", serves)


def _device() -> Iterator[Row]:
    try:
        from mrinterp.models._devices import devices_here, torch_threads
    except (ImportError, OSError) as e:
        yield _row(
            "torch", f"cannot be imported ({e})", "broken", "Install torch for this machine: docs/install.md"
        )
        return
    devices = devices_here()
    fix = (
        "" if len(devices) > 1 else "Small networks run well on it; larger ones want a GPU (docs/install.md)"
    )
    yield _row("device", ", ".join(devices), "ok", fix)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    threads = torch_threads()
    few = threads < cores
    found = f"{threads} for passes of a network, of {cores} cores" + (
        f" (OMP_NUM_THREADS={limit})" if limit else ""
    )
    yield _row(
        "threads", found, "note" if few else "ok", "Unset OMP_NUM_THREADS to use all" if few and limit else ""
    )


def _room() -> Iterator[Row]:
    memory = memory_of_machine() / GIB
    few = memory < SMALL_MEMORY
    yield _row(
        "memory",
        f"{memory:.1f} GiB in all",
        "note" if few else "ok",
        "Ask for fewer features and a smaller block" if few else "",
    )
    free = shutil.disk_usage(Path.cwd()).free / GIB
    writable = os.access(Path.cwd(), os.W_OK)
    found = f"{free:.1f} GiB free in {Path.cwd()}" + ("" if writable else ", which cannot be written")
    low = free < SMALL_DISK or not writable
    yield _row(
        "disk", found, "note" if low else "ok", "Run elsewhere, or give mrinterp run --out" if low else ""
    )


def _compiled() -> Iterator[Row]:
    """Where numba keeps what it compiled; where it cannot, every start compiles again."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    place = Path(given) if given else Path(__file__).parents[1] / "stats" / "__pycache__"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as e:
        found = f"{place} cannot be written ({e.strerror})"
        yield _row(
            "compile cache",
            found,
            "note",
            "Every start compiles again: set NUMBA_CACHE_DIR to a folder of yours",
        )
        return
    yield _row("compile cache", f"{place} can be written")


def _hub() -> Iterator[Row]:
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return
    held = sorted(
        p.name.removeprefix("models--").replace("--", "/") for p in Path(HF_HUB_CACHE).glob("models--*")
    )
    named = f": {', '.join(held[:5])}{' ...' if len(held) > 5 else ''}" if held else ""
    fix = (
        ""
        if held
        else "Networks by hub id are read from here (hf download owner/name); folders need no cache"
    )
    yield _row("hub cache", f"{len(held)} networks in {HF_HUB_CACHE}{named}", "ok", fix)


def _browser() -> Row:
    return _row("browser", "not needed: report.html is one file that any browser opens, anywhere")
