"""The package as a whole: its files and its size."""

from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src" / "peculiar"


def test_no_module_is_longer_than_400_lines():
    lengths = {p.relative_to(SOURCES): len(p.read_text().splitlines()) for p in SOURCES.rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n > 400} == {}


def test_no_room_is_named_after_nothing():
    assert not [p for p in SOURCES.rglob("*") if p.stem in {"utils", "util", "common", "helpers", "misc"}]
