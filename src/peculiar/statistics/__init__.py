"""Statistics of fields and catalogues: how well a reconstruction agrees with the truth, and how fields cluster."""

from peculiar.statistics.bispectrum import Bispectrum, bispectrum_at_angles, bispectrum_in_bins
from peculiar.statistics.cosmic_web import CosmicWeb, WebConfusion, confusion, shear_web, tidal_web
from peculiar.statistics.distributions import (
    Distribution,
    JointDistribution,
    joint_distribution,
    one_point_distribution,
    two_point_distribution,
)
from peculiar.statistics.flows import BulkFlow, bulk_flow
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
    power_spectrum,
)
from peculiar.statistics.three_point import ThreePoint, three_point_multipoles, three_point_residual
from peculiar.statistics.uncertainty import (
    SampleErrors,
    errors_from_boxes,
    errors_from_sub_boxes,
    rescaled_errors,
    sub_boxes,
)

__all__ = [
    "Agreement",
    "Bispectrum",
    "BulkFlow",
    "CorrelationMultipoles",
    "CorrelationPlane",
    "CosmicWeb",
    "Distribution",
    "HelmholtzPower",
    "JointDistribution",
    "Modes",
    "PowerComparison",
    "PowerMultipoles",
    "PowerSpectrum",
    "PowerWedges",
    "SampleErrors",
    "ThreePoint",
    "VectorAgreement",
    "WebConfusion",
    "bispectrum_at_angles",
    "bispectrum_in_bins",
    "bulk_flow",
    "catalogue_modes",
    "compare",
    "compare_power",
    "compare_vectors",
    "confusion",
    "correlation_multipoles",
    "correlation_plane",
    "errors_from_boxes",
    "errors_from_sub_boxes",
    "helmholtz_power",
    "joint_distribution",
    "magnitude",
    "modes_of",
    "one_point_distribution",
    "power_multipoles",
    "power_spectrum",
    "power_wedges",
    "rescaled_errors",
    "residual_ratio",
    "shear_web",
    "sub_boxes",
    "three_point_multipoles",
    "three_point_residual",
    "tidal_web",
    "two_point_distribution",
]
