"""Tables of distances as they are published, known by the names of their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peculiar.catalogues.frames import RedshiftFrame

if TYPE_CHECKING:
    from astropy.table import Table

Names = Mapping[str, tuple[str, ...]]
_SKY: Names = {
    "ra": ("RAJ2000", "RAdeg", "RA"),
    "dec": ("DEJ2000", "DEdeg", "DE", "DEC"),
}
_GALACTIC: Names = {"l": ("GLON",), "b": ("GLAT",)}


@dataclass(frozen=True)
class DistanceTable:
    """A kind of table.

    Attributes
    ----------
    name : str
    frame : "heliocentric" or "cmb"
        Of its redshifts.
    columns : mapping
        The package's names, of redshift and distance, to those that the table may have, the best first.
    optional : mapping
        Likewise, of columns that it may lack.
    """

    name: str
    frame: RedshiftFrame
    columns: Names
    optional: Names


@dataclass(frozen=True)
class Known:
    """A table of a known kind, and the package's names to its own."""

    kind: DistanceTable
    columns: Mapping[str, str]


TABLES = (
    DistanceTable(
        "Cosmicflows-4 groups",
        "cmb",
        {"cz": ("V3k", "Vcmb"), "mu": ("DMzp", "DM_zp"), "mu_error": ("e_DMzp", "eDMzp", "eDM_zp")},
        {},
    ),
    DistanceTable(
        "Cosmicflows-4", "cmb", {"cz": ("Vcmb", "V3k"), "mu": ("DM", "DMav"), "mu_error": ("e_DM", "eDM")}, {}
    ),
    DistanceTable(
        "Pantheon+",
        "cmb",
        {"z": ("zCMB",), "mu": ("MU_SH0ES",), "mu_error": ("MU_SH0ES_ERR_DIAG",)},
        {"motion_error": ("m_b_corr_err_VPEC",)},
    ),
    DistanceTable(
        "DESI Tully-Fisher",
        "heliocentric",
        {"z": ("Z_DESI",), "eta": ("LOGDIST",), "eta_error": ("LOGDIST_ERR",)},
        {"used": ("MAIN",)},
    ),
    DistanceTable(
        "log-distance ratios (SDSS, DESI, 6dFGS)",
        "cmb",
        {
            "z": ("zcmb_group", "z_dist_est", "zcmb", "Z_DESI_CMB"),
            "eta": ("logdist_corr", "logdist"),
            "eta_error": ("logdist_corr_err", "logdist_err"),
        },
        {},
    ),
)
"""Cosmicflows-4 (Tully et al. 2023: VizieR J/ApJ/944/94, and the Extragalactic Distance Database), Pantheon+ (Scolnic
et al. 2022), SDSS (Howlett et al. 2022) and DESI (Douglass et al. 2025). The first kind that fits is taken."""


def known_table(table: Table) -> Known | None:
    """Return what kind of `TABLES` a table is of, or None."""
    own = {name.lower(): name for name in reversed(table.colnames)}

    def found(names: Names) -> dict[str, str]:
        return {
            ours: next(own[theirs.lower()] for theirs in some if theirs.lower() in own)
            for ours, some in names.items()
            if any(theirs.lower() in own for theirs in some)
        }

    for kind in TABLES:
        columns = found(kind.columns)
        sky = next((some for some in (found(_SKY), found(_GALACTIC)) if len(some) == 2), None)
        if len(columns) == len(kind.columns) and sky is not None:
            return Known(kind, {**sky, **columns, **found(kind.optional)})
    return None
