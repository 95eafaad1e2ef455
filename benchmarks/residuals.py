"""What a model leaves of density and velocity in boxes that it did not learn from: what draws are made of.

    python benchmarks/residuals.py general runs/flow:1-3,501 runs/dense:501-502 runs/wide:501 runs/xiao:501-502

Each run may have several redshifts. Samples differ in density, satellites, whether they are the most massive or
thinned, and in what is known of masses; of those that a box holds every second is taken, from one on which moves with
seed and redshift. Each is reconstructed and measured; the coefficients of `peculiar.inference.card_values.Residuals`
are least squares over all of them, of single shells with weights by their waves: small boxes tell little of the
longest. What they leave of `error`, of the share that is known and of the velocity's slope gives a factor of each, by
how a sample's objects were chosen (`factors`), where that mends something in boxes left out of its fit; what these
leave of the slope gives the amplitude. The transfer is that of what the table then says is not known of density. All
goes into the card of the model (of a classical one into a file of the package). Rows of single samples are kept in a
file (`--rows`) by the model's checksum, so that a run that was stopped goes on. A sample takes some 3.3 s of
processor time with `general`, 0.5 s with `wiener`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from residual_factors import with_factors
from scipy.optimize import curve_fit

from peculiar.cli.app import ranges
from peculiar.core import Catalogue, OutOfRangeWarning
from peculiar.core.output import atomic_output
from peculiar.core.provenance import checksum
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real, wavevectors
from peculiar.fields.objects import ERROR
from peculiar.inference.card_values import Residuals
from peculiar.inference.draws import residuals_path
from peculiar.inference.model_card import ModelCard, find_model, read_card
from peculiar.inference.reconstructor import bias_error, sample_numbers
from peculiar.inference.residuals import (
    EDGES,
    LEAST_DENSITY,
    SLOPES,
    MatterPower,
    answered_share,
    known_share,
    scaled_logarithm,
    slowed,
)
from peculiar.linear.reliability import linear_error
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs, seed_of
from peculiar.training.variants import chosen
from peculiar.workflows.reconstruct import CLASSICAL, make_reconstructor

NAMES = ("error", "known", "density", "velocity", "slowing", "spread", "rotation", "coherence")
TRANSFER = "transfer"
IN_DENSITY = np.arange(-1.0, 3.25, 0.25)  # ln rho
FEWEST_CELLS = 30
K = np.sqrt(EDGES[1:] * EDGES[:-1])
LARGE = 0.65  # h/Mpc; smaller waves take no part in what is smooth in k
MODEL_ERROR = 0.03  # of what is smooth
RIDGE = 1.0  # samples' worth of no dependence
SCATTER = 0.3  # from sample to sample of what is tabulated at each k; waves of a shell add theirs
SATELLITES = (0.0, 0.25)
SAMPLES = (  # (h/Mpc)^3, masses, thinned
    (1e-4, True, True),
    (1e-3, False, True),
    (3e-4, True, False),
    (3e-4, True, True),
    (3e-3, False, False),
    (1e-3, True, False),
    (1e-3, True, True),
    (3e-4, False, True),
    (3e-3, True, False),
    (1e-4, False, True),
    (1e-4, True, False),
    (1e-3, False, False),
    (1e-2, True, False),
    (1e-2, False, False),
)
TOP = 3e-3  # that samples are thinned from
FEWEST = 600


def samples(box: SimulatedBox) -> Iterator[tuple[str, Catalogue, np.ndarray]]:
    """Yield every second of the samples that a box holds, with a name and the velocities of the hosts."""
    volume, step = box.box.volume, box.seed + round(2 * box.redshift)
    full = len(box.halos) / volume
    top = min(TOP, full)
    held = [one for one in SAMPLES if one[0] * volume >= FEWEST and one[0] <= 1.01 * full]
    for place, (density, masses, thinned) in enumerate(held):
        if (place + step) % 2:
            continue
        satellites = SATELLITES[(place // 2 + step // 2) % 2]
        drawn = {"satellite_fraction": satellites, "seed": 70 + step}
        number = top if thinned else min(density, full)
        catalogue = box.catalogue(number, **drawn)
        hosts = box.halos.velocities[box.galaxies(number, **drawn).host]
        if thinned:
            random = np.random.default_rng([box.seed, step, place])
            rows = random.permutation(len(catalogue))[: round(density * volume)]
            catalogue, hosts = chosen(catalogue, rows), hosts[rows]
        how = ("thinned, " if thinned else "") + ("ranked" if masses else "no masses")
        name = f"{how}, {density:g}, satellites {satellites:g}"
        yield name, catalogue if masses else catalogue.replace(masses=None), hosts


def row_of(model: str, box: SimulatedBox, catalogue: Catalogue) -> dict[str, Any]:
    """Reconstruct a sample and return what is known of it and what is left of it."""
    reconstructor, _ = make_reconstructor(model)
    mesh, cosmology, redshift = box.box, box.cosmology, box.redshift
    factor = cosmology.velocity_factor(redshift)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        fields = reconstructor.reconstruct(catalogue, cells=mesh.mesh, cosmology=cosmology)
    power = MatterPower(mesh, cosmology, redshift)
    shells = power.shells
    some = shells.modes > 0
    smooth = some & (shells.k < LARGE)
    ln_k = scaled_logarithm(shells.k)
    weight = np.hypot(np.sqrt(2 / np.maximum(shells.modes, 1)), MODEL_ERROR)

    def cross(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
        return shells.mean((a * b.conj()).real) * mesh.cell_size**3 / mesh.cell_count

    def filled(values: np.ndarray) -> list[float]:
        """Give shells without modes, and those beyond the mesh, the values of their neighbours."""
        return np.interp(K, shells.k[some], values[some]).tolist()

    answer, truth = (
        one.data[0] for one in (fields.get("density_least_squares", fields["density"]), box.density)
    )
    a, t = to_fourier(answer), to_fourier(truth)
    of_answer, of_truth, both = cross(a, a), cross(t, t), cross(a, t)
    known = both**2 / np.maximum(of_answer * of_truth, 1e-30)
    linear = shells.mean(power.linear)
    (ln_a, b), _ = curve_fit(
        lambda p, ln_a, b: known_share(p, np.exp(ln_a), b),
        linear[smooth],
        known[smooth],
        p0=(0.0, 1.0),
        sigma=weight[smooth],
    )
    slope = both / np.maximum(of_answer, 1e-30)
    left_density = t - a * on_shells(shells.index, slope, a)
    noise = np.hypot(np.sqrt((1 / np.maximum(known, 1e-3) - 1) / np.maximum(shells.modes, 1)), MODEL_ERROR)
    of_slope = smooth & (slope > 0)
    curve = np.polyfit(ln_k[of_slope], np.log(slope[of_slope]), 2, w=1 / noise[of_slope])

    v, w = (to_fourier(one.data / factor) for one in (fields["velocity"], box.velocity))
    of_v, with_w = (sum(cross(x, y) for x, y in zip(v, one, strict=True)) for one in (v, w))
    line = np.polyfit(ln_k[smooth], (with_w / of_v)[smooth], 1, w=1 / noise[smooth])
    sloped_flow = v * on_shells(shells.index, np.polyval(line, ln_k), a)
    slope_here = on_shells(shells.index, np.exp(np.polyval(curve, ln_k)).clip(*SLOPES), a)
    rho = (1 + to_real(a * slope_here, mesh.shape)).clamp_(min=LEAST_DENSITY)
    told = fields[ERROR].data[0] / factor if ERROR in fields else None
    slowing, power_of_rho = in_density(
        to_real(sloped_flow, mesh.shape), box.velocity.data / factor, rho, told=told
    )
    left = w - to_fourier(slowed(to_real(sloped_flow, mesh.shape), rho, slowing))
    across = sum(cross(one, one) for one in left)
    convergence = -sum(1j * k * one for k, one in zip(wavevectors(mesh, odd=True), left, strict=True))
    along = cross(convergence * inverse_k_squared(mesh, odd=True), convergence)
    of_flow, of_density = cross(convergence, convergence), cross(left_density, left_density)
    together = cross(convergence, left_density) / np.sqrt(np.maximum(of_flow * of_density, 1e-30))

    if told is None:
        level = linear_error(catalogue, cells=mesh.mesh, cosmology=cosmology)
    else:
        level = float(told.square().mean().sqrt())
    error = float(to_real(left, mesh.shape).square().mean().sqrt())
    return {
        "logarithms": Residuals.logarithms(
            level=level,
            amplitude=cosmology.sigma8 * cosmology.growth(redshift),
            cell_size=mesh.cell_size,
            share=answered_share(power, of_answer),
        ),
        "error": float(np.log(error / level)),
        "known": [float(ln_a), float(b)],
        "density": curve.tolist(),
        "velocity": line.tolist(),
        "slowing": slowing,
        "spread": power_of_rho,
        "flow": filled(np.log(np.maximum(of_flow, 1e-30))),
        "linear": filled(linear),
        "painted": filled(shells.mean(power.painted)),
        "rotation": filled(1 - along / np.maximum(across, 1e-30)),
        "coherence": filled(together),
        "modes": filled(shells.modes),
        "numbers": sample_numbers(catalogue, cosmology=cosmology),
        "bias_error": bias_error(catalogue, cosmology=cosmology),
        "seed": box.seed,
    }


def in_density(
    flow: torch.Tensor, truth: torch.Tensor, rho: torch.Tensor, *, told: torch.Tensor | None
) -> tuple[float, float]:
    """Return `slowing` and `spread` of `Residuals`, least squares over bins of ln rho with weights by mass."""
    places = np.digitize(np.log(rho.numpy()), IN_DENSITY).ravel()

    def total(mesh: torch.Tensor) -> np.ndarray:
        return np.bincount(places, weights=mesh.numpy().ravel(), minlength=len(IN_DENSITY) + 1)

    cells, mass = total(torch.ones_like(rho)), total(rho)
    some = cells > FEWEST_CELLS
    mean = (mass / np.maximum(cells, 1))[some]
    power = total(flow.square().sum(dim=0))
    slope = (total((flow * truth).sum(dim=0)) / np.maximum(power, 1e-30))[some]
    sigma = 1 / np.sqrt((power * mass / np.maximum(cells, 1))[some])
    (_, slowing), _ = curve_fit(lambda x, a, c: a / (1 + c * x), mean, slope, p0=(1.0, 0.0), sigma=sigma)
    left = total((truth - slowed(flow, rho, slowing)).square().sum(dim=0))
    expected = cells if told is None else total(told.square())
    of_left = 0.5 * np.log(left[some] / expected[some])
    spread = np.polyfit(np.log(mean), of_left, 1, w=np.sqrt(mass[some]))[0]
    return float(slowing), float(spread)


def on_shells(index: np.ndarray, values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Return the values of shells on their modes, of none the nearest."""
    places = np.minimum(index.reshape(like.shape), len(values) - 1)
    return torch.from_numpy(values[places].astype(np.float32))


def fitted(rows: Sequence[dict[str, Any]]) -> Residuals:
    """Return the least squares of coefficients over samples."""
    logarithms = np.array([row["logarithms"] for row in rows])
    mean, scale = logarithms.mean(axis=0), np.maximum(logarithms.std(axis=0), 1e-3)
    unit = np.column_stack([np.ones(len(rows)), (logarithms - mean) / scale])
    ridge = np.diag([0.0, *[RIDGE] * len(mean)])
    of_waves = 1 / (1 + 2 / (SCATTER**2 * np.array([row["modes"] for row in rows])))
    free = max(len(rows) - unit.shape[1], 1) / len(rows)

    def coefficients(name: str, of: Sequence[Mapping[str, Any]]) -> Any:
        values = np.array([row[name] for row in of])
        several = values.reshape(len(rows), -1)
        weight = of_waves if values.shape == of_waves.shape else np.ones_like(several)
        normal = np.einsum("ri,ro,rj->oij", unit, weight, unit) + ridge

        def solved(wanted: np.ndarray) -> np.ndarray:
            return np.linalg.solve(normal, np.einsum("ri,ro,ro->oi", unit, weight, wanted)[..., None])[..., 0]

        found = solved(several)
        for _ in range(20 if name == TRANSFER else 0):  # as powers of Gaussian waves: right in their mean
            expected = unit @ found.T
            found = solved(expected + np.exp(several - expected) - 1)
        left = several - unit @ found.T
        rms = np.sqrt(np.average(left**2, axis=0, weights=weight) / free)
        print(f"{name}: rms of what the coefficients leave {rms.round(3)}")
        found[:, 1:] /= scale
        found[:, 0] -= found[:, 1:] @ mean
        return np.round(found if values.ndim > 1 else found[0], 5).tolist()

    table = Residuals(
        k=K.round(5).tolist(),
        least=logarithms.min(axis=0).round(4).tolist(),
        most=logarithms.max(axis=0).round(4).tolist(),
        **{name: coefficients(name, rows) for name in NAMES},
        transfer=((0.0,) * unit.shape[1],) * len(K),
        amplitude=(0.0, 0.0),
    )
    table = with_factors(table, rows)
    transfers = [{TRANSFER: transfer(table, row)} for row in rows]
    return Residuals.model_validate(table.model_dump() | {TRANSFER: coefficients(TRANSFER, transfers)})


def transfer(table: Residuals, row: Mapping[str, Any]) -> list[float]:
    """Return the logarithm of the power of what is left of a flow over that of density that a table leaves."""
    level, amplitude, cell_size, share = np.exp(row["logarithms"])
    sample = table.chosen(row["numbers"]).at(
        level=level, amplitude=amplitude, cell_size=cell_size, share=share
    )
    left = np.array(row["painted"]) * (1 - known_share(np.array(row["linear"]), *sample.known))
    found: list[float] = (row["flow"] - np.log(left)).tolist()
    return found


def write(model: str, table: Residuals) -> Path:
    """Put a table into the card of a model, or into the file of a classical one."""
    if model in CLASSICAL:
        path, text = residuals_path(model), table.model_dump_json()
    else:
        path = find_model(model)
        card = read_card(path)
        assert isinstance(card, ModelCard)
        text = card.model_copy(update={"residuals": table}).model_dump_json(indent=1)
    with atomic_output(path, overwrite=True) as new:
        new.write_text(text + "\n", encoding="utf-8")
    return path


def rows_of(model: str) -> Path:
    """Return the file that rows are kept in: another for other weights of the same name."""
    if model in CLASSICAL:
        return Path(f"residuals-{model}.json")
    weights = find_model(model).with_suffix(".safetensors")
    return Path(f"residuals-{weights.stem}-{checksum(weights)[:12]}.json")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument(
        "runs", nargs="+", help="with the seeds that the model did not learn from, RUN:1-3,501"
    )
    parser.add_argument(
        "--rows", type=Path, help="kept from call to call; residuals-MODEL-CHECKSUM.json where not given"
    )
    given = parser.parse_args()
    file = given.rows or rows_of(given.model)
    kept: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    used = []
    paths = []
    for run, _, seeds in (one.rpartition(":") for one in given.runs):
        wanted = ranges("seeds", seeds)
        paths += [one for epoch in run_epochs(run) for one in open_run(epoch) if seed_of(one) in wanted]
    for path in paths:
        box = SimulatedBox.open(path)
        for label, catalogue, _ in samples(box):
            name = f"{path}: {label}"
            if name not in kept:
                kept[name] = row_of(given.model, box, catalogue)
                with atomic_output(file, overwrite=True) as new:
                    new.write_text(json.dumps(kept), encoding="utf-8")
                level = np.exp(kept[name]["logarithms"][0])
                error = level * np.exp(kept[name]["error"])
                print(f"{name}: error {error:.2f} of {level:.2f} Mpc/h", flush=True)
            used.append(kept[name])
    print(write(given.model, fitted(used)))


if __name__ == "__main__":
    main()
