import numpy as np
import pytest

from peculiar.training.dataset import MeshPair

VECTORS = ((1, 2, 3), (4, 5, 6))


@pytest.fixture
def pairs(tmp_path):
    """Two boxes of 16^3 whose targets follow from their inputs cell by cell."""
    random = np.random.default_rng(0)
    made = []
    for number in range(2):
        inputs = random.normal(size=(7, 16, 16, 16)).astype(np.float16)
        targets = np.concatenate([np.tanh(inputs[:1]), 1.5 * inputs[1:4], 0.5 * inputs[4:7]]).astype(
            np.float16
        )
        np.save(tmp_path / f"inputs{number}.npy", inputs)
        np.save(tmp_path / f"targets{number}.npy", targets)
        made.append(MeshPair(tmp_path / f"inputs{number}.npy", (tmp_path / f"targets{number}.npy",), 63.0))
    return made
