"""Small catalogues for the tests of this room."""

import numpy as np
import pytest
from astropy.table import Table


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    n = 600
    columns = {name: rng.uniform(0, 100, n) for name in "xyz"}
    columns |= {name: rng.normal(0, 300, n) for name in ("vx", "vy", "vz")}
    columns["mass"] = rng.pareto(2, n) * 1e12
    columns["id"] = np.arange(n)
    return Table(columns)
