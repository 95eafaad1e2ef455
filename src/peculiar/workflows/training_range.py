"""What training data span, for the card of the network that is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peculiar.core.cosmology import Cosmology
from peculiar.inference.card_range import radial_selection
from peculiar.inference.model_card import Selection
from peculiar.linear.overdensity import mean_density
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import box_tracers
from peculiar.training.recipe import DataSettings
from peculiar.training.survey_cubes import observe_cube


def training_range(paths: Sequence[Path], data: DataSettings) -> dict[str, Any]:
    """Measure the ranges of redshift, cosmology and number density of training boxes as a recipe observes them.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes.
    data : DataSettings
        Variants, or cubes of surveys: the cubes of the first box are observed.

    Returns
    -------
    dict
        Entries of `ModelCard`: "redshift_range", "cosmology_range", "number_density_range", and "selection" where every
        cube stands at one place of a survey.
    """
    boxes = [SimulatedBox.open(path) for path in paths]
    redshifts = [box.redshift for box in boxes]
    densities = [variant.number_density for variant in data.variants]
    selection = None
    if data.cubes:
        seen = []
        for variant in data.cubes:
            tracers = box_tracers(boxes[0], variant.tracers(), seed=boxes[0].seed)
            for number in range(variant.cubes):
                mock = observe_cube(boxes[0], variant, number=number, tracers=tracers, places="random")
                seen.append(mock.catalogue)
        densities = [mean_density(catalogue) for catalogue in seen]
        if len(data.cubes) == 1 and data.cubes[0].pattern == "survey cube":
            distances, expected = radial_selection(seen[0])
            selection = Selection(
                side=seen[0].box.size,
                distances=tuple(distances.tolist()),
                number_density=tuple(float(f"{value:.4g}") for value in expected),
            )
    return {
        "redshift_range": (min(redshifts), max(redshifts)),
        "cosmology_range": cosmology_range([box.cosmology for box in boxes]),
        "number_density_range": (float(f"{min(densities):.4g}"), float(f"{max(densities):.4g}")),
        "selection": selection,
    }


def cosmology_range(cosmologies: Sequence[Cosmology]) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest Omega_m and sigma8."""
    found = {name: [getattr(one, name) for one in cosmologies] for name in ("Omega_m", "sigma8")}
    return {name: (min(values), max(values)) for name, values in found.items()}
