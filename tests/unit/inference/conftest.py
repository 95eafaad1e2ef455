import json
from pathlib import Path

import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue
from peculiar.core.channels import vector
from peculiar.inference import save_model
from peculiar.inference.card_values import Residuals
from peculiar.models import build


@pytest.fixture
def network():
    """A small local network, all of whose weights matter."""
    torch.manual_seed(3)
    names = ["tracers", *vector("other"), *vector("flow")]
    module = build(
        "residual",
        {"inputs": names, "velocity": "flow", "width": 4, "levels": 2, "blocks": [1, 1]},
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.fixture
def mesh():
    def make(side, channels=7):
        return torch.randn(channels, side, side, side, generator=torch.Generator().manual_seed(side))

    return make


@pytest.fixture
def single_precision(monkeypatch):
    """Turn bf16 off, whose rounding hides errors below a percent."""
    from contextlib import nullcontext

    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())


@pytest.fixture
def entries():
    """Everything in a model card but the checksum."""
    return json.loads((Path(__file__).parent / "card.json").read_text())


@pytest.fixture
def saved(entries, tmp_path):
    """A small network with random weights in a directory, as `NAME.safetensors` and `NAME.json`."""
    torch.manual_seed(1)
    module = build(entries["architecture"], entries["configuration"])
    torch.nn.init.normal_(module.head.conv.weight, std=0.05)
    save_model(module, tmp_path, **entries)
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def halos():
    """A catalogue of random points in range of the card."""

    def make(**changes):
        rng = np.random.default_rng(2)
        size = changes.pop("size", 75.0)
        count = changes.pop("count", int(3e-3 * size**3))
        settings = {"box": Box(size), "redshift": 0.59, "masses": rng.uniform(1, 9, count)} | changes
        return Catalogue(rng.uniform(0, size, (count, 3)), **settings)

    return make


@pytest.fixture(scope="session")
def residuals():
    """Make a table of what a model leaves that is alike in every sample, but for what is given."""

    def make(**changed):
        def constant(*values):
            rows = [(value, 0.0, 0.0, 0.0, 0.0) for value in values]
            return rows[0] if len(rows) == 1 else rows

        alike = {
            "k": (0.05, 0.2, 1.0),
            "least": (-9.0,) * 4,
            "most": (9.0,) * 4,
            "error": constant(0.0),
            "known": constant(-1.0, 0.8),
            "density": constant(0.0, 0.0, 0.0),
            "velocity": constant(0.0, 1.0),
            "amplitude": (0.0, 0.0),
            "transfer": constant(-0.1, -0.5, -1.5),
            "rotation": constant(0.05, 0.1, 0.4),
            "coherence": constant(0.9, 0.8, 0.1),
        }
        return Residuals(**alike | changed)

    return make
