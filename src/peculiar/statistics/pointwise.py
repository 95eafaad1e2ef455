"""Cell-by-cell agreement of a prediction with the truth: correlation, slope, errors, directions.

Every function takes the prediction first and the truth second, and an optional mask of the cells that count (a survey's
volume, or the inside of a crop); values elsewhere may be NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.statistics.checks import require_mask, require_pair, require_vector

Mask = Bool[torch.Tensor, "x y z"] | None


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of each channel over cells; arrays have one value per channel.

    Attributes
    ----------
    names : tuple of str
        The channels.
    unit : str
        Unit of the means, standard deviations and errors.
    correlation : (channel,)
        C_r, the Pearson correlation (Eq. 10 of Xiao et al. 2024).
    slope : (channel,)
        Least-squares slope of the prediction on the truth.
    inverse_slope : (channel,)
        Least-squares slope of the truth on the prediction; 1 where the prediction is the conditional mean.
    rms_error : (channel,)
        Root of the mean squared difference, mean offset included.
    residual_fraction : (channel,)
        Variance of prediction - truth over the variance of the truth.
    bias : (channel,)
        Mean of prediction - truth.
    mean, std, true_mean, true_std : (channel,)
        Of the prediction and of the truth.
    """

    names: tuple[str, ...]
    unit: str
    correlation: Float[np.ndarray, " channel"]
    slope: Float[np.ndarray, " channel"]
    inverse_slope: Float[np.ndarray, " channel"]
    rms_error: Float[np.ndarray, " channel"]
    residual_fraction: Float[np.ndarray, " channel"]
    bias: Float[np.ndarray, " channel"]
    mean: Float[np.ndarray, " channel"]
    std: Float[np.ndarray, " channel"]
    true_mean: Float[np.ndarray, " channel"]
    true_std: Float[np.ndarray, " channel"]


@dataclass(frozen=True)
class VectorAgreement:
    """Agreement of a vector field in magnitude and direction over cells.

    Attributes
    ----------
    unit : str
        Unit of the magnitudes and errors.
    magnitude_mean, magnitude_std, true_magnitude_mean, true_magnitude_std : float
        Of |v| over cells, of the prediction and of the truth.
    magnitude_correlation : float
        C_r of |v|.
    angle_mean, angle_std : float
        Of 1 - cos phi, phi the angle between prediction and truth (as in Eq. 6 of Xiao et al. 2024).
    cosine : float
        Mean cos phi.
    coherence : float
        Mean of v_p . v_t / |v_t|^2 (Gamma of Wang et al. 2024).
    within : float
        Fraction of cells with |v_p - v_t| below `threshold`.
    threshold : float
        The residual that `within` counts below.
    rms_error : float
        Rms error of a component: root of the mean of |v_p - v_t|^2 / 3.
    residual_fraction : float
        Summed variance of the components' residuals over the summed variance of the true components.
    """

    unit: str
    magnitude_mean: float
    magnitude_std: float
    true_magnitude_mean: float
    true_magnitude_std: float
    magnitude_correlation: float
    angle_mean: float
    angle_std: float
    cosine: float
    coherence: float
    within: float
    threshold: float
    rms_error: float
    residual_fraction: float


def compare(predicted: Field, truth: Field, *, mask: Mask = None) -> Agreement:
    """Compare two fields channel by channel.

    Parameters
    ----------
    predicted, truth : Field
        On one box, with the same channels.
    mask : (x, y, z) bool, optional
        Cells that count.

    Returns
    -------
    Agreement

    Raises
    ------
    InputError
        If boxes, channels or the mask disagree, a value is not finite, or a field is constant.
    """
    require_pair(predicted, truth, mask=mask)
    p, t = _cells(predicted, mask), _cells(truth, mask)
    mean, true_mean = _mean(p), _mean(t)
    p, t = p - mean[:, None].to(p.dtype), t - true_mean[:, None].to(t.dtype)
    variance, true_variance, covariance = _mean(p * p), _mean(t * t), _mean(p * t)
    for name, values, names in (
        ("predicted", variance, predicted.names),
        ("truth", true_variance, truth.names),
    ):
        if bool((values <= 0).any()):
            constant = [names[i] for i in torch.nonzero(values <= 0).flatten().tolist()]
            raise InputError(f"{name} must vary over the cells, got a constant {', '.join(constant)}")
    residual = _mean((p - t) ** 2)
    bias = mean - true_mean
    return Agreement(
        names=tuple(truth.names),
        unit=truth.unit,
        correlation=_numpy(covariance / (variance * true_variance).sqrt()),
        slope=_numpy(covariance / true_variance),
        inverse_slope=_numpy(covariance / variance),
        rms_error=_numpy((residual + bias**2).sqrt()),
        residual_fraction=_numpy(residual / true_variance),
        bias=_numpy(bias),
        mean=_numpy(mean),
        std=_numpy(variance.sqrt()),
        true_mean=_numpy(true_mean),
        true_std=_numpy(true_variance.sqrt()),
    )


def compare_vectors(
    predicted: Field, truth: Field, *, threshold: float = 200.0, mask: Mask = None
) -> VectorAgreement:
    """Compare two vector fields in magnitude and direction.

    Cells where either vector is zero have no direction and do not count in the angles; where the true one is zero they
    do not count in the coherence.

    Parameters
    ----------
    predicted, truth : Field
        Vectors on one box, in one unit.
    threshold : float
        Residual |v_p - v_t| to count below, in the fields' unit.
    mask : (x, y, z) bool, optional
        Cells that count.

    Raises
    ------
    InputError
        If a field is no vector, boxes or the mask disagree, a value is not finite, or a field is zero everywhere.
    """
    require_vector(predicted, "predicted")
    require_vector(truth, "truth")
    require_pair(predicted, truth, mask=mask)
    if not threshold > 0:
        raise InputError(f"threshold must be > 0 {truth.unit}, got {threshold}")
    p, t = _cells(predicted, mask), _cells(truth, mask)
    size, true_size = torch.linalg.vector_norm(p, dim=0), torch.linalg.vector_norm(t, dim=0)
    dot = (p * t).sum(dim=0)
    directed, known = (size > 0) & (true_size > 0), true_size > 0
    if not bool(directed.any()):
        raise InputError("predicted and truth must be non-zero somewhere in common, got no such cell")
    cosine = (dot[directed] / (size[directed] * true_size[directed])).clamp(-1, 1)
    difference = torch.linalg.vector_norm(p - t, dim=0)
    true_variance = _variance(t).sum()
    if not float(true_variance) > 0:
        raise InputError("truth must vary over the cells, got a constant vector")
    sizes = torch.stack([size, true_size])
    magnitude_mean = _mean(sizes)
    centred = sizes - magnitude_mean[:, None].to(sizes.dtype)
    magnitude_std = _mean(centred**2).sqrt()
    spread = float(magnitude_std.prod())
    return VectorAgreement(
        unit=truth.unit,
        magnitude_mean=float(magnitude_mean[0]),
        magnitude_std=float(magnitude_std[0]),
        true_magnitude_mean=float(magnitude_mean[1]),
        true_magnitude_std=float(magnitude_std[1]),
        magnitude_correlation=float(_mean(centred[0] * centred[1])) / spread if spread > 0 else float("nan"),
        angle_mean=float(1 - _mean(cosine)),
        angle_std=float(_variance(cosine[None]).sqrt()),
        cosine=float(_mean(cosine)),
        coherence=float(_mean(dot[known] / true_size[known] ** 2)),
        within=float((difference < threshold).double().mean()),
        threshold=float(threshold),
        rms_error=float((_mean(difference**2) / 3).sqrt()),
        residual_fraction=float(_variance(p - t).sum() / true_variance),
    )


def residual_ratio(predicted: Field, reference: Field, truth: Field, *, mask: Mask = None) -> float:
    """Residual variance of a prediction over that of a reference reconstruction, channels summed.

    Below 1 where the prediction is the better one; e.g. a network against the iterative FFT reconstruction.

    Raises
    ------
    InputError
        If boxes, channels or the mask disagree, a value is not finite, or the reference equals the truth.
    """
    require_pair(predicted, truth, mask=mask)
    require_pair(reference, truth, mask=mask)
    variances = []
    for field in (predicted, reference):
        variances.append(float(_variance(_cells(field, mask) - _cells(truth, mask)).sum()))
    if not variances[1] > 0:
        raise InputError("reference must differ from the truth, got a residual variance of 0")
    return variances[0] / variances[1]


def magnitude(field: Field) -> Field:
    """Length of a vector field, one scalar channel in the field's unit."""
    require_vector(field, "field")
    data = torch.linalg.vector_norm(field.data, dim=0, keepdim=True)
    return field.replace(data=data, names=("magnitude",), kind="scalar")


def _cells(field: Field, mask: Mask) -> torch.Tensor:
    """Values as (channel, cell), only the mask's cells."""
    chosen = require_mask(mask, field)
    data = field.data if field.data.dtype == torch.float64 else field.data.float()
    return data.flatten(1) if chosen is None else data[:, chosen]


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Mean over the last axis, summed in double precision."""
    return values.mean(dim=-1, dtype=torch.float64).to(torch.float64)


def _variance(values: torch.Tensor) -> torch.Tensor:
    return _mean((values - _mean(values)[:, None].to(values.dtype)) ** 2)


def _numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
