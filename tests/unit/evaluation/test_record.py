"""What is measured is added up case after case, kept by box, and read again as it was."""

import json

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.evaluation.record import SCHEMA, TRUTH, Arrays, Collected, Evaluation, Measured, Part


def measured(value: float) -> Measured:
    array = np.full(3, value)
    return Measured(
        {"error": value},
        parts={"centre": {"error": 2 * value}},
        rows={"power": array},
        sums={"counts": array},
        once={"slab": array},
        shared={"k": np.arange(3)},
    )


@pytest.fixture
def collected():
    found = Collected()
    for box, value in (("a", 1.0), ("a", 2.0), ("b", 4.0)):  # two cases of the first box
        found.add(measured(value), "model", sample="half", box=box)
    return found


def test_rows_are_of_boxes_sums_of_all_and_pictures_of_the_first(collected):
    part = Part(collected.arrays(), "model", "half")
    np.testing.assert_array_equal(part.of("power")[:, 0], [3.0, 4.0])
    np.testing.assert_array_equal(part.of("counts"), np.full(3, 7.0))
    np.testing.assert_array_equal(part.of("slab"), np.ones(3))
    np.testing.assert_array_equal(part.arrays.of("k"), np.arange(3))


def test_scores_are_of_cases_and_parts(collected):
    assert [case["error"] for case in collected.scores["half", "", "model"]] == [1.0, 2.0, 4.0]
    assert [case["error"] for case in collected.scores["half", "centre", "model"]] == [2.0, 4.0, 8.0]


def test_arrays_are_found_by_sample_model_and_name():
    arrays = Arrays({"half/model/power/density": np.ones(2), "truth/power/density": np.zeros(2)})
    assert set(arrays.below("power", "model", sample="half")) == {"density"}
    assert arrays.has("power/density", TRUTH)
    assert not arrays.has("power/density", "model")
    with pytest.raises(KeyError):
        arrays.of("power/velocity", TRUTH)


def results(**labels):
    score = {"mean": 1.0, "error": float("nan"), "boxes": []}
    return [{**labels, "model": name, "scores": {"error": score}} for name in ("baseline", "network")]


def write(directory, entries, **changes) -> None:
    record = {
        "schema": SCHEMA,
        "kind": "flow",
        "settings": {},
        "models": ["network", "baseline"],
        "baselines": ["baseline"],
        "results": entries,
        "provenance": {"package": "peculiar", "version": "0", "revision": ""},
        **changes,
    }
    Evaluation(record, Arrays({"k": np.arange(3)})).save(directory)


def test_an_evaluation_is_read_as_it_was_written_without_nan(tmp_path):
    write(tmp_path / "out", results())
    again = Evaluation.open(tmp_path / "out")
    assert list(again.columns()) == ["network", "baseline"]
    assert again.columns()["network"]["error"]["error"] is None
    assert again.networks == ["network"]
    np.testing.assert_array_equal(again.arrays.of("k"), np.arange(3))


def test_evaluations_that_named_samples_by_their_satellites_are_read(tmp_path):
    tracers = {
        "kind": "tracers",
        "boxes": ["box-00001.h5"],
        "box": {"size": 100.0, "cells": 16, "redshift": 0.0},
        "slab_axis": "y",
        "settings": {"satellite_fraction": [0.25], "number_density": 1e-3, "line_of_sight": "z"},
    }
    write(tmp_path / "out", results(satellite_fraction=0.25), **tracers)
    evaluation = Evaluation.open(tmp_path / "out")
    assert set(evaluation.columns(sample="0.25")) == {"network", "baseline"}
    assert evaluation.kind == "reconstruct"


def test_kinds_of_before_are_read_by_the_names_of_the_command_line(tmp_path):
    write(tmp_path / "out", results(), kind="displacement")
    assert Evaluation.open(tmp_path / "out").kind == "displace"
    write(tmp_path / "other", results(), kind="nonsense")
    with pytest.raises(InputError, match="kind"):
        Evaluation.open(tmp_path / "other")


def test_other_schemas_are_refused(tmp_path):
    write(tmp_path / "out", results(), schema=99)
    with pytest.raises(InputError, match="must have schema 1, got 99"):
        Evaluation.open(tmp_path / "out")
    path = tmp_path / "out" / "scores.json"
    path.write_text(json.dumps({}))
    with pytest.raises(InputError, match="schema"):
        Evaluation.open(tmp_path / "out")


def drop_a_score(record):
    del record["results"][0]["scores"]["error"]


def improve_a_score(record):
    record["results"][0]["scores"]["error"]["mean"] = 0.5


def drop_what_a_task_adds(record):
    del record["best"]


@pytest.mark.parametrize("edit", [drop_a_score, improve_a_score, drop_what_a_task_adds])
def test_a_record_that_was_changed_is_refused(tmp_path, edit):
    write(tmp_path / "out", results(), best=[0.1, 1 / 3, 1e-7, 3e300])
    assert Evaluation.open(tmp_path / "out").record["best"] == [0.1, 1 / 3, 1e-7, 3e300]
    path = tmp_path / "out" / "scores.json"
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))
    with pytest.raises(
        InputError, match=r"must hold the record it was written with, got another .*scores.json"
    ):
        Evaluation.open(tmp_path / "out")
