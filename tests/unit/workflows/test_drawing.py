"""Draws in files."""

import numpy as np
import pytest
import torch
from astropy.table import Table

import peculiar
from peculiar.core import InputError

OPTIONS = peculiar.CatalogueOptions(box_size=80.0, line_of_sight="z", redshift=0.5)


@pytest.fixture
def source(tmp_path):
    places = np.random.default_rng(2).uniform(0, 80, (400, 3))
    Table(places, names=("x", "y", "z")).write(tmp_path / "halos.fits")
    return tmp_path / "halos.fits"


def write(source, **more):
    return peculiar.reconstruct_file(source, options=OPTIONS, cells=16, model="wiener", force=True, **more)


@pytest.mark.filterwarnings("ignore:draws are of a box of 80 Mpc/h")
def test_files_hold_the_draws_that_python_makes(source, tmp_path):
    out, objects = tmp_path / "fields.zarr", tmp_path / "objects.fits"
    drawn = peculiar.DrawOptions(draws=3, seed=5)
    write(source, out=out, objects=objects, drawn=drawn)
    stored = peculiar.draws(out)
    assert len(stored) == 3
    assert {"density", "velocity"} == set(stored[0])
    table = Table.read(objects)
    places = np.column_stack([np.asarray(table[name]) for name in "xyz"])
    for index, one in enumerate(stored):
        assert one.record["draw"] == index
        column = table[f"v_los_draw_{index:03d}"]
        assert column.unit == "km / s"
        assert np.corrcoef(column, one.at_objects(places).v_los)[0, 1] > 0.3
    two = peculiar.draws(out, 2, seed=5)
    assert len(list(two)) == 2
    assert two.at_objects(places).v_los.shape == (2, 400)
    with pytest.raises(InputError, match="seed must be that of the file, 5, got 6"):
        peculiar.draws(out, seed=6)
    with pytest.raises(InputError, match="draws must be a whole number of 1 to 1000, got -1"):
        peculiar.draws(out, -1)
    found = stored.at_objects(places)
    np.testing.assert_allclose(found.v_los[2], table["v_los_draw_002"], rtol=1e-4, atol=0.1)
    # The fields themselves are those of a run without draws, and other numbers leave a draw as it is.
    write(source, out=tmp_path / "alone.zarr")
    whole, alone = (peculiar.read_fields(tmp_path / name) for name in ("fields.zarr", "alone.zarr"))
    assert all(torch.equal(whole[name].data, alone[name].data) for name in alone)
    write(source, out=tmp_path / "one.zarr", drawn=peculiar.DrawOptions(draws=1, seed=5))
    assert torch.equal(peculiar.draws(tmp_path / "one.zarr")[0]["velocity"].data, stored[0]["velocity"].data)
    with pytest.raises(InputError, match=r"draws must be in the file, got 0 in .*alone.zarr"):
        peculiar.draws(tmp_path / "alone.zarr")


def test_what_has_no_draws_is_refused_before_the_work(source, tmp_path):
    some = peculiar.DrawOptions(draws=2)
    with pytest.raises(InputError, match="must be of a model that knows what it leaves, got 'iterative FFT"):
        peculiar.reconstruct_file(
            source, options=OPTIONS, cells=16, model="iterative", out=tmp_path / "f.zarr", drawn=some
        )
    with pytest.raises(InputError, match="draws must be a whole number of 1 to 1000, got -2"):
        peculiar.DrawOptions(draws=-2)
    with pytest.raises(InputError, match="seed must come with draws, got seed=0 and draws=0: give") as told:
        peculiar.DrawOptions(seed=0)
    assert told.value.command.startswith("--seed must come with --draws, got --seed 0 alone: give --draws 20")
    assert [path.name for path in tmp_path.iterdir()] == ["halos.fits"]


def test_a_box_with_open_faces_has_draws_whose_unseen_matter_differs(source, tmp_path):
    halos = peculiar.read_catalogue(
        source, box=peculiar.Box(80.0, periodic=False), redshift=0.5, line_of_sight="z"
    )
    made = peculiar.reconstruct(halos, model="wiener", cells=16)
    some = np.array([one["velocity"].data.numpy() for one in peculiar.draws(made, 6)])
    spread = np.sqrt(some.var(axis=0, ddof=1).mean(axis=0))
    # A box of 80 Mpc/h knows little of the flow that carries all of it along.
    assert spread.mean() > 100
    whole = some.mean(axis=(2, 3, 4))
    assert whole.std(axis=0).mean() > 50
    with pytest.raises(InputError, match="before with_errors"):
        peculiar.draws(made.with_errors(), 2)
