"""baorecon, in a Python of its own, behind the protocol of our reconstructors; for `peers.py`."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from general import Sample

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.fields.calculus import divergence
from peculiar.linear.classical import linear_fields
from peculiar.linear.clustering import measure_clustering
from peculiar.simulate.mocks import SimulatedBox

PEER = "baorecon"
SMOOTHINGS = (2.5, 3.2, 4.0, 5.0, 6.3, 8.0, 10.0, 15.0)
"""Of baorecon, to choose from [Mpc/h]."""
BIASES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""Factors on the measured bias, likewise."""
SOLVERS = ("ifft", "multigrid")
ROOM = 1.5
"""Side of the mesh of a sample that is not periodic, over its own."""
MULTIGRID = sorted(factor * 2**power for factor in (1, 3, 5, 7) for power in range(2, 9))
"""Cells along a side that its solver of that name takes."""
RANDOMS = 20
"""Random points an object, of such a sample."""


@dataclass(frozen=True)
class Baorecon:
    """baorecon behind the protocol of our reconstructors.

    Its displacement, of matter in real space, is read at the cells' centres, times a H f. Particles of the sample are
    painted once, where they are seen, so the fields are in these coordinates; the overdensity is minus its divergence.
    """

    python: Path
    smoothing: float
    factor: float = 1.0
    solver: str = "ifft"
    name: str = PEER

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return the fields."""
        return self.measured(catalogue, cells=cells, cosmology=cosmology)[0]

    def memory(self, box: Box) -> int:
        """Return a guess [bytes]; it runs elsewhere."""
        return 100 * box.cell_count

    def measured(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology
    ) -> tuple[dict[str, Field], dict[str, float]]:
        """Return the fields, and time and memory."""
        ((flow, cost),) = displacements([self], catalogue, cells=cells, cosmology=cosmology)
        box = catalogue.box.with_cells(cells)
        density = -divergence(Field(flow, box, ("x", "y", "z"), "Mpc/h", kind="vector")).data
        return linear_fields(density, flow * cosmology.velocity_factor(catalogue.redshift), box), cost


def displacements(
    settings: Sequence[Baorecon], catalogue: Catalogue, *, cells: int, cosmology: Cosmology
) -> list[tuple[torch.Tensor, dict[str, float]]]:
    """Return baorecon's displacements on a mesh, (3, x, y, z) [Mpc/h] each, with their time and memory."""
    box = catalogue.box.with_cells(cells)
    observer = np.zeros(3)
    if catalogue.line_of_sight == "radial":
        observer = np.asarray(catalogue.observer)
    random = np.random.default_rng(0)
    corner, side, mesh = np.asarray(box.origin), box.side, cells
    if box.periodic:
        points = box.centres()
    else:
        points = corner + box.side * random.random((RANDOMS * len(catalogue), 3))
        if catalogue.completeness is not None:
            fraction = catalogue.completeness
            index = ((points - corner) / fraction.box.cell_size).astype(int)
            points = points[random.random(len(points)) < fraction.numpy()[0][tuple(index.T)]]
        mesh = min(size for size in MULTIGRID if size >= ROOM * cells)
        side = mesh * box.cell_size
    bias = measure_clustering(catalogue, cosmology=cosmology).bias
    with tempfile.TemporaryDirectory() as scratch:
        into, out = Path(scratch) / "in.npz", Path(scratch) / "out.npz"
        np.savez(
            into,
            positions=catalogue.positions - observer,
            randoms=points - observer,
            places=box.centres() - observer,
            side=side,
            centre=corner + box.side / 2 - observer,
            cells=mesh,
            periodic=box.periodic,
            axis="" if catalogue.line_of_sight == "radial" else catalogue.line_of_sight,
            growth_rate=cosmology.growth_rate(catalogue.redshift),
            iterations=3,
            smoothing=[one.smoothing for one in settings],
            bias=[bias * one.factor for one in settings],
            solver=[one.solver for one in settings],
        )
        script = Path(__file__).with_name("baorecon_displacements.py")
        subprocess.run([settings[0].python, script, into, out], check=True)
        with np.load(out) as found:
            return [
                (
                    torch.from_numpy(flow.T.reshape(3, *box.shape).astype(np.float32)),
                    {"seconds": float(wall), "processor": float(used), "memory": float(found["memory"])},
                )
                for flow, wall, used in zip(
                    found["displacement"], found["seconds"], found["processor"], strict=True
                )
            ]


def tuned(python: Path, sample: Sample, box: SimulatedBox) -> Baorecon:
    """Return baorecon with the smoothing, then the bias, then the solver of least variance in a sample."""
    factor = box.cosmology.velocity_factor(box.redshift)

    def best(several: Sequence[Baorecon]) -> Baorecon:
        flows = displacements(several, sample.catalogue, cells=sample.cells, cosmology=box.cosmology)
        errors = [float(sample.among(factor * flow - sample.truth).square().mean()) for flow, _ in flows]
        return several[int(np.argmin(errors))]

    found = best([Baorecon(python, smoothing) for smoothing in SMOOTHINGS])
    found = best([replace(found, factor=one) for one in BIASES])
    if not sample.catalogue.box.periodic:
        found = best([replace(found, solver=one) for one in SOLVERS])
    return found
