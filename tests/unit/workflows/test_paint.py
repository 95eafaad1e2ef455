import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

import peculiar
from peculiar.cli import app
from peculiar.core import PRESETS, Box, Cosmology, Field, InputError, OutOfRangeWarning, OutputExistsError
from peculiar.fields.files import read_fields, write_fields
from peculiar.inference.model_card import PainterCard, load_model, save_model, task_of
from peculiar.inference.painting import HaloPainter, most_massive
from peculiar.models import build
from peculiar.simulate.matter import matter_fields
from peculiar.workflows.paint import PaintOptions, paint, paint_file, paint_files


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    path = tmp_path_factory.mktemp("fields") / "field.zarr"
    fields = matter_fields(Box(64.0, 16), PRESETS["xiao2024"], seed=3, redshift=0.5)
    write_fields(path, {"density": fields.density, "velocity": fields.velocity})
    return path


def test_the_card_is_a_painters(tiny_painter, painter_entries):
    _, card = load_model(tiny_painter)
    assert isinstance(card, PainterCard)
    assert task_of(card) == "paint"
    with pytest.raises(ValueError, match="one entry for each bin"):
        PainterCard(**(painter_entries | {"mass_edges": (1e12, 1e13)}), weights_sha256="0" * 64)


def test_paint_writes_a_catalogue_that_can_be_read(tiny_painter, tmp_path):
    out = tmp_path / "halos.h5"
    result = CliRunner().invoke(
        app, ["paint", "--box", "64", "--seed", "3", "--out", str(out), "--model", str(tiny_painter)]
    )
    assert result.exit_code == 0, result.output
    halos = peculiar.read_catalogue(out, box=Box(64.0), space="real", redshift=0.5)
    direct = paint(64.0, PaintOptions(seed=3, model=tiny_painter))
    assert np.allclose(halos.positions, direct.positions)
    assert np.allclose(halos.velocities, direct.velocities)
    assert np.allclose(halos.masses, direct.masses)
    assert halos.number_density == pytest.approx(0.5 / 4.0**3, rel=0.15)
    from astropy.table import Table

    table = Table.read(out)
    note = json.loads(table.meta["comments"][0].removeprefix("peculiar "))
    assert note["seed"] == 3
    assert note["settings"]["model"] == "tiny"
    assert table.meta["box_size"] == 64.0
    with pytest.raises(OutputExistsError, match="force=True"):
        paint_file(out, PaintOptions(seed=3, model=tiny_painter), size=64.0)


def test_several_seeds_and_workers_paint_what_each_seed_paints(tiny_painter, density, tmp_path, scheduler):
    options = PaintOptions(seed=0, model=tiny_painter)
    made = paint_files(
        tmp_path / "halos-{seed}.h5", options, seeds=[3, 11], density=density, workers=scheduler
    )
    assert [path.name for path in made] == ["halos-00003.h5", "halos-00011.h5"]
    assert sorted(tmp_path.iterdir()) == made
    for seed, path in zip((3, 11), made, strict=True):
        alone = paint_file(
            tmp_path / "alone.h5", PaintOptions(seed=seed, model=tiny_painter), density=density, force=True
        )
        several, one = (
            peculiar.read_catalogue(name, box=Box(64.0), space="real", redshift=0.5) for name in (path, alone)
        )
        assert np.array_equal(several.positions, one.positions)
        assert np.array_equal(several.masses, one.masses)
    with pytest.raises(InputError, match=r"must have {seed} in its name for 2 seeds.*give .*halos-{seed}.h5"):
        paint_files(tmp_path / "halos.h5", options, seeds=[3, 11], density=density)


def test_a_density_of_the_users_gives_the_same_halos_as_the_box_it_came_from(tiny_painter, density, tmp_path):
    path = paint_file(tmp_path / "halos.fits", PaintOptions(seed=3, model=tiny_painter), density=density)
    halos = peculiar.read_catalogue(path, box=Box(64.0), space="real", redshift=0.5)
    direct = paint(64.0, PaintOptions(seed=3, model=tiny_painter))
    assert np.allclose(halos.positions, direct.positions, atol=1e-4)


def test_a_density_without_velocity_moves_by_linear_theory(tiny_painter, tmp_path):
    fields = matter_fields(Box(64.0, 16), PRESETS["xiao2024"], seed=3, redshift=0.5)
    write_fields(tmp_path / "density.zarr", {"density": fields.density})
    with pytest.warns(OutOfRangeWarning, match="holds no velocity"):
        path = paint_file(
            tmp_path / "halos.csv",
            PaintOptions(seed=3, model=tiny_painter),
            density=tmp_path / "density.zarr",
        )
    halos = peculiar.read_catalogue(path, box=Box(64.0), space="real", redshift=0.5)
    theory = fields.velocity.at(halos.positions)
    assert np.corrcoef(halos.velocities.ravel(), theory.ravel())[0, 1] > 0.7


def test_abundance_and_redshift_space(tiny_painter):
    options = {"seed": 3, "model": tiny_painter, "number_density": 2e-3}
    real, moved = (paint(64.0, PaintOptions(**options, space=space)) for space in ("real", "redshift"))
    assert len(real) == round(2e-3 * 64**3)
    whole = paint(64.0, PaintOptions(seed=3, model=tiny_painter))
    assert real.masses.min() >= np.sort(whole.masses)[-len(real)]
    shift = (moved.positions - real.positions + 32) % 64 - 32
    factor = PRESETS["xiao2024"].redshift_space_factor(0.5)
    assert np.allclose(shift[:, 2], factor * real.velocities[:, 2])
    assert not shift[:, :2].any()


@pytest.mark.parametrize(
    ("size", "match"),
    [
        (float("nan"), "Box.size must be > 0"),
        (float("inf"), "Box.size must be > 0"),
        (64000.0, "must fit in memory|MB left on the disk"),
    ],
)
def test_boxes_that_cannot_be_made_are_refused_before_work(tiny_painter, tmp_path, size, match):
    with pytest.raises(InputError, match=match):
        paint_file(tmp_path / "halos.h5", PaintOptions(seed=1, model=tiny_painter), size=size)
    assert list(tmp_path.iterdir()) == []


def test_the_memory_of_all_painting_workers_is_asked_for_before_the_work(tiny_painter, tmp_path, monkeypatch):
    monkeypatch.setattr("peculiar.core.memory._available", lambda: 1_500_000_000)
    words = r"a painting of 96\^3 cells, by 2 workers at once, must fit in memory, got 2.4 GB"
    with pytest.raises(InputError, match=words):
        paint_files(
            tmp_path / "h-{seed}.h5",
            PaintOptions(seed=1, model=tiny_painter),
            seeds=[1, 2],
            size=384.0,
            workers=2,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"space": "fourier"}, "space must be real or redshift"),
        ({"line_of_sight": "radial"}, "x, y or z"),
        ({"number_density": 1.0}, "at most about 0.00781"),
        ({"number_density": float("nan")}, "number_density must be > 0"),
        ({"redshift": float("nan")}, "redshift must be >= 0"),
        ({"redshift": -1.0}, "redshift must be >= 0"),
        ({"seed": -1}, "seed must lie in 0 to"),
        ({"device": "tpu"}, "device must be auto, cpu"),
        ({"model": "wu2021"}, "must be"),
    ],
)
def test_bad_options_are_refused_before_work(tiny_painter, tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        paint_file(
            tmp_path / "halos.h5", PaintOptions(**({"seed": 1, "model": tiny_painter} | options)), size=64.0
        )


def test_bad_sources_are_refused(tiny_painter, density, tmp_path):
    options = PaintOptions(seed=1, model=tiny_painter)
    for source in ({}, {"size": 64.0, "density": density}):
        with pytest.raises(InputError, match="and not both"):
            paint_file(tmp_path / "halos.h5", options, **source)
    with pytest.raises(InputError, match="must end in"):
        paint_file(tmp_path / "halos.txt", options, size=64.0)
    with pytest.raises(InputError, match="near a multiple of 8 Mpc/h"):
        paint(44.0, options)
    write_fields(
        tmp_path / "squeezed.zarr",
        {"density": Field(torch.zeros(1, 16, 16, 16), Box(64.0, 16), ["density"], space="redshift")},
    )
    with pytest.raises(InputError, match="real space, got redshift"):
        paint_file(tmp_path / "halos.h5", options, density=tmp_path / "squeezed.zarr")


def test_boxes_that_the_painter_does_not_know_are_refused_or_warned_of(tiny_painter):
    painter, cosmology = HaloPainter.load(tiny_painter), PRESETS["xiao2024"]
    with pytest.raises(InputError, match="use 16 cells"):
        painter.check(Box(64.0, 32), cosmology, redshift=0.5)
    with pytest.raises(InputError, match="even along each side"):
        painter.check(Box(60.0, 15), cosmology, redshift=0.5)
    with pytest.raises(InputError, match="periodic"):
        painter.check(Box(64.0, 16, periodic=False), cosmology, redshift=0.5)
    with pytest.warns(OutOfRangeWarning, match="redshift 1 differs"):
        painter.check(Box(64.0, 16), cosmology, redshift=1.0)
    with pytest.warns(OutOfRangeWarning, match="cell size 4.25"):
        painter.check(Box(68.0, 16), cosmology, redshift=0.5)


def test_tiles_paint_what_the_whole_mesh_paints(tiny_painter):
    field = matter_fields(Box(128.0, 32), PRESETS["xiao2024"], seed=3, redshift=0.5, per_cell=1).density
    whole, tiled = (HaloPainter.load(tiny_painter, max_side=side) for side in (64, 24))
    epoch = {"cosmology": PRESETS["xiao2024"], "redshift": 0.5}
    mean, again = (painter.mean_counts(field, **epoch).data for painter in (whole, tiled))
    assert torch.allclose(mean, again, rtol=0.02)
    drawn, again = (painter.counts(field, **epoch, seed=1).data for painter in (whole, tiled))
    assert (drawn != again).float().mean() < 0.002
    assert drawn.mean(dim=(1, 2, 3)).tolist() == pytest.approx(mean.mean(dim=(1, 2, 3)).tolist(), rel=0.1)


def test_abundance_must_be_there(tiny_painter):
    halos = paint(64.0, PaintOptions(seed=3, model=tiny_painter))
    with pytest.raises(InputError, match="the objects that there are"):
        most_massive(halos, 1.0)


def test_a_painter_with_conditions_knows_cosmology_and_epoch(painter_entries, density, tmp_path):
    form = {"amplitude": -1.4, "slope": 1.8, "scale": -0.7, "cutoff": 1.2, "matter": -0.06}
    resolution = {"lost": 1.57, "fading": 0.28, "tilt": -0.1, "excess": 1.9, "spacing": 0.9, "fewest": 12}
    inputs = ["log_density", "expected_0", "expected_1", "growth", "Omega_m"]
    configuration = painter_entries["configuration"] | {"inputs": inputs}
    entries = painter_entries | {
        "configuration": configuration,
        "conditions": ("growth", "Omega_m"),
        "mass_function": form | resolution,
    }
    torch.manual_seed(1)
    network = build("painter", configuration)
    torch.nn.init.zeros_(network.mean.conv.weight)
    save_model(network, tmp_path, **entries)
    painter = HaloPainter.load(tmp_path / "tiny.safetensors")
    field = read_fields(density)["density"]
    for cosmology, redshift in ((PRESETS["xiao2024"], 0.5), (Cosmology(Omega_m=0.35), 1.5)):
        mean = painter.mean_counts(field, cosmology=cosmology, redshift=redshift).data
        expected = painter.card.mass_function.density((1e12, 1e13, 1e15), cosmology, redshift) * 64
        assert np.allclose(mean.mean(dim=(1, 2, 3)), expected, rtol=1e-4)
        assert painter.number_density(cosmology, redshift) == pytest.approx(expected.sum() / 64)
    late, early = (painter.halo_properties(PRESETS["xiao2024"], z) for z in (0.0, 1.5))
    assert late.mass_quantiles[1][1] > early.mass_quantiles[1][1]
    assert max(late.velocity_dispersion) > max(early.velocity_dispersion)
    with pytest.raises(ValidationError, match="configuration.inputs must be log_density, growth"):
        PainterCard(**(entries | {"mass_function": None}), weights_sha256="0" * 64)
