"""Time and memory of whole commands on surveys and boxes of today's size.

    python benchmarks/scale.py lrg box-512 ... --scratch /tmp/scale --docs docs/results/scale.md

Each row makes its catalogue (random places with the sample's footprint, n(r) and number: time and memory do not
depend on the clustering, but for a few iterations), runs the command in a process of its own, start to end, imports
included, and notes wall-clock and processor time and the largest resident memory, with all processes that it starts.
What stands between `<!-- scale: begin -->` and `<!-- scale: end -->` of a page is filled; rows that are not run stay.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from astropy.table import Table
from reproduction import replace_between

from peculiar.core import PRESETS

COSMOLOGY = PRESETS["xiao2024"]


def cap(path: Path, *, count: int, redshifts: tuple[float, float], area: float, seed: int) -> None:
    """Write random points, evenly in volume, in a cap of the sky about (ra, dec) = (180, 30) [square degrees]."""
    random = np.random.default_rng(seed)
    low, high = COSMOLOGY.comoving_distance(np.asarray(redshifts))
    distance = random.uniform(low**3, high**3, count) ** (1 / 3)
    height = area * (np.pi / 180) ** 2 / (2 * np.pi)  # 1 - cos of the cap's radius
    cosine, phi = 1 - height * random.random(count), random.uniform(0, 2 * np.pi, count)
    sine = np.sqrt(1 - cosine**2)
    pole = np.radians(60.0)  # the axis is turned from the pole to declination 30
    x, y, z = sine * np.cos(phi), sine * np.sin(phi), cosine
    x, z = x * np.cos(pole) + z * np.sin(pole), z * np.cos(pole) - x * np.sin(pole)
    table = Table()
    table["RA"] = (np.degrees(np.arctan2(y, x)) + 180) % 360
    table["DEC"] = np.degrees(np.arcsin(z))
    table["Z"] = COSMOLOGY.redshift_at(distance)
    table.write(path, overwrite=True)


def cube(path: Path, *, count: int, size: float, seed: int) -> None:
    """Write random points in a cube."""
    points = np.random.default_rng(seed).uniform(0, size, (count, 3)).astype(np.float32)
    Table(dict(zip("xyz", points.T, strict=True))).write(path, overwrite=True)


@dataclass(frozen=True)
class Row:
    """What is run: how its files are made, and the arguments of `peculiar reconstruct`."""

    title: str
    make: Callable[[Path], None]
    arguments: tuple[str, ...]


def survey(count: int, randoms: int, redshifts: tuple[float, float], area: float) -> Callable[[Path], None]:
    """Return what writes galaxies.fits and randoms.fits."""

    def make(directory: Path) -> None:
        cap(directory / "galaxies.fits", count=count, redshifts=redshifts, area=area, seed=1)
        cap(directory / "randoms.fits", count=randoms, redshifts=redshifts, area=area, seed=2)

    return make


def box(count: int, size: float) -> Callable[[Path], None]:
    """Return what writes galaxies.fits."""
    return lambda directory: cube(directory / "galaxies.fits", count=count, size=size, seed=1)


SKY = ("--sky", "--randoms", "randoms.fits", "--frame", "cmb", "--cosmology", "xiao2024")
ROWS = {
    "box-96": Row(
        "225 Mpc/h at 96^3, 34,000 objects, with objects, `--model iterative`",
        box(34_000, 225.0),
        ("--box", "225", "--model", "iterative", "--at-objects", "objects.fits"),
    ),
    "box-96-default": Row(
        "the same, default network", box(34_000, 225.0), ("--box", "225", "--at-objects", "objects.fits")
    ),
    "box-128": Row(
        "300 Mpc/h at 128^3, 77,605 objects",
        box(77_605, 300.0),
        ("--box", "300", "--at-objects", "objects.fits"),
    ),
    "box-192-tiles": Row(
        "450 Mpc/h at 192^3, 273,375 objects, with objects, `--model residual --memory 2GB`",
        box(273_375, 450.0),
        ("--box", "450", "--model", "residual", "--memory", "2GB", "--at-objects", "objects.fits"),
    ),
    **{
        f"box-256-workers-{number}": Row(
            f"600 Mpc/h at 256^3, 648,000 objects, `--model residual --workers {number}`",
            box(648_000, 600.0),
            ("--box", "600", "--model", "residual", "--workers", f"{number}"),
        )
        for number in (1, 2)
    },
    "lrg": Row(
        "LRG-like cap, 0.4 < z < 1.1, 7,500 square degrees, 1.1 million objects, 10 million randoms, cells of 8 Mpc/h",
        survey(1_100_000, 10_000_000, (0.4, 1.1), 7500.0),
        (*SKY, "--cell-size", "8"),
    ),
    "bgs": Row(
        "BGS-like, 0.1 < z < 0.4, 7,500 square degrees, 4 million objects, 20 million randoms, cells of 5 Mpc/h",
        survey(4_000_000, 20_000_000, (0.1, 0.4), 7500.0),
        (*SKY, "--cell-size", "5"),
    ),
    "box-2000": Row(
        "2000 Mpc/h periodic, 4 million halos, 512^3",
        box(4_000_000, 2000.0),
        ("--box", "2000", "--cells", "512"),
    ),
    "box-512": Row(
        "`--model iterative`, 512^3 cells, 4 million halos",
        box(4_000_000, 2000.0),
        ("--box", "2000", "--cells", "512", "--model", "iterative"),
    ),
}


def resident(process: int) -> int:
    """Return the memory [bytes] that a process and those that it started take together."""
    most = 0
    with suppress(psutil.Error):
        parent = psutil.Process(process)
        most = sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))
    return most


def measure(row: Row, directory: Path) -> dict[str, float | str]:
    """Run a row's command in a process of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "galaxies.fits").exists():
        row.make(directory)
    os.chdir(directory)
    command = [
        str(Path(sys.executable).with_name("peculiar")),
        "reconstruct",
        "galaxies.fits",
        "--out",
        "fields.zarr",
        "--force",
    ]
    if not row.arguments[0].startswith("--sky"):
        command += ["--redshift", "0.59"]
    started = time.monotonic()
    process = os.posix_spawn(command[0], [*command, *row.arguments], os.environ)
    most = 0
    while not (found := os.wait4(process, os.WNOHANG))[0]:
        most = max(most, resident(process))
        time.sleep(0.1)
    _, status, usage = found
    if status:
        raise SystemExit(f"{row.title}: exit status {os.waitstatus_to_exitcode(status)}")
    return {
        "title": row.title,
        "wall": time.monotonic() - started,
        "processor": usage.ru_utime + usage.ru_stime,
        "memory": max(usage.ru_maxrss * 1024, most) / 1e9,
    }


def main() -> None:
    """Run rows and fill the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", choices=list(ROWS))
    parser.add_argument(
        "--scratch", type=Path, required=True, help="catalogues, fields and what was measured before"
    )
    parser.add_argument("--docs", type=Path)
    given = parser.parse_args()
    scratch, page = given.scratch.resolve(), given.docs and given.docs.resolve()
    record = scratch / "measured.json"
    for name in given.rows:
        measured = measure(ROWS[name], scratch / name)
        known = json.loads(record.read_text()) if record.exists() else {}
        record.write_text(json.dumps(known | {name: measured}, indent=1))
        print(name, measured, flush=True)
    if page:
        known = json.loads(record.read_text())
        lines = [
            "| work | wall clock [s] | processor [s] | largest memory [GB] |",
            "| --- | ---: | ---: | ---: |",
        ]
        for name in ROWS:
            if name in known:
                one = known[name]
                lines.append(
                    f"| {one['title']} | {one['wall']:.0f} | {one['processor']:.0f} | {one['memory']:.1f} |"
                )
        replace_between(page, {"scale": "\n".join(lines)})


if __name__ == "__main__":
    main()
