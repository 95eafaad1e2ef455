"""HDF5 is whole or an error, however late the disk tells."""

import gc
import resource
import signal
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.core.hdf5 import add_array, is_whole, new_hdf5
from peculiar.core.output import atomic_output

ARRAYS = {f"group/a{n}": np.random.default_rng(n).random(3000 + 4000 * (n == 3)) for n in range(8)}


def write(path):
    with new_hdf5(path) as file:
        file.attrs["schema"] = 1
        for name, data in ARRAYS.items():
            add_array(file, name, data, unit="km/s")


@contextmanager
def disk_of(size):
    """A file system that takes no more than some bytes for a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_arrays_come_back_with_their_checksums(tmp_path):
    write(tmp_path / "a.h5")
    assert is_whole(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        for name, data in ARRAYS.items():
            assert np.array_equal(file[name][()], data)
            assert file[name].attrs["unit"] == "km/s"


def test_a_full_disk_is_told_wherever_it_fills(tmp_path, capfd):
    """The library's own complaints, and its crashes, stay away."""
    write(tmp_path / "whole.h5")
    size = (tmp_path / "whole.h5").stat().st_size
    for limit in [1, 700, *range(2048, size, size // 12), size - 1]:
        with (
            disk_of(limit),
            pytest.raises(InputError, match="full disk"),
            atomic_output(tmp_path / "a.h5") as temporary,
        ):
            write(temporary)
        assert [path.name for path in tmp_path.iterdir()] == ["whole.h5"]
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_disk_that_loses_what_it_took_is_told(tmp_path, monkeypatch):
    """Delayed writes that never came to the disk read as zeros."""
    from peculiar.core import hdf5

    honest = hdf5._Disk.write

    def loses(self, data):
        return honest(self, bytes(len(data)) if len(data) > 20_000 else data)

    monkeypatch.setattr(hdf5._Disk, "write", loses)
    with pytest.raises(InputError, match="read back as it was written"):
        write(tmp_path / "a.h5")


def test_damage_is_seen(tmp_path):
    write(tmp_path / "a.h5")
    content = bytearray((tmp_path / "a.h5").read_bytes())
    place = content.find(ARRAYS["group/a3"].tobytes()[:64])
    content[place + 100] ^= 1
    (tmp_path / "a.h5").write_bytes(content)
    assert not is_whole(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes(content[:3000])
    assert not is_whole(tmp_path / "a.h5")
