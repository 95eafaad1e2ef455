import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues.weights import factors_of, weigh_objects, weigh_randoms
from peculiar.core import InputError

ROWS = 400


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def desi(rng):
    """Columns as in the clustering catalogues of DESI."""
    comp, sys = rng.choice([1.0, 1.5, 2.0], ROWS), rng.uniform(0.9, 1.1, ROWS)
    zfail = rng.uniform(0.98, 1.05, ROWS)
    nx = rng.uniform(1e-4, 5e-4, ROWS)
    return Table(
        {
            "TARGETID": np.arange(ROWS, dtype=np.int64),
            "RA": rng.uniform(100, 140, ROWS),
            "DEC": rng.uniform(0, 30, ROWS),
            "Z": rng.uniform(0.4, 0.6, ROWS),
            "NTILE": rng.integers(1, 7, ROWS),
            "PHOTSYS": np.full(ROWS, "N"),
            "FRAC_TLOBS_TILES": rng.uniform(0.8, 1, ROWS),
            "WEIGHT_ZFAIL": zfail,
            "WEIGHT": comp * sys * zfail,
            "WEIGHT_SYS": sys,
            "WEIGHT_COMP": comp,
            "NX": nx,
            "WEIGHT_FKP": 1 / (1 + nx * 10000),
        }
    )


@pytest.fixture
def boss(rng):
    """Columns as in the large-scale-structure catalogues of BOSS DR12."""
    nz = rng.uniform(1e-4, 5e-4, ROWS)
    return Table(
        {
            "RA": rng.uniform(100, 140, ROWS),
            "DEC": rng.uniform(0, 30, ROWS),
            "Z": rng.uniform(0.4, 0.6, ROWS),
            "NZ": nz,
            "WEIGHT_FKP": 1 / (1 + nz * 20000),
            "WEIGHT_CP": rng.choice([1.0, 2.0], ROWS, p=[0.9, 0.1]),
            "WEIGHT_NOZ": rng.choice([1.0, 2.0], ROWS, p=[0.9, 0.1]),
            "WEIGHT_STAR": np.ones(ROWS),
            "WEIGHT_SEEING": np.ones(ROWS),
            "WEIGHT_SYSTOT": rng.uniform(0.9, 1.1, ROWS),
            "FRACPSF": rng.uniform(size=(ROWS, 5)),
        }
    )


def test_desi_counts_by_weight_and_says_that_fkp_is_not_used(desi):
    found = weigh_objects(desi)
    np.testing.assert_allclose(found.values, desi["WEIGHT"])
    assert str(found) == "weights are WEIGHT; WEIGHT_FKP not used (--weight)"


@pytest.mark.parametrize("named", [["weight", "WEIGHT_FKP"], "WEIGHT * WEIGHT_FKP", "WEIGHT_FKP*weight"])
def test_columns_multiply_by_name_and_fkp_counts_no_objects(desi, named):
    found = weigh_objects(desi, factors_of(named))
    product = np.asarray(desi["WEIGHT"] * desi["WEIGHT_FKP"])
    np.testing.assert_allclose(found.values / found.values.sum(), product / product.sum())
    np.testing.assert_allclose(found.values.sum(), desi["WEIGHT"].sum())
    assert found.unused == ()
    np.testing.assert_allclose(weigh_randoms(desi, None, found, given=True), product)


def test_boss_counts_close_pairs_and_failed_redshifts_together(boss):
    found = weigh_objects(boss)
    np.testing.assert_allclose(
        found.values, boss["WEIGHT_SYSTOT"] * (boss["WEIGHT_NOZ"] + boss["WEIGHT_CP"] - 1)
    )
    assert (
        str(found)
        == "weights are WEIGHT_SYSTOT * (WEIGHT_CP + WEIGHT_NOZ - 1); WEIGHT_FKP not used (--weight)"
    )
    randoms = boss["RA", "DEC", "Z", "NZ", "WEIGHT_FKP"]
    assert weigh_randoms(randoms, None, found, given=False) is None
    fkp = weigh_randoms(randoms, ("WEIGHT_FKP",), found, given=False)
    np.testing.assert_allclose(fkp, boss["WEIGHT_FKP"])


def test_rates_of_eboss_multiply_in_randoms_too(boss, rng):
    boss["WEIGHT_CP"], boss["WEIGHT_NOZ"] = rng.uniform(1, 1.3, ROWS), rng.uniform(1, 1.1, ROWS)
    found = weigh_objects(boss)
    product = boss["WEIGHT_SYSTOT"] * boss["WEIGHT_CP"] * boss["WEIGHT_NOZ"]
    np.testing.assert_allclose(found.values, product)
    np.testing.assert_allclose(weigh_randoms(boss, None, found, given=False), product)


def test_no_weights_on_request(desi):
    found = weigh_objects(desi, ())
    assert found.values is None
    assert weigh_randoms(desi, None, found, given=True) is None


@pytest.mark.parametrize(
    "text", ["", "WEIGHT **2", "exp(WEIGHT)", "a.b", "'x'", "WEIGHT,", "import os", "1 if a else b"]
)
def test_what_is_no_product_of_columns_is_refused(text):
    with pytest.raises(InputError, match=r"weights must be columns joined by \+ - \* / and brackets, got"):
        factors_of(text)


def test_wrong_names_and_values_are_refused(desi):
    with pytest.raises(
        InputError, match="got WEIGHT_FPK with columns WEIGHT_ZFAIL, WEIGHT, .*: correct weights"
    ):
        weigh_objects(desi, ("WEIGHT", "WEIGHT_FPK"))
    with pytest.raises(InputError, match="got WEIGHT_SYS.*; weights of the randoms alone are random_weights"):
        weigh_randoms(desi["RA", "DEC", "Z"], None, weigh_objects(desi, ("WEIGHT_SYS",)), given=True)
    with pytest.raises(InputError, match=r"weight must be >= 0, got -.* of \(WEIGHT - 3\) at row"):
        weigh_objects(desi, ("WEIGHT - 3",))
