"""What all networks share that see a catalogue: the channels of a kind, and after them its conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import ClassVar, Literal

import torch
from jaxtyping import Float

from peculiar.core import Catalogue, Cosmology
from peculiar.fields.conditions import Circumstances, NetworkInputs, condition_channels
from peculiar.linear.clustering import linear_bias
from peculiar.linear.light_cone import of_epoch, on_mesh
from peculiar.linear.optimal_weights import ranked
from peculiar.linear.overdensity import crop, sampling


class CatalogueInputs(NetworkInputs):
    """Inputs that are made of a catalogue; `isolated` ones are trained on regions that end at their faces.

    Of a box that is not periodic the meshes of others reach `margin` cells beyond its faces (`surrounded`).
    """

    task = "reconstruct"
    isolated: ClassVar[bool] = False
    margin: ClassVar[int] = 0
    weighting: Literal["number", "mass"] = "number"

    @property
    def ends(self) -> bool:
        """Whether nothing need be made up beyond the meshes of a box that is not periodic."""
        return self.isolated or self.margin > 0

    def beta(self, catalogue: Catalogue, *, cosmology: Cosmology) -> float | None:
        """Return the root of tracers' power over matter's on large scales; None where it is not measured."""
        return None

    def own_channels(
        self, catalogue: Catalogue, given: Circumstances
    ) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
        """Make the channels that the kind has, as `own`, on the mesh of `given.box`, a few at a time."""
        raise NotImplementedError

    def pieces(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology
    ) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
        """Make all channels, as `names`, on a mesh of the catalogue's box, a few at a time: few meshes are in memory.

        Raises
        ------
        InputError
            If mass weighting is wanted of a catalogue without masses.
        """
        given = circumstances(catalogue, cells=cells, cosmology=cosmology)
        yield from self.own_channels(catalogue, given)
        for name in self.conditions:
            yield condition_channels((name,), given)

    def channels(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology
    ) -> Float[torch.Tensor, "channel x y z"]:
        """Return all channels at once; see `pieces`."""
        made, start = torch.empty(len(self.names), *catalogue.box.with_cells(cells).shape), 0
        for piece in self.pieces(catalogue, cells=cells, cosmology=cosmology):
            made[start : start + len(piece)] = piece
            start += len(piece)
            del piece
        return made


def circumstances(catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> Circumstances:
    """Return what conditions are computed from for a mesh of a catalogue's box."""
    expected, box = sampling(catalogue, cells).expected, catalogue.box.with_cells(cells)

    def cone(function: Callable[[float], float]) -> Float[torch.Tensor, "x y z"] | float:
        return on_mesh(of_epoch(catalogue, function, cosmology=cosmology), box)

    return Circumstances(
        cosmology,
        catalogue.redshift,
        box,
        number_density=catalogue.number_density,
        completeness=None if expected is None else crop(expected[None], box),
        bias=cache(lambda: linear_bias(catalogue, cosmology=cosmology)),
        ranked=lambda: ranked(catalogue),
        light_cone=cone if catalogue.light_cone else None,
    )
