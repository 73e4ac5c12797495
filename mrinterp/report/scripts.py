"""The page's own script and style, and the policy that lets a browser run these and nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

__all__ = ["page_script", "policy"]

_ORDER = ("store", "downloads", "table", "scatter", "charts", "card", "main")


@cache
def page_script() -> str:
    """All parts as one script."""
    folder = Path(__file__).parent / "browser"
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _ORDER]
    return '"use strict";(() => {\n' + "\n".join(parts) + "})();"


def policy(script: str, style: str) -> str:
    """Content security policy of a page: this script and this style by their hashes, images in the page, no address at all.

    Examples
    --------
    >>> policy("", "").split("; ")[0]
    "default-src 'none'"
    """
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
