import warnings

import numpy as np
import pytest
from astropy.table import Table

import peculiar
from peculiar.catalogues import read_table, to_cartesian, to_sky
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.sky import directions
from peculiar.catalogues.survey import make_survey
from peculiar.catalogues.tables import read_pieces
from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.linear.bao import bao_shifts

COSMOLOGY = PRESETS["xiao2024"]
IN_A_BOX = {
    "options": peculiar.CatalogueOptions(box_size=200.0, redshift=0.5, line_of_sight="z"),
    "model": "iterative",
    "cells": 32,
}


def cap(count, seed):
    """Clumpy points within 30 degrees of (ra, dec) = (0, 0), 60 to 180 Mpc/h away."""
    rng = np.random.default_rng(seed)
    along, angle = rng.uniform(np.cos(np.radians(30)), 1, count), rng.uniform(0, 2 * np.pi, count)
    across = np.sqrt(1 - along**2)
    unit = np.stack([along, across * np.cos(angle), across * np.sin(angle)], axis=1)
    return unit * rng.uniform(60**3, 180**3, count)[:, None] ** (1 / 3)


def on_sky(points):
    ra, dec, z = to_sky(points, cosmology=COSMOLOGY)
    z = convert_redshift(z, directions(ra, dec), source="cmb", target="heliocentric")
    return Table({"TARGETID": np.arange(len(points)), "RA": ra, "DEC": dec, "Z": z})


def distances(table):
    z = convert_redshift(table["Z"], directions(table["RA"], table["DEC"]), source="heliocentric")
    return to_cartesian(table["RA"], table["DEC"], redshift=z, cosmology=COSMOLOGY)


@pytest.mark.parametrize("convention", ["recsym", "reciso"])
def test_a_survey_and_its_randoms_are_shifted_on_the_sky(tmp_path, monkeypatch, convention):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(read_pieces.__kwdefaults__, "rows", 3500)
    points, randoms = cap(6000, 1), cap(80000, 2)
    points[:100] *= 1.5  # beyond the limits
    on_sky(points).write("data.fits")
    on_sky(randoms[:50000]).write("ran_0.fits")
    on_sky(randoms[50000:]).write("ran_1.fits")
    survey = make_survey(
        {"frame": "heliocentric", "randoms": "ran_*.fits", "distances": (60.0, 175.0), "cell_size": 8.0}
    )
    with pytest.warns(UserWarning, match="objects lie outside the mask, the distance range or the box"):
        done = peculiar.reconstruct_file(
            "data.fits",
            out="o.zarr",
            options=peculiar.CatalogueOptions(survey=survey),
            model="iterative",
            shifted=peculiar.BaoOptions(
                bao="moved.fits", bao_randoms="moved_ran.parquet", bao_convention=convention, bao_bias=1.5
            ),
        )
    assert [path.name for path in done.written] == ["o.zarr", "moved.fits", "moved_ran.parquet"]
    moved, random = Table.read("moved.fits"), read_table("moved_ran.parquet")
    assert moved.meta["SMOOTH"] == 15.0
    assert random.meta["rectype"] == convention
    # FITS drops a space where it cuts a long comment.
    assert '"bao_smoothing":15.0' in "".join(moved.meta["comments"]).replace(" ", "")
    seen = np.linalg.norm(points, axis=1)
    assert 5000 < len(moved) <= ((seen >= 60) & (seen <= 175)).sum()
    assert (seen[moved["TARGETID"]] <= 175).all()
    assert len(random) > 0.9 * 80000 * (175**3 - 60**3) / (180**3 - 60**3)
    made = peculiar.Reconstruction.open("o.zarr")
    catalogue = Catalogue(
        points[moved["TARGETID"]], made.box, made.redshift, "radial", observer=(0.0, 0.0, 0.0),
        completeness=made["completeness"], light_cone=True,
    )  # fmt: skip
    shifts = bao_shifts(catalogue, cells=max(made.box.shape), cosmology=COSMOLOGY, bias=1.5)
    np.testing.assert_allclose(distances(moved), shifts.data(), atol=2e-3)
    names = np.concatenate([np.arange(50000), np.arange(30000)])
    first = random["TARGETID"] == names[: len(random)]
    assert first[:3].any()
    before = randoms[:50000][np.asarray(random["TARGETID"][:20000])]
    np.testing.assert_allclose(distances(random[:20000]), shifts.randoms(before, convention), atol=2e-3)


def test_a_box_and_random_points_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 200, (2000, 3))
    Table({"X": points[:, 0], "Y": points[:, 1], "Z": points[:, 2], "id": np.arange(2000)}).write("box.fits")
    peculiar.reconstruct_file(
        "box.fits",
        out="o.zarr",
        **IN_A_BOX,
        shifted=peculiar.BaoOptions(
            bao="moved.fits", bao_randoms="random.fits", bao_smoothing=20.0, bao_bias=2.0
        ),
    )
    moved, random = Table.read("moved.fits"), Table.read("random.fits")
    assert moved.colnames == ["X", "Y", "Z", "id"]
    assert len(random) == 40000
    shifts = bao_shifts(
        Catalogue(points, Box(200.0), 0.5), cells=32, cosmology=COSMOLOGY, smoothing=20.0, bias=2.0
    )
    np.testing.assert_allclose(np.stack([moved[name] for name in "XYZ"], axis=1), shifts.data(), atol=1e-6)
    assert random.meta["SEED"] == 0


@pytest.mark.parametrize("ending", ["fits", "h5", "parquet", "ecsv", "csv"])
def test_smoothing_and_convention_are_kept_or_told(tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).uniform(0, 200, (2000, 3))
    Table(dict(zip("xyz", points.T, strict=True))).write("box.fits")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        peculiar.reconstruct_file(
            "box.fits",
            out="o.zarr",
            **IN_A_BOX,
            shifted=peculiar.BaoOptions(
                bao=f"d.{ending}", bao_randoms=f"r.{ending}", bao_convention="reciso"
            ),
        )
    for name in ("d", "r"):
        kept = {key.lower(): value for key, value in read_table(f"{name}.{ending}").meta.items()}
        assert (kept.get("smooth"), kept.get("rectype")) == (
            (None, None) if ending == "csv" else (15.0, "reciso")
        )
    words = "d.csv and r.csv have no place for SMOOTH = 15.0, RECTYPE = reciso, BIAS = "
    assert any(str(one.message).startswith(words) for one in told) == (ending == "csv")


def test_what_cannot_be_shifted_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    on_sky(cap(300, 1)).write("data.fits")
    on_sky(cap(300, 2)).write("randoms.fits")
    for settings, options, words in (
        ({"mask": "m.fits"}, {"bao_randoms": "r.fits"}, "--bao-randoms must have randoms to shift"),
        (
            {"randoms": "randoms.fits", "groups": "collapse"},
            {"bao": "d.fits"},
            "must be of galaxies, got groups = .collapse.: give --groups ignore",
        ),
        (
            {"randoms": "data.fits"},
            {"bao": "d.fits"},
            "--randoms must be random points, got .* is the catalogue",
        ),
    ):
        with pytest.raises(InputError, match=words):
            peculiar.reconstruct_file(
                "data.fits",
                out="o.zarr",
                options=peculiar.CatalogueOptions(survey=make_survey({"frame": "cmb", **settings})),
                shifted=peculiar.BaoOptions(**options),
            )
    with pytest.raises(InputError, match="smoothing must be >= 0"):
        peculiar.BaoOptions(bao_smoothing=-1.0)
    with pytest.raises(InputError, match="a table's name must end in"):
        peculiar.BaoOptions(bao="shifted.xyz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.fits", "randoms.fits"]
