"""What the shot noise of tracers leaves of linear waves."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology
from peculiar.core.catalogue import AXES
from peculiar.core.kept import kept
from peculiar.fields.fourier import k_squared, wavevectors
from peculiar.linear.clustering import Clustering, matter_power, measure_clustering, redshift_growth
from peculiar.linear.optimal_weights import optimal_weights

_ANGLES = 8


@kept
def weighted_clustering(catalogue: Catalogue, *, cosmology: Cosmology) -> Clustering:
    """Return the bias and the noise of tracers with the weights that tell most of matter (`optimal_weights`)."""
    of_all = measure_clustering(catalogue, cosmology=cosmology)
    weights, *_ = optimal_weights(catalogue, bias=of_all.bias, cosmology=cosmology)
    return measure_clustering(catalogue.replace(weights=weights), cosmology=cosmology)


def left_in_direction(
    catalogue: Catalogue, box: Box, *, cosmology: Cosmology
) -> Float[torch.Tensor, "x y half"]:
    """Return the power that noise leaves of each linear wave over its mean of all waves as long.

    In redshift space waves along the sight line stand out more from the noise (Kaiser 1987, MNRAS 227, 1): the Wiener
    filter leaves the power P N / ((b + f mu^2)^2 P + N), with b and N of the weighted tracers of a complete periodic
    box and mu the cosine of a wave with the sight line. Without one direction for all places, and in real space, it
    is 1.

    Parameters
    ----------
    catalogue : Catalogue
    box : Box
        Periodic, with the mesh whose modes are wanted, in the layout of `to_fourier`.
    cosmology : Cosmology
    """
    growth = redshift_growth(catalogue, cosmology)
    power = matter_power(box, cosmology=cosmology, redshift=catalogue.redshift).mul_(box.cell_size**3)
    if growth == 0 or catalogue.line_of_sight == "radial":
        return torch.ones_like(power)
    found = weighted_clustering(catalogue, cosmology=cosmology)
    over_noise = power / found.noise

    def left(mu2: Float[torch.Tensor, "..."] | float) -> Float[torch.Tensor, "x y half"]:
        return ((found.bias + growth * mu2) ** 2 * over_noise + 1).reciprocal_()

    nodes, weights = np.polynomial.legendre.leggauss(_ANGLES)
    mean = torch.zeros_like(power)
    for node, weight in zip(nodes, weights, strict=True):
        mean += float(weight / 2) * left(((1 + float(node)) / 2) ** 2)
    along = wavevectors(box)[AXES[catalogue.line_of_sight]].square()
    return left(along / k_squared(box).clamp_(min=1e-12)).div_(mean)
