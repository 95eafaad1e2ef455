"""Classical reconstructors of observed cubes, tuned on validation boxes as networks are trained on theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.core.output import atomic_output
from peculiar.core.own_files import clear_leftovers
from peculiar.linear import IterativeFFT, LinearTheory
from peculiar.linear.isolated import inner_field, isolated_flow
from peculiar.linear.overdensity import Weighting, tracer_weights
from peculiar.linear.tuning import tune
from peculiar.simulate.regions import MockSurvey

Grid = Mapping[str, Sequence[float]]

GRID: Grid = {"smoothing": (2.0, 5.0, 11.0), "bias": (0.6, 1.2, 2.4)}
"""First values of the tuning, refined three times: smoothing [Mpc/h] and bias."""
TUNED = 2
"""Steps of progress of a tuning."""
FORMAT = 1
LARGEST_SMOOTHING = 20.0  # Mpc/h, for the true density

Method = LinearTheory | IterativeFFT


@dataclass(frozen=True)
class SurveyBaseline:
    """A classical reconstructor whose tracers count each as one, or by their masses.

    Parameters
    ----------
    method : LinearTheory or IterativeFFT
    weighting : "number" or "mass"
    error : float
        Rms error of a velocity component on the validation cubes [km/s].
    """

    method: Method
    weighting: Weighting
    error: float = float("nan")

    @property
    def name(self) -> str:
        """Name in score tables."""
        return self.method.name

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return "density", "velocity" and "momentum" [km/s] on the catalogue's box."""
        weighted = catalogue.replace(weights=tracer_weights(catalogue, self.weighting))
        return self.method.reconstruct(weighted, cells=cells, cosmology=cosmology)


@dataclass(frozen=True)
class _Inside:
    """A baseline that is judged by the cube inside the region alone."""

    baseline: SurveyBaseline
    margin: int

    @property
    def name(self) -> str:
        return self.baseline.name

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        fields = self.baseline.reconstruct(catalogue, cells=cells + 2 * self.margin, cosmology=cosmology)
        return {name: inner_field(field, self.margin) for name, field in fields.items()}

    def memory(self, box: Box) -> int:
        return self.baseline.method.memory(box)


def tune_baselines(
    surveys: Sequence[MockSurvey],
    *,
    cosmology: Cosmology,
    advance: Callable[[int], None] = lambda units: None,
) -> list[SurveyBaseline]:
    """Return linear theory and the iterative FFT with the settings of least velocity error on observed cubes.

    Smoothing and bias of both are tuned over all cells of the cubes. Where the tracers have masses, linear theory is
    tuned with and without weights by mass, and all take what serves it better. The iterative FFT is tuned as it is,
    and, by its bias once more, with the flow of the matter that is expected beyond the survey's edge.

    Parameters
    ----------
    surveys : sequence of MockSurvey
        Of one sample.
    cosmology : Cosmology
    advance : callable
        Called with 1 when linear theory is done, and when the others are.

    Returns
    -------
    list of SurveyBaseline
        Linear theory, the iterative FFT, and the latter with the surroundings.
    """
    margin = surveys[0].margin
    validation = [(survey.catalogue, inner_field(survey.velocity, margin)) for survey in surveys]

    def best(make: Callable[..., Method], weighting: Weighting, grid: Grid = GRID) -> SurveyBaseline:
        def factory(**settings: float) -> _Inside:
            return _Inside(SurveyBaseline(make(**settings), weighting), margin)

        found = tune(factory, grid, validation, cosmology=cosmology, refinements=3)
        return replace(factory(**found.best).baseline, error=found.error)

    weightings: list[Weighting] = ["number"]
    if all(survey.catalogue.masses is not None for survey in surveys):
        weightings.append("mass")
    linear = min((best(LinearTheory, weighting) for weighting in weightings), key=_error)
    advance(1)
    plain = best(IterativeFFT, linear.weighting)
    informed = partial(IterativeFFT, smoothing=plain.method.smoothing, surroundings=True)
    assert plain.method.bias is not None
    biases = [factor * plain.method.bias for factor in (0.6, 1.0, 1.6)]
    extended = best(informed, linear.weighting, {"bias": biases})
    advance(1)
    return [linear, plain, extended]


def _error(baseline: SurveyBaseline) -> float:
    return baseline.error


def kept_baselines(
    surveys: Sequence[MockSurvey],
    *,
    cosmology: Cosmology,
    directory: Path,
    advance: Callable[[int], None] = lambda units: None,
) -> list[SurveyBaseline]:
    """Return what `tune_baselines` finds, from a file where the same cubes were tuned on before.

    Parameters
    ----------
    surveys, cosmology, advance
        As in `tune_baselines`.
    directory : path
        Where the files are kept.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, *GRID.items()], default=str).encode())
    for survey in surveys:
        for values in (survey.catalogue.positions, survey.catalogue.masses, survey.velocity.numpy()):
            digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    path = directory / f"baselines-{digest.hexdigest()[:12]}.json"
    clear_leftovers(directory)
    if not path.exists():
        found = tune_baselines(surveys, cosmology=cosmology, advance=advance)
        settings = [
            {"method": asdict(one.method), "weighting": one.weighting, "error": one.error} for one in found
        ]
        with atomic_output(path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    else:
        advance(TUNED)
    linear, plain, extended = json.loads(path.read_text(encoding="utf-8"))
    return [
        SurveyBaseline(make(**one["method"]), one["weighting"], one["error"])
        for make, one in ((LinearTheory, linear), (IterativeFFT, plain), (IterativeFFT, extended))
    ]


def tune_true_density(cubes: Sequence[tuple[Field, Field, float]], *, periodic: bool) -> float:
    """Return the smoothing [Mpc/h] of least velocity error of linear theory on the true density of isolated cubes.

    Parameters
    ----------
    cubes : sequence of (overdensity, velocity, a H f)
    periodic : bool
        See `isolated_flow`.
    """
    from scipy.optimize import minimize_scalar

    def error(smoothing: float) -> float:
        squares = []
        for density, velocity, factor in cubes:
            flow = isolated_flow(density, velocity_factor=factor, smoothing=smoothing, periodic=periodic)
            squares.append(float((flow.data - velocity.data).double().square().mean()))
        return float(np.mean(squares))

    found = minimize_scalar(error, bounds=(0.0, LARGEST_SMOOTHING), method="bounded", options={"xatol": 0.05})
    return round(float(found.x), 2)


def outside_response(predictions: Sequence[tuple[Field, Field, Field]]) -> float:
    """Return the number times which the flow from outside explains most of the predictions' errors.

    Parameters
    ----------
    predictions : sequence of (predicted, true, from outside)
        Velocities of validation cubes [km/s].

    Returns
    -------
    float
        sum v_out . (v_t - v_p) / sum v_out^2 over all cells and cubes.
    """
    product, square = 0.0, 0.0
    for predicted, truth, outside in predictions:
        product += float((outside.data * (truth.data - predicted.data)).double().sum())
        square += float(outside.data.double().square().sum())
    return product / max(square, 1e-30)
