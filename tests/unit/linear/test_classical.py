import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue
from peculiar.linear import IterativeFFT, LinearTheory, MultiTracerWiener
from peculiar.linear.classical import OneByOne

COSMOLOGY = PRESETS["xiao2024"]
pytestmark = pytest.mark.filterwarnings("ignore:bias of:peculiar.core.errors.OutOfRangeWarning")


def tracers(**changes):
    random = np.random.default_rng(1)
    box = Box((120.0, 120.0, 90.0))
    settings = {"redshift": 0.59, "masses": random.uniform(1, 9, 3000)} | changes
    return Catalogue(random.uniform(0, box.sides, (3000, 3)), box, **settings)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(
    "method", [LinearTheory(), IterativeFFT(surroundings=True), MultiTracerWiener()], ids=lambda one: one.name
)
def test_fields_one_by_one_are_those_of_all_at_once(tmp_path, method, periodic):
    catalogue = tracers()
    catalogue = catalogue.replace(box=replace(catalogue.box, periodic=periodic))
    whole = method.reconstruct(catalogue, cells=24, cosmology=COSMOLOGY)
    fields = OneByOne(method).fields(catalogue, cells=24, cosmology=COSMOLOGY, scratch=tmp_path)
    for expected, (name, field) in zip(whole.items(), fields, strict=True):
        assert (name, field.unit, field.kind, field.box) == (
            expected[0],
            expected[1].unit,
            expected[1].kind,
            expected[1].box,
        )
        assert torch.equal(field.data, expected[1].data)
    momentum = (1 + whole["density"].data) * whole["velocity"].data
    torch.testing.assert_close(whole["momentum"].data, momentum)


def test_fields_one_by_one_take_less_memory():
    box = Box(1800.0, 768)
    for method in (LinearTheory(), IterativeFFT(), MultiTracerWiener()):
        assert OneByOne(method).memory(box) <= 17 * box.cell_count < method.memory(box) <= 29 * box.cell_count
        open_faces = replace(box, periodic=False)
        assert method.memory(open_faces) > method.memory(box)


GROWTH = """
import resource, sys
from pathlib import Path
import numpy as np
from peculiar.core import PRESETS, Box, Catalogue
from peculiar.linear import IterativeFFT
from peculiar.linear.classical import OneByOne

cells, scratch = int(sys.argv[1]), Path(sys.argv[2])
box = Box(2.5 * cells)
points = np.random.default_rng(1).uniform(0, box.size, (3000, 3))
method = OneByOne(IterativeFFT(smoothing=5.0, bias=1.5, iterations=1))
for name, field in method.fields(
    Catalogue(points, box, redshift=0.59), cells=cells, cosmology=PRESETS["xiao2024"], scratch=scratch
):
    assert np.isfinite(field.numpy()).all(axis=(2, 3)).all()
    del field
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_grows_by_what_is_stated(tmp_path):
    taken = []
    for cells in (32, 192):
        command = [sys.executable, "-c", GROWTH, str(cells), str(tmp_path)]
        taken.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert (taken[1] - taken[0]) / (192**3 - 32**3) <= 20
