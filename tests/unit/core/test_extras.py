"""A plain install reconstructs; what needs more says so in one line."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from peculiar.core.errors import MissingExtraError
from peculiar.core.extras import EXTRAS, extra

ALL = sorted({package for _, packages in EXTRAS.values() for package in packages})
WITHOUT = (
    f"import sys\nsys.modules |= dict.fromkeys({ALL!r})\n"  # None: as if they were not installed
    "from peculiar.cli import app\napp(sys.argv[1:])"
)


def without_extras(directory, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env=os.environ,
    )


def test_a_plain_install_reconstructs_and_asks(tmp_path):
    x, y, z = np.random.default_rng(1).uniform(-30, 30, (3, 300))
    Table({"x": x, "y": y, "z": z}).write(tmp_path / "halos.csv")
    place = (
        "--box=60 --cells=16 --origin=-30,-30,-30 --no-periodic --los=radial --observer=0,0,0 --redshift=0.01"
    )
    how = [*place.split(" "), "--model=iterative", "--out=f.zarr"]
    done = without_extras(tmp_path, "reconstruct", "halos.csv", *how)
    assert done.returncode == 0, done.stderr
    done = without_extras(tmp_path, "query", "f.zarr", "--ra", 10, "--dec", 20, "--z", 0.004)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("train", "residual", "--run", "run", "--out", "out"), "`peculiar train` and `peculiar tune` need"),
        (("report", "f.zarr", "--out", "out"), "`peculiar report`, `figures`, `evaluate` and `demo` need"),
    ],
)
def test_a_command_without_its_packages_says_how_to_get_them(tmp_path, arguments, error):
    done = without_extras(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"peculiar: error: {error} ")
    assert re.search(r"got no \w+: pip install 'peculiar\[\w+\]'\n$", done.stderr)
    assert not (tmp_path / "out").exists()


def test_other_packages_that_are_missing_are_no_extra():
    with (
        pytest.raises(
            MissingExtraError, match=r"need dask and .*got no dask: pip install 'peculiar\[cluster\]'"
        ),
        extra("cluster"),
    ):
        raise ModuleNotFoundError(name="dask.array")
    with pytest.raises(ModuleNotFoundError), extra("cluster"):
        raise ModuleNotFoundError(name="elsewhere")


def test_extras_are_those_of_the_installation():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    for name, (_, packages) in EXTRAS.items():
        wanted = [re.match(r"[\w-]+", line).group().replace("-", "_") for line in declared[name]]
        assert wanted == list(packages)
        assert not set(packages) & {re.match(r"[\w-]+", line).group() for line in project["dependencies"]}
    assert f"peculiar[{','.join(EXTRAS)}]" in declared["dev"]
