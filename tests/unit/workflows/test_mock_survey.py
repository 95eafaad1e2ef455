"""Mock surveys from small boxes: what is written is what is read."""

import tomllib

import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import load_survey, read_survey, to_catalogue
from peculiar.catalogues.luminosity import FluxLimit, Schechter
from peculiar.core import PRESETS, Box
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.fields.files import read_fields
from peculiar.workflows.mock import make_mocks
from peculiar.workflows.mock_settings import MockSettings
from peculiar.workflows.mock_survey import survey_text

COSMOLOGY = PRESETS["wang2024"]
APEX = np.array([0.5, 0.5, np.sqrt(0.5)])  # of the survey's cap of 30 degrees
LIMITS = (30.0, 90.0)


def cap(limits, count, seed=1):
    """Random places in the survey's cap."""
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(40 * count, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit = unit[unit @ APEX > np.cos(np.radians(30))][:count]
    return unit * rng.uniform(limits[0] ** 3, limits[1] ** 3, len(unit))[:, None] ** (1 / 3)


def described(path, **changes):
    return load_survey(path).with_changes(changes)


def make(run, out, survey, *, density=4e-3, seeds=(1001,), galaxies=None, force=False, **settings):
    settings = MockSettings(number_density=density, **settings)
    return make_mocks(
        run, out=out, settings=settings, survey=survey, galaxies=galaxies, seeds=seeds, force=force
    )


def test_a_survey_read_back_is_the_mock(box_run, cap_survey, tmp_path):
    """Positions, frame, n(r), completeness, velocities and fields of a mock are those of the box."""
    summary = make(box_run, tmp_path / "mock", described(cap_survey), seeds=[1001, 1002], satellites=0.2)
    assert sorted(path.name for path in (tmp_path / "mock").iterdir()) == [
        ".peculiar.json", "mask.fits", "mock-01001.fits", "mock-01001.zarr", "mock-01002.fits", "mock-01002.zarr",
        "run.json", "survey.toml",
    ]  # fmt: skip
    table = Table.read(tmp_path / "mock" / "mock-01001.fits")
    assert summary.objects["mock-01001.fits"] == len(table)
    again = load_survey(tmp_path / "mock" / "survey.toml")
    sample = read_survey(table, again, cosmology=COSMOLOGY)
    assert sample.kept.all()

    # redshift space from the truth, exactly
    real = np.stack([table[f"{axis}_real"] for axis in "xyz"], axis=1)
    distance = np.linalg.norm(real, axis=1)
    sight = real / distance[:, None]
    velocities = np.stack([table[f"v{axis}"] for axis in "xyz"], axis=1)
    along = (velocities * sight).sum(axis=1)
    np.testing.assert_allclose(table["v_los"], along, rtol=1e-5, atol=1e-3)
    assert along.std() > 100
    z = (1 + COSMOLOGY.redshift_at(distance)) * (1 + along / SPEED_OF_LIGHT) - 1
    np.testing.assert_allclose(table["z_cosmological"], COSMOLOGY.redshift_at(distance), rtol=1e-6)
    expected = sight * COSMOLOGY.comoving_distance(z)[:, None]
    assert np.abs(sample.positions - expected).max() < 0.05
    assert np.abs(table["Z_HELIO"] - z).max() > 5e-4  # the Sun's motion

    # counts: in all, along the line of sight, and where half of the objects are seen
    volume = sample.mask.solid_angle * (LIMITS[1] ** 3 - LIMITS[0] ** 3) / 3
    counts = []
    for name in summary.objects:
        one = read_survey(tmp_path / "mock" / name, again, cosmology=COSMOLOGY)
        counts.append(one.kept.sum())
        near, far = (np.linalg.norm(one.positions, axis=1) < 76, np.linalg.norm(one.positions, axis=1) >= 76)
        assert near.sum() / far.sum() == pytest.approx((76**3 - 30**3) / (90**3 - 76**3), rel=0.3)
        half = (one.mask.at(one.positions) == 0.5).sum()
        assert half / (len(one.kept) - half) == pytest.approx(0.5, abs=0.08)
    assert np.mean(counts) == pytest.approx(4e-3 * volume, rel=0.2)  # structure, and Poisson

    # the fields are those of the box about the objects
    fields = read_fields(tmp_path / "mock" / "mock-01001.zarr")
    assert set(fields) == {"density", "velocity", "momentum", "completeness"}
    box = fields["velocity"].box
    assert (box.cell_size, box.periodic) == (5.0, False)
    made = to_catalogue(sample, sample.box()).catalogue
    assert made.box == box
    np.testing.assert_allclose(made.completeness.data, fields["completeness"].data, atol=1e-6)
    inside = box.contains(real)
    there = fields["velocity"].at(real[inside])
    residual = velocities[inside] - there
    assert np.median(np.abs(residual)) < 60  # 30 km/s about the flow; satellites move more
    assert np.corrcoef(velocities[inside].ravel(), there.ravel())[0, 1] > 0.7


def test_n_of_r_is_that_of_the_surveys_galaxies(box_run, cap_survey, tmp_path):
    """A flux-limited survey: its luminosity function is measured, laid into the box, and found again in the mock."""
    limit, shape = FluxLimit(14.0, absolute=(-23.0, -18.0)), Schechter(-20.3, -1.1)
    places = cap(LIMITS, 3000)
    rng = np.random.default_rng(4)
    z = COSMOLOGY.redshift_at(np.linalg.norm(places, axis=1))
    grid = np.linspace(-23, -18, 4001)
    cumulative = shape.integral(-23.0, grid)
    magnitude = np.interp(rng.uniform(0, cumulative[-1], len(z)), cumulative, grid) + limit.offset(
        z, cosmology=COSMOLOGY
    )
    x, y, up = places.T
    galaxies = Table(
        {
            "ra": np.degrees(np.arctan2(y, x)),
            "dec": np.degrees(np.arcsin(up / np.linalg.norm(places, axis=1))),
        }
    )
    galaxies["z"], galaxies["R"] = z, magnitude
    galaxies = galaxies[magnitude < 14.0]
    galaxies.write(tmp_path / "galaxies.fits")
    flux = described(
        cap_survey, radial="flux-limited", flux_limit=limit, columns={"z": "z", "magnitude": "R"}, frame="cmb"
    )
    original = read_survey(tmp_path / "galaxies.fits", flux, cosmology=COSMOLOGY)
    with pytest.warns(UserWarning, match="are not used"):
        assert to_catalogue(original, original.box()).catalogue.flux_limited
    for choice in ("massive", "random"):
        make(
            box_run,
            tmp_path / choice,
            flux,
            galaxies=tmp_path / "galaxies.fits",
            density=None,
            choice=choice,
            masses=True,
        )
        sample = read_survey(
            tmp_path / choice / "mock-01001.fits",
            load_survey(tmp_path / choice / "survey.toml"),
            cosmology=COSMOLOGY,
        )
        assert sample.kept.mean() > 0.99
        assert sample.luminosity_function.M_star == pytest.approx(
            original.luminosity_function.M_star, abs=0.35
        )
        r = np.array([35.0, 60.0, 85.0])
        np.testing.assert_allclose(sample.n_of_r.at(r), original.n_of_r.at(r), rtol=0.25)
        far = np.linalg.norm(sample.positions, axis=1) > 75
        ratio = np.median(sample.masses[far]) / np.median(sample.masses[~far])
        assert (ratio > 1.3) == (
            choice == "massive"
        )  # only the massive are bright enough to be seen far away
        relation = np.corrcoef(np.log(sample.masses), np.log(sample.luminosities))[0, 1]
        assert (relation > 0.6) == (choice == "massive")


def test_a_box_of_the_survey_is_the_mesh_of_the_truth(box_run, cap_survey, tmp_path):
    boxed = described(cap_survey, box={"size": 48.0, "origin": [10.0, 10.0, 20.0]})
    make(box_run, tmp_path / "mock", boxed, satellites=0.0)
    make(box_run, tmp_path / "all", described(cap_survey), satellites=0.0)
    part, whole = (read_fields(tmp_path / name / "mock-01001.zarr")["velocity"] for name in ("mock", "all"))
    assert part.box == Box(50.0, 10, origin=(10.0, 10.0, 20.0), periodic=False)  # whole cells
    assert part.numpy().std() > 50
    again = load_survey(tmp_path / "mock" / "survey.toml")
    sample = read_survey(tmp_path / "mock" / "mock-01001.fits", again, cosmology=COSMOLOGY)
    with pytest.warns(UserWarning, match="outside the mask, the distance range or the box"):
        to_catalogue(sample, sample.box())
    assert sample.total == pytest.approx(len(Table.read(tmp_path / "all" / "mock-01001.fits")), rel=0.15)
    table = Table.read(tmp_path / "mock" / "mock-01001.fits")
    real = np.stack([table[f"{axis}_real"] for axis in "xyz"], axis=1)
    inside = part.box.contains(real)
    residual = np.stack([table[f"v{axis}"] for axis in "xyz"], axis=1)[inside] - part.at(real[inside])
    assert residual.std() < 80
    assert whole.box.size == 120.0


def test_survey_files_say_what_they_were_made_of():
    survey = load_survey("sdss_dr7").with_changes(
        {"flux_limit": FluxLimit(17.6), "radial": "flux-limited", "columns": {"z": 'a "z"'}}
    )
    read = tomllib.loads(survey_text(survey))
    assert read["frame"] == "heliocentric"
    assert read["columns"]["z"] == 'a "z"'
    assert read["flux_limit"]["faintest"] == 17.6
    assert read["distances"] == [80.0, 312.0]
