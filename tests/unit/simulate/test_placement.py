import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.simulate.placement import place, sharpen

BOX = Box(64.0, 16, origin=(-10.0, 0.0, 5.0))


def wave(box, number):
    x = torch.arange(box.mesh) + 0.5
    return torch.cos(2 * torch.pi * number * x / box.mesh)[:, None, None].expand(-1, box.mesh, box.mesh)


def test_sharpening_gives_the_wave_that_cic_had_damped():
    damped = np.sinc(3 / 16) ** 2 * 0.6 * wave(BOX, 3)
    sharp = sharpen(Field(damped[None], BOX, ["density"]))
    assert sharp.box == Box(64.0, 32, origin=BOX.origin)
    assert torch.allclose(sharp.data[0], 0.6 * wave(sharp.box, 3), atol=1e-5)


def test_sharpening_keeps_the_mean_and_has_no_direction():
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 16, 16, 16), dtype=np.float32))
    sharp = sharpen(Field(noise + 2, BOX, ["density"]))
    assert sharp.data.mean() == pytest.approx(float(noise.mean()) + 2, abs=1e-4)
    for turn in ((1, 2), (1, 3), (2, 3)):
        turned = sharpen(Field(noise.rot90(dims=turn) + 2, BOX, ["density"]))
        assert torch.allclose(turned.data, sharp.data.rot90(dims=turn), atol=1e-4)


def test_an_odd_mesh_is_refused():
    with pytest.raises(InputError, match="even mesh"):
        sharpen(Field(torch.zeros(1, 5, 5, 5), Box(10.0, 5), ["density"]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_places_follow_a_power_of_the_density(axis):
    fine = Box(BOX.size, 32, origin=BOX.origin)
    density = Field(0.8 * wave(fine, 2).transpose(0, axis)[None], fine, ["density"])
    cells = np.repeat(np.arange(16**3), 20)
    positions = place(cells, np.full(len(cells), 2.0), density, random=np.random.default_rng(1))
    scaled = (positions - np.asarray(BOX.origin)) / BOX.cell_size
    assert np.array_equal(np.floor(scaled).astype(int), np.stack(np.unravel_index(cells, (16,) * 3), axis=1))
    parts = np.bincount((4 * scaled[:, axis]).astype(int), minlength=64)
    rho = (1 + 0.8 * np.cos(2 * np.pi * 2 * (np.arange(64) + 0.5) / 64)) ** 2
    expected = (rho.reshape(16, 4) / rho.reshape(16, 4).sum(axis=1, keepdims=True)).ravel()
    assert np.abs(parts / len(cells) * 16 - expected).max() < 0.03
    other = scaled[:, (axis + 1) % 3] % 1
    assert np.histogram(other, 4, (0, 1))[0] / len(cells) == pytest.approx(0.25, abs=0.01)


def test_an_empty_region_is_even():
    fine = Box(BOX.size, 32, origin=BOX.origin)
    density = Field(torch.full((1, 32, 32, 32), -3.0), fine, ["density"])
    positions = place(np.full(8000, 7), np.full(8000, 4.0), density, random=np.random.default_rng(1))
    inside = (positions - np.asarray(BOX.origin)) / BOX.cell_size % 1
    assert np.abs(inside.mean(axis=0) - 0.5).max() < 0.02
