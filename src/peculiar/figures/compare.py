"""Predicted against measured radial velocities: binned, on the sky, and their correlation with redshift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from peculiar.catalogues.frames import to_galactic
from peculiar.figures.style import DIVERGING, OKABE_ITO, name_panel, styled
from peculiar.statistics.distances import RadialVelocities, ShellCorrelation
from peculiar.statistics.velocity_fit import VelocityFit

MANY = 3000
"""Objects from which on the map's pixels are of 15 degrees and not of 29."""
FEWEST_PER_PIXEL = 3


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """What the figure shows.

    Attributes
    ----------
    predicted, measured : (n,) [km/s]
        Radial velocities; the prediction holds V_ext.
    weight : (n,) [s^2/km^2]
        1 / (error^2 + sigma_v^2) of the measured ones.
    sky : (pixel,) [km/s]
        Weighted mean, in HEALPix pixels (RING, galactic), of what the field alone does not explain; NaN where there
        are fewer than three objects.
    dipole : (3,) [km/s]
        V_ext in galactic axes.
    dipole_error : (3,) [km/s]
    shell_edges : (shell + 1,) [km/s]
    correlation, correlation_error, expected : (shell,)
    parameters : str
        One line.
    """

    predicted: Float[np.ndarray, " n"]
    measured: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    sky: Float[np.ndarray, " pixel"]
    dipole: Float[np.ndarray, "3"]
    dipole_error: Float[np.ndarray, "3"]
    shell_edges: Float[np.ndarray, " edge"]
    correlation: Float[np.ndarray, " shell"]
    correlation_error: Float[np.ndarray, " shell"]
    expected: Float[np.ndarray, " shell"]
    parameters: str


def comparison_data(
    velocities: RadialVelocities,
    fit: VelocityFit,
    shells: ShellCorrelation,
    *,
    directions: Float[np.ndarray, "n 3"],
    dipole: Mapping[str, Any],
) -> ComparisonData:
    """Put together what the figure shows of a fit.

    Parameters
    ----------
    velocities : RadialVelocities
    fit : VelocityFit
    shells : ShellCorrelation
    directions : (n, 3)
        Of the objects, of length 1, in celestial axes.
    dipole : mapping
        V_ext and its error in galactic axes [km/s]: "galactic" and "galactic_error".
    """
    import healpy

    weight = 1 / (velocities.error**2 + fit.sigma_v**2)
    longitude, latitude = to_galactic(directions)
    nside = 4 if len(directions) >= MANY else 2
    count = healpy.nside2npix(nside)
    pixels = healpy.ang2pix(nside, longitude, latitude, lonlat=True)
    unexplained = velocities.measured - velocities.predicted + velocities.external
    total = np.bincount(pixels, weight, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        sky = np.bincount(pixels, weight * unexplained, count) / total
    sky[np.bincount(pixels, minlength=count) < FEWEST_PER_PIXEL] = np.nan
    return ComparisonData(
        velocities.predicted,
        velocities.measured,
        weight,
        sky,
        np.array(dipole["galactic"]),
        np.array(dipole["galactic_error"]),
        shells.edges,
        shells.correlation,
        shells.error,
        shells.expected,
        rf"{len(directions)} objects: $\beta$ = {fit.beta:.2f} $\pm$ {fit.errors[0]:.2f}, "
        rf"$\sigma_v$ = {fit.sigma_v:.0f} km s$^{{-1}}$, $H_0$ zero point {fit.zero_point:.3f} mag",
    )


@styled
def comparison_figure(data: ComparisonData) -> Figure:
    """Draw measured velocities in bins of the predicted ones, the sky of the rest, and the correlation per shell.

    Parameters
    ----------
    data : ComparisonData
    """
    figure = Figure(figsize=(9.6, 6.6))
    grid = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.0))
    _velocities(figure.add_subplot(grid[0, 0]), data)
    _shells(figure.add_subplot(grid[0, 1]), data)
    _sky(figure.add_subplot(grid[1, :], projection="mollweide"), data)
    figure.suptitle(data.parameters, fontsize=10)
    return figure


def _velocities(axes: Axes, data: ComparisonData) -> None:
    """Weighted means of the measured velocity in ten bins with equal numbers of objects."""
    order = np.argsort(data.predicted)
    parts = np.array_split(order, min(10, max(2, len(order) // 10)))
    x = [np.average(data.predicted[part], weights=data.weight[part]) for part in parts]
    y = [np.average(data.measured[part], weights=data.weight[part]) for part in parts]
    error = [1 / np.sqrt(data.weight[part].sum()) for part in parts]
    span = np.array([min(x), max(x)]) * 1.15
    axes.plot(span, span, color="0.4", lw=0.9, ls="--", label="measured = predicted")
    axes.errorbar(x, y, yerr=error, fmt="o", ms=4, color=OKABE_ITO[0], label="weighted means")
    axes.set(xlabel=r"predicted $v_r$ [km s$^{-1}$]", ylabel=r"measured $v_r$ [km s$^{-1}$]")
    axes.legend(loc="lower right")
    name_panel(axes, "velocities")


def _shells(axes: Axes, data: ComparisonData) -> None:
    low, high = data.shell_edges[:-1], data.shell_edges[1:]
    middle = (low + high) / 2
    spread = [middle - low, high - middle]
    axes.errorbar(
        middle,
        data.correlation,
        xerr=spread,
        yerr=data.correlation_error,
        fmt="o",
        ms=4,
        color=OKABE_ITO[0],
        label="measured",
    )
    axes.hlines(
        data.expected,
        low,
        high,
        color=OKABE_ITO[1],
        ls=(0, (3, 1)),
        label="if prediction and errors are right",
    )
    axes.axhline(0, color="0.6", lw=0.6)
    reached = np.nan_to_num(data.correlation + data.correlation_error), np.nan_to_num(data.expected)
    top = 1.45 * max(0.1, *map(np.max, reached))  # room for the legend
    axes.set(xlabel=r"$cz$ [km s$^{-1}$]", ylabel="weighted correlation", ylim=(None, top))
    axes.legend(loc="upper right")
    name_panel(axes, "shells")


def _sky(axes: Axes, data: ComparisonData) -> None:
    import healpy

    longitude, latitude = np.radians(np.linspace(180, -180, 361)), np.radians(np.linspace(-90, 90, 181))
    ll, bb = np.meshgrid((longitude[1:] + longitude[:-1]) / 2, (latitude[1:] + latitude[:-1]) / 2)
    pixels = healpy.ang2pix(healpy.npix2nside(len(data.sky)), np.pi / 2 - bb, ll % (2 * np.pi))
    found = np.abs(data.sky[np.isfinite(data.sky)])
    limit = float(np.percentile(found, 95)) if found.size else 1.0
    norm = Normalize(-max(limit, 1.0), max(limit, 1.0))
    # Longitude grows to the left, as on the sky.
    shown = np.ma.masked_invalid(data.sky[pixels])
    axes.pcolormesh(-longitude, latitude, shown, cmap=DIVERGING, norm=norm, rasterized=True)
    speed = float(np.linalg.norm(data.dipole))
    away = np.arctan2(data.dipole[1], data.dipole[0]), np.arcsin(data.dipole[2] / max(speed, 1e-9))
    error = float(np.sqrt((data.dipole_error**2).mean()))
    axes.plot(
        -away[0],
        away[1],
        marker="*",
        ms=13,
        color=OKABE_ITO[2],
        mec="white",
        ls="none",
        label=rf"towards $V_\mathrm{{ext}}$: {speed:.0f} km s$^{{-1}}$ ($\pm${error:.0f} a component)",
    )
    axes.grid(True, lw=0.3)
    axes.set_xticks(np.radians([-120, -60, 0, 60, 120]), [r"120°", r"60°", r"0°", r"300°", r"240°"])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, -0.2))
    bar = axes.figure.colorbar(
        ScalarMappable(norm, DIVERGING), ax=axes, fraction=0.03, pad=0.03, panchor=False
    )
    bar.set_label(r"measured $-$ $\beta\,v_\mathrm{field}$ [km s$^{-1}$]")
    axes.set_title("sky (galactic): what the field does not explain", pad=12)
