"""Statistics of fields and catalogues: how well a reconstruction agrees with the truth, and how fields cluster."""

from peculiar.statistics.modes import Modes, catalogue_modes, modes_of
from peculiar.statistics.multipoles import (
    CorrelationMultipoles,
    CorrelationPlane,
    PowerMultipoles,
    PowerWedges,
    correlation_multipoles,
    correlation_plane,
    power_multipoles,
    power_wedges,
)
from peculiar.statistics.pointwise import (
    Agreement,
    VectorAgreement,
    compare,
    compare_vectors,
    magnitude,
    residual_ratio,
)
from peculiar.statistics.power import (
    HelmholtzPower,
    PowerComparison,
    PowerSpectrum,
    compare_power,
    helmholtz_power,
    power,
)

__all__ = [
    "Agreement",
    "CorrelationMultipoles",
    "CorrelationPlane",
    "HelmholtzPower",
    "Modes",
    "PowerComparison",
    "PowerMultipoles",
    "PowerSpectrum",
    "PowerWedges",
    "VectorAgreement",
    "catalogue_modes",
    "compare",
    "compare_power",
    "compare_vectors",
    "correlation_multipoles",
    "correlation_plane",
    "helmholtz_power",
    "magnitude",
    "modes_of",
    "power",
    "power_multipoles",
    "power_wedges",
    "residual_ratio",
]
