import pytest

from peculiar.simulate.mass_function import MassFunction


@pytest.fixture
def form():
    """A mass function."""
    return MassFunction(
        amplitude=-1.4,
        slope=1.8,
        scale=-0.7,
        cutoff=1.2,
        matter=-0.06,
        lost=1.57,
        fading=0.28,
        tilt=-0.1,
        excess=1.9,
        spacing=0.9,
        fewest=12,
    )
