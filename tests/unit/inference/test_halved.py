"""Meshes on the disk in half precision, where the network computes so: see `test_tiled.py` for single precision."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.inference.tiled import TiledReconstructor
from peculiar.inference.whole import precision

pytestmark = pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning")


@pytest.fixture(scope="module")
def general():
    return NeuralReconstructor.load("general")


def reconstructed(by):
    """Fields of three catalogues: where conditions are rounded, all cells of one differ alike."""
    box, fields = Box(90.0), {}
    for seed in (3, 4, 5):
        places = np.random.default_rng(seed).uniform(0, box.size, (1700, 3))
        halos = Catalogue(places, box, redshift=0.59, line_of_sight="y")
        found = by.reconstruct(halos, cells=24, cosmology=PRESETS["xiao2024"])
        for name, field in found.items():
            fields.setdefault(name, []).append(field.data)
    return {name: torch.stack(each) for name, each in fields.items()}


def test_half_precision_on_the_disk_changes_no_more_than_in_the_network(general, monkeypatch):
    """Fields differ by the rounding of bf16, which single precision tells."""
    whole, tiled = (reconstructed(by) for by in (general, TiledReconstructor(general, 1e7)))
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
    exact = reconstructed(general)
    for name, field in exact.items():
        scale = field.std()
        rounding, found = ((one[name] - field).square().mean().sqrt() for one in (whole, tiled))
        assert found <= max(1.5 * rounding, 1e-5 * scale), name
        assert found < 0.01 * scale, (name, rounding, found, scale)


def test_half_precision_takes_half_the_disk_and_less_memory(general, monkeypatch):
    if precision("cpu") != torch.bfloat16:
        pytest.skip("this processor computes in single precision")
    box = Box(1800.0, 768)
    tiled = TiledReconstructor(general, 1e9)
    halved, least = tiled.scratch(box), tiled.memory(Box(20.0, 8))
    assert halved <= 92 * 768**3  # 18 inputs, a mesh of each of 2 symmetries, and the outputs
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
    assert 2 * halved == pytest.approx(tiled.scratch(box))
    assert least < 0.7 * tiled.memory(Box(20.0, 8))
