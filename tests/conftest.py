"""Settings that hold for every test."""

import os

# Before numba or torch are imported: workers of pytest-xdist share the cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
