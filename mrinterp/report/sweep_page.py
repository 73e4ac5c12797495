"""The page of a sweep: the map, and a row for every study with a link to its own page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrinterp.core.printable import printable
from mrinterp.plots._inline_svg import inline_svg
from mrinterp.plots._study.sweep_map import sweep_map
from mrinterp.results._sweep_results import SweepResults

__all__ = ["sweep_html"]

MOST = 40
"""Claims that the page lists; all stand in the table beside it."""


def sweep_html(sweep: SweepResults) -> str:
    """The page of a sweep, self-contained but for the links to the pages of its studies.

    Parameters
    ----------
    sweep : SweepResults
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    outcomes = list(dict.fromkeys(sweep.claims["outcome"]))
    maps = [
        inline_svg(
            partial(sweep_map, sweep, o),
            f"map-{k}",
            f"Largest effect that stands on {o}, by site and position",
        )
        for k, o in enumerate(outcomes)
    ]
    standing = sweep.claims[sweep.claims["stands"].astype(bool)]
    studies = [
        {**row, "link": f"{quote(row['study'])}/report.html"} for row in sweep.by_study.to_dict("records")
    ]
    return environment.get_template("sweep.html.j2").render(
        title=printable(str(sweep.meta.get("title", "a sweep"))),
        summary=sweep.summary,
        alpha=sweep.alpha,
        maps=maps,
        studies=studies,
        claims=standing.head(MOST).to_dict("records"),
        left_out=max(len(standing) - MOST, 0),
    )
