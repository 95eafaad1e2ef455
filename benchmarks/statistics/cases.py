"""Each statistic as peculiar measures it, beside the task of `reference.py` that measures the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from inputs import SMALL, Inputs

from peculiar.core import Field
from peculiar.fields.paint import paint
from peculiar.fields.smooth import gaussian
from peculiar.statistics import (
    Modes,
    bispectrum_at_angles,
    bispectrum_in_bins,
    bulk_flow,
    catalogue_modes,
    compare,
    compare_power,
    confusion,
    correlation_multipoles,
    correlation_plane,
    helmholtz_power,
    joint_distribution,
    modes_of,
    one_point_distribution,
    power_multipoles,
    power_spectrum,
    power_wedges,
    three_point_multipoles,
    tidal_web,
    two_point_distribution,
)


@dataclass(frozen=True, eq=False)
class Case:
    """One statistic measured by both.

    Attributes
    ----------
    key : str
        "code: task" of `reference.py`.
    label : str
    ours : callable
        The same array as the other code's task.
    scale : callable
        The other code's result -> what differences are relative to.
    relative_to : str
    theirs : callable
        Takes from the other code's result what is compared.
    note : str
        Why the two differ, where their definitions do; "" where they are the same.
    """

    key: str
    label: str
    ours: Callable[[], np.ndarray]
    relative_to: str = "itself"
    scale: Callable[[np.ndarray], np.ndarray] = np.abs
    theirs: Callable[[np.ndarray], np.ndarray] = np.asarray
    note: str = ""


def pylians_cases(data: Inputs) -> list[Case]:
    box, cells = data.box, data.box.mesh
    edges = np.arange(1, cells // 2 + 1) * box.k_fundamental
    n = len(edges) - 1
    r_edges, compared = np.arange(1, cells // 2 + 1) * box.cell_size, 11  # xi(r) crosses zero further out

    def points() -> Modes:
        mesh = paint(data["points"], box, scheme="cic")
        return modes_of(Field(mesh / mesh.mean() - 1, box, ("delta",)), window="cic")

    def cross() -> np.ndarray:
        result = compare_power(data.delta, data.other, edges=edges)
        return np.stack([result.transfer, result.correlation_coefficient])

    def from_powers(found: np.ndarray) -> np.ndarray:
        first, second, both = found[:, :n]
        return np.stack([np.sqrt(first / second), both / np.sqrt(first * second)])

    def helmholtz() -> np.ndarray:
        result = helmholtz_power(data.velocity, edges=edges)
        return np.stack([result.divergence.power, result.vorticity.power])

    def xi(modes: Field | Modes) -> np.ndarray:
        return correlation_multipoles(modes, edges=r_edges).correlation[:, :compared]

    def triangles() -> np.ndarray:
        result = bispectrum_at_angles(
            data.delta, float(data["k1"]), float(data["k2"]), theta=data["theta"], width=2 * box.k_fundamental
        )
        return np.stack([result.bispectrum, result.reduced])

    def spheres() -> np.ndarray:
        return bulk_flow(data.velocity, [float(r) for r in data["radii"]]).rms

    return [
        Case(
            "Pylians: multipoles",
            "P_0, P_2, P_4(k)",
            lambda: power_multipoles(data.delta, edges=edges).power,
            "P_0",
            lambda found: found[:1],
            lambda found: found[:, :n],
        ),
        Case(
            "Pylians: painted",
            "P(k) of points: CIC, window divided out",
            lambda: power_spectrum(points(), edges=edges).power,
            theirs=lambda found: found[:n],
        ),
        Case("Pylians: cross", "T(k), r(k)", cross, "1", np.ones_like, from_powers),
        Case(
            "Pylians: vector",
            "power of a vector",
            lambda: power_spectrum(data.velocity, edges=edges).power,
            theirs=lambda found: found[:n],
        ),
        Case(
            "Pylians: helmholtz",
            "P_theta and P_omega, divergence and curl",
            helmholtz,
            theirs=lambda found: found[:, :n],
        ),
        Case(
            "Pylians: mesh correlation",
            "xi_0, xi_2, xi_4(r) of a field",
            lambda: xi(data.delta),
            "xi_0",
            lambda found: np.abs(found[:1]),
            lambda found: found[:, :compared],
        ),
        Case(
            "Pylians: point correlation",
            "xi_0, xi_2, xi_4(r) of points, CIC, window divided out",
            lambda: xi(points()),
            "xi_0",
            lambda found: np.abs(found[:1]),
            lambda found: found[:, :compared],
        ),
        Case("Pylians: bispectrum", "B(k1, k2, theta), Q", triangles),
        Case(
            "Pylians: tides",
            "T-web eigenvalues",
            lambda: tidal_web(data.smooth).eigenvalues,
            "their rms",
            lambda found: found.std(axis=(1, 2, 3), keepdims=True),
        ),
        Case(
            "Pylians: spheres",
            "rms bulk flow in spheres of 5, 10, 20 cells",
            spheres,
            note="Pylians averages over the cells whose centres lie in the sphere, peculiar over the sphere itself: "
            "the two meet as the sphere grows.",
        ),
    ]


def point_cases(data: Inputs) -> list[Case]:
    box, cells = data.box, data.box.mesh
    k_edges = data["k_edges"]
    half = int(np.sum(k_edges < 0.5 * box.k_nyquist)) - 1

    def interlaced(scheme: str) -> np.ndarray:
        modes = catalogue_modes(data.points, cells, scheme=scheme)  # type: ignore[arg-type]
        # Triumvirate subtracts shot noise with aliases of it, which interlacing has removed.
        modes = replace(modes, shot_noise=0.0)
        return power_multipoles(modes, edges=k_edges).power

    def mean_bispectrum() -> np.ndarray:
        # Over all third sides, and without shot noise: as one multipole of Triumvirate's.
        mesh = paint(data["points"], box, scheme="tsc")
        modes = modes_of(Field(mesh / mesh.mean() - 1, box, ("delta",)), window="tsc")
        b_edges = data["b_edges"]
        edges = np.concatenate([[0.5 * box.k_fundamental], b_edges, [2.02 * b_edges[-1]]])
        found = bispectrum_in_bins(modes, edges)
        bins = np.searchsorted(edges, found.bands[:, :, 0], side="right") - 1
        number = power_spectrum(modes, edges=edges).modes
        total = np.nan_to_num(found.bispectrum) * found.triangles
        pairs = [((bins == i).sum(axis=1) >= 2) for i in range(1, len(b_edges))]
        return np.array([total[chosen].sum() / number[i + 1] ** 2 for i, chosen in enumerate(pairs)])

    def xi(mesh: int) -> np.ndarray:
        modes = catalogue_modes(data.points, mesh)
        return correlation_multipoles(modes, edges=data["r_edges"], orders=(0,)).correlation[0]

    def on_mesh() -> Field:
        mesh = paint(data["points_on_mesh"], box, scheme="ngp")
        return Field(mesh / mesh.mean() - 1, box, ("delta",))

    return [
        Case(
            "Triumvirate: interlaced cic",
            "P_0, P_2, P_4(k) of points, interlaced CIC, before shot noise is subtracted, to half Nyquist",
            lambda: interlaced("cic")[:, :half],
            "P_0",
            lambda found: found[:1],
            lambda found: found[:, :half],
        ),
        Case(
            "Triumvirate: interlaced pcs",
            "the same, our interlaced TSC and its PCS, to half Nyquist",
            lambda: interlaced("tsc")[:, :half],
            "P_0",
            lambda found: found[:1],
            lambda found: found[:, :half],
            note="The schemes differ, and so do the aliases that they leave. Triumvirate's own interlaced TSC is up to "
            "0.5 % below the sum over particles at the smallest k, its CIC, PCS and plain TSC are not.",
        ),
        Case("Triumvirate: mean bispectrum", "B(k, k) over all third sides, points", mean_bispectrum),
        Case(
            "Corrfunc: pairs on the mesh",
            "xi(r) of points at cell centres",
            lambda: correlation_multipoles(on_mesh(), edges=data["r_edges"], orders=(0,)).correlation[0],
        ),
        Case(
            "Corrfunc: plane",
            "xi(r_perp, r_par) of points at cell centres",
            lambda: (
                correlation_plane(
                    on_mesh(), across_edges=data["across_edges"], along_edges=data["along_edges"]
                ).correlation
            ),
            "1 + xi",
            lambda found: 1 + found,
        ),
        *(
            Case(
                "Corrfunc: pairs",
                f"xi(r) of points anywhere, mesh of {mesh}^3",
                lambda mesh=mesh: xi(mesh),  # type: ignore[misc]
                "1 + xi",
                lambda found: 1 + found,
                note="Corrfunc averages over all separations in a bin, peculiar over those of the mesh: in bins of 2 "
                "cells of a steep xi(r) the two differ, and they meet on a finer mesh. Of points at cell centres both "
                "sums are the same (above).",
            )
            for mesh in (cells, 2 * cells)
        ),
    ]


def other_cases(data: Inputs) -> list[Case]:
    box = data.box
    edges = data["value_edges"]

    def three_point() -> np.ndarray:
        cell = data.small.box.cell_size
        found = three_point_multipoles(data.small, data["three_point_edges"] * cell, max_order=5)
        return off_diagonal(found.multipoles)

    def agreement() -> np.ndarray:
        result = compare(data.other, data.delta)
        return np.array([result.correlation[0], result.slope[0], result.inverse_slope[0]])

    webs = [tidal_web(gaussian(f, 2.5 * box.cell_size)) for f in (data.other, data.delta)]

    def classes() -> np.ndarray:
        found = confusion(*webs)
        return np.append(found.rates, found.kappa)

    return [
        Case(
            "sarabande: three-point",
            f"zeta_l(r1, r2), l to 5 ({SMALL}^3)",
            three_point,
            "largest of each l",
            lambda found: np.abs(found).max(axis=(1, 2), keepdims=True),
            off_diagonal,
        ),
        Case(
            "SciPy: wedges",
            "P(k, mu)",
            lambda: (
                power_wedges(
                    data.delta,
                    edges=data["wedge_edges"] * box.k_fundamental,
                    mu_edges=np.minimum(data["mu_edges"], 1),
                ).power
            ),
        ),
        Case("SciPy: pointwise", "C_r, slope, inverse slope", agreement),
        Case(
            "SciPy: one-point",
            "one-point PDF",
            lambda: one_point_distribution(data.delta, edges).density[0],
            "its peak",
            lambda found: np.full_like(found, found.max()),
        ),
        Case(
            "SciPy: two-point",
            "two-point PDF",
            lambda: two_point_distribution(data.delta, float(data["steps"]) * box.cell_size, edges).density,
            "its peak",
            lambda found: np.full_like(found, found.max()),
        ),
        Case(
            "SciPy: joint",
            "joint distribution",
            lambda: joint_distribution(data.other, data.delta, first_edges=edges, second_edges=edges).counts,
            "its peak",
            lambda found: np.full_like(found, found.max()),
        ),
        Case("SciPy: confusion", "confusion of T-web classes, kappa", classes, "1", np.ones_like),
    ]


def off_diagonal(values: np.ndarray) -> np.ndarray:
    """sarabande leaves equal bins out."""
    return np.where(np.eye(values.shape[1], dtype=bool), 0.0, values)
