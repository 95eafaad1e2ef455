import sys
from pathlib import Path

import pytest


@pytest.fixture
def general(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import general

    yield general
    for name in ("general", "reproduction", "smoothing"):
        sys.modules.pop(name, None)


def test_samples_are_chosen_by_words_of_their_labels(general):
    assert general.is_wanted("halos, 0.001, cut-out", ["galaxies", "halos,cut-out"])
    assert not general.is_wanted("halos, 0.001", ["galaxies", "halos,cut-out"])
    assert general.is_wanted("anything", [""])
