"""Tables with the columns that their authors give them."""

import warnings

import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import directions
from peculiar.catalogues.distance_tables import known_table
from peculiar.catalogues.distances import LOG_DISTANCE_COSMOLOGY, read_distances
from peculiar.catalogues.frames import convert_redshift, to_galactic
from peculiar.core import InputError
from peculiar.fields.sight import distance_modulus

C = 299792.458
N = 40
RNG = np.random.default_rng(2)
RA, DEC = RNG.uniform(0, 360, N), RNG.uniform(-60, 60, N)
SIGHT = directions(RA, DEC)
Z = RNG.uniform(0.01, 0.08, N)
Z_HELIOCENTRIC = convert_redshift(Z, SIGHT, source="cmb", target="heliocentric")
ETA, ETA_ERROR = 0.1 * RNG.standard_normal(N), RNG.uniform(0.05, 0.1, N)
DISTANCE = LOG_DISTANCE_COSMOLOGY.comoving_distance(Z) * 10**-ETA
MU, MU_ERROR = distance_modulus(DISTANCE, Z), 5 * ETA_ERROR


def cosmicflows():
    """Cosmicflows-4 as VizieR has it: J/ApJ/944/94/table2."""
    return Table(
        {
            "PGC": np.arange(N), "1PGC": np.arange(N), "T17": np.arange(N), "Vcmb": C * Z, "DM": MU,
            "e_DM": MU_ERROR, "DMsnIa": np.full(N, np.nan), "e_DMsnIa": np.full(N, np.nan),
            "RAJ2000": RA, "DEJ2000": DEC, "GLON": RA, "GLAT": DEC,
        }
    )  # fmt: skip


def groups():
    """Its table of groups, with galactic coordinates alone."""
    longitude, latitude = to_galactic(SIGHT)
    return Table(
        {"1PGC": np.arange(N), "DMzp": MU, "e_DMzp": MU_ERROR, "Dist": DISTANCE, "Vh": C * Z_HELIOCENTRIC,
         "V3k": C * Z, "Vpec": np.zeros(N), "GLON": longitude, "GLAT": latitude}
    )  # fmt: skip


def supernovae():
    """Pantheon+SH0ES.dat: zHD has the peculiar velocities taken out, and errors have their scatter in."""
    motion = 5 / np.log(10) * 250 / (C * Z)
    return Table(
        {
            "CID": np.arange(N), "zHD": Z + 0.001, "zCMB": Z, "zHEL": Z_HELIOCENTRIC,
            "m_b_corr": MU - 19.25, "m_b_corr_err_DIAG": MU_ERROR, "MU_SH0ES": MU,
            "MU_SH0ES_ERR_DIAG": np.hypot(MU_ERROR, motion), "RA": RA, "DEC": DEC, "HOST_RA": np.full(N, -999.0),
            "VPEC": np.zeros(N), "m_b_corr_err_VPEC": motion,
        }
    )  # fmt: skip


def desi():
    """DESI-DR1_TF_pv_cat: heliocentric redshifts, and rows that are not of the main sample."""
    table = Table(
        {"SGA_ID": np.arange(N), "RA": RA, "DEC": DEC, "Z_DESI": Z_HELIOCENTRIC, "ZERR_DESI": np.full(N, 1e-5),
         "MU_TF": MU - 0.77, "MU_TF_ERR": MU_ERROR, "LOGDIST": ETA, "LOGDIST_ERR": ETA_ERROR,
         "MAIN": np.ones(N, dtype=bool)}
    )  # fmt: skip
    return table


def sdss():
    """SDSS_PV_public.dat."""
    return Table(
        {"objid": np.arange(N), "RA": RA, "Dec": DEC, "l": RA, "b": DEC, "zhelio": Z_HELIOCENTRIC,
         "zcmb": Z + 1e-4, "zcmb_group": Z, "logdist": ETA + 0.01, "logdist_err": ETA_ERROR + 0.01,
         "logdist_corr": ETA, "logdist_corr_err": ETA_ERROR}
    )  # fmt: skip


@pytest.mark.parametrize("make", [cosmicflows, groups, supernovae, desi, sdss])
def test_known_tables_need_neither_names_nor_a_frame(make):
    found = read_distances(make())
    np.testing.assert_allclose(found.directions, SIGHT, atol=1e-7)
    np.testing.assert_allclose(found.redshift, Z, rtol=1e-9)
    np.testing.assert_allclose(found.modulus, MU, atol=1e-9)
    np.testing.assert_allclose(found.modulus_error, MU_ERROR, rtol=1e-9)


def test_a_file_of_pantheon_is_read(tmp_path):
    supernovae().write(tmp_path / "Pantheon+SH0ES.dat", format="ascii.basic")
    np.testing.assert_allclose(read_distances(tmp_path / "Pantheon+SH0ES.dat").modulus, MU, atol=1e-9)


def test_rows_that_are_not_of_the_main_sample_are_left_out():
    table = desi()
    table["MAIN"][:3] = False
    table["LOGDIST"][0] = np.nan
    with pytest.warns(UserWarning, match="3 of 40 rows are not MAIN"):
        found = read_distances(table)
    assert np.flatnonzero(~found.used).tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.modulus, MU[3:], atol=1e-9)
    table["MAIN"] = False
    with pytest.raises(InputError, match="MAIN must be true for some rows"):
        read_distances(table)


def test_what_is_given_stands_in_place_of_what_is_known():
    table = supernovae()
    heliocentric = read_distances(table, frame="heliocentric", columns={"z": "zHEL"})
    np.testing.assert_allclose(heliocentric.redshift, Z, rtol=1e-9)
    plain = read_distances(table, columns={"mu_error": "m_b_corr_err_DIAG"})
    np.testing.assert_allclose(plain.modulus, MU)
    np.testing.assert_allclose(plain.modulus_error, MU_ERROR)
    single = read_distances(sdss(), columns={"eta": "logdist", "eta_error": "logdist_err"})
    np.testing.assert_allclose(single.modulus, MU - 0.05, atol=1e-9)
    tully_fisher = read_distances(desi(), columns={"mu": "MU_TF", "mu_error": "MU_TF_ERR"})
    np.testing.assert_allclose(tully_fisher.modulus, MU - 0.77)
    own = Table({"ra": RA, "dec": DEC, "z": Z, "eta": ETA, "eta_error": ETA_ERROR})
    np.testing.assert_allclose(read_distances(own, frame="cmb").modulus, MU, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (supernovae, {"frame": "heliocentric"}, "frame must be cmb for column zCMB of Pantheon"),
        (
            supernovae,
            {"frame": "cmb", "columns": {"z": "zHD"}},
            "got column zHD, from which they were taken out",
        ),
        (supernovae, {"columns": {"z": "zHEL"}}, "frame must say in which rest frame"),
        (desi, {"columns": {"eta_error": "ETA"}}, "missing: ETA"),
        (cosmicflows, {"columns": {"motion_error": "e_DM"}}, "motion_error must be < mu_error"),
    ],
)
def test_contradictions_are_refused(make, options, message):
    with pytest.raises(InputError, match=message):
        read_distances(make(), **options)


def test_other_tables_are_of_no_known_kind():
    assert known_table(Table({"ra": RA, "dec": DEC, "z": Z, "mu": MU, "mu_error": MU_ERROR})) is None
    own = supernovae()
    own["mu"], own["mu_error"], own["z"] = MU + 1, MU_ERROR, Z
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_distances(own, frame="cmb").modulus, MU + 1)
