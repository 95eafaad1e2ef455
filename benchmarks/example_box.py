"""Make the compact example box that comes with the package from a box of `peculiar simulate`.

    python benchmarks/example_box.py boxes/box-01004.h5 src/peculiar/examples/box/box-01004.h5

Fields go to half precision, halos down to an abundance of 3.5e-3 (h/Mpc)^3 stay, with at most 24 member particles each:
enough for any satellite fraction up to 0.3 at 3e-3 (h/Mpc)^3.
"""

import sys

import h5py
import numpy as np

from peculiar.simulate.mocks import SimulatedBox

ABUNDANCE = 3.5e-3  # (h/Mpc)^3
MOST_MEMBERS = 24
SMALL = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def main(source: str, target: str) -> None:
    """Copy one box into a smaller file."""
    box = SimulatedBox.open(source)
    halos = round(ABUNDANCE * box.box.volume)
    with h5py.File(source) as full, h5py.File(target, "w") as small:
        small.attrs.update(full.attrs)
        for name in ("density", "velocity", "linear_density"):
            small.create_dataset(name, data=full[name][()].astype(np.float16), **SMALL)
        for name in ("position", "velocity", "mass", "count"):
            small.create_dataset(f"halos/{name}", data=full[f"halos/{name}"][:halos], **SMALL)
        host = full["members/host"][()]
        place = np.arange(len(host)) - np.searchsorted(host, host)
        keep = (host < halos) & (place < MOST_MEMBERS)
        for name in ("displacement", "velocity", "host"):
            small.create_dataset(f"members/{name}", data=full[f"members/{name}"][()][keep], **SMALL)
        for name in (
            "density",
            "velocity",
            "linear_density",
            "halos/position",
            "halos/velocity",
            "halos/mass",
        ):
            small[name].attrs["unit"] = full[name].attrs["unit"]


if __name__ == "__main__":
    main(*sys.argv[1:])
