"""Signals that stop a command: what is half written is removed on the way out, and nothing is said but that it ends."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from types import FrameType
from typing import Any

_SOON = 0.02  # s


def listen() -> None:
    """Let SIGINT and SIGTERM stop the process in order; a second one ends it at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    # Nothing is said of what is cut short: half-made event loops, tasks that nobody awaits.
    sys.unraisablehook = _stop_again
    threading.excepthook = _ignore
    warnings.simplefilter("ignore")
    logging.disable()
    # An exception, so that outputs are removed.
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def signal_behind(error: BaseException | None) -> BaseException | None:
    """Return the exception of the signal that an error came of, as of a lock that was not taken yet, or an exit."""
    found = None
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            found = error
        error = error.__context__
    return found


def _ignore(_: object) -> None: ...


def _stop_again(ignored: Any) -> None:
    """Raise a signal's exception again that was lost: it came up in a callback of numba or of the garbage collector.

    What else comes up there, in destructors and at exit, is of things that the signal cut short.
    """
    error = ignored.exc_value
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        return

    def again(_number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is _stop_again.__code__:  # here it would be lost once more
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        raise type(error)(*error.args)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _SOON)
