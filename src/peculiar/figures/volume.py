"""The interactive view: isosurfaces of the density and flow lines of the velocity, drawn by plotly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from peculiar.core.errors import InputError

SURFACES = (0.93, 0.985)
"""Fractions of the volume that lie below the two isosurfaces."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Coarse density and velocity for the interactive view.

    Parameters
    ----------
    density : (x, y, z)
        Overdensity.
    velocity : (3, x, y, z) [km/s]
    size : float
        Side [Mpc/h].
    origin : (float, float, float)
        Lower corner [Mpc/h].
    periodic : bool
    coverage : (x, y, z), optional
        Of a survey: lines start and surfaces lie where it is > 0.
    """

    density: Float[np.ndarray, "x y z"]
    velocity: Float[np.ndarray, "3 x y z"]
    size: float
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    periodic: bool = True
    coverage: Float[np.ndarray, "x y z"] | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.density) != 3 or np.shape(self.velocity) != (3, *np.shape(self.density)):
            raise InputError(
                f"Volume needs density (x, y, z) and velocity (3, x, y, z), got {np.shape(self.density)} and "
                f"{np.shape(self.velocity)}"
            )

    @property
    def cell_size(self) -> float:
        """Side of a coarse cell [Mpc/h]."""
        return self.size / len(self.density)


def flow_lines(
    volume: Volume, *, lines: int = 450, steps: int = 26, length: float = 34.0, seed: int = 0
) -> tuple[Float[np.ndarray, "line step 3"], Float[np.ndarray, "line step"]]:
    """Follow the velocity from random starting points, by the midpoint rule.

    Parameters
    ----------
    volume : Volume
    lines, steps : int
    length : float
        Of a line at the 90th percentile of the speed [Mpc/h]; slower ones are shorter.
    seed : int
        Of the starting points, which are drawn in proportion to the speed.

    Returns
    -------
    positions : (line, step, 3) [Mpc/h]
        NaN from where a line leaves the box.
    speed : (line, step) [km/s]
    """
    from scipy.ndimage import map_coordinates

    n = len(volume.density)
    speed = np.linalg.norm(volume.velocity.astype(np.float64), axis=0)
    chance = np.where(np.isfinite(speed), speed, 0.0)
    if volume.coverage is not None:
        chance = np.where(volume.coverage > 0, chance, 0.0)
    if not chance.sum() > 0:
        raise InputError("velocity must be non-zero somewhere in the volume, got none: no flow to draw")
    rng = np.random.default_rng(seed)
    start = np.stack(
        np.unravel_index(rng.choice(n**3, lines, p=(chance / chance.sum()).ravel()), (n, n, n)), axis=1
    )
    points = start + rng.uniform(-0.5, 0.5, start.shape)
    field = np.nan_to_num(volume.velocity.astype(np.float64))
    mode = "grid-wrap" if volume.periodic else "nearest"

    def velocity(where: np.ndarray) -> np.ndarray:
        return np.stack(
            [map_coordinates(component, where.T, order=1, mode=mode) for component in field], axis=1
        )

    step = length / volume.cell_size / steps / float(np.percentile(speed[chance > 0], 90))
    positions = np.empty((lines, steps, 3))
    speeds = np.empty((lines, steps))
    for i in range(steps):
        v = velocity(points)
        positions[:, i], speeds[:, i] = points, np.linalg.norm(v, axis=1)
        points = points + step * velocity(points + 0.5 * step * v)
    outside = ((positions < -0.5) | (positions > n - 0.5)).any(axis=2)
    positions[np.logical_or.accumulate(outside, axis=1)] = np.nan
    return np.asarray(volume.origin) + (positions + 0.5) * volume.cell_size, speeds


def interactive(
    volumes: Mapping[str, Volume], *, name: str = "view", observer: tuple[float, float, float] | None = None
) -> str:
    """Return the HTML of the view, without plotly's own code, one button per volume.

    Parameters
    ----------
    volumes : name -> Volume
        Shown one at a time, the first at the start.
    name : str
        Of the HTML element; one per page.
    observer : (3,) [Mpc/h], optional
        Marked where given.
    """
    import plotly.graph_objects as go

    traces: list[object] = []
    owner: list[str | None] = []
    for label, volume in volumes.items():
        own = _traces(volume, first=label == next(iter(volumes)))
        traces += own
        owner += [label] * len(own)
    if observer is not None:
        place = dict(zip("xyz", ([value] for value in observer), strict=True))
        look = {"size": 5, "color": "#D55E00", "symbol": "diamond"}
        traces.append(go.Scatter3d(**place, mode="markers", marker=look, name="observer"))
        owner.append(None)
    axis = {
        "backgroundcolor": "#ffffff",
        "gridcolor": "#e4e4e4",
        "linecolor": "#999999",
        "showspikes": False,
        "zeroline": False,
    }
    layout = go.Layout(
        height=640,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        font={"family": "Georgia, serif", "size": 12, "color": "#222222"},
        legend={"x": 0.01, "y": 0.99, "bgcolor": "rgba(255,255,255,0.75)", "itemsizing": "constant"},
        scene={
            **{f"{a}axis": {**axis, "title": {"text": f"{a} [Mpc/h]"}} for a in "xyz"},
            "aspectmode": "cube",
            "camera": {"eye": {"x": 1.35, "y": 1.2, "z": 0.85}, "projection": {"type": "perspective"}},
        },
    )
    if len(volumes) > 1:
        buttons = [
            {
                "label": label,
                "method": "restyle",
                "args": [{"visible": [own in (label, None) for own in owner]}],
            }
            for label in volumes
        ]
        menu = {
            "type": "buttons",
            "direction": "right",
            "x": 0.99,
            "xanchor": "right",
            "y": 0.99,
            "yanchor": "top",
        }
        layout.updatemenus = [{**menu, "buttons": buttons, "bgcolor": "#ffffff", "bordercolor": "#bbbbbb"}]
    figure = go.Figure(traces, layout)
    settings = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["resetCameraLastSave3d"]}
    return str(
        figure.to_html(
            full_html=False, include_plotlyjs=False, include_mathjax=False, config=settings, div_id=name
        )
    )


def library() -> str:
    """Return plotly's JavaScript, to be embedded once."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _traces(volume: Volume, *, first: bool) -> list[object]:
    import plotly.graph_objects as go

    n = len(volume.density)
    centres = [
        (volume.origin[i] + (np.arange(n) + 0.5) * volume.cell_size).astype(np.float32) for i in range(3)
    ]
    x, y, z = (c.ravel() for c in np.meshgrid(*centres, indexing="ij"))
    value = np.nan_to_num(1 + volume.density.astype(np.float32))
    inside = value[volume.coverage > 0] if volume.coverage is not None else value
    if volume.coverage is not None:
        value = np.where(volume.coverage > 0, value, float(inside.min()))
    levels = [float(np.quantile(inside, fraction)) for fraction in SURFACES]
    traces: list[object] = []
    for level, colour, opacity in zip(levels, ("#8c8c8c", "#2b2b2b"), (0.16, 0.42), strict=True):
        traces.append(
            go.Isosurface(
                x=x,
                y=y,
                z=z,
                value=value.ravel(),
                isomin=level,
                isomax=level,
                surface_count=1,
                opacity=opacity,
                colorscale=[[0, colour], [1, colour]],
                showscale=False,
                name=f"1 + δ = {level:.1f}",
                showlegend=True,
                hoverinfo="skip",
                visible=first,
                lighting={"ambient": 0.6, "diffuse": 0.6, "specular": 0.1},
            )
        )
    positions, speed = flow_lines(volume)
    gap = np.full((len(positions), 1, 3), np.nan)
    path = np.concatenate([positions, gap], axis=1).reshape(-1, 3).astype(np.float32)
    colour = np.concatenate([speed, speed[:, -1:]], axis=1).ravel().astype(np.float32)
    bar = {"title": {"text": "|v| [km/s]", "side": "right"}, "thickness": 14, "len": 0.6, "x": 1.0, "y": 0.45}
    line = {
        "color": colour,
        "colorscale": "Plasma",
        "cmin": 0.0,
        "cmax": float(np.percentile(speed, 99)),
        "width": 3.5,
        "colorbar": bar,
        "showscale": True,
    }
    traces.append(
        go.Scatter3d(
            x=path[:, 0],
            y=path[:, 1],
            z=path[:, 2],
            mode="lines",
            line=line,
            name="flow lines",
            hoverinfo="skip",
            visible=first,
            showlegend=True,
            connectgaps=False,
        )
    )
    return traces
