"""What velocities in isolated cubes are measured by: Table 4 of Wang et al. 2024, and errors by place in the survey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Cosmology, Field
from peculiar.core.catalogue import SELECTION_FLOOR
from peculiar.evaluation.record import Measured
from peculiar.linear.clustering import linear_bias
from peculiar.linear.isolated import inner_field, outside_flow, potential_in
from peculiar.linear.reliability import known_fraction, unbiased
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey
from peculiar.statistics.pointwise import compare, compare_vectors, magnitude

THRESHOLD = 200.0
"""Errors are counted below this [km/s], the paper's."""
EVERYWHERE, CENTRE, BOUNDARY, SEEN = "all", "centre", "boundary", "seen"
KNOWN, UNBIASED = "outside known", "unbiased"
"""Parts of a cube: every cell; within a sixth of the side from no face (200 of 300 Mpc/h), and the rest; cells with a
completeness above 0.3, where others have not; every cell with the flow from outside added to the prediction; and every
cell with the prediction over the known fraction."""
VELOCITY_EDGES = np.linspace(-1500.0, 1500.0, 101)
ERROR_EDGES = np.linspace(0.0, 1000.0, 51)
COSINE_EDGES = np.linspace(-1.0, 1.0, 51)
"""Of the histograms; values beyond [km/s] count in the last bins."""
MOMENTS = ("cells", "error", "error^2", "true", "true^2", "error true")
"""What is summed over cells of the radial velocity's error and the true radial velocity."""


@dataclass(frozen=True, eq=False)
class Cube:
    """The truth of an observed cube, and what its cells are to the survey.

    Attributes
    ----------
    velocity, density : Field
        Of matter; velocity in km/s.
    outside : (3, x, y, z) [km/s]
        Linear flow of the matter outside the cube.
    potential : (x, y, z)
        Of all matter, over its rms.
    parts : name -> (x, y, z)
        Cells that count.
    sight : (3, x, y, z)
        Unit vectors along the line of sight.
    from_edge : (x, y, z) [Mpc/h]
        Distance to the nearest place with a completeness below 0.3; negative where it is below, to the nearest above.
    from_observer : (x, y, z) [Mpc/h] or None
        None for a line of sight along an axis.
    """

    velocity: Field
    density: Field
    outside: Float[torch.Tensor, "3 x y z"]
    potential: Float[torch.Tensor, "x y z"]
    parts: Mapping[str, Bool[torch.Tensor, "x y z"]]
    sight: Float[torch.Tensor, "3 x y z"]
    from_edge: Float[np.ndarray, "x y z"]
    from_observer: Float[np.ndarray, "x y z"] | None


def observed_cube(simulated: SimulatedBox, survey: MockSurvey, *, smoothing: float) -> Cube:
    """Return the truth of a survey's cube; `smoothing` [Mpc/h] is of the flow from outside."""
    density, velocity = (inner_field(field, survey.margin) for field in (survey.density, survey.velocity))
    n = density.box.mesh
    x, y, z = (cells[survey.margin : survey.margin + n] for cells in survey.rows)
    catalogue = survey.catalogue
    flat = density.box.centres()
    sight = torch.from_numpy(np.ascontiguousarray(catalogue.sight_lines(flat).T.astype(np.float32)))
    observer = None
    if catalogue.line_of_sight == "radial":
        observer = np.linalg.norm(flat - np.asarray(catalogue.observer), axis=-1).reshape(n, n, n)
    completeness = catalogue.completeness
    seen = (
        np.ones((n, n, n), dtype=bool)
        if completeness is None
        else inner_field(completeness, survey.margin).numpy()[0] > SELECTION_FLOOR
    )
    return Cube(
        velocity=velocity,
        density=density,
        outside=outside_flow(
            simulated.density,
            (x, y, z),
            velocity_factor=simulated.cosmology.velocity_factor(simulated.redshift),
            smoothing=smoothing,
        ),
        potential=potential_in(simulated.density, (x, y, z)),
        parts=parts_of(seen),
        sight=sight.reshape(3, n, n, n),
        from_edge=distance_from_edge(seen, cell_size=density.box.cell_size),
        from_observer=observer,
    )


def parts_of(seen: Bool[np.ndarray, "x y z"]) -> dict[str, Bool[torch.Tensor, "x y z"]]:
    """Return the parts of a cube, by which of its cells the survey sees."""
    n = len(seen)
    centre = torch.zeros((n, n, n), dtype=torch.bool)
    rows = slice(n // 6, n - n // 6)
    centre[rows, rows, rows] = True
    parts = {EVERYWHERE: torch.ones_like(centre), CENTRE: centre, BOUNDARY: ~centre}
    if not seen.all():
        parts[SEEN] = torch.from_numpy(seen)
    return parts


def distance_from_edge(seen: Bool[np.ndarray, "x y z"], *, cell_size: float) -> Float[np.ndarray, "x y z"]:
    """Distance [Mpc/h] of cells to the edge of what is seen, negative outside; faces of the cube are edges.

    It is of their centres; halfway between two neighbours, one seen and one not, is the edge.

    Examples
    --------
    >>> distance_from_edge(np.ones((4, 4, 4), bool), cell_size=5.0)[:, 2, 2].tolist()
    [2.5, 7.5, 7.5, 2.5]
    """
    from scipy.ndimage import distance_transform_edt

    padded = np.pad(seen, 1)
    inside = distance_transform_edt(padded) - 0.5
    outside = distance_transform_edt(~padded) - 0.5
    distances = np.where(padded, inside, -outside)[1:-1, 1:-1, 1:-1]
    return np.asarray(cell_size * distances)


def distance_edges(side: float) -> dict[str, Float[np.ndarray, " edge"]]:
    """Return the bins of distances for cubes of a side [Mpc/h]: from the survey's edge, and from the observer.

    For cubes of 300 Mpc/h: 10 Mpc/h wide to 150 Mpc/h on both sides of the edge; 20 Mpc/h wide to 600 Mpc/h from the
    observer, then 100 Mpc/h to 3000.
    """
    near, far = np.linspace(0.0, 2.0, 31), np.linspace(2.0, 10.0, 25)[1:]
    return {
        "from_edge": np.linspace(-0.5, 0.5, 31) * side,
        "from_observer": np.concatenate([near, far]) * side,
    }


def survey_fraction(
    survey: MockSurvey, *, cosmology: Cosmology, found: dict[bytes, Float[torch.Tensor, "x y z"]]
) -> Float[torch.Tensor, "x y z"]:
    """Return `known_fraction` in a survey's cube; `found` keeps it by what the survey covers, to be made once."""
    catalogue = survey.catalogue
    assert catalogue.completeness is not None
    key = catalogue.completeness.numpy().tobytes()
    if key not in found:
        whole = known_fraction(
            catalogue,
            cells=survey.density.box.mesh,
            cosmology=cosmology,
            bias=linear_bias(catalogue, cosmology=cosmology),
        )
        rows = slice(survey.margin, survey.margin + survey.inner.mesh)
        found[key] = whole[rows, rows, rows]
    return found[key]


def measure_cube(
    predicted: Field, cube: Cube, *, response: float, fraction: Float[torch.Tensor, "x y z"]
) -> Measured:
    """Measure a predicted velocity of a cube.

    Scores are of parts. Sums are "joint/all" and "joint/centre" (component, true, predicted), and "direction" (error,
    cosine); rows are "moments" (moment, distance from the edge, from the observer).

    Parameters
    ----------
    predicted : Field
        On the cube's mesh [km/s].
    cube : Cube
    response : float
        Times this the flow from outside is added where it counts as known.
    fraction : (x, y, z)
        Of the velocity's variance that the survey determines, see `known_fraction`.
    """
    velocity = cube.velocity.replace(data=predicted.data.float())
    known = velocity.replace(data=velocity.data + response * cube.outside)
    scores = {name: velocity_scores(velocity, cube.velocity, mask) for name, mask in cube.parts.items()}
    scores[KNOWN] = velocity_scores(known, cube.velocity, cube.parts[EVERYWHERE])
    whole = velocity.replace(data=unbiased(velocity.data, fraction))
    scores[UNBIASED] = velocity_scores(whole, cube.velocity, cube.parts[EVERYWHERE])
    counts = {
        "joint/all": _joint(velocity, cube.velocity, cube.parts[EVERYWHERE]),
        "joint/centre": _joint(velocity, cube.velocity, cube.parts[CENTRE]),
        "direction": _direction(velocity, cube.velocity),
    }
    return Measured(parts=scores, sums=counts, rows={"moments": error_moments(velocity, cube)})


def velocity_scores(predicted: Field, truth: Field, mask: Bool[torch.Tensor, "x y z"]) -> dict[str, float]:
    """Return the statistics of Table 4, and error and correlation of a component, over the mask's cells."""
    vector = compare_vectors(predicted, truth, threshold=THRESHOLD, mask=mask)
    components = compare(predicted, truth, mask=mask)
    sizes = (magnitude(predicted).data - magnitude(truth).data)[0][mask]
    residuals = (predicted.data - truth.data)[:, mask]
    return {
        "slope": float(components.slope.mean()),
        "within_residual": vector.within,
        "within_component": float((residuals.abs() < THRESHOLD).double().mean()),
        "within_magnitude": float((sizes.abs() < THRESHOLD).double().mean()),
        "cosine": vector.cosine,
        "coherence": vector.coherence,
        "rms_error": vector.rms_error,
        "correlation": float(components.correlation.mean()),
        "rms_velocity": float(truth.data[:, mask].double().square().mean().sqrt()),
    }


def error_moments(predicted: Field, cube: Cube) -> Float[np.ndarray, "moment edge observer"]:
    """Sum `MOMENTS` of the radial velocity in bins of the two distances; without an observer all in the first."""
    edges = distance_edges(cube.velocity.box.side)
    true = (cube.velocity.data * cube.sight).sum(dim=0).double().numpy().ravel()
    error = (predicted.data * cube.sight).sum(dim=0).double().numpy().ravel() - true
    shape = (len(edges["from_edge"]) - 1, len(edges["from_observer"]) - 1)
    observer = np.zeros_like(cube.from_edge) if cube.from_observer is None else cube.from_observer
    rows, columns = (
        np.searchsorted(edges[name], values.ravel(), side="right") - 1
        for name, values in (("from_edge", cube.from_edge), ("from_observer", observer))
    )
    held = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    place = (rows * shape[1] + columns)[held]
    values = (np.ones_like(true), error, error**2, true, true**2, error * true)
    sums = [np.bincount(place, weights=value[held], minlength=shape[0] * shape[1]) for value in values]
    return np.stack(sums).reshape(len(MOMENTS), *shape)


@dataclass(frozen=True, eq=False)
class RadialErrors:
    """Errors of the radial velocity in bins; NaN where there are few cells.

    Attributes
    ----------
    bias, scatter : (bin, ...) [km/s]
        Mean and standard deviation of predicted - true.
    slope : (bin, ...)
        Of predicted on true.
    """

    bias: Float[np.ndarray, "..."]
    scatter: Float[np.ndarray, "..."]
    slope: Float[np.ndarray, "..."]


def radial_errors(moments: Float[np.ndarray, "moment ..."], *, least: int = 200) -> RadialErrors:
    """Return bias, scatter and slope from sums of `MOMENTS`; bins with less than `least` cells are NaN."""
    cells = np.where(moments[0] >= least, moments[0], np.nan)
    error, square, true, true_square, product = moments[1:] / cells
    variance = true_square - true**2
    slope = 1 + (product - error * true) / np.where(variance > 0, variance, np.nan)
    return RadialErrors(error, np.sqrt(np.maximum(square - error**2, 0.0)), slope)


def _joint(
    predicted: Field, truth: Field, mask: Bool[torch.Tensor, "x y z"]
) -> Float[np.ndarray, "component true predicted"]:
    return np.stack(
        [
            _count(t[mask].numpy(), p[mask].numpy(), VELOCITY_EDGES, VELOCITY_EDGES)
            for p, t in zip(predicted.data, truth.data, strict=True)
        ]
    )


def _direction(predicted: Field, truth: Field) -> Float[np.ndarray, "error cosine"]:
    p, t = predicted.data.flatten(1), truth.data.flatten(1)
    size = torch.linalg.vector_norm(p, dim=0) * torch.linalg.vector_norm(t, dim=0)
    cosine = ((p * t).sum(dim=0) / size.clamp_min(1e-12)).clamp(-1, 1)
    error = torch.linalg.vector_norm(p - t, dim=0)
    return _count(error.numpy(), cosine.numpy(), ERROR_EDGES, COSINE_EDGES)


def _count(
    x: np.ndarray, y: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray
) -> Float[np.ndarray, "x y"]:
    """Count cells; those beyond the edges count in the last bins."""
    low, high = np.clip(x, x_edges[0], x_edges[-1]), np.clip(y, y_edges[0], y_edges[-1])
    return np.asarray(np.histogram2d(low, high, [x_edges, y_edges])[0])
