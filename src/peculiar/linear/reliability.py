"""How well a survey determines the velocity of matter at each place, in linear theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, k_squared, to_fourier, to_real
from peculiar.fields.objects import ERROR, LOCAL_ERROR
from peculiar.fields.smooth import gaussian, gaussian_window
from peculiar.linear.clustering import (
    COARSE_CELL,
    coarse_cells,
    linear_bias,
    matter_power,
    painted_power,
)
from peculiar.linear.light_cone import of_epoch, on_mesh, velocity_factor
from peculiar.linear.noise import weighted_clustering
from peculiar.linear.overdensity import crop_finer, fourier_box, mean_density, sampling
from peculiar.linear.smoothing import slowness
from peculiar.linear.surroundings import even_share, noise_variance, wiener_weights

Amplitude = Literal["mean", "unbiased"]

LEAST_FRACTION = 0.1
"""By which velocities are divided at least: where less is known, nothing makes up for it."""
LONG_WAVES = 10.0
"""Radius of a Gaussian [Mpc/h]: the waves that it leaves err by noise alone, and far beyond the cells that have it."""
_LEAST_OF_SHORT = 0.25  # of the variance of a velocity: what is not of those waves, at least
_LEAST_SHARE = 0.02  # of the density that counts as complete
_BANDS = (0.015, 0.03, 0.06, 0.12, 0.24)  # h/Mpc; the first and the last reach to the ends


def known_fraction(
    catalogue: Catalogue, *, cells: int, cosmology: Cosmology, bias: float, draws: int = 32, seed: int = 0
) -> Float[torch.Tensor, "x y z"]:
    """Return the share of the linear velocity's variance that a survey determines in each cell.

    Gaussian fields with the linear power spectrum are observed as the survey does, with its mask and shot noise, and
    the Wiener filter d = S M^T (M S M^T + N)^-1 delta gives back their velocities (see `surroundings_displacement`),
    which on small scales are slower than linear ones (`peculiar.linear.smoothing.slowness`).
    With u the estimated velocity and v the true one the share is <u^2> / <v^2>, and <u . v> is <u^2>: so u is the
    fraction times v on average, and its error has the variance (1 - fraction) <v^2>. Errors and estimates are
    uncorrelated, so that <v^2> = <u^2> + <(v - u)^2>, which leaves the least noise of the draws. Their sums are
    smoothed with a Gaussian of 10 Mpc/h.

    Parameters
    ----------
    catalogue : Catalogue
        Its completeness, number density, weights and geometry are used; places only to know the weights about them.
    cells : int
        Mesh cells along a side of the catalogue's box.
    cosmology : Cosmology
        Gives the power spectrum at the catalogue's redshift.
    bias : float
        Of the tracers, see `linear_bias`.
    draws : int
        Gaussian fields; 32 leave an error of a few per cent.
    seed : int
        Of the fields.

    Returns
    -------
    Tensor (x, y, z)
        0 to 1, for waves that a mesh of 10 Mpc/h holds; 1 everywhere in a complete periodic box.

    Raises
    ------
    InputError
        If there is no draw.
    """
    if draws < 1:
        raise InputError(f"draws must be >= 1, got {draws}: 32 leave an error of a few per cent")
    grid = sampling(catalogue, coarse_cells(catalogue.box))
    if grid.expected is None or grid.covered is None:
        return torch.ones(catalogue.box.with_cells(cells).shape)
    fourier, covered = grid.fourier, grid.covered
    noise = noise_variance(catalogue, grid, bias=bias)
    painted = painted_power(fourier, cosmology=cosmology, redshift=catalogue.redshift)
    power = _flow_power(fourier, cosmology=cosmology, redshift=catalogue.redshift)
    random = torch.Generator().manual_seed(seed)
    known, unknown = torch.zeros_like(noise), torch.zeros_like(noise)
    for _ in range(draws):  # one at a time: the memory of a few coarse meshes
        white, scatter = (torch.randn(noise.shape, generator=random) for _ in range(2))
        white_k = to_fourier(white)
        density = to_real(white_k * painted.sqrt(), fourier.shape) + noise.sqrt() * scatter
        weights = wiener_weights(density, covered=covered, signal=painted, noise=noise)
        # What was painted is known with the power painted, what moves correlates with it by the mean.
        estimate = displacement_from_fourier(to_fourier(weights) * (painted * power).sqrt(), fourier)
        truth = displacement_from_fourier(white_k * power.sqrt(), fourier)
        known += estimate.square().sum(dim=0)
        unknown += (truth - estimate).square().sum(dim=0)
    window = gaussian_window(k_squared(fourier), COARSE_CELL)
    known, unknown = (
        to_real(to_fourier(one) * window, fourier.shape).clamp(min=0) for one in (known, unknown)
    )
    return crop_finer((known / (known + unknown))[None], grid.box, cells)[0]


def unbiased(
    velocity: Float[torch.Tensor, "channel x y z"], fraction: Float[torch.Tensor, "x y z"]
) -> Float[torch.Tensor, "channel x y z"]:
    """Return the velocity with the amplitude of the true one: divided by the known fraction, by 0.1 at least.

    The posterior mean shrinks towards 0 where the survey tells little. Divided by the known fraction it is the
    unbiased estimator of minimal variance (Zaroubi 2002, MNRAS 331, 901): its mean over all surveys of one flow is that
    flow, and its error is larger.
    """
    return velocity / _divisor(fraction, "unbiased")


def velocity_error(
    fraction: Float[torch.Tensor, "x y z"],
    catalogue: Catalogue,
    *,
    cosmology: Cosmology,
    amplitude: Amplitude = "mean",
) -> Float[torch.Tensor, "x y z"]:
    """Return the standard error of one component of the velocity [km/s].

    For a velocity u / g with u the posterior mean, f the known fraction and g = 1 ("mean") or g = max(f, 0.1)
    ("unbiased"), error^2 = (1 - 2 f / g + f / g^2) sigma_mesh^2 + sigma_long^2: that is (1 - f) sigma_mesh^2, or
    (1 - f) / f sigma_mesh^2. sigma_mesh is the linear velocity of the waves that the survey's Fourier mesh holds
    (`mesh_dispersion`), sigma_long that of longer ones, of which it knows nothing (`long_wave_dispersion`), both at the
    epoch of each cell of a light cone. What
    non-linear motions and waves below 20 Mpc/h add is not in it.

    Parameters
    ----------
    fraction : Tensor (x, y, z)
        Of `known_fraction`.
    catalogue : Catalogue
        Gives the box and the redshift.
    cosmology : Cosmology
    amplitude : "mean" or "unbiased"
        Of the velocity whose error is wanted.
    """
    box = reach(catalogue)
    mesh = mesh_dispersion(box, cosmology=cosmology, redshift=catalogue.redshift)
    long = long_wave_dispersion(box, cosmology=cosmology, redshift=catalogue.redshift)
    divisor = _divisor(fraction, amplitude)
    share = 1 - 2 * fraction / divisor + fraction / divisor**2
    error = (share.clamp(min=0) * mesh**2 + long**2).sqrt()

    def amplitude_at(redshift: float) -> float:
        return cosmology.velocity_factor(redshift) * cosmology.growth(redshift)

    along = on_mesh(
        of_epoch(catalogue, amplitude_at, cosmology=cosmology), catalogue.box.with_cells(max(error.shape))
    )
    return error * (along / amplitude_at(catalogue.redshift))


def reach(catalogue: Catalogue) -> Box:
    """Return the periodic box, with its mesh, of the waves that take part in `known_fraction`."""
    return fourier_box(catalogue.box.with_cells(coarse_cells(catalogue.box)))


def mesh_dispersion(box: Box, *, cosmology: Cosmology, redshift: float) -> float:
    """Return the rms of one component of the velocity of a periodic box's mesh modes [km/s].

    sigma^2 = (a H f)^2 sum_k P(k) exp(-2 k / k_d) / (3 k^2 V), with 1 / k_d of `peculiar.linear.smoothing.slowness`.
    """
    power = _flow_power(box, cosmology=cosmology, redshift=redshift)
    at_zero = to_real(power * inverse_k_squared(box) + 0j, box.shape)[0, 0, 0]
    return cosmology.velocity_factor(redshift) * math.sqrt(float(at_zero) / 3)


def _flow_power(box: Box, *, cosmology: Cosmology, redshift: float) -> Float[torch.Tensor, "x y z"]:
    """Return the linear power of matter in a box's modes times how slowly it falls in there, squared."""
    power = matter_power(box, cosmology=cosmology, redshift=redshift)
    slow = k_squared(box).sqrt_().mul_(-2 * slowness(cosmology, redshift)).exp_()
    return power * slow


def long_wave_dispersion(box: Box, *, cosmology: Cosmology, redshift: float) -> float:
    """Return the rms of one component of the linear velocity of waves too long for a periodic box [km/s].

    sigma^2 = (a H f)^2 / (6 pi^2) times the integral of P(k) dk from 0 to (3 / 4 pi)^(1/3) 2 pi / L: a sphere with the
    volume in k that each mode of the box of side L stands for, about the mode k = 0 that it lacks.
    """
    longest = (3 / (4 * math.pi)) ** (1 / 3) * box.k_fundamental
    k = np.geomspace(1e-5, longest, 500)
    variance = np.trapezoid(cosmology.linear_power(k, redshift), k) / (6 * math.pi**2)
    return cosmology.velocity_factor(redshift) * math.sqrt(variance)


def linear_error(catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> float:
    """Return the error of a velocity component over a H f that the shot noise of a catalogue leaves [Mpc/h].

    sigma^2 = int P N / (b^2 P + N) dk / (6 pi^2) over the waves of the mesh, with b and N of its weighted tracers
    (`peculiar.linear.MultiTracerWiener`). Motions that are not linear, and the edges of a survey, are not in it.

    Parameters
    ----------
    catalogue : Catalogue
    cells : int
        Mesh cells along a side of the catalogue's box.
    cosmology : Cosmology
    """
    k, power, noise = _left_by_noise(catalogue, cells=cells, cosmology=cosmology)
    return float(np.sqrt(np.trapezoid(power * noise / (power + noise), k) / (6 * np.pi**2)))


def _left_by_noise(
    catalogue: Catalogue, *, cells: int, cosmology: Cosmology
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], float]:
    """Return the waves of a mesh, their linear power, and the noise over b^2 where a catalogue is complete."""
    found = weighted_clustering(catalogue, cosmology=cosmology)
    box = fourier_box(catalogue.box.with_cells(cells))
    k = np.geomspace(box.k_fundamental / 2, box.k_nyquist, 300)
    mean = mean_density(catalogue) / catalogue.number_density
    return k, cosmology.linear_power(k, catalogue.redshift), found.noise / found.bias**2 * mean


def local_error(
    catalogue: Catalogue,
    completeness: Field | None,
    *,
    box: Box,
    cosmology: Cosmology,
    smoothing: float = 0.0,
    slow: bool = False,
) -> tuple[Float[torch.Tensor, "x y z"], float]:
    """Return what the shot noise of the cells that a survey saw leaves of velocities, and the rms of `linear_error`.

    What noise leaves of a wave moves matter as far away as the wave is long: in each range of wavenumbers the variance
    that the noise of a cell would leave everywhere is smoothed with a Gaussian of 2 / k, with none in cells that were
    not seen: what these lack is another matter (`peculiar.linear.constrained`). Chosen on training boxes, where 1 / k
    makes the errors of a flux-limited survey too small near the observer.

    Parameters
    ----------
    catalogue : Catalogue
        Its weights make the noise of places differ too (`peculiar.linear.surroundings.even_share`).
    completeness : Field, optional
        On the mesh of a survey; within open faces 1 where not given.
    box : Box
        With that mesh.
    cosmology : Cosmology
    smoothing : float
        Radius of a Gaussian [Mpc/h]: of the waves that it leaves.
    slow : bool
        Of velocities that are slower than linear ones on small scales (`peculiar.linear.smoothing.slowness`). Tables of
        what models leave (`peculiar.inference.card_values.Residuals`) were fitted to linear ones.

    Returns
    -------
    Tensor (x, y, z) [Mpc/h]
        Of a component over a H f, in each cell.
    float [Mpc/h]
        What noise would leave in boxes that are everywhere like a seen cell, the rms of all these.
    """
    whole, cells = torch.ones(1, *box.shape) if completeness is None else completeness.data, max(box.shape)
    seen, share = (whole > 0).float(), whole * even_share(catalogue, cells=cells)
    noisier = share.clamp(min=_LEAST_SHARE).reciprocal().log_().numpy()
    coarse = replace(box.with_cells(coarse_cells(box)), periodic=False)
    k, power, noise = _left_by_noise(catalogue, cells=cells, cosmology=cosmology)
    times = np.linspace(noisier.min(), noisier.max(), 40)
    left = noise * np.exp(times)[:, None]
    left = power * left / (power + left) * np.gradient(k) / (6 * np.pi**2)
    left *= np.exp(-((k * smoothing) ** 2))
    if slow:
        left *= np.exp(-2 * k * slowness(cosmology, catalogue.redshift))
    bands = np.digitize(k, _BANDS[1:-1])
    around, of_seen = torch.zeros(1, *coarse.shape), 0.0
    for band, (low, high) in enumerate(pairwise(_BANDS)):
        here = np.interp(noisier, times, left[:, bands == band].sum(axis=1))
        variance = torch.from_numpy(here).float() * seen
        of_seen += float(variance.sum(dtype=torch.float64) / seen.sum(dtype=torch.float64))
        averaged = Field(
            torch.nn.functional.adaptive_avg_pool3d(variance, coarse.shape), coarse, ("variance",)
        )
        around += gaussian(averaged, 2 / math.sqrt(low * high)).data
    finer = torch.nn.functional.interpolate(
        around[None], size=box.shape, mode="trilinear", align_corners=False
    )
    return finer[0, 0].clamp_(min=0).sqrt_(), math.sqrt(of_seen)


def error_of_short_waves(
    error: Float[torch.Tensor, "x y z"],
    catalogue: Catalogue,
    completeness: Field | None,
    *,
    cosmology: Cosmology,
) -> Float[torch.Tensor, "x y z"]:
    """Return what of an error of a velocity component over a H f [Mpc/h] is not of long waves (`LONG_WAVES`).

    Their error is that of noise (`local_error`), and no more than three quarters of the variance.
    """
    box = catalogue.box.with_cells(max(error.shape))
    long, _ = local_error(catalogue, completeness, box=box, cosmology=cosmology, smoothing=LONG_WAVES)
    variance = error.square()
    return (variance - long.square()).clamp_(min=_LEAST_OF_SHORT * variance).sqrt_()


def _divisor(fraction: torch.Tensor, amplitude: Amplitude) -> torch.Tensor:
    return torch.ones_like(fraction) if amplitude == "mean" else fraction.clamp(min=LEAST_FRACTION)


def with_reliability(
    fields: Mapping[str, Field],
    catalogue: Catalogue,
    *,
    cosmology: Cosmology,
    amplitude: Amplitude = "mean",
    errors: bool = True,
) -> dict[str, Field]:
    """Return the fields of a survey with what linear theory says of how well their velocity is known.

    They get "known_fraction". The bias is measured with `peculiar.linear.clustering.linear_bias`.

    Parameters
    ----------
    fields : mapping
        Of a reconstruction whose velocity is a posterior mean: shrunk towards 0 where the survey tells little.
    catalogue : Catalogue
        What they were reconstructed from.
    cosmology : Cosmology
    amplitude : "mean" or "unbiased"
        "unbiased" divides velocity and momentum by the known fraction.
    errors : bool
        Add "velocity_error" [km/s], of one component of the velocity with that amplitude: linear theory's. Of networks
        that tell a "local_error" it is that, and in squares what of linear theory's is not of noise (`local_error`).
        Of other models, where the amplitude is "mean", that noise becomes the "local_error".

    Raises
    ------
    InputError
        If the amplitude is unknown, or the catalogue a complete periodic box.
    """
    if amplitude not in ("mean", "unbiased"):
        raise InputError(f"amplitude must be 'mean' or 'unbiased', got {amplitude!r}")
    require_edges(catalogue.box.periodic and catalogue.completeness is None)
    box = fields["velocity"].box
    bias = linear_bias(catalogue, cosmology=cosmology)
    fraction = known_fraction(catalogue, cells=max(box.shape), cosmology=cosmology, bias=bias)
    share = Field(fraction[None], box, names=("known_fraction",))
    result = {**fields, "known_fraction": share}
    if amplitude == "unbiased":
        for name in ("velocity", "momentum"):
            result[name] = fields[name].replace(data=unbiased(fields[name].data, fraction))
        result.pop(LOCAL_ERROR, None)  # of the posterior mean
    if errors:
        error = velocity_error(fraction, catalogue, cosmology=cosmology, amplitude=amplitude)
        if amplitude == "mean":
            noise, _ = local_error(
                catalogue, fields.get("completeness"), box=box, cosmology=cosmology, slow=True
            )
            noise *= velocity_factor(catalogue, box, cosmology=cosmology)
            if LOCAL_ERROR in result:
                unseen = (error.square() - noise.square()).clamp(min=0)
                error = (result[LOCAL_ERROR].data[0].square() + unseen).sqrt()
            else:
                noise = torch.minimum(noise, error)
                result[LOCAL_ERROR] = Field(noise[None], box, names=(LOCAL_ERROR,), unit="km/s")
        result[ERROR] = Field(error[None], box, names=(ERROR,), unit="km/s")
    return result


def require_edges(complete: bool) -> None:
    """Raise InputError where a catalogue is a complete periodic box."""
    if complete:
        raise InputError(
            "errors and an unbiased amplitude must be of a survey (--sky) or a box with faces (--no-periodic), got a "
            "complete periodic box: it misses no matter, leave --errors and --amplitude out"
        )
