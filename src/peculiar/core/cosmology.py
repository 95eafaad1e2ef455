"""Background, growth and linear power: the only source of H and f."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from peculiar.core.errors import InputError
from peculiar.core.spectrum import REFERENCE_AMPLITUDE, camb_results, linear_spectrum, nonlinear_boost

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from scipy.interpolate import CubicHermiteSpline

SPEED_OF_LIGHT = 299792.458  # km/s
CRITICAL_DENSITY = 2.77536627e11  # Msun/h / (Mpc/h)^3, today
TYPICAL_BARYONS = 0.0224
"""Omega_b h^2 (Planck Collaboration 2020, A&A 641, A6), for cosmologies of astropy that have no baryons."""
BACKGROUND_TOLERANCE = 1e-4
"""Largest relative difference of H(z), 0 < z < 10, from that of the astropy cosmology that was given."""
_FEWEST_BARYONS = 1e-3  # Omega_b h^2; with fewer CAMB finds no end of recombination
_OPEN = {"Omega_m": 5, "h": 5, "n_s": 5, "sigma8": 5}
_FROM_ZERO = {"m_nu": 10, "N_eff": 10, "T_cmb": 5}


@dataclass(frozen=True)
class Cosmology:
    """A flat cosmology with growth and linear power: LCDM, or with w0 and wa, radiation and massive neutrinos.

    Parameters
    ----------
    Omega_m, Omega_b, h, n_s, sigma8 : float
        Matter (without neutrinos) and baryon density today, Hubble constant / (100 km/s/Mpc), spectral index, and the
        rms linear fluctuation of all matter in spheres of 8 Mpc/h at z = 0.
    w0, wa : float
        Equation of state of dark energy, w = w0 + wa (1 - a).
    m_nu : float [eV]
        Sum of the neutrinos' masses, which `N_massive` species share equally.
    N_massive : float
        1 (as in Planck's base model), 2 or 3.
    N_eff : float
        Effective number of neutrino species.
    T_cmb : float [K]
        Photons and neutrinos in H(z); without them (0) H(z) has no radiation, as in most simulations.

    Raises
    ------
    InputError
        If a value is out of its range.

    Examples
    --------
    >>> round(Cosmology().growth_rate(0.59), 2)
    0.75
    >>> round(Cosmology(w0=-0.8, wa=-0.6).growth_rate(0.59), 2)
    0.73
    """

    Omega_m: float = 0.268
    Omega_b: float = 0.0445
    h: float = 0.71
    n_s: float = 0.968
    sigma8: float = 0.83
    w0: float = -1.0
    wa: float = 0.0
    m_nu: float = 0.0
    N_massive: float = 1
    N_eff: float = 3.044
    T_cmb: float = 0.0

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}  # in files that hold one

    def __post_init__(self) -> None:
        for name, most in _OPEN.items():
            if not 0 < getattr(self, name) < most:
                raise InputError(f"Cosmology.{name} must lie in (0, {most}), got {getattr(self, name)}")
        for name, most in _FROM_ZERO.items():
            if not 0 <= getattr(self, name) < most:
                raise InputError(f"Cosmology.{name} must lie in [0, {most}), got {getattr(self, name)}")
        if not self.Omega_b * self.h**2 >= _FEWEST_BARYONS:
            raise InputError(
                f"Cosmology.Omega_b must be >= {_FEWEST_BARYONS / self.h**2:.2g}, or there is no linear power, got "
                f"{self.Omega_b}: {TYPICAL_BARYONS / self.h**2:.2g} is usual"
            )
        if not self.Omega_b < self.Omega_m <= 1:
            raise InputError(
                f"Cosmology needs Omega_b < Omega_m <= 1, got Omega_b = {self.Omega_b}, Omega_m = {self.Omega_m}"
            )
        if not (-3 < self.w0 < 0 and -5 < self.wa < 3 and self.w0 + self.wa < 0):
            raise InputError(
                "Cosmology.w0 must lie in (-3, 0), wa in (-5, 3) and w0 + wa below 0, got "
                f"w0 = {self.w0}, wa = {self.wa}: give w0=-1,wa=0 for a cosmological constant"
            )
        if self.N_massive not in (1, 2, 3):
            raise InputError(f"Cosmology.N_massive must be 1, 2 or 3 species, got {self.N_massive}")
        if self.m_nu > 0 and not (self.T_cmb > 0 and self.N_eff >= self.N_massive):
            raise InputError(
                "Cosmology.T_cmb must be > 0 K and N_eff >= N_massive with massive neutrinos, got "
                f"T_cmb = {self.T_cmb}, N_eff = {self.N_eff}, N_massive = {self.N_massive}: give T_cmb=2.7255"
            )

    @classmethod
    def from_astropy(cls, cosmology: FLRW, *, n_s: float = 0.965, sigma8: float = 0.81) -> Cosmology:
        """Take the background from an astropy cosmology: radiation, neutrinos, w0 and wa included.

        Distances are those of astropy; neutrinos of different masses share their sum equally. `n_s` and `sigma8` come
        from the cosmology's metadata where it carries them (astropy's Planck ones do). A cosmology without baryons, as
        ``FlatLambdaCDM(70, 0.3)``, gets Omega_b h^2 = 0.0224, which shapes linear power alone, and a warning says so.

        Raises
        ------
        InputError
            If the cosmology is none of astropy's, or its H(z) cannot be carried to 1e-4: it is curved, or w0 and wa do
            not describe its dark energy.

        Examples
        --------
        >>> from astropy.cosmology import Planck18
        >>> Cosmology.from_astropy(Planck18).m_nu
        0.06
        """
        from astropy.cosmology import FLRW

        if not isinstance(cosmology, FLRW):
            raise InputError(
                f"cosmology must be one of astropy.cosmology, got {type(cosmology).__name__}: give its parameters"
            )
        meta, h = dict(cosmology.meta or {}), float(cosmology.h)
        baryons = float(cosmology.Ob0 or 0.0)
        if baryons == 0:
            baryons = TYPICAL_BARYONS / h**2
            warnings.warn(
                f"cosmology has no baryons (Ob0 = {cosmology.Ob0}): Omega_b = {baryons:.4g} is taken for the linear "
                "power; state Ob0 for another",
                stacklevel=2,
            )
        masses = np.atleast_1d(cosmology.m_nu.to_value("eV")) if cosmology.has_massive_nu else np.zeros(0)
        w_today, w_earlier = (round(float(cosmology.w(z)), 12) for z in (0.0, 1.0))
        carried = cls(
            Omega_m=float(cosmology.Om0),
            Omega_b=baryons,
            h=h,
            n_s=float(meta.get("n", n_s)),
            sigma8=float(meta.get("sigma8", sigma8)),
            w0=w_today,
            wa=round(2 * (w_earlier - w_today), 10),
            m_nu=round(float(masses.sum()), 10),
            N_massive=max(int((masses > 0).sum()), 1),
            N_eff=float(cosmology.Neff),
            T_cmb=float(cosmology.Tcmb0.to_value("K")),
        )
        z = np.linspace(0, 10, 201)
        difference = float(np.abs(carried.efunc(z) / cosmology.efunc(z) - 1).max())
        if not difference <= BACKGROUND_TOLERANCE:
            raise InputError(
                f"cosmology must be flat, with dark energy of w = w0 + wa (1 - a), got {cosmology} "
                f"(Ok0 = {cosmology.Ok0:.4g}), whose H(z) would be off by {difference:.1e}: give a Flatw0waCDM near it"
            )
        return carried

    @cached_property
    def background(self) -> FLRW:
        """The same background as an astropy cosmology."""
        from astropy.cosmology import Flatw0waCDM
        from astropy.units import Quantity

        masses = np.zeros(int(self.N_eff))
        if self.m_nu > 0:
            masses[: int(self.N_massive)] = self.m_nu / self.N_massive
        return Flatw0waCDM(
            H0=100 * self.h,
            Om0=self.Omega_m,
            Ob0=self.Omega_b,
            w0=self.w0,
            wa=self.wa,
            Tcmb0=self.T_cmb,
            Neff=self.N_eff,
            m_nu=Quantity(masses, "eV"),
        )

    @cached_property
    def _radiation(self) -> float:
        """Photons and massless neutrinos today, over the critical density; 0 with massive neutrinos."""
        if self.T_cmb == 0 or self.m_nu > 0:
            return 0.0
        return float(self.background.Ogamma0 + self.background.Onu0)

    def efunc(self, redshift: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        """H(z) / H0."""
        z = np.asarray(redshift, dtype=float)
        if self.m_nu > 0:
            return np.asarray(self.background.efunc(z))
        return np.sqrt(sum(_densities(1 / (1 + z), self.Omega_m, self._radiation, self.w0, self.wa)))

    def matter_share(self, redshift: float) -> float:
        """Omega_m(z), of the critical density at that time."""
        return self.Omega_m * (1 + redshift) ** 3 / float(self.efunc(redshift)) ** 2

    def hubble(self, redshift: float) -> float:
        """H(z) [km/s per Mpc/h]."""
        return float(100.0 * self.efunc(redshift))

    def _interpolate(self, column: int, redshift: float) -> float:
        low, high = (0, _HIGHEST_WITH_NEUTRINOS) if self.m_nu > 0 else (-0.5, 900)
        if not low <= redshift <= high:
            raise InputError(f"redshift must lie in [{low}, {high}] for growth, got {redshift}")
        if self.m_nu == 0:
            table = _growth_table(self.Omega_m, self._radiation, self.w0, self.wa)
        elif column < 3:
            table = _growth_with_neutrinos(replace(self, sigma8=1.0))
        else:
            raise InputError(f"Cosmology.m_nu must be 0 eV for second-order growth, got {self.m_nu}")
        return float(np.interp(-np.log1p(redshift), table[0], table[column]))

    def growth(self, redshift: float) -> float:
        """Linear growth factor D(z), 1 today; with massive neutrinos that of sigma8."""
        return self._interpolate(1, redshift)

    def growth_rate(self, redshift: float) -> float:
        """f = dlnD/dlna; with massive neutrinos f sigma8 / sigma8 of CAMB, its mean over scales near 8 Mpc/h."""
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

        `k` in h/Mpc, 1e-5 to 50; zero at k = 0. The shape is that of z = 0.
        """
        ln_k, ln_p, sigma8 = self._camb()
        k = np.asarray(k, dtype=float)
        with np.errstate(divide="ignore"):
            power = np.exp(np.interp(np.log(np.maximum(k, 1e-30)), ln_k, ln_p))
        return np.where(k > 0, power, 0.0) * (self.growth(redshift) * self.sigma8 / sigma8) ** 2

    def nonlinear_power(self, k: Float[np.ndarray, ...], redshift: float = 0.0) -> Float[np.ndarray, ...]:
        """Matter power [(Mpc/h)^3]: the linear one times what HMcode-2020 in CAMB makes of it, constant beyond k = 10.

        To 3 % that of simulated boxes to k = 0.3 h/Mpc.

        Examples
        --------
        >>> cosmology, k = Cosmology(), np.array([0.01, 1.0])
        >>> (cosmology.nonlinear_power(k) / cosmology.linear_power(k)).round(1)
        array([1. , 6.3])
        """
        ln_k, boost = nonlinear_boost(replace(self, sigma8=1.0), self.A_s, float(redshift))
        with np.errstate(divide="ignore"):
            return self.linear_power(k, redshift) * np.interp(np.log(np.asarray(k, dtype=float)), ln_k, boost)

    @property
    def A_s(self) -> float:
        """Primordial amplitude at k = 0.05 / Mpc that gives `sigma8`."""
        return REFERENCE_AMPLITUDE * (self.sigma8 / self._camb()[2]) ** 2

    def with_amplitude(self, A_s: float) -> Cosmology:
        """Return the cosmology with the `sigma8` of a primordial amplitude.

        Examples
        --------
        >>> round(PRESETS["he2019"].with_amplitude(2.142e-9).sigma8, 3)
        0.831
        """
        if not 1e-11 < A_s < 1e-7:
            raise InputError(f"A_s must lie in (1e-11, 1e-7), got {A_s}")
        return replace(self, sigma8=self._camb()[2] * (A_s / REFERENCE_AMPLITUDE) ** 0.5)

    def _camb(self) -> tuple[np.ndarray, np.ndarray, float]:
        # One entry for all amplitudes.
        return linear_spectrum(replace(self, sigma8=1.0))

    def comoving_distance(self, redshift: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        """Line-of-sight comoving distance [Mpc/h]; vectorised, z < 20."""
        distance = _distance_splines(self)[0]
        values, furthest = np.asarray(redshift, dtype=float), distance.x[-1]
        if not np.all((values >= 0) & (values <= furthest)):
            raise InputError(
                f"redshift must lie in [0, {furthest}], got {np.min(values)} to {np.max(values)}"
            )
        return np.asarray(distance(values))

    def redshift_at(self, distance: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        """Redshift of a comoving distance [Mpc/h]; the inverse of `comoving_distance`."""
        redshift = _distance_splines(self)[1]
        return np.asarray(redshift(np.clip(np.asarray(distance, dtype=float), 0.0, redshift.x[-1])))


def _densities(
    a: Float[np.ndarray, ...] | float, Omega_m: float, radiation: float, w0: float, wa: float
) -> tuple[Float[np.ndarray, ...] | float, ...]:
    """Matter, radiation and dark energy at a scale factor, over today's critical density."""
    dark = (1 - Omega_m - radiation) * a ** (-3 * (1 + w0 + wa)) * np.exp(-3 * wa * (1 - a))
    return Omega_m / a**3, radiation / a**4, dark


@lru_cache(maxsize=256)
def _growth_table(Omega_m: float, radiation: float, w0: float, wa: float) -> tuple[np.ndarray, ...]:
    """ln a, D1, f1, D2, f2 from the growth equations of first and second order, D1(z=0) = 1; matter alone clusters."""
    a0 = 1e-3
    ln_a = np.linspace(np.log(a0), np.log(2.0), 1400)
    step = ln_a[1] - ln_a[0]
    a = np.exp(np.linspace(ln_a[0], ln_a[-1], 2 * len(ln_a) - 1))  # and half-way between
    matter, light, dark = _densities(a, Omega_m, radiation, w0, wa)
    e2 = matter + light + dark
    source = np.asarray(1.5 * matter / e2)
    # 2 + dlnH / dlna
    friction = np.asarray(2 - (3 * matter + 4 * light + 3 * (1 + w0 + wa * (1 - a)) * dark) / (2 * e2))

    def slope(place: int, y: np.ndarray) -> np.ndarray:
        pull, drag = source[place], friction[place]
        return np.array([y[1], pull * y[0] - drag * y[1], y[3], pull * (y[2] - y[0] ** 2) - drag * y[3]])

    # D = a + 2/3 a_eq while radiation matters (Meszaros 1974, A&A 37, 225).
    start = a0 + 2 / 3 * radiation / Omega_m
    rows = [np.array([start, a0, -3 / 7 * start**2, -6 / 7 * start * a0])]
    # Runge and Kutta's fourth order, to 1e-8; scipy's takes 0.3 s to be imported.
    for place in range(0, len(a) - 2, 2):
        first = slope(place, rows[-1])
        second = slope(place + 1, rows[-1] + step / 2 * first)
        third = slope(place + 1, rows[-1] + step / 2 * second)
        fourth = slope(place + 2, rows[-1] + step * third)
        rows.append(rows[-1] + step / 6 * (first + 2 * second + 2 * third + fourth))
    y = np.array(rows).T
    today = np.interp(0.0, ln_a, y[0])
    return ln_a, y[0] / today, y[1] / y[0], y[2] / today**2, y[3] / y[2]


_HIGHEST_WITH_NEUTRINOS = 30


@lru_cache(maxsize=32)
def _growth_with_neutrinos(cosmology: Cosmology) -> tuple[np.ndarray, ...]:
    """ln a, sigma8(a) / sigma8 and f sigma8 / sigma8 from CAMB."""
    from scipy.interpolate import CubicSpline

    nodes = np.linspace(-np.log1p(_HIGHEST_WITH_NEUTRINOS), 0.0, 24)
    results = camb_results(cosmology, redshifts=np.expm1(-nodes), k_max=2.0)
    sigma8 = results.get_sigma8()
    ln_a = np.linspace(nodes[0], 0.0, 1400)
    columns = (np.log(sigma8 / sigma8[-1]), results.get_fsigma8() / sigma8)
    growth, rate = (CubicSpline(nodes, column)(ln_a) for column in columns)
    return ln_a, np.exp(growth), rate


@lru_cache(maxsize=32)
def _distance_splines(cosmology: Cosmology) -> tuple[CubicHermiteSpline, CubicHermiteSpline]:
    """Comoving distance as a function of redshift, and redshift as one of distance; their slopes are exact."""
    from scipy.integrate import cumulative_simpson
    from scipy.interpolate import CubicHermiteSpline

    z = np.concatenate([np.linspace(0, 3, 6000, endpoint=False), np.linspace(3, 20, 6001)])
    slope = SPEED_OF_LIGHT / (100 * cosmology.efunc(z))
    distance = cumulative_simpson(slope, x=z, initial=0)
    return CubicHermiteSpline(z, distance, slope), CubicHermiteSpline(distance, z, 1 / slope)


PRESETS: dict[str, Cosmology] = {
    "xiao2024": Cosmology(Omega_m=0.268, Omega_b=0.0445, h=0.71, n_s=0.968, sigma8=0.83),
    "wu2021": Cosmology(Omega_m=0.31, Omega_b=0.05, h=0.6777, n_s=0.96, sigma8=0.83),
    "wang2024": Cosmology(Omega_m=0.2648, Omega_b=0.0448, h=0.71, n_s=0.963, sigma8=0.8),
    "ramanah2019": Cosmology(Omega_m=0.315, Omega_b=0.049, h=0.68, n_s=0.97, sigma8=0.81),
    "he2019": Cosmology(Omega_m=0.3089, Omega_b=0.0486, h=0.6774, n_s=0.9667, sigma8=0.8305),
}
"""Cosmologies of the five papers. he2019 states A_s = 2.142e-9, which is sigma8 = 0.8305 with massless neutrinos."""
