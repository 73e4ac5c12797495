"""A figure as an SVG element that can stand inside a page beside others."""

from __future__ import annotations

import re
import tempfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from mrinterp.plots._style import save

__all__ = ["inline_svg"]

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def inline_svg(draw: Callable[[], Axes], name: str, description: str) -> str:
    """Draw a figure and return it as one SVG element, the same bytes every time.

    Parameters
    ----------
    draw : callable
        Draws the figure and returns its axes.
    name : str
        Put before every id, so that several figures can share a page.
    description : str
        What the figure shows, for readers who cannot see it.

    Notes
    -----
    Dollar signs stay dollar signs (no formulas in names that users give), the background is left
    open, and the element carries no size: the page gives it one.
    """
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn by the reader's own fonts
        ax = draw()
        figure = ax.figure
        figure.patch.set_visible(False)
        for each in figure.axes:
            each.patch.set_visible(False)
        with tempfile.TemporaryDirectory() as folder:
            text = save(ax, Path(folder) / "figure.svg").read_text(encoding="utf-8")
    return _inlined(_NOT_XML.sub("\ufffd", text), name, description)


def _inlined(text: str, name: str, description: str) -> str:
    """Without namespaces, metadata, sheet-wide styles and size; ids made the figure's own."""
    root = ET.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if _bare(child.tag) in ("metadata", "style"):
                parent.remove(child)
        parent.tag = _bare(parent.tag)
        attributes = {_bare(k): v for k, v in parent.attrib.items()}
        parent.attrib.clear()
        attributes = _presented(attributes.pop("style", "")) | attributes
        parent.attrib.update({k: _own(k, v, name) for k, v in attributes.items()})
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib.update({"role": "img", "aria-label": description})
    return ET.tostring(root, encoding="unicode")


_FONT = re.compile(r"^(?:(italic|oblique)\s+)?(?:(bold|\d{3})\s+)?([\d.]+)px\s+(.*)$")


def _presented(style: str) -> dict[str, str]:
    """Declarations of a style as attributes: a page whose policy allows one style sheet ignores styles of elements."""
    found = {}
    for declared in filter(None, (d.strip() for d in style.split(";"))):
        key, _, value = (part.strip() for part in declared.partition(":"))
        font = _FONT.match(value) if key == "font" else None
        if font is None:
            found[key] = value
        else:
            slant, weight, size, family = font.groups()
            said = {
                "font-style": slant,
                "font-weight": weight,
                "font-size": f"{size}px",
                "font-family": family,
            }
            found |= {k: v for k, v in said.items() if v}
    return found


def _bare(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    return value.replace("url(#", f"url(#{name}-")
