"""How models are judged: what a task says of itself, and the one loop that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from peculiar.core import InputError
from peculiar.core.workers import Advance, Alone, Crew
from peculiar.evaluation.record import SCHEMA, Arrays, Collected, Evaluation, Kind, Measured
from peculiar.evaluation.scores import Score, average
from peculiar.figures.report import Headline, Section, Table
from peculiar.figures.style import Plot
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.mocks import SimulatedBox

C = TypeVar("C", bound="Case")


class Progress(Protocol):
    """Shows how far long work is: a title and a number of units give what advances it."""

    def __call__(self, title: str, *, total: int) -> AbstractContextManager[Advance]:
        """Begin."""


@contextmanager
def silent(title: str, *, total: int) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda units: None


class Case(Protocol):
    """One thing with a known truth: a box, a cube of it, a pair, or one sample of any of them."""

    @property
    def sample(self) -> str:
        """How it is observed; "" where there is one way."""

    @property
    def box(self) -> str:
        """Box it belongs to."""


class Task(ABC, Generic[C]):
    """One paper's way of judging models: an object for one evaluation, a class for reading it again.

    The arguments of a task are checked when it is made, before any work.
    """

    kind: ClassVar[Kind]
    """Name in records and of what models are for."""
    source: ClassVar[str]
    """The paper."""
    title: ClassVar[str]
    """Heading of its sections in a report."""
    unit: ClassVar[str]
    """What progress counts."""
    reconstructs: ClassVar[bool] = False
    """Whether models see tracers, and not matter."""
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Sections of a report, the first one above the scoreboard: heading -> what the names of its figures begin with."""

    paths: Sequence[Path]
    """Files that are evaluated."""
    tune_on: Sequence[Path] = ()
    """Files that baselines are tuned on."""
    settings: Mapping[str, Any]
    """For the record."""
    models: Sequence[str]
    """Names: networks first, then the baselines."""
    baselines: Sequence[str]
    seed: int | None = None

    @property
    def inputs(self) -> list[Path]:
        """Files whose checksums the record holds."""
        return [*self.paths, *self.tune_on]

    @property
    def memory(self) -> int:
        """What a prediction takes at most [bytes], where it is known."""
        return 0

    def tune(self, progress: Progress) -> None:
        """Tune the baselines on other boxes than those that are evaluated."""

    def prepare(self) -> None:
        """Take from the first file what all are measured with, as edges of histograms."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Predictions that will be made."""

    @abstractmethod
    def cases(self, path: Path) -> Iterator[C]:
        """Open the cases of a file one after another; only one is held."""

    @abstractmethod
    def truth(self, case: C) -> dict[tuple[str, str], Measured]:
        """Measure what needs no prediction, by sample and model: the truth, tracers, and what all share."""

    @abstractmethod
    def contestants(self, case: C) -> Mapping[str, Callable[[], Any]]:
        """Return who predicts the case."""

    @abstractmethod
    def measure(self, case: C, name: str, prediction: Any) -> Measured:
        """Measure a prediction against the case's truth."""

    def compare(self, measured: Mapping[str, Measured]) -> Mapping[str, Measured]:
        """Add scores that compare the models of one case with each other."""
        return measured

    def pool(
        self, arrays: Arrays, collected: Collected, model: str, sample: str, part: str
    ) -> dict[str, Score]:
        """Return scores of all boxes together, beside the means over cases."""
        return {}

    @abstractmethod
    def record(self, arrays: Arrays, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return what the record says beside what those of all tasks do."""

    @classmethod
    @abstractmethod
    def introduction(cls, evaluation: Evaluation) -> str:
        """Return what stands above the tables, in Markdown, with its heading."""

    @classmethod
    @abstractmethod
    def tables(cls, evaluation: Evaluation) -> list[Table]:
        """Return the score tables."""

    @classmethod
    @abstractmethod
    def plots(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw every figure."""

    @classmethod
    @abstractmethod
    def headlines(cls, evaluation: Evaluation) -> list[Headline]:
        """Return the key numbers of the first network, beside the baselines' and the paper's."""

    @classmethod
    @abstractmethod
    def subject(cls, evaluation: Evaluation) -> str:
        """Return a sentence that says what was evaluated."""

    @classmethod
    def compared(
        cls, evaluation: Evaluation, baseline: str, key: str, label: str, *, sample: str = ""
    ) -> Headline:
        """Return a score of the first model, with a baseline's beside it."""
        columns = evaluation.columns(sample=sample)
        model = next(iter(columns))
        own, other = (columns[name][key]["mean"] for name in (model, baseline))
        return Headline(f"{own:.3f}", f"{label}, {model} network", f"{baseline} {other:.3f}")

    @classmethod
    def shown(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw the figures that a report shows: all of them."""
        return cls.plots(evaluation)

    @classmethod
    def views(cls, evaluation: Evaluation, plots: Sequence[Plot]) -> list[Section]:
        """Return what a report shows first, before figures and tables."""
        return []


def open_boxes(
    paths: Sequence[Path | str],
    tune_on: Sequence[Path | str],
    *,
    tuned_alike: Callable[[SimulatedBox], object] | None = None,
    words: str = "the mesh, redshift and cosmology",
) -> tuple[list[SimulatedBox], list[SimulatedBox]]:
    """Open the boxes that are evaluated, and those that baselines are tuned on.

    Parameters
    ----------
    paths, tune_on : sequence of path
    tuned_alike : callable, optional
        What boxes to tune on must share with those that are evaluated; by default mesh, redshift and cosmology.
    words : str
        The same in words.

    Raises
    ------
    InputError
        If there are none, they differ in kind, one to tune on is also evaluated, or an array is damaged.
    """
    if not paths:
        raise InputError("paths must hold at least one simulated box, got none")

    def alike(box: SimulatedBox) -> object:
        return box.box, box.redshift, box.cosmology

    boxes, tuning = ([SimulatedBox.open(path) for path in several] for several in (paths, tune_on))
    for box in boxes:
        if alike(box) != alike(boxes[0]):
            raise InputError(
                f"boxes must be of one kind and cosmology, got {box.path} unlike {boxes[0].path}: evaluate them apart"
            )
    same = tuned_alike or alike
    for box in tuning:
        if same(box) != same(boxes[0]):
            raise InputError(f"tune_on must hold boxes of {words} of those evaluated, got {box.path}")
    if shared := {box.seed for box in tuning} & {box.seed for box in boxes}:
        raise InputError(f"tune_on must hold boxes that are not evaluated, got the seeds {sorted(shared)}")
    refuse_broken([*paths, *tune_on])
    return boxes, tuning


def evaluate(task: Task[C], *, progress: Progress = silent, crew: Crew | None = None) -> Evaluation:
    """Judge every contestant of a task on every case.

    Cases are opened one at a time: the memory is that of one case and one prediction, for each of those who work.
    """
    task.tune(progress)
    task.prepare()
    collected = Collected()
    files = {path.name: path for path in task.paths}
    with progress(task.unit, total=task.steps) as advance:
        judged = (crew or Alone()).each(
            partial(_judge, by=task), files, units=task.steps // len(files), advance=advance
        )
        for found in judged:
            for one, name, sample, box in found:
                collected.add(one, name, sample=sample, box=box)
    arrays = collected.arrays()
    results = list(_results(task, arrays, collected))
    record = {
        "schema": SCHEMA,
        "kind": task.kind,
        "boxes": [path.name for path in task.paths],
        "settings": dict(task.settings),
        "models": list(task.models),
        "baselines": list(task.baselines),
        "tuned_on": [path.name for path in task.tune_on],
        "results": results,
        **task.record(arrays, results),
    }
    return Evaluation(record, arrays)


def _judge(path: Path, advance: Advance, *, by: Task[Any]) -> list[tuple[Measured, str, str, str]]:
    """Return what is measured in the cases of one file, with the model, sample and box of each."""
    found = []
    for case in by.cases(path):
        found += [(one, name, sample, case.box) for (sample, name), one in by.truth(case).items()]
        measured = {}
        for name, predict in by.contestants(case).items():
            measured[name] = by.measure(case, name, predict())
            advance(1)
        found += [(one, name, case.sample, case.box) for name, one in by.compare(measured).items()]
    return found


def _results(task: Task[Any], arrays: Arrays, collected: Collected) -> Iterator[dict[str, Any]]:
    """Average the scores over cases: one entry for each sample, part and model."""
    for (sample, part, model), cases in collected.scores.items():
        # A score that a case does not have is that of others: a survey may see all of one cube.
        scores = {name: average([case[name] for case in cases]) for name in cases[0]}
        scores |= task.pool(arrays, collected, model, sample, part)
        where = {name: value for name, value in (("sample", sample), ("part", part)) if value}
        yield {**where, "model": model, "scores": scores}
