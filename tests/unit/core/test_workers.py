"""Tasks on workers: the same results in the same order, whoever does them, and one clear error for what goes wrong."""

import multiprocessing
import os
import signal
import warnings
from functools import partial
from pathlib import Path

import dask
import pytest

from peculiar.core import InputError, OutOfRangeWarning
from peculiar.core.workers import Alone, crew


def doubling():
    """A function that workers, which do not see this file, get by value."""

    def double(task, advance):
        advance(1)
        return 2 * task

    return double


TASKS = {f"seed {i}": i for i in range(7)}


def test_results_are_those_of_one_process_in_order(scheduler):
    told = {}
    found = {}
    for workers in (None, scheduler):
        told[workers] = []
        with crew(workers, tasks=len(TASKS)) as hands:
            found[workers] = list(hands.each(doubling(), TASKS, advance=told[workers].append))
    assert found[None] == found[scheduler] == [0, 2, 4, 6, 8, 10, 12]
    assert sum(told[None]) == sum(told[scheduler]) == len(TASKS)


def test_processes_of_this_machine_listen_on_loopback_alone_and_leave_nothing(tmp_path, monkeypatch):
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def where(task, advance):
        import torch

        return os.getpid(), torch.get_num_threads()

    with crew(5, tasks=2) as hands:
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = [
            c.laddr.ip for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN
        ]
        found = list(hands.each(where, {"a": 0, "b": 1}, advance=lambda units: None))
    assert listening
    assert set(listening) == {"127.0.0.1"}
    assert os.getpid() not in {process for process, _ in found}
    assert {threads for _, threads in found} == {1}
    assert not list(tmp_path.iterdir())


def test_a_worker_takes_all_its_threads_for_one_task_at_a_time(scheduler):
    def alone(task, advance):
        import time

        import torch
        from distributed import get_worker

        worker = get_worker()
        together = getattr(worker, "together", 0) + 1
        worker.together = together
        time.sleep(0.05)
        worker.together -= 1
        return together, torch.get_num_threads()

    with crew(scheduler, tasks=8) as hands:
        found = list(hands.each(alone, {str(i): i for i in range(8)}, advance=lambda units: None))
    assert found == [(1, 2)] * 8


def test_errors_are_of_their_task_and_warnings_come_once(scheduler):
    def careful(task, advance):
        warnings.warn("cells are odd", OutOfRangeWarning, stacklevel=2)
        if task == 4:
            raise InputError("halos must be many, got 3", command="--box must be large")
        return task

    for workers in (None, scheduler):
        with (
            crew(workers, tasks=len(TASKS)) as hands,
            pytest.warns(OutOfRangeWarning, match="cells are odd") as caught,
            pytest.raises(InputError, match="^seed 4: halos must be many, got 3$") as found,
        ):
            list(hands.each(careful, TASKS, advance=lambda units: None))
        assert found.value.command == "seed 4: --box must be large"
        if workers is not None:
            assert len([one for one in caught if one.category is OutOfRangeWarning]) == 1


def test_workers_of_another_version_are_refused_before_and_in_the_work(scheduler, monkeypatch):
    monkeypatch.setattr("peculiar.core.workers.package_version", lambda: "9.9")
    with (
        pytest.raises(
            InputError, match=r"workers must have peculiar 9.9, got 0.* at tcp://.*\(. of . workers\)"
        ),
        crew(scheduler, tasks=1),
    ):
        pass
    monkeypatch.setattr("peculiar.core.workers._require_alike", lambda client, address: None)
    with (
        crew(scheduler, tasks=1) as late,
        pytest.raises(InputError, match=r"must have peculiar 9.9, got one with"),
    ):
        list(late.each(doubling(), {"a": 1}, advance=lambda units: None))


def test_a_scheduler_without_workers_is_told():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        pytest.warns(UserWarning, match="has no workers yet"),
        crew(cluster.scheduler_address, tasks=1),
    ):
        pass


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_of_a_batch_system():
    """dask-jobqueue's back end for tests stands for SLURM: a job is a process, which it leaves to itself."""
    local = pytest.importorskip("dask_jobqueue.local")
    dashboard = {"dashboard_address": "127.0.0.1:0"}
    with local.LocalCluster(
        cores=1, processes=1, memory="2GB", interface="lo", silence_logs=50, scheduler_options=dashboard
    ) as jobs:
        jobs.scale(jobs=1)
        jobs.wait_for_workers(1)
        with crew(jobs.scheduler_address, tasks=len(TASKS)) as hands:
            found = list(hands.each(doubling(), TASKS, advance=lambda units: None))
    assert found == [0, 2, 4, 6, 8, 10, 12]


def test_the_memory_of_all_workers_counts(scheduler, monkeypatch):
    monkeypatch.setattr("peculiar.core.memory._available", lambda: 6_000_000_000)
    with crew(tasks=2, memory=5_000_000_000):
        pass
    with (
        pytest.raises(InputError, match=r"by 2 workers at once, must fit in memory, got 10.7 GB needed"),
        crew(2, tasks=2, memory=5_000_000_000, what="a box"),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"got .e\+06 GB needed by . of them"),
        crew(scheduler, tasks=2, memory=10**15),
    ):
        pass


def test_workers_that_do_not_see_the_files_are_told(scheduler, tmp_path):
    with (
        crew(scheduler, tasks=1) as hands,
        pytest.raises(InputError, match=f"must see the files of the command, got one without {tmp_path}"),
    ):
        list(hands.each(doubling(), {"a": 1}, advance=lambda units: None, sees=tmp_path / "elsewhere"))


def test_workers_stand_where_the_command_does(scheduler, tmp_path, monkeypatch):
    def where(task, advance):
        return os.getcwd()

    monkeypatch.chdir(tmp_path)
    with crew(scheduler, tasks=1) as hands:
        assert list(hands.each(where, {"a": 1}, advance=lambda units: None)) == [str(tmp_path)]


def test_too_few_workers():
    with pytest.raises(InputError, match="workers must be at least 1, got 0"), crew(0, tasks=3):
        pass


def test_a_script_without_a_guard_is_told(monkeypatch):
    def failing(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("distributed.LocalCluster", failing)
    with pytest.raises(InputError, match="under if __name__ == '__main__'"), crew(2, tasks=3):
        pass
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SystemExit), crew(2, tasks=3):  # what the script's worker does
        pass


def test_this_process_begins_a_task_when_the_last_result_is_taken():
    begun = []
    results = Alone().each(lambda task, advance: begun.append(task), TASKS, advance=lambda units: None)
    next(results)
    assert begun == [0]


def test_a_killed_worker_changes_nothing(scheduler, tmp_path):
    def deadly(task, advance, *, place):
        mark = Path(place) / f"{task}"
        if task == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * task

    with crew(scheduler, tasks=len(TASKS)) as hands:
        found = list(hands.each(partial(deadly, place=tmp_path), TASKS, advance=lambda units: None))
    assert len(list(tmp_path.iterdir())) == 1
    assert found == [0, 2, 4, 6, 8, 10, 12]


def test_a_task_that_kills_every_worker_is_named(scheduler):
    def deadly(task, advance):
        os.kill(os.getpid(), signal.SIGKILL)

    with (
        crew(scheduler, tasks=1) as hands,
        pytest.raises(
            InputError, match=r"seed 3: its worker must live, got several that were killed.*memory"
        ),
    ):
        list(hands.each(deadly, {"seed 3": 3}, advance=lambda units: None))


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:9",
        "127.0.0.1:9",
        "nowhere",
        "tcp://host:port",
        "nowhere.invalid:8786",
        "http://127.0.0.1:9",
    ],
)
def test_a_scheduler_that_is_not_there(address, monkeypatch):
    monkeypatch.setattr("peculiar.core.schedulers.FIND", 0.3)
    monkeypatch.setattr("distributed.Client", None)  # it would wait
    with (
        pytest.raises(InputError, match="must be the address of a dask scheduler") as found,
        crew(address, tasks=1),
    ):
        pass
    assert address in str(found.value)


# Last: clients that found no scheduler may hold up the next one.
def test_a_scheduler_that_goes_before_it_takes_the_command(monkeypatch):
    monkeypatch.setattr("peculiar.core.workers.find_scheduler", lambda address: None)
    monkeypatch.setattr("peculiar.core.workers.CONNECT", 0.5)
    with (
        pytest.raises(InputError, match="must be the address of a dask scheduler"),
        crew("tcp://127.0.0.1:9", tasks=1),
    ):
        pass
    assert dask.config.get("scheduler", None) is None  # else all that dask does later would fail
