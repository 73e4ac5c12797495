"""The page as a file: escaped, self-contained, the same bytes, whole or not at all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mrinterp.report.page import page_html, write_page
from mrinterp.report.scripts import page_script, policy
from tests.study.finished_study import HOSTILE, study
from tests.study.page_text import Tags


def test_everything_of_the_user_is_escaped() -> None:
    html = page_html(study(HOSTILE, outcome=f"score {HOSTILE}"))
    page = Tags(html)
    assert not {"img", "iframe", "object", "embed"} & set(page.tags)
    assert page.scripts[-1] == page_script()
    assert len(page.scripts) == page.tags.count("script") == 3  # what is tested, its cards, and ours
    assert all(re.fullmatch(r"[A-Za-z0-9+/=]+", data) for data in page.scripts[:2])
    assert not [k for k, _ in page.attributes if k.startswith("on")]
    assert page.text.count("<script>document.title='owned'</script>") > 20
    assert page.tags.count("svg") == html.count("</svg>")
    html.encode("utf-8")


def test_nothing_is_fetched_and_ids_are_unique() -> None:
    html = page_html(study(HOSTILE))
    page = Tags(html)
    links = [
        v
        for k, v in page.attributes
        if k in ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
    ]
    assert links
    assert all(v.startswith(("#", "report/")) or v == "data:," for v in links)  # files beside the page
    assert not re.search(r"@import|url\((?!#)", html)
    ids = [v for k, v in page.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in links if v.startswith("#")} <= set(ids)


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    html = page_html(study())
    style = html.split("<style>", 1)[1].split("</style>", 1)[0]
    said = next(v for k, v in Tags(html).attributes if k == "content" and "default-src" in v)
    assert said == policy(page_script(), style)
    assert "unsafe" not in said
    assert 'style="' not in html
    assert not re.search(r"\beval\b|new Function|innerHTML|insertAdjacentHTML|document\.write", page_script())


def test_same_run_same_bytes(tmp_path: Path) -> None:
    first = write_page(study(), tmp_path / "one" / "report.html").read_bytes()
    assert write_page(study(), tmp_path / "two" / "other.html").read_bytes() == first
    assert str(tmp_path).encode() not in first
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["report.html"]


def test_a_page_that_fails_leaves_nothing(tmp_path: Path) -> None:
    broken = replace(study(), header={})
    with pytest.raises(KeyError):
        write_page(broken, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
