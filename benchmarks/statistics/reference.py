"""Run independent public codes on the fields that `compare.py` wrote; needs those codes and NumPy, not peculiar.

`compare.py` calls it with their interpreter. A code that is not installed is left out and named.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

Data = Mapping[str, np.ndarray]
ENOUGH_SECONDS = 4.0
"""After this long, a run is not repeated."""


def best(function: Callable[[], np.ndarray], repeats: int = 3) -> tuple[np.ndarray, float]:
    """Result, and the shortest of several processor times [s]: other work on the machine does not count."""
    times: list[float] = []
    while len(times) < repeats and sum(times) < ENOUGH_SECONDS:
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return result, min(times)


def pylians(data: Data) -> dict[str, Callable[[], np.ndarray]]:
    """Villaescusa-Navarro 2018. Bins of k and r are [i, i + 1) in units of the fundamental wavenumber or the cell."""
    import MAS_library as MASL
    import Pk_library as PKL
    import smoothing_library as SL

    size, delta, other, points = float(data["size"]), data["delta"], data["other"], data["points"]
    v = data["velocity"]
    n = len(delta)

    def painted() -> np.ndarray:
        mesh = np.zeros((n, n, n), np.float32)
        # Its first cell is centred on the origin.
        MASL.MA(((points - size / n / 2) % size).astype(np.float32), mesh, size, "CIC")
        return mesh / mesh.mean(dtype=np.float64).astype(np.float32) - 1

    def cross() -> np.ndarray:
        result = PKL.XPk([delta, other], size, axis=2, MAS=["None", "None"], threads=1)
        return np.column_stack([result.Pk[:, 0, :], result.XPk[:, 0, 0]]).T

    def divergence(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return PKL.Pk_theta(x, y, z, size, axis=2, MAS="None", threads=1)[1]

    def helmholtz() -> np.ndarray:
        # Each component of the curl of (x, y, z) is a divergence: of (0, z, -y), (-z, 0, x) and (y, -x, 0).
        zero = np.zeros_like(v[0])
        parts = ((zero, v[2], -v[1]), (-v[2], zero, v[0]), (v[1], -v[0], zero))
        return np.stack([divergence(*v), sum(divergence(*part) for part in parts)])

    def triangles() -> np.ndarray:
        result = PKL.Bk(
            delta, size, float(data["k1"]), float(data["k2"]), data["theta"], MAS="None", threads=1
        )
        return np.stack([result.B, result.Q])

    def tides() -> np.ndarray:
        # Omega_m = 8/3 and a = 1 leave -delta n_i n_j / sum(sin^2) with its Green function of finite differences.
        t = MASL.tidal_tensor(data["for_tides"], 8 / 3, 1.0, MAS="None", threads=1)
        rows = [[t.T00, t.T01, t.T02], [t.T01, t.T11, t.T12], [t.T02, t.T12, t.T22]]
        tensor = np.moveaxis(np.array(rows), (0, 1), (-2, -1))
        return np.moveaxis(np.linalg.eigvalsh(tensor)[..., ::-1], -1, 0)

    def spheres() -> np.ndarray:
        rms = []
        for radius in data["radii"]:
            window = SL.FT_filter(size, float(radius), n, "Top-Hat", 1)
            flow = [SL.field_smoothing(component, window, 1) for component in v]
            rms.append(np.sqrt(sum(np.mean(f.astype(np.float64) ** 2) for f in flow)))
        return np.array(rms)

    return {
        "multipoles": lambda: PKL.Pk(delta, size, axis=2, MAS="None", threads=1, verbose=False).Pk.T,
        "painted": lambda: PKL.Pk(painted(), size, axis=2, MAS="CIC", threads=1, verbose=False).Pk[:, 0],
        "point correlation": lambda: PKL.Xi(painted(), size, MAS="CIC", axis=2, threads=1).xi.T,
        "cross": cross,
        "vector": lambda: sum(
            PKL.Pk(c, size, axis=2, MAS="None", threads=1, verbose=False).Pk[:, 0] for c in v
        ),
        "helmholtz": helmholtz,
        "mesh correlation": lambda: PKL.Xi(delta, size, MAS="None", axis=2, threads=1).xi.T,
        "bispectrum": triangles,
        "tides": tides,
        "spheres": spheres,
    }


def triumvirate(data: Data) -> dict[str, Callable[[], np.ndarray]]:
    """Wang, Beutler and Sugiyama 2023. Paints points, interlaced where asked."""
    from triumvirate.catalogue import ParticleCatalogue
    from triumvirate.dataobjs import Binning
    from triumvirate.threept import compute_bispec_in_gpp_box
    from triumvirate.twopt import compute_powspec_in_gpp_box

    size, n = float(data["size"]), len(data["delta"])
    # Its first cell is centred on the corner of the box.
    points = (data["points"] - size / n / 2) % size

    def settings(scheme: str, interlace: bool) -> dict[str, object]:
        return {
            "alignment": "centre",
            "boxsize": [size] * 3,
            "ngrid": [n] * 3,
            "assignment": scheme,
            "interlace": interlace,
        }

    def catalogue() -> ParticleCatalogue:
        return ParticleCatalogue(*points.T, nz=len(points) / size**3)

    def bins(space: str, edges: np.ndarray) -> Binning:
        result = Binning(space, "lin", float(edges[0]), float(edges[-1]), len(edges) - 1)
        result.set_custom_bins(edges)
        return result

    def power(scheme: str, interlace: bool) -> np.ndarray:
        rows = []
        for order in (0, 2, 4):
            found = compute_powspec_in_gpp_box(
                catalogue(),
                degree=order,
                binning=bins("fourier", data["k_edges"]),
                sampling_params=settings(scheme, interlace),
            )
            rows.append(found["pk_raw"].real)
        return np.stack(rows)

    def bispectrum() -> np.ndarray:
        found = compute_bispec_in_gpp_box(
            catalogue(),
            degrees=(0, 0, 0),
            binning=bins("fourier", data["b_edges"]),
            form="diag",
            sampling_params=settings("tsc", False),
        )
        return found["bk_raw"].real

    return {
        "interlaced cic": lambda: power("cic", True),
        "interlaced pcs": lambda: power("pcs", True),
        "mean bispectrum": bispectrum,
    }


def corrfunc(data: Data) -> dict[str, Callable[[], np.ndarray]]:
    """Sinha and Garrison 2020. Counts pairs of points."""
    from Corrfunc.theory.DD import DD
    from Corrfunc.theory.DDrppi import DDrppi
    from Corrfunc.theory.xi import xi

    size, cells = float(data["size"]), len(data["delta"])
    x, y, z = np.ascontiguousarray(data["points"].T)
    on_mesh = np.ascontiguousarray(data["points_on_mesh"].T)
    along, number = data["along_edges"], len(x)

    def mesh_pairs() -> np.ndarray:
        pairs = DD(1, 1, data["r_edges"], *on_mesh, boxsize=size, periodic=True)["npairs"]
        return pairs.astype(np.float64) * cells**3 / number**2 / data["separations"] - 1

    def plane() -> np.ndarray:
        reach = float(along[-1])
        found = DDrppi(1, 1, reach, data["across_edges"], *on_mesh, boxsize=size, periodic=True)["npairs"]
        width = round(along[1] - along[0])  # its bins along the line of sight are 1 Mpc/h wide
        pairs = found.astype(np.float64).reshape(len(data["across_edges"]) - 1, -1, width).sum(axis=2)
        return pairs * cells**3 / number**2 / data["plane_separations"] - 1

    return {
        "pairs": lambda: xi(size, 1, data["r_edges"], x, y, z)["xi"],
        "pairs on the mesh": mesh_pairs,
        "plane": plane,
    }


def sarabande(data: Data) -> dict[str, Callable[[], np.ndarray]]:
    """Sunseri et al. 2023. Orders up to 5, off-diagonal pairs of bins."""
    import sarabande as package

    field, edges = data["small"].astype(np.float64), data["three_point_edges"]
    n, bins = len(field), len(edges) - 1

    def multipoles() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            task = package.measure(
                nPCF=3,
                density_field_data=field,
                save_dir=f"{folder}/",
                save_name="run",
                ell_max=5,
                nbins=bins,
                physical_boxsize=float(n),
                rmin=float(edges[0]),
                rmax=float(edges[-1]),
                normalize=False,
            )
            package.calc_zeta(task, verbose_flag=False, store_in_memory=True)
        number = task.boundsandnumber[1, :bins]
        order = np.arange(6)[:, None, None]
        # From its basis, (-1)^l sqrt(2l + 1) / (4 pi) P_l, and sums over cells and offsets, to Legendre and means.
        factor = (-1.0) ** order * np.sqrt(2 * order + 1) * 4 * np.pi
        return factor * task.zeta.real / n**3 / np.outer(number, number)

    return {"three-point": multipoles}


def scientific_python(data: Data) -> dict[str, Callable[[], np.ndarray]]:
    """NumPy, SciPy and scikit-learn, put together by hand."""
    from scipy import stats
    from sklearn.metrics import cohen_kappa_score, confusion_matrix

    delta, other, size = data["delta"], data["other"], float(data["size"])
    n = len(delta)
    p, t = other.ravel().astype(np.float64), delta.ravel().astype(np.float64)

    def wedges() -> np.ndarray:
        power = np.abs(np.fft.fftn(delta) / n**3) ** 2 * size**3
        index = np.fft.fftfreq(n, 1 / n)
        x, y, z = np.meshgrid(index, index, index, indexing="ij", sparse=True)
        k = np.sqrt(x**2 + y**2 + z**2)
        mu = np.abs(z) / np.maximum(k, 1)
        inside = (k >= 1) & (k < n // 2)
        edges = [data["wedge_edges"], data["mu_edges"]]
        return stats.binned_statistic_2d(k[inside], mu[inside], power[inside], "mean", bins=edges).statistic

    def agreement() -> np.ndarray:
        line, inverse = stats.linregress(t, p), stats.linregress(p, t)
        return np.array([stats.pearsonr(p, t).statistic, line.slope, inverse.slope])

    def one_point() -> np.ndarray:
        return np.histogram(delta, bins=data["value_edges"])[0] / delta.size / np.diff(data["value_edges"])

    def two_point() -> np.ndarray:
        edges, steps = data["value_edges"], int(data["steps"])
        counts = sum(
            np.histogram2d(t, np.roll(delta, -steps, axis).ravel(), bins=[edges, edges])[0]
            for axis in range(3)
        )
        counts = (counts + counts.T) / 2
        return counts / (3 * t.size) / np.outer(np.diff(edges), np.diff(edges))

    def classes() -> np.ndarray:
        a, b = data["classes"].ravel(), data["other_classes"].ravel()
        return np.append(confusion_matrix(a, b, normalize="true"), cohen_kappa_score(a, b))

    return {
        "wedges": wedges,
        "pointwise": agreement,
        "one-point": one_point,
        "two-point": two_point,
        "joint": lambda: np.histogram2d(p, t, bins=[data["value_edges"]] * 2, density=False)[0],
        "confusion": classes,
    }


CODES: dict[str, tuple[Callable[[Data], dict[str, Callable[[], np.ndarray]]], tuple[str, ...]]] = {
    "Pylians": (pylians, ("Pylians",)),
    "Triumvirate": (triumvirate, ("Triumvirate",)),
    "Corrfunc": (corrfunc, ("Corrfunc",)),
    "sarabande": (sarabande, ("sarabande",)),
    "SciPy": (scientific_python, ("numpy", "scipy", "scikit-learn")),
}
"""Each code, and the packages whose versions tell which one it was."""


def main() -> None:
    """Read the fields from the first argument, write results to the second and times beside it."""
    warnings.simplefilter("ignore")
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    wanted = sys.argv[3:] or list(CODES)
    data = dict(np.load(source))
    results: dict[str, np.ndarray] = {}
    record: dict[str, dict[str, object]] = {}
    for code in wanted:
        prepare, packages = CODES[code]
        try:
            tasks = prepare(data)
        except ImportError as error:
            record[code] = {"missing": str(error)}
            continue
        times = {}
        for name, task in tasks.items():
            results[f"{code}: {name}"], times[name] = best(task)
            print(f"{code}: {name}, {times[name]:.2f} s", file=sys.stderr)
        record[code] = {"times": times, "version": ", ".join(f"{p} {version(p)}" for p in packages)}
    np.savez(target, **results)
    target.with_suffix(".json").write_text(json.dumps(record))


if __name__ == "__main__":
    main()
