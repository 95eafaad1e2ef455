"""A tiny painter of halos."""

import pytest
import torch

import peculiar
from peculiar.core import PRESETS
from peculiar.inference.model_card import save_model
from peculiar.models import build
from peculiar.workflows.cosmologies import cosmology_settings

CONFIGURATION = {"bins": 2, "width": 4, "blocks": 1, "hidden": 4, "start": [0.4, 0.1]}


@pytest.fixture(scope="session")
def painter_entries():
    """A card's entries of a painter that was not trained: two bins on cells of 4 Mpc/h."""
    return {
        "name": "tiny",
        "task": "paint",
        "package_version": peculiar.__version__,
        "architecture": "painter",
        "configuration": CONFIGURATION,
        "normalisation": {},
        "cosmology": cosmology_settings(PRESETS["xiao2024"]),
        "redshift": 0.5,
        "cell_size": 4.0,
        "velocity_definition": "momentum over density",
        "metrics": {},
        "seeds": {"training": 1},
        "mass_edges": (1e12, 1e13, 1e15),
        "halos": {
            "mass_quantiles": ((1e12, 3e12, 1e13), (1e13, 2e13, 1e15)),
            "position_exponent": (2.0, 3.0),
            "log_density": (0.5, 1.0),
            "velocity_slope": (1.0, 1.1),
            "velocity_infall": (300.0, 900.0),
            "velocity_dispersion": (50.0, 100.0),
            "velocity_coherence": 0.5,
            "member_spread": 0.3,
            "member_dispersion": 150.0,
        },
        "number_density": 0.5 / 4.0**3,
        "cosmology_range": {},
        "splits": {"training": "1-2"},
    }


@pytest.fixture(scope="session")
def tiny_painter(tmp_path_factory, painter_entries):
    torch.manual_seed(1)
    directory = tmp_path_factory.mktemp("model")
    save_model(build("painter", CONFIGURATION), directory, **painter_entries)
    return directory / "tiny.safetensors"
