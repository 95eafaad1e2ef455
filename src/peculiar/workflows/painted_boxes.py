"""Boxes whose halos are painted: 2LPT for the truth, a painter for the halos, seconds for each."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.output import atomic_output
from peculiar.inference.painting import HaloPainter
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.initial import linear_field
from peculiar.simulate.populate import draw_members
from peculiar.simulate.second_order import box_of_cells, second_order_fields


@dataclass(frozen=True)
class PaintedSettings:
    """What a box with painted halos is made of.

    Parameters
    ----------
    size : float
        Side [Mpc/h], near a multiple of four of the painter's cells.
    cells : int
        Cells along a side of the mesh on which density and velocity are stored.
    redshift : float, optional
        Default: the painter's.
    model : str
        A painter of the package, or a .safetensors file.
    per_cell : int
        2LPT particles in a stored cell along a side of it.
    """

    size: float = 225.0
    cells: int = 96
    redshift: float | None = None
    model: str = "painter"
    per_cell: int = 2

    def __post_init__(self) -> None:
        Box(self.size, self.cells)
        if self.per_cell < 1 or (self.per_cell * self.cells) % 2:
            raise InputError(
                f"PaintedSettings.per_cell must be >= 1 and make an even lattice, got {self.per_cell} for {self.cells} "
                "cells: use 2"
            )


def paint_box(
    path: Path,
    settings: PaintedSettings,
    painter: HaloPainter,
    cosmology: Cosmology,
    *,
    seed: int,
    overwrite: bool = False,
) -> None:
    """Write one box as `SimulatedBox` opens it, with the density and velocity of 2LPT and painted halos.

    The halos are those of `peculiar paint --box SIZE --seed SEED`. Satellites stand on members that are drawn, see
    `draw_members`; the halos' own particle counts are 0.

    Parameters
    ----------
    path : Path
        HDF5 file to write; it appears only when whole.
    settings : PaintedSettings
        With its redshift.
    painter : HaloPainter
    cosmology : Cosmology
    seed : int
        Of the initial conditions (shared with `simulate_box`), the halos and their members.
    overwrite : bool

    Raises
    ------
    InputError
        If the box does not fit the painter's cells.
    OutputExistsError
        If the file exists and is not to be overwritten.

    Notes
    -----
    Memory is about 120 bytes for each 2LPT particle: 0.9 GB with the default of 192^3.
    """
    assert settings.redshift is not None
    redshift = settings.redshift
    device = next(painter.module.parameters()).device
    box = Box(settings.size, settings.cells)
    with atomic_output(path, overwrite=overwrite) as temporary:
        truth = second_order_fields(
            box, cosmology, seed=seed, redshift=redshift, per_cell=settings.per_cell, device=device
        )
        theory = second_order_fields(
            box_of_cells(settings.size, cell_size=painter.card.cell_size),
            cosmology,
            seed=seed,
            redshift=redshift,
            per_cell=painter.card.particles_per_cell,
            device=device,
        )
        painted = painter.catalogue(theory.to("cpu"), seed=seed, redshift=redshift)
        halos = _halos(painted)
        members = draw_members(halos.masses, painter.card.halos, seed=seed)
        linear = linear_field(box, cosmology, seed=seed, redshift=redshift)
        write_box(
            temporary,
            cosmology,
            seed=seed,
            redshift=redshift,
            fields={
                "density": truth.density,
                "velocity": truth.velocity,
                "linear_density": Field(linear[None], box, ["linear_density"]),
            },
            halos=halos,
            members=members,
            attributes={
                "painter": painter.card.name,
                "painter_sha256": painter.card.weights_sha256,
                "settings": json.dumps(dataclasses.asdict(settings)),
            },
        )


def prepared_painter(
    settings: PaintedSettings, cosmology: Cosmology | None, *, device: str
) -> tuple[HaloPainter, PaintedSettings, Cosmology]:
    """Load the painter, and fill in its redshift and cosmology where none are given.

    Raises
    ------
    InputError
        If the model is no painter, or the box does not fit its cells.
    """
    painter = HaloPainter.load(settings.model)
    painter.module.to(torch.device(device))
    card = painter.card
    redshift = card.redshift if settings.redshift is None else settings.redshift
    chosen = cosmology or card.training_cosmology
    painter.check(box_of_cells(settings.size, cell_size=card.cell_size), chosen, redshift=redshift)
    return painter, dataclasses.replace(settings, redshift=redshift), chosen


def _halos(painted: Catalogue) -> Halos:
    """The most massive first, as `friends_of_friends` gives them."""
    assert painted.masses is not None
    assert painted.velocities is not None
    order = np.argsort(-painted.masses, kind="stable")
    positions = painted.positions[order].astype(np.float32)
    positions[positions >= painted.box.size] = 0  # rounding to half the digits can reach the upper face
    return Halos(
        positions=positions,
        velocities=painted.velocities[order].astype(np.float32),
        masses=painted.masses[order],
        counts=np.zeros(len(order), np.int32),
        members=np.empty(0, np.int64),
        offsets=np.zeros(len(order) + 1, np.int64),
    )
