import subprocess
import sys

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.inference import tiles
from peculiar.inference.card_values import ErrorFactor
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.inference.tiled import TiledReconstructor
from peculiar.inference.whole import run
from peculiar.linear.survey_inputs import SurveyInputs
from peculiar.linear.wiener_inputs import WienerInputs
from peculiar.models import build

COSMOLOGY = PRESETS["xiao2024"]
pytestmark = [
    pytest.mark.usefixtures("single_precision"),
    pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning"),
]


@pytest.fixture
def model(saved):
    """Averaged over two symmetries, of which one changes axes."""
    model = NeuralReconstructor.load(saved)
    return NeuralReconstructor(model.module, model.card.model_copy(update={"symmetry_average": 2}))


@pytest.fixture
def survey_model(model):
    torch.manual_seed(5)
    spec = SurveyInputs()
    config = {"inputs": list(spec.own), "velocity": "flow", "gains": ["flow"], "width": 4, "blocks": [1]}
    network = build("residual", config).eval()
    torch.nn.init.normal_(network.head.conv.weight, std=0.05)
    return NeuralReconstructor(network, model.card.model_copy(update={"inputs": spec}))


@pytest.fixture
def general_model(model):
    torch.manual_seed(6)
    spec = WienerInputs(conditions=("growth",))
    network = build("general", {"inputs": list(spec.names), "width": 4, "blocks": [1]}).eval()
    torch.nn.init.normal_(network.head.conv.weight, std=0.05)
    factor = ErrorFactor(constant=0.3, slopes={"noise": 0.0}, least={"noise": 0.0}, most={"noise": 0.0})
    return NeuralReconstructor(
        network, model.card.model_copy(update={"inputs": spec, "error_factor": factor})
    )


def tracers(box, **changes):
    random = np.random.default_rng(3)
    count = int(3e-3 * box.volume)
    settings = {"redshift": 0.59, "line_of_sight": "x", "masses": random.uniform(1, 9, count)} | changes
    return Catalogue(random.uniform(0, box.sides, (count, 3)), box, **settings)


def require_equal(network, catalogue, cells, *, allowed, workers=None):
    tiled = TiledReconstructor(network, allowed, workers)
    whole = network.reconstruct(catalogue, cells=cells, cosmology=COSMOLOGY)
    found = tiled.reconstruct(catalogue, cells=cells, cosmology=COSMOLOGY)
    assert list(found) == list(whole)
    for name, field in whole.items():
        assert found[name].box == field.box
        assert found[name].definition == field.definition
        most = field.data.abs().max().item()
        torch.testing.assert_close(found[name].data, field.data, rtol=1e-5, atol=1e-5 * most)


@pytest.mark.parametrize(("cells", "periodic"), [(32, True), (30, True), (32, False)])
def test_tiles_equal_the_whole_in_boxes_of_three_sides(model, cells, periodic):
    """Of 30 cells along a side the network's stride leaves a rest: the mesh goes on with its far side."""
    catalogue = tracers(Box((60.0, 60.0, 30.0), periodic=periodic))
    require_equal(model, catalogue, cells, allowed=6e6)


def test_tiles_of_a_survey_equal_the_whole(survey_model):
    box = Box((75.0, 60.0, 45.0), periodic=False)
    mesh = box.with_cells(30)
    seen = torch.rand(1, *mesh.shape, generator=torch.Generator().manual_seed(1))
    completeness = Field(seen, mesh, ("completeness",), space="redshift")
    catalogue = tracers(
        box, line_of_sight="radial", observer=(30.0, 20.0, -200.0), completeness=completeness, redshift=0.1
    )
    require_equal(survey_model, catalogue, 30, allowed=6e6)


@pytest.mark.parametrize("periodic", [True, False])
def test_tiles_tell_the_errors_of_the_whole(general_model, periodic):
    """A box with faces is seen with a margin, which the fields do not have."""
    catalogue = tracers(Box((120.0, 120.0, 60.0), periodic=periodic))
    require_equal(general_model, catalogue, 32, allowed=6e6)
    fields = general_model.reconstruct(catalogue, cells=32, cosmology=COSMOLOGY)
    assert {field.box for field in fields.values()} == {catalogue.box.with_cells(32)}
    error = "velocity_error" if periodic else "local_error"  # unseen matter adds to it
    assert float(fields[error].data.min()) > 0
    bare = NeuralReconstructor(
        general_model.module, general_model.card.model_copy(update={"error_factor": None})
    )
    told = bare.reconstruct(catalogue, cells=32, cosmology=COSMOLOGY)
    torch.testing.assert_close(fields[error].data, np.exp(0.3) * told[error].data)
    assert torch.equal(fields["velocity"].data, told["velocity"].data)


def turn_bf16_off():
    from contextlib import nullcontext

    from peculiar.inference import whole

    whole.half_precision, whole.before = lambda device: nullcontext(), whole.half_precision


def turn_it_on_again():
    from peculiar.inference import whole

    whole.half_precision = whole.before


def test_tiles_of_workers_equal_the_whole(model, scheduler):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.run(turn_bf16_off)
        try:
            require_equal(model, tracers(Box((60.0, 60.0, 30.0))), 32, allowed=1e9, workers=scheduler)
        finally:
            client.run(turn_it_on_again)


def test_layout_of_tiles_does_not_depend_on_the_number_of_workers(model):
    """Parts that read the inputs have eight tiles at least; those on coarser meshes go whole where they fit."""
    one, eight = (TiledReconstructor(model, 64e9, workers) for workers in (1, 8))
    for stage in model.module.stages():
        assert one._core(stage, side=900) == eight._core(stage, side=900)
        assert one._core(stage, side=64) == (32 if "inputs" in stage.reads else 64)
    assert TiledReconstructor(model, 64e9, 8).memory(Box(20.0, 8)) > 8 * 350_000_000


def test_tiles_are_as_large_as_the_memory_lets_them_be(model):
    stages = model.module.stages()
    for stage in stages:
        small, large = (TiledReconstructor(model, allowed)._core(stage, side=1000) for allowed in (1e8, 8e8))
        assert small % stage.unit == large % stage.unit == 0
        for core, allowed in ((small, 1e8), (large, 8e8)):
            taken = 4 * stage.numbers * (core + 2 * stage.halo) ** 3
            assert 0.7 * allowed < taken <= 0.9 * allowed


def test_tiles_take_4_gb_at_most(model):
    """Larger ones would take what is free for a few per cent of the time: 512^3 stays below 12 GB without a limit."""
    for stage in model.module.stages():
        cores = {
            TiledReconstructor(model, allowed)._core(stage, side=10_000) for allowed in (4e9, 20e9, 1e12)
        }
        (core,) = cores
        assert 3.5e9 < 4.5 * stage.numbers * (core + 2 * stage.halo) ** 3 <= 4e9
    assert TiledReconstructor(model, 20e9).memory(Box(2000.0, 512)) <= 20 * 512**3


@pytest.mark.parametrize("allowed", [6e6, 1e9])
def test_parts_that_fit_whole_are_one_tile_and_equal_the_whole(model, monkeypatch, allowed):
    told = []

    def record(module, *meshes, periodic):
        told.append(periodic)
        return run(module, *meshes, periodic=periodic)

    monkeypatch.setattr(tiles, "run", record)
    require_equal(model, tracers(Box((60.0, 60.0, 30.0))), 32, allowed=allowed)
    assert True in told
    assert all(told) == (allowed > 6e6)


def test_memory_is_that_of_the_inputs_or_of_the_least_tiles(model):
    tiled = TiledReconstructor(model, 1e9)
    assert tiled.memory(Box(1200.0, 512)) <= 20 * 512**3
    least = tiled.memory(Box(75.0, 8))
    assert least == tiled.memory(Box(75.0, 12))
    assert tiled.memory(Box(75.0, 64)) > least


def test_a_network_that_sees_the_whole_mesh_is_refused(model):
    settings = {"in_channels": 1, "channels": [4, 8, 8], "groups": 2}
    network = NeuralReconstructor(build("wang2024", settings), model.card)
    with pytest.raises(InputError, match="must have local layers to go in tiles, got Wang2024"):
        TiledReconstructor(network, 1e9)


def test_the_disk_holds_no_more_than_is_stated(model, monkeypatch, tmp_path):
    taken = []

    def record(module, *meshes, periodic):
        taken.append(sum(path.stat().st_size for path in tmp_path.rglob("c/**/*") if path.is_file()))
        return run(module, *meshes, periodic=periodic)

    monkeypatch.setattr(tiles, "run", record)
    box = Box(80.0)
    tiled = TiledReconstructor(model, 6e6)
    dict(tiled.fields(tracers(box), cells=32, cosmology=COSMOLOGY, scratch=tmp_path))
    stated = tiled.scratch(box.with_cells(32))
    assert 0.5 * stated < max(taken) <= stated


def test_nothing_is_left_in_the_scratch_directory(model, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tiled = TiledReconstructor(model, 1e8)
    fields = tiled.fields(tracers(Box(60.0)), cells=24, cosmology=COSMOLOGY, scratch=scratch)
    name, density = next(fields)
    assert (name, density.box.cells) == ("density", 24)
    assert len(list(scratch.iterdir())) == 1  # the outputs alone
    assert [name for name, _ in fields] == ["density_least_squares", "velocity", "momentum"]
    del fields
    assert not list(scratch.iterdir())


GROWTH = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from peculiar.core import PRESETS, Box, Catalogue
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.inference.tiled import TiledReconstructor

weights, cells, scratch = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
warnings.simplefilter("ignore")
random = np.random.default_rng(1)
box = Box(2.5 * cells)
catalogue = Catalogue(random.uniform(0, box.size, (3000, 3)), box, redshift=0.59, masses=random.uniform(1, 9, 3000))
network = NeuralReconstructor.load(weights)
fields = TiledReconstructor(network, 3e7).fields(
    catalogue, cells=cells, cosmology=PRESETS["xiao2024"], scratch=scratch
)
for name, field in fields:
    assert np.isfinite(field.numpy()).all()
    del field
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_is_20_bytes_a_cell_at_most_and_what_threads_keep(saved, tmp_path):
    taken = []
    for cells in (32, 112):
        scratch = tmp_path / str(cells)
        scratch.mkdir()
        command = [sys.executable, "-c", GROWTH, str(saved), str(cells), str(scratch)]
        taken.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        assert not list(scratch.iterdir())
    assert taken[1] - taken[0] <= 20 * (112**3 - 32**3) + 9e7
