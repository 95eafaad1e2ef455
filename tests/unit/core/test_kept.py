"""What is kept of an object."""

import gc
import weakref

from peculiar.core.kept import kept


class Thing:
    pass


def counted():
    calls = []

    @kept
    def measure(thing, *, of):
        calls.append((thing is not None, of))
        return of, len(calls)

    return measure, calls


def test_an_object_is_measured_once_for_what_is_asked_of_it():
    measure, calls = counted()
    one, other = Thing(), Thing()
    assert measure(one, of=1) == measure(one, of=1) == (1, 1)
    assert measure(one, of=2) == (2, 2)
    assert measure(other, of=1) == (1, 3)
    assert len(calls) == 3


def test_nothing_outlives_its_object():
    measure, _ = counted()
    thing = Thing()
    measure(thing, of=1)
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None
