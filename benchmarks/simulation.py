"""Check simulated boxes against theory, and against PySCo, and write the table of docs/simulation.md.

    python benchmarks/simulation.py RUN --seeds 1 2 3 4 [--pysco PYTHON] [--docs docs/simulation.md]

RUN is a directory from `peculiar simulate`. PYTHON is the interpreter of an environment that has PySCo
(`pip install pysco-nbody`); without it that row is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from peculiar.core import PRESETS, Box, Cosmology, Field
from peculiar.core.cosmology import CRITICAL_DENSITY
from peculiar.core.spheres import log_sigma
from peculiar.fields.fourier import mode_weights
from peculiar.fields.paint import paint
from peculiar.linear.halo_model import COLLAPSE, halo_bias, multiplicity
from peculiar.simulate.initial import integer_modes, linear_density, white_noise
from peculiar.simulate.lpt import displacements, lattice
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps, evolve, start_from_lpt
from peculiar.statistics import compare_power, modes_of, power_spectrum

START, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ABUNDANCES = (1e-4, 3e-4, 1e-3, 2e-3, 3e-3)

PYSCO = """
import json, sys
import pysco
pysco.run(json.loads(sys.argv[1]))
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, and what it should be."""

    check: str
    measured: str
    reach: str


def power_rows(boxes: Sequence[SimulatedBox]) -> list[Row]:
    """Power against the realisations' own linear fields, and against halofit with their scatter taken out."""
    edges = np.concatenate([[0.02, 0.05], np.arange(0.1, 0.41, 0.05)])
    matter, linear, waves = [], [], []
    for box in boxes:
        measured = power_spectrum(modes_of(box.density, window="cic"), edges=edges)
        own = power_spectrum(box.linear_density, edges=edges)
        matter.append(measured.power)
        linear.append(own.power)
        waves.append(own.k)
    ratio = np.sum(matter, axis=0) / np.sum(linear, axis=0)
    single = np.array(matter)[:, 0] / np.array(linear)[:, 0] - 1
    k = np.mean(waves, axis=0)
    first = boxes[0]
    boost = halofit_boost(first.cosmology, k, first.redshift)
    deviation = (ratio / boost - 1)[1:]
    worst = int(np.abs(deviation).argmax())
    return [
        Row(
            f"P / P of the own linear field - 1, k < 0.05 h/Mpc, {len(boxes)} boxes",
            f"{percent(ratio[0] - 1)} (single boxes {percent(single.min())} to {percent(single.max())}; "
            f"halofit itself {percent(boost[0] - 1)})",
            "2 %",
        ),
        Row(
            "P / (P of the own linear field x halofit boost) - 1, 0.05 < k < 0.4 h/Mpc, worst of seven bins",
            f"{percent(deviation[worst])} at k = {k[1 + worst]:.2f}",
            "8 %",
        ),
    ]


def halofit_boost(cosmology: Cosmology, k: np.ndarray, redshift: float) -> np.ndarray:
    """Non-linear over linear power by halofit (Takahashi et al. 2012) for the package's cosmology."""
    import camb

    h2 = cosmology.h**2
    params = camb.CAMBparams()
    params.set_cosmology(
        H0=100 * cosmology.h, ombh2=cosmology.Omega_b * h2, omch2=(cosmology.Omega_m - cosmology.Omega_b) * h2,
        mnu=0.0,
    )  # fmt: skip
    params.NonLinearModel.set_params(halofit_version="takahashi")
    amplitude = 2e-9
    for _ in range(2):  # the first pass finds sigma8, the second has it right
        params.InitPower.set_params(As=amplitude, ns=cosmology.n_s)
        params.set_matter_power(redshifts=[redshift, 0.0], kmax=20.0)
        params.NonLinear = camb.model.NonLinear_none
        amplitude *= (cosmology.sigma8 / camb.get_results(params).get_sigma8_0()) ** 2
    params.InitPower.set_params(As=amplitude, ns=cosmology.n_s)
    powers = []
    for kind in (camb.model.NonLinear_none, camb.model.NonLinear_pk):
        params.NonLinear = kind
        interpolator = camb.get_results(params).get_matter_power_interpolator(
            nonlinear=kind != camb.model.NonLinear_none
        )
        powers.append(interpolator.P(redshift, k))
    return powers[1] / powers[0]


class MassFunction:
    """Halo abundance by Jenkins et al. 2001, eq. 9 (friends of friends, 0.2), and bias by Tinker et al. 2010."""

    def __init__(self, cosmology: Cosmology, redshift: float) -> None:
        self.log_mass = np.linspace(11, 16, 400)
        inverse = -log_sigma(10**self.log_mass, cosmology, redshift)
        shape = multiplicity(inverse)
        mean_density = CRITICAL_DENSITY * cosmology.Omega_m
        slope = np.gradient(inverse, self.log_mass)
        self.density = shape * mean_density / 10**self.log_mass * slope  # per decade of mass, (h/Mpc)^3
        step = self.log_mass[1] - self.log_mass[0]
        self.above = np.cumsum(self.density[::-1])[::-1] * step
        self.bias = halo_bias(COLLAPSE * np.exp(inverse))

    def number(self, low: float, high: float) -> float:
        """Halos per (Mpc/h)^3 between two masses [Msun/h]."""
        at = np.interp(np.log10([low, high]), self.log_mass, self.above)
        return float(at[0] - at[1])

    def bias_above(self, abundance: float) -> float:
        """Mean bias of all halos above the mass that has a cumulative abundance [(h/Mpc)^3]."""
        cut = np.interp(-abundance, -self.above, self.log_mass)
        weight = np.where(self.log_mass >= cut, self.density, 0.0)
        return float((self.bias * weight).sum() / weight.sum())


def halo_rows(boxes: Sequence[SimulatedBox]) -> list[Row]:
    """Mass function and bias of halos against their fits."""
    first = boxes[0]
    fit = MassFunction(first.cosmology, first.redshift)
    particle = first.halos.masses[0] / first.halos.counts[0]
    counts = np.concatenate([box.halos.counts for box in boxes])
    volume = sum(box.box.volume for box in boxes)
    rows = []
    for low, high in ((12, 15), (15, 20), (20, 30), (30, 50), (50, 100), (100, 300), (300, 1000)):
        found = int(((counts >= low) & (counts < high)).sum())
        # A group of N particles stands for the masses from N - 1/2 to N + 1/2.
        expected = volume * fit.number((low - 0.5) * particle, (high - 0.5) * particle)
        rows.append(
            Row(
                f"halos of {low} to {high - 1} particles over Jenkins et al. 2001, - 1",
                f"{percent(found / expected - 1)} ({found} halos)",
                "25 %" if low >= 20 else "",
            )
        )
    edges = [0.02, 0.1]
    for abundance in ABUNDANCES:
        cross, auto = 0.0, 0.0
        for box in boxes:
            sample = box.catalogue(abundance, space="real")
            mesh = paint(sample.positions, box.box)
            halos = Field(mesh / mesh.mean() - 1, box.box, ("halos",))
            both = compare_power(halos, box.density, edges=edges)  # one window, so it cancels
            cross += both.cross.power[0]
            auto += both.truth.power[0]
        rows.append(
            Row(
                f"bias of halos at {abundance:g} (h/Mpc)^3, P_hm / P_mm at k < 0.1 h/Mpc",
                f"{cross / auto:.2f}; fit {fit.bias_above(abundance):.2f}",
                "falls as the fit does",
            )
        )
    return rows


def momentum_row(boxes: Sequence[SimulatedBox]) -> Row:
    """Mean momentum of all matter, which forces between particles cannot change from zero."""
    share = [
        float((box.momentum.data.double().mean(dim=(1, 2, 3)).norm()) / box.velocity.data.std())
        for box in boxes
    ]
    return Row("mean momentum of the box over the rms velocity, worst box", f"{max(share):.1e}", "< 1e-3")


def growth_row(cosmology: Cosmology, redshift: float, *, particles: int = 48) -> Row:
    """Displacement of small waves after a whole run, over D psi, by shells of wavenumber."""
    box = Box(float(particles), particles)
    components = [c.float() for c in integer_modes(particles)]
    length = sum(c**2 for c in components).sqrt()
    # The same displacement in every mode, 1 % of the spacing altogether: small waves do not couple.
    modes = white_noise(particles, 1) * length * (particles**1.5 * 3e-3)
    end = evolve(modes[None], box, cosmology, redshift=redshift).positions[0]
    moved = end.T.reshape(3, *(particles,) * 3) - lattice(particles, box.size)
    moved -= box.size * torch.round(moved / box.size)
    expected = displacements(modes, box)[0] * cosmology.growth(redshift)
    found, along = (
        sum(k * mode for k, mode in zip(components, torch.fft.rfftn(x, dim=(1, 2, 3)), strict=True))
        for x in (moved, expected)
    )
    share = []
    for fraction in (0.1, 0.2, 0.3, 0.5):
        shell = (2 * length / particles - fraction).abs() < 0.03
        weight = mode_weights(particles).expand(shell.shape)[shell]
        ratio = (weight * (found * along.conj()).real[shell]).sum() / (
            weight * along.abs().square()[shell]
        ).sum()
        share.append(f"{percent(float(ratio) - 1)} at {fraction:g}")
    return Row(
        "growth of small waves over D, - 1, at a fraction of the particles' Nyquist wavenumber",
        ", ".join(share),
        "",
    )


def pysco_row(python: Path, *, particles: int = 128, size: float = 112.5, seed: int = 1) -> Row:
    """r(k) of our density and PySCo's, from the same particles at a = 0.1."""
    import h5py

    cosmology, redshift, steps = PRESETS["xiao2024"], 0.59, Steps()
    box = Box(size, particles)
    modes = linear_density(box, cosmology, seed=seed)[None]
    start = start_from_lpt(modes, box, cosmology, redshift=1 / steps.start - 1)
    level = int(np.log2(2 * particles))
    name = f"newton_fft_ncoarse{level}"
    with tempfile.TemporaryDirectory() as folder:
        initial = Path(folder) / "output_00000" / f"particles_{name}.h5"
        initial.parent.mkdir()
        with h5py.File(initial, "w") as file:
            # PySCo: the box is 1, and velocities are in boxes of 100 km/s / a per Mpc/h.
            file["position"] = (start.positions[0] / size).numpy()
            file["velocity"] = (start.velocities[0] * (steps.start / (100 * size))).numpy()
            file.attrs["aexp"] = steps.start
        settings = {
            "nthreads": 1, "theory": "newton", "H0": 100 * cosmology.h, "Om_m": cosmology.Omega_m, "T_cmb": 0.0,
            "N_eff": 0.0, "w0": -1.0, "wa": 0.0, "boxlen": size, "ncoarse": level, "npart": particles**3,
            "z_start": 1 / steps.start - 1, "initial_conditions": 0, "base": folder, "z_out": f"[{redshift}]",
            "output_snapshot_format": "HDF5", "save_power_spectrum": "no", "integrator": "leapfrog",
            "n_reorder": 50, "mass_scheme": "TSC", "Courant_factor": 1.0, "max_aexp_stepping": 5,
            "linear_newton_solver": "fft", "gradient_stencil_order": 5, "verbose": 1,
        }  # fmt: skip
        subprocess.run(
            [python, "-W", "ignore", "-c", PYSCO, json.dumps(settings)], check=True, stdout=sys.stderr
        )
        with h5py.File(Path(folder) / "output_00001" / f"particles_{name}.h5") as file:
            theirs = file["position"][()] * size
    ours = evolve(modes, box, cosmology, redshift=redshift, steps=steps).positions[0]
    ours, theirs = (Field(paint(x, box) - 1, box, ("density",)) for x in (ours, torch.from_numpy(theirs)))
    both = compare_power(ours, theirs, edges=np.arange(0.05, 1.06, 0.1))
    r = both.correlation_coefficient
    inside = both.k < 0.5  # mean wavenumbers of bins 0.1 wide
    ratio = both.relative_deviation
    print("PySCo: k, r, P/P - 1", np.c_[both.k, r, ratio], sep="\n", file=sys.stderr)
    return Row(
        f"r(k) with PySCo from the same particles at a = 0.1 ({particles}^3 in {size} Mpc/h), k < 0.5 h/Mpc",
        f"> {np.floor(r[inside].min() * 1e4) / 1e4:.4f} ({r[~inside].min():.4f} at k = 1; "
        f"power {percent(ratio[inside].min())} to {percent(ratio[inside].max())})",
        "> 0.99",
    )


def percent(value: float) -> str:
    """Return a fraction as a signed percentage."""
    return f"{100 * value:+.1f} %"


def table(rows: Sequence[Row]) -> str:
    """Markdown table."""
    lines = ["| check | measured | reach |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {row.check} | {row.measured} | {row.reach} |" for row in rows])


def main() -> None:
    """Measure and print; with --docs, replace what stands between the markers of that file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--pysco", type=Path, help="Python of an environment with pysco-nbody")
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    boxes = [SimulatedBox.open(options.run / f"box-{seed:05d}.h5") for seed in options.seeds]
    rows = [*power_rows(boxes), *halo_rows(boxes), momentum_row(boxes)]
    rows.append(growth_row(boxes[0].cosmology, boxes[0].redshift))
    if options.pysco:
        rows.append(pysco_row(options.pysco))
    text = table(rows)
    print(text)
    if options.docs:
        page = options.docs.read_text()
        before, rest = page.split(START)
        _, after = rest.split(END)
        options.docs.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
