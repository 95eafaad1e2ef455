"""Statistics of fields and catalogues: how well a reconstruction agrees with the truth, and how fields cluster."""

from peculiar.statistics.pointwise import (
    Agreement,
    VectorAgreement,
    compare,
    compare_vectors,
    magnitude,
    residual_ratio,
)

__all__ = [
    "Agreement",
    "VectorAgreement",
    "compare",
    "compare_vectors",
    "magnitude",
    "residual_ratio",
]
