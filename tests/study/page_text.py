"""What a page says, without a browser."""

from __future__ import annotations

from html.parser import HTMLParser
from unittest import mock

from mrinterp.report import page
from mrinterp.report.finished import FinishedStudy

__all__ = ["Tags", "undrawn_page", "words_of", "words_of_page"]


class Tags(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag if tag in ("script", "style") else ""
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.text += data


def words_of(html: str) -> str:
    """The visible text of a page."""
    return " ".join(Tags(html).text.split())


def undrawn_page(study: FinishedStudy) -> str:
    """The page of a study without its figures, which take nine tenths of its time."""
    with mock.patch.object(page, "inline_svg", return_value=""):
        return page.page_html(study)


def words_of_page(study: FinishedStudy) -> str:
    """The visible text of a study's page."""
    return words_of(undrawn_page(study))
