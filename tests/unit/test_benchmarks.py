import sys
from importlib.metadata import packages_distributions
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


def test_no_benchmark_is_taken_for_a_package_by_what_is_imported_beside_it():
    names = {path.stem for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py")}
    assert "general" in names
    assert not names & (
        sys.stdlib_module_names | packages_distributions().keys() | {"coverage"}
    )  # numba's, if there
