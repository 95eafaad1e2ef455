import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.training.dataset import Crops, WholeBoxes

VECTORS = ((1, 2, 3), (4, 5, 6))


def crops(pairs, **changes):
    return Crops(
        pairs,
        **(
            {"crop": 8, "batch_size": 2, "steps": 5, "seed": 3, "vectors": VECTORS, "target_vectors": VECTORS}
            | changes
        ),
    )


def test_crop_wraps(pairs):
    inputs, _ = pairs[0].crop((10, 0, 5), 6)
    whole = np.load(pairs[0].inputs).astype(np.float32)
    expected = np.roll(whole, (-10, 0, -5), axis=(1, 2, 3))[:, :6, :6, :6]
    assert np.array_equal(inputs.numpy(), expected)


def test_batch_depends_on_seed_step_and_rank_alone(pairs):
    first = crops(pairs)
    first.batch(0)
    again = crops(pairs, start=2)
    for one, other in zip(first.batch(2), again.batch(2), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.batch(2)[0], first.batch(3)[0])
    assert not torch.equal(first.batch(2)[0], crops(pairs, seed=4).batch(2)[0])
    assert not torch.equal(first.batch(2)[0], crops(pairs, rank=1, world=2).batch(2)[0])


def test_inputs_and_targets_turn_together(pairs):
    for inputs, targets in crops(pairs, steps=6):
        assert torch.allclose(targets[:, 1:4], 1.5 * inputs[:, 1:4], atol=5e-3)
        assert torch.allclose(targets[:, 4:], 0.5 * inputs[:, 4:], atol=5e-3)


def test_iterates_from_the_start_step_in_order(pairs):
    data = crops(pairs, start=3)
    batches = list(data)
    assert len(batches) == 2
    assert torch.equal(batches[1][0], data.batch(4)[0])


def test_errors_of_the_thread_reach_the_user_and_the_thread_ends(pairs, tmp_path):
    data = crops(pairs)
    pairs[0].inputs.unlink()
    pairs[1].inputs.unlink()
    with pytest.raises(FileNotFoundError):
        list(data)
    assert not any(thread.name == "peculiar-crops" for thread in threading.enumerate())


def test_whole_boxes(pairs):
    inputs, targets, factor, periodic = WholeBoxes(pairs)[1]
    assert inputs.shape == (7, 16, 16, 16)
    assert targets.shape == (7, 16, 16, 16)
    assert (factor, periodic) == (63.0, True)
    assert crops(pairs, crop=0).batch(0)[0].shape == (2, 7, 16, 16, 16)


def test_regions_that_do_not_wrap_are_cut_within_their_faces(pairs):
    """Channel 0 counts cells along x: a crop that wrapped would fall from 15 to 0."""
    for pair in pairs:
        mesh = np.load(pair.inputs)
        mesh[0] = np.arange(16)[:, None, None]
        np.save(pair.inputs, mesh)
    isolated = [replace(pair, periodic=False) for pair in pairs]
    corners = set()
    for step in range(40):
        counted = crops(isolated, seed=step, batch_size=1, vectors=(), target_vectors=()).batch(0)[0][0, 0]
        steps = torch.stack([counted.diff(dim=axis).abs().amax() for axis in range(3)])
        assert sorted(steps.tolist()) == [0, 0, 1]
        corners.add(int(counted.min()))
    assert corners == set(range(9))
    whole = isolated[0].crop((0, 0, 0), 0)[0]
    assert torch.equal(whole, torch.from_numpy(np.load(pairs[0].inputs).astype(np.float32)))
    batch = crops(isolated, crop=0, batch_size=1, vectors=(), target_vectors=()).batch(0)[0]
    assert sorted(batch[0, 0].diff(dim=axis).abs().amax().item() for axis in range(3)) == [0, 0, 1]
    assert WholeBoxes(isolated)[0][3] is False


def test_boxes_of_other_meshes_are_drawn_alike(pairs, tmp_path):
    """Channel 0 tells the box: crops come from each, and whole boxes share a batch with their like only."""
    for name, side, value in (("inputs", 24, 9.0), ("targets", 24, 9.0)):
        mesh = np.zeros((7, side, side, side), np.float16)
        mesh[0] = value
        np.save(tmp_path / f"{name}-large.npy", mesh)
    large = replace(pairs[0], inputs=tmp_path / "inputs-large.npy", targets=(tmp_path / "targets-large.npy",))
    data = crops([*pairs, large], batch_size=50)
    batch = data.batch(0)[0]
    assert batch.shape == (50, 7, 8, 8, 8)
    share = (batch[:, 0] == 9.0).all(dim=(1, 2, 3)).float().mean()
    assert 0.2 < share < 0.5
    whole = crops([*pairs, large], crop=0)
    assert {whole.batch(step)[0].shape for step in range(12)} == {(2, 7, n, n, n) for n in (16, 24)}


@pytest.mark.parametrize(("corner", "size"), [((9, 0, 0), 8), ((0, -1, 0), 8), ((0, 0, 1), 0)])
def test_nothing_lies_beyond_the_faces_of_a_region(pairs, corner, size):
    with pytest.raises(InputError, match="does not wrap"):
        replace(pairs[0], periodic=False).crop(corner, size)


def test_bad_settings_are_refused(pairs):
    with pytest.raises(InputError, match="at most the mesh"):
        crops(pairs, crop=20)
    with pytest.raises(InputError, match="at least one box"):
        crops([])


def test_a_damaged_mesh_stops_the_training(pairs):
    mesh = np.load(pairs[0].targets[0])
    mesh[:, 3, 3, 3] = np.nan
    np.save(pairs[0].targets[0], mesh)
    with pytest.raises(InputError, match="meshes for training must be finite, got NaN or infinity in"):
        list(crops(pairs, crop=0, steps=20))
