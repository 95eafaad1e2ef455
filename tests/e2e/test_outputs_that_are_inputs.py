"""No command replaces what it reads, with --force neither; what it reads is not even opened."""

import re

import pytest

from peculiar.core import InputError
from peculiar.workflows.compare import CompareOptions, compare_file
from peculiar.workflows.query import query_file

FILES = (
    "run/run.json",
    "run/box-00001.h5",
    "run/scores.json",
    "field.zarr/.zattrs",
    "mask.fits",
    "own.safetensors",
)
COMMANDS = (
    "evaluate run --out run",
    "evaluate run --out run/evaluation",
    "evaluate run/box-00001.h5 --out run",
    "evaluate run --tune-run field.zarr --out field.zarr",
    "figures run --out run",
    "figures run --out .",
    "report run --out run/scores.json",
    "report field.zarr --objects mask.fits --out mask.fits",
    "groups galaxies.fits --mask mask.fits --out mask.fits",
    "groups mask.fits --mask sky.fits --out groups.fits --members mask.fits",
    "train residual --run run --out run",
    "train residual --run run --out .",
    "tune residual --run run --out run/search",
    "simulate run --kind painted --matter run --seeds 1",
    "paint --density field.zarr --seed 1 --out field.zarr/halos.fits",
    "flow field.zarr --out field.zarr/flow.zarr",
    "flow run/box-00001.h5 --out run",
    "emulate --seed 1 --model own.safetensors --out own.safetensors",
    "reconstruct mask.fits --box 40 --out run/f.zarr --at-objects mask.fits",
)


NAMED = re.compile(
    r"must not hold an input, .* got (OUT|--(out|members)) \S+ with (RUNS?|GALAXIES|DENSITY|--[a-z-]+) \S+: choose"
    r"|--at-objects must be a file of its own, got .* which is the catalogue"
)


@pytest.fixture
def kept(tmp_path):
    """Files of a user; after the test they are as they were, and alone."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    yield tmp_path
    left = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {name: path.read_text() for name, path in left.items()} == dict.fromkeys(FILES, "{}")


@pytest.mark.parametrize("command", COMMANDS)
def test_inputs_are_no_outputs(kept, run, command):
    force = () if command.startswith("tune") else ("--force",)
    result = run(*command.split(), *force)
    assert result.exit_code == 2, result.output
    assert NAMED.search(result.stderr), result.stderr


def test_nor_are_catalogues_and_fields(kept):
    field, table = kept / "field.zarr", kept / "mask.fits"
    with pytest.raises(InputError, match="must not hold an input"):
        query_file(field, table, out=table, force=True)
    with pytest.raises(InputError, match="must not hold an input"):
        compare_file(table, field=field, out=field, options=CompareOptions(frame="cmb"), force=True)
