"""Power of clustered points painted on a mesh against their exact power, summed particle by particle.

    python benchmarks/statistics/aliasing.py --figure docs/figures/aliasing.png --docs docs/statistics.md

Plain and interlaced CIC and TSC, the window divided out of all. Prints a Markdown table; --docs also writes it between
`<!-- aliasing: begin -->` and `<!-- aliasing: end -->` of a page, --figure draws the ratios.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from compare import replace_between
from matplotlib.figure import Figure

from peculiar.core import Box, Catalogue, Field
from peculiar.core.readout import Scheme
from peculiar.fields.paint import paint
from peculiar.figures.style import line_style, styled
from peculiar.statistics import catalogue_modes, modes_of, power_spectrum

CELLS, SIZE = 64, 200.0
POINTS, CENTRES, SPREAD = 20000, 5000, 0.5
SCHEMES: tuple[Scheme, ...] = ("cic", "tsc")
POINTS_AT_ONCE = 1000


def clustered_points() -> np.ndarray:
    """Gaussian clumps, much smaller than a cell: with power far above the Nyquist wavenumber that can alias."""
    rng = np.random.default_rng(6)
    centres = rng.uniform(0, SIZE, (CENTRES, 3))
    return (centres[rng.integers(0, CENTRES, POINTS)] + rng.normal(0, SPREAD, (POINTS, 3))) % SIZE


def exact_power(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of V |sum exp(-i k x) / N|^2 over the modes of each bin, shot noise in it; edges in fundamental units."""
    reach = CELLS // 2
    n, half = np.arange(-reach, reach + 1), np.arange(reach + 1)
    modes = np.zeros((len(n) ** 2, len(half)), np.complex128)
    for start in range(0, len(points), POINTS_AT_ONCE):
        phase = 2 * np.pi / SIZE * points[start : start + POINTS_AT_ONCE].T
        x, y = (np.exp(-1j * n[:, None] * phase[axis]) for axis in (0, 1))
        z = np.exp(-1j * half[:, None] * phase[2])
        modes += (x[:, None] * y).reshape(len(modes), -1) @ z.T
    power = np.abs(modes.ravel() / len(points)) ** 2 * SIZE**3
    length = np.sqrt(n[:, None, None] ** 2 + n[:, None] ** 2 + half**2).ravel()
    weight = np.broadcast_to(np.where(half > 0, 2.0, 1.0), (len(modes), len(half))).ravel()
    total, number = (np.histogram(length, edges, weights=w)[0] for w in (power * weight, weight))
    return total / number


def measured_power(points: np.ndarray, edges: np.ndarray) -> dict[str, np.ndarray]:
    """The same from meshes, shot noise in it."""
    box = Box(SIZE, CELLS)
    bins = edges * box.k_fundamental
    result = {}
    for scheme in SCHEMES:
        mesh = paint(points, box, scheme=scheme)
        plain = Field(mesh / (len(points) / CELLS**3) - 1, box, ("delta",))
        result[f"{scheme.upper()}"] = power_spectrum(modes_of(plain, window=scheme), edges=bins).power
        found = power_spectrum(
            catalogue_modes(Catalogue(points, Box(SIZE), redshift=0.0), CELLS, scheme=scheme), edges=bins
        )
        result[f"{scheme.upper()}, interlaced"] = found.power + found.shot_noise
    return result


@styled
def draw(k: np.ndarray, ratios: dict[str, np.ndarray]) -> Figure:
    """Ratios to the exact power; k in units of the Nyquist wavenumber."""
    figure = Figure(figsize=(5.6, 3.4))
    axes = figure.add_subplot()
    axes.axhspan(-0.5, 0.5, color="0.88", lw=0, label="±0.5 %")
    axes.axvline(0.5, color="0.5", lw=0.8, label="half the Nyquist wavenumber")
    for i, (name, ratio) in enumerate(ratios.items()):
        axes.plot(k, 100 * (ratio - 1), label=name, **line_style(i))  # type: ignore[arg-type]
    axes.set(
        xlim=(0, 1),
        yscale="symlog",
        xlabel=r"$k / k_\mathrm{Nyquist}$",
        ylabel=r"$P / P_\mathrm{exact} - 1$ [%]",
    )
    axes.set_yscale("symlog", linthresh=1)
    axes.set_yticks([-1, 0, 1, 10, 100], ["−1", "0", "1", "10", "100"])
    axes.set_ylim(-1.5, 200)
    axes.legend(loc="upper left")
    return figure


def table(k: np.ndarray, ratios: dict[str, np.ndarray]) -> str:
    """Markdown: the largest deviation up to some wavenumbers."""
    limits = (0.25, 0.5, 0.75, 0.97)
    lines = [
        f"| painted with | {' | '.join(f'k < {limit:g} k_Nyquist' for limit in limits)} |",
        "| --- |" + " ---: |" * len(limits),
    ]
    for name, ratio in ratios.items():
        worst = [100 * np.abs(ratio[k < limit] - 1).max() for limit in limits]
        lines.append(f"| {name} | " + " | ".join(f"{value:.2g} %" for value in worst) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; with --figure and --docs, write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, help="PNG to write")
    parser.add_argument("--docs", type=Path, help="page to fill")
    options = parser.parse_args()
    torch.set_num_threads(1)
    edges = np.arange(0.5, CELLS // 2)
    points = clustered_points()
    exact = exact_power(points, edges)
    ratios = {name: power / exact for name, power in measured_power(points, edges).items()}
    k = (edges[1:] + edges[:-1]) / CELLS
    text = table(k, ratios)
    print(text)
    if options.figure:
        draw(k, ratios).savefig(options.figure, dpi=160)
    if options.docs:
        replace_between(options.docs, "<!-- aliasing: begin -->", "<!-- aliasing: end -->", text)


if __name__ == "__main__":
    main()
