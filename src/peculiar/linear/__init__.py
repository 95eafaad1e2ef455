"""Classical reconstructors: linear theory, iterative FFT, Wiener filters, and their tuning."""

from peculiar.linear.iterative import IterativeFFT, move_back
from peculiar.linear.linear_theory import LinearTheory, fit_beta
from peculiar.linear.multitracer import MultiTracerWiener
from peculiar.linear.tuning import Tuning, tune, velocity_error
from peculiar.linear.wiener import (
    WienerFilter,
    binned_overdensity,
    shipped_filter,
    wiener_density,
    wiener_displacement,
)
from peculiar.linear.wiener_training import Spectra, accumulate, fit_wiener, solve

__all__ = [
    "IterativeFFT",
    "LinearTheory",
    "MultiTracerWiener",
    "Spectra",
    "Tuning",
    "WienerFilter",
    "accumulate",
    "binned_overdensity",
    "fit_beta",
    "fit_wiener",
    "move_back",
    "shipped_filter",
    "solve",
    "tune",
    "velocity_error",
    "wiener_density",
    "wiener_displacement",
]
