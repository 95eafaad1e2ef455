from contextlib import nullcontext

import numpy as np
import pytest
import torch
from astropy.cosmology import Planck18

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError, OutOfRangeWarning
from peculiar.fields.objects import DISPERSION, at_objects
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.linear import IterativeFFT, MultiTracerWiener
from peculiar.workflows.reconstruct import asked_for, make_reconstructor, mesh_cells, reconstruct, settle

COSMOLOGY = PRESETS["xiao2024"]


def plane_wave(box, *, amplitude, axis):
    """Fields of one wave along an axis: velocity along it, and a density that tells where it was read."""
    n = box.mesh
    x = torch.from_numpy(box.coordinates(axis)) - box.origin[axis]
    shape = [1, 1, 1]
    shape[axis] = n
    wave = torch.sin(2 * torch.pi * x / box.size).reshape(shape).expand(n, n, n)
    velocity = torch.zeros(3, n, n, n)
    velocity[axis] = amplitude * wave
    return {
        "density": Field(wave[None].float(), box, names=("density",)),
        "velocity": Field(velocity, box, names=("x", "y", "z"), unit="km/s", kind="vector"),
    }


@pytest.mark.parametrize(
    ("size", "cells"), [(225.0, 96), (300.0, 128), (75.0, 32), (250.0, 108), (20.0, 9), (600.0, 256)]
)
def test_mesh_cells_keep_the_cell_size(size, cells):
    assert mesh_cells(Box(size), cell_size=225 / 96) == cells
    assert abs(size / cells / (225 / 96) - 1) < 0.06


def test_a_box_of_few_cells_is_refused():
    with pytest.raises(InputError, match="at least 8 cells"):
        mesh_cells(Box(5.0), cell_size=2.34)


@pytest.mark.parametrize("axis", [0, 2])
def test_objects_move_back_to_where_they_were(axis):
    """Objects displaced by eq. 1 with a known velocity field return to their places."""
    box = Box(400.0, 64, origin=(-20.0, 5.0, 0.0))
    fields = plane_wave(box, amplitude=300.0, axis=axis)
    # The wave's density would draw the mean place aside; a faint one only tells where the fields were read.
    fields["density"] = fields["density"].replace(data=0.01 * fields["density"].data)
    rng = np.random.default_rng(1)
    real = np.asarray(box.origin) + rng.uniform(0, 400, (500, 3))
    observed = real.copy()
    velocity = fields["velocity"].at(real)
    observed[:, axis] += COSMOLOGY.redshift_space_factor(0.59) * velocity[:, axis]
    observed = np.asarray(box.origin) + (observed - np.asarray(box.origin)) % 400.0
    catalogue = Catalogue(observed, box=box, redshift=0.59, line_of_sight="xyz"[axis])
    values = at_objects(catalogue, fields, cosmology=COSMOLOGY)
    distance = (values.positions_real - real + 200) % 400 - 200
    assert np.abs(distance).max() < 0.1
    np.testing.assert_allclose(values.velocities, velocity, atol=3.0)
    np.testing.assert_allclose(values.v_los, velocity[:, axis], atol=3.0)
    np.testing.assert_allclose(values.delta, fields["density"].at(real)[:, 0], atol=1e-3)
    assert values.outside == 0


def test_objects_are_where_matter_is():
    """Of two places that could have sent an object to where it is seen, the dense one counts."""
    box = Box(40.0, 40)
    fields = plane_wave(box, amplitude=0.0, axis=2)
    data = torch.full((1, 40, 40, 40), -1.0)
    data[..., 21] = 60.0  # z = 21.5
    fields["density"] = fields["density"].replace(data=data)
    catalogue = Catalogue(np.array([[20.0, 20.0, 20.0]]), box=box, redshift=0.59)
    values = at_objects(catalogue, fields, cosmology=COSMOLOGY)
    assert values.positions_real[0, 2] == pytest.approx(21.5, abs=0.3)


def test_real_space_positions_stay():
    box = Box(100.0, 16)
    rng = np.random.default_rng(1)
    catalogue = Catalogue(rng.uniform(0, 100, (50, 3)), box=box, redshift=0.5, space="real")
    values = at_objects(catalogue, plane_wave(box, amplitude=300.0, axis=2), cosmology=COSMOLOGY)
    np.testing.assert_array_equal(values.positions_real, catalogue.positions)


def test_radial_line_of_sight_points_away_from_the_observer():
    box = Box(100.0, 16, periodic=False)
    data = torch.zeros(3, 16, 16, 16)
    data[0] = 100.0
    fields = plane_wave(box, amplitude=0.0, axis=0)
    fields["density"] = fields["density"].replace(data=torch.zeros(1, 16, 16, 16))
    fields["velocity"] = fields["velocity"].replace(data=data)
    points = np.array([[80.0, 50.0, 50.0], [20.0, 50.0, 50.0], [50.0, 80.0, 50.0]])
    catalogue = Catalogue(points, box=box, redshift=0.1, line_of_sight="radial", observer=(50.0, 50.0, 50.0))
    values = at_objects(catalogue, fields, cosmology=COSMOLOGY)
    np.testing.assert_allclose(values.v_los, [100, -100, 0], atol=1e-3)
    factor = COSMOLOGY.redshift_space_factor(0.1)
    # More objects stand farther away: r^2 draws the mean place out by 2 sigma^2 / r.
    out = 2 * (DISPERSION * factor) ** 2 / (30 + np.array([-1, 1]) * 100 * factor)
    expected = [80 - 100 * factor + out[0], 20 - 100 * factor - out[1], 50]
    np.testing.assert_allclose(values.positions_real[:, 0], expected, atol=0.02)


def test_objects_outside_the_fields_are_nan_and_those_at_a_face_stay_inside():
    box = Box(100.0, 16, periodic=False)
    fields = plane_wave(box, amplitude=0.0, axis=2)
    data = torch.zeros(3, 16, 16, 16)
    data[2] = -500.0
    fields["velocity"] = fields["velocity"].replace(data=data)
    catalogue = Catalogue(np.array([[50.0, 50.0, 99.5]]), box=box, redshift=0.59)
    points = np.array([[50.0, 50.0, 99.5], [50.0, 50.0, 101.0], [-1.0, 50.0, 50.0]])
    values = at_objects(catalogue, fields, cosmology=COSMOLOGY, positions=points)
    assert values.outside == 2
    assert np.isfinite(values.velocities[0]).all()
    for array in (values.velocities, values.v_los, values.delta, values.positions_real):
        assert np.isnan(array[1:]).all()


@pytest.fixture
def points():
    rng = np.random.default_rng(3)
    return Catalogue(rng.uniform(0, 40, (400, 3)), box=Box(40.0), redshift=0.59)


def test_reconstruct_by_name_and_by_object_agree(points):
    named = reconstruct(points, model="iterative")
    given = reconstruct(points, model=IterativeFFT())
    assert set(named) == {"density", "velocity", "momentum"}
    for name in named:
        assert named[name].box == Box(40.0, 17)
        assert torch.equal(named[name].data, given[name].data)
    assert reconstruct(points, model="linear", cells=8)["density"].box.mesh == 8


def test_reconstruct_takes_h_and_f_from_the_cosmology(points):
    model = IterativeFFT(smoothing=4.0, bias=1.5)  # which would depend on the linear power else
    first = reconstruct(points.replace(space="real"), model=model, cells=8, cosmology=COSMOLOGY)
    other = PRESETS["wu2021"]
    second = reconstruct(points.replace(space="real"), model=model, cells=8, cosmology=other)
    ratio = other.velocity_factor(0.59) / COSMOLOGY.velocity_factor(0.59)
    torch.testing.assert_close(second["velocity"].data, ratio * first["velocity"].data)


def test_unknown_model_names_the_known_ones(points):
    with pytest.raises(InputError, match=r"one of linear, iterative, wiener.*got 'magic'"):
        reconstruct(points, model="magic")
    with pytest.raises(InputError, match="Model must exist"):
        make_reconstructor("missing.safetensors")


def test_a_catalogue_outside_the_range_of_the_default_is_handed_over_to_the_wiener_filter():
    """1600 objects in (40 Mpc/h)^3 are twice as many as the default network knows."""
    points = Catalogue(np.random.default_rng(1).uniform(0, 40, (1600, 3)), box=Box(40.0), redshift=0.59)
    with pytest.warns(OutOfRangeWarning, match=r"density 0.025 .* reconstructed by 'wiener'") as caught:
        fields = reconstruct(points)
    assert len(caught) == 1
    assert torch.equal(fields["velocity"].data, reconstruct(points, model="wiener")["velocity"].data)
    with pytest.warns(OutOfRangeWarning, match="range of model 'general'"):
        named = reconstruct(points, model="general")
    assert "density_least_squares" in named


def test_only_the_model_that_answers_is_loaded(monkeypatch):
    loaded = []
    real = NeuralReconstructor.load
    monkeypatch.setattr(NeuralReconstructor, "load", lambda name: loaded.append(str(name)) or real(name))
    random = np.random.default_rng(3)
    places, masses = random.uniform(0, 75.0, (8000, 3)), random.random(8000)
    answers = (
        ("wiener", 8000, 0.59, None),
        ("residual", 1264, 0.59, None),
        ("general", 1264, 0.1, None),
        ("general", 1264, 0.59, masses[:1264]),
    )
    for name, count, redshift, known in answers:
        catalogue = Catalogue(places[:count], box=Box(75.0), redshift=redshift, masses=known)
        default = asked_for(None, device="cpu")
        with pytest.warns(OutOfRangeWarning) if name == "wiener" else nullcontext():
            chosen, _ = settle(*default, catalogue, cells=32, cosmology=COSMOLOGY)
        assert isinstance(chosen, MultiTracerWiener) if name == "wiener" else chosen.name == name
    assert loaded == ["residual", "general", "general"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"catalogue": np.ones((200, 3))},
            "catalogue must be a Catalogue, got ndarray: read_catalogue reads files",
        ),
        ({"catalogue": "halos.fits"}, "catalogue must be a Catalogue, got str"),
        (
            {"cosmology": Planck18},
            "cosmology must be a Cosmology, got FlatLambdaCDM: Cosmology.from_astropy takes",
        ),
        ({"cosmology": "Planck18"}, "cosmology must be a Cosmology, got str: .* PRESETS has others by name"),
    ],
)
def test_values_of_another_type_are_refused(given, message):
    points = np.random.default_rng(1).uniform(0, 80, (200, 3))
    catalogue = Catalogue(points, box=Box(80.0), redshift=0.5)
    with pytest.raises(InputError, match=message):
        reconstruct(given.pop("catalogue", catalogue), model="linear", cells=16, **given)


def test_a_catalogue_has_a_box():
    with pytest.raises(InputError, match=r"Catalogue.box must be a Box, got float: give Box\(SIDE\)"):
        Catalogue(np.ones((2, 3)), box=80.0, redshift=0.5)
