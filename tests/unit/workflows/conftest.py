"""A tiny painter of halos, and small boxes with a survey to observe them with."""

import json
from dataclasses import asdict

import healpy
import numpy as np
import pytest
import torch

import peculiar
from peculiar.core import PRESETS, Box, Field
from peculiar.core.cosmologies import cosmology_settings
from peculiar.fields.calculus import displacement
from peculiar.fields.smooth import gaussian
from peculiar.inference.model_card import save_model
from peculiar.models import build
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.initial import linear_field
from peculiar.simulate.satellites import Members

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
        "normalisation": {"density_floor": 1.0},
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


def write_linear_box(path, *, seed: int, redshift: float, attributes=None) -> None:
    """A box of 160 Mpc/h of linear theory, with halos of half the matter's contrast, so that few tell n(r)."""
    box, cosmology = Box(160.0, 32), PRESETS["wang2024"]
    rng = np.random.default_rng(seed)
    linear = Field(linear_field(box, cosmology, seed=seed, redshift=redshift)[None], box, ["linear_density"])
    density = gaussian(linear, 4.0).replace(names=["density"])
    flow = displacement(density.data[0], box) * cosmology.velocity_factor(redshift)
    velocity = Field(flow, box, "xyz", "km/s", kind="vector", definition="linear theory")
    chance = np.maximum(1 + density.numpy()[0] / 2, 0).ravel().astype(np.float64)
    cells = rng.choice(32**3, int(2e-2 * 160.0**3), p=chance / chance.sum())
    index = np.stack(np.unravel_index(cells, (32,) * 3), axis=1)
    places = ((index + rng.random(index.shape)) * box.cell_size).astype(np.float32)
    count = len(places)
    halos = Halos(
        positions=places,
        velocities=(velocity.at(places) + rng.normal(0, 30, places.shape)).astype(np.float32),
        masses=np.sort(10 ** rng.uniform(11, 13, count))[::-1],
        counts=np.zeros(count, np.int32),
        members=np.empty(0, np.int64),
        offsets=np.zeros(count + 1, np.int64),
    )
    members = Members(
        displacements=rng.normal(0, 0.3, places.shape).astype(np.float16),
        velocities=rng.normal(0, 300, places.shape).astype(np.float16),
        host=np.arange(count, dtype=np.int32),
    )
    write_box(
        path,
        cosmology,
        seed=seed,
        redshift=redshift,
        fields={"density": density, "velocity": velocity, "linear_density": linear},
        halos=halos,
        members=members,
        attributes=attributes or {},
    )


@pytest.fixture(scope="session")
def box_run(tmp_path_factory):
    """Two boxes at z = 0, see `write_linear_box`."""
    out = tmp_path_factory.mktemp("boxes")
    record = {
        "settings": {"size": 160.0, "cells": 32, "redshift": 0.0},
        "cosmology": asdict(PRESETS["wang2024"]),
        "provenance": {"package": "peculiar", "seed": [1001, 1002]},
    }
    (out / "run.json").write_text(json.dumps(record))
    for seed in (1001, 1002):
        write_linear_box(
            out / f"box-{seed:05d}.h5",
            seed=seed,
            redshift=0.0,
            attributes={"painter": "tiny"} if seed == 1002 else {},
        )
    return out


@pytest.fixture(scope="session")
def epoch_run(tmp_path_factory):
    """A box at three epochs: linear modes are the same, halos are not."""
    out = tmp_path_factory.mktemp("epochs")
    for redshift in (0.0, 0.05, 0.1):
        directory = out / f"z{redshift:.3f}"
        directory.mkdir()
        write_linear_box(directory / "box-01001.h5", seed=1001, redshift=redshift)
    return out


@pytest.fixture
def cap_survey(tmp_path):
    """A cap of 30 degrees with completeness 1 and 0.5, heliocentric redshifts; returns the path of its survey file."""
    apex = [0.5, 0.5, 0.5**0.5]
    place = tmp_path / "survey"
    place.mkdir()
    mask = np.zeros(healpy.nside2npix(32))
    inside = healpy.query_disc(32, apex, np.radians(30))
    mask[inside] = np.where(np.arange(len(inside)) % 2, 1.0, 0.5)
    healpy.write_map(place / "cap.fits", mask, dtype=np.float32)
    (place / "mine.toml").write_text(
        'name = "mine"\nframe = "heliocentric"\nmask = "cap.fits"\ndistances = [30.0, 90.0]\npadding = 15.0\n'
        '[columns]\nz = "Z_HELIO"\n'
    )
    return place / "mine.toml"
