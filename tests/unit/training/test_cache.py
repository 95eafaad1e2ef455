import numpy as np
import torch

from peculiar.training.cache import save_mesh


def test_two_trainings_that_fill_one_cache_both_end(tmp_path, monkeypatch):
    """The name says what is in the file: whoever ends last replaces the same contents."""
    mesh, path, save = torch.rand(2, 4, 4, 4), tmp_path / "cache" / "inputs-0123.npy", np.save

    def late(temporary, values):
        monkeypatch.setattr(np, "save", save)
        save_mesh(path, mesh)  # the other training
        save(temporary, values)

    monkeypatch.setattr(np, "save", late)
    save_mesh(path, mesh)
    assert np.array_equal(np.load(path), mesh.half().numpy())
    assert [item.name for item in path.parent.iterdir()] == [path.name]
