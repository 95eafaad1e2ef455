"""Between real and redshift space."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from peculiar.core.catalogue import Catalogue
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError


def to_redshift_space(catalogue: Catalogue, cosmology: Cosmology) -> Catalogue:
    """Move objects along their lines of sight by their peculiar velocities: s = r + (v . n) / (a H) n.

    Eq. 1 of Xiao et al. 2024, for a plane-parallel or a radial line of sight n. A periodic box wraps; from another
    box, the objects that leave it are dropped.

    Raises
    ------
    InputError
        If the catalogue is in redshift space already, or has no velocities.
    """
    if catalogue.space != "real":
        raise InputError(f"catalogue.space must be 'real' to move to redshift space, got {catalogue.space!r}")
    if catalogue.velocities is None:
        raise InputError("catalogue.velocities must be given to move to redshift space, got None")
    along_sight = np.einsum("ij,ij->i", catalogue.velocities, catalogue.sight_lines())
    shift = cosmology.redshift_space_factor(catalogue.redshift) * along_sight
    return shift_along_sight(catalogue, shift).replace(space="redshift")


def shift_along_sight(catalogue: Catalogue, displacement: Float[np.ndarray, " n"]) -> Catalogue:
    """Move each object along its line of sight by a displacement [Mpc/h], positive away from the observer.

    A periodic box wraps; from another box, the objects that leave it are dropped. The catalogue keeps the `space`
    that it states.

    Raises
    ------
    InputError
        If there is not one finite displacement per object, or no object stays in the box.
    """
    displacement = np.asarray(displacement, dtype=np.float64)
    if displacement.shape != (len(catalogue),) or not np.isfinite(displacement).all():
        raise InputError(
            f"displacement must hold one finite value per object, ({len(catalogue)},), got {displacement.shape}"
        )
    moved = catalogue.positions + displacement[:, None] * catalogue.sight_lines()
    if catalogue.box.periodic:
        return catalogue.replace(positions=catalogue.box.wrap(moved))
    return _keep(catalogue, moved, catalogue.box.contains(moved))


def _keep(
    catalogue: Catalogue, positions: Float[np.ndarray, "n 3"], rows: Bool[np.ndarray, " n"]
) -> Catalogue:
    def pick(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else np.asarray(values)[rows]

    return catalogue.replace(
        positions=positions[rows],
        velocities=pick(catalogue.velocities),
        masses=pick(catalogue.masses),
        weights=pick(catalogue.weights),
    )
