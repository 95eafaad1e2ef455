"""The flow in three dimensions on paper: lines that follow the velocity over a map of the density."""

from __future__ import annotations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from peculiar.figures.style import LABELS, SPEED_MAP, styled
from peculiar.figures.volume import DENSITY_RANGE, Volume, flow_lines

DENSE = 0.98
"""Fraction of the volume that is less dense than the cells marked by dots."""


@styled
def flow_view(volume: Volume) -> Figure:
    """Flow lines coloured by speed, the densest cells as grey dots, and the lowest layer's density as the floor.

    Parameters
    ----------
    volume : Volume
    """
    n = len(volume.density)
    density = np.nan_to_num(np.asarray(volume.density, dtype=np.float64))
    covered = np.ones(density.shape, bool) if volume.coverage is None else np.asarray(volume.coverage) > 0
    low = np.asarray(volume.origin)
    figure = Figure(figsize=(7.2, 5.2))
    figure.set_layout_engine("none")  # three dimensions leave too little room for bars otherwise
    axes = figure.add_axes((0.0, 0.04, 0.84, 1.0), projection="3d")
    axes.computed_zorder = False  # the floor is behind everything, whatever its mean distance

    norm = LogNorm(*DENSITY_RANGE)
    edges = [low[axis] + np.arange(n + 1) * volume.cell_size for axis in range(3)]
    x, y = np.meshgrid(edges[0], edges[1], indexing="ij")
    shades = ScalarMappable(norm, "Greys")
    faces = shades.to_rgba(np.clip(1 + density[:, :, 0], *DENSITY_RANGE))
    faces[~covered[:, :, 0], 3] = 0.0
    floor = {
        "facecolors": faces,
        "shade": False,
        "rstride": 1,
        "cstride": 1,
        "linewidth": 0,
        "antialiased": False,
    }
    axes.plot_surface(x, y, np.full_like(x, low[2]), rasterized=True, zorder=0, **floor)
    dots = (
        low
        + (np.argwhere((density > np.quantile(density[covered], DENSE)) & covered) + 0.5) * volume.cell_size
    )
    axes.scatter(*dots.T, s=5, c="0.35", alpha=0.3, lw=0, depthshade=False, rasterized=True, zorder=1)

    positions, speed = flow_lines(volume)
    segments = np.stack([positions[:, :-1], positions[:, 1:]], axis=2).reshape(-1, 2, 3)
    value = (0.5 * (speed[:, :-1] + speed[:, 1:])).ravel()
    inside = np.isfinite(segments).all(axis=(1, 2))
    speeds = Normalize(0, float(np.percentile(speed, 99)))
    lines = Line3DCollection(segments[inside], cmap=SPEED_MAP, norm=speeds, lw=1.1, rasterized=True, zorder=2)
    lines.set_array(value[inside])
    axes.add_collection3d(lines)

    ticks = np.arange(0, 5001, 50 if volume.size < 500 else 200)
    for axis, start in zip("xyz", low, strict=True):
        label = rf"${axis}$ [$h^{{-1}}$ Mpc]"
        shown = [tick for tick in (*-ticks[:0:-1], *ticks) if start <= tick <= start + volume.size]
        axes.set(**{f"{axis}lim": (start, start + volume.size), f"{axis}label": label, f"{axis}ticks": shown})
        getattr(axes, f"{axis}axis").set_pane_color((1.0, 1.0, 1.0, 0.0))
    axes.grid(False)
    axes.set_box_aspect((1, 1, 1), zoom=0.97)
    axes.view_init(elev=24, azim=-52)
    bar = figure.colorbar(ScalarMappable(speeds, SPEED_MAP), cax=figure.add_axes((0.87, 0.56, 0.022, 0.36)))
    bar.set_label(LABELS["speed"])
    bar = figure.colorbar(shades, cax=figure.add_axes((0.87, 0.1, 0.022, 0.36)))
    bar.set_ticks([0.3, 1, 3, 10], labels=["0.3", "1", "3", "10"])
    bar.set_label(r"$1+\delta$ of the floor")
    return figure
