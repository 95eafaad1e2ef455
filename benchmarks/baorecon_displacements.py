"""Displacements by baorecon, run by a Python that has it: arrays in, arrays out.

    PYTHON benchmarks/baorecon_displacements.py in.npz out.npz [--once]

`in.npz` holds positions and randoms (n, 3) and places (m, 3) to read the displacement at [Mpc/h], side and centre of
the mesh's box [Mpc/h], cells along a side, whether it is periodic, the axis of the line of sight ("" for radial lines
from (0, 0, 0)), the growth rate, iterations of the solver "ifft", and a setting each of smoothing [Mpc/h], bias and
solver ("ifft" or "multigrid").
`out.npz` gets displacement (setting, m, 3) [Mpc/h], seconds and processor (setting,) [s] and the peak memory [bytes].
A single setting runs twice, for times without compilation, unless `--once` is given.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from typing import Any

import numpy as np
from baorecon import BAOReconstructor


def displacement(given: Any, smoothing: float, bias: float, solver: str) -> np.ndarray:
    """Return the displacement at the places, (m, 3) [Mpc/h]."""
    side = float(given["side"])
    made = BAOReconstructor(
        given["positions"],
        given["randoms"],
        nmesh=int(given["cells"]),
        boxsize=np.full(3, side),
        boxcentre=given["centre"],
        pbc=bool(given["periodic"]),
        padding=0.0 if given["periodic"] else 0.01,
        los=str(given["axis"]) or None,
        R_sm=smoothing,
        f=float(given["growth_rate"]),
        bias=bias,
        solver_type=solver,
        solver_args={"n_iterations": int(given["iterations"])} if solver == "ifft" else None,
    )
    return np.asarray(made.interpolate_displacement(given["places"]))


def main() -> None:
    """Read, compute, write."""
    logging.disable(logging.INFO)
    given = np.load(sys.argv[1])
    found, seconds, processor = [], [], []
    settings = list(zip(given["smoothing"], given["bias"], given["solver"], strict=True))
    if len(settings) == 1 and "--once" not in sys.argv:
        settings *= 2  # the first compiles
    for smoothing, bias, solver in settings:
        start, used = time.perf_counter(), time.process_time()
        found.append(displacement(given, float(smoothing), float(bias), str(solver)))
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    kept = slice(-len(given["smoothing"]), None)
    np.savez(
        sys.argv[2],
        displacement=found[kept],
        seconds=seconds[kept],
        processor=processor[kept],
        memory=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


if __name__ == "__main__":
    main()
