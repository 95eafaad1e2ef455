from __future__ import annotations

import matplotlib
import pytest
from matplotlib.figure import Figure

from peculiar.core import InputError
from peculiar.figures.style import render, save, styled


def test_style_is_not_left_behind():
    before = matplotlib.rcParams["xtick.direction"]

    @styled
    def draw() -> Figure:
        assert matplotlib.rcParams["xtick.direction"] == "in"
        return Figure()

    draw()
    assert matplotlib.rcParams["xtick.direction"] == before


def test_save_writes_each_format(tmp_path):
    paths = save(Figure(figsize=(1, 1)), tmp_path / "power_z0.5")
    assert [path.name for path in paths] == ["power_z0.5.pdf", "power_z0.5.png"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_unknown_format_is_refused_before_writing(tmp_path):
    with pytest.raises(InputError, match="formats"):
        save(Figure(), tmp_path / "power", formats=("png", "docx"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["svg", "webp", "pdf"])
def test_same_drawing_gives_same_bytes(kind):
    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2])
        return figure

    assert render(draw(), kind) == render(draw(), kind)
