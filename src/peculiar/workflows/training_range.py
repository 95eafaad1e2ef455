"""What training data span, for the card of the network that is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peculiar.core.cosmology import Cosmology
from peculiar.inference.card_range import radial_selection
from peculiar.inference.card_values import Selection
from peculiar.linear.overdensity import mean_density
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import DisplacementPair
from peculiar.simulate.regions import box_tracers
from peculiar.training.recipe import DataSettings
from peculiar.training.survey_cubes import observe_cube


def box_ranges(boxes: Sequence[SimulatedBox | DisplacementPair]) -> dict[str, Any]:
    """Measure what training boxes span.

    Returns
    -------
    dict
        Entries of every card: "redshift" and "cell_size" of the box in the middle, "redshift_range", "cell_size_range"
        and "cosmology_range".
    """
    entries: dict[str, Any] = {"cosmology_range": cosmology_range([box.cosmology for box in boxes])}
    for name, values in (
        ("redshift", sorted(box.redshift for box in boxes)),
        ("cell_size", sorted(box.box.cell_size for box in boxes)),
    ):
        entries |= {name: values[len(values) // 2], f"{name}_range": (values[0], values[-1])}
    return entries


def training_range(paths: Sequence[Path], data: DataSettings) -> dict[str, Any]:
    """Measure what training boxes span as a recipe observes them.

    Parameters
    ----------
    paths : sequence of path
        Simulated boxes.
    data : DataSettings
        Variants, or cubes of surveys: the cubes of the first box of each run are observed.

    Returns
    -------
    dict
        Entries of `ModelCard`: those of `box_ranges`, "number_density_range", and "selection" where every cube stands
        at one place of a survey.
    """
    boxes = [SimulatedBox.open(path) for path in paths]
    densities = [value for variant in data.variants for value in variant.bounds("number_density")]
    selection = None
    if data.cubes:
        seen = []
        for box in {box.path.parent: box for box in reversed(boxes)}.values():
            for variant in data.cubes:
                tracers = box_tracers(box, variant.tracers(), seed=box.seed)
                for number in range(variant.cubes):
                    mock = observe_cube(box, variant, number=number, tracers=tracers, places="random")
                    seen.append(mock.catalogue)
        densities = [mean_density(catalogue) for catalogue in seen]
        if len(data.cubes) == 1 and data.cubes[0].pattern == "survey cube":
            distances, expected = radial_selection(seen[-1])
            selection = Selection(
                side=seen[-1].box.side,
                distances=tuple(distances.tolist()),
                number_density=tuple(float(f"{value:.4g}") for value in expected),
            )
    return {
        **box_ranges(boxes),
        "number_density_range": (float(f"{min(densities):.4g}"), float(f"{max(densities):.4g}")),
        "selection": selection,
    }


def cosmology_range(cosmologies: Sequence[Cosmology]) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest Omega_m and sigma8."""
    found = {name: [getattr(one, name) for one in cosmologies] for name in ("Omega_m", "sigma8")}
    return {name: (min(values), max(values)) for name, values in found.items()}
