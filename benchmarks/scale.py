"""Time and memory of whole commands on surveys and boxes of today's size.

    python benchmarks/scale.py --scratch /tmp/scale --baorecon PYTHON --docs docs/results/scale.md
    python benchmarks/scale.py lrg box-512 --scratch /tmp/scale --docs docs/results/scale.md

Every row of the table is run, or those that are named. Each row makes its catalogue (random places with the sample's
footprint, n(r) and number: time and memory do not depend on the clustering, but for a few iterations), runs the command
in a process of its own, start to end, imports included, and notes wall-clock and processor time and the largest
resident memory, with all processes that it starts. What stands between `<!-- scale: begin -->` and
`<!-- scale: end -->` of a page is filled; rows that are not run stay.

With `--baorecon`, a Python that has baorecon (https://pypi.org/project/baorecon, MIT), the iterative FFT of that
package shifts the same halos, and as many random points, on the same mesh.
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
    """Write random points in a cube, with masses."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, size, (count, 3)).astype(np.float32)
    columns = dict(zip("xyz", points.T, strict=True)) | {"mass": random.random(count, np.float32)}
    Table(columns).write(path, overwrite=True)


@dataclass(frozen=True)
class Row:
    """What is run: how its files are made, the arguments of `peculiar reconstruct`, and what is wanted of it."""

    title: str
    make: Callable[[Path], None]
    arguments: tuple[str, ...]
    target: str = ""

    def command(self) -> list[str]:
        """Return the command, run in the directory of its files."""
        program = str(Path(sys.executable).with_name("peculiar"))
        redshift = [] if "--sky" in self.arguments else ["--redshift", "0.59"]
        outputs = ["--out", "fields.zarr", "--force"]
        return [program, "reconstruct", "galaxies.fits", *outputs, *redshift, *self.arguments]


@dataclass(frozen=True)
class Other(Row):
    """The same halos moved by baorecon: as many random points, and as many iterations as ours."""

    def command(self) -> list[str]:
        """Return the command but for the Python that has baorecon."""
        script = Path(__file__).resolve().with_name("baorecon_displacements.py")
        return [str(script), "in.npz", "out.npz", "--once"]


def given_to_baorecon(count: int, *, size: float, cells: int) -> Callable[[Path], None]:
    """Return what writes the galaxies, and in.npz with them."""

    def make(directory: Path) -> None:
        box(count, size)(directory)
        table = Table.read(directory / "galaxies.fits")
        halos = np.stack([table[name] for name in "xyz"], axis=1)
        np.savez(
            directory / "in.npz",
            positions=halos,
            randoms=np.random.default_rng(0).uniform(0, size, halos.shape).astype(np.float32),
            places=halos,
            side=size,
            centre=np.full(3, size / 2),
            cells=cells,
            periodic=True,
            axis="z",
            growth_rate=COSMOLOGY.growth_rate(0.59),
            iterations=6,
            smoothing=[15.0],
            bias=[1.5],
            solver=["ifft"],
        )

    return make


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
        "5 s of processor time",
    ),
    "box-96-default": Row(
        "the same, default network",
        box(34_000, 225.0),
        ("--box", "225", "--at-objects", "objects.fits"),
        "10 s of processor time",
    ),
    "box-128": Row(
        "300 Mpc/h at 128^3, 77,605 objects",
        box(77_605, 300.0),
        ("--box", "300", "--at-objects", "objects.fits"),
        "half of 20 s, 1.5 GB",
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
        "10 min, 10 GB",
    ),
    "bgs": Row(
        "BGS-like, 0.1 < z < 0.4, 7,500 square degrees, 4 million objects, 20 million randoms, cells of 5 Mpc/h",
        survey(4_000_000, 20_000_000, (0.1, 0.4), 7500.0),
        (*SKY, "--cell-size", "5"),
        "15 min, 12 GB",
    ),
    "box-2000": Row(
        "2000 Mpc/h periodic, 4 million halos, 512^3, default network",
        box(4_000_000, 2000.0),
        ("--box", "2000", "--cells", "512"),
        "15 min, 12 GB",
    ),
    "box-512": Row(
        "`--model iterative`, 512^3 cells, 4 million halos",
        box(4_000_000, 2000.0),
        ("--box", "2000", "--cells", "512", "--model", "iterative"),
        "2 min, 8 GB; not slower than baorecon",
    ),
    "baorecon-512": Other(
        "baorecon, 512^3 cells, 4 million halos",
        given_to_baorecon(4_000_000, size=2000.0, cells=512),
        (),
    ),
    "box-256": Row(
        "`--model iterative`, 256^3 cells, 500,000 halos",
        box(500_000, 1000.0),
        ("--box", "1000", "--cells", "256", "--model", "iterative"),
        "not slower than baorecon",
    ),
    "baorecon-256": Other(
        "baorecon, 256^3 cells, 500,000 halos",
        given_to_baorecon(500_000, size=1000.0, cells=256),
        (),
    ),
    "box-768": Row(
        "1800 Mpc/h periodic, 17 million halos, 768^3, `--memory 12GB --workers 2`",
        box(17_000_000, 1800.0),
        ("--box", "1800", "--cells", "768", "--memory", "12GB", "--workers", "2"),
    ),
    "box-768-wiener": Row(
        "the same, `--model wiener --memory 12GB`",
        box(17_000_000, 1800.0),
        ("--box", "1800", "--cells", "768", "--memory", "12GB", "--model", "wiener"),
    ),
}


def resident(process: int) -> int:
    """Return the memory [bytes] that a process and those that it started take together."""
    most = 0
    with suppress(psutil.Error):
        parent = psutil.Process(process)
        most = sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))
    return most


def measure(row: Row, directory: Path, *, baorecon: Path | None) -> dict[str, float | str]:
    """Run a row's command in a process of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "galaxies.fits").exists():
        row.make(directory)
    os.chdir(directory)
    command = [str(baorecon), *row.command()] if isinstance(row, Other) else row.command()
    # An installed package has its bytecode.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.monotonic()
    process = os.posix_spawn(command[0], command, environment)
    most = 0
    while not (found := os.wait4(process, os.WNOHANG))[0]:
        most = max(most, resident(process))
        time.sleep(0.1)
    _, status, usage = found
    if status:
        raise SystemExit(f"{row.title}: exit status {os.waitstatus_to_exitcode(status)}")
    return {
        "wall": time.monotonic() - started,
        "processor": usage.ru_utime + usage.ru_stime,
        "memory": max(usage.ru_maxrss * 1024, most) / 1e9,
    }


def main() -> None:
    """Run rows and fill the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument(
        "--scratch", type=Path, required=True, help="catalogues, fields and what was measured before"
    )
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--baorecon", type=Path, help="a Python that has it")
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"rows must be of {', '.join(ROWS)}, got {', '.join(sorted(unknown))}")
    others = {name for name, row in ROWS.items() if isinstance(row, Other)}
    if given.baorecon is None and others & set(given.rows):
        parser.error("rows of baorecon need --baorecon")
    skipped = others if given.baorecon is None else set()
    wanted = given.rows or [
        name for name, row in ROWS.items() if (row.target or name in others) and name not in skipped
    ]
    scratch, page = given.scratch.resolve(), given.docs and given.docs.resolve()
    record = scratch / "measured.json"
    for name in wanted:
        measured = measure(ROWS[name], scratch / name, baorecon=given.baorecon and given.baorecon.absolute())
        known = json.loads(record.read_text()) if record.exists() else {}
        record.write_text(json.dumps(known | {name: measured}, indent=1))
        print(name, measured, flush=True)
    if page:
        known = json.loads(record.read_text())
        lines = [
            "| work | target | wall clock [s] | processor [s] | largest memory [GB] |",
            "| --- | --- | ---: | ---: | ---: |",
        ]
        for name, row in ROWS.items():
            if name in known:
                one = known[name]
                lines.append(
                    f"| {row.title} | {row.target} | {one['wall']:.0f} | {one['processor']:.0f} "
                    f"| {one['memory']:.1f} |"
                )
        replace_between(page, {"scale": "\n".join(lines)})


if __name__ == "__main__":
    main()
