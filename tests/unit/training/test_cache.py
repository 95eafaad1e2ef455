import numpy as np
import pytest
import torch

from peculiar.core import InputError
from peculiar.training.cache import save_meshes


def test_two_trainings_that_fill_one_cache_both_end(tmp_path, monkeypatch):
    """The name says what is in the file: whoever ends last replaces the same contents."""
    mesh, path, save = torch.rand(2, 4, 4, 4).half(), tmp_path / "cache" / "inputs-0123.npy", np.save

    def late(temporary, values):
        monkeypatch.setattr(np, "save", save)
        save_meshes({path: mesh})  # the other training
        save(temporary, values)

    monkeypatch.setattr(np, "save", late)
    save_meshes({path: mesh})
    assert np.array_equal(np.load(path), mesh.numpy())
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_a_damaged_mesh_leaves_none_of_its_box(tmp_path, value):
    whole, damaged = torch.rand(2, 4, 4, 4), torch.rand(2, 4, 4, 4)
    damaged[1, 2, 2, 2] = value
    folder = tmp_path / "cache" / "box-00001"
    with pytest.raises(InputError, match="must be finite and below 65504, got others for box-00001"):
        save_meshes({folder / "inputs-0.npy": whole.half(), folder / "targets-1.npy": damaged.half()})
    assert list(tmp_path.iterdir()) == []
