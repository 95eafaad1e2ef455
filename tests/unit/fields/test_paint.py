import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.core.readout import _readout_with_torch, readout
from peculiar.fields.fourier import to_fourier
from peculiar.fields.paint import (
    _paint_with_torch,
    deconvolve,
    mass_bins,
    paint,
    paint_bins,
    paint_interlaced_fourier,
    window,
)

SCHEMES = ["ngp", "cic", "tsc"]
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("order", "scheme"), [(1, "ngp"), (2, "cic"), (3, "tsc")])
@pytest.mark.parametrize("periodic", [True, False])
def test_the_torch_path_equals_the_kernels(order, scheme, periodic):
    box = Box(30.0, 12, origin=(-3.0, 500.0, 0.0), periodic=periodic)
    positions = np.asarray(box.origin) + RNG.uniform(-8, 38, (3000, 3))
    weights = RNG.normal(size=(3000, 2)).astype(np.float32)
    points, values = torch.as_tensor(positions), torch.as_tensor(weights)
    mesh = paint(positions, box, weights=weights, scheme=scheme, shift=0.3)
    torch.testing.assert_close(_paint_with_torch(points, box, values, order, 0.3), mesh, atol=2e-3, rtol=0)
    counts = paint(positions, box, scheme=scheme)
    torch.testing.assert_close(_paint_with_torch(points, box, None, order, 0.0), counts, atol=2e-3, rtol=0)
    data = torch.randn(2, 12, 12, 12)
    expected = readout(data, positions, box, scheme=scheme)
    torch.testing.assert_close(_readout_with_torch(data, points, box, order), expected, atol=2e-3, rtol=0)


def test_a_particle_at_a_cell_centre_fills_that_cell_alone():
    box = Box(8.0, 8, origin=(1.0, 2.0, 3.0))
    for scheme, own in (("ngp", 1.0), ("cic", 1.0), ("tsc", 0.75**3)):
        mesh = paint(np.array([[3.5, 7.5, 9.5]]), box, weights=np.array([2.0]), scheme=scheme)
        assert mesh[0, 2, 5, 6] == pytest.approx(2 * own)
    moved = paint(np.array([[3.5, 7.5, 9.5]]), box, shift=1.0)
    assert moved[0, 1, 4, 5] == 1.0


def test_particles_some_at_a_time_add_up():
    positions = np.random.default_rng(3).uniform(0, 12, (500, 3))
    mesh = torch.zeros(1, 6, 6, 6)
    for some in np.split(positions, 5):
        assert paint(some, Box(12.0, 6), onto=mesh).data_ptr() == mesh.data_ptr()
    torch.testing.assert_close(mesh, paint(positions, Box(12.0, 6)))


def test_beyond_the_faces_mass_wraps_or_is_dropped():
    outside = np.array([[-0.25, 4.5, 4.5]])
    wrapped, walled = paint(outside, Box(8.0, 8)), paint(outside, Box(8.0, 8, periodic=False))
    assert wrapped[0, 7, 4, 4] == pytest.approx(0.75)
    assert wrapped.sum() == pytest.approx(1.0)
    assert walled[0, 0, 4, 4] == pytest.approx(0.25)
    assert walled.sum() == pytest.approx(0.25)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_readout_is_the_adjoint_of_paint(scheme):
    box = Box(20.0, 10)
    positions, weights, data = RNG.uniform(0, 20, (500, 3)), RNG.normal(size=500), torch.randn(1, 10, 10, 10)
    painted = (paint(positions, box, weights=weights, scheme=scheme) * data).sum()
    read = (readout(data, positions, box, scheme=scheme)[:, 0].numpy() * weights).sum()
    assert float(painted) == pytest.approx(read, abs=1e-3)


@pytest.mark.parametrize("periodic", [True, False])
def test_cic_readout_is_the_interpolation_of_field(periodic):
    box = Box(20.0, 10, periodic=periodic)
    field = Field(torch.randn(2, 10, 10, 10), box, ["a", "b"])
    positions = RNG.uniform(0, 20, (300, 3))
    np.testing.assert_allclose(readout(field.data, positions, box), field.at(positions), atol=2e-5)


def test_tensors_and_arrays_of_any_precision_paint_alike():
    box, positions = Box(20.0, 10), RNG.uniform(0, 20, (300, 3)).astype(np.float32)
    expected = paint(positions, box, weights=np.ones(300, dtype=np.int64))
    for same in (torch.as_tensor(positions), positions.astype(np.float64), np.asfortranarray(positions)):
        torch.testing.assert_close(paint(same, box), expected)
    assert expected.dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda box: paint(np.zeros((3, 2)), box), r"positions must have shape \(n, 3\)"),
        (lambda box: paint(np.full((3, 3), np.inf), box), "must be finite"),
        (lambda box: paint(np.zeros((3, 3)), box, weights=np.ones(2)), "weights must have shape"),
        (lambda box: paint(np.zeros((3, 3)), box, scheme="pcs"), "scheme must be one of ngp, cic, tsc"),
        (lambda box: readout(torch.zeros(1, 4, 4, 5), np.zeros((3, 3)), box), "data must have shape"),
        (lambda box: paint(np.zeros((3, 3)), Box(1.0)), "must be set for a mesh"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(Box(1.0, 4))


@pytest.mark.parametrize("cells", [8, 9])
def test_interlaced_meshes_share_the_phase_of_the_plain_one(cells):
    box = Box(10.0, cells, origin=(3.0, 0.0, -4.0))
    random = np.random.default_rng(2)
    # A clump: its long waves are strong, so that what aliases into them is small beside.
    positions = np.asarray(box.origin) + random.normal(5, 2, (400, 3)) % 10
    weights = random.uniform(1, 2, (400, 2))
    interlaced = paint_interlaced_fourier(positions, box, weights=weights, scheme="tsc")
    plain = deconvolve(to_fourier(paint(positions, box, weights=weights, scheme="tsc")), box, scheme="tsc")
    np.testing.assert_allclose(interlaced[:, 0, 0, 0].real, weights.sum(axis=0), rtol=1e-5)
    for mode in ((1, 0, 0), (0, -1, 0), (0, 0, 1)):
        assert abs(interlaced[0][mode] / plain[0][mode] - 1) < 0.1
    if cells % 2 == 0:
        assert torch.equal(interlaced[:, :, 4], plain[:, :, 4])


def test_window_is_the_sinc_of_the_scheme():
    k = torch.tensor([0.0, 0.5])
    for power, scheme in enumerate(SCHEMES, start=1):
        expected = torch.tensor([1.0, (np.sin(0.5) / 0.5) ** power], dtype=torch.float32)
        torch.testing.assert_close(window(k, 2.0, scheme=scheme), expected)


def test_bins_hold_their_abundance_the_most_massive_first():
    masses = RNG.permutation(np.arange(1, 4001))
    bins = mass_bins(masses, RNG.random((4000, 3)), volume=1e6)
    assert np.bincount(bins).tolist() == [100, 900, 1000, 2000]  # the last takes the 1000 that are left over
    for lighter, heavier in ((1, 0), (2, 1), (3, 2)):
        assert masses[bins == lighter].max() < masses[bins == heavier].min()


def test_equal_masses_are_split_without_regard_to_their_order():
    positions = RNG.uniform(0, 100, (4000, 3))

    def split(positions):
        return mass_bins(np.ones(4000), positions, volume=1e6, abundances=(2e-3, 4e-3))

    bins = split(positions)
    assert np.bincount(bins).tolist() == [2000, 2000]
    for rows in (slice(2000), positions[:, 0] < 50, positions[:, 2] < 50):
        assert abs(bins[rows].mean() - 0.5) < 0.05
    rows = RNG.permutation(4000)
    np.testing.assert_array_equal(split(positions[rows][:, [2, 0, 1]]), bins[rows])


@pytest.mark.parametrize("abundances", [(), (1e-3, 1e-4), (0.0, 1e-3)])
def test_abundances_must_rise(abundances):
    with pytest.raises(InputError, match="abundances must be positive and rise"):
        mass_bins(np.ones(3), np.ones((3, 3)), volume=1e6, abundances=abundances)
    with pytest.raises(InputError, match="volume must be > 0"):
        mass_bins(np.ones(3), np.ones((3, 3)), volume=0.0)


def halos(**changes) -> Catalogue:
    values = {
        "positions": RNG.uniform(0, 100, (3000, 3)),
        "box": Box(100.0),
        "redshift": 0.0,
        "masses": RNG.lognormal(0, 1, 3000),
    }
    return Catalogue(**{**values, **changes})


@pytest.mark.parametrize("weighting", ["number", "mass"])
def test_channels_are_in_units_of_their_own_mean(weighting):
    field = paint_bins(halos(weights=RNG.uniform(1, 2, 3000)), 8, weighting=weighting)
    torch.testing.assert_close(field.data.mean(dim=(1, 2, 3)), torch.ones(4))
    assert field.space == "redshift"
    assert len(field.names) == 4


def test_mass_weighting_follows_the_masses():
    catalogue = halos(
        positions=np.array([[6.25, 6.25, 6.25], [31.25, 6.25, 6.25]]), masses=np.array([1.0, 3.0])
    )
    by_mass = paint_bins(catalogue, 8, weighting="mass", abundances=(1e-5,)).data[0]
    by_number = paint_bins(catalogue, 8, abundances=(1e-5,)).data[0]
    assert by_mass[2, 0, 0] == pytest.approx(3 * by_mass[0, 0, 0])
    assert by_number[2, 0, 0] == pytest.approx(by_number[0, 0, 0]) == pytest.approx(256.0)


def test_the_mean_of_a_survey_is_over_what_it_covers():
    covered = torch.zeros(1, 4, 4, 4)
    covered[:, :2] = 1.0
    box = Box(100.0, periodic=False)
    positions = RNG.uniform(0, 100, (3000, 3)) * [0.5, 1, 1]
    survey = halos(
        positions=positions, box=box, completeness=Field(covered, box.with_cells(4), ["completeness"])
    )
    field = paint_bins(survey, 8, scheme="ngp")
    torch.testing.assert_close(field.data[:, :4].mean(dim=(1, 2, 3)), torch.ones(4))
    assert (field.data[:, 4:] == 0).all()
    # Half the volume, so the bins hold half as many.
    assert np.bincount(mass_bins(survey.masses, survey.positions, volume=5e5))[0] == 50


def test_without_masses_all_go_into_the_last_bin_and_positions_may_be_others():
    elsewhere = np.full((3000, 3), 6.25)
    field = paint_bins(halos(masses=None), 8, positions=elsewhere)
    assert (field.data[:3] == 0).all()
    assert field.data[3, 0, 0, 0] == pytest.approx(512.0)


def test_mass_weighting_needs_masses():
    for masses in (None, np.arange(3000.0)):  # the lightest weighs nothing
        with pytest.raises(InputError, match="masses must all be > 0"):
            paint_bins(halos(masses=masses), 8, weighting="mass")
    with pytest.raises(InputError, match="weighting must be"):
        paint_bins(halos(), 8, weighting="light")
