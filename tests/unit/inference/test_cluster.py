import numpy as np
import pytest
import torch
import zarr

from peculiar.core import InputError, OutputExistsError
from peculiar.inference.cluster import apply_cluster
from peculiar.inference.whole import apply_whole

pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.fixture
def stored(mesh, tmp_path):
    def store(side):
        inputs = mesh(side)
        zarr.create_array(tmp_path / "inputs.zarr", data=inputs.numpy(), chunks=(7, 10, 10, 10))
        return inputs

    return store


@pytest.mark.parametrize(("side", "periodic"), [(36, True), (21, True), (20, False)])
def test_blocks_equal_the_whole(network, stored, tmp_path, side, periodic):
    inputs = stored(side)
    apply_cluster(network, tmp_path / "inputs.zarr", tmp_path / "out.zarr", core=16, periodic=periodic)
    whole = apply_whole(network, inputs, periodic=periodic)
    blocks = torch.from_numpy(np.asarray(zarr.open_array(tmp_path / "out.zarr", mode="r")[:]))
    torch.testing.assert_close(blocks, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def test_existing_output_and_misfits_are_refused(network, stored, tmp_path):
    stored(16)
    (tmp_path / "out.zarr").mkdir()
    with pytest.raises(OutputExistsError):
        apply_cluster(network, tmp_path / "inputs.zarr", tmp_path / "out.zarr", core=16)
    with pytest.raises(InputError, match="at least its reach"):
        apply_cluster(network, tmp_path / "inputs.zarr", tmp_path / "other.zarr", core=2)
