import numpy as np
import pytest

from peculiar.core import Cosmology, spectrum
from peculiar.core.spectrum import linear_spectrum, nonlinear_boost

COSMOLOGY = Cosmology(Omega_m=0.3, n_s=0.95, sigma8=1.0)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Count the calls of CAMB, with an empty cache."""
    monkeypatch.setenv("PECULIAR_CACHE_DIR", str(tmp_path))
    calls = []
    real = spectrum.camb_results

    def counted(cosmology, **settings):
        calls.append(cosmology)
        return real(cosmology, **settings)

    monkeypatch.setattr(spectrum, "camb_results", counted)
    yield calls
    linear_spectrum.cache_clear()


def fresh(cosmology=COSMOLOGY):
    linear_spectrum.cache_clear()
    return linear_spectrum(cosmology)


def test_a_spectrum_is_computed_once_and_kept_bit_by_bit(asked, tmp_path):
    first, second = fresh(), fresh()
    assert len(asked) == 1
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    fresh(Cosmology(Omega_m=0.3, n_s=0.96, sigma8=1.0))
    assert len(asked) == 2
    assert len(list((tmp_path / "peculiar").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_a_damaged_file_is_made_anew(asked, tmp_path, damage):
    first = fresh()
    (path,) = (tmp_path / "peculiar").iterdir()
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    np.testing.assert_array_equal(fresh()[1], first[1])
    assert len(asked) == 2
    assert fresh()[2] == first[2]
    assert len(asked) == 2


def test_a_place_that_cannot_be_written_is_no_error(asked, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PECULIAR_CACHE_DIR", str(tmp_path / "file"))
    assert fresh()[2] == fresh()[2]
    assert len(asked) == 2


def test_the_boost_of_a_redshift_is_computed_once_and_kept(asked, tmp_path):
    def boost(redshift):
        nonlinear_boost.cache_clear()
        return nonlinear_boost(COSMOLOGY, 2.1e-9, redshift)

    first, second = boost(0.0), boost(0.0)
    assert len(asked) == 1
    np.testing.assert_array_equal(first, second)
    later = boost(1.0)[1]
    assert len(list((tmp_path / "peculiar").iterdir())) == 2
    ln_k, now = first
    assert now[ln_k < np.log(0.01)] == pytest.approx(1, abs=2e-3)
    assert 1.2 < np.interp(np.log(0.3), ln_k, later) < np.interp(np.log(0.3), ln_k, now) < 1.9
    assert (now[ln_k > 0] > later[ln_k > 0]).all()
    nonlinear_boost.cache_clear()
