"""Every task by its name in records."""

from __future__ import annotations

from typing import Any

from peculiar.core import InputError
from peculiar.evaluation.counts.task import CountTask
from peculiar.evaluation.cubes.task import CubeTask
from peculiar.evaluation.displacements.task import DisplacementTask
from peculiar.evaluation.flows.task import FlowTask
from peculiar.evaluation.protocol import Task
from peculiar.evaluation.record import Evaluation, Kind
from peculiar.evaluation.tracers.task import TracerTask

TASKS: dict[Kind, type[Task[Any]]] = {
    task.kind: task for task in (CountTask, CubeTask, DisplacementTask, FlowTask, TracerTask)
}


def task_of(evaluation: Evaluation) -> type[Task[Any]]:
    """Return the task that an evaluation is of; InputError if this version knows none of its name."""
    if evaluation.kind not in TASKS:
        raise InputError(f"evaluation must be of one of {', '.join(TASKS)}, got {evaluation.kind!r}")
    return TASKS[evaluation.kind]
