"""A scheduler is found, also one that begins late; what else listens is told soon."""

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from peculiar.core.schedulers import find_scheduler


def serving(answer):
    """Listen, and answer all who come."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with ExitStack() as connections, suppress(OSError):
            while True:
                connection, _ = server.accept()
                connections.enter_context(connection).sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return server, f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_scheduler_is_found(scheduler):
    find_scheduler(scheduler)
    find_scheduler(scheduler.removeprefix("tcp://"))
    find_scheduler("inproc://somewhere")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2p1\r\n"])
def test_another_server_is_no_scheduler(answer, monkeypatch):
    monkeypatch.setattr("peculiar.core.schedulers.ANSWER", 0.3)
    server, address = serving(answer)
    with server, pytest.raises(OSError, match="listens there"):
        find_scheduler(address)


def test_a_scheduler_that_begins_meanwhile_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begun = []

    def begin():
        time.sleep(0.5)
        begun.append(socket.create_server(("127.0.0.1", port)))
        connection, _ = begun[0].accept()
        connection.sendall((200).to_bytes(8, "little"))
        connection.close()

    thread = threading.Thread(target=begin)
    thread.start()
    find_scheduler(f"tcp://127.0.0.1:{port}")
    thread.join()
    begun[0].close()


def test_nobody_is_told_in_time(monkeypatch):
    monkeypatch.setattr("peculiar.core.schedulers.FIND", 0.5)
    start = time.monotonic()
    with pytest.raises(OSError, match="refused"):
        find_scheduler("tcp://127.0.0.1:9")
    assert time.monotonic() - start < 5
