"""Cases of runs: boxes and pairs of displacements, as they are continued, evaluated and trained on."""

from __future__ import annotations

from collections.abc import Iterator

from changes import ATTRIBUTE_VALUES, DATASET_EDITS, FILE_CHANGES, hdf5_attribute, hdf5_dataset
from material import TRAINING
from sandbox import Case, Expected
from shapes import file_case, file_cases, json_cases

GO_ON = "simulate run --seeds 1-3 --box 64 --particles 32 --cells 16 --steps 4 --resume"
EVALUATE = (
    "evaluate run --out out --boxes 1001 --model iterative --number-density 2e-4 --satellites 0 --no-figures"
)
TRAIN = TRAINING.replace("--out trained", "--out out")
DISPLACE = (
    "train displacement --run pairs --out out --profile smoke --set train.steps=2 --set data.validation=[501,600] "
    "--set data.train=[1,500] --set data.test=[9001,9002]"
)
CONSUMERS = {
    "simulate": (GO_ON, ("run", "run/*")),
    "evaluate": (EVALUATE, ("run",)),
    "train": (TRAIN, ("run/cache/*",)),
}


def run_cases() -> Iterator[Case]:
    """Runs of boxes: their record, their boxes, as they are continued, evaluated and trained on."""
    record = {
        "settings": "value",
        "settings.size": "number",
        "settings.particles": "number",
        "settings.steps": "value",
        "settings.steps.count": "number",
        "settings.volume_velocity": "value?",
        "cosmology": "value",
        "cosmology.Omega_m": "number?",
        "cosmology.sigma8": "number?",
        "provenance": "value?",
        "provenance.seed": "value?",
    }
    command, changes = CONSUMERS["simulate"]
    yield from json_cases("runs/record", command, ("run",), "run/run.json", record, changes=changes)
    yield from file_cases(
        "runs/record file", command, ("run",), "run/run.json", changes=changes, missing="either"
    )
    box = {"evaluate": "box-01001.h5", "train": "box-00001.h5"}
    for consumer, file in box.items():
        command, changes = CONSUMERS[consumer]
        path = f"run/{file}"
        common = {"changes": changes, "nan": consumer == "evaluate"}
        yield file_case(
            f"boxes/{consumer}/as it is", command, ("run",), path, lambda path: None, "right", **common
        )
        missing = "either" if consumer == "train" else "refused"  # another box serves
        yield from file_cases(f"boxes/{consumer}", command, ("run",), path, missing=missing, **common)
        for name in ("schema", "seed", "redshift", "box_size", "cells", "cosmology", "velocity_definition"):
            for value in ATTRIBUTE_VALUES:
                free = name == "velocity_definition" or (name == "seed" and value == "-7")
                expected: Expected = "either" if free else "refused"
                change = hdf5_attribute(name, value)
                yield file_case(
                    f"boxes/{consumer}/attribute {name} {value}",
                    command,
                    ("run",),
                    path,
                    change,
                    expected,
                    **common,
                )
        for name in ("density", "velocity", "linear_density", "halos/position", "halos/velocity", "halos/mass",
                     "halos/count", "members/displacement", "members/velocity", "members/host"):  # fmt: skip
            for edit in DATASET_EDITS:
                free = name in ("linear_density", "halos/count") or edit in ("huge", "negated")
                free |= name.startswith("members") or (name == "velocity" and edit == "negated")
                expected = "either" if free else "refused"
                change = hdf5_dataset(name, edit)
                yield file_case(
                    f"boxes/{consumer}/{name} {edit}", command, ("run",), path, change, expected, **common
                )
    for change in FILE_CHANGES:  # a box that is not whole is made again
        yield file_case(
            f"boxes/simulate/{change.name}",
            GO_ON,
            ("run",),
            "run/box-00001.h5",
            change.apply,
            "either",
            changes=("run/*", "run"),
        )


def pair_cases() -> Iterator[Case]:
    """Runs of pairs, as trained on."""
    needs, path = ("pairs",), "pairs/pair-00001.h5"
    record = {
        "cosmology": "value",
        "cosmology.Omega_m": "number",
        "settings": "value?",
        "provenance": "value?",
    }
    yield file_case("pairs/as it is", DISPLACE, needs, path, lambda path: None, "right")
    yield from json_cases("pairs/record", DISPLACE, needs, "pairs/run.json", record)
    yield from file_cases("pairs/file", DISPLACE, needs, path)
    for name in ("schema", "redshift", "box_size", "particles", "cosmology"):
        for value in ATTRIBUTE_VALUES:
            yield file_case(
                f"pairs/attribute {name} {value}",
                DISPLACE,
                needs,
                path,
                hdf5_attribute(name, value),
                "refused",
            )
    for name in ("displacement", "velocity", "zeldovich", "second_order"):
        for edit in DATASET_EDITS:
            free = edit in ("huge", "negated") or name == "second_order"
            change = hdf5_dataset(name, edit)
            yield file_case(
                f"pairs/{name} {edit}", DISPLACE, needs, path, change, "either" if free else "refused"
            )
