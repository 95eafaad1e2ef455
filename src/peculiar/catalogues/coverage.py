"""Whether objects fill the box or the mask that they are said to sample."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from peculiar.catalogues.sky import FULL_SKY, SkyMask
from peculiar.catalogues.sky_counts import in_pixels
from peculiar.core import Box
from peculiar.core.box import Sides

FALSE_ALARMS = 1e-4
"""How often a sample that fills its volume may be warned of."""
LEAST_SHARE = 0.05
"""Of the volume or the area: a smaller empty part does little harm."""
_AMPLITUDE = 2.0  # rms density contrast of spheres of 8 Mpc/h: more than halos have, at 1e-5 (h/Mpc)^3 too
_SHAPE = 0.21  # Gamma of Bardeen et al. (1986)
_CLUMP = 3.0  # objects that come together, as the members of groups
_MESH = 16
_NSIDE = 16
_RADII = (20.0, 30.0, 45.0, 60.0, 90.0)


def warn_unfilled_box(positions: Float[np.ndarray, "n 3"], box: Box) -> None:
    """Warn where a slab, a beam or a cube of a box holds far fewer objects than an even sample could have there.

    All of 5 % of the volume and more are tried, at 16 places along each axis. The number of objects in one is taken as
    Poisson about a lognormal density, whose clustering is stronger than that of halos; the warning is given where the
    chance of so few, times the number of places, is below 1e-4.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
        In the box.
    box : Box
    """
    index = ((positions - np.asarray(box.origin)) / np.asarray(box.sides) * _MESH).astype(np.int64) % _MESH
    counts = np.bincount(np.ravel_multi_index(index.T, (_MESH,) * 3), minlength=_MESH**3).reshape(
        (_MESH,) * 3
    )
    shapes = _shapes()
    log_chance, found = 0.0, None
    for shape in shapes:
        windows = counts
        for axis, width in enumerate(shape):
            windows = _moving_sum(windows, width, axis, periodic=box.periodic)
        fewest = int(windows.min())
        expected = len(positions) * float(np.prod(shape)) / _MESH**3
        chance = _log_chance(fewest, expected, _variance(shape, box.sides))
        if chance < log_chance:
            log_chance, found = (
                chance,
                (shape, np.unravel_index(int(windows.argmin()), windows.shape), fewest),
            )
    if found is None or log_chance + np.log(len(shapes) * _MESH**3) > np.log(FALSE_ALARMS):
        return
    shape, start, fewest = found
    part = ", ".join(
        f"{name} from {low + side * first / _MESH:.4g} to {low + side * (first + width) / _MESH:.4g}"
        for name, low, side, first, width in zip("xyz", box.origin, box.sides, start, shape, strict=True)
        if width < _MESH
    )
    share = float(np.prod(shape)) / _MESH**3
    kind = "a periodic box" if box.periodic else "a box"
    warnings.warn(
        f"{fewest} of {len(positions)} objects are in {share:.0%} of {kind} of {box.extent} ({part} Mpc/h), "
        f"where about {share * len(positions):.0f} are expected: are box and units right? What is empty counts as "
        "a void",
        stacklevel=4,
    )


def warn_unfilled_sky(
    positions: Float[np.ndarray, "n 3"],
    mask: SkyMask,
    *,
    randoms: Float[np.ndarray, " pixel"] | None = None,
) -> None:
    """Warn where a disc of the sky holds far fewer objects than the mask, or the randoms, expect.

    As `warn_unfilled_box`, with discs of 20 to 90 degrees about 192 places.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
        Of the objects in the mask, observer at the origin.
    mask : SkyMask
    randoms : (pixel,), optional
        Weighted number of random points in place of the mask, in pixels of `sky_counts`.
    """
    import healpy

    pixels = 12 * _NSIDE**2
    centres = np.stack(healpy.pix2vec(_NSIDE, np.arange(pixels)), axis=1)
    if randoms is None:
        points = np.stack(healpy.pix2vec(4 * _NSIDE, np.arange(16 * pixels)), axis=1)
        expected = np.bincount(healpy.vec2pix(_NSIDE, *points.T), mask.at(points), pixels)
    else:
        expected = in_pixels(randoms, _NSIDE)
    expected = expected * (len(positions) / expected.sum())
    counts = np.bincount(healpy.vec2pix(_NSIDE, *positions.T), minlength=pixels)
    # Half of the objects lie within the median distance, flux-limited or not.
    volume = 2 * mask.solid_angle / 3 * float(np.median(np.linalg.norm(positions, axis=1))) ** 3
    axes = np.stack(healpy.pix2vec(4, np.arange(192)), axis=1)
    cosine = axes @ centres.T
    log_chance, found = 0.0, None
    for radius in _RADII:
        inside = (cosine > np.cos(np.radians(radius))).astype(np.float64)
        seen, mean = inside @ counts, inside @ expected
        tried = np.flatnonzero(mean >= LEAST_SHARE * len(positions))
        if not len(tried):
            continue
        place = tried[
            np.lexsort((-mean[tried], seen[tried] / mean[tried]))[0]
        ]  # the emptiest, of these the largest
        many = float(mean[place])
        variance = _sphere_variance((3 * volume * many / len(positions) / FULL_SKY) ** (1 / 3))
        chance = _log_chance(int(seen[place]), many, variance)
        if chance < log_chance:
            log_chance, found = chance, (place, radius, int(seen[place]), many)
    if found is None or log_chance + np.log(len(_RADII) * len(axes)) > np.log(FALSE_ALARMS):
        return
    place, radius, few, many = found
    ra, dec = healpy.vec2ang(axes[place], lonlat=True)
    name = "mask" if randoms is None else "randoms"
    doubt = "; are ra and dec degrees, and not exchanged?" if many - few > len(positions) / 2 else ""
    warnings.warn(
        f"{name} must be of the sample, got {few} of {len(positions)} objects within {radius:g} degrees of (ra, dec) = "
        f"({ra[0]:.0f}, {dec[0]:.0f}), where {many:.0f} are expected: what was not "
        f"observed counts as empty; take it out{doubt}",
        stacklevel=4,
    )


@cache
def _shapes() -> tuple[tuple[int, int, int], ...]:
    """Slabs, beams and cubes, in cells."""
    sizes = range(1, _MESH)
    every = [
        shape
        for s in sizes
        for shape in {(s, _MESH, _MESH), (_MESH, s, _MESH), (_MESH, _MESH, s)}
        | {(s, s, _MESH), (s, _MESH, s), (_MESH, s, s), (s, s, s)}
    ]
    return tuple(sorted(shape for shape in every if np.prod(shape) >= LEAST_SHARE * _MESH**3))


def _moving_sum(values: np.ndarray, width: int, axis: int, *, periodic: bool) -> np.ndarray:
    """Return sums over `width` neighbours from each place on; only whole ones where nothing wraps."""
    if width == values.shape[axis]:
        return values.sum(axis=axis, keepdims=True)
    values = np.moveaxis(values, axis, 0)
    if periodic:
        values = np.concatenate([values, values[: width - 1]])
    total = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
    return np.moveaxis(total[width:] - total[:-width], 0, axis)


def _log_chance(few: int, expected: float, variance: float) -> float:
    """Return the log of the chance of at most so many objects: Poisson clumps about a lognormal density."""
    spread = np.sqrt(np.log1p(variance))
    deviate = torch.linspace(-12, 8, 161, dtype=torch.float64)
    mean = expected * torch.exp(spread * deviate - spread**2 / 2)
    log_weight = -(deviate**2) / 2 + np.log(20 / 160 / np.sqrt(2 * np.pi))
    # Of a Poisson number, at most so many. scipy's takes 0.3 s to be imported.
    most = torch.full_like(mean, np.floor(few / _CLUMP) + 1)
    return float(torch.logsumexp(torch.special.gammaincc(most, mean / _CLUMP).log() + log_weight, 0))


def _power(k: np.ndarray) -> np.ndarray:
    """Power spectrum of cold dark matter (BBKS), not normalised."""
    q = np.maximum(k, 1e-6) / _SHAPE
    polynomial = 1 + 3.89 * q + (16.1 * q) ** 2 + (5.46 * q) ** 3 + (6.71 * q) ** 4
    return k * (np.log1p(2.34 * q) / (2.34 * q)) ** 2 / np.sqrt(polynomial)


@cache
def _normalisation() -> float:
    return _AMPLITUDE**2 / _unnormalised(8.0)


def _unnormalised(radius: float) -> float:
    k = np.geomspace(1e-4, 10, 600)
    x = k * radius
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    return float(np.trapezoid(_power(k) * window**2 * k**2, k) / (2 * np.pi**2))


def _sphere_variance(radius: float) -> float:
    return _normalisation() * _unnormalised(radius)


@cache
def _variance(shape: tuple[int, int, int], sides: Sides) -> float:
    """Return the variance of the density in a window of so many cells of a periodic box."""
    frequency = np.fft.fftfreq(_MESH, 1 / _MESH)
    components = np.meshgrid(*(2 * np.pi / side * frequency for side in sides), indexing="ij", sparse=True)
    k = np.sqrt(sum(component**2 for component in components))
    power = _power(k)
    for axis, width in enumerate(shape):
        window = np.abs(np.fft.fft(np.arange(_MESH) < width) / width) ** 2
        window *= np.sinc(frequency / _MESH) ** 2
        power = power * np.expand_dims(window, [other for other in range(3) if other != axis])
    return _normalisation() * float(power.sum()) / float(np.prod(sides))
