"""What --force replaces, and what killed runs leave."""

import json
import signal
import subprocess
import sys

import pytest

from peculiar.core import InputError, OutputExistsError, own_files
from peculiar.core.output import atomic_output, check_output
from peculiar.core.own_files import MARKER, foreign_file

OURS = {"package": "peculiar", "version": "0.1.0"}
WRITING = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
spec = spec_from_file_location("own_files", sys.argv[1])
own_files = sys.modules["own_files"] = module_from_spec(spec)
spec.loader.exec_module(own_files)
with own_files.temporaries(Path(sys.argv[2])) as names:
    names.partial.mkdir()
    (names.partial / "half").write_text("")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def names(path):
    return sorted(item.name for item in path.iterdir())


def make(target, text="new", **options):
    with atomic_output(target, **options) as temporary:
        (temporary / "figures").mkdir(parents=True)
        (temporary / "scores.json").write_text(text)
        (temporary / "figures" / "a.png").write_text(text)


def write(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_directory_lists_what_was_written(tmp_path):
    make(tmp_path / "out")
    listed = json.loads((tmp_path / "out" / MARKER).read_text())
    assert listed == {"package": "peculiar", "files": ["figures/a.png", "scores.json"]}
    make(tmp_path / "out", "again", overwrite=True)
    assert (tmp_path / "out" / "scores.json").read_text() == "again"


@pytest.mark.parametrize("name", ["notes.txt", "figures/mine.png", "scores.json~"])
def test_files_that_were_added_are_never_lost(tmp_path, name):
    make(tmp_path / "out")
    write(tmp_path / "out", {name: "mine"})
    with pytest.raises(OutputExistsError, match=rf"other contents \({name}\): choose another name"):
        make(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / name).read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_links_that_were_added_are_never_lost(tmp_path):
    (tmp_path / "data").mkdir()
    make(tmp_path / "out")
    (tmp_path / "out" / "data").symlink_to(tmp_path / "data")
    assert foreign_file(tmp_path / "out") == "data"


@pytest.mark.parametrize(
    "files",
    [
        {"run.json": {"observables": "peculiar velocities"}, "chapter.json": {}},
        {".zattrs": {"title": "peculiar"}, "0.0": ""},
        {"run.json": {"settings": {}, "cosmology": {}, "provenance": OURS}, "box-00001.h5": ""},
        {"run.json": {"recipe": {}, "boxes": {}, "provenance": OURS}, "last.ckpt": ""},
        {"provenance.json": OURS, "thesis.tex": "peculiar"},
        {MARKER: {"package": "peculiar"}, "scores.json": {}},
        {MARKER: "[", "scores.json": {}},
    ],
)
def test_a_word_makes_no_directory_ours(tmp_path, files):
    """Nor are runs of simulations and trainings, which took days, replaced by anything else."""
    write(tmp_path / "out", files)
    with pytest.raises(OutputExistsError, match="other contents"):
        check_output(tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    "files",
    [
        {"provenance.json": OURS, "scores.json": {}, "figures/fig01.png": ""},
        {".zattrs": {"package": "peculiar"}, ".zgroup": {}, "density/.zarray": {}, "density/0.0.0": ""},
        {"zarr.json": {"attributes": {"package": "peculiar"}}, "c/0/1": ""},
        {"run.json": {"mocks": {}, "provenance": OURS}, "mock-00001.fits": "", "mask.fits.gz": ""},
        {},
    ],
)
def test_outputs_of_the_first_version_are_replaced(tmp_path, files):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", files)
    make(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "scores.json").read_text() == "new"


@pytest.mark.parametrize("out", ["in", "in/deep", ".", "link", "in/../in"])
def test_inputs_their_parents_and_children_are_no_outputs(tmp_path, out):
    make(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="must not hold an input, be one or lie in one"):
        check_output(tmp_path / out, overwrite=True, inputs={"run": tmp_path / "in"})
    read = {"run": [tmp_path / "in"], "--tune-run": None, "--model": "residual"}
    assert check_output(tmp_path / "other", inputs=read).name == "other"


def test_a_second_name_of_an_input_is_no_output(tmp_path):
    (tmp_path / "a.fits").write_text("")
    (tmp_path / "b.fits").hardlink_to(tmp_path / "a.fits")
    with pytest.raises(InputError, match="must not hold an input"):
        check_output(tmp_path / "b.fits", overwrite=True, inputs={"mask": tmp_path / "a.fits"})


def test_a_refusal_names_output_and_input(tmp_path):
    make(tmp_path / "in")
    out = tmp_path / "in" / "deep"
    with pytest.raises(
        InputError, match=f"got at_objects={out} with tune_run={tmp_path / 'in'}: choose"
    ) as caught:
        check_output(out, inputs={"--tune-run": tmp_path / "in"}, option="--at-objects")
    assert f"got --at-objects {out} with --tune-run {tmp_path / 'in'}: choose" in caught.value.command
    with pytest.raises(InputError) as caught:
        check_output(out, inputs={"run": tmp_path / "in"})
    assert f"got --out {out} with RUN {tmp_path / 'in'}: choose" in caught.value.command


def start(target):
    """Start a process that writes an output, until it is told to end."""
    command = [sys.executable, "-c", WRITING, own_files.__file__, target]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_next_run_clears_what_a_killed_one_left_and_nothing_of_a_living_one(tmp_path):
    with start(tmp_path / "a.zarr") as killed, start(tmp_path / "a.zarr") as living:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert len(names(tmp_path)) == 4
        make(tmp_path / "a.zarr")
        assert len(names(tmp_path)) == 3
        living.communicate("\n")
        assert living.returncode == 0
    assert names(tmp_path) == ["a.zarr"]


def test_what_a_thread_wrote_after_its_run_removed_its_files_is_cleared(tmp_path):
    late = tmp_path / ".a.0123abcd.partial.zarr"
    late.mkdir()
    (late / ".zgroup").write_text("{}")
    make(tmp_path / "a.zarr")
    assert names(tmp_path) == ["a.zarr"]


def test_an_output_that_stepped_aside_comes_back(tmp_path):
    make(tmp_path / "old", "old")
    with start(tmp_path / "b") as killed:
        killed.kill()
    (lock,) = tmp_path.glob("*.lock")
    (tmp_path / "old").rename(lock.with_suffix(".replaced"))
    check_output(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b" / "scores.json").read_text() == "old"
    assert names(tmp_path) == ["b"]
