"""The figures of an evaluation of painters: figures 8 to 14 of Kodi Ramanah et al. 2019, counts and catalogues."""

from __future__ import annotations

import numpy as np

from peculiar.evaluation.counts.measure import ANGLES, BLOCKS, DENSITIES, ORDERS, TRIANGLES
from peculiar.evaluation.counts.rows import BIASED, CATALOGUE, LEAST_MASSES
from peculiar.evaluation.counts.samples import SLAB
from peculiar.evaluation.record import TRUTH, Evaluation
from peculiar.figures import painting, painting_spectra
from peculiar.figures.painting_spectra import PaintedPower
from peculiar.figures.style import Plot

TITLES = {
    name: rf"$k_1, k_2 = {sides[0]:g}, {sides[1]:g}\,h\,{{\rm Mpc}}^{{-1}}$"
    for name, sides in TRIANGLES.items()
}


def count_plots(evaluation: Evaluation) -> list[Plot]:
    """Draw every figure of an evaluation of `CountTask`."""
    arrays, record = evaluation.arrays, evaluation.record
    whole, *bins = record["samples"]
    count, box = len(record["boxes"]), record["box"]
    cell = box["size"] / box["cells"]
    sample = f"{count} box{'es' if count > 1 else ''}, {record['settings']['draws']} draws each"
    masses = f"Halos of {_words(whole)}."
    models = [name for name in evaluation.models if arrays.has("power", name, sample=whole)]
    drawn = [name for name in models if name != BIASED]
    held = [label for label in bins if any(arrays.has("power", name, sample=label) for name in models)]

    def of(label: str, names: list[str], key: str) -> dict[str, np.ndarray]:
        return {
            name: arrays.of(key, name, sample=label) for name in names if arrays.has(key, name, sample=label)
        }

    slices: dict[str, np.ndarray] = {}
    for name in models:
        draw, mean = (arrays.of(f"slice/{kind}", name) for kind in ("draw", "mean"))
        if np.array_equal(draw, mean):
            slices[name] = mean
        else:
            slices |= {f"{name}, draw": draw, f"{name}, mean": mean}
    figure = painting.count_slices(
        arrays.of("slice/density", TRUTH),
        arrays.of("slice/counts", TRUTH),
        slices,
        size=box["size"],
        depth=max(1, round(SLAB / cell)) * cell,
    )
    text = f"{masses} First box, one draw of each model. Biased 2LPT may be negative, which is drawn as none."
    plots = [Plot("fig08_slices", "Halos in a slice", text, figure)]

    joints = {name: rows.sum(axis=0) for name, rows in of(whole, drawn, "joint").items()}
    top = int(np.max(np.nonzero(next(iter(joints.values())).sum(axis=1))[0], initial=1))
    figure = painting.conditional_counts(joints, largest=min(top, 20))
    text = (
        f"{masses} Cells of {cell:g} Mpc/h of {sample}. Left: distribution of the painted count given the N-body "
        "count of the cell; a draw scatters as halos do, so it lies below the dashed line where the count is high. "
        "Right: distribution of the difference."
    )
    plots.append(
        Plot("fig09_conditional", "Painted counts given the N-body count", text, figure, vector=True)
    )

    spectra = {label: _powers(evaluation, label, models) for label in (whole, *held)}
    text = (
        f"{masses} Mean of {sample}; bands: standard deviation between boxes; grey: 10 % of the power. Raw powers, "
        "shot noise left in. r(k) and stochasticity are of the mean field given the density."
    )
    figure = painting_spectra.halo_powers(arrays["k"], spectra[whole])
    plots.append(
        Plot("fig10_power", "Power, transfer, correlation, stochasticity", text, figure, vector=True)
    )

    text = (
        f"{masses} Mean of {sample}, shot noise left in; bands: standard deviation between boxes; grey: 10 %. Where "
        "the third side goes beyond the mesh's Nyquist wavenumber there is no value."
    )
    figure = painting_spectra.bispectra(
        ANGLES,
        {name: arrays.of(f"bispectrum/{name}", TRUTH, sample=whole) for name in TRIANGLES},
        {
            model: {name: arrays.of(f"bispectrum/{name}", model, sample=whole) for name in TRIANGLES}
            for model in models
        },
        titles=TITLES,
    )
    plots.append(Plot("fig11_bispectrum", "Bispectra of counts", text, figure, vector=True))

    text = f"Mean of {sample}, raw powers; bands: standard deviation between boxes; grey: 10 %."
    figure = painting_spectra.powers_by_mass(arrays["k"], {label: spectra[label] for label in held})
    plots.append(Plot("fig13_power_by_mass", "Power of each mass bin", text, figure, vector=True))

    figure = painting_spectra.bispectra_by_mass(
        ANGLES,
        {
            label: {
                name: {
                    configuration: arrays.of(f"bispectrum/{configuration}", name, sample=label)
                    for configuration in TRIANGLES
                }
                for name in (TRUTH, *spectra[label])
            }
            for label in held
        },
        titles=TITLES,
    )
    text = f"Mean of {sample}, shot noise left in; grey: 10 %."
    plots.append(Plot("fig14_bispectrum_by_mass", "Bispectra of each mass bin", text, figure, vector=True))

    figure = painting.count_distributions(
        {side * cell: arrays.of(f"histogram/{side}", TRUTH, sample=whole).sum(axis=0) for side in BLOCKS},
        {
            name: {
                side * cell: arrays.of(f"histogram/{side}", name, sample=whole).sum(axis=0) for side in BLOCKS
            }
            for name in drawn
        },
    )
    text = f"{masses} {sample.capitalize()}. Ratios where the N-body boxes have 20 cubes or more; grey: 10 %."
    plots.append(Plot("counts_in_cells", "Counts in cubes", text, figure, vector=True))

    figure = painting.counts_given_density(
        DENSITIES,
        arrays.of("density", TRUTH, sample=whole).sum(axis=0),
        {name: rows.sum(axis=0) for name, rows in of(whole, drawn, "density").items()},
    )
    text = (
        f"{masses} Cells of {cell:g} Mpc/h of {sample}; bins of 100 cells or more. Poisson counts have a variance "
        "equal to their mean; where the mean depends on more than this density, its scatter adds to it."
    )
    plots.append(Plot("counts_given_density", "Counts given the 2LPT density", text, figure, vector=True))
    return plots + _catalogue_plots(evaluation)


def _catalogue_plots(evaluation: Evaluation) -> list[Plot]:
    arrays, record = evaluation.arrays, evaluation.record
    painters = [name for name in evaluation.models if arrays.has("k", name, sample=CATALOGUE)]
    if not painters:
        return []
    first = painters[0]
    figure = painting.mass_functions(
        arrays["mass_edges"],
        arrays.of("true_masses", first, sample=CATALOGUE),
        {name: arrays.of("masses", name, sample=CATALOGUE) for name in painters},
        volume=record["box"]["size"] ** 3,
        least=LEAST_MASSES,
    )
    text = (
        f"Bins of 0.1 dex or more, their edges half-way between whole numbers of particles; error bars: Poisson of the "
        f"N-body halos; ratios where they are {LEAST_MASSES} or more; grey: 10 %."
    )
    plots = [Plot("mass_function", "Halo mass function", text, figure, vector=True)]
    quantities = {"real space": "power", **{rf"$\ell={order}$": f"multipole/{order}" for order in ORDERS}}
    figure = painting_spectra.catalogue_powers(
        arrays.of("k", first, sample=CATALOGUE)[0],
        {
            name: {
                title: (
                    arrays.of(f"{key}", name, sample=CATALOGUE),
                    arrays.of(f"true_{key}", name, sample=CATALOGUE),
                )
                for title, key in quantities.items()
            }
            for name in painters
        },
        scales={title: "real space" if title == "real space" else r"$\ell=0$" for title in quantities},
    )
    text = (
        f"Catalogues of at most {record['settings']['number_density']:g} (h/Mpc)^3 by abundance, painted and N-body "
        "alike; mean of three lines of sight, shot noise subtracted. Below, differences from the N-body halos over "
        "their power in real space or their monopole; bands: standard error of the N-body halos; grey: 10 %."
    )
    plots.append(Plot("catalogue_multipoles", "Multipoles of catalogues", text, figure, vector=True))
    figure = painting_spectra.bispectra(
        ANGLES,
        {name: arrays.of(f"true_bispectrum/{name}", first, sample=CATALOGUE) for name in TRIANGLES},
        {
            model: {name: arrays.of(f"bispectrum/{name}", model, sample=CATALOGUE) for name in TRIANGLES}
            for model in painters
        },
        titles=TITLES,
    )
    text = (
        "The same catalogues in real space, all angles, on a finer mesh, shot noise subtracted; grey: 10 %."
    )
    plots.append(Plot("catalogue_bispectrum", "Bispectra of catalogues", text, figure, vector=True))
    return plots


def _powers(evaluation: Evaluation, label: str, models: list[str]) -> dict[str, PaintedPower]:
    arrays = evaluation.arrays
    return {
        name: PaintedPower(
            power=arrays.of("power", name, sample=label),
            mean_power=arrays.of("mean/power", name, sample=label),
            mean_cross=arrays.of("mean/cross", name, sample=label),
            true_power=arrays.of("power", TRUTH, sample=label),
        )
        for name in models
        if arrays.has("power", name, sample=label)
    }


def _words(label: str) -> str:
    low, high = label.split("-")
    return f"10^{low} to 10^{high} Msun/h"
