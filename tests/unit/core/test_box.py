import numpy as np
import pytest

from peculiar.core import Box, InputError


def test_three_sides():
