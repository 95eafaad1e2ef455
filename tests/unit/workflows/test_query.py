import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import Table
from typer.testing import CliRunner

import peculiar
from peculiar.catalogues import directions
from peculiar.catalogues.frames import convert_redshift
from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.core.cosmologies import cosmology_settings
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.query import query, query_file

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(160.0, 32, origin=(-80.0, -80.0, -80.0), periodic=False)
OBSERVER = (0.0, 0.0, 0.0)
C = 299792.458


def sky_field(speed, delta=0.0):
    """A field whose velocity is a function of the mesh's x, y, z."""
    x, y, z = np.meshgrid(*(BOX.coordinates(axis) for axis in range(3)), indexing="ij")
    data = np.stack(np.broadcast_arrays(*speed(x, y, z), x)[:3]).astype(np.float32)
    velocity = Field(torch.from_numpy(data), BOX, names=("x", "y", "z"), unit="km/s", kind="vector")
    density = Field(torch.full((1, 32, 32, 32), float(delta)), BOX, names=("density",))
    return Reconstruction({"velocity": velocity, "density": density}, COSMOLOGY, observer=OBSERVER)


def write(path, sky, *, names=("velocity", "density"), **attributes):
    given = {"observer": list(OBSERVER), "cosmology": cosmology_settings(COSMOLOGY)} | attributes
    given = {key: value for key, value in given.items() if value is not None}
    peculiar.write_fields(path, {name: sky[name] for name in names}, attributes=given)
    return path


def run(*arguments):
    from peculiar.cli import app

    return CliRunner().invoke(app, ["query", *map(str, arguments)])


def test_a_uniform_flow_has_its_part_along_the_line_of_sight_everywhere():
    sky = sky_field(lambda x, y, z: (300.0, -200.0, 100.0), delta=0.5)
    ra, dec = np.array([0.0, 90.0, 180.0, 45.0]), np.array([0.0, 0.0, 0.0, 60.0])
    result = query(sky, ra=ra, dec=dec, z=0.02)
    expected = directions(ra, dec) @ [300.0, -200.0, 100.0]
    np.testing.assert_allclose(result.v_los, expected, atol=0.01)
    np.testing.assert_allclose(result.velocities, [[300.0, -200.0, 100.0]] * 4, atol=0.01)
    np.testing.assert_allclose(result.delta, 0.5, atol=1e-6)
    np.testing.assert_allclose(result.v_los_own, expected, atol=0.5)
    np.testing.assert_allclose(result.z_cosmological, 1.02 / (1 + result.v_los_own / C) - 1, rtol=1e-9)
    assert (result.v_los_scatter < 0.01).all()
    assert (result.solutions == 1).all()
    # r^2 draws the mean place away by 2 sigma^2 / r.
    distance = np.linalg.norm(result.positions_real, axis=1)
    true = COSMOLOGY.comoving_distance(result.z_cosmological)
    np.testing.assert_allclose(distance, true + 2 * 1.5 * 2.0**2 / true, atol=0.05)


def test_the_place_of_an_outflow_is_found_and_not_that_of_the_redshift():
    sky = sky_field(lambda x, y, z: (20.0 * x, 20.0 * y, 20.0 * z))  # km/s, away from the observer
    z = np.array([0.01, 0.02])
    result = query(sky, ra=30.0, dec=[20.0, -70.0], z=z, sigma=20.0)
    naive = 20.0 * COSMOLOGY.comoving_distance(z)
    np.testing.assert_allclose(result.v_los, naive / 1.2, rtol=0.005)
    there = query(sky, ra=30.0, dec=[20.0, -70.0], z=z, space="real")
    np.testing.assert_allclose(there.v_los, naive, rtol=1e-4)
    np.testing.assert_allclose(there.z_cosmological, z)


def test_three_places_are_counted_and_averaged_where_the_flow_converges():
    # Towards a sheet at x = 50 Mpc/h, faster than the expansion closes the gap.
    sky = sky_field(lambda x, y, z: (-900.0 * np.sinh((x - 50) / 5) / np.cosh((x - 50) / 5) ** 2, 0.0, 0.0))
    z = COSMOLOGY.redshift_at(np.array([50.0, 20.0]))
    result = query(sky, ra=0.0, dec=0.0, z=z)
    assert result.solutions.tolist() == [3, 1]
    assert abs(result.v_los[0]) < 60
    assert result.v_los_scatter[0] > 200
    assert result.v_los_scatter[1] < 50


def test_redshifts_are_converted_from_their_frame():
    sky = sky_field(lambda x, y, z: (5.0 * x, 0.0, 3.0 * y))
    ra, dec, z = np.array([168.0, 20.0]), np.array([-7.0, 50.0]), np.array([0.015, 0.02])
    converted = convert_redshift(z, directions(ra, dec), source="heliocentric")
    found = query(sky, ra=ra, dec=dec, z=z, frame="heliocentric")
    expected = query(sky, ra=ra, dec=dec, z=converted)
    np.testing.assert_array_equal(found.v_los, expected.v_los)
    assert not np.allclose(found.v_los, query(sky, ra=ra, dec=dec, z=z).v_los, atol=1)


def test_objects_outside_have_no_values_and_are_counted(tmp_path):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (100.0, 0.0, 0.0)))
    done = run(path, "--ra", "0,0", "--dec", "0,0", "--z", "0.02,0.5", "--json")
    assert done.exit_code == 0
    assert "1 of 2 objects lie outside the field: NaN" in done.stderr
    first, second = json.loads(done.stdout)
    assert first["v_los"] == pytest.approx(100.0, abs=0.01)
    assert second["v_los"] is None
    assert second["solutions"] == 0
    text = run(path, "--ra", 0, "--dec", "-3.5", "--z", 0.02)
    assert text.exit_code == 0
    assert len(text.stdout.splitlines()) == 2


def test_an_object_of_negative_redshift_has_no_values_and_is_counted(tmp_path):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (100.0, 0.0, 0.0)))
    done = run(path, "--ra", "0,-1", "--dec", "0,0", "--z", "0.02,-0.001", "--json")
    assert done.exit_code == 0
    assert "1 of 2 objects" in done.stderr
    first, second = json.loads(done.stdout)
    assert first["v_los"] == pytest.approx(100.0, abs=0.01)
    assert second["v_los"] is None


@pytest.mark.parametrize("unit", ["rad", "hourangle"])
def test_declared_units_of_a_table_are_obeyed(tmp_path, unit):
    import astropy.units as u

    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (100.0, 50.0, 0.0)))
    places = {"ra": [10.0, 80.0], "dec": [-5.0, 20.0], "z": [0.02, 0.02]}
    table = Table(places)
    table["ra"] = (table["ra"] * u.deg).to(unit)
    table.write(tmp_path / "sn.ecsv")
    done = run(path, "--catalogue", tmp_path / "sn.ecsv", "--out", tmp_path / "out.ecsv")
    assert done.exit_code == 0, done.output
    expected = query(path, **places)
    np.testing.assert_allclose(Table.read(tmp_path / "out.ecsv")["v_los"], expected.v_los)


def test_no_velocity_below_redshift_0_and_where_the_survey_saw_nothing(tmp_path):
    sky = sky_field(lambda x, y, z: (100.0, 0.0, 0.0))
    seen = np.where(BOX.coordinates(0) > 0, 0.6, 0.2)[:, None, None] * np.ones((32, 32, 32))
    completeness = Field(
        torch.from_numpy(seen[None].astype(np.float32)), BOX, names=("completeness",), space="redshift"
    )
    fields = {**sky, "completeness": completeness}
    path = tmp_path / "f.zarr"
    attributes = {"observer": list(OBSERVER), "cosmology": cosmology_settings(COSMOLOGY)}
    peculiar.write_fields(path, fields, attributes=attributes)
    table = Table({"ra": [0.0, 180.0, 0.0, 0.0], "dec": np.zeros(4), "z": [0.015, 0.015, -0.0004, 0.5]})
    table.write(tmp_path / "sn.csv")
    done = run(path, "--catalogue", tmp_path / "sn.csv", "--out", tmp_path / "out.ecsv")
    assert done.exit_code == 0, done.output
    assert "1 of 4 objects have a redshift below 0: NaN" in done.stderr
    assert "1 of 4 objects lie outside the field: NaN" in done.stderr
    assert "1 of 4 objects lie where the survey saw nothing: NaN" in done.stderr
    written = Table.read(tmp_path / "out.ecsv")
    assert np.ma.filled(written["missing"], "").tolist() == ["", "unseen", "z < 0", "outside"]
    assert np.isfinite(np.ma.filled(written["v_los"], np.nan)).tolist() == [True, False, False, False]
    kept = run(path, "--catalogue", tmp_path / "sn.csv", "--out", tmp_path / "kept.ecsv", "--unseen", "keep")
    assert kept.exit_code == 0, kept.output
    assert "1 of 4 objects lie where the survey saw nothing: values are extrapolated" in kept.stderr
    written = Table.read(tmp_path / "kept.ecsv")
    assert np.ma.filled(written["missing"], "").tolist() == ["", "unseen", "z < 0", "outside"]
    np.testing.assert_allclose(np.ma.filled(written["v_los"], np.nan)[:2], [100.0, -100.0], atol=0.01)
    assert np.isnan(np.ma.filled(written["v_los"], np.nan)[2:]).all()


def test_a_table_keeps_its_columns_and_gets_the_answers(tmp_path):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (100.0, 0.0, 0.0)))
    table = Table(
        {"name": ["a", "b"], "RA": [0.0, 180.0], "dec": [0.0, 0.0], "z": [0.02, 0.5], "v_los": [1.0, 2.0]}
    )
    table.write(tmp_path / "sn.fits")
    done = run(path, "--catalogue", tmp_path / "sn.fits", "--out", tmp_path / "out.fits", "--column", "ra=RA")
    assert "the rest frame of z is not stated, and taken as that of the CMB" in done.stderr
    assert done.exit_code == 0, done.output
    written = Table.read(tmp_path / "out.fits")
    assert written["v_los_in"].tolist() == [1.0, 2.0]
    assert written["v_los"][0] == pytest.approx(100.0, abs=0.01)
    assert np.isnan(np.ma.filled(written["v_los"], np.nan)[1])  # astropy masks NaN of FITS files
    assert written["solutions"].tolist() == [1, 0]
    assert written["z_cosmological"].unit is None
    assert "peculiar" in " ".join(written.meta["comments"])
    with pytest.raises(InputError, match="must not exist"):
        query_file(path, tmp_path / "sn.fits", out=tmp_path / "out.fits")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": 6000.0}, "divide velocities in km/s by 299792.458"),
        ({"z": -1.5}, r"z must lie in \(-1, 20\]"),
        ({"ra": [1.0, 2.0], "z": [0.1, 0.1, 0.1]}, "of one length, got 2, 1, 3"),
        ({"ra": 400.0}, r"ra must lie in \[-180, 360\]"),
        ({"dec": np.nan}, r"dec must lie in \[-90, 90\]"),
        ({"frame": "galactic"}, "frame must be one of heliocentric, cmb, local-group"),
        ({"sigma": 0.0}, r"sigma must lie in \[20, 2000\]"),
        ({"space": "sky"}, "space must be 'redshift' or 'real'"),
        ({"ra": np.zeros((2, 2))}, "one-dimensional"),
    ],
)
def test_bad_places_are_refused(changes, message):
    sky = sky_field(lambda x, y, z: (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match=message):
        query(sky, **({"ra": 10.0, "dec": 10.0, "z": 0.02} | changes))


def test_fields_without_what_is_needed_are_refused(tmp_path):
    sky = sky_field(lambda x, y, z: (0.0, 0.0, 0.0))
    place = {"ra": 0.0, "dec": 0.0, "z": 0.02}
    with pytest.raises(InputError, match="must hold velocity and density, got density"):
        query(write(tmp_path / "a.zarr", sky, names=("density",)), **place)
    path = write(tmp_path / "b.zarr", sky, observer=None, line_of_sight="z")
    with pytest.raises(InputError, match=r"must have an observer.*line of sight z.*give an observer"):
        query(path, **place)
    options = [f"--{name}={value}" for name, value in place.items()]
    assert "give --observer X,Y,Z" in run(path, *options).stderr
    assert run(path, *options, "--observer=1,2,3").exit_code == 0
    assert len(query(path, observer=(1.0, 2.0, 3.0), **place)) == 1
    path = write(tmp_path / "c.zarr", sky, cosmology=None)
    with pytest.raises(InputError, match="must have a cosmology"):
        query(path, **place)
    assert run(path, *options, "--cosmology=xiao2024").exit_code == 0
    with pytest.raises(InputError, match="fields must be a zarr directory"):
        query(tmp_path / "none.zarr", **place)
    sky.save(tmp_path / "f.h5")
    assert f"got the HDF5 file {tmp_path / 'f.h5'}: give the zarr" in run(tmp_path / "f.h5", *options).stderr
    units = {**sky, "velocity": sky["velocity"].replace(unit="Mpc/h")}
    with pytest.raises(InputError, match="velocity must be in km/s"):
        query(replace(sky, fields=units), **place)
    halves = {**sky, "density": Field(torch.zeros(1, 16, 16, 16), Box(160.0, 16), names=("density",))}
    with pytest.raises(InputError, match="box"):
        query(replace(sky, fields=halves), **place)


def test_a_table_is_answered_by_a_reconstruction_as_by_its_file(tmp_path):
    sky = sky_field(lambda x, y, z: (100.0, 50.0, 0.0))
    Table({"ra": [10.0], "dec": [-5.0], "z": [0.02]}).write(tmp_path / "sn.ecsv")
    found = query_file(sky, tmp_path / "sn.ecsv", out=tmp_path / "a.ecsv")
    same = query_file(write(tmp_path / "f.zarr", sky), tmp_path / "sn.ecsv", out=tmp_path / "b.ecsv")
    np.testing.assert_array_equal(found.v_los, same.v_los)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ra", 1, "--dec", 2], "needs --ra, --dec and --z"),
        (["--catalogue", "a.fits"], "needs --out"),
        (["--ra", 1, "--dec", 2, "--z", 0.1, "--out", "b.fits"], "are for --catalogue"),
        (["--ra", "x", "--dec", 2, "--z", 0.1], "--ra must be one number that is finite, got 'x'"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (0.0, 0.0, 0.0)))
    done = run(path, *options)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_catalogue_in_a_box_is_told_where_it_goes(tmp_path):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (0.0, 0.0, 0.0)))
    Table({"x": [10.0], "y": [5.0], "z": [2.0]}).write(tmp_path / "box.ecsv")
    done = run(path, "--catalogue", tmp_path / "box.ecsv", "--out", tmp_path / "b.ecsv")
    assert done.exit_code == 2
    assert "a catalogue in a box, which is read with `peculiar reconstruct --box`" in done.stderr


def test_the_package_offers_query(tmp_path):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (0.0, 250.0, 0.0)))
    assert peculiar.query(path, ra=90.0, dec=0.0, z=0.02).v_los[0] == pytest.approx(250.0, abs=0.01)


def test_supernovae_get_their_columns(tmp_path):
    sky = sky_field(lambda x, y, z: (300.0, -200.0, 100.0))
    path = write(tmp_path / "f.zarr", sky)
    ra, dec, z = [0.0, 90.0, 180.0], [0.0, 0.0, 30.0], [0.02, 0.015, 0.3]
    table = Table({"CID": ["a", "b", "c"], "RA": ra, "DEC": dec, "zHEL": z, "VPEC": [1.0, 2.0, 3.0]})
    table.write(tmp_path / "sn.ecsv")
    done = run(path, "--catalogue", tmp_path / "sn.ecsv", "--out", tmp_path / "o.ecsv", "--column", "z=zHEL",
               "--frame", "heliocentric", "--vpec")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "the field has no velocity_error" in done.stderr
    assert "--errors" in done.stderr
    answers = Table.read(tmp_path / "o.ecsv")
    assert answers["VPEC_in"].tolist() == [1.0, 2.0, 3.0]
    assert [answers[name].unit for name in ("VPEC", "VPEC_ERR")] == ["km / s", "km / s"]
    sight = directions(ra, dec)
    np.testing.assert_allclose(answers["VPEC"][:2], (sight @ [300.0, -200.0, 100.0])[:2], atol=0.5)
    cmb = convert_redshift(np.array(z), sight, source="heliocentric")
    np.testing.assert_allclose(
        answers["zHD"][:2], ((1 + cmb) / (1 + np.asarray(answers["VPEC"]) / C) - 1)[:2], rtol=1e-9
    )
    np.testing.assert_allclose(answers["VPEC_ERR"][:2], 200.0, rtol=1e-3)  # of sigma alone: a uniform flow
    assert np.isnan([answers[name][2] for name in ("VPEC", "VPEC_ERR", "zHD")]).all()
    one = run(path, "--ra", 0, "--dec", 0, "--z", 0.02, "--vpec", "--json", "--sigma", 100)
    assert json.loads(one.stdout)[0]["VPEC_ERR"] == pytest.approx(100.0, rel=1e-3)
    refused = run(path, "--ra", 0, "--dec", 0, "--z", 0.02, "--vpec")
    assert refused.exit_code == 2


def test_the_error_of_the_field_is_part_of_vpec_err():
    sky = sky_field(lambda x, y, z: (300.0, 0.0, 0.0))
    error = Field(torch.full((1, 32, 32, 32), 120.0), BOX, names=("velocity_error",), unit="km/s")
    known = replace(sky, fields={**sky.fields, "velocity_error": error})
    result = query(known, ra=0.0, dec=0.0, z=0.02, sigma=150.0)
    assert result.columns(vpec=True)["VPEC_ERR"] == pytest.approx(np.hypot(120.0, 150.0), rel=1e-3)


@pytest.mark.parametrize("suffix", ["fits", "ecsv"])
def test_the_total_error_says_what_is_in_it_and_is_nan_where_nothing_was_seen(tmp_path, suffix):
    # An outflow, so that the places on a sight line differ in velocity.
    sky = sky_field(lambda x, y, z: (20.0 * x, 20.0 * y, 20.0 * z))
    seen = np.where(BOX.coordinates(0) > 0, 1.0, 0.0)[:, None, None] * np.ones((32, 32, 32))
    completeness = Field(
        torch.from_numpy(seen[None].astype(np.float32)), BOX, names=("completeness",), space="redshift"
    )
    error = Field(torch.full((1, 32, 32, 32), 120.0), BOX, names=("velocity_error",), unit="km/s")
    table = Table({"ra": [0.0, 180.0, 0.0], "dec": np.zeros(3), "z": [0.01, 0.01, 0.5]})
    table.write(tmp_path / "sn.ecsv")
    known = replace(sky, fields={**sky.fields, "completeness": completeness, "velocity_error": error})
    for field, parts in ((known, "of the field (v_los_error), the place"), (sky, "none of the field")):
        out = tmp_path / f"out-{len(field)}.{suffix}"
        query_file(field, tmp_path / "sn.ecsv", out=out, sigma=150.0, unseen="keep")
        column = Table.read(out)["v_los_total_error"]
        assert parts in column.description
        assert "motions (150 km/s)" in column.description
        values = np.ma.filled(column, np.nan)
        scatter = Table.read(out)["v_los_scatter"][0]
        assert scatter > 15
        own = 120.0 if field is known else 0.0
        assert values[0] == pytest.approx(np.sqrt(own**2 + scatter**2 + 150.0**2), rel=1e-5)
        assert np.isnan(values).tolist() == [False, field is known, True]
    done = run(write(tmp_path / "f.zarr", sky), "--ra", 0, "--dec", 0, "--z", 0.01)
    assert "total: error of v_los, of the place on the sight line" in done.stderr
    assert done.stdout.split()[:4] == ["v_los", "scatter", "total", "own"]


def comparison(path, *, velocity=(50.0, 0.0, 20.0), covariance=300.0):
    dipole = {"celestial": list(velocity), "celestial_covariance": (covariance * np.eye(3)).tolist()}
    path.mkdir()
    (path / "comparison.json").write_text(json.dumps({"dipole": dipole}))
    return path


def test_an_external_velocity_moves_the_objects_and_its_error_joins(tmp_path):
    sky = sky_field(lambda x, y, z: (300.0, -200.0, 100.0))
    error = Field(torch.full((1, 32, 32, 32), 100.0), BOX, names=("velocity_error",), unit="km/s")
    known = replace(sky, fields={**sky.fields, "velocity_error": error})
    ra, dec = np.array([0.0, 90.0]), np.array([0.0, 50.0])
    found = query(known, ra=ra, dec=dec, z=0.02, external=comparison(tmp_path / "measured"))
    np.testing.assert_allclose(found.v_los, directions(ra, dec) @ [350.0, -200.0, 120.0], atol=0.01)
    np.testing.assert_allclose(found.v_los_error, np.sqrt(100.0**2 + 300.0), rtol=1e-5)
    same = query(known, ra=ra, dec=dec, z=0.02, external=(50.0, 0.0, 20.0))
    np.testing.assert_array_equal(same.v_los, found.v_los)
    np.testing.assert_allclose(same.v_los_error, 100.0, rtol=1e-5)
    path = write(tmp_path / "f.zarr", sky)
    place = [path, "--ra", 0, "--dec", 0, "--z", 0.02, "--json"]
    for given in ("50,0,20", tmp_path / "measured", tmp_path / "measured" / "comparison.json"):
        done = run(*place, "--external", given)
        assert json.loads(done.stdout)[0]["v_los"] == pytest.approx(350.0, abs=0.01), done.output


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("50,0", "--external must be 3 numbers"),
        ("nowhere", "--external must be X,Y,Z in km/s, or a file that exists, got 'nowhere'"),
        ("5000,0,0", "external must be three velocities of at most 3000 km/s"),
        ("broken", "external must be readable"),
        ("several", "must be of one field, got those of 2"),
    ],
)
def test_bad_external_velocities_are_refused(tmp_path, monkeypatch, given, message):
    path = write(tmp_path / "f.zarr", sky_field(lambda x, y, z: (0.0, 0.0, 0.0)))
    for name, text in (("broken", '{"dipole": {}}'), ("several", '{"fields": [1, 2]}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "comparison.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = run(path, "--ra", 0, "--dec", 0, "--z", 0.02, "--external", given)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
