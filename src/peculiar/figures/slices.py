"""Slices through fields: maps, arrows and the histograms beside them (figures 4 and 5 of Xiao et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from peculiar.core.errors import InputError
from peculiar.figures.style import (
    DENSITY_MAP,
    DIVERGING,
    LABELS,
    SPEED_MAP,
    TRUTH,
    legend_below,
    line_style,
    name_panel,
    styled,
)

SLAB_THICKNESS = 23.0  # Mpc/h, as in figure 4 of Xiao et al. 2024


@dataclass(frozen=True, eq=False)
class Slab:
    """A few layers of cells, thin along the last axis.

    Parameters
    ----------
    values : field name -> (channel, x, y, layer)
        Any of "tracers" (1 + delta_s), "density" (overdensity), "velocity", "momentum" [km/s], "velocity_divergence"
        and "momentum_divergence" [km/s per Mpc/h].
    size : float
        Side of the slab [Mpc/h].
    thickness : float
        Depth of all layers together [Mpc/h].
    axes : (str, str)
        Names of the two long axes; their components of a vector are drawn as arrows.
    origin : (float, float)
        Lower left corner [Mpc/h].
    """

    values: Mapping[str, Float[np.ndarray, "channel x y layer"]]
    size: float
    thickness: float
    axes: tuple[str, str] = ("x", "y")
    origin: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            if np.ndim(values) != 4:
                raise InputError(
                    f"Slab.values[{name!r}] must be (channel, x, y, layer), got {np.shape(values)}"
                )

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top [Mpc/h]."""
        x, y = self.origin
        return x, x + self.size, y, y + self.size

    def map(self, name: str) -> Float[np.ndarray, "channel x y"]:
        """Mean over the layers."""
        return np.asarray(self.values[name], dtype=np.float32).mean(axis=-1)

    def plane(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Both components of a vector that lie in the plane, averaged over the layers."""
        components = ["xyz".index(axis) for axis in self.axes]
        vector = self.map(name)
        return vector[components[0]], vector[components[1]]

    def magnitude(self, name: str) -> Float[np.ndarray, "x y layer"]:
        """Length of a vector in every voxel."""
        return np.linalg.norm(np.asarray(self.values[name], dtype=np.float32), axis=0)


@styled
def vector_slices(
    truth: Slab, predictions: Mapping[str, Slab], *, field: str = "velocity", arrows: int = 24
) -> Figure:
    """Tracers, true field and reconstructions with arrows; then histograms of magnitude and direction (figure 4).

    Parameters
    ----------
    truth : Slab
        With `field`, and "tracers" for the first panel.
    predictions : reconstructor name -> Slab
        With `field`.
    field : "velocity" or "momentum"
    arrows : int
        About how many arrows along a side.
    """
    panels = {"truth": truth, **predictions}
    columns = len(panels) + 2
    figure = Figure(figsize=(2.1 * columns + 0.5, 2.85))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    _tracer_map(axes[0], truth)
    magnitude = LABELS["speed" if field == "velocity" else "momentum_magnitude"]
    norm = Normalize(0, float(np.percentile(np.hypot(*truth.plane(field)), 99)))
    for panel, (name, slab) in zip(axes[1:], panels.items(), strict=False):
        _matter(panel, slab)
        draw_arrows(panel, slab, field, count=arrows, norm=norm)
        panel.set_yticklabels([])
        panel.set_xlabel(_axis(slab.axes[0]))
        name_panel(panel, name)
    bar = figure.colorbar(ScalarMappable(norm, SPEED_MAP), ax=list(axes[1:-1]), shrink=0.9, pad=0.01)
    bar.set_label(f"in the plane, {magnitude}")
    upper, lower = _split(figure, axes[-1])
    edges = np.linspace(0, float(np.percentile(truth.magnitude(field), 98.5)) * 1.3, 40)
    angles = np.geomspace(1e-5, 2, 44)
    for index, (name, slab) in enumerate(panels.items()):
        look = _look(index)
        _outline(upper, slab.magnitude(field), edges, look)
        if name != "truth":
            misalignment = 1 - _cosine(slab.values[field], truth.values[field])
            _outline(lower, misalignment, angles, look, density=False)
    upper.set(xlabel=magnitude, yticks=[], ylim=(0, None))
    lower.set(xlabel=LABELS["misalignment"], xscale="log", yticks=[], ylim=(0, None))
    for panel in (upper, lower):
        panel.set_ylabel("voxels per bin", fontsize=9)
    _name_lines(figure, panels)
    return figure


@styled
def scalar_slices(
    truth: Slab, predictions: Mapping[str, Slab], *, field: str = "velocity_divergence"
) -> Figure:
    """True and reconstructed scalar field with one histogram (figure 5; also for the density).

    Parameters
    ----------
    truth : Slab
    predictions : reconstructor name -> Slab
    field : str
        "density", "velocity_divergence" or "momentum_divergence".
    """
    panels = {"truth": truth, **{name: slab for name, slab in predictions.items() if field in slab.values}}
    columns = len(panels) + 1
    figure = Figure(figsize=(2.3 * columns + 0.9, 2.9))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    reference = truth.map(field)[0]
    if field == "density":
        norm: Normalize = LogNorm(0.1, max(float(np.percentile(1 + reference, 99.8)), 1.0))
        colours, label = DENSITY_MAP, r"$1+\delta$"
    else:
        top = max(float(np.percentile(np.abs(reference), 98)), 1e-9)
        norm, colours, label = Normalize(-top, top), DIVERGING, LABELS[field]
    for index, (panel, (name, slab)) in enumerate(zip(axes, panels.items(), strict=False)):
        shown = slab.map(field)[0]
        shown = np.maximum(1 + shown, 0.1) if field == "density" else shown
        panel.imshow(shown.T, origin="lower", extent=slab.extent, cmap=colours, norm=norm, rasterized=True)
        panel.set_xlabel(_axis(slab.axes[0]))
        if index:
            panel.set_yticklabels([])
        name_panel(panel, name)
    axes[0].set_ylabel(_axis(truth.axes[1]))
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(axes[:-1]), shrink=0.9, pad=0.01)
    bar.set_label(label)
    samples = np.asarray(truth.values[field], dtype=np.float32)
    if field == "density":
        edges = np.geomspace(0.05, max(float(np.percentile(1 + samples, 99.9)), 2.0), 48)
        axes[-1].set_xscale("log")
    else:
        edges = np.linspace(-1.0, 1.0, 48) * float(np.percentile(np.abs(samples), 99.5))
    for index, slab in enumerate(panels.values()):
        values = np.asarray(slab.values[field], dtype=np.float32).ravel() + (field == "density")
        _outline(axes[-1], values, edges, _look(index))
    axes[-1].set(xlabel=label, yscale="log", ylabel="probability density")
    _name_lines(figure, panels)
    return figure


@styled
def observer_slices(
    slabs: Sequence[Slab],
    *,
    observer: tuple[float, float, float] | None = None,
    objects: Sequence[Float[np.ndarray, "n 2"]] | None = None,
    coverage: Sequence[Float[np.ndarray, "x y"]] | None = None,
    arrows: int = 26,
) -> Figure:
    """Density maps with velocity arrows through a survey (or a box without a truth), one panel a slab.

    Parameters
    ----------
    slabs : sequence of Slab
        With "density" and "velocity".
    observer : (3,) [Mpc/h]
        Marked where given.
    objects : one (n, 2) [Mpc/h] a slab
        Objects that lie in it.
    coverage : one (x, y) a slab
        Fraction of the mean density that the survey observes; the fields are greyed where it is 0.
    arrows : int
        About how many arrows along a side.
    """
    figure = Figure(figsize=(4.6 * len(slabs) + 1.0, 4.2))
    axes = figure.subplots(1, len(slabs), squeeze=False)[0]
    speeds = [np.hypot(*slab.plane("velocity")) for slab in slabs]
    norm = Normalize(0, float(np.nanpercentile(np.concatenate([speed.ravel() for speed in speeds]), 99)))
    for index, (panel, slab) in enumerate(zip(axes, slabs, strict=True)):
        keep = None if coverage is None else coverage[index] > 0
        _matter(panel, slab, keep=keep)
        if objects is not None:
            points = objects[index]
            panel.scatter(points[:, 0], points[:, 1], s=0.7, c="#56B4E9", alpha=0.5, lw=0, rasterized=True)
        draw_arrows(panel, slab, "velocity", count=arrows, norm=norm, keep=keep)
        if observer is not None:
            place = ["xyz".index(axis) for axis in slab.axes]
            panel.plot(observer[place[0]], observer[place[1]], marker="*", ms=12, mfc="#F0E442", mec="black")
        left, right, bottom, top = slab.extent
        panel.set(
            xlim=(left, right), ylim=(bottom, top), xlabel=_axis(slab.axes[0]), ylabel=_axis(slab.axes[1])
        )
    for mappable, label in (
        (ScalarMappable(norm, SPEED_MAP), r"velocity in the plane [km s$^{-1}$]"),
        (ScalarMappable(_matter_norm(), "Greys"), r"$1+\delta$ of the dark matter, real space"),
    ):
        bar = figure.colorbar(mappable, ax=list(axes), shrink=0.85, pad=0.012)
        bar.set_label(label)
    bar.set_ticks([0.3, 0.5, 1, 2, 4, 8], labels=["0.3", "0.5", "1", "2", "4", "8"])
    bar.ax.minorticks_off()
    return figure


@styled
def velocity_histogram(
    samples: Mapping[str, Float[np.ndarray, " n"]], *, quantity: str = r"velocity [km s$^{-1}$]"
) -> Figure:
    """Distribution of velocities, one line per set of samples.

    Parameters
    ----------
    samples : name -> (n,) [km/s]
        Values that are not finite are left out.
    quantity : str
        What stands on the axis, with its unit.
    """
    figure = Figure(figsize=(4.4, 3.0))
    axes = figure.subplots()
    kept = {name: values[np.isfinite(values)] for name, values in samples.items()}
    if not any(len(values) for values in kept.values()):
        raise InputError("samples must hold at least one finite velocity, got none")
    reach = max(float(np.percentile(np.abs(values), 99.7)) for values in kept.values() if len(values))
    low = -reach if any((values < 0).any() for values in kept.values()) else 0.0
    edges = np.linspace(low, reach, 60)
    for index, (name, values) in enumerate(kept.items()):
        label = f"{name}: {values.mean():.0f} ± {values.std():.0f} km/s"
        axes.hist(values, edges, density=True, histtype="step", lw=1.4, label=label, **line_style(index))
    axes.set(xlabel=quantity, ylabel=r"probability density [km$^{-1}$ s]")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.3)
    axes.legend(loc="upper left")
    return figure


def draw_arrows(
    axes: Axes,
    slab: Slab,
    field: str,
    *,
    count: int,
    norm: Normalize,
    keep: Float[np.ndarray, "x y"] | None = None,
) -> None:
    """Draw a vector's in-plane components, averaged over blocks of cells; the norm's top spans two blocks."""
    u, v = slab.plane(field)
    n = len(u)
    step = max(1, round(n / count))
    m = n // step
    u, v = (c[: m * step, : m * step].reshape(m, step, m, step).mean(axis=(1, 3)) for c in (u, v))
    cell = slab.size / n
    centres = (np.arange(m) + 0.5) * step * cell
    x, y = np.meshgrid(slab.origin[0] + centres, slab.origin[1] + centres, indexing="ij")
    shown = np.isfinite(u) & np.isfinite(v)
    if keep is not None:
        shown &= keep[: m * step, : m * step].reshape(m, step, m, step).mean(axis=(1, 3)) > 0.5
    axes.quiver(
        x[shown],
        y[shown],
        u[shown],
        v[shown],
        np.hypot(u, v)[shown],
        cmap=SPEED_MAP,
        norm=norm,
        angles="xy",
        scale_units="xy",
        scale=max(float(norm.vmax or 0.0), 1e-6) / (2.0 * step * cell),
        width=0.0065,
        headwidth=3.6,
        headlength=4.2,
        headaxislength=3.8,
        minlength=0.3,
        pivot="mid",
    )


def _matter_norm() -> LogNorm:
    return LogNorm(0.25, 12)


def _matter(axes: Axes, slab: Slab, *, keep: Float[np.ndarray, "x y"] | None = None) -> None:
    """Draw the density in light greys, as the ground for arrows; white where `keep` is not."""
    shown = np.clip(1 + slab.map("density")[0], 0.25, 12)
    if keep is not None:
        shown = np.ma.masked_where(~np.asarray(keep, dtype=bool), shown)
        axes.set_facecolor("#F4F1EA")
    axes.imshow(
        shown.T,
        origin="lower",
        extent=slab.extent,
        cmap="Greys",
        norm=_matter_norm(),
        alpha=0.75,
        rasterized=True,
    )


def _tracer_map(axes: Axes, slab: Slab) -> None:
    counts = slab.map("tracers")[0]
    top = max(float(np.percentile(counts, 99.5)), 1.0)
    axes.imshow(counts.T, origin="lower", extent=slab.extent, cmap="Greys", vmin=0, vmax=top, rasterized=True)
    axes.set(xlabel=_axis(slab.axes[0]), ylabel=_axis(slab.axes[1]))
    name_panel(axes, "tracers, redshift space")


def _split(figure: Figure, axes: Axes) -> tuple[Axes, Axes]:
    """Replace a panel by two, one above the other."""
    place = axes.get_subplotspec()
    axes.remove()
    if place is None:
        raise InputError("axes must belong to a grid")
    inner = place.subgridspec(2, 1)
    return figure.add_subplot(inner[0]), figure.add_subplot(inner[1])


def _look(index: int) -> dict[str, object]:
    """Line of the `index`-th field of a figure, the first of which is the truth."""
    return line_style(index - 1) if index else {"color": TRUTH, "linestyle": "-"}


def _outline(
    axes: Axes, values: np.ndarray, edges: np.ndarray, look: Mapping[str, object], *, density: bool = True
) -> None:
    """Draw a histogram as a line that ends where the bins end: values beyond them are no zero."""
    counts, _ = np.histogram(values, edges, density=density)
    axes.stairs(counts, edges, baseline=None, lw=1.2, **look)


def _name_lines(figure: Figure, panels: Mapping[str, Slab]) -> None:
    """Name the lines of the histograms below the figure."""
    legend_below(figure, [Line2D([], [], **_look(index)) for index in range(len(panels))], list(panels))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the angle between two vector fields, flat; voxels where one is zero are left out."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    product = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return ((a * b).sum(axis=0)[product > 0] / product[product > 0]).clip(-1, 1)


def _axis(name: str) -> str:
    return rf"${name}$ [$h^{{-1}}$ Mpc]"


def thin_axis(line_of_sight: str) -> str:
    """Axis along which the slab is thin, so that the line of sight lies in its plane."""
    return "x" if line_of_sight == "y" else "y"


def half(data: np.ndarray) -> np.ndarray:
    """Return what a picture needs in half precision; it ends at 65504, which only single voxels of a momentum pass."""
    limit = float(np.finfo(np.float16).max)
    return np.clip(data, -limit, limit).astype(np.float16)
