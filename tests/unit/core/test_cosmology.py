import json
from dataclasses import asdict

import numpy as np
import pytest
from astropy import cosmology as known
from astropy.units import eV

from peculiar.core import PRESETS, Cosmology, InputError
from peculiar.core.cosmology import BACKGROUND_TOLERANCE, TYPICAL_BARYONS
from peculiar.core.spectrum import camb_results

REDSHIFTS = np.array([1e-3, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0])
BARYONS = {"Ob0": 0.05}
DARK = Cosmology(w0=-0.8, wa=-0.6, T_cmb=2.7255)
NEUTRINOS = Cosmology(m_nu=0.3, N_massive=3, T_cmb=2.7255)


@pytest.mark.parametrize(
    "given",
    [
        known.FlatLambdaCDM(70, 0.3, **BARYONS),
        known.WMAP9,  # radiation
        known.FlatwCDM(70, 0.3, w0=-1.2, **BARYONS),
        known.Flatw0waCDM(70, 0.3, w0=-0.8, wa=-0.6, **BARYONS),
        known.wpwaCDM(70, 0.3, 0.7, wp=-0.9, wa=0.2, zp=0.5, **BARYONS),
        known.Planck18,  # one neutrino of 0.06 eV
        known.Flatw0waCDM(70, 0.3, w0=-0.9, wa=0.1, Tcmb0=2.7, m_nu=[0.1] * 3 * eV, **BARYONS),
    ],
    ids=["LCDM", "WMAP9", "wCDM", "w0wa", "wpwa", "Planck18", "all"],
)
def test_distances_and_expansion_are_those_of_astropy(given):
    carried = Cosmology.from_astropy(given)
    distance = carried.comoving_distance(REDSHIFTS)
    np.testing.assert_allclose(distance, given.comoving_distance(REDSHIFTS).value * carried.h, rtol=1e-6)
    np.testing.assert_allclose(carried.efunc(REDSHIFTS), given.efunc(REDSHIFTS), rtol=1e-7)
    np.testing.assert_allclose(carried.redshift_at(distance), REDSHIFTS, rtol=1e-9)
    np.testing.assert_allclose(carried.background.efunc(REDSHIFTS), given.efunc(REDSHIFTS), rtol=1e-7)


@pytest.mark.parametrize(
    "cosmology", [PRESETS["wang2024"], DARK, NEUTRINOS], ids=["LCDM", "w0wa", "neutrinos"]
)
def test_growth_is_that_of_camb(cosmology):
    redshifts = np.array([3.0, 1.0, 0.5, 0.1, 0.0])
    results = camb_results(cosmology, redshifts=redshifts, k_max=2.0)
    sigma8 = results.get_sigma8()
    # Without radiation in H(z) growth differs by up to 5e-4 at z = 3.
    tolerance = 1e-3 if cosmology.T_cmb == 0 else 1.5e-4
    growth, rate = ([of(z) for z in redshifts] for of in (cosmology.growth, cosmology.growth_rate))
    np.testing.assert_allclose(growth, sigma8 / sigma8[-1], rtol=tolerance)
    np.testing.assert_allclose(rate, results.get_fsigma8() / sigma8, rtol=tolerance)


def test_second_order_growth_is_near_that_of_matter_alone():
    for cosmology in (Cosmology(), DARK):
        ratio = cosmology.growth_second(0.5) / cosmology.growth(0.5) ** 2
        assert ratio == pytest.approx(-3 / 7, rel=0.02)
        assert cosmology.growth_rate_second(0.5) == pytest.approx(2 * cosmology.growth_rate(0.5), rel=0.02)
    with pytest.raises(InputError, match="m_nu must be 0 eV for second-order growth, got 0.3"):
        NEUTRINOS.growth_second(0.5)


def test_the_linear_power_has_the_amplitude_that_was_asked_for():
    k = np.geomspace(1e-4, 40, 4000)
    window = 3 * (np.sin(8 * k) - 8 * k * np.cos(8 * k)) / (8 * k) ** 3
    variance = np.trapezoid(DARK.linear_power(k) * window**2 * k**3, np.log(k)) / (2 * np.pi**2)
    assert np.sqrt(variance) == pytest.approx(DARK.sigma8, rel=2e-3)
    assert DARK.with_amplitude(DARK.A_s).sigma8 == pytest.approx(DARK.sigma8, rel=1e-6)


def test_values_travel_through_json_and_old_files_open():
    for cosmology in (*PRESETS.values(), DARK, NEUTRINOS):
        again = Cosmology(**json.loads(json.dumps(asdict(cosmology))))
        assert again == cosmology
        assert hash(again) == hash(cosmology)
    five = {"Omega_m": 0.3, "Omega_b": 0.05, "h": 0.7, "n_s": 0.96, "sigma8": 0.8}
    assert Cosmology(**five).comoving_distance(0.5) == pytest.approx(1322.0, rel=1e-3)


def test_a_cosmology_without_baryons_gets_typical_ones_and_says_so():
    with pytest.warns(UserWarning, match=r"no baryons \(Ob0 = 0.0\): Omega_b = 0.04571 is taken"):
        cosmology = Cosmology.from_astropy(known.FlatLambdaCDM(70, 0.3))
    assert cosmology.Omega_b == pytest.approx(TYPICAL_BARYONS / 0.49)


@pytest.mark.parametrize(
    "given",
    [
        known.LambdaCDM(70, 0.3, 0.72, **BARYONS),
        known.w0wzCDM(70, 0.3, 0.7, w0=-0.9, wz=0.1, **BARYONS),
    ],
    ids=["curved", "wz"],
)
def test_what_cannot_be_carried_is_refused(given):
    with pytest.raises(InputError, match=r"must be flat, with dark energy of w = w0 \+ wa .* off by"):
        Cosmology.from_astropy(given)


def test_neutrinos_of_different_masses_share_their_sum():
    given = known.FlatLambdaCDM(70, 0.3, Tcmb0=2.7, m_nu=[0.0, 0.01, 0.05] * eV, **BARYONS)
    carried = Cosmology.from_astropy(given)
    assert (carried.m_nu, carried.N_massive) == (0.06, 2)
    far = carried.comoving_distance(REDSHIFTS) / (given.comoving_distance(REDSHIFTS).value * 0.7) - 1
    assert np.abs(far).max() < BACKGROUND_TOLERANCE


def test_only_cosmologies_of_astropy_are_taken():
    with pytest.raises(InputError, match="one of astropy.cosmology, got str"):
        Cosmology.from_astropy("Planck18")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Omega_m": 0.0}, r"Omega_m must lie in \(0, 5\), got 0.0"),
        ({"Omega_m": 1.1}, "Omega_b < Omega_m <= 1"),
        ({"h": float("nan")}, "h must lie in"),
        ({"Omega_b": 0.0}, "Omega_b must be >= 0.002, or there is no linear power, got 0.0: 0.044 is usual"),
        ({"Omega_b": 0.3}, "Omega_b < Omega_m"),
        ({"w0": 0.1}, r"w0 must lie in \(-3, 0\)"),
        ({"w0": -0.5, "wa": 0.5}, r"w0 \+ wa below 0"),
        ({"wa": float("nan")}, "wa in"),
        ({"m_nu": -0.1}, r"m_nu must lie in \[0, 10\)"),
        ({"m_nu": 0.06}, "T_cmb must be > 0 K .* give T_cmb=2.7255"),
        ({"m_nu": 0.06, "T_cmb": 2.7, "N_eff": 0.5}, "N_eff >= N_massive"),
        ({"N_massive": 4}, "N_massive must be 1, 2 or 3 species, got 4"),
        ({"T_cmb": float("inf")}, "T_cmb must lie in"),
    ],
)
def test_bad(changes, reason):
    with pytest.raises(InputError, match=reason):
        Cosmology(**changes)


@pytest.mark.parametrize(
    ("cosmology", "redshift"), [(Cosmology(), 901.0), (NEUTRINOS, -0.1), (NEUTRINOS, 31.0)]
)
def test_growth_has_a_range(cosmology, redshift):
    with pytest.raises(InputError, match=r"redshift must lie in \[.*\] for growth"):
        cosmology.growth(redshift)


def test_distances_have_a_range():
    for redshift in (-0.1, 21.0, np.array([0.5, np.nan])):
        with pytest.raises(InputError, match=r"redshift must lie in \[0, 20.0\]"):
            Cosmology().comoving_distance(redshift)
    assert Cosmology().redshift_at([-5.0, 1e9]).tolist() == [0.0, 20.0]
