"""One look for every figure: colours, labels with units, and how a figure is written."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.core.errors import InputError

P = ParamSpec("P")

PRINT_DPI = 300
"""Resolution of a saved figure's pixels; a report, which is read on a screen, has 200."""

TRUTH = "#000000"
REDSHIFT_SPACE = "#D55E00"
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Colours that people with any colour vision tell apart (Okabe & Ito 2008); black is the truth's."""
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (3, 1)), (0, (6, 2, 1, 2, 1, 2)), "-")
"""One dash pattern per colour, so that a grey print can be read."""

DENSITY_MAP, COUNTS_MAP, SPEED_MAP, DIVERGING = "magma_r", "cividis_r", "plasma", "PuOr_r"
"""Colour maps, all safe for any colour vision: matter, voxel counts, arrows, and signed fields."""

LABELS = {
    "density": r"$\delta$",
    "velocity": r"$v$ [km s$^{-1}$]",
    "momentum": r"$m$ [km s$^{-1}$]",
    "speed": r"$|v|$ [km s$^{-1}$]",
    "momentum_magnitude": r"$|m|$ [km s$^{-1}$]",
    "velocity_divergence": r"$\theta_v$ [km s$^{-1}$ $h$ Mpc$^{-1}$]",
    "momentum_divergence": r"$\theta_m$ [km s$^{-1}$ $h$ Mpc$^{-1}$]",
    "misalignment": r"$1-\cos\phi$",
    "k": r"$k$ [$h$ Mpc$^{-1}$]",
    "tracers": r"$1+\delta_s$ of the tracers, redshift space",
}
"""Axis labels of the fields, with their units; m = (1 + delta) v, theta the divergence."""

POWER_LABELS = {
    "density": r"$P_\delta$ [$h^{-3}$ Mpc$^3$]",
    "velocity": r"$P_v$ [km$^2$ s$^{-2}$ $h^{-3}$ Mpc$^3$]",
    "momentum": r"$P_m$ [km$^2$ s$^{-2}$ $h^{-3}$ Mpc$^3$]",
    "velocity_divergence": r"$P_{\theta_v}$ [km$^2$ s$^{-2}$ $h^{-1}$ Mpc]",
    "momentum_divergence": r"$P_{\theta_m}$ [km$^2$ s$^{-2}$ $h^{-1}$ Mpc]",
}

RC = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "peculiar",
    "pdf.fonttype": 42,
    "image.interpolation": "nearest",
}


_PDF_NAMES = {"Title": "Title", "Description": "Subject", "Software": "Creator"}


@dataclass(frozen=True, eq=False)
class Plot:
    """A figure with its name and what it shows.

    Attributes
    ----------
    name : str
        File name without suffix; starts with the number of the paper's figure.
    title : str
    caption : str
    figure : Figure
    vector : bool
        Whether lines make most of it: maps and arrows are smaller as pixels.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    vector: bool = False


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with the package's style and leave matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return wrapper


def line_style(index: int) -> dict[str, object]:
    """Colour and dashes of the `index`-th reconstruction in a figure."""
    return {"color": OKABE_ITO[index % len(OKABE_ITO)], "linestyle": DASHES[index % len(DASHES)]}


def name_panel(axes: Axes, text: str, *, low: bool = False) -> None:
    """Write a panel's name in its upper left corner, or in the lower one."""
    axes.text(
        0.03,
        0.035 if low else 0.965,
        text,
        transform=axes.transAxes,
        ha="left",
        va="bottom" if low else "top",
        fontsize=9.5,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.82},
    )


def legend_below(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, title: str | None = None
) -> None:
    """Put one legend under all panels, in as many columns as the width allows (about 2.2 inches each)."""
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 2.2)))
    figure.legend(list(handles), labels, loc="outside lower center", ncols=columns, title=title)


def save(
    figure: Figure,
    stem: Path,
    *,
    formats: Sequence[str] = ("pdf", "png"),
    about: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a figure as ``stem.pdf``, ``stem.png``, ...; the folder must exist.

    Parameters
    ----------
    figure : Figure
    stem : Path
    formats : sequence of str
    about : mapping, optional
        "Title", "Description" and "Software", kept inside PDF and PNG files.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If a format is none that matplotlib writes.
    """
    known = figure.canvas.get_supported_filetypes()
    unknown = [name for name in formats if name not in known]
    if unknown:
        raise InputError(f"formats must be among {sorted(known)}, got {unknown}: use pdf, png or svg")
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    for path in paths:
        path.write_bytes(render(figure, path.suffix[1:], dpi=PRINT_DPI, about=about))
    return paths


def render(
    figure: Figure, image_format: str, *, dpi: int | None = None, about: Mapping[str, str] | None = None
) -> bytes:
    """Return a figure's bytes in an image format; the same drawing gives the same bytes.

    Parameters
    ----------
    figure : Figure
    image_format : str
    dpi : int, optional
        200 where not given.
    about : mapping, optional
        See `save`.
    """
    metadata: dict[str, dict[str, str | None]] = {
        "pdf": {"CreationDate": None} | {_PDF_NAMES[key]: text for key, text in (about or {}).items()},
        "svg": {"Date": None},
        "png": dict(about or {}),
    }
    buffer = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure.savefig(
            buffer, format=image_format, dpi=dpi or RC["savefig.dpi"], metadata=metadata.get(image_format)
        )
    return buffer.getvalue()
