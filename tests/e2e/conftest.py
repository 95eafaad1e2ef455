import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

CARD = Path(__file__).resolve().parents[1] / "unit" / "inference" / "card.json"
SIZE = 40.0  # Mpc/h


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty directory."""
    from peculiar.cli import app

    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def table():
    """Objects at the cosmic mean density of the main system, in random places."""
    rng = np.random.default_rng(5)
    count = int(3e-3 * SIZE**3)
    columns = {axis: rng.uniform(0, SIZE, count) for axis in "xyz"}
    return Table(columns | {"mass": rng.uniform(1, 100, count), "id": np.arange(count)})


@pytest.fixture
def catalogue(table, tmp_path):
    table.write(tmp_path / "halos.fits")
    return tmp_path / "halos.fits"


@pytest.fixture
def weights(tmp_path):
    """Weights and card of a tiny network, in a directory of their own."""
    import torch

    from peculiar.inference import save_model
    from peculiar.models import build

    entries = json.loads(CARD.read_text())
    torch.manual_seed(1)
    module = build(entries["architecture"], entries["configuration"])
    torch.nn.init.normal_(module.head.conv.weight, std=0.05)
    (tmp_path / "models").mkdir()
    save_model(module, tmp_path / "models", **entries)
    return tmp_path / "models" / "tiny.safetensors"
