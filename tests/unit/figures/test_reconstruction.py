import numpy as np
import torch

from peculiar.core import Box, Field
from peculiar.figures.reconstruction import map_section, speed_headline, velocity_section

BOX = Box(80.0, 8, origin=(-40.0, -40.0, -40.0), periodic=False)
FLOW = torch.tensor([30.0, 40.0, 0.0]).reshape(3, 1, 1, 1).repeat(1, 8, 8, 8)
SEEN = np.arange(512).reshape(8, 8, 8) >= 256


def test_the_speed_is_that_of_observed_cells():
    data = FLOW.clone()
    data[:, :4] = 0.0
    velocity = Field(data, BOX, "xyz", "km/s", kind="vector")
    seen = speed_headline(velocity, coverage=SEEN)
    assert (seen.value, seen.context) == ("50 km/s", "scatter 0 km/s, where objects are")
    assert speed_headline(velocity, coverage=None).value == "25 km/s"


def test_maps_and_velocities_say_what_they_show():
    velocity = Field(FLOW + torch.linspace(-1, 1, 8), BOX, "xyz", "km/s", kind="vector")
    fields = {"velocity": velocity, "density": Field(torch.zeros(1, 8, 8, 8), BOX, ("density",))}
    objects = np.array([[5.0, 5.0, 5.0], [25.0, -5.0, 5.0]])
    inside = map_section(fields, coverage=SEEN, observer=(0.0, 0.0, 0.0), positions=objects)
    assert "through the observer (star)" in inside.body
    assert "blank: not observed" in inside.body
    assert "through the middle" in map_section(fields, coverage=None, observer=None, positions=None).body
    shown = velocity_section(velocity, coverage=SEEN, objects=np.array([1.0, 2.0]))
    assert shown.title == "Velocities"
