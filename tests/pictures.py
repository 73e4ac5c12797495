"""Whether figures are drawn, which takes as long as half of a small study. What a test looks at is."""

from __future__ import annotations

from pathlib import Path

import pytest

UNDRAWN = "MRINTERP_TESTS_UNDRAWN"
"""In the environment of a command: its figures are empty too (`tests/warm_cli.py`)."""


class Pictures:
    """Whether they are drawn now."""

    drawn = True


def leave_out(patch: pytest.MonkeyPatch) -> None:
    """Where figures are not drawn: no layout, and an empty file with the figure's mark."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lay_out, save = ConstrainedLayoutEngine.execute, Figure.savefig

    def saved(figure: Figure, path: Path, **options: object) -> None:
        if Pictures.drawn:
            save(figure, path, **options)
        else:
            mark = str(options.get("metadata")).translate(str.maketrans("<>&", "   "))
            Path(path).write_text(
                f'<svg xmlns="http://www.w3.org/2000/svg"><metadata>{mark}</metadata></svg>'
            )

    def laid_out(engine: ConstrainedLayoutEngine, figure: Figure) -> object:
        return lay_out(engine, figure) if Pictures.drawn else None

    patch.setattr(Figure, "savefig", saved)
    patch.setattr(ConstrainedLayoutEngine, "execute", laid_out)
