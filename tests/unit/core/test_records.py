import pytest
from pydantic import Field

from peculiar.core import Cosmology, InputError
from peculiar.core.records import Record, checked, read_json


class Thing(Record):
    size: float = Field(gt=0)
    cosmology: Cosmology = Cosmology()


def test_entries_become_a_model_and_others_are_kept():
    found = checked(Thing, {"size": 2, "cosmology": {"h": 0.7}, "colour": "red"}, where="it")
    assert (found.size, found.cosmology, found.model_dump()["colour"]) == (2.0, Cosmology(h=0.7), "red")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "size must be valid in it: Field required: mend it"),
        ({"size": "far"}, "size must be valid in it: .*, got 'far': mend it"),
        ({"size": float("inf")}, "size must be valid in it: .*finite.*, got inf"),
        ({"size": 1, "cosmology": {"Omega_m": -1}}, r"Cosmology.Omega_m must lie in \(0, 5\), got -1"),
        ({"size": 1, "cosmology": {"w": -1}}, "cosmology.w must be valid in it"),
        ({"size": "x" * 5000}, r"got 'x{99}\.\.\.: mend it"),
    ],
)
def test_wrong_entries_are_told_by_their_path(entries, words):
    with pytest.raises(InputError, match=words):
        checked(Thing, entries, where="it", remedy="mend it")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b"[1]"])
def test_files_that_are_no_tables_are_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"record must (be JSON|hold names and values), got .*: copy it"):
        read_json(tmp_path / "a.json", what="record", remedy="copy it")
