import json

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.fields.calculus import displacement
from peculiar.linear import WienerFilter, binned_overdensity, wiener_density, wiener_displacement

COSMOLOGY = PRESETS["xiao2024"]


def make_filter(**changes) -> WienerFilter:
    settings = {
        "k": [0.1, 0.2],
        "weights_density": [[1.0, 2.0], [1.0, 2.0]],
        "weights_velocity": [[0.5, 0.0], [0.5, 0.0]],
        "total_density": [[3.0], [1.0]],
        "total_velocity": [[1.0], [1.0]],
        "k_max": 0.3,
        "abundances": (1e-4, 3e-4),
        "training": {"boxes": 2.0},
    }
    return WienerFilter(**(settings | changes))


def wave(box: Box, mode: int) -> torch.Tensor:
    x = torch.as_tensor(box.coordinates()).float()
    return torch.cos(mode * box.k_fundamental * x)[:, None, None].expand(box.mesh, box.mesh, box.mesh)


def test_weights_are_flat_below_the_first_shell_linear_between_and_zero_beyond():
    box = Box(2 * np.pi / 0.05, 16)  # fundamental 0.05 h/Mpc
    for mode, weight in ((1, 3.0), (2, 3.0), (3, 2.0), (4, 1.0), (5, 0.5), (6, 0.0), (7, 0.0)):
        delta = wave(box, mode)
        density = wiener_density(delta[None], box, wiener=make_filter())
        torch.testing.assert_close(density[0], weight * delta, atol=1e-4, rtol=1e-4)


def test_bins_add_up_with_their_weights():
    box = Box(100.0, 8)
    bins = torch.stack([wave(box, 1), torch.rand(8, 8, 8)])
    density = wiener_density(bins[:1].expand(2, -1, -1, -1), box, wiener=make_filter())
    torch.testing.assert_close(density[0], 3 * bins[0], atol=1e-4, rtol=1e-4)
    shift = wiener_displacement(torch.stack([bins[0], bins[1]]), box, wiener=make_filter())
    torch.testing.assert_close(shift, 0.5 * displacement(bins[0], box), atol=1e-3, rtol=1e-3)


def test_a_survey_is_padded():
    box = Box(100.0, 8, periodic=False)
    data = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    shift = wiener_displacement(data, box, wiener=make_filter())
    periodic = wiener_displacement(data, Box(100.0, 8), wiener=make_filter())
    assert shift.shape == (3, 8, 8, 8)
    assert not torch.allclose(shift, periodic, atol=1e-3)


def test_saved_filters_load_as_they_were(tmp_path):
    first = make_filter()
    first.save(tmp_path / "wiener.json")
    second = WienerFilter.load(tmp_path / "wiener.json")
    for name in first.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "wiener.json"
    with pytest.raises(InputError, match="Wiener filter must be a file"):
        WienerFilter.load(path)
    make_filter().save(path)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="Wiener filter must be JSON"):
        WienerFilter.load(path)
    path.write_text(json.dumps(json.loads(whole) | {"schema": 99}))
    with pytest.raises(InputError, match="got schema 99"):
        WienerFilter.load(path)
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match="Wiener filter must hold names"):
        WienerFilter.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [0.2, 0.1]}, "k must rise"),
        ({"k_max": 0.2}, "k must rise"),
        ({"weights_density": [[1.0], [1.0]]}, "weights_density must be finite of shape"),
        ({"total_velocity": [[1.0], [np.nan]]}, "total_velocity must be finite of shape"),
        ({"bias": 0.0}, "bias must be > 0"),
    ],
)
def test_inconsistent_filters_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make_filter(**changes)


def test_channels_must_be_the_bins_or_one():
    with pytest.raises(InputError, match="must have 1 or 2 channels"):
        wiener_density(torch.zeros(3, 8, 8, 8), Box(100.0, 8), wiener=make_filter())


def test_reconstruct_with_and_without_masses():
    rng = np.random.default_rng(0)
    catalogue = Catalogue(rng.uniform(0, 100, (300, 3)), Box(100.0), redshift=0.59, masses=rng.random(300))
    binned = binned_overdensity(catalogue, cells=8, cosmology=COSMOLOGY, abundances=(1e-4, 3e-4))
    assert binned.shape == (2, 8, 8, 8)
    fields = make_filter().reconstruct(catalogue, cells=8, cosmology=COSMOLOGY)
    torch.testing.assert_close(
        fields["density"].data, wiener_density(binned, Box(100.0, 8), wiener=make_filter())
    )
    single = make_filter().reconstruct(catalogue.replace(masses=None), cells=8, cosmology=COSMOLOGY)
    assert not torch.allclose(single["density"].data, fields["density"].data)
    assert fields["velocity"].kind == "vector"
