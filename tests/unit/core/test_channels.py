import pytest

from peculiar.core.channels import Channels, require_vector, vector
from peculiar.core.errors import InputError

NAMES = Channels(("moved", "moved_mass", "abundance_0.001", "abundance_0.003", *vector("flow"), "flow_speed"))


def test_a_name_stands_for_its_channel_or_for_those_that_begin_with_it():
    assert NAMES.of("moved") == slice(0, 1)
    assert NAMES.of("abundance") == slice(2, 4)
    assert Channels(vector("flow")).of("flow") == slice(0, 3)
    assert NAMES.of("flow_y") == slice(5, 6)


def test_vectors_are_three_components_in_a_row():
    assert NAMES.vectors == ((4, 5, 6),)
    assert NAMES.scalars == [0, 1, 2, 3, 7]
    assert Channels(("a_x", "a_y", "b", "a_z")).vectors == ()


@pytest.mark.parametrize("name", ["other", "flow_w", ""])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=f"channel must be one of moved, .* got '{name}'"):
        NAMES.of(name)


def test_channels_of_one_name_must_be_neighbours():
    with pytest.raises(InputError, match="got 'a'"):
        Channels(("a_1", "b", "a_2")).of("a")


def test_a_vector_is_asked_for_by_name():
    require_vector(Channels(vector("flow")), "flow")
    for name in ("abundance", "moved"):
        with pytest.raises(InputError, match="must be a vector's"):
            require_vector(NAMES, name)


def test_numbers_by_name():
    assert NAMES.values({"abundance": 2.0, "moved": 3.0}, default=1.0) == [3, 1, 2, 2, 1, 1, 1, 1]
