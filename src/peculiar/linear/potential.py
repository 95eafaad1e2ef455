"""The gravitational potential of an overdensity."""

from __future__ import annotations

from peculiar.core import Cosmology, Field, InputError
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real
from peculiar.linear.overdensity import crop, fourier_box, pad


def potential(density: Field, *, cosmology: Cosmology, redshift: float) -> Field:
    """Return the peculiar gravitational potential of an overdensity.

    laplacian phi = (3/2) Omega_m H0^2 (1 + z) delta, in comoving coordinates. A box that is not periodic gets empty
    space around it; the constant is such that the mean over box and space is 0.

    Parameters
    ----------
    density : Field
        Overdensity, one channel; 0 where nothing is known.
    cosmology : Cosmology
    redshift : float

    Returns
    -------
    Field
        [(km/s)^2].

    Raises
    ------
    InputError
        If the density has several channels.
    """
    if density.data.shape[0] != 1:
        raise InputError(f"density must have one channel, got {density.data.shape[0]}: take one of them")
    box = fourier_box(density.box)
    source_k = to_fourier(pad(density.data, density.box)[0])
    source_k *= -1.5 * cosmology.Omega_m * 100.0**2 * (1 + redshift) * inverse_k_squared(box, source_k.device)
    data = crop(to_real(source_k, box.shape)[None], density.box)
    return density.replace(data=data, names=("potential",), unit="(km/s)^2")
