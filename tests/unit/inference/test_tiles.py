from functools import partial

import pytest
import torch
import zarr

from peculiar.core import InputError
from peculiar.core.channels import vector
from peculiar.core.workers import crew
from peculiar.fields.symmetry import IDENTITY, apply_symmetry, invert_symmetry, symmetries
from peculiar.inference import tiles as tiles_module
from peculiar.inference.grids import _CHUNK, Frame, Grid
from peculiar.inference.tiles import apply_network, apply_stages, apply_tiles, stages_of, tile_halo
from peculiar.inference.views import View
from peculiar.inference.whole import apply_isolated, apply_whole, run
from peculiar.models import build
from peculiar.models.stages import Stage

pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("side", "core"), [(16, 8), (20, 8), (17, 6), (24, 24)])
def test_tiles_equal_the_whole(network, mesh, side, core, periodic):
    inputs = mesh(side)
    whole = apply_whole(network, inputs, periodic=periodic)
    tiles = apply_tiles(network, inputs, core=core, periodic=periodic)
    torch.testing.assert_close(tiles, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def deep(levels, blocks, **settings):
    """A network of our architecture, all of whose weights matter."""
    torch.manual_seed(3)
    names = ["tracers", *vector("other"), *vector("flow")]
    settings |= {"inputs": names, "velocity": "flow", "width": 4, "levels": levels, "blocks": blocks}
    module = build("general", settings)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(24, 32, 16), (20, 17, 30)])
@pytest.mark.parametrize("conditions", [(), ("tracers", "other_x")])
@pytest.mark.parametrize(("levels", "blocks"), [(1, [2]), (2, [1, 2]), (3, [1, 2, 1])])
def test_levels_by_themselves_equal_the_whole_in_boxes_of_three_sides(
    levels, blocks, conditions, shape, periodic
):
    network = deep(levels, blocks, conditions=conditions)
    inputs = torch.randn(7, *shape, generator=torch.Generator().manual_seed(1))
    whole = apply_whole(network, inputs, periodic=periodic)
    found = apply_tiles(network, inputs, core=16, periodic=periodic)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5 * whole.abs().max().item())


@pytest.mark.parametrize("symmetry", [IDENTITY, symmetries()[13], symmetries()[29]])
def test_turned_tiles_of_a_survey_equal_the_turned_whole(symmetry):
    """A survey ends at its faces: the mesh is filled up with zeros, behind the side that is last when it is turned."""
    network, vectors = deep(3, [1, 2, 1]), ((1, 2, 3), (4, 5, 6))
    inputs = torch.randn(7, 20, 17, 30, generator=torch.Generator().manual_seed(1))
    turned = apply_symmetry(inputs, symmetry, vectors=vectors)
    outputs = apply_stages(
        stages_of(network),
        [View(inputs, symmetry, vectors, beyond=torch.zeros(7))],
        vectors=vectors,
        frame=partial(Frame.of, multiple=4, periodic=False, isolated=True),
        core=lambda stage: 8,
        make=lambda stage, shape, chunks: torch.empty(shape),
    )
    whole = apply_symmetry(apply_isolated(network, turned), invert_symmetry(symmetry), vectors=vectors)
    torch.testing.assert_close(outputs, whole, rtol=1e-5, atol=1e-5 * whole.abs().max().item())


def deadly(network, mark):
    """A network that kills the first worker that evaluates it, once half of the mesh is there."""

    def apply(inputs, *, periodic):
        import os
        import signal
        from pathlib import Path

        count = len(list(Path(mark).parent.glob("outputs/c/**/*")))
        if count > 20 and not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return network(inputs, periodic=periodic)

    return apply


def test_a_killed_worker_changes_no_tile(network, mesh, tmp_path, scheduler):
    inputs = zarr.create_array(tmp_path / "inputs", data=mesh(24).numpy(), chunks=(7, 10, 10, 10))
    found = []
    for name in ("calm", "deadly"):
        (tmp_path / name).mkdir()
        mark = tmp_path / name / "killed"
        if name == "calm":
            mark.touch()
        stage = Stage(("inputs",), "outputs", 7, 1, 2, tile_halo(network), 100, deadly(network, mark))
        with crew(scheduler, tasks=8) as hands:
            outputs = apply_stages(
                [stage],
                [View(inputs)],
                frame=partial(Frame.of, multiple=2, periodic=True),
                core=lambda stage: 12,
                make=lambda stage, shape, chunks, place=mark.parent / "outputs": zarr.create_array(
                    place, shape=shape, chunks=(1, *chunks), dtype="float32"
                ),
                crew=hands,
            )
        assert mark.exists()
        found.append(torch.from_numpy(outputs[:]))
    assert torch.equal(*found)
    assert (found[0] != 0).all()


def test_a_worker_that_does_not_see_the_files_is_told(network, mesh, tmp_path):
    inputs = zarr.create_array(tmp_path / "inputs", data=mesh(8).numpy())
    (tmp_path / "inputs").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"workers must see .*, got one without {tmp_path}"):
        View(inputs).require()


@pytest.mark.parametrize("core", [32, 34, 36, 70, 100, 180, 250])
@pytest.mark.parametrize("side", [24, 96, 100, 450, 768])
def test_tiles_are_whole_chunks(core, side):
    for stage in stages_of(deep(3, [1, 2, 2])):
        cells = -(-side // 4) * 4
        grid = Grid.of(stage, core // stage.unit * stage.unit, (cells,) * 3)
        (own,), (chunk,) = set(grid.own), set(grid.chunks)
        assert own <= core
        assert chunk < 2 * _CHUNK
        assert own // stage.coarseness % chunk == 0 or own >= cells


def test_no_part_sees_beyond_a_level():
    """The whole network sees 44 cells; each of its parts less than half of them."""
    network = deep(3, [1, 2, 2])
    assert tile_halo(network) == 44
    assert [stage.halo for stage in stages_of(network)] == [4, 8, 16, 8, 6]


def test_a_halo_below_the_reach_would_show(network, mesh, monkeypatch):
    inputs = mesh(16)
    assert tile_halo(network) >= network.reach
    monkeypatch.setattr(Stage, "halo", 2)
    whole = apply_whole(network, inputs)
    assert (apply_tiles(network, inputs, core=8) - whole).abs().max() > 1e-3 * whole.abs().max()


def test_large_meshes_are_tiled(network, mesh, monkeypatch):
    seen = []

    def record(module, *meshes, periodic):
        seen.append(max(meshes[0].shape[1:]))
        return run(module, *meshes, periodic=periodic)

    monkeypatch.setattr(tiles_module, "run", record)
    inputs = mesh(48)
    tiles = apply_network(network, inputs, max_side=44)
    assert max(seen) <= 44
    seen.clear()
    whole = apply_network(network, inputs, max_side=48)
    assert not seen
    torch.testing.assert_close(tiles, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def test_core_must_fit_the_stride(network, mesh):
    with pytest.raises(InputError, match="multiple of the network's stride 2, got 5"):
        apply_tiles(network, mesh(16), core=5)
