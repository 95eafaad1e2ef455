from __future__ import annotations

from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from peculiar.core import InputError
from peculiar.figures import report
from peculiar.figures.report import Headline, Section, Table


class Balance(HTMLParser):
    """Counts open elements and remembers the text."""

    EMPTY = ("meta", "img", "br", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parse(text: str) -> Balance:
    parser = Balance()
    parser.feed(text)
    assert not parser.open
    return parser


def test_page_is_whole_and_escapes_what_it_is_given():
    text = report.page(
        "R < 0.1 & more",
        summary="<script>alert(1)</script>",
        headlines=[Headline("46 km/s", "rms error", "63 before")],
        sections=[Section("One", report.subheading("k < 0.3"))],
        warnings=["0.59 > 0.5"],
        interactive=False,
    )
    words = "".join(parse(text).words)
    assert "R < 0.1 & more" in words
    assert "<script>alert(1)</script>" in words
    assert "<script>alert" not in text
    assert "0.59 > 0.5" in words


def test_page_asks_the_network_for_nothing():
    text = report.page("t", summary="s", headlines=[], sections=[], interactive=False)
    for word in ("http://", "https://", "@import", "url("):
        assert word not in text


def test_too_large_a_report_is_refused():
    with pytest.raises(InputError, match="15 MB"):
        report.page(
            "t", summary="s", headlines=[], sections=[Section("s", "x" * report.LIMIT)], interactive=False
        )


def test_table_marks_the_best_and_starts_groups():
    rows = [("first", ["a", "1", "2"]), ("first", ["b", "3", "4"]), ("second", ["c", "5", "6"])]
    text = report.table(Table(["", "x", "y"], rows, best={1: 2}, note="why"))
    assert text.count('class="group"') == 2
    assert '<td class="best">4</td>' in text
    assert text.count("best") == 1
    parse(text)


@pytest.mark.parametrize(("vector", "mime"), [(True, "image/svg+xml"), (False, "image/webp")])
def test_picture_is_embedded(vector, mime):
    text = report.picture(Figure(figsize=(2, 1)), "caption", alternative="what", vector=vector)
    assert f"data:{mime};base64," in text
    assert 'alt="what"' in text
    parse(text)
