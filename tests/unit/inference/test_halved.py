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


@pytest.fixture
def halos():
    box = Box(90.0)
    random = np.random.default_rng(3)
    return Catalogue(random.uniform(0, box.size, (1700, 3)), box, redshift=0.59, line_of_sight="y")


def reconstructed(by, halos):
    return by.reconstruct(halos, cells=24, cosmology=PRESETS["xiao2024"])


def test_half_precision_on_the_disk_changes_no_more_than_in_the_network(general, halos, monkeypatch):
    """Fields differ by the rounding of bf16, which single precision tells."""
    whole, tiled = (reconstructed(by, halos) for by in (general, TiledReconstructor(general, 1e7)))
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
    exact = reconstructed(general, halos)
    for name, field in exact.items():
        scale = field.data.std()
        rounding, found = ((one[name].data - field.data).square().mean().sqrt() for one in (whole, tiled))
        assert found <= max(1.5 * rounding, 1e-5 * scale), name
        assert found < 0.01 * scale, (name, rounding, found, scale)


def test_half_precision_takes_half_the_disk_and_less_memory(general, monkeypatch):
    if precision("cpu") != torch.bfloat16:
        pytest.skip("this processor computes in single precision")
    box = Box(1800.0, 768)
    tiled = TiledReconstructor(general, 1e9)
    halved, least = tiled.scratch(box), tiled.memory(Box(20.0, 8))
    assert halved <= 92 * 768**3  # 17 inputs, a mesh of each of 4 symmetries, and the outputs
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
    assert 2 * halved == pytest.approx(tiled.scratch(box))
    assert least < 0.7 * tiled.memory(Box(20.0, 8))
