"""The figures of an evaluation of displacement emulators."""

from __future__ import annotations

import numpy as np

from peculiar.evaluation.displacements.measure import THREE_POINT_BIN
from peculiar.evaluation.displacements.rows import THEORY
from peculiar.evaluation.record import TRUTH, Evaluation
from peculiar.figures.displacement import (
    KINDS,
    Spectra,
    displacement_spectra,
    particle_sheets,
    three_point_ratios,
)
from peculiar.figures.style import Plot


def displacement_plots(evaluation: Evaluation) -> list[Plot]:
    """Draw every figure of an evaluation of `DisplacementTask`."""
    record, arrays = evaluation.record, evaluation.arrays
    pairs, variant = len(record["pairs"]), record["variant"]
    networks = record["settings"]["models"]
    sheets = {name: arrays.of("sheet", name) for name in (THEORY, *networks)}
    plots = [
        Plot(
            "fig02_particles",
            "Where the particles go",
            f"Two layers of the first pair's lattice ({variant}), seen from above. Colours: distance between the place "
            "that a method gives to a particle and its true place.",
            particle_sheets(arrays.of("sheet", TRUTH), sheets, size=float(arrays["size"])),
        )
    ]
    spectra = {
        name: {
            kind: Spectra(
                arrays[f"k_{kind}"],
                *(arrays.of(f"{part}/{kind}", name) for part in ("power", "true_power", "cross")),
            )
            for kind in KINDS
        }
        for name in record["models"]
    }
    plots.append(
        Plot(
            "fig03_spectra",
            "Power of displacement and density",
            f"Means over {pairs} pairs ({variant}): power, T(k), and 1 - r^2, the part of the truth's variance that a "
            "method does not explain. Bands: standard deviation between pairs; grey: 1 %.",
            displacement_spectra(spectra),
            vector=True,
        )
    )
    if arrays.has("zeta", TRUTH):
        truth = arrays.of("zeta", TRUTH)
        bins = truth.shape[-1]
        edges = np.arange(bins + 1) * THREE_POINT_BIN
        plots.append(
            Plot(
                "fig03_three_point",
                "Three-point correlation",
                f"Multipoles over the true ones, means over {len(truth)} pairs ({variant}); bars: standard deviation "
                "of the difference between pairs.",
                three_point_ratios(
                    0.5 * (edges[1:] + edges[:-1]),
                    truth,
                    {name: arrays.of("zeta", name) for name in (THEORY, *networks)},
                ),
                vector=True,
            )
        )
    return plots
