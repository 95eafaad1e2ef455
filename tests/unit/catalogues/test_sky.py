import healpy
import numpy as np
import pytest
from astropy.io import fits

from peculiar.catalogues import SkyMask, directions, read_mask, survey_box, to_cartesian, to_sky
from peculiar.catalogues.sky import sky_directions
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)


def test_axes_of_the_sky():
    unit = directions(np.array([0.0, 90.0, 123.0]), np.array([0.0, 0.0, 90.0]))
    np.testing.assert_allclose(unit, np.eye(3), atol=1e-12)


def test_sky_to_space_and_back_from_any_observer():
    rng = np.random.default_rng(0)
    ra, dec, z = rng.uniform(0, 360, 500), rng.uniform(-89, 89, 500), rng.uniform(0.01, 1.5, 500)
    observer = (100.0, -20.0, 3.0)
    positions = to_cartesian(ra, dec, redshift=z, cosmology=COSMOLOGY, observer=observer)
    back = to_sky(positions, cosmology=COSMOLOGY, observer=observer)
    np.testing.assert_allclose(back[0], ra, atol=1e-8)
    np.testing.assert_allclose(back[1], dec, atol=1e-8)
    np.testing.assert_allclose(back[2], z, rtol=1e-6)


def test_distance_is_the_hubble_law_nearby():
    position = to_cartesian(np.array([0.0]), np.array([0.0]), redshift=np.array([1e-3]), cosmology=COSMOLOGY)
    assert position[0, 0] == pytest.approx(2.998, rel=1e-3)  # c z / 100 Mpc/h


@pytest.mark.parametrize(
    ("ra", "dec", "z", "message"),
    [
        (-190.0, 0.0, 0.1, "ra must lie in .-180, 360., got 1 of 2 rows outside .first: row 1, -190"),
        (370.0, 0.0, 0.1, "ra must lie"),
        (10.0, 91.0, 0.1, "dec must lie in"),
        (10.0, 0.0, -0.001, "z must lie in.*approach"),
        (10.0, 0.0, 21000.0, "velocities in km/s"),
    ],
)
def test_coordinates_out_of_range(ra, dec, z, message):
    with pytest.raises(InputError, match=message):
        to_cartesian(
            np.array([1.0, ra]), np.array([1.0, dec]), redshift=np.array([0.1, z]), cosmology=COSMOLOGY
        )


def cap(nside=16, half_angle=40.0):
    """A polar cap and the map of it."""
    theta, _ = healpy.pix2ang(nside, np.arange(12 * nside**2))
    return (theta < np.radians(half_angle)).astype(float)


@pytest.mark.parametrize("nest", [False, True])
def test_mask_in_either_order(tmp_path, nest):
    values = cap()
    healpy.write_map(tmp_path / "mask.fits", healpy.reorder(values, r2n=True) if nest else values, nest=nest)
    mask = read_mask(tmp_path / "mask.fits")
    assert mask.nside == 16
    np.testing.assert_allclose(mask.values, values)
    np.testing.assert_array_equal(mask.at(np.array([[0.0, 0.1, 5.0], [3.0, 0.0, 0.1]])), [1.0, 0.0])
    assert mask.solid_angle == pytest.approx(2 * np.pi * (1 - np.cos(np.radians(40))), rel=0.03)


def test_mask_of_part_of_the_sky_with_unseen_pixels(tmp_path):
    values = np.where(cap() > 0, 0.8, healpy.UNSEEN)
    healpy.write_map(tmp_path / "mask.fits", values, partial=True)
    mask = read_mask(tmp_path / "mask.fits")
    np.testing.assert_allclose(np.unique(mask.values), [0.0, 0.8], rtol=1e-6)
    assert read_mask(tmp_path / "mask.fits", complete_above=0.7).values.max() == 1.0


def test_mask_in_galactic_coordinates(tmp_path):
    healpy.write_map(tmp_path / "mask.fits", cap(), coord="G")
    mask = read_mask(tmp_path / "mask.fits")
    north_galactic_pole = directions(np.array([192.859]), np.array([27.128]))
    assert mask.at(north_galactic_pole) == 1.0
    assert mask.at(-north_galactic_pole) == 0.0
    edge = np.radians(35.0)  # towards the galactic centre, and inside the cap by more than a pixel
    centre = directions(np.array([266.405]), np.array([-28.936]))
    assert mask.at(np.cos(edge) * north_galactic_pole + np.sin(edge) * centre) == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(1000), "12 nside"),
        (np.ones(12 * 9), "12 nside"),
        (np.full(48, 2.0), "from 0 to 1, got 2 to 2"),
        (np.full(48, -1.0), "from 0 to 1"),
        (np.full(48, np.nan), "finite, got 48"),
        (np.zeros(48), "cover some of the sky"),
    ],
)
def test_maps_that_are_no_masks(values, message):
    with pytest.raises(InputError, match=message):
        SkyMask(values)


def test_a_mask_of_another_size_than_it_says(tmp_path):
    healpy.write_map(tmp_path / "mask.fits", cap(), dtype=np.float64)
    with fits.open(tmp_path / "mask.fits") as hdus:
        hdus[1].header["NSIDE"] = 32
        hdus[1].header["LASTPIX"] = 12 * 32**2 - 1
        hdus.writeto(tmp_path / "wrong.fits")
    with pytest.raises(InputError, match="mask must"):
        read_mask(tmp_path / "wrong.fits")


def test_mask_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="a file that exists"):
        read_mask(tmp_path / "none.fits")
    healpy.write_map(tmp_path / "mask.fits", cap())
    content = (tmp_path / "mask.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="whole HEALPix map"):
        read_mask(tmp_path / "cut.fits")
    fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="whole HEALPix map"):
        read_mask(tmp_path / "image.fits")
    for content, looks in ((b"x,y\n1,2\n", "text"), (bytes(3000), "nothing that is known")):
        (tmp_path / "other.fits").write_bytes(content)
        with pytest.raises(InputError, match=f"other.fits', which looks like {looks}: write it with healpy"):
            read_mask(tmp_path / "other.fits")


@pytest.mark.parametrize("frame", ["ICRS", "FK5", "fk5", "Equatorial", "C"])
def test_celestial_masks_are_not_rotated(tmp_path, frame):
    healpy.write_map(tmp_path / "mask.fits", cap(), dtype=np.float64, extra_header=[("COORDSYS", frame)])
    mask = read_mask(tmp_path / "mask.fits")
    assert mask.frame == "celestial"
    np.testing.assert_array_equal(mask.values, cap())


@pytest.mark.parametrize("frame", ["E", "FK4"])
def test_masks_in_other_frames_are_refused(tmp_path, frame):
    healpy.write_map(tmp_path / "mask.fits", cap(), dtype=np.float64, extra_header=[("COORDSYS", frame)])
    with pytest.raises(InputError, match="rotate the map"):
        read_mask(tmp_path / "mask.fits")


@pytest.mark.parametrize("partial", [True, False])
def test_further_columns_of_a_mask_are_named(tmp_path, partial):
    values = np.where(cap() > 0, cap(), healpy.UNSEEN)
    healpy.write_map(
        tmp_path / "mask.fits",
        [values, values],
        dtype=np.float64,
        partial=partial,
        column_names=["COMP", "DEPTH"],
    )
    with pytest.warns(UserWarning, match="mask.fits has several columns: COMP is used, DEPTH not"):
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.fits").values, cap())


def test_a_partial_mask_that_claims_a_fine_map(tmp_path, monkeypatch):
    table = fits.BinTableHDU.from_columns(
        [fits.Column("PIXEL", "J", array=[1, 2]), fits.Column("SIGNAL", "D", array=[1.0, 1.0])]
    )
    table.header.update(
        PIXTYPE="HEALPIX", ORDERING="RING", NSIDE=16384, INDXSCHM="EXPLICIT", OBJECT="PARTIAL"
    )
    table.writeto(tmp_path / "mask.fits")
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 1_000_000_000)
    with pytest.raises(InputError, match="a mask of NSIDE = 16384 must fit in memory, got 155 GB"):
        read_mask(tmp_path / "mask.fits")


def test_longitudes_from_minus_180():
    ra = np.array([-170.0, -0.5, 359.5])
    found = sky_directions(ra, np.zeros(3))
    np.testing.assert_allclose(found, sky_directions(ra % 360, np.zeros(3)), atol=1e-15)


def test_survey_box_holds_all_with_a_margin():
    rng = np.random.default_rng(3)
    positions = rng.uniform((-50, 10, 0), (70, 60, 20), (1000, 3))
    box = survey_box(positions, cell_size=2.5, padding=10.0)
    assert box.cell_size == 2.5
    assert all(cells % 8 == 0 for cells in box.shape)
    assert not box.periodic
    corner = np.asarray(box.origin)
    assert (positions.min(axis=0) - corner >= 10).all()
    assert (corner + box.sides - positions.max(axis=0) >= 10).all()
    for side, extent in zip(box.sides, (120, 50, 20), strict=True):
        assert side < extent + 20 + 8 * 2.5


def test_survey_box_of_too_many_cells():
    with pytest.raises(InputError, match="at most 4096 cells"):
        survey_box(np.array([[0.0, 0, 0], [1e5, 0, 0]]), cell_size=2.0)
