"""Parts of a report about a reconstruction: the flow in three dimensions, maps and velocities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Box, Field
from peculiar.core.catalogue import Observer
from peculiar.figures import report as html
from peculiar.figures.flow import flow_view
from peculiar.figures.report import Headline, Section
from peculiar.figures.slices import SLAB_THICKNESS, Slab, observer_slices, velocity_histogram
from peculiar.figures.volume import VOLUME_CELLS, Volume, coarsen, interactive


def speed_headline(velocity: Field, *, coverage: Bool[np.ndarray, "x y z"] | None) -> Headline:
    """Say how fast matter moves where it is observed."""
    speed = torch.linalg.vector_norm(velocity.data, dim=0).numpy()
    inside = speed if coverage is None else speed[coverage]
    where = "over the box" if coverage is None else "where objects are"
    scatter = f"scatter {inside.std():.0f} km/s, {where}"
    return Headline(f"{inside.mean():.0f} km/s", "mean speed |v| of the matter", scatter)


def view_section(
    fields: Mapping[str, Field], *, coverage: Bool[np.ndarray, "x y z"] | None, observer: Observer | None
) -> Section:
    """Show density and velocity in three dimensions, where they are observed."""
    box = fields["density"].box
    volume = Volume(
        coarsen(fields["density"].numpy(), VOLUME_CELLS)[0],
        coarsen(fields["velocity"].numpy(), VOLUME_CELLS),
        box.side,
        origin=box.origin,
        periodic=box.periodic,
        coverage=None if coverage is None else coarsen(coverage[None].astype(float), VOLUME_CELLS)[0] > 0.5,
    )
    caption = (
        "Drag to turn, scroll to zoom. Surfaces of equal density in grey; lines follow the velocity. The slider moves "
        "a slice through the density."
    )
    paper = (
        "Lines follow the velocity; grey dots: the 2 % of cells that are densest; floor: density of the lowest "
        "layer."
    )
    still = html.picture(flow_view(volume), paper, alternative="The flow", vector=False)
    body = html.view(
        interactive({"reconstruction": volume}, name="reconstructed", observer=observer), caption, still=still
    )
    return Section("The flow around us" if observer is not None else "The flow in three dimensions", body)


def map_section(
    fields: Mapping[str, Field],
    *,
    coverage: Bool[np.ndarray, "x y z"] | None,
    observer: Observer | None,
    positions: Float[np.ndarray, "n 3"] | None,
) -> Section:
    """Show density and velocity in slabs through the observer, or the middle, with objects [Mpc/h] of a survey."""
    box = fields["density"].box
    layers = max(1, round(SLAB_THICKNESS / box.cell_size))
    starts = [_start(axis, box, layers, observer) for axis in range(3)]
    weight = np.ones(fields["density"].data.shape[1:]) if coverage is None else coverage
    seen = [
        float(np.moveaxis(weight, axis, 0)[starts[axis] : starts[axis] + layers].mean()) for axis in range(3)
    ]
    chosen = sorted(sorted(range(3), key=lambda axis: -seen[axis])[:2], reverse=True)
    slabs, objects, masks = [], [], []
    for axis in chosen:
        kept = [a for a in range(3) if a != axis]
        rows = slice(starts[axis], starts[axis] + layers)
        values = {
            name: np.moveaxis(fields[name].numpy(), 1 + axis, -1)[..., rows]
            for name in ("density", "velocity")
        }
        thickness = layers * box.cell_size
        origin = box.origin[kept[0]], box.origin[kept[1]]
        slabs.append(Slab(values, box.side, thickness, axes=("xyz"[kept[0]], "xyz"[kept[1]]), origin=origin))
        if positions is not None and coverage is not None:
            low = box.origin[axis] + starts[axis] * box.cell_size
            inside = (positions[:, axis] >= low) & (positions[:, axis] < low + thickness)
            objects.append(positions[inside][:, kept])
            masks.append(np.moveaxis(coverage, axis, -1)[..., rows].mean(axis=-1) > 0.5)
    figure = observer_slices(slabs, observer=observer, objects=objects or None, coverage=masks or None)
    caption = (
        f"Slabs of {slabs[0].thickness:.0f} Mpc/h"
        + (" through the observer (star)" if observer is not None else " through the middle")
        + ". Greys: density of the dark matter in real space, averaged over the slab; arrows: its velocity in the plane"
        + ("; blue: objects at their real-space positions; blank: not observed." if objects else ".")
    )
    body = html.picture(figure, caption, alternative="Density and velocity", vector=False)
    return Section("Maps", body)


def _start(axis: int, box: Box, layers: int, observer: Observer | None) -> int:
    """First layer of a slab through the observer, or through the middle where there is none in the box."""
    middle = (box.mesh - layers) // 2
    if observer is None or not 0 <= observer[axis] - box.origin[axis] <= box.side:
        return middle
    cell = int((observer[axis] - box.origin[axis]) / box.cell_size)
    return min(max(cell - layers // 2, 0), box.mesh - layers)


def velocity_section(
    velocity: Field,
    *,
    coverage: Bool[np.ndarray, "x y z"] | None,
    objects: Float[np.ndarray, " n"] | None,
) -> Section:
    """Show the distribution of velocities of matter where it is observed, and of objects along the line of sight."""
    component = velocity.numpy().reshape(3, -1)
    if coverage is not None:
        component = component[:, coverage.ravel()]
    samples = {"matter, one component": component.ravel()[:: max(1, component.size // 300_000)]}
    if objects is not None:
        samples["objects, line of sight"] = objects
    figure = velocity_histogram(samples)
    caption = "Reconstructed velocities; positive along the line of sight is away from the observer."
    return Section("Velocities", html.picture(figure, caption, alternative="Distribution of velocities"))
