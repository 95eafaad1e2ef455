"""Classical reconstructors: linear theory, iterative FFT, Wiener filter, and their tuning."""

from peculiar.linear.iterative import IterativeFFT, move_back
from peculiar.linear.linear_theory import LinearTheory, fit_beta

__all__ = ["IterativeFFT", "LinearTheory", "fit_beta", "move_back"]
