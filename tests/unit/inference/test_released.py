"""Published fields, on small files of their formats: a plane wave in galactic axes is found where it belongs."""

import numpy as np
import pytest

import peculiar
from peculiar.catalogues.frames import from_galactic_axes, galactic_directions
from peculiar.core import InputError
from peculiar.inference.reconstruction import Reconstruction

CELLS = 41
K = np.array([0.012, -0.02, 0.016])  # h/Mpc, of galactic axes: 225 Mpc/h
AMPLITUDE = np.array([300.0, -150.0, 200.0])


def wave(cells, *, ends):
    """Velocity (3, n, n, n) and overdensity of galactic axes, and the coordinates of cells."""
    step = 400 / (cells if ends == "faces" else cells - 1)
    x = (np.arange(cells) - (cells - 1) / 2) * step
    phase = sum(k * axis for k, axis in zip(K, np.meshgrid(x, x, x, indexing="ij"), strict=True))
    return AMPLITUDE[:, None, None, None] * np.cos(phase), 0.4 * np.sin(phase), x


def carrick(directory):
    velocity, density, _ = wave(CELLS, ends="centres")
    np.save(directory / "twompp_velocity.npy", velocity)
    np.save(directory / "twompp_density.npy", density)
    return directory


def coras(directory, *, frame="zLG"):
    velocity, density, _ = wave(CELLS, ends="centres")
    sigma8 = 0.8111
    np.savetxt(
        directory / f"cartesian_grid_velocity_{frame}.dat", velocity.reshape(3, -1).T, fmt="%.2f",
        delimiter="\t", header="vX[km/s]\tvY[km/s]\tvZ[km/s]",
    )  # fmt: skip
    np.savetxt(
        directory / f"cartesian_grid_density_{frame}.dat",
        density.ravel() / sigma8,
        fmt="%.4f",
        header="deltaNorm",
    )
    return directory


def network(directory):
    velocity, density, x = wave(40, ends="faces")
    outside = sum(axis**2 for axis in np.meshgrid(x, x, x, indexing="ij")) > 200.0**2
    for name, values in zip("xyz", velocity, strict=True):
        np.save(directory / f"{name}Velocity.npy", np.where(outside, np.nan, values))
        np.save(directory / f"{name}Velocity_error.npy", np.where(outside, np.nan, 90.0))
    np.save(directory / "density.npy", np.where(outside, np.nan, 1 + density))
    return directory


@pytest.mark.parametrize("release", [carrick, coras, network])
def test_a_published_field_is_read_in_celestial_axes(release, tmp_path):
    made = Reconstruction.open(release(tmp_path))
    assert made.on_the_sky
    rng = np.random.default_rng(1)
    longitude, latitude = rng.uniform(0, 360, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))
    sight, distance = galactic_directions(longitude, latitude), rng.uniform(20, 170, 200)
    inner = np.radians([longitude, latitude])
    galactic = distance[:, None] * np.column_stack(
        [np.cos(inner[1]) * np.cos(inner[0]), np.cos(inner[1]) * np.sin(inner[0]), np.sin(inner[1])]
    )
    points, phase = distance[:, None] * sight, galactic @ K
    expected = from_galactic_axes(AMPLITUDE * np.cos(phase)[:, None])
    # Cells of 10 Mpc/h, read trilinearly: the wave of 225 Mpc/h loses under a hundredth.
    np.testing.assert_allclose(made["velocity"].at(points), expected, atol=5)
    np.testing.assert_allclose(made["density"].at(points)[:, 0], 0.4 * np.sin(phase), atol=0.006)
    if release is network:
        np.testing.assert_allclose(made["velocity_error"].at(points)[:, 0], 90.0, atol=3)


def test_query_takes_it_and_says_where_it_ends(tmp_path):
    path = carrick(tmp_path)
    z = [0.02, 0.06, 0.09]
    found = peculiar.query(path / "twompp_velocity.npy", ra=200.0, dec=-10.0, z=z, space="real")
    assert found.missing.tolist() == ["", "", "outside"]
    beyond = peculiar.query(path, ra=200.0, dec=-10.0, z=0.0675)  # 200 Mpc/h are z = 0.0679
    assert np.isfinite(beyond.v_los).all()
    corner = peculiar.query(path, ra=45.0, dec=35.0, z=0.085)  # in the cube, and beyond the sphere
    assert corner.missing.tolist() == ["unseen"]
    made = Reconstruction.open(path)
    made.save(tmp_path / "carrick.zarr")
    again = peculiar.query(tmp_path / "carrick.zarr", ra=200.0, dec=-10.0, z=z, space="real")
    np.testing.assert_allclose(again.v_los, found.v_los)
    assert Reconstruction.open(tmp_path / "carrick.zarr").model == "2M++ (Carrick et al. 2015)"


def test_one_of_two_frames_is_named_by_its_file(tmp_path):
    coras(coras(tmp_path), frame="zCMB")
    with pytest.raises(InputError, match=r"must hold one file cartesian_grid_velocity.*give the path of one"):
        Reconstruction.open(tmp_path)
    assert Reconstruction.open(tmp_path / "cartesian_grid_velocity_zCMB.dat").model.startswith("CORAS")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda path: (path / "twompp_density.npy").unlink(), "fields must be a zarr directory"),
        (lambda path: (path / "twompp_density.npy").write_bytes(b"no array"), "must be readable"),
        (lambda path: np.save(path / "twompp_density.npy", np.zeros((5, 5, 5))), "cubes of one mesh"),
        (lambda path: np.save(path / "twompp_velocity.npy", np.zeros((5, 5, 5))), "three components"),
        (lambda path: np.save(path / "twompp_density.npy", np.zeros((5, 5))), "one value on a cube"),
        (lambda path: np.save(path / "twompp_velocity.npy", np.array([{}])), "must be readable"),
    ],
)
def test_broken_releases_are_refused(tmp_path, break_it, message):
    break_it(carrick(tmp_path))
    with pytest.raises(InputError, match=message):
        Reconstruction.open(tmp_path)
