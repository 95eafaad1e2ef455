"""The package as a whole: its files and its size."""

import re
from pathlib import Path

import peculiar

SOURCES = Path(__file__).resolve().parents[2] / "src" / "peculiar"
DOCS = SOURCES.parents[1] / "docs"


def test_no_module_is_longer_than_400_lines():
    lengths = {p.relative_to(SOURCES): len(p.read_text().splitlines()) for p in SOURCES.rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n > 400} == {}


def test_no_room_is_named_after_nothing():
    assert not [p for p in SOURCES.rglob("*") if p.stem in {"utils", "util", "common", "helpers", "misc"}]


def test_only_pages_of_results_are_longer_than_300_lines():
    lengths = {p.relative_to(DOCS): len(p.read_text().splitlines()) for p in DOCS.rglob("*.md")}
    assert {str(page) for page, n in lengths.items() if n > 300 and page.parts[0] != "results"} == set()


def test_the_reference_has_every_public_name_once():
    pages = (DOCS / "reference").glob("*.md")
    names = [name for page in pages for name in re.findall(r"^::: peculiar\.(\w+)$", page.read_text(), re.M)]
    assert sorted(names) == sorted(peculiar.__all__)


def test_every_page_is_in_the_navigation_once():
    listed = re.findall(r"([\w/-]+\.(?:md|ipynb))$", (DOCS.parent / "mkdocs.yml").read_text(), re.M)
    pages = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in pages)
