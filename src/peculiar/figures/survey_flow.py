"""Maps of the potential and the flow of a survey, in slabs above its equator."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from peculiar.catalogues.superclusters import Superclusters
from peculiar.core import Field
from peculiar.core.catalogue import Observer
from peculiar.figures.flow_maps import FlowSlab, Mark, flow_slabs
from peculiar.figures.slices import Slab
from peculiar.figures.style import Plot
from peculiar.statistics.convergence import STRONGEST, Convergence

THICKNESS = 40.0
"""Of the slabs [Mpc/h]."""
SLABS = 4
MARGIN = 10.0
"""How far outside a slab a supercluster may lie and still be marked in it [Mpc/h]."""


def flow_plots(
    velocity: Field,
    potential: Field,
    convergence: Convergence,
    *,
    coverage: Bool[np.ndarray, "x y z"],
    observer: Observer,
    superclusters: Superclusters,
) -> list[Plot]:
    """Draw the flow over the potential and over its convergence, in slabs of equal height above the equator.

    Parameters
    ----------
    velocity : Field
        A vector [km/s].
    potential : Field
    convergence : Convergence
        Of the velocity; its strongest points are marked.
    coverage : (x, y, z)
        Observed cells.
    observer : (3,) [Mpc/h]
    superclusters : Superclusters
        Marked where the convergence is known at their place.
    """
    slabs = _slabs(velocity, potential, convergence, coverage=coverage, superclusters=superclusters)
    across, up = ("xyz".index(name) for name in slabs[0].slab.axes)
    star = (observer[across], observer[up])
    about = (
        f"Slabs of {slabs[0].slab.thickness:.0f} Mpc/h at four heights above the plane of the celestial equator, each "
        "through a quarter of the observed volume; x points to ra 0, y to ra 90 deg. Arrows: mean of the reconstructed "
        "velocity over the slab, in its plane. Circles: superclusters of the literature whose place lies within "
        f"{MARGIN:.0f} Mpc/h of the slab; crosses: the {STRONGEST} strongest points of convergence; black line: edge "
        "of the survey; blank: not observed."
    )
    return [
        Plot(
            "fig15_potential",
            "Flow over the gravitational potential",
            "Contours: gravitational potential of the reconstructed overdensity, averaged over the slab, in units of "
            f"its rms where observed; orange is a well. {about}",
            flow_slabs(slabs, ground="potential", observer=star),
        ),
        Plot(
            "fig15_convergence",
            "Flow over its convergence",
            f"Contours: convergence of the flow, smoothed with a Gaussian of {convergence.smoothing:g} Mpc/h, in "
            f"units of its rms. {about}",
            flow_slabs(slabs, ground="convergence", observer=star),
        ),
    ]


def _slabs(
    velocity: Field,
    potential: Field,
    convergence: Convergence,
    *,
    coverage: Bool[np.ndarray, "x y z"],
    superclusters: Superclusters,
) -> list[FlowSlab]:
    box = velocity.box
    layers = min(max(1, round(THICKNESS / box.cell_size)), box.mesh)
    ground = potential.numpy() / max(float(potential.numpy()[0][coverage].std()), 1e-30)
    smooth = np.nan_to_num(convergence.values)[None] / convergence.rms
    heights = np.cumsum(coverage.sum(axis=(0, 1))) / coverage.sum()
    middles = np.searchsorted(heights, (np.arange(SLABS) + 0.5) / SLABS)
    starts = np.unique(np.clip(middles - layers // 2, 0, box.mesh - layers))
    extent = np.ptp(np.argwhere(coverage.any(axis=2)), axis=0)
    long = (0, 1) if extent[0] >= extent[1] else (1, 0)  # the longer side lies flat
    order = (0, 1 + long[0], 1 + long[1], 3)
    corner = (box.origin[long[0]], box.origin[long[1]])
    places, points = superclusters.positions, convergence.points[:STRONGEST]
    judged = np.isfinite(convergence.at(places))
    slabs = []
    for start in starts.tolist():
        cut = slice(start, start + layers)
        low = box.origin[2] + start * box.cell_size
        high = low + layers * box.cell_size
        share = coverage[..., cut].mean(axis=-1)
        weight = coverage[..., cut] / np.maximum(share, 1 / layers)[..., None]  # means over what is observed
        values = {
            "velocity": velocity.numpy()[..., cut] * weight,
            "potential": ground[..., cut],
            "convergence": smooth[..., cut] * weight,
        }
        values = {name: np.transpose(array, order) for name, array in values.items()}
        near = judged & (places[:, 2] >= low - MARGIN) & (places[:, 2] < high + MARGIN)
        inside = (points[:, 2] >= low) & (points[:, 2] < high)
        names = [_short(name) for name in superclusters.names]
        marks = [Mark(names[i], tuple(places[i, long].tolist())) for i in np.flatnonzero(near)]
        slab = Slab(values, box.side, high - low, axes=("xyz"[long[0]], "xyz"[long[1]]), origin=corner)
        slabs.append(
            FlowSlab(
                slab,
                share.transpose(long),
                rf"${low:.0f}<z<{high:.0f}\ h^{{-1}}$ Mpc",
                marks,
                points[inside][:, long],
            )
        )
    return slabs


def _short(name: str) -> str:
    """Last part of a name such as "Sloan Great Wall, SCl 126"."""
    return name.rsplit(", ", 1)[-1]
