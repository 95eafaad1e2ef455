"""`peculiar simulate --kind painted`: boxes of the format of N-body boxes, with 2LPT for the truth."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from peculiar.cli import app
from peculiar.core import PRESETS, Box, InputError, OutOfRangeWarning
from peculiar.inference.model_card import save_model
from peculiar.inference.painted_boxes import PaintedSettings
from peculiar.inference.painting import HaloPainter
from peculiar.models import build
from peculiar.simulate.boxes import BoxSettings
from peculiar.simulate.initial import linear_field
from peculiar.simulate.mass_function import MassFunction
from peculiar.simulate.matter import matter_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps
from peculiar.workflows.paint import PaintOptions, paint
from peculiar.workflows.simulate import run_cosmology, simulate_run

COSMOLOGY = PRESETS["xiao2024"]


@pytest.fixture(scope="module")
def settings(tiny_painter):
    return PaintedSettings(size=64.0, cells=24, model=str(tiny_painter))


@pytest.fixture(scope="module")
def run(tmp_path_factory, settings):
    out = tmp_path_factory.mktemp("painted") / "run"
    return simulate_run(out, seeds=[3, 4], settings=settings, device="cpu")


@pytest.fixture(scope="module")
def box(run):
    return SimulatedBox.open(run[0])


def test_the_truth_is_2lpt_of_the_seed(box):
    assert (box.seed, box.redshift, box.box, box.cosmology) == (3, 0.5, Box(64.0, 24), COSMOLOGY)
    theory = matter_fields(box.box, COSMOLOGY, seed=3, redshift=0.5)
    assert torch.allclose(box.density.data, theory.density.data)
    assert torch.allclose(box.velocity.data, theory.velocity.data)
    linear = linear_field(box.box, COSMOLOGY, seed=3, redshift=0.5)
    assert torch.allclose(box.linear_density.data[0], linear)


def test_steps_move_the_truth_as_the_particle_mesh_does_and_leave_the_halos(tmp_path, settings, box):
    few = dataclasses.replace(settings, steps=Steps(5))
    path = simulate_run(tmp_path / "few", seeds=[3], settings=few, device="cpu")[0]
    stepped = SimulatedBox.open(path)
    assert np.array_equal(stepped.halos.positions, box.halos.positions)
    meshed = matter_fields(box.box, COSMOLOGY, seed=3, redshift=0.5, dynamics="particle mesh")

    def off(found):
        return (found.velocity.data - meshed.velocity.data).square().mean().item()

    assert off(stepped) < 0.3 * off(box)
    with pytest.raises(InputError, match="redshift must be >= 0 and below 9"):
        PaintedSettings(redshift=9.5, steps=Steps(5))


def test_halos_are_those_of_peculiar_paint(box, tiny_painter):
    painted = paint(64.0, PaintOptions(seed=3, model=tiny_painter, device="cpu"))
    assert (np.diff(box.halos.masses) <= 0).all()
    order = np.argsort(-painted.masses, kind="stable")
    assert np.array_equal(box.halos.masses, painted.masses[order])
    assert np.allclose(box.halos.positions, painted.positions[order], atol=1e-4)
    assert np.allclose(box.halos.velocities, painted.velocities[order], rtol=1e-4, atol=1e-2)
    assert box.halos.positions.max() < 64


def test_catalogues_have_satellites(box):
    galaxies = box.catalogue(2e-3, satellite_fraction=0.25, space="real")
    assert len(galaxies) == round(2e-3 * 64**3)
    apart = np.abs(galaxies.positions[:, None] - box.halos.positions)
    distance = np.minimum(apart, 64 - apart).max(axis=2).min(axis=1)
    off = distance > 1e-4
    assert off.mean() == pytest.approx(0.25, abs=0.03)
    assert distance.max() < 6


def test_painted_halos_have_no_particles(box):
    with pytest.raises(InputError, match="got painted ones in .*--kind boxes"):
        MassFunction.fitted([box])


def test_the_record_names_the_painter(run, tiny_painter):
    record = json.loads((run[0].parent / "run.json").read_text())
    card = HaloPainter.load(tiny_painter).card
    assert record["painter"] == {"name": "tiny", "weights_sha256": card.weights_sha256}
    assert record["settings"]["redshift"] == 0.5
    assert run_cosmology(run[0].parent) == COSMOLOGY


def test_a_run_holds_one_kind_and_can_go_on(run, settings, tiny_painter):
    out = run[0].parent
    before = run[0].read_bytes()
    assert len(simulate_run(out, seeds=[3, 5], settings=settings, resume=True, device="cpu")) == 2
    assert run[0].read_bytes() == before
    with pytest.raises(InputError, match="other settings"):
        simulate_run(out, seeds=[6], settings=BoxSettings(size=64.0, particles=16, cells=8))
    with pytest.raises(InputError, match=r"other settings \(cells 24 there, 16 here\): use another"):
        simulate_run(out, seeds=[6], settings=PaintedSettings(size=64.0, cells=16, model=str(tiny_painter)))


def test_what_the_painter_does_not_know_is_refused_or_warned_of(tmp_path, tiny_painter):
    with pytest.raises(InputError, match="near a multiple of 8 Mpc/h"):
        simulate_run(
            tmp_path, seeds=[1], settings=PaintedSettings(size=44.0, cells=24, model=str(tiny_painter))
        )
    with pytest.raises(InputError, match="task 'paint'"):
        simulate_run(tmp_path, seeds=[1], settings=PaintedSettings(model="wu2021"))
    with pytest.raises(InputError, match="cells must be even, got 25: use 26"):
        PaintedSettings(cells=25)
    with pytest.raises(InputError, match="per_cell must be >= 1, got 0"):
        PaintedSettings(per_cell=0)
    assert list(tmp_path.iterdir()) == []
    far = PaintedSettings(size=64.0, cells=16, redshift=2.0, model=str(tiny_painter))
    with pytest.warns(OutOfRangeWarning, match="redshift"):
        simulate_run(tmp_path, seeds=[1], settings=far, device="cpu")


def test_the_command_refuses_options_of_other_kinds(tmp_path, tiny_painter):
    def call(*options):
        return CliRunner().invoke(app, ["simulate", str(tmp_path / "run"), "--seeds", "1", *options])

    done = call("--kind", "painted", "--model", str(tiny_painter), "--box", "64", "--cells", "16")
    assert done.exit_code == 0, done.output
    assert SimulatedBox.open(tmp_path / "run" / "box-00001.h5").box == Box(64.0, 16)
    for options, name in (
        (("--kind", "painted", "--particles", "16"), "--particles"),
        (("--kind", "boxes", "--model", str(tiny_painter)), "--model"),
        (("--kind", "pairs", "--cells", "16"), "--cells"),
    ):
        refused = call(*options)
        assert refused.exit_code != 0
        assert f"{name} must not be given" in str(refused.exception) + refused.output


@pytest.fixture(scope="module")
def mesh_painter(tmp_path_factory, painter_entries):
    """A painter for the density of a particle mesh with two particles in a cell of 4 Mpc/h."""
    torch.manual_seed(2)
    directory = tmp_path_factory.mktemp("mesh-painter")
    entries = painter_entries | {"name": "mesh", "dynamics": "particle mesh"}
    save_model(build("painter", entries["configuration"]), directory, **entries)
    return str(directory / "mesh.safetensors")


@pytest.fixture(scope="module")
def matter(tmp_path_factory):
    out = tmp_path_factory.mktemp("matter") / "run"
    settings = BoxSettings(size=64.0, particles=32, cells=16, redshift=0.5)
    simulate_run(out, seeds=[3], settings=settings, device="cpu")
    return out


def test_halos_are_painted_on_the_matter_of_another_run(tmp_path, matter, mesh_painter):
    settings = PaintedSettings(model=mesh_painter, matter=str(matter), host_mass=1e13)
    path = simulate_run(tmp_path / "run", seeds=[3], settings=settings, device="cpu")[0]
    painted, simulated = SimulatedBox.open(path), SimulatedBox.open(matter / "box-00003.h5")
    assert (painted.box, painted.redshift, painted.cosmology) == (
        simulated.box,
        simulated.redshift,
        simulated.cosmology,
    )
    assert torch.equal(painted.velocity.data, simulated.velocity.data)
    assert torch.equal(painted.linear_density.data, simulated.linear_density.data)
    assert len(painted.halos) != len(simulated.halos)
    assert painted.halos.masses[painted.members.host].min() >= 1e13
    # painted without the run: the same particle mesh, so the same halos
    alone = PaintedSettings(size=64.0, cells=16, model=mesh_painter)
    path = simulate_run(tmp_path / "alone", seeds=[3], settings=alone, device="cpu")[0]
    again = SimulatedBox.open(path)
    assert torch.allclose(again.density.data, painted.density.data, atol=1e-4)


def test_matter_must_be_the_painters(tmp_path, matter, mesh_painter, tiny_painter):
    def refuse(match, *, seeds=(3,), cosmology=None, **changes):
        settings = PaintedSettings(**{"model": mesh_painter, "matter": str(matter)} | changes)
        with pytest.raises(InputError, match=match):
            simulate_run(tmp_path / "run", seeds=seeds, settings=settings, cosmology=cosmology)

    refuse("second order.*give another model, as 'survey-painter'", model=str(tiny_painter))
    refuse("box of every seed", seeds=(3, 4))
    refuse("own", cosmology=COSMOLOGY)
    refuse("own", size=100.0)
    refuse("steps must not be given with matter", steps=Steps(5))
    other = tmp_path / "coarse"
    simulate_run(other, seeds=[3], settings=BoxSettings(size=64.0, particles=16, cells=8, redshift=0.5))
    refuse("cells of model", matter=str(other))
    drawn = tmp_path / "drawn"
    settings = BoxSettings(size=64.0, particles=32, cells=16, redshift=0.5, cosmologies="latin")
    simulate_run(drawn, seeds=[3, 4], settings=settings)
    refuse("one cosmology, got another in .*box-00004.h5", seeds=(3, 4), matter=str(drawn))
    with pytest.raises(InputError, match="host_mass"):
        PaintedSettings(host_mass=-1.0)
    assert not (tmp_path / "run").exists()
