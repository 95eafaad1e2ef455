import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import Table, vstack
from typer.testing import CliRunner

import peculiar
from peculiar.catalogues import directions
from peculiar.catalogues.distances import read_distances
from peculiar.catalogues.frames import convert_redshift, to_galactic
from peculiar.core import PRESETS, Box, Field, InputError, InputWarning
from peculiar.core.cosmologies import cosmology_settings
from peculiar.fields.calculus import displacement
from peculiar.fields.smooth import gaussian
from peculiar.inference.reconstruction import Reconstruction
from peculiar.simulate.distances import DistanceMockSettings, mock_distances
from peculiar.simulate.initial import linear_field
from peculiar.workflows.compare import CompareOptions, compare

COSMOLOGY = PRESETS["xiao2024"]
C = 299792.458
BOX = Box(200.0, 32, origin=(-100.0, -100.0, -100.0))
EXTERNAL = (150.0, 0.0, -100.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A field on disk and a table of distances from it, heliocentric."""
    directory = tmp_path_factory.mktemp("compare")
    density = linear_field(BOX, COSMOLOGY, seed=11, redshift=0.0)[None]
    density = gaussian(Field(density, BOX, names=("density",)), 7.0)
    data = COSMOLOGY.velocity_factor(0.0) * displacement(density.data[0], BOX)
    velocity = Field(data, BOX, names=("x", "y", "z"), unit="km/s", kind="vector")
    attributes = {"observer": [0.0, 0.0, 0.0], "cosmology": cosmology_settings(COSMOLOGY)}
    peculiar.write_fields(
        directory / "field.zarr", {"velocity": velocity, "density": density}, attributes=attributes
    )
    settings = DistanceMockSettings(
        count=400, observer=(0.0, 0.0, 0.0), modulus_error=(0.05, 0.15), external=EXTERNAL, zero_point=0.5
    )
    mock = mock_distances(velocity, density, settings, cosmology=COSMOLOGY, seed=1)
    longitude, latitude = to_galactic(mock.directions)
    redshift = convert_redshift(mock.redshift, mock.directions, source="cmb", target="heliocentric")
    table = Table(
        {
            "l": longitude,
            "b": latitude,
            "cz": C * redshift,
            "mu": mock.modulus,
            "mu_error": mock.modulus_error,
        }
    )
    table.write(directory / "distances.ecsv")
    return directory


def run(made, *arguments):
    from peculiar.cli import app

    given = ["compare", made / "distances.ecsv", "--field", made / "field.zarr", *arguments]
    return CliRunner().invoke(app, list(map(str, given)))


def test_json_has_beta_dipole_sigma_and_correlations_with_their_errors(made, tmp_path):
    out = tmp_path / "comparison"
    done = run(made, "--frame", "heliocentric", "--bootstraps", 20, "--json", "--out", out)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["objects"] == 400
    assert found["beta"] == pytest.approx(1, abs=3.5 * found["beta_error"])
    assert found["sigma_v"] == pytest.approx(150, abs=3.5 * found["sigma_v_error"])
    assert found["zero_point"] == pytest.approx(0.5, abs=3.5 * found["zero_point_error"])
    assert found["H0"] == pytest.approx(100 * 10 ** (-found["zero_point"] / 5))
    dipole = found["dipole"]
    pulls = (np.array(dipole["celestial"]) - EXTERNAL) / dipole["celestial_error"]
    assert (np.abs(pulls) < 3.5).all()
    assert dipole["speed"] == pytest.approx(np.linalg.norm(dipole["galactic"]))
    longitude, latitude = to_galactic(np.array([dipole["celestial"]]))
    assert (dipole["l"], dipole["b"]) == pytest.approx((longitude[0], latitude[0]))
    assert dipole["chi2"] > 11
    assert len(found["shells"]) == 4
    assert sum(shell["objects"] for shell in found["shells"]) == 400
    for shell in found["shells"]:
        assert abs(shell["r"] - shell["r_expected"]) < 4 * shell["r_error"]
    assert 0.7 < found["chi2_per_object"] < 1.3

    assert sorted(path.name for path in out.iterdir()) == [
        ".peculiar.json", "comparison.json", "objects.ecsv", "provenance.json", "velocities.pdf", "velocities.png"
    ]  # fmt: skip
    kept = json.loads((out / "comparison.json").read_text())
    assert kept["beta"] == found["beta"]
    made_by = json.loads((out / "provenance.json").read_text())
    assert made_by["settings"]["frame"] == "heliocentric"
    objects = Table.read(out / "objects.ecsv")
    assert len(objects) == 400
    noise = np.hypot(objects["v_error"], found["sigma_v"])
    assert ((objects["v_measured"] - objects["v_predicted"]) / noise).std() == pytest.approx(1, abs=0.15)
    again = run(made, "--frame", "heliocentric", "--out", out)
    assert again.exit_code == 2
    assert "must not exist" in again.stderr
    forced = run(made, "--frame", "heliocentric", "--bootstraps", 10, "--out", out, "--force")
    assert forced.exit_code == 0, forced.stderr


def test_text_says_what_was_found_and_the_wrong_frame_shows(made):
    done = run(made, "--frame", "cmb", "--bootstraps", 10, "--shells", "1000,5000,7000", "--sigma-v", 150)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "objects", "beta", "dipole", "sigma_v", "zero", "chi2", "evidence", "r", "r", "r"
    ]  # fmt: skip
    assert "cz = 1000 to 5000 km/s" in lines[-2]


def test_objects_beyond_the_field_are_left_out_and_counted(made):
    table = Table.read(made / "distances.ecsv")
    for row in range(5):
        table["cz"][row] = 60000.0
    catalogue = read_distances(table, frame="heliocentric")
    options = CompareOptions(frame="heliocentric", bootstraps=10, radial="measured")
    found = compare(made / "field.zarr", catalogue, options)
    assert found.missing == ("5 of 400 objects lie outside the field",)
    assert found.catalogue.used[:6].tolist() == [False] * 5 + [True]
    table["cz"] = 60000.0
    with pytest.raises(InputError, match="at least 20 objects in the field, got 0 of 400"):
        compare(made / "field.zarr", read_distances(table, frame="cmb"), options)


def test_repeated_rows_are_refused(made):
    table = Table.read(made / "distances.ecsv")
    catalogue = read_distances(vstack([table] * 3), frame="heliocentric")
    with pytest.raises(InputError, match="got 800 of 1200 rows that repeat another exactly"):
        compare(made / "field.zarr", catalogue, CompareOptions(frame="heliocentric", bootstraps=10))


def test_objects_that_the_survey_did_not_see_are_left_out(made):
    sky = Reconstruction.open(made / "field.zarr")
    seen = np.where(BOX.coordinates(2) > 0, 1.0, 0.0) * np.ones((32, 32, 32))
    completeness = sky["density"].replace(
        data=torch.from_numpy(seen[None].astype(np.float32)), names=("completeness",), space="redshift"
    )
    catalogue = read_distances(made / "distances.ecsv", frame="heliocentric")
    half = replace(sky, fields={**sky, "completeness": completeness})
    found = compare(half, catalogue, CompareOptions(frame="heliocentric", bootstraps=10))
    (line,) = found.missing
    assert line.endswith("of 400 objects lie where the survey saw nothing")
    assert (found.catalogue.directions[:, 2] > -0.2).all()
    assert found.record()["missing"] == [line]


def test_the_measured_selection_hardly_changes_beta(made):
    catalogue = read_distances(made / "distances.ecsv", frame="heliocentric")
    flat = compare(made / "field.zarr", catalogue, CompareOptions(frame="heliocentric", bootstraps=10))
    measured = compare(
        made / "field.zarr", catalogue, CompareOptions(frame="heliocentric", bootstraps=10, radial="measured")
    )
    assert measured.fit.beta == pytest.approx(flat.fit.beta, abs=0.03)
    assert measured.fit.beta != flat.fit.beta


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frame", "cmb", "--bootstraps", 9], "bootstraps must lie in [10, 100000]"),
        (["--frame", "cmb", "--bootstraps", 10**20], "bootstraps must lie in [10, 100000]"),
        (["--frame", "cmb", "--seed", -1], "seed must lie in 0 to"),
        (["--frame", "cmb", "--density-bias", -1], "density_bias must lie in [0, 5]"),
        (["--frame", "cmb", "--sigma-v", 5, "--bootstraps", 10], "sigma_v must lie in [50, 1000]"),
        (["--frame", "cmb", "--shells", "5000,1000", "--bootstraps", 10], "increasing limits"),
        (["--frame", "cmb", "--shells", "-5,-1", "--bootstraps", 10], "limits >= 0 km/s"),
        (["--frame", "cmb", "--cz", "5000"], "--cz must be 2 numbers"),
        (["--frame", "cmb", "--column", "distance=mu"], "columns must map"),
    ],
)
def test_bad_options_are_refused(made, arguments, message):
    done = run(made, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_an_unknown_frame_or_none_is_refused(made):
    assert run(made, "--frame", "galactic").exit_code == 2
    assert run(made).exit_code == 2


def test_celestial_directions_are_taken_too(made):
    table = Table.read(made / "distances.ecsv")
    first = read_distances(table, frame="heliocentric")
    x, y, z = first.directions.T
    table["ra"], table["dec"] = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(z))
    np.testing.assert_allclose(directions(table["ra"], table["dec"]), first.directions, atol=1e-12)
    np.testing.assert_allclose(
        read_distances(table, frame="heliocentric").directions, first.directions, atol=1e-8
    )


@pytest.fixture(scope="module")
def fields(made):
    """The right field, and one that is turned a quarter about the z axis: as smooth, and wrong."""
    right = Reconstruction.open(made / "field.zarr")
    turned = torch.rot90(right["velocity"].data, 1, (1, 2))
    turned = torch.stack([-turned[1], turned[0], turned[2]])
    density = right["density"].replace(data=torch.rot90(right["density"].data, 1, (1, 2)))
    wrong = {"velocity": right["velocity"].replace(data=turned), "density": density}
    peculiar.write_fields(made / "turned.zarr", wrong, attributes=right.attributes())
    return made


def test_fields_are_ranked_on_the_same_objects(fields, tmp_path):
    from peculiar.cli import app

    out = tmp_path / "ranking"
    command = [
        *("compare", fields / "distances.ecsv", "--frame", "heliocentric", "--bootstraps", 30),
        *("--field", fields / "turned.zarr", "--field", fields / "field.zarr", "--out", out, "--json"),
    ]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["best"] == str(fields / "field.zarr")
    assert found["order"] == [str(fields / name) for name in ("field.zarr", "turned.zarr")]
    wrong, right = found["fields"]
    assert wrong["objects"] == right["objects"] == 400
    (gain,) = found["differences"]
    assert gain["log_evidence"] == pytest.approx(right["log_evidence"] - wrong["log_evidence"])
    assert gain["log_likelihood"] > 3 * gain["log_likelihood_error"] > 0
    assert gain["r_without_dipole"] > 2 * gain["r_without_dipole_error"] > 0
    assert gain["r"] == pytest.approx(right["r"] - wrong["r"])
    # The fitted dipole alone correlates with the measured velocities, whatever the field.
    assert wrong["r"] > wrong["without_dipole"]["r"] + 0.05
    assert sorted(path.name for path in out.iterdir()) == [
        ".peculiar.json", "comparison.json", "field-1", "field-2", "provenance.json"
    ]  # fmt: skip
    assert json.loads((out / "field-2" / "comparison.json").read_text())["field"] == found["best"]
    assert len(Table.read(out / "field-1" / "objects.ecsv")) == 400


def test_a_field_is_as_good_as_itself_and_objects_outside_one_are_used_for_none(fields):
    from peculiar.workflows.compare import compare_fields
    from peculiar.workflows.comparison import summary

    sky = Reconstruction.open(fields / "field.zarr")
    seen = np.where(BOX.coordinates(2) > 0, 1.0, 0.0) * np.ones((32, 32, 32))
    completeness = sky["density"].replace(
        data=torch.from_numpy(seen[None].astype(np.float32)), names=("completeness",), space="redshift"
    )
    half = replace(sky, fields={**sky, "completeness": completeness}, model="half")
    catalogue = read_distances(fields / "distances.ecsv", frame="heliocentric")
    options = CompareOptions(frame="heliocentric", bootstraps=10)
    found = compare_fields([half, sky, half], catalogue, options)
    (line,) = {line.partition(": ")[2] for line in found.missing}
    assert line.endswith("lie where the survey saw nothing")
    assert {len(one.catalogue) for one in found.comparisons} == {len(found.comparisons[0].catalogue)}
    assert len(found.comparisons[1].catalogue) < 400
    for name, value in found.difference(0, 1).items():
        assert value == pytest.approx(0, abs=1e-9), name
    assert "half (1) - half (3): r +0.000 +- 0.000" in summary(found)


def test_draws_take_the_error_of_the_field_out_of_sigma_v(made, tmp_path):
    """Objects move with a draw of the field, whose error is in sigma_v beside the field and not beside its draws."""
    field = Reconstruction.open(made / "field.zarr")

    def drawn(seed):
        wave = gaussian(
            Field(linear_field(BOX, COSMOLOGY, seed=seed, redshift=0.0)[None], BOX, names=("d",)), 14.0
        )
        flow = COSMOLOGY.velocity_factor(0.0) * displacement(wave.data[0], BOX)
        flow *= 200 / flow.std()
        return {
            "velocity": field["velocity"].replace(data=field["velocity"].data + flow),
            "density": field["density"],
        }

    out = tmp_path / "field.zarr"
    peculiar.write_fields(out, field.fields, attributes=field.attributes())
    for index in range(20):
        peculiar.write_fields(
            out / "draws" / f"{index:03d}", drawn(40 + index), attributes=field.attributes()
        )
    truth = drawn(99)
    settings = DistanceMockSettings(count=400, observer=(0.0, 0.0, 0.0), modulus_error=(0.02, 0.03))
    mock = mock_distances(truth["velocity"], truth["density"], settings, cosmology=COSMOLOGY, seed=2)
    longitude, latitude = to_galactic(mock.directions)
    columns = {
        "l": longitude,
        "b": latitude,
        "z": mock.redshift,
        "mu": mock.modulus,
        "mu_error": mock.modulus_error,
    }
    distances = read_distances(Table(columns), frame="cmb")
    alone = compare(out, distances, CompareOptions(bootstraps=10))
    among = compare(out, distances, CompareOptions(bootstraps=10, draws=True))
    assert among.fit.sigma_v < alone.fit.sigma_v - 30
    assert among.fit.sigma_v == pytest.approx(150, abs=40)
    assert among.fit.beta == pytest.approx(1, abs=0.25)
    assert (alone.record()["draws"], among.record()["draws"]) == (0, 20)
    for index in range(3, 20):
        shutil.rmtree(out / "draws" / f"{index:03d}")
    with pytest.warns(InputWarning, match="draws should be at least 20 for a mean of likelihoods, got 3"):
        compare(out, distances, CompareOptions(bootstraps=10, draws=True))
    with pytest.raises(InputError, match="draws must be in the file, got 0"):
        compare(made / "field.zarr", distances, CompareOptions(draws=True))
    with pytest.raises(InputError, match="must be given as the files"):
        compare(field, distances, CompareOptions(draws=True))
