"""Painters of halos in use: from a 2LPT density to counts in cells, and on to a catalogue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.fields.smooth import gaussian
from peculiar.inference.card_range import warn_outside
from peculiar.inference.model_card import PainterCard, load_model
from peculiar.inference.tiles import apply_network
from peculiar.inference.whole import half_precision
from peculiar.models.channels import log_density
from peculiar.models.painter import Painter
from peculiar.models.ramanah2019 import DENSITY_OFFSET, REACH, Ramanah2019
from peculiar.models.sublattices import OFFSETS
from peculiar.simulate.matter import MatterFields
from peculiar.simulate.painted_channels import told, with_told
from peculiar.simulate.populate import HaloProperties, flow_scale, motion_scale, populate

TILE = 160
"""Largest side [cells] that the network sees at once: 0.8 GB."""


@dataclass(frozen=True, eq=False)
class HaloPainter(ABC):
    """A network that paints halos on a density; `load` gives the kind that belongs to a model.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, on the device that it shall run on.
    card : PainterCard
    max_side : int
        Largest mesh side that the network sees at once [cells]; larger meshes go in tiles.

    Examples
    --------
    >>> painter = HaloPainter.load("painter")  # doctest: +SKIP
    """

    module: torch.nn.Module = field(repr=False)
    card: PainterCard
    max_side: int = TILE

    @staticmethod
    def load(name_or_path: Path | str, *, max_side: int = TILE) -> HaloPainter:
        """Load a shipped model by name, or a .safetensors file with its card; see `load_model` for errors."""
        module, card = load_model(name_or_path)
        if isinstance(card, PainterCard) and isinstance(module, Painter):
            return DrawnCounts(module, card, max_side)
        if isinstance(card, PainterCard) and isinstance(module, Ramanah2019):
            return PaintedField(module, card, max_side)
        raise InputError(f"model must be for the task 'paint', got {card.name!r}: see `peculiar models`")

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether halos are drawn from a distribution; if not, one field is all that the network knows."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Steps of progress that `counts` reports."""

    @abstractmethod
    def mean_counts(self, density: Field, *, cosmology: Cosmology, redshift: float) -> Field:
        """Return the mean counts given a 2LPT overdensity, one channel for each mass bin."""

    @abstractmethod
    def counts(
        self,
        density: Field,
        *,
        cosmology: Cosmology,
        redshift: float,
        seed: int,
        advance: Callable[[int], None] = lambda units: None,
    ) -> Field:
        """Draw counts of halos in the cells of a periodic box, one channel for each mass bin.

        Parameters
        ----------
        density : Field
            2LPT overdensity, one channel, on a mesh that `check` accepts.
        cosmology : Cosmology
        redshift : float
        seed : int
            Equal seeds give equal counts on one kind of device.
        advance : callable
            Called `passes` times with 1.
        """

    def check(self, box: Box, cosmology: Cosmology, *, redshift: float) -> None:
        """Refuse a mesh that cannot be painted, and warn (`OutOfRangeWarning`) of what the painter was not trained on.

        Raises
        ------
        InputError
            If the box is not periodic, or its cells are more than 10 % off the card's size, or of a number that the
            network cannot take.
        """
        card = self.card
        if not box.periodic:
            raise InputError(f"box must be periodic to paint halos, got {box}: use Box(size, cells)")
        self._check_cells(box.mesh)
        off = abs(box.cell_size / card.cell_size - 1)
        sizes = f"cell size {box.cell_size:.4g} Mpc/h differs from {card.cell_size:.4g} Mpc/h of model {card.name!r}"
        if off > 0.1:
            raise InputError(
                f"{sizes}: counts in cells hold for one size; use {round(box.side / card.cell_size / 2) * 2} cells, or "
                "train a painter"
            )
        warn_outside(card, cell_size=box.cell_size, redshift=redshift, cosmology=cosmology)

    @abstractmethod
    def _check_cells(self, cells: int) -> None:
        """Refuse a number of cells along a side that the network cannot take."""

    def catalogue(
        self,
        fields: MatterFields,
        *,
        cosmology: Cosmology,
        redshift: float,
        seed: int,
        number_density: float | None = None,
        advance: Callable[[int], None] = lambda units: None,
    ) -> Catalogue:
        """Paint halos with masses, positions and velocities, in real space.

        Parameters
        ----------
        fields : MatterFields
            2LPT density and velocity of a periodic box that `check` accepts.
        cosmology : Cosmology
        redshift : float
        seed : int
            Of counts, masses, positions and velocities.
        number_density : float, optional
            [(h/Mpc)^3]; the most massive halos are kept. Default: all that are painted.
        advance : callable
            As in `counts`.

        Raises
        ------
        InputError
            If fewer halos are painted than asked for.
        """
        counts = self.counts(
            fields.density, cosmology=cosmology, redshift=redshift, seed=seed, advance=advance
        )
        properties = self.halo_properties(cosmology, redshift)
        halos = populate(counts.data, fields, properties, seed=seed, redshift=redshift)
        return halos if number_density is None else most_massive(halos, number_density)

    def halo_properties(self, cosmology: Cosmology, redshift: float) -> HaloProperties:
        """Return what halos have beyond their number, of a cosmology and epoch."""
        card = self.card
        flow, motion = (
            scale(cosmology, redshift) / scale(card.training_cosmology, card.redshift)
            for scale in (flow_scale, motion_scale)
        )
        moved = card.halos.moved(flow, motion)
        if card.mass_function is None:
            return moved
        steps = len(moved.mass_quantiles[0])
        masses = card.mass_function.mass_quantiles(card.mass_edges, cosmology, redshift, steps=steps)
        return moved.model_copy(update={"mass_quantiles": masses})

    def number_density(self, cosmology: Cosmology, redshift: float) -> float:
        """Return how many halos there are on average, of all bins [(h/Mpc)^3]."""
        card = self.card
        if card.mass_function is None:
            return card.number_density
        return float(card.mass_function.density(card.mass_edges, cosmology, redshift).sum())

    def _inputs(self, density: Field) -> torch.Tensor:
        device = next(self.module.parameters()).device
        return log_density(density.data.float().to(device), floor=DENSITY_OFFSET)


class DrawnCounts(HaloPainter):
    """Counts drawn from the distribution that our painter learned."""

    module: Painter
    stochastic = True

    @property
    def passes(self) -> int:
        """Eight sublattices for each bin of mass."""
        return len(OFFSETS) * self.module.config.bins

    def mean_counts(self, density: Field, *, cosmology: Cosmology, redshift: float) -> Field:
        """Return the mean counts given a 2LPT overdensity, one channel for each mass bin."""
        inputs = self._told(density, cosmology, redshift)
        features = self._features(inputs)
        with torch.inference_mode():
            log_mean = self.module.log_mean(features, self.module.expected(inputs))
            calibrated = self._calibrated(log_mean, inputs, density, "mean")
        return _field(calibrated[0].exp(), density.box)

    def counts(
        self,
        density: Field,
        *,
        cosmology: Cosmology,
        redshift: float,
        seed: int,
        advance: Callable[[int], None] = lambda units: None,
    ) -> Field:
        """Draw counts in cells, from the most massive bin to the lightest; see `HaloPainter.counts`."""
        inputs = self._told(density, cosmology, redshift)
        features = self._features(inputs)
        generator = torch.Generator(features.device).manual_seed(seed)
        with torch.no_grad(), half_precision(features.device):
            log_mean = self.module.log_mean(features, self.module.expected(inputs))
            log_rate = self._calibrated(log_mean, inputs, density, "draws")
            drawn = self.module.draw(
                features, log_mean, generator=generator, log_rate=log_rate, advance=advance
            )
        return _field(drawn, density.box)

    def _told(self, density: Field, cosmology: Cosmology, redshift: float) -> torch.Tensor:
        """Return the network's inputs, (1, channel, x, y, z)."""
        card = self.card
        numbers = told(
            card.mass_function,
            card.conditions,
            card.mass_edges,
            box=density.box,
            cosmology=cosmology,
            redshift=redshift,
        )
        return with_told(self._inputs(density), numbers)[None]

    def _features(self, inputs: torch.Tensor) -> torch.Tensor:
        seen = inputs[0, self.module.config.seen]
        return apply_network(self.module.encoder, seen, periodic=True, max_side=self.max_side)[None]

    def _calibrated(
        self, log_mean: torch.Tensor, inputs: torch.Tensor, density: Field, to: Literal["mean", "draws"]
    ) -> torch.Tensor:
        calibration = self.card.calibration
        if calibration is None:
            return log_mean
        surroundings = gaussian(density, calibration.radius).data.to(log_mean)
        return calibration.applied(
            log_mean,
            surroundings[None],
            to,
            expected=self.module.expected(inputs),
            conditions=self.module.conditions(inputs),
        )

    def _check_cells(self, cells: int) -> None:
        if cells % 2:
            raise InputError(f"cells must be even along each side to paint halos, got {cells}: use one more")


class PaintedField(HaloPainter):
    """The one field of real numbers that the generator of Kodi Ramanah et al. 2019 paints.

    The paper compares this field with halos. Where whole halos are asked for, it is rounded at random, up or down, so
    that the mean is kept: two draws of one density differ by this rounding alone, not as halos scatter.
    """

    module: Ramanah2019
    stochastic = False
    passes = 1

    def mean_counts(self, density: Field, *, cosmology: Cosmology, redshift: float) -> Field:
        """Return the network's output, one channel for each mass bin; it knows one cosmology and epoch."""
        painted = apply_network(self.module, self._inputs(density), periodic=True, max_side=self.max_side)
        return _field(painted, density.box)

    def counts(
        self,
        density: Field,
        *,
        cosmology: Cosmology,
        redshift: float,
        seed: int,
        advance: Callable[[int], None] = lambda units: None,
    ) -> Field:
        """Round the network's output x to whole numbers, floor(x + u) with uniform u; see `HaloPainter.counts`."""
        painted = self.mean_counts(density, cosmology=cosmology, redshift=redshift)
        uniform = torch.rand(painted.data.shape, generator=torch.Generator().manual_seed(seed))
        advance(1)
        return painted.replace(data=(painted.data + uniform).floor())

    def _check_cells(self, cells: int) -> None:
        if cells < 2 * REACH + 1:
            raise InputError(
                f"cells must be at least {2 * REACH + 1} along each side to paint halos, got {cells}: use more"
            )


def _field(counts: torch.Tensor, box: Box) -> Field:
    return Field(counts.cpu(), box, [f"counts_{i}" for i in range(len(counts))], "halos per cell")


def most_massive(catalogue: Catalogue, number_density: float) -> Catalogue:
    """Keep the most massive objects, to a number density [(h/Mpc)^3].

    Raises
    ------
    InputError
        If there are no masses, or the catalogue holds fewer objects.
    """
    if catalogue.masses is None or catalogue.velocities is None:
        raise InputError("catalogue must hold masses and velocities to be cut by abundance, got None")
    number = round(number_density * catalogue.box.volume)
    if not 1 <= number <= len(catalogue):
        raise InputError(
            f"number_density must lie in {1 / catalogue.box.volume:.3g} to {catalogue.number_density:.4g} (h/Mpc)^3, "
            f"the objects that there are, got {number_density:g}"
        )
    kept = np.sort(np.argpartition(-catalogue.masses, number - 1)[:number])
    return catalogue.replace(
        positions=catalogue.positions[kept],
        velocities=catalogue.velocities[kept],
        masses=catalogue.masses[kept],
    )
