import errno
import os
from pathlib import Path

import pytest

from peculiar.core import InputError, OutputExistsError
from peculiar.core.output import atomic_output, check_output, require_space


def names(path):
    return sorted(item.name for item in path.iterdir())


def make(target, text="new", *, then=None, **options):
    """Write a directory as an output, and meet some trouble before it is whole."""
    with atomic_output(target, **options) as temporary:
        write_directory(temporary, text)
        if then:
            then()


def trouble(error):
    def raise_it():
        raise error

    return raise_it


def write_directory(path, text):
    path.mkdir()
    (path / "run.json").write_text(text)


def test_file_appears_at_the_end_only(tmp_path):
    target = tmp_path / "a.json"
    with atomic_output(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_a_failure(tmp_path, error):
    target = tmp_path / "new" / "deep" / "a.zarr"
    with pytest.raises(error):
        make(target, then=trouble(error()))
    assert names(tmp_path) == []


def test_old_output_survives_a_failure(tmp_path):
    target = tmp_path / "run"
    make(target, "old")
    with pytest.raises(ValueError, match="some trouble"):
        make(target, overwrite=True, then=trouble(ValueError("some trouble")))
    assert (target / "run.json").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_directories_and_files_are_replaced_when_asked(tmp_path):
    for kind in ("directory", "file", "directory", "directory"):
        with atomic_output(tmp_path / "out", overwrite=True) as temporary:
            if kind == "directory":
                write_directory(temporary, kind)
            else:
                temporary.write_text("x")
        assert (tmp_path / "out").is_dir() == (kind == "directory")
        assert names(tmp_path) == ["out"]


def test_old_directory_comes_back_if_the_new_one_cannot_enter(tmp_path, monkeypatch):
    target = tmp_path / "run"
    make(target, "old")
    rename = os.rename

    def fail(source, destination):
        if str(source).endswith("partial"):
            raise OSError(errno.EIO, "broken")
        rename(source, destination)

    monkeypatch.setattr("peculiar.core.output.os.rename", fail)
    with pytest.raises(OSError, match="broken"):
        make(target, overwrite=True)
    assert (target / "run.json").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_existing_output_is_refused_and_names_the_remedy(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputExistsError, match="force=True") as error, atomic_output(tmp_path / "a"):
        raise AssertionError("the block must not run")
    assert "give --force" in error.value.command
    assert (tmp_path / "a").read_text() == "old"


def test_output_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(OutputExistsError):
        make(tmp_path / "a", then=lambda: (tmp_path / "a").write_text("theirs"))
    assert (tmp_path / "a").read_text() == "theirs"
    assert names(tmp_path) == ["a"]


def test_directories_of_others_are_never_replaced(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("peculiar velocities")
    with pytest.raises(OutputExistsError, match="choose another name"):
        check_output(home, overwrite=True)
    assert names(home) == ["thesis.tex"]


def test_link_to_a_directory_keeps_being_one(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    make(disk / "run", "old")
    (tmp_path / "run").symlink_to(disk / "run")
    make(tmp_path / "run", "new", overwrite=True)
    assert (tmp_path / "run").is_symlink()
    assert (disk / "run" / "run.json").read_text() == "new"


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_output(tmp_path / "file" / "a.zarr")
    with pytest.raises(InputError, match="device"):
        check_output("/dev/null", overwrite=True)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a file system that takes no files, whoever asks")
def test_a_place_is_tried_before_the_work():
    with pytest.raises(InputError, match="must lie where you may write, got /proc/nowhere/a.json"):
        check_output("/proc/nowhere/a.json")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path, number, wrapped):
    def write():
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            if not wrapped:
                raise
            raise RuntimeError("writer failed") from error

    with pytest.raises(InputError, match=r"full disk at .*a\.zarr: free some space"):
        make(tmp_path / "a.zarr", then=write)
    assert names(tmp_path) == []


def test_full_disk_of_which_only_the_text_is_left(tmp_path):
    message = "Can't write data (file write failed: errno = 28, error message = 'No space left on device')"
    with pytest.raises(InputError, match="full disk"), atomic_output(tmp_path / "a.h5"):
        raise OSError(message)


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing was written"), atomic_output(tmp_path / "a"):
        pass


def test_space_is_known_before_the_work(tmp_path):
    require_space(tmp_path / "new" / "a", size=1)
    with pytest.raises(InputError, match="MB left on the disk of"):
        require_space(tmp_path / "new" / "a", size=10**18)
    assert names(tmp_path) == []


def test_errors_of_input_inside_the_block_keep_their_words(tmp_path):
    error = InputError("weight must be >= 0")
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError, match="weight must be"):
        make(tmp_path / "a", then=trouble(error))
