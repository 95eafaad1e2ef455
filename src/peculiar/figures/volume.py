"""The interactive view: isosurfaces and slices of the density, flow lines of the velocity, drawn by plotly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.errors import InputError

SURFACES = (0.95, 0.99)
"""Fractions of the volume that lie below the two isosurfaces."""
DENSITY_RANGE = (0.2, 10.0)
"""Values of 1 + delta between white and black."""
SLICES = 16
"""Heights that the slider offers."""
VOLUME_CELLS = 48
"""Cells along a side of the fields that the view shows."""


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
    volume: Volume, *, lines: int = 700, steps: int = 30, length: float = 45.0, seed: int = 0
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
    """Return the HTML of the view, without plotly's own code: a button per volume, a slider for the slice.

    Parameters
    ----------
    volumes : name -> Volume
        Shown one at a time, the first at the start; of one size, at most 256 cells along a side.
    name : str
        Of the HTML element; one per page.
    observer : (3,) [Mpc/h], optional
        Marked where given.
    """
    import plotly.graph_objects as go

    traces: list[object] = []
    owner: list[str | None] = []
    slices: list[int] = []
    for label, volume in volumes.items():
        own = _traces(volume, first=label == next(iter(volumes)))
        slices.append(len(traces) + len(own) - 1)
        traces += own
        owner += [label] * len(own)
    shape = next(iter(volumes.values()))
    if observer is not None:
        cells = (np.asarray(observer) - np.asarray(shape.origin)) / shape.cell_size - 0.5
        place = dict(zip("xyz", ([float(value)] for value in cells), strict=True))
        look = {"size": 5, "color": "#D55E00", "symbol": "diamond"}
        traces.append(go.Scatter3d(**place, mode="markers", marker=look, name="observer"))
        owner.append(None)
    layout = go.Layout(
        height=700,
        margin={"l": 0, "r": 0, "t": 8, "b": 84},
        paper_bgcolor="#ffffff",
        modebar={"bgcolor": "rgba(255,255,255,0)", "color": "#777777", "activecolor": "#0072B2"},
        font={"family": "Georgia, serif", "size": 12, "color": "#222222"},
        legend={"x": 0.01, "y": 0.99, "bgcolor": "rgba(255,255,255,0.75)", "itemsizing": "constant"},
        scene={
            **{f"{axis}axis": _axis(shape, index) for index, axis in enumerate("xyz")},
            "aspectmode": "cube",
            "camera": {"eye": {"x": 1.42, "y": 1.26, "z": 0.8}, "center": {"x": 0.0, "y": 0.0, "z": -0.1}},
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
        menu: dict[str, object] = {"type": "buttons", "direction": "right"}
        menu |= {"x": 0.01, "xanchor": "left", "y": -0.02, "yanchor": "top"}
        layout.updatemenus = [{**menu, "buttons": buttons, "bgcolor": "#ffffff", "bordercolor": "#bbbbbb"}]
    layout.sliders = [_slider(list(volumes.values()), slices)]
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
    """Return surfaces, lines and the slice, in units of cells: one byte holds them, Mpc/h would take four."""
    import plotly.graph_objects as go

    n = len(volume.density)
    x, y, z = (c.ravel().astype(np.uint8) for c in np.indices((n, n, n)))
    density = np.log(np.maximum(np.nan_to_num(1 + volume.density.astype(np.float64)), 1e-2))
    inside = density[volume.coverage > 0] if volume.coverage is not None else density
    low, high = float(inside.min()), float(np.quantile(inside, 0.9995))
    if volume.coverage is not None:
        density = np.where(volume.coverage > 0, density, low)
    value = np.clip((density - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    levels = [float(np.quantile(inside, fraction)) for fraction in SURFACES]
    bounds = [(level - low) / max(high - low, 1e-9) * 255 for level in levels]
    surfaces = go.Isosurface(
        x=x,
        y=y,
        z=z,
        value=value.ravel(),
        isomin=bounds[0],
        isomax=bounds[1],
        cmin=bounds[0],
        cmax=bounds[1],
        surface={"count": 2},
        caps={axis: {"show": False} for axis in "xyz"},
        opacity=0.2,
        colorscale=[[0, "#9a9a9a"], [1, "#1f1f1f"]],
        showscale=False,
        name=f"1 + δ = {np.exp(levels[0]):.1f} and {np.exp(levels[1]):.1f}",
        showlegend=True,
        hoverinfo="skip",
        visible=first,
        lighting={"ambient": 0.6, "diffuse": 0.6, "specular": 0.1},
    )
    positions, speed = flow_lines(volume)
    path = (positions - np.asarray(volume.origin)) / volume.cell_size - 0.5
    gap = np.full((len(path), 1, 3), np.nan)
    path = np.concatenate([path, gap], axis=1).reshape(-1, 3).astype(np.float32)
    bar = {"title": {"text": "|v| [km/s]", "side": "right"}, "thickness": 14, "len": 0.46, "x": 1.0, "y": 0.7}
    line = {
        "color": np.concatenate([speed, speed[:, -1:]], axis=1).ravel().astype(np.float32),
        "colorscale": "Plasma",
        "cmin": 0.0,
        "cmax": float(np.percentile(speed, 99)),
        "width": 3.5,
        "colorbar": bar,
        "showscale": True,
    }
    lines = go.Scatter3d(
        **dict(zip("xyz", path.T, strict=True)),
        mode="lines",
        line=line,
        name="flow lines",
        hoverinfo="skip",
        visible=first,
        showlegend=True,
        connectgaps=False,
    )
    height, shade = _layer(volume, 0)
    ticks = [value for value in (0.3, 1, 3, 10) if DENSITY_RANGE[0] <= value <= DENSITY_RANGE[1]]
    scale = {"title": {"text": "1 + δ in the slice", "side": "right"}, "thickness": 14, "len": 0.46, "x": 1.0}
    scale |= {
        "y": 0.22,
        "tickvals": [_shade(value) for value in ticks],
        "ticktext": [f"{v:g}" for v in ticks],
    }
    cut = go.Surface(
        x=np.arange(n, dtype=np.uint8),
        y=np.arange(n, dtype=np.uint8),
        z=height,
        surfacecolor=shade,
        cmin=0,
        cmax=255,
        colorscale=[[0, "#ffffff"], [1, "#000000"]],
        colorbar=scale,
        lighting={"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0},
        name="density slice",
        showlegend=True,
        hoverinfo="skip",
        visible=first,
    )
    return [surfaces, lines, cut]


def _shade(value: np.ndarray | float) -> np.ndarray | float:
    """Return 0 to 255 for 1 + delta, logarithmic in DENSITY_RANGE."""
    low, high = np.log(DENSITY_RANGE)
    return np.round((np.log(np.clip(value, *DENSITY_RANGE)) - low) / (high - low) * 255)


def _layer(volume: Volume, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Heights in units of cells (NaN where a survey saw nothing) and shades of a layer; rows along y, as plotly has."""
    shade = np.asarray(_shade(1 + np.nan_to_num(volume.density[:, :, index].astype(np.float64))))
    height = np.full(shade.shape, float(index))
    if volume.coverage is not None:
        height[volume.coverage[:, :, index] <= 0] = np.nan
    return height.T, shade.T


def _slider(volumes: list[Volume], traces: list[int]) -> dict[str, object]:
    """Slider that moves the slice of every volume, through `SLICES` heights at most."""
    shape = volumes[0]
    n = len(shape.density)
    steps = []
    for index in np.unique(np.linspace(0, n - 1, min(SLICES, n)).round().astype(int)):
        layers = [_layer(volume, index) for volume in volumes]
        heights = [[[None if np.isnan(z) else int(z) for z in row] for row in height] for height, _ in layers]
        change = {"z": heights, "surfacecolor": [shade.astype(int).tolist() for _, shade in layers]}
        place = shape.origin[2] + (index + 0.5) * shape.cell_size
        steps.append({"label": f"{place:.0f}", "method": "restyle", "args": [change, traces]})
    return {
        "active": 0,
        "steps": steps,
        "currentvalue": {"prefix": "slice at z = ", "suffix": " Mpc/h", "xanchor": "right"},
        "x": 0.34,
        "len": 0.55,
        "y": -0.005,
        "yanchor": "top",
        "pad": {"t": 0, "b": 0},
        "ticklen": 3,
        "font": {"size": 11},
    }


def _axis(volume: Volume, index: int) -> dict[str, object]:
    """Axis in units of cells, labelled in Mpc/h."""
    low, n = volume.origin[index], len(volume.density)
    step = next((s for s in (10, 20, 50, 100, 200, 500, 1000) if volume.size / s <= 6), 2000)
    values = np.arange(np.ceil(low / step), np.floor((low + volume.size) / step) + 1) * step
    return {
        "title": {"text": f"{'xyz'[index]} [Mpc/h]"},
        "tickvals": [float(value) for value in (values - low) / volume.cell_size - 0.5],
        "ticktext": [f"{value:g}" for value in values],
        "range": [-0.5, n - 0.5],
        "backgroundcolor": "#ffffff",
        "gridcolor": "#e4e4e4",
        "linecolor": "#999999",
        "showspikes": False,
        "zeroline": False,
    }


def coarsen(data: np.ndarray, cells: int) -> np.ndarray:
    """Average (channel, x, y, z) over blocks, to at most `cells` along a side; blocks overlap where they must."""
    side = min(cells, data.shape[-1])
    pooled = torch.nn.functional.adaptive_avg_pool3d(torch.from_numpy(data)[None], side)
    return pooled[0].numpy()
