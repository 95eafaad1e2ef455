"""Compare `peculiar.statistics` with independent public codes: same fields, same bins; agreement and speed.

The codes need an interpreter of their own, for their NumPy is older (gcc and the GSL library must be there):

    python -m venv codes
    codes/bin/pip install "numpy<2" "cython<3" "setuptools<70" wheel scipy pyfftw h5py hdf5plugin
    codes/bin/pip install --no-build-isolation Pylians Corrfunc sarabande Triumvirate scikit-learn
    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/statistics/compare.py --codes codes/bin/python \
        --docs docs/statistics.md

Prints Markdown tables; --docs also writes them between `<!-- comparison: begin -->` and `<!-- comparison: end -->` of a
page. Times are the best of three processor times, on one thread each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from reference import CODES, best

from peculiar.core import Box, Catalogue, Field
from peculiar.fields.fourier import inverse_k_squared, k_squared, to_fourier, to_real, wavevectors
from peculiar.fields.paint import paint
from peculiar.fields.smooth import gaussian
from peculiar.statistics import (
    Modes,
    bispectrum_at_angles,
    bispectrum_in_bins,
    bulk_flow,
    catalogue_modes,
    compare,
    compare_power,
    confusion,
    correlation_multipoles,
    correlation_plane,
    helmholtz_power,
    joint_distribution,
    modes_of,
    one_point_distribution,
    power_multipoles,
    power_spectrum,
    power_wedges,
    three_point_multipoles,
    tidal_web,
    two_point_distribution,
)

START, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
AGREEMENT = 1e-3
"""Statistics of one definition must agree this well, relative to what the table names."""
SMALL = 64  # cells of the three-point field: sarabande's transforms go through files


@dataclass(frozen=True, eq=False)
class Inputs:
    """What both sides measure; everything with its mesh."""

    box: Box
    delta: Field
    other: Field
    velocity: Field
    smooth: Field
    small: Field
    points: Catalogue
    on_mesh: Catalogue
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


@dataclass(frozen=True, eq=False)
class Case:
    """One statistic measured by both.

    Attributes
    ----------
    key : str
        "code: task" of `reference.py`.
    label : str
    ours : callable
        The same array as the other code's task.
    scale : callable
        The other code's result -> what differences are relative to.
    relative_to : str
    theirs : callable
        Takes from the other code's result what is compared.
    note : str
        Why the two differ, where their definitions do; "" where they are the same.
    """

    key: str
    label: str
    ours: Callable[[], np.ndarray]
    relative_to: str = "itself"
    scale: Callable[[np.ndarray], np.ndarray] = np.abs
    theirs: Callable[[np.ndarray], np.ndarray] = np.asarray
    note: str = ""


def make_inputs(cells: int, size: float) -> Inputs:
    """A skewed density with the slope of the matter power, a second one, a flow with a curl, and clustered points."""
    box, generator = Box(size, cells), torch.Generator().manual_seed(1)
    noise = torch.randn(4, cells, cells, cells, generator=generator)
    k = k_squared(box).sqrt()
    g = to_real(to_fourier(noise) * (k / (1 + (k / 0.05) ** 2.5)).sqrt(), cells)
    g /= g[0].std()
    delta = torch.exp(0.8 * g[0] - 0.32) - 1
    other = 0.7 * delta + 0.3 * g[1]
    flow_k = to_fourier(torch.stack([100 * g[i] for i in (1, 2, 3)]))
    delta_k = to_fourier(delta)
    for i, component in enumerate(wavevectors(box, odd=True)):
        flow_k[i] += 50j * component * inverse_k_squared(box) * delta_k
    rng = np.random.default_rng(2)
    centres = rng.uniform(0, size, (20000, 3))
    points = (centres[rng.integers(0, 20000, 200000)] + rng.normal(0, 3.0, (200000, 3))) % size
    on_mesh = (np.floor(points / box.cell_size) + 0.5) * box.cell_size

    def scalar(data: torch.Tensor, where: Box = box) -> Field:
        return Field(data[None], where, ("delta",))

    smooth = gaussian(scalar(delta), 2.5 * box.cell_size)
    small_box = Box(size, SMALL)
    index = torch.fft.fftfreq(cells, 1 / cells, dtype=torch.float64)
    squares = [c.reshape(s) for c, s in zip([index] * 2 + [index[: cells // 2 + 1]], SHAPES, strict=True)]
    finite = sum(torch.sin(torch.pi * c / cells) ** 2 for c in squares)
    length = sum(c**2 for c in squares)
    # Times sum(sin^2) / n^2: Pylians' Green function of finite differences becomes ours, 1 / k^2.
    for_tides = -to_real(to_fourier(smooth.data[0].double()) * (finite / length.clamp(min=1)), cells)
    r_edges = np.array([8.0, 12.0, 16.0, 20.0, 25.0, 30.0])
    across, along = np.array([5.0, 10.0, 15.0, 20.0]), np.arange(0.0, 21.0, 5.0)
    offsets = np.arange(-(cells // 2), cells // 2) * box.cell_size
    x, y, z = np.meshgrid(offsets, offsets, offsets, indexing="ij", sparse=True)
    counts = np.histogram(np.sqrt(x**2 + y**2 + z**2), r_edges)[0]
    rp, pi = (a.ravel() for a in np.broadcast_arrays(np.sqrt(x**2 + y**2), np.abs(z)))
    plane_counts = np.histogram2d(rp, pi, [across, along])[0]
    half = np.round((np.arange(cells // 2) + 0.5) * box.k_fundamental, 5)
    webs = [tidal_web(gaussian(scalar(d), 2.5 * box.cell_size)).classes for d in (delta, other)]
    arrays = {
        "size": np.array(size),
        "delta": delta.numpy(),
        "other": other.numpy(),
        "velocity": to_real(flow_k, cells).numpy(),
        "small": delta[:SMALL, :SMALL, :SMALL].contiguous().numpy(),
        "for_tides": for_tides.float().numpy(),
        "points": points,
        "points_on_mesh": on_mesh,
        "theta": np.linspace(0.3, 2.8, 10),
        "k1": np.array(10 * box.k_fundamental),
        "k2": np.array(14 * box.k_fundamental),
        # Edges between the lengths that mesh vectors have, for codes that bin by rounded k or r.
        "k_edges": half,
        "b_edges": half[[4, 6, 8, 10]],
        "r_edges": r_edges,
        "separations": counts.astype(np.float64),
        "across_edges": across,
        "along_edges": along,
        "plane_separations": plane_counts,
        "three_point_edges": np.array([1.3, 4.3, 7.3, 10.3, 13.3]),
        "wedge_edges": np.arange(1, cells // 2 + 1, 4) - 0.01,
        "mu_edges": np.linspace(0, 1.0001, 6),
        "value_edges": np.linspace(-1, 4, 41),
        "steps": np.array(5),
        "radii": np.array([5.0, 10.0, 20.0]) * box.cell_size * 1.001,
        "classes": webs[0],
        "other_classes": webs[1],
    }
    velocity = Field(
        torch.from_numpy(arrays["velocity"]), box, ("vx", "vy", "vz"), unit="km/s", kind="vector"
    )
    return Inputs(
        box=box,
        delta=scalar(delta),
        other=scalar(other),
        velocity=velocity,
        smooth=smooth,
        small=scalar(torch.from_numpy(arrays["small"]), small_box),
        points=Catalogue(points, Box(size)),
        on_mesh=Catalogue(on_mesh, Box(size)),
        arrays=arrays,
    )


SHAPES = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))


def pylians_cases(data: Inputs) -> list[Case]:
    box, cells = data.box, data.box.mesh
    edges = np.arange(1, cells // 2 + 1) * box.k_fundamental
    n = len(edges) - 1
    r_edges, compared = np.arange(1, cells // 2 + 1) * box.cell_size, 11  # xi(r) crosses zero further out

    def points() -> Modes:
        mesh = paint(data["points"], box, scheme="cic")
        return modes_of(Field(mesh / mesh.mean() - 1, box, ("delta",)), window="cic")

    def cross() -> np.ndarray:
        result = compare_power(data.delta, data.other, edges=edges)
        return np.stack([result.transfer, result.correlation_coefficient])

    def from_powers(found: np.ndarray) -> np.ndarray:
        first, second, both = found[:, :n]
        return np.stack([np.sqrt(first / second), both / np.sqrt(first * second)])

    def helmholtz() -> np.ndarray:
        result = helmholtz_power(data.velocity, edges=edges)
        return np.stack([result.divergence.power, result.vorticity.power])

    def xi(modes: Field | Modes) -> np.ndarray:
        return correlation_multipoles(modes, edges=r_edges).correlation[:, :compared]

    def triangles() -> np.ndarray:
        result = bispectrum_at_angles(
            data.delta, float(data["k1"]), float(data["k2"]), theta=data["theta"], width=2 * box.k_fundamental
        )
        return np.stack([result.bispectrum, result.reduced])

    def spheres() -> np.ndarray:
        return bulk_flow(data.velocity, [float(r) for r in data["radii"]]).rms

    return [
        Case(
            "Pylians: multipoles",
            "P_0, P_2, P_4(k)",
            lambda: power_multipoles(data.delta, edges=edges).power,
            "P_0",
            lambda found: found[:1],
            lambda found: found[:, :n],
        ),
        Case(
            "Pylians: painted",
            "P(k) of points: CIC, window divided out",
            lambda: power_spectrum(points(), edges=edges).power,
            theirs=lambda found: found[:n],
        ),
        Case("Pylians: cross", "T(k), r(k)", cross, "1", np.ones_like, from_powers),
        Case(
            "Pylians: vector",
            "power of a vector",
            lambda: power_spectrum(data.velocity, edges=edges).power,
            theirs=lambda found: found[:n],
        ),
        Case(
            "Pylians: helmholtz",
            "P_theta and P_omega, divergence and curl",
            helmholtz,
            theirs=lambda found: found[:, :n],
        ),
        Case(
            "Pylians: mesh correlation",
            "xi_0, xi_2, xi_4(r) of a field",
            lambda: xi(data.delta),
            "xi_0",
            lambda found: np.abs(found[:1]),
            lambda found: found[:, :compared],
        ),
        Case(
            "Pylians: point correlation",
            "xi_0, xi_2, xi_4(r) of points, CIC, window divided out",
            lambda: xi(points()),
            "xi_0",
            lambda found: np.abs(found[:1]),
            lambda found: found[:, :compared],
        ),
        Case("Pylians: bispectrum", "B(k1, k2, theta), Q", triangles),
        Case(
            "Pylians: tides",
            "T-web eigenvalues",
            lambda: tidal_web(data.smooth).eigenvalues,
            "their rms",
            lambda found: found.std(axis=(1, 2, 3), keepdims=True),
        ),
        Case(
            "Pylians: spheres",
            "rms bulk flow in spheres of 5, 10, 20 cells",
            spheres,
            note="Pylians averages over the cells whose centres lie in the sphere, peculiar over the sphere itself: "
            "the two meet as the sphere grows.",
        ),
    ]


def point_cases(data: Inputs) -> list[Case]:
    box, cells = data.box, data.box.mesh
    k_edges = data["k_edges"]
    half = int(np.sum(k_edges < 0.5 * box.k_nyquist)) - 1

    def with_noise(found: np.ndarray) -> np.ndarray:
        return found[:1] + data.box.volume / len(data.points)

    def interlaced(scheme: str) -> np.ndarray:
        modes = catalogue_modes(data.points, cells, scheme=scheme)  # type: ignore[arg-type]
        modes = replace(modes, shot_noise=0.0)
        return power_multipoles(modes, edges=k_edges).power

    def mean_bispectrum() -> np.ndarray:
        # Over all third sides, and without shot noise: as one multipole of Triumvirate's.
        mesh = paint(data["points"], box, scheme="tsc")
        modes = modes_of(Field(mesh / mesh.mean() - 1, box, ("delta",)), window="tsc")
        b_edges = data["b_edges"]
        edges = np.concatenate([[0.5 * box.k_fundamental], b_edges, [2.02 * b_edges[-1]]])
        found = bispectrum_in_bins(modes, edges)
        bins = np.searchsorted(edges, found.bands[:, :, 0], side="right") - 1
        number = power_spectrum(modes, edges=edges).modes
        total = np.nan_to_num(found.bispectrum) * found.triangles
        pairs = [((bins == i).sum(axis=1) >= 2) for i in range(1, len(b_edges))]
        return np.array([total[chosen].sum() / number[i + 1] ** 2 for i, chosen in enumerate(pairs)])

    def xi(mesh: int) -> np.ndarray:
        modes = catalogue_modes(data.points, mesh)
        return correlation_multipoles(modes, edges=data["r_edges"], orders=(0,)).correlation[0]

    def on_mesh() -> Field:
        mesh = paint(data["points_on_mesh"], box, scheme="ngp")
        return Field(mesh / mesh.mean() - 1, box, ("delta",))

    return [
        Case(
            "Triumvirate: interlaced cic",
            "P_0, P_2, P_4(k) of points, interlaced CIC, shot noise out, to half Nyquist",
            lambda: interlaced("cic")[:, :half],
            "P_0 + shot noise",
            with_noise,
            lambda found: found[:, :half],
        ),
        Case(
            "Triumvirate: interlaced pcs",
            "the same, our interlaced TSC and its PCS, to half Nyquist",
            lambda: interlaced("tsc")[:, :half],
            "P_0 + shot noise",
            with_noise,
            lambda found: found[:, :half],
            note="The schemes differ, and so do the aliases that they leave. Triumvirate's own interlaced TSC is up to "
            "0.5 % below the sum over particles at the smallest k, its CIC, PCS and plain TSC are not.",
        ),
        Case("Triumvirate: mean bispectrum", "B(k, k) over all third sides, points", mean_bispectrum),
        Case(
            "Corrfunc: pairs on the mesh",
            "xi(r) of points at cell centres",
            lambda: correlation_multipoles(on_mesh(), edges=data["r_edges"], orders=(0,)).correlation[0],
        ),
        Case(
            "Corrfunc: plane",
            "xi(r_perp, r_par) of points at cell centres",
            lambda: (
                correlation_plane(
                    on_mesh(), across_edges=data["across_edges"], along_edges=data["along_edges"]
                ).correlation
            ),
            "1 + xi",
            lambda found: 1 + found,
        ),
        *(
            Case(
                "Corrfunc: pairs",
                f"xi(r) of points anywhere, mesh of {mesh}^3",
                lambda mesh=mesh: xi(mesh),  # type: ignore[misc]
                note="Corrfunc averages over all separations in a bin, peculiar over those of the mesh. In bins of 2 "
                "to 4 cells of a steep xi(r) the two differ; they meet on a finer mesh. Of points at cell centres both "
                "sums are the same (above).",
            )
            for mesh in (cells, 2 * cells)
        ),
    ]


def other_cases(data: Inputs) -> list[Case]:
    box = data.box
    edges = data["value_edges"]

    def three_point() -> np.ndarray:
        cell = data.small.box.cell_size
        found = three_point_multipoles(data.small, data["three_point_edges"] * cell, max_order=5)
        return off_diagonal(found.multipoles)

    def agreement() -> np.ndarray:
        result = compare(data.other, data.delta)
        return np.array([result.correlation[0], result.slope[0], result.inverse_slope[0]])

    webs = [tidal_web(gaussian(f, 2.5 * box.cell_size)) for f in (data.other, data.delta)]

    def classes() -> np.ndarray:
        found = confusion(*webs)
        return np.append(found.rates, found.kappa)

    return [
        Case(
            "sarabande: three-point",
            f"zeta_l(r1, r2), l to 5 ({SMALL}^3)",
            three_point,
            "largest of each l",
            lambda found: np.abs(found).max(axis=(1, 2), keepdims=True),
            off_diagonal,
        ),
        Case(
            "SciPy: wedges",
            "P(k, mu)",
            lambda: (
                power_wedges(
                    data.delta,
                    edges=data["wedge_edges"] * box.k_fundamental,
                    mu_edges=np.minimum(data["mu_edges"], 1),
                ).power
            ),
        ),
        Case("SciPy: pointwise", "C_r, slope, inverse slope", agreement),
        Case(
            "SciPy: one-point",
            "one-point PDF",
            lambda: one_point_distribution(data.delta, edges).density[0],
            "its peak",
            lambda found: np.full_like(found, found.max()),
        ),
        Case(
            "SciPy: two-point",
            "two-point PDF",
            lambda: two_point_distribution(data.delta, float(data["steps"]) * box.cell_size, edges).density,
            "its peak",
            lambda found: np.full_like(found, found.max()),
        ),
        Case(
            "SciPy: joint",
            "joint distribution",
            lambda: joint_distribution(data.other, data.delta, first_edges=edges, second_edges=edges).counts,
            "its peak",
            lambda found: np.full_like(found, found.max()),
        ),
        Case("SciPy: confusion", "confusion of T-web classes, kappa", classes, "1", np.ones_like),
    ]


def off_diagonal(values: np.ndarray) -> np.ndarray:
    """sarabande leaves equal bins out."""
    return np.where(np.eye(values.shape[1], dtype=bool), 0.0, values)


def run_codes(
    python: str, arrays: dict[str, np.ndarray], codes: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, object]]]:
    """Results and times of the other codes, from their own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **arrays)
        script = Path(__file__).with_name("reference.py")
        command = [python, str(script), str(source), str(target), *codes]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return dict(np.load(target)), json.loads(target.with_suffix(".json").read_text())


def row(case: Case, found: np.ndarray, seconds: float) -> tuple[str, float]:
    """Line of a table, and the largest difference."""
    theirs = case.theirs(found)
    ours, own_seconds = best(case.ours)
    if ours.shape != theirs.shape:
        raise ValueError(f"{case.key} must have one shape on both sides, got {ours.shape} and {theirs.shape}")
    difference = float(np.nanmax(np.abs(ours - theirs) / case.scale(theirs)))
    ratio = seconds / own_seconds
    cells = (case.label, case.key.split(":")[0], f"{100 * difference:.1g} %", case.relative_to)
    return f"| {' | '.join(cells)} | {own_seconds:.3f} | {seconds:.3f} | {ratio:.2g} |", difference


def tables(data: Inputs, found: dict[str, np.ndarray], record: dict[str, dict[str, object]]) -> str:
    """Markdown of all comparisons: first those of one definition, then the others with the reason."""
    head = [
        "| statistic | code | largest difference | relative to | peculiar [s] | code [s] | ratio |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    same, other, notes = list(head), list(head), []
    for case in [*pylians_cases(data), *point_cases(data), *other_cases(data)]:
        if case.key not in found:
            continue
        code, task = case.key.split(": ")
        line, difference = row(case, found[case.key], record[code]["times"][task])  # type: ignore[index]
        print(line)
        if not case.note and not difference < AGREEMENT:
            raise ValueError(f"{case.label} must agree with {code} to {AGREEMENT:g}, got {difference:.2g}")
        (other if case.note else same).append(line)
        if case.note and case.note not in notes:
            notes.append(case.note)
    versions = "; ".join(str(entry["version"]) for entry in record.values() if "version" in entry)
    missing = "".join(
        f" Not installed: {code} ({entry['missing']})."
        for code, entry in record.items()
        if "missing" in entry
    )
    box = data.box
    return "\n".join(
        [
            f"Fields of {box.mesh}^3 cells in a box of {box.size:g} Mpc/h, {len(data.points)} points; one thread on "
            "both sides, processor time, best of three runs, painting and transforms included. The largest difference is "
            f"over all bins, for the T-web over all cells. {versions}.{missing}",
            "",
            *same,
            "",
            "Where definitions differ:",
            "",
            *other,
            "",
            *(f"- {note}" for note in notes),
        ]
    )


def main() -> None:
    """Print the tables; with --docs, write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codes", required=True, help="Python that has the other codes")
    parser.add_argument("--only", nargs="*", default=list(CODES), choices=list(CODES))
    parser.add_argument("--cells", type=int, default=128)
    parser.add_argument("--size", type=float, default=300.0, help="of the box [Mpc/h]")
    parser.add_argument("--docs", type=Path, help="page to fill")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = make_inputs(options.cells, options.size)
    text = tables(data, *run_codes(options.codes, data.arrays, options.only))
    print(text)
    if options.docs:
        replace_between(options.docs, START, END, text)


def replace_between(page: Path, start: str, end: str, part: str) -> None:
    """Replace what stands between two markers of a page."""
    before, rest = page.read_text(encoding="utf-8").split(start, 1)
    page.write_text(f"{before}{start}\n\n{part}\n\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
