"""The code of the tutorials runs, as it stands in the notebooks."""

import json
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"


@pytest.mark.filterwarnings("ignore:.*objects lie outside the mask")  # those of the survey beyond 250 Mpc/h
@pytest.mark.parametrize("name", ["box", "survey", "train"])
def test_a_tutorial_runs(name, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.rcParams", plt.rcParams.copy())
    plt.switch_backend("agg")
    namespace = {}
    for cell in json.loads((TUTORIALS / f"{name}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"], "the notebook must be committed with its outputs: see CONTRIBUTING.md"
            exec(compile("".join(cell["source"]), name, "exec"), namespace)
    plt.close("all")
