"""Settings that hold for every test."""

import os

import pytest

# Before numba or torch are imported: workers of pytest-xdist share the cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(autouse=True)
def _seeded():
    """Let torch's random numbers be the same in every run of a test."""
    import torch

    torch.manual_seed(0)


THREADS = 2
"""Of a worker, and of a test that compares with its results: sums of meshes round by the number of threads."""


@pytest.fixture
def scheduler(_cluster):
    """Address of a scheduler on loopback with two workers, as another process would have started them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield _cluster
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _cluster():
    from distributed import LocalCluster

    from peculiar.core import workers

    workers.CONNECT = 120.0  # the machine may be busy with other tests
    with LocalCluster(
        n_workers=2,
        threads_per_worker=THREADS,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        silence_logs=50,
        scheduler_kwargs={"allowed_failures": 1},
    ) as cluster:
        yield cluster.scheduler_address
