"""Right inputs, small, each made once by the package itself: what the cases then change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table

FORMATS = ("fits", "h5", "parquet", "ecsv", "csv")
BOX = 40.0  # Mpc/h
_root = Path()
VARIANTS = "data.variants=[{number_density=2e-4}]"
SHORT = (
    "train.steps=4",
    "train.checkpoint_every=2",
    "train.validate_every=2",
    "train.crop=8",
    "loss.margin=1",
)
TRAINING = "train residual --run run --out trained --profile smoke --set {} {}".format(
    VARIANTS, " ".join(f"--set {item}" for item in SHORT)
)


def halos() -> Table:
    """Objects of a box of 40 Mpc/h."""
    rng = np.random.default_rng(5)
    columns = {axis: rng.uniform(0.01, BOX - 0.01, 192) for axis in "xyz"}
    return Table(columns | {"mass": rng.uniform(1, 100, 192)})


def survey() -> Table:
    """Galaxies on the sky, near enough for a small mesh."""
    rng = np.random.default_rng(2)
    sine = rng.uniform(-1, 1, 400)
    return Table(
        {
            "ra": rng.uniform(0, 360, 400),
            "dec": np.degrees(np.arcsin(sine)),
            "z": 0.02 * rng.uniform(0.1, 1, 400) ** (1 / 3),
        }
    )


def randoms() -> Table:
    """Random points of the same survey."""
    rng = np.random.default_rng(3)
    sine = rng.uniform(-1, 1, 4000)
    return Table(
        {
            "ra": rng.uniform(0, 360, 4000),
            "dec": np.degrees(np.arcsin(sine)),
            "z": 0.02 * rng.uniform(0.1, 1, 4000) ** (1 / 3),
        }
    )


def distances() -> Table:
    """Objects with measured distances in that survey."""
    rng = np.random.default_rng(4)
    z = rng.uniform(0.008, 0.018, 80)
    sine = rng.uniform(-1, 1, 80)
    mu = 25 + 5 * np.log10(2997.92 * z / 0.7) + rng.normal(0, 0.2, 80)
    return Table(
        {
            "ra": rng.uniform(0, 360, 80),
            "dec": np.degrees(np.arcsin(sine)),
            "z": z,
            "mu": mu,
            "mu_error": np.full(80, 0.2),
        }
    )


def write(table: Table, path: Path) -> None:
    """Write a table in the format that the path's suffix means."""
    if path.suffix == ".h5":
        table.write(path, path="table", serialize_meta=False, overwrite=True)
    elif path.suffix == ".parquet":
        table.write(path, format="parquet", overwrite=True)
    else:
        table.write(path, overwrite=True)


def prepare_root(root: Path) -> None:
    """Keep what is made below a directory."""
    global _root
    _root = root.resolve()
    _root.mkdir(parents=True, exist_ok=True)


def peculiar(command: str) -> None:
    """Run a command where right inputs are made."""
    from typer.testing import CliRunner

    from peculiar.cli import app

    result = CliRunner().invoke(app, command.split())
    if result.exit_code:
        raise RuntimeError(
            f"peculiar {command} must succeed, got {result.output[-500:]}"
        ) from result.exception


def _mask() -> None:
    import healpy

    healpy.write_map("mask.fits", np.ones(healpy.nside2npix(4)), coord="C", dtype=np.float32)


def _field() -> None:
    needs("survey.fits", "mask.fits")
    peculiar(
        "reconstruct survey.fits --sky --mask mask.fits --cell-size 8 --model iterative --out field.zarr "
        "--at-objects objects.fits"
    )


def _density() -> None:
    from peculiar.core import PRESETS, Box, Field
    from peculiar.fields.calculus import displacement
    from peculiar.fields.files import write_fields
    from peculiar.simulate.initial import linear_field

    box = Box(60.0, 16)
    data = linear_field(box, PRESETS["xiao2024"], seed=1, redshift=0.5)[None]
    density = Field(data.clamp(min=-0.9), box, ["density"])
    velocity = Field(
        displacement(data[0], box) * 80.0, box, "xyz", "km/s", kind="vector", definition="linear theory"
    )
    write_fields("density.zarr", {"density": density, "velocity": velocity})


def _evaluation() -> None:
    needs("run")
    peculiar(
        "evaluate run --out evaluation --boxes 1001 --model iterative --number-density 2e-4 --satellites 0 --no-figures"
    )


def _trained() -> None:
    needs("run")
    peculiar(TRAINING)


def _model() -> None:
    needs("trained")
    os.mkdir("model")
    for suffix in ("json", "safetensors"):
        shutil.copy(f"trained/residual.{suffix}", "model")


def _recipe() -> None:
    from peculiar.training.recipe import RECIPES

    shutil.copy(RECIPES / "residual.toml", "recipe.toml")


def _survey_file() -> None:
    needs("mask.fits")
    Path("survey.toml").write_text(
        'name = "mine"\nframe = "cmb"\nmask = "mask.fits"\ndistances = [5.0, 80.0]\npadding = 15.0\n'
        'radial = "flat"\ncell_size = 8.0\n[columns]\nz = "z"\n'
    )


MAKERS: dict[str, Callable[[], None]] = {
    "mask.fits": _mask,
    "halos.fits": lambda: write(halos(), Path("halos.fits")),
    "survey.fits": lambda: write(survey(), Path("survey.fits")),
    "randoms.fits": lambda: write(randoms(), Path("randoms.fits")),
    "distances.fits": lambda: write(distances(), Path("distances.fits")),
    "field.zarr": _field,
    "objects.fits": _field,
    "density.zarr": _density,
    "run": lambda: peculiar("simulate run --seeds 1-2,501,1001 --box 64 --particles 32 --cells 16 --steps 4"),
    "pairs": lambda: peculiar(
        "simulate pairs --kind pairs --seeds 1-2,501 --box 64 --particles 16 --steps 3"
    ),
    "evaluation": _evaluation,
    "trained": _trained,
    "model": _model,
    "recipe.toml": _recipe,
    "survey.toml": _survey_file,
}


def needs(*names: str) -> None:
    """Make right inputs that are not there yet."""
    for name in names:
        if not (_root / name).exists():
            MAKERS[name]()


def put(directory: Path, *names: str) -> None:
    """Copy right inputs into a case's directory; `make` has made them."""
    for name in names:
        source = _root / name
        if source.is_dir():
            shutil.copytree(source, directory / name)
        else:
            shutil.copy(source, directory / name)


def make(names: set[str]) -> None:
    """Make every right input that the cases need, in a fixed order."""
    here = Path.cwd()
    os.chdir(_root)
    try:
        needs(*(name for name in MAKERS if name in names))
    finally:
        os.chdir(here)
