import importlib.util
import os
import subprocess
import sys

import numba
import pytest
from numba.core import caching

from peculiar.core import compiled

SOURCE = """
from peculiar.core.compiled import compiled

@compiled()
def twice(x):
    return 2 * x
"""


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Import a module with a kernel as a new process would; its cache lies in a directory of the test."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "kernel.py"
    path.write_text(SOURCE)

    def load():
        spec = importlib.util.spec_from_file_location("kernel", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice

    return load


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """No place for numba's cache can be written; the temporary directory is one of the test."""

    def refuse(locator):
        if "peculiar-" not in locator.get_cache_path():
            raise PermissionError("read-only")
        os.makedirs(locator.get_cache_path(), exist_ok=True)

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def _hits(function):
    return sum(function.stats.cache_hits.values())


def _files(place):
    return sorted(path for path in place.rglob("*.nb?"))


def test_a_second_process_finds_what_the_first_compiled(fresh, tmp_path):
    first, second = fresh(), fresh()
    assert first(3) == 6
    assert _hits(first) == 0
    assert second(4) == 8
    assert _hits(second) == 1
    assert len(_files(tmp_path)) == 2


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("size", [0, 7, 100])
def test_a_cut_file_is_made_anew(fresh, tmp_path, suffix, size):
    assert fresh()(3) == 6
    (cut,) = (path for path in _files(tmp_path) if path.suffix == suffix)
    whole = cut.stat().st_size
    os.truncate(cut, size)
    assert fresh()(3) == 6
    assert cut.stat().st_size == whole
    again = fresh()
    assert again(3) == 6
    assert _hits(again) == 1


def test_a_full_disk_costs_only_the_cache(fresh, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    assert fresh()(3) == 6


def test_a_read_only_place_has_its_cache_below_the_temporary_directory(fresh, read_only):
    first, second = fresh(), fresh()
    assert first(3) == 6
    assert second(3) == 6
    assert _hits(second) == 1
    (place,) = read_only.iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    assert len(_files(place)) == 2


@pytest.mark.parametrize("taken", ["writable by others", "a link", "a file"])
def test_code_is_not_loaded_from_a_place_of_others(fresh, read_only, taken):
    place = read_only / f"peculiar-{os.getuid()}"
    if taken == "a link":
        (read_only / "elsewhere").mkdir()
        place.symlink_to(read_only / "elsewhere")
    elif taken == "a file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    function = fresh()
    assert function(3) == 6
    assert _files(read_only) == []


def test_bad_settings_of_numba_are_told_in_words():
    done = subprocess.run(
        [sys.executable, "-c", "import peculiar.core.compiled"],
        env=os.environ | {"NUMBA_NUM_THREADS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NUMBA_NUM_THREADS must suit this machine, got '0'" in done.stderr.splitlines()[-1]
