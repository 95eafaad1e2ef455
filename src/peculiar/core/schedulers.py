"""Whether a dask scheduler is at an address, asked of a socket: dask's client waits long, or for ever."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

FIND = 4.0  # s, in which one that was just started begins to listen
ANSWER = 10.0  # s to a greeting: one that is busy is late
_PAUSE = 0.2  # s
_OTHERS = ("inproc", "ucx", "ws", "wss")  # protocols of dask's that are left to it
_LENGTH = 8  # bytes, in which the length of dask's greeting stands
_LONGEST = 1 << 20  # bytes of a greeting: it has some 200


def find_scheduler(address: str) -> None:
    """Find out whether a scheduler listens and greets as dask's do, who speak first.

    Parameters
    ----------
    address : str
        As ``tcp://host:8786``; of ``tls://`` only whether someone listens, and nothing of other protocols.

    Raises
    ------
    ValueError
        If it is no address with a port.
    OSError
        If nobody listens, or something else does.
    """
    scheme, _, place = address.rpartition("://")
    if scheme in _OTHERS:
        return
    if scheme not in ("", "tcp", "tls"):
        raise ValueError(f"{scheme} is no protocol of dask's")
    parts = urlsplit(f"//{place}")
    if not parts.hostname or parts.port is None:
        raise ValueError("no host with a port")
    with _connection(parts.hostname, parts.port) as connection:
        if scheme != "tls" and not 0 < _greeting(connection) < _LONGEST:
            raise OSError("another server listens there")


def _connection(host: str, port: int) -> socket.socket:
    last = time.monotonic() + FIND
    while True:
        try:
            return socket.create_connection((host, port), timeout=max(last - time.monotonic(), _PAUSE))
        except OSError:
            if time.monotonic() + _PAUSE > last:
                raise
            time.sleep(_PAUSE)


def _greeting(connection: socket.socket) -> int:
    """Return the length of the greeting that it states, 0 where the connection ends before."""
    connection.settimeout(ANSWER)
    try:
        head = connection.recv(_LENGTH, socket.MSG_WAITALL)
    except TimeoutError:
        raise OSError(f"what listens there does not greet as one within {ANSWER:g} s") from None
    return int.from_bytes(head, "little") if len(head) == _LENGTH else 0
