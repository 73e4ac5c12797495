"""What a page says, without a browser."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["Tags", "words_of"]


class Tags(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def words_of(html: str) -> str:
    return " ".join(Tags(html).text.split())
