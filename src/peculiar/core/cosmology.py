"""Background, growth and linear power: the only source of H and f."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.core.errors import InputError

if TYPE_CHECKING:
    from astropy.cosmology import FLRW, FlatLambdaCDM

SPEED_OF_LIGHT = 299792.458  # km/s
CRITICAL_DENSITY = 2.77536627e11  # Msun/h / (Mpc/h)^3, today
_REFERENCE_AMPLITUDE = 2e-9


@dataclass(frozen=True)
class Cosmology:
    """A flat LCDM cosmology with growth and linear power.

    Parameters
    ----------
    Omega_m, Omega_b, h, n_s, sigma8 : float
        Matter and baryon density today, Hubble constant / (100 km/s/Mpc), spectral index, and the rms linear
        fluctuation in spheres of 8 Mpc/h at z = 0.

    Examples
    --------
    >>> round(Cosmology().growth_rate(0.59), 2)
    0.75
    """

    Omega_m: float = 0.268
    Omega_b: float = 0.0445
    h: float = 0.71
    n_s: float = 0.968
    sigma8: float = 0.83

    def __post_init__(self) -> None:
        for name in ("Omega_m", "h", "n_s", "sigma8"):
            if not 0 < getattr(self, name) < 5:
                raise InputError(f"Cosmology.{name} must lie in (0, 5), got {getattr(self, name)}")
        if not 0 <= self.Omega_b < self.Omega_m <= 1:
            raise InputError(
                f"Cosmology needs 0 <= Omega_b < Omega_m <= 1, got {self.Omega_b}, {self.Omega_m}"
            )

    @classmethod
    def from_astropy(cls, cosmology: FLRW, *, n_s: float = 0.965, sigma8: float = 0.81) -> Cosmology:
        """Take the background from an astropy cosmology; it must be flat LCDM (to 1e-3 in curvature).

        `n_s` and `sigma8` come from the cosmology's metadata where it carries them (astropy's Planck ones do).
        """
        if abs(cosmology.Ok0) > 1e-3:
            raise InputError(f"cosmology must be flat, got Ok0 = {cosmology.Ok0}")
        meta = dict(cosmology.meta or {})
        return cls(
            Omega_m=float(cosmology.Om0),
            Omega_b=float(cosmology.Ob0 or 0.0),
            h=float(cosmology.h),
            n_s=float(meta.get("n", n_s)),
            sigma8=float(meta.get("sigma8", sigma8)),
        )

    @cached_property
    def background(self) -> FlatLambdaCDM:
        """The same background as an astropy FlatLambdaCDM (no radiation, as in the simulations)."""
        from astropy.cosmology import FlatLambdaCDM

        return FlatLambdaCDM(H0=100 * self.h, Om0=self.Omega_m, Ob0=self.Omega_b, Tcmb0=0.0)

    def efunc(self, redshift: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        """H(z) / H0."""
        return np.sqrt(self.Omega_m * (1 + np.asarray(redshift, dtype=float)) ** 3 + 1 - self.Omega_m)

    def hubble(self, redshift: float) -> float:
        """H(z) [km/s per Mpc/h]."""
        return float(100.0 * self.efunc(redshift))

    def _interpolate(self, column: int, redshift: float) -> float:
        if not -0.5 < redshift < 900:
            raise InputError(f"redshift must lie in (-0.5, 900) for growth, got {redshift}")
        table = _growth_table(self.Omega_m)
        return float(np.interp(-np.log1p(redshift), table[0], table[column]))

    def growth(self, redshift: float) -> float:
        """Linear growth factor D(z), 1 today."""
        return self._interpolate(1, redshift)

    def growth_rate(self, redshift: float) -> float:
        """f = dlnD/dlna."""
        return self._interpolate(2, redshift)

    def growth_second(self, redshift: float) -> float:
        """Second-order growth D2(z), about -3/7 D^2."""
        return self._interpolate(3, redshift)

    def growth_rate_second(self, redshift: float) -> float:
        """f2 = dlnD2/dlna."""
        return self._interpolate(4, redshift)

    def velocity_factor(self, redshift: float) -> float:
        """a H f [km/s per Mpc/h]: linear peculiar velocity = a H f * displacement."""
        return self.hubble(redshift) / (1 + redshift) * self.growth_rate(redshift)

    def redshift_space_factor(self, redshift: float) -> float:
        """1 / (a H) [Mpc/h per km/s], the shift in redshift space per velocity (eq. 1 of Xiao et al. 2024)."""
        return (1 + redshift) / self.hubble(redshift)

    def linear_power(self, k: Float[np.ndarray, ...], redshift: float = 0.0) -> Float[np.ndarray, ...]:
        """Linear matter power [(Mpc/h)^3] from CAMB, scaled to sigma8 at z = 0 and by D(z)^2.

        `k` in h/Mpc, 1e-5 to 50; zero at k = 0.
        """
        ln_k, ln_p, sigma8 = self._camb()
        k = np.asarray(k, dtype=float)
        with np.errstate(divide="ignore"):
            power = np.exp(np.interp(np.log(np.maximum(k, 1e-30)), ln_k, ln_p))
        return np.where(k > 0, power, 0.0) * (self.growth(redshift) * self.sigma8 / sigma8) ** 2

    @property
    def A_s(self) -> float:
        """Primordial amplitude at k = 0.05 / Mpc that gives `sigma8`, with massless neutrinos."""
        return _REFERENCE_AMPLITUDE * (self.sigma8 / self._camb()[2]) ** 2

    def with_amplitude(self, A_s: float) -> Cosmology:
        """Return the cosmology with the `sigma8` of a primordial amplitude.

        Examples
        --------
        >>> round(PRESETS["he2019"].with_amplitude(2.142e-9).sigma8, 3)
        0.83
        """
        if not 1e-11 < A_s < 1e-7:
            raise InputError(f"A_s must lie in (1e-11, 1e-7), got {A_s}")
        return replace(self, sigma8=self._camb()[2] * (A_s / _REFERENCE_AMPLITUDE) ** 0.5)

    def _camb(self) -> tuple[np.ndarray, np.ndarray, float]:
        # One entry for all amplitudes.
        return _camb_power(replace(self, sigma8=1.0))

    def comoving_distance(self, redshift: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        """Line-of-sight comoving distance [Mpc/h]; vectorised, z < 20."""
        z, d = _distance_table(self)
        values = np.asarray(redshift, dtype=float)
        if np.any(~np.isfinite(values)) or np.any(values < 0) or np.any(values > z[-1]):
            raise InputError(
                f"redshift must lie in [0, {z[-1]}], got {np.nanmin(values)} to {np.nanmax(values)}"
            )
        return np.interp(values, z, d)

    def redshift_at(self, distance: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        """Redshift of a comoving distance [Mpc/h]; the inverse of `comoving_distance`."""
        z, d = _distance_table(self)
        return np.interp(np.asarray(distance, dtype=float), d, z)


@lru_cache(maxsize=256)
def _growth_table(Omega_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """ln a, D1, f1, D2, f2 from the growth equations of first and second order, D1(z=0) = 1."""
    from scipy.integrate import solve_ivp

    def rhs(ln_a: float, y: np.ndarray) -> list[float]:
        a = np.exp(ln_a)
        e2 = Omega_m / a**3 + 1 - Omega_m
        omega = Omega_m / a**3 / e2
        friction = 2 - 1.5 * omega
        return [
            y[1],
            1.5 * omega * y[0] - friction * y[1],
            y[3],
            1.5 * omega * (y[2] - y[0] ** 2) - friction * y[3],
        ]

    a0 = 1e-3
    start = [a0, a0, -3 / 7 * a0**2, -6 / 7 * a0**2]
    ln_a = np.linspace(np.log(a0), np.log(2.0), 1400)
    y = solve_ivp(rhs, (ln_a[0], ln_a[-1]), start, t_eval=ln_a, rtol=1e-9, atol=1e-14).y
    today = np.interp(0.0, ln_a, y[0])
    return ln_a, y[0] / today, y[1] / y[0], y[2] / today**2, y[3] / y[2]


@lru_cache(maxsize=32)
def _distance_table(cosmology: Cosmology) -> tuple[np.ndarray, np.ndarray]:
    from scipy.integrate import cumulative_simpson

    z = np.concatenate([np.linspace(0, 3, 6000, endpoint=False), np.linspace(3, 20, 6001)])
    return z, cumulative_simpson(SPEED_OF_LIGHT / (100 * cosmology.efunc(z)), x=z, initial=0)


@lru_cache(maxsize=32)
def _camb_power(cosmology: Cosmology) -> tuple[np.ndarray, np.ndarray, float]:
    """ln k, ln P and sigma8 at z = 0 for the reference A_s; massless neutrinos so that matter alone clusters."""
    import camb

    h2 = cosmology.h**2
    params = camb.CAMBparams()
    params.set_cosmology(
        H0=100 * cosmology.h,
        ombh2=max(cosmology.Omega_b, 1e-4) * h2,
        omch2=(cosmology.Omega_m - max(cosmology.Omega_b, 1e-4)) * h2,
        mnu=0.0,
        omk=0.0,
    )
    params.InitPower.set_params(As=_REFERENCE_AMPLITUDE, ns=cosmology.n_s)
    params.set_matter_power(redshifts=[0.0], kmax=60.0)
    results = camb.get_results(params)
    k, _, power = results.get_matter_power_spectrum(minkh=1e-5, maxkh=50.0, npoints=1200)
    return np.log(k), np.log(power[0]), float(results.get_sigma8_0())


PRESETS: dict[str, Cosmology] = {
    "xiao2024": Cosmology(Omega_m=0.268, Omega_b=0.0445, h=0.71, n_s=0.968, sigma8=0.83),
    "wu2021": Cosmology(Omega_m=0.31, Omega_b=0.05, h=0.6777, n_s=0.96, sigma8=0.83),
    "wang2024": Cosmology(Omega_m=0.2648, Omega_b=0.0448, h=0.71, n_s=0.963, sigma8=0.8),
    "ramanah2019": Cosmology(Omega_m=0.315, Omega_b=0.049, h=0.68, n_s=0.97, sigma8=0.81),
    "he2019": Cosmology(Omega_m=0.3089, Omega_b=0.0486, h=0.6774, n_s=0.9667, sigma8=0.8305),
}
"""Cosmologies of the five papers. he2019 states A_s = 2.142e-9, which is sigma8 = 0.8305 with massless neutrinos."""
