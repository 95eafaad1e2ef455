"""Displacement emulators against particle-mesh runs, with 2LPT and cheap runs beside: Table 1 of He et al. 2019."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.output import atomic_output, check_output
from peculiar.fields.paint import paint
from peculiar.inference.emulator import DisplacementEmulator
from peculiar.inference.model_card import available_models
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lpt import lattice
from peculiar.simulate.pairs import DisplacementPair, displacement_of
from peculiar.simulate.particle_mesh import Steps, evolve
from peculiar.simulate.runs import open_pairs, seed_of
from peculiar.statistics import (
    ThreePoint,
    catalogue_modes,
    compare_power,
    three_point_multipoles,
    three_point_residual,
)
from peculiar.statistics.modes import Modes
from peculiar.workflows.emulate import second_order_velocity
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.progress import progress_bar
from peculiar.workflows.provenance import provenance
from peculiar.workflows.scoreboard import average
from peculiar.workflows.scoreboard_displacement import SCHEMA, displacement_markdown, variant_name
from peculiar.workflows.simulate import run_cosmology

Mesh = Float[torch.Tensor, "3 x y z"]
Method = Callable[[DisplacementPair], tuple[Mesh, Mesh]]

AT = (0.11, 0.5)
"""Wavenumbers of Table 1 [h/Mpc]."""
AVERAGED = 4
"""Symmetries of the cube that the first network is also averaged over."""
THREE_POINT_BIN = 5.0  # Mpc/h
THREE_POINT_REACH = 50.0  # Mpc/h: ten bins, as the paper


def evaluate_displacements(
    run: str | Path,
    *,
    out: str | Path,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    mesh_steps: Sequence[int] = (3, 5),
    three_point: int = 10,
    figures: bool = True,
    force: bool = False,
) -> Path:
    """Emulate the pairs of a run and compare with their particle-mesh displacements.

    Parameters
    ----------
    run : path
        Directory of `peculiar simulate --kind pairs`. Pairs that are evaluated have the run's own cosmology.
    models : sequence of str, optional
        Names of shipped emulators, and paths of .safetensors files; default: every shipped emulator. Baselines always
        run beside them: Zel'dovich, 2LPT, and particle-mesh runs of few steps.
    seeds : sequence of int, optional
        Default: every pair of the run.
    mesh_steps : sequence of int
        Steps of those particle-mesh runs: what else the same computing time buys.
    three_point : int
        Pairs of which the three-point correlation is measured; 0 for none. The paper took ten.
    out, figures, force : as in `peculiar.workflows.evaluate.evaluate`

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If the run lacks a seed, or a model is unknown or none.
    """
    target = check_output(out, overwrite=force, inputs=[run])
    cosmology = run_cosmology(run)
    paths = _select(run, seeds, cosmology)
    emulators = [DisplacementEmulator.load(name) for name in models or available_models("displace")]
    if not emulators:
        raise InputError("models must name at least one emulator, got none: the package has none for pairs")
    methods = _methods(emulators, mesh_steps)
    collected = _Collected()
    refuse_broken(paths)
    with progress_bar("pairs", total=len(paths)) as advance:
        for number, path in enumerate(paths):
            pair = DisplacementPair.open(path)
            collected.start(pair, three_point=number < three_point)
            for name, method in methods.items():
                began = time.perf_counter()
                displacement, velocity = method(pair)
                seconds = time.perf_counter() - began
                collected.add(name, displacement.cpu(), velocity.cpu(), seconds)
            advance(1)
    networks = [emulator.card.name for emulator in emulators]
    settings = {
        "run": str(run),
        "models": networks,
        "mesh_steps": list(mesh_steps),
        "three_point": min(three_point, len(paths)),
    }
    record = {
        "schema": SCHEMA,
        "kind": "displacement",
        "variant": variant_name(cosmology),
        "settings": settings,
        "pairs": [path.name for path in paths],
        "models": list(methods),
        "baselines": list(methods)[len(networks) + 1 :],
        "results": collected.results(),
        "provenance": provenance(settings, inputs=[Path(run) / "run.json"]),
    }
    evaluation = Evaluation(record, collected.arrays())
    with atomic_output(target, overwrite=force) as temporary:
        evaluation.save(temporary)
        (temporary / "scores.md").write_text(displacement_markdown([record]), encoding="utf-8")
        if figures:
            from peculiar.workflows.figures import draw_evaluation

            draw_evaluation(evaluation, temporary / "figures")
    return target


def _select(run: str | Path, seeds: Sequence[int] | None, cosmology: Cosmology) -> list[Path]:
    paths = open_pairs(run)
    if seeds is not None:
        found = {seed_of(path): path for path in paths}
        missing = [seed for seed in seeds if seed not in found]
        if missing or not seeds:
            raise InputError(f"seeds must be those of {run}, got {missing or 'none'}: it holds {len(found)}")
        paths = [found[seed] for seed in seeds]
    other = [path.name for path in paths if DisplacementPair.open(path).cosmology != cosmology]
    if other:
        raise InputError(
            f"pairs must have the run's cosmology, got {len(other)} varied ones (first {other[0]}): name others by "
            "their seeds, or simulate a run without --varied"
        )
    return paths


def _methods(emulators: Sequence[DisplacementEmulator], mesh_steps: Sequence[int]) -> dict[str, Method]:
    """Everything that is compared, by name: networks, perturbation theory, short particle-mesh runs."""

    def network(emulator: DisplacementEmulator, symmetries: int | None = None) -> Method:
        def method(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
            found = emulator.emulate(
                pair.theory, pair.box, pair.cosmology, redshift=pair.redshift, symmetries=symmetries
            )
            velocity = found.get("velocity")
            return found["displacement"], _second_order(pair)[1] if velocity is None else velocity

        return method

    def mesh(steps: int) -> Method:
        def method(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
            modes = linear_density(pair.box, pair.cosmology, seed=pair.seed)[None]
            particles = evolve(
                modes, pair.box, pair.cosmology, redshift=pair.redshift, steps=Steps(count=steps)
            )
            displacement = displacement_of(particles.positions[0], pair.box)
            return displacement, particles.velocities[0].T.reshape(displacement.shape)

        return method

    return {
        **{emulator.card.name: network(emulator) for emulator in emulators},
        **{f"{one.card.name}, {AVERAGED} symmetries": network(one, AVERAGED) for one in emulators[:1]},
        "Zel'dovich": _zeldovich,
        "2LPT": _second_order,
        **{f"particle mesh, {steps} steps": mesh(steps) for steps in mesh_steps},
    }


def _zeldovich(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
    first = pair.theory.zeldovich
    return first, pair.velocity_factor * first


def _second_order(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
    theory = pair.theory
    velocity = second_order_velocity(theory, pair.cosmology, redshift=pair.redshift)
    return theory.zeldovich + theory.second_order, velocity


@dataclass(frozen=True, eq=False)
class _Truth:
    displacement: Mesh
    velocity: Mesh
    box: Box
    modes: Modes
    three_point: ThreePoint | None


class _Collected:
    """Scores of each pair, sums of spectra, and slices of the first pair."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, list[float]]] = {}
        self._spectra: dict[str, list[np.ndarray]] = {}
        self._once: dict[str, np.ndarray] = {}
        self._truth: _Truth
        self._zeta_like: ThreePoint

    def start(self, pair: DisplacementPair, *, three_point: bool) -> None:
        displacement, velocity = pair.read("displacement", "velocity")
        self._truth = _Truth(
            displacement,
            velocity,
            pair.box,
            density_modes(displacement, pair.box),
            _zeta(displacement, pair.box) if three_point else None,
        )
        if self._truth.three_point is not None:
            self._zeta_like = self._truth.three_point
            self._append("truth/zeta", self._truth.three_point.multipoles)
        self._keep("truth", displacement)

    def add(self, name: str, displacement: Mesh, velocity: Mesh, seconds: float) -> None:
        truth = self._truth
        error = (displacement - truth.displacement).norm(dim=0)
        length = truth.displacement.norm(dim=0)
        speed_error = (velocity - truth.velocity).norm(dim=0)
        values = {
            "relative_error": float((error / length).mean()),
            "mean_error_ratio": float(error.mean() / length.mean()),
            "rms_error_ratio": float((error.square().mean() / length.square().mean()).sqrt()),
            "largest_relative_error": float((error / length).max()),
            "rms_error": float(error.square().mean().sqrt()),
            "velocity_rms_ratio": float(
                (speed_error.square().mean() / truth.velocity.square().sum(dim=0).mean()).sqrt()
            ),
            "seconds": seconds,
        }
        rows = self._rows.setdefault(name, {key: [] for key in values})
        for key, value in values.items():
            rows[key].append(value)
        fields = [
            Field(mesh, truth.box, "xyz", "Mpc/h", kind="vector")
            for mesh in (displacement, truth.displacement)
        ]
        found = {
            "displacement": compare_power(*fields),
            "density": compare_power(density_modes(displacement, truth.box), truth.modes),
        }
        for kind, comparison in found.items():
            self._once[f"k_{kind}"] = comparison.k
            self._append(f"{name}/power/{kind}", comparison.predicted.power)
            self._append(f"{name}/true_power/{kind}", comparison.truth.power)
            self._append(f"{name}/cross/{kind}", comparison.cross.power)
        if truth.three_point is not None:
            self._append(f"{name}/zeta", _zeta(displacement, truth.box).multipoles)
        self._keep(name, displacement)

    def results(self) -> list[dict[str, Any]]:
        reference = self._rows["2LPT"]
        entries = []
        for name, rows in self._rows.items():
            scores = {key: average(values) for key, values in rows.items()}
            for key in ("relative_error", "mean_error_ratio", "rms_error_ratio"):
                ratio = [a / b for a, b in zip(rows[key], reference[key], strict=True)]
                scores[f"{key}_to_2lpt"] = average(ratio)
            for kind in ("displacement", "density"):
                k = self._once[f"k_{kind}"]
                p, t, c = (
                    np.mean(self._spectra[f"{name}/{part}/{kind}"], axis=0)
                    for part in ("power", "true_power", "cross")
                )
                transfer, r = np.sqrt(p / t), c / np.sqrt(p * t)
                for at in AT:
                    scores[f"T_{kind}_{at:g}"] = average([float(np.interp(at, k, transfer))])
                    scores[f"r_{kind}_{at:g}"] = average([float(np.interp(at, k, r))])
                deviation = np.abs(transfer - 1)[(k > 0) & (k <= 0.4)].max()
                scores[f"T_{kind}_to_0.4"] = average([float(deviation)])
            if f"{name}/zeta" in self._spectra:
                scores["three_point_residual"] = average([self._residual(name)])
            entries.append({"model": name, "scores": scores})
        return entries

    def _residual(self, name: str) -> float:
        """Eq. 8 for the multipoles averaged over pairs: those of one box pass zero, where a ratio says nothing."""
        predicted, true = (np.mean(self._spectra[f"{key}/zeta"], axis=0) for key in (name, "truth"))
        like = self._zeta_like
        return three_point_residual(replace(like, multipoles=predicted), replace(like, multipoles=true))

    def arrays(self) -> dict[str, np.ndarray]:
        return {key: np.stack(values) for key, values in self._spectra.items()} | self._once

    def _append(self, key: str, values: np.ndarray) -> None:
        self._spectra.setdefault(key, []).append(np.asarray(values))

    def _keep(self, name: str, displacement: Mesh) -> None:
        """Keep a sheet of particles of the first pair: two layers of the lattice."""
        key = f"{name}/sheet"
        if key not in self._once:
            self._once[key] = displacement[..., :2].numpy().astype(np.float32)
            self._once["size"] = np.array(self._truth.box.size)


def density_modes(displacement: Mesh, box: Box) -> Modes:
    """Return the modes of the particles' overdensity on a mesh of twice their number along a side.

    Particles of a lattice are no Poisson sample: no shot noise is subtracted.
    """
    position = _positions(displacement, box)
    catalogue = Catalogue(position, Box(box.size), redshift=0.0, space="real")
    return replace(catalogue_modes(catalogue, 2 * box.mesh), shot_noise=0.0, shot_bispectrum=0.0)


def _positions(displacement: Mesh, box: Box) -> np.ndarray:
    moved = (lattice(box.mesh, box.size) + displacement).remainder(box.size)
    moved.masked_fill_(moved >= box.size, 0.0)
    return moved.reshape(3, -1).T.contiguous().numpy()


def _zeta(displacement: Mesh, box: Box) -> ThreePoint:
    mesh = box.with_cells(3 * box.mesh // 2)
    counts = paint(_positions(displacement, box), mesh)
    edges = np.arange(0.0, min(THREE_POINT_REACH, box.size / 2) + 1e-6, THREE_POINT_BIN)
    return three_point_multipoles(Field(counts / counts.mean() - 1, mesh, ["density"]), edges)
