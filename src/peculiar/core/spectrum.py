"""The power of matter from CAMB, kept on disk: it takes seconds, and the same few cosmologies are used again.

It is kept below `PECULIAR_CACHE_DIR`, `XDG_CACHE_HOME` or `~/.cache`, by the sha256 of what CAMB is asked, its version
included. A file that cannot be read or written is computed anew, without a word.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from peculiar.core.errors import InputError
from peculiar.core.output import atomic_output

if TYPE_CHECKING:
    from camb import CAMBdata

    from peculiar.core.cosmology import Cosmology

REFERENCE_AMPLITUDE = 2e-9
"""A_s of the spectra."""
_PHYSICAL_T_CMB = 2.7255
_POINTS, _FEW_POINTS = 1200, 300
_ASKED = ("Omega_m", "Omega_b", "h", "n_s", "w0", "wa", "m_nu", "N_eff", "N_massive", "T_cmb")


@lru_cache(maxsize=32)
def linear_spectrum(cosmology: Cosmology) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], float]:
    """Return ln k [h/Mpc], ln P [(Mpc/h)^3] and sigma8 at z = 0 for `REFERENCE_AMPLITUDE`, of all matter."""
    path = _place(cosmology)
    kept = _read(path, 2 * _POINTS + 1)
    if kept is None:
        results = camb_results(cosmology, redshifts=np.zeros(1), k_max=60.0)
        k, _, power = results.get_matter_power_spectrum(minkh=1e-5, maxkh=50.0, npoints=_POINTS)
        kept = np.concatenate([np.log(k), np.log(power[0]), [float(results.get_sigma8_0())]])
        _keep(path, kept)
    return kept[:_POINTS], kept[_POINTS:-1], float(kept[-1])


@lru_cache(maxsize=32)
def nonlinear_boost(
    cosmology: Cosmology, amplitude: float, redshift: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return ln k [h/Mpc] to k = 10, and what gravity makes of the linear power there (HMcode-2020).

    Mead et al. 2021, MNRAS 502, 1401. `amplitude` is A_s.
    """
    path = _place(cosmology, amplitude=amplitude, redshift=redshift)
    kept = _read(path, 2 * _FEW_POINTS)
    if kept is None:
        results = camb_results(
            cosmology, redshifts=np.array([redshift]), k_max=20.0, amplitude=amplitude, nonlinear=True
        )
        k, _, linear = results.get_linear_matter_power_spectrum()
        _, _, power = results.get_nonlinear_matter_power_spectrum()
        ln_k = np.log(np.geomspace(1e-3, 10.0, _FEW_POINTS))
        kept = np.concatenate([ln_k, np.interp(ln_k, np.log(k), power[0] / linear[0])])
        _keep(path, kept)
    return kept[:_FEW_POINTS], kept[_FEW_POINTS:]


def camb_results(
    cosmology: Cosmology,
    *,
    redshifts: Float[np.ndarray, " z"],
    k_max: float,
    amplitude: float = REFERENCE_AMPLITUDE,
    nonlinear: bool = False,
) -> CAMBdata:
    """Return CAMB's results for an amplitude A_s; the highest redshift comes first.

    Raises
    ------
    InputError
        If CAMB cannot solve the cosmology.
    """
    import camb

    h2 = cosmology.h**2
    params = camb.CAMBparams()
    params.set_cosmology(
        H0=100 * cosmology.h,
        ombh2=cosmology.Omega_b * h2,
        omch2=(cosmology.Omega_m - cosmology.Omega_b) * h2,
        mnu=cosmology.m_nu,
        num_massive_neutrinos=int(cosmology.N_massive),
        nnu=cosmology.N_eff,
        # Radiation shapes the power, whether or not H(z) has it.
        TCMB=cosmology.T_cmb or _PHYSICAL_T_CMB,
        omk=0.0,
    )
    if (cosmology.w0, cosmology.wa) != (-1.0, 0.0):
        params.set_dark_energy(w=cosmology.w0, wa=cosmology.wa, dark_energy_model="ppf")
    params.InitPower.set_params(As=amplitude, ns=cosmology.n_s)
    if nonlinear:
        params.NonLinear = camb.model.NonLinear_pk
        params.NonLinearModel.set_params(halofit_version="mead2020")
    params.set_matter_power(redshifts=redshifts.tolist(), kmax=k_max)
    try:
        return camb.get_results(params)
    except (camb.CAMBError, camb.CAMBValueError) as error:
        raise InputError(f"cosmology must be one that CAMB can solve, got {cosmology}: {error}") from error


def _place(cosmology: Cosmology, **more: float) -> Path:
    asked = (
        {name: float(getattr(cosmology, name)) for name in _ASKED}
        | {"camb": version("camb"), "form": 1}
        | more
    )
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    base = os.environ.get("PECULIAR_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    if not base:
        home = os.path.expanduser("~")
        base = os.path.join(home, ".cache") if os.path.isabs(home) else os.devnull
    return Path(base) / "peculiar" / f"spectrum-{name[:32]}.npy"


def _read(path: Path, count: int) -> Float[np.ndarray, " value"] | None:
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    whole = kept.shape == (count,) and kept.dtype == np.float64 and np.isfinite(kept).all()
    return kept if whole and kept[-1] > 0 else None


def _keep(path: Path, values: Float[np.ndarray, " value"]) -> None:
    with suppress(OSError, InputError), atomic_output(path, overwrite=True) as temporary:
        np.save(temporary, values)
