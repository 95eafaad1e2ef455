"""Draws of density and velocity: alike in what the data determine, free where they do not."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Catalogue, InputError, OutOfRangeWarning, Reconstructor
from peculiar.core.records import read_json
from peculiar.fields.objects import ERROR, LOCAL_ERROR
from peculiar.inference.card_range import are_near
from peculiar.inference.card_values import Residuals
from peculiar.inference.model_card import WEIGHTS
from peculiar.inference.object_draws import ObjectDraws, ObjectSums, unread
from peculiar.inference.reconstruction import Reconstruction
from peculiar.inference.reconstructor import bias_error, sample_numbers
from peculiar.inference.residuals import (
    LEAST_DENSITY,
    DrawnResiduals,
    scaled_logarithm,
    sloped,
    slowed,
    spread,
)
from peculiar.linear.constrained import UnseenMatter
from peculiar.linear.light_cone import bias_uncertainty, velocity_factor
from peculiar.linear.multitracer import MultiTracerWiener
from peculiar.linear.noise import left_in_direction
from peculiar.linear.overdensity import fourier_box, pad
from peculiar.linear.reliability import LONG_WAVES, error_of_short_waves, linear_error, local_error

MOST_DRAWS = 1000
SMALLEST_BOX = 140.0
"""Side [Mpc/h] of the smallest complete boxes in which what models leave was measured."""
_DIRECTORY = "draws"


class Draws(Sequence[Reconstruction]):
    """Reconstructions with a density and a velocity each, made or read when they are asked for."""

    @abstractmethod
    def at(self, index: int) -> Reconstruction:
        """Return one draw."""

    @property
    @abstractmethod
    def answer(self) -> Reconstruction:
        """What they scatter about."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """What they were drawn with."""

    @overload
    def __getitem__(self, index: int) -> Reconstruction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Reconstruction]: ...
    def __getitem__(self, index: int | slice) -> Reconstruction | list[Reconstruction]:
        if isinstance(index, slice):
            return [self.at(one) for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"draw {index} of {len(self)}")
        return self.at(index % len(self))

    def at_objects(self, positions: Catalogue | Float[np.ndarray, "n 3"] | None = None) -> ObjectDraws:
        """Return what each draw says of objects; parameters and errors as in `Reconstruction.at_objects`."""
        gathered = ObjectSums(self.answer, positions, seed=self.seed)
        for draw in self:
            gathered.add(draw)
        return gathered.result()

    def covariance(
        self, positions: Catalogue | Float[np.ndarray, "n 3"] | None = None
    ) -> Float[np.ndarray, "n n"]:
        """Return the covariance of objects' line-of-sight velocities; see `ObjectDraws.covariance`."""
        return self.at_objects(positions).covariance()


@dataclass(frozen=True, eq=False)
class StoredDraws(Draws):
    """Draws in the directory of fields that they were written with: the first `number`, or all."""

    path: Path
    number: int | None = None

    def __len__(self) -> int:
        return self.number or len(list((self.path / _DIRECTORY).glob("[0-9]*")))

    def at(self, index: int) -> Reconstruction:
        """Read one draw."""
        return Reconstruction.open(draw_path(self.path, index))

    @cached_property
    def answer(self) -> Reconstruction:
        """The fields that they were written with."""
        return Reconstruction.open(self.path)

    @property
    def seed(self) -> int:
        """What they were drawn with."""
        return int(self[0].record.get("draw_seed", 0))


@dataclass(frozen=True, eq=False)
class GaussianDraws(Draws):
    """Draws about a reconstruction: its fields, and Gaussian ones that look like what its model leaves.

    What a model leaves of boxes that it did not learn from was measured (`peculiar.inference.card_values.Residuals`).
    1 + delta is that of the answer times a lognormal field; at each wavenumber both together have the power of matter
    in that cosmology at that redshift. The velocity is slope times answer, less in dense cells, plus a Gaussian field
    whose power follows that of the density, times the error that the model tells in each cell and a power of the
    answer's density. Of surveys, constrained realisations of linear theory (`UnseenMatter`) give long waves of the
    flow everywhere, and all where nothing was seen; a flux-limited sample's bias is off by `bias_uncertainty`.

    Parameters
    ----------
    made : Reconstruction
        With its residuals and its catalogue.
    number, seed : int
        A draw depends on the seed and on its own number alone.
    """

    made: Reconstruction
    number: int
    seed: int = 0  # type: ignore[assignment]

    def __len__(self) -> int:
        return self.number

    @property
    def answer(self) -> Reconstruction:
        """What they scatter about."""
        return self.made

    def at(self, index: int) -> Reconstruction:
        """Make one draw."""
        made, known = self.made, self._known
        state = np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)[0]
        random = torch.Generator().manual_seed(int(state >> 1))
        scale: torch.Tensor | float = 1 + known.amplitude * float(torch.randn(1, generator=random))
        if known.along is not None:
            scale = scale * (known.along * float(torch.randn(1, generator=random))).exp_()
        flow, factor = known.residuals.draw(random)
        x, y, z = made.box.shape
        velocity = scale * known.velocity + known.error * flow[:, :x, :y, :z]
        density = 1 + scale * (known.residuals.density[:x, :y, :z] - 1)
        if known.unseen is not None:
            lacking, moved = known.unseen.draw(random)
            velocity += known.factor * moved
            density += lacking
        density.clamp_(min=LEAST_DENSITY).mul_(factor[:x, :y, :z])
        if made.box.periodic:
            density /= density.mean()
        how = "a draw"
        fields = {
            "density": made["density"].replace(data=density[None] - 1, definition=how),
            "velocity": made["velocity"].replace(data=velocity, definition=how),
        }
        if "completeness" in made:
            fields["completeness"] = made["completeness"]
        return replace(
            unread(made),
            fields=fields,
            residuals=None,
            record={**made.record, "draw": index, "draw_seed": self.seed},
        )

    @cached_property
    def _known(self) -> _Known:
        made = self.made
        table, catalogue, cosmology, box = made.residuals, made.catalogue, made.cosmology, made.box
        assert table is not None
        assert catalogue is not None
        assert cosmology is not None
        complete = _is_complete(made)
        factor = velocity_factor(catalogue, box, cosmology=cosmology)
        amplitude = table.scatter(bias_error(catalogue, cosmology=cosmology))
        if table.factors:
            table = table.chosen(sample_numbers(catalogue, cosmology=cosmology))
        seen = made["completeness"].data[0] > 0 if "completeness" in made else None
        told = made.get(ERROR if complete else LOCAL_ERROR)
        if told is not None:
            error = told.data[0] / factor
            among = error if seen is None else error[seen]
            level = float(among.square().mean().sqrt())
            error = error / level
        elif complete:
            level = linear_error(catalogue, cells=max(box.shape), cosmology=cosmology)
            error = torch.ones(1)
        else:
            error, level = local_error(catalogue, made.get("completeness"), box=box, cosmology=cosmology)
            error = (error / level) ** table.power_of_level
        inside = torch.ones(1, *box.shape) if seen is None else seen[None].float()
        residuals, sample = DrawnResiduals.of(
            table,
            pad(made.get("density_least_squares", made["density"]).data, box)[0],
            fourier_box(box),
            level=level,
            cosmology=cosmology,
            redshift=made.redshift or 0.0,
            seen=None if complete else pad(inside, box)[0] > 0,
            without=0.0 if complete else LONG_WAVES,
            uneven=left_in_direction(catalogue, box, cosmology=cosmology) if complete else None,
        )
        x, y, z = box.shape
        rho = residuals.density[:x, :y, :z]
        velocity, unseen = made["velocity"].data, None
        if complete:
            velocity = sloped(velocity, lambda k: np.polyval(sample.velocity, scaled_logarithm(k)), box)
        velocity = slowed(velocity, rho, sample.slowing)
        error = spread(error.expand_as(rho), rho, sample.spread, seen=seen) * sample.error
        if not complete:
            unseen = UnseenMatter.of(catalogue, cells=max(box.shape), cosmology=cosmology)
            error = error_of_short_waves(error, catalogue, made.get("completeness"), cosmology=cosmology)
            if told is None and seen is not None:
                error[~seen] = unseen.short
        along = bias_uncertainty(catalogue, box, cosmology=cosmology)
        return _Known(velocity, error * factor, factor, amplitude, along, residuals, unseen)


@dataclass(frozen=True, eq=False)
class _Known:
    """The velocity that draws scatter about, its error [km/s], its amplitude's of all waves, and along distance."""

    velocity: Float[torch.Tensor, "3 x y z"]
    error: Float[torch.Tensor, "..."]
    factor: Float[torch.Tensor, "x y z"] | float
    amplitude: float
    along: Float[torch.Tensor, "x y z"] | None
    residuals: DrawnResiduals
    unseen: UnseenMatter | None


def draws(made: Reconstruction | Path | str, number: int | None = None, *, seed: int | None = None) -> Draws:
    """Return draws of density and velocity: of a reconstruction, or those that a file has.

    Parameters
    ----------
    made : Reconstruction or path
        As `peculiar.reconstruct` returns it, without `with_errors`; or a directory of `reconstruct --draws`.
    number : int, optional
        Of draws of a reconstruction; of a file the first ones, all where not given.
    seed : int, optional
        The same one gives the same draws; 0 where not given. That of a file is its own.

    Raises
    ------
    InputError
        If the number is out of range, the reconstruction tells too little, or a file was drawn with another seed.

    Warns (`OutOfRangeWarning`) of cells, and of smaller boxes, that draws were not measured in.

    Examples
    --------
    >>> made = peculiar.reconstruct(halos)  # doctest: +SKIP
    >>> some = peculiar.draws(made, 20, seed=1)  # doctest: +SKIP
    >>> some[0]["velocity"], some.at_objects().v_los, some.covariance(halos.positions[:100])  # doctest: +SKIP
    """
    if not isinstance(made, Reconstruction):
        stored = StoredDraws(Path(made))
        if not stored.path.exists():
            raise InputError(f"fields must exist, got no {made}: give a directory of reconstruct --draws")
        if number is not None:
            require_draws(number)
        if not len(stored) >= (number or 1):
            wanted = f" for {number}" if number else ""
            raise InputError(
                f"draws must be in the file, got {len(stored)} in {made}{wanted}: reconstruct it with --draws"
            )
        if seed is not None and seed != stored.seed:
            raise InputError(
                f"seed must be that of the file, {stored.seed}, got {seed!r}: leave it out, or reconstruct anew with it"
            )
        return StoredDraws(stored.path, number)
    if number is None:
        raise InputError(
            "number must be given for draws of a reconstruction, got None: those that a file holds are had by its path"
        )
    seed = 0 if seed is None else seed
    require_draws(number, seed=seed)
    if made.catalogue is None:
        raise InputError(
            "draws must be of a reconstruction with its catalogue, got one from a file: those that a file holds are "
            "had by its path"
        )
    if made.residuals is None:
        raise InputError(
            f"draws must be of a model that knows what it leaves, got {made.model!r}: take 'general' or 'wiener'"
        )
    if made.get(ERROR) is not None and not _is_complete(made):
        raise InputError(
            "draws must be made before with_errors, got a velocity_error: draw from the reconstruction"
        )
    measured = made.residuals.cells
    if not are_near(made.box.cell_size, measured):
        warnings.warn(
            f"draws are of cells of {made.box.cell_size:.3g} Mpc/h, what a model leaves was measured in cells of "
            f"{measured[0]:.3g} to {measured[1]:.3g} Mpc/h: they may scatter too little",
            OutOfRangeWarning,
            stacklevel=2,
        )
    if _is_complete(made) and min(made.box.sides) < SMALLEST_BOX:
        warnings.warn(
            f"draws are of a box of {made.box.extent}, what a model leaves was measured in boxes of {SMALLEST_BOX:g} "
            "Mpc/h and more: their mean flow may be a tenth off the answer's, or more",
            OutOfRangeWarning,
            stacklevel=2,
        )
    return GaussianDraws(made, number, seed)


def _is_complete(made: Reconstruction) -> bool:
    return made.box.periodic and "completeness" not in made


def require_draws(number: int, *, seed: int = 0) -> None:
    """Raise InputError unless there may be so many draws with such a seed."""
    if type(number) is not int or not 1 <= number <= MOST_DRAWS:
        raise InputError(f"draws must be a whole number of 1 to {MOST_DRAWS}, got {number!r}")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed must be a whole number >= 0, got {seed!r}")


def residuals_of(model: Reconstructor) -> Residuals | None:
    """Return what is known of what a model leaves: its card's table, or that of the package."""
    if isinstance(model, MultiTracerWiener):
        path = residuals_path("wiener")
        return Residuals.model_validate(read_json(path, what="Table of residuals", remedy="fetch it again"))
    return getattr(getattr(model, "card", None), "residuals", None)


def residuals_path(classical: str) -> Path:
    """Return the file with the residuals of a classical reconstructor."""
    return WEIGHTS / f"residuals-{classical}.json"


def draw_path(fields: Path, index: int) -> Path:
    """Return where a draw lies in a directory of fields."""
    return fields / _DIRECTORY / f"{index:03d}"
