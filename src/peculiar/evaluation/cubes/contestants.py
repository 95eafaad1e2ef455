"""Who reconstructs isolated cubes: networks, and baselines tuned on validation cubes of the same sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peculiar.core import Field, InputError, Reconstructor
from peculiar.evaluation.cubes.baselines import (
    SurveyBaseline,
    kept_baselines,
    outside_response,
    tune_true_density,
)
from peculiar.evaluation.cubes.measure import Cube, observed_cube
from peculiar.evaluation.cubes.rows import (
    ITERATIVE,
    LINEAR,
    SURROUNDINGS,
    TRUE_PADDED,
    TRUE_PERIODIC,
    TRUE_SURROUNDINGS,
)
from peculiar.linear.isolated import inner_field, isolated_flow
from peculiar.linear.surroundings import matter_surroundings
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey

CUBES = 8
"""Cubes of a box that is twice as wide."""

Observe = Callable[[SimulatedBox, int], MockSurvey]
Predict = Callable[[MockSurvey, Cube, SimulatedBox], Field]


@dataclass(frozen=True, eq=False)
class Tuned:
    """What was fitted on the validation cubes of a sample."""

    predictors: dict[str, Predict]
    responses: dict[str, float]
    settings: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    radial: bool


def tune_sample(
    paths: Sequence[Path | str],
    networks: Mapping[str, Reconstructor],
    observe: Observe,
    *,
    cubes: int,
    advance: Callable[[int], None],
) -> Tuned:
    """Tune the baselines of one sample, and fit to what extent the flow from outside explains each model's errors."""
    observed: list[tuple[SimulatedBox, MockSurvey]] = []
    for path in paths:
        simulated = SimulatedBox.open(path)
        surveys = [observe(simulated, i * CUBES // cubes) for i in range(cubes)]
        # A box that is opened again has no halos in memory.
        observed += [(SimulatedBox.open(path), survey) for survey in surveys]
    truths = [
        (
            inner_field(survey.density, survey.margin),
            inner_field(survey.velocity, survey.margin),
            box.cosmology.velocity_factor(box.redshift),
        )
        for box, survey in observed
    ]
    smoothings = {
        TRUE_PADDED: tune_true_density(truths, periodic=False),
        TRUE_PERIODIC: tune_true_density(truths, periodic=True),
    }
    smoothings[TRUE_SURROUNDINGS] = smoothings[TRUE_PADDED]
    found_settings = kept_baselines(
        [survey for _, survey in observed],
        cosmology=observed[0][0].cosmology,
        directory=Path(paths[0]).parent / "cache",
        advance=advance,
    )
    classical = dict(zip((LINEAR, ITERATIVE, SURROUNDINGS), found_settings, strict=True))
    predictors: dict[str, Predict] = {name: _observed(network) for name, network in networks.items()}
    predictors |= {name: _observed(baseline) for name, baseline in classical.items()}
    predictors |= {name: _isolated(smoothing, name) for name, smoothing in smoothings.items()}
    cut = [
        (survey, observed_cube(box, survey, smoothing=smoothings[TRUE_PADDED]), box)
        for box, survey in observed
    ]
    responses, left_out = {}, {}
    for name, predict in list(predictors.items()):
        try:
            pairs = [
                (predict(*one), one[1].velocity, one[1].velocity.replace(data=one[1].outside)) for one in cut
            ]
        except InputError as error:
            if name not in networks:
                raise
            left_out[name] = str(error)
            del predictors[name]
            continue
        responses[name] = outside_response(pairs)
    found: dict[str, dict[str, Any]] = {
        name: {**asdict(one.method), "weighting": one.weighting, "error": one.error}
        for name, one in classical.items()
    }
    found |= {name: {"smoothing": smoothing} for name, smoothing in smoothings.items()}
    radial = cut[0][1].from_observer is not None
    return Tuned(predictors, responses, found, left_out, radial)


def _observed(reconstructor: Reconstructor | SurveyBaseline) -> Predict:
    def predict(survey: MockSurvey, truth: Cube, simulated: SimulatedBox) -> Field:
        cells = survey.density.box.mesh
        fields = reconstructor.reconstruct(survey.catalogue, cells=cells, cosmology=simulated.cosmology)
        return inner_field(fields["velocity"], survey.margin)

    return predict


def _isolated(smoothing: float, name: str) -> Predict:
    def predict(survey: MockSurvey, truth: Cube, simulated: SimulatedBox) -> Field:
        cosmology, redshift = simulated.cosmology, simulated.redshift
        factor = cosmology.velocity_factor(redshift)
        flow = isolated_flow(
            truth.density, velocity_factor=factor, smoothing=smoothing, periodic=name == TRUE_PERIODIC
        )
        if name != TRUE_SURROUNDINGS:
            return flow
        expected = matter_surroundings(truth.density, cosmology=cosmology, redshift=redshift)
        return flow.replace(data=flow.data + factor * expected)

    return predict
