import pytest

from peculiar.core import PRESETS, InputError
from peculiar.core.cosmologies import parse_cosmology


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xiao2024", {"Omega_m": 0.268, "h": 0.71}),
        ("Omega_m=0.3,h=0.7", {"Omega_m": 0.3, "h": 0.7, "n_s": 0.968}),
        ("wu2021, sigma8=0.9", {"Omega_m": 0.31, "sigma8": 0.9}),
        ("Planck18", {"Omega_m": 0.30966, "h": 0.6766, "m_nu": 0.06, "T_cmb": 2.7255}),
        ("Planck18,m_nu=0,w0=-0.9,wa=-0.2", {"m_nu": 0, "w0": -0.9, "wa": -0.2, "T_cmb": 2.7255}),
    ],
)
def test_parse(text, expected):
    cosmology = parse_cosmology(text)
    assert {key: getattr(cosmology, key) for key in expected} == pytest.approx(expected, rel=1e-4)


def test_base():
    assert parse_cosmology("h=0.6", base=PRESETS["wu2021"]).Omega_m == 0.31


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("planck", "one of xiao2024"),
        ("Omega=0.3", "keys among"),
        ("h=fast", "must be a number"),
        ("h=0.7,xiao2024", "NAME,KEY=VALUE"),
        ("Omega_m=7", "must lie in"),
        ("Omega_b=0", "Omega_b must be >= 0.002"),
        ("w0=nan", "w0 must lie in"),
        ("m_nu=0.06", "give T_cmb=2.7255"),
        ("N_massive=1.5", "1, 2 or 3 species"),
        ("", "must be one of"),
    ],
)
def test_bad(text, reason):
    with pytest.raises(InputError, match=reason):
        parse_cosmology(text)
