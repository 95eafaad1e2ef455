"""Functions compiled by numba and kept on disk, wherever the package is installed.

Compiled code lies where numba puts it (`NUMBA_CACHE_DIR`, beside the source, the user's cache), or in a directory of
the user's own below the temporary one where none of these can be written; where there is not even that, it is compiled
for one run. A file that cannot be read is made anew.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from peculiar.core.errors import InputError

try:
    import numba
except ValueError as error:  # of its settings in the environment
    raise InputError(
        f"NUMBA_NUM_THREADS must suit this machine, got {os.environ.get('NUMBA_NUM_THREADS')!r} ({error}): leave it out"
    ) from error
from numba.core.caching import FunctionCache, _CacheLocator, _SourceFileBackedLocatorMixin


class _TemporaryLocator(_SourceFileBackedLocatorMixin, _CacheLocator):
    def __init__(self, function: Callable, source: str) -> None:
        self._py_file = source
        self._lineno = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(_own_directory() / self.get_suitable_cache_subpath(self._py_file))


class _Cache(FunctionCache):
    """Numba's cache of a function, with one more place, and without errors: what it cannot keep is compiled again."""

    _impl_class = type(
        "_Place",
        (FunctionCache._impl_class,),
        {"_locator_classes": [*FunctionCache._impl_class._locator_classes, _TemporaryLocator]},
    )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a file that is cut can raise anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """Compile a function with `numba.njit`, without the GIL and with a cache on disk.

    The function stands at the top of its module: one inside another function would be compiled anew by every process.
    The cache does not see changes of what it calls in other modules.
    """

    def compile_later(function: Callable) -> Any:
        dispatcher = numba.njit(nogil=True, **options)(function)
        with suppress(OSError, RuntimeError):  # no place for a cache
            dispatcher._cache = _Cache(function)
        return dispatcher

    return compile_later


def _own_directory() -> Path:
    """Return a directory that nobody else can write to: what is loaded from it is run.

    Raises
    ------
    OSError
        If there is none.
    """
    place = Path(tempfile.gettempdir()) / f"peculiar-{os.getuid()}"
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{place} is not a directory of this user alone")
    return place
