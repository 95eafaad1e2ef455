"""Where tasks run: in this process, in others of this machine, or on the workers of a dask scheduler."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from peculiar.core.errors import InputError, InputWarning
from peculiar.core.extras import extra
from peculiar.core.memory import free_memory, require_memory
from peculiar.core.provenance import package_version
from peculiar.core.schedulers import find_scheduler

if TYPE_CHECKING:
    from distributed import Client

Workers = int | str | None
"""Processes of this machine, or the address of a dask scheduler; None works in this process."""
Advance = Callable[[int], None]
"""Is told how many units of progress were made."""
T = TypeVar("T")
R = TypeVar("R")

CONNECT = 20.0  # s to be taken by a scheduler that was found
_LOOPBACK = "127.0.0.1"
_OF_WORKERS = "distributed.nanny.pre-spawn-environ"
"""Their threads share the memory of the process, which can be kept (`peculiar.core.memory.kept_memory`)."""
BYTES_OF_A_PROCESS = 350_000_000
"""Measured: 326 MB of a worker that has loaded the package."""
_ONE_AT_A_TIME = threading.Lock()
"""dask gives a worker of several threads as many tasks at once; one takes all the threads."""


class Crew(Protocol):
    """Those who work."""

    def each(
        self,
        function: Callable[[T, Advance], R],
        tasks: Mapping[str, T],
        *,
        units: int = 1,
        advance: Advance,
        sees: Path | None = None,
    ) -> Iterator[R]:
        """Apply a function to every task; yield the results in the order of the tasks.

        Parameters
        ----------
        function : callable
            Takes a task and what tells its progress. It travels once to each worker, a task to one of them: both
            can be pickled. What it writes, it writes for good: a task whose worker is killed runs again.
        tasks : mapping
            By the name that an error begins with.
        units : int
            Of progress in a task.
        advance : callable
            Is told each unit in this process, and a whole task of other workers.
        sees : path, optional
            What is there for this process, and must be for the workers: they write into it.

        Raises
        ------
        InputError
            If a task fails for it, its workers are killed again and again, or a worker does not see the place.
        """


class Alone:
    """The process itself: one task after another."""

    def each(
        self,
        function: Callable[[T, Advance], R],
        tasks: Mapping[str, T],
        *,
        units: int = 1,
        advance: Advance,
        sees: Path | None = None,
    ) -> Iterator[R]:
        """See `Crew.each`; a task begins when the result before it was taken."""
        for name, task in tasks.items():
            yield _named(function, task, name=name, advance=advance)


class Cluster:
    """The workers of a dask scheduler.

    Parameters
    ----------
    client : distributed.Client
    threads : int, optional
        Of a task; by default those of its worker.
    """

    def __init__(self, client: Client, *, threads: int | None = None) -> None:
        self._client, self._threads = client, threads

    def each(
        self,
        function: Callable[[T, Advance], R],
        tasks: Mapping[str, T],
        *,
        units: int = 1,
        advance: Advance,
        sees: Path | None = None,
    ) -> Iterator[R]:
        """See `Crew.each`; tasks that wait are given up when one fails."""
        from distributed import as_completed

        options = {
            "version": package_version(),
            "threads": self._threads,
            "places": [place.absolute() for place in (Path(), sees) if place is not None],
            "pure": False,
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # once
            shared = self._client.submit(_itself, function, pure=False)
        futures = [
            self._client.submit(_perform, shared, task, name=name, **options) for name, task in tasks.items()
        ]
        numbers = {future: number for number, future in enumerate(futures)}
        names = list(tasks)
        told: set[str] = set()
        waiting: dict[int, R] = {}
        following = 0
        try:
            for future in as_completed(futures, loop=self._client.loop):
                with _failures(names[numbers[future]]):
                    result, caught = future.result()
                future.release()
                for warning in caught:
                    if str(warning) not in told:
                        told.add(str(warning))
                        warnings.warn(warning, stacklevel=2)
                if isinstance(result, InputError):
                    raise result
                advance(units)
                waiting[numbers[future]] = result
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1
        finally:
            if following < len(futures):
                self._client.cancel(futures)


@contextmanager
def crew(
    workers: Workers = None,
    *,
    tasks: int,
    memory: int = 0,
    what: str = "the work",
    remedy: str = "ask for less",
) -> Iterator[Crew]:
    """Have workers while the block runs; open it before anything is written.

    Parameters
    ----------
    workers : int, str or None
        Processes of this machine, at most one for each task, which share its cores and listen on loopback alone; the
        address of a scheduler ("tcp://host:8786"), whose workers have this version of the package and see the same
        files; or None, for this process.
    tasks : int
        How many there will be.
    memory : int
        What one takes [bytes], where it is known.
    what, remedy : str
        See `peculiar.core.memory.require_memory`.

    Raises
    ------
    InputError
        If there is no memory for the workers, or the scheduler is not there or has workers of another version.

    Examples
    --------
    >>> with crew(tasks=2) as workers:
    ...     list(workers.each(lambda task, advance: 2 * task, {"a": 1, "b": 2}, advance=print))
    [2, 4]
    """
    if workers is None or not tasks:
        require_memory(memory, what=what, remedy=remedy)
        yield Alone()
    elif isinstance(workers, str):
        with _connected(workers) as client:
            _require_memory_of(client, tasks=tasks, memory=memory, what=what, remedy=remedy)
            yield Cluster(client)
    else:
        require_workers(workers)
        number = max(1, min(workers, tasks))
        require_memory(
            number * (memory + BYTES_OF_A_PROCESS),
            what=f"{what}, by {number} workers at once,",
            remedy=f"{remedy}, or take fewer workers",
        )
        with _local(number) as client:
            yield Cluster(client, threads=_threads_of(number))


def require_workers(workers: Workers) -> None:
    """Refuse less than one worker, or a scheduler that is not there or has workers of another version.

    Call it before work that comes before theirs; `crew` asks by itself.
    """
    if isinstance(workers, str):
        with _connected(workers):
            pass
    elif workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}: leave it out to work in one process")


def _itself(function: R) -> R:
    """Return a function: as the result of a task it is sent once to each worker, and made again where it is lost."""
    return function


def _perform(
    function: Callable[[T, Advance], R],
    task: T,
    *,
    name: str,
    version: str,
    threads: int | None,
    places: Sequence[Path],
) -> tuple[R | InputError, list[Warning]]:
    """Do a task on a worker, from the first of the places; return its result or its error, and the user's warnings."""
    if package_version() != version:  # of one that came after the others were asked
        raise InputError(
            f"workers must have peculiar {version}, got one with {package_version()}: install it there"
        )
    if unseen := [place for place in places if not place.exists()]:
        raise InputError(
            f"workers must see the files of the command, got one without {unseen[0]}: put them on a disk that they "
            "share, and begin there"
        )
    with _ONE_AT_A_TIME, chdir(places[0]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        _take_threads(threads)
        result: R | InputError
        try:
            result = _named(function, task, name=name, advance=lambda units: None)
        except InputError as error:
            result = error
    return result, [warning.message for warning in caught if isinstance(warning.message, Warning)]


def _named(function: Callable[[T, Advance], R], task: T, *, name: str, advance: Advance) -> R:
    try:
        return function(task, advance)
    except InputError as error:
        raise error.within(name) from error


def _threads_of(number: int) -> int:
    import torch

    return max(1, torch.get_num_threads() // number)


def _take_threads(threads: int | None) -> None:
    import numba
    import torch
    from distributed import get_worker

    taken = get_worker().state.nthreads if threads is None else threads
    torch.set_num_threads(taken)
    numba.set_num_threads(min(taken, numba.config.NUMBA_NUM_THREADS))


@contextmanager
def _failures(name: str) -> Iterator[None]:
    """Tell of workers that went in the words of a user; what a task raised stays as it is."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise InputError(
            f"{name}: its worker must live, got several that were killed, the last one {error.last_worker.address}: "
            "is there memory enough for so many?"
        ) from error
    except CancelledError as error:
        raise InputError(
            f"{name}: the scheduler must stay, got it gone before the end: start it again"
        ) from error


@contextmanager
def _local(number: int) -> Iterator[Client]:
    with extra("cluster"):
        import dask
        from distributed import Client, LocalCluster
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # a script without a guard, begun again by its own worker: the parent tells
    with (
        TemporaryDirectory(prefix="peculiar-workers-") as place,
        dask.config.set({"temporary-directory": place, f"{_OF_WORKERS}.MALLOC_ARENA_MAX": 1}),
    ):
        with _deaf():
            try:
                cluster = LocalCluster(
                    n_workers=number,
                    threads_per_worker=1,
                    host=_LOOPBACK,
                    dashboard_address=f"{_LOOPBACK}:0",
                    worker_dashboard_address=f"{_LOOPBACK}:0",
                    memory_limit=0,  # it was asked for before
                    silence_logs=logging.CRITICAL,
                )
            except RuntimeError as error:
                raise InputError(
                    f"workers must start as processes of their own, got {number} that did not ({error}): in a script, "
                    "call what works under if __name__ == '__main__':"
                ) from None
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def _deaf() -> Iterator[None]:
    """Let threads that begin meanwhile, and processes that they start, not hear Ctrl-C: the command stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    with extra("cluster"):
        from distributed import Client
    try:
        find_scheduler(address)
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # another server may answer anything
        raise InputError(
            f"scheduler must be the address of a dask scheduler that runs, as tcp://host:8786, got {address!r} "
            f"({error or type(error).__name__}): start it, or correct the address"
        ) from None
    with client:
        _require_alike(client, address)
        yield client


def _require_alike(client: Client, address: str) -> None:
    """Refuse workers that have another version of the package, or none."""
    found = client.get_versions(packages=["peculiar"])["workers"]
    if not found:
        warnings.warn(
            InputWarning(f"the scheduler {address} has no workers yet: the work waits for them"), stacklevel=4
        )
    others = {
        worker: stated["packages"].get("peculiar")
        for worker, stated in found.items()
        if stated["packages"].get("peculiar") != package_version()
    }
    if others:
        worker, version = min(others.items())
        raise InputError(
            f"workers must have peculiar {package_version()}, got {version or 'none'} at {worker} "
            f"({len(others)} of {len(found)} workers): install this version there"
        )


def _require_memory_of(client: Client, *, tasks: int, memory: int, what: str, remedy: str) -> None:
    """Refuse work that all the workers of one machine do not have the memory for at once."""
    from distributed.comm import get_address_host

    free: dict[str, Any] = client.run(free_memory)
    hosts = Counter(get_address_host(worker) for worker in free)
    for worker, left in free.items():
        host = get_address_host(worker)
        needed = min(hosts[host], tasks) * memory
        if needed > left:
            raise InputError(
                f"{what} must fit in the memory of the workers, got {needed / 1e9:.3g} GB needed by {hosts[host]} of "
                f"them with {left / 1e9:.3g} GB free at {host}: {remedy}, or start fewer workers"
            )
