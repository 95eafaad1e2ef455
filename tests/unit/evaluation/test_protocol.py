"""The loop that all tasks run through, with a task of numbers."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.evaluation.page import scores_page
from peculiar.evaluation.protocol import Task, evaluate
from peculiar.evaluation.record import TRUTH, Arrays, Evaluation, Measured
from peculiar.evaluation.scores import alone
from peculiar.evaluation.table import Row, score_table
from peculiar.evaluation.tasks import TASKS, task_of
from peculiar.fields.conditions import Task as ModelTask


@dataclass(frozen=True)
class Number:
    box: str
    value: float
    sample: str = "numbers"


class Doubling(Task[Number]):
    """Predict numbers: the network is right, the baseline says what it was tuned to."""

    kind, source, title, unit = "doubling", "nobody", "Doubled numbers", "numbers"
    models, baselines = ("network", "baseline"), ("baseline",)

    def __init__(self, values):
        self.values = values
        self.paths = [Path(f"{i}") for i in range(len(values))]
        self.settings = {}
        self.opened = []

    @property
    def steps(self):
        return 2 * len(self.values)

    def tune(self, progress):
        with progress("tuned", total=1) as advance:
            self.guess = 1.0
            advance(1)

    def cases(self, path):
        value = self.values[int(path.name)]
        self.opened.append(value)
        yield Number(path.name, value)

    def truth(self, case):
        return {(case.sample, TRUTH): Measured(rows={"value": np.array([case.value])})}

    def contestants(self, case):
        return {"network": lambda: case.value, "baseline": lambda: self.guess}

    def measure(self, case, name, prediction):
        return Measured({"error": abs(prediction - case.value)}, sums={"total": np.array([prediction])})

    def pool(self, arrays, collected, model, sample, part):
        return {"total": alone(arrays.of("total", model, sample=sample)[0])}

    def record(self, arrays, results):
        return {"mean": float(arrays.of("value", TRUTH, sample="numbers").mean())}

    @classmethod
    def introduction(cls, evaluation):
        return "# Doubling"

    @classmethod
    def tables(cls, evaluation):
        return [score_table([Row("error", "error", target=0.0)], evaluation.columns(sample="numbers"))]

    @classmethod
    def plots(cls, evaluation):
        return []

    @classmethod
    def headlines(cls, evaluation):
        return [cls.compared(evaluation, "baseline", "error", "error", sample="numbers")]

    @classmethod
    def subject(cls, evaluation):
        return "Numbers."


def test_every_contestant_is_judged_on_every_case_and_progress_counts_them():
    counted = {}

    @contextmanager
    def progress(title, *, total):
        counted[title] = [total, 0]
        yield partial(lambda title, units: counted[title].__setitem__(1, counted[title][1] + units), title)

    task = Doubling([1.0, 2.0, 3.0])
    evaluation = evaluate(task, progress=progress)
    assert task.opened == [1.0, 2.0, 3.0]
    assert counted == {"tuned": [1, 1], "numbers": [6, 6]}
    columns = evaluation.columns(sample="numbers")
    assert columns["network"]["error"]["boxes"] == [0.0, 0.0, 0.0]
    assert columns["baseline"]["error"]["mean"] == pytest.approx(1.0)
    assert columns["network"]["total"]["mean"] == 6.0
    assert evaluation.record["mean"] == 2.0
    assert evaluation.arrays.of("value", TRUTH, sample="numbers").shape == (3, 1)
    assert Doubling.headlines(evaluation)[0].context == "baseline 1.000"


def test_pages_are_those_of_the_task(monkeypatch):
    monkeypatch.setitem(TASKS, "doubling", Doubling)
    page = scores_page(evaluate(Doubling([1.0])))
    assert page.startswith("# Doubling\n\n")
    assert "| error | **0.000** | 0.000 |" in page


def test_every_task_is_known_by_its_kind():
    assert set(TASKS) == {*get_args(ModelTask), "survey"}
    with pytest.raises(InputError, match="must be of one of"):
        task_of(Evaluation({"kind": "nothing"}, Arrays()))
