import numpy as np
import pytest
from pydantic import ValidationError

from peculiar.core import PRESETS
from peculiar.inference.card_values import ErrorFactor
from peculiar.inference.model_card import find_model, read_card
from peculiar.inference.reconstructor import DENSE, LEAST_BIAS, error_factor, sample_numbers
from peculiar.linear.clustering import expected_bias, measure_clustering
from peculiar.linear.multitracer import MultiTracerWiener

COSMOLOGY = PRESETS["xiao2024"]
ENDS = {"least": {"noise": 0.0, "companions": 0.0}, "most": {"noise": 1.0, "companions": 0.5}}
FACTOR = ErrorFactor(constant=0.1, slopes={"noise": -0.4, "companions": 0.2}, **ENDS)


def test_a_factor_is_linear_in_what_tells_of_a_sample_and_ends_with_what_was_measured():
    assert FACTOR.of({"noise": 0.5, "companions": 0.25}) == pytest.approx(np.exp(0.1 - 0.2 + 0.05))
    assert FACTOR.of({"noise": 3.0, "companions": -1.0}) == FACTOR.of({"noise": 1.0, "companions": 0.0})


def test_numbers_without_a_range_are_refused():
    with pytest.raises(ValidationError, match="must have the same names"):
        ErrorFactor(constant=0.0, slopes={"noise": 1.0}, least={}, most={"noise": 1.0})


def test_objects_that_share_halos_are_told_from_those_that_do_not(halos):
    alone = halos(count=2000)
    places = alone.positions.copy()
    places[1000:] = places[:1000] + np.random.default_rng(4).normal(0, 0.1, (1000, 3))
    shared = alone.replace(positions=alone.box.wrap(places))
    before, after = (sample_numbers(one, cosmology=COSMOLOGY) for one in (alone, shared))
    assert after["companions"] > before["companions"] + 0.5
    assert after["noise"] > before["noise"] + 0.2


def test_the_default_network_knows_its_factor(halos):
    card = read_card(find_model("general"))
    known = sample_numbers(halos(), cosmology=COSMOLOGY)
    assert set(card.error_factor.slopes) == set(known)
    assert error_factor(card, halos(), cosmology=COSMOLOGY) == card.error_factor.of(known)
    bare = card.model_copy(update={"error_factor": None})
    assert error_factor(bare, halos(), cosmology=COSMOLOGY) == 1


def test_what_the_inputs_measured_is_not_measured_again(halos, monkeypatch):
    catalogue, card = halos(count=2000), read_card(find_model("general"))
    MultiTracerWiener().moved(catalogue, cells=16, cosmology=COSMOLOGY)

    def fail(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr("peculiar.linear.clustering._power", fail)
    monkeypatch.setattr("peculiar.linear.halo_model.close_pairs", fail)
    assert error_factor(card, catalogue, cosmology=COSMOLOGY) > 0
    with pytest.raises(AssertionError):
        error_factor(card, catalogue.replace(redshift=0.5), cosmology=COSMOLOGY)


def test_samples_whose_masses_rank_them_have_numbers_of_their_own(halos):
    catalogue = halos(count=2000)
    known = sample_numbers(catalogue, cosmology=COSMOLOGY)
    own = {name: known[name] for name in ("noise", "companions", "bias", "dense")}
    bias = measure_clustering(catalogue, cosmology=COSMOLOGY).bias
    usual = expected_bias(catalogue.number_density, cosmology=COSMOLOGY, redshift=catalogue.redshift)
    assert own["bias"] == pytest.approx(max(np.log(bias / usual), LEAST_BIAS))
    assert any(own.values())
    growth = np.log(COSMOLOGY.sigma8 * COSMOLOGY.growth(catalogue.redshift))

    def with_growth(numbers):
        return pytest.approx(numbers | {f"growth_{name}": growth * value for name, value in numbers.items()})

    ranked = {f"ranked_{name}": value for name, value in own.items()}
    assert known == with_growth(own | {"ranked": 1.0} | ranked)
    bare = sample_numbers(catalogue.replace(masses=None), cosmology=COSMOLOGY)
    assert bare == with_growth(own | {"ranked": 0.0} | dict.fromkeys(ranked, 0.0))


@pytest.mark.parametrize(("over", "told"), [(0.3, 0.0), (1.0, 0.0), (4.0, np.log(4.0))])
def test_densities_tell_of_a_sample_beyond_one(halos, over, told):
    size = (2000 / (over * DENSE)) ** (1 / 3)
    catalogue = halos(count=2000, size=size)
    assert sample_numbers(catalogue, cosmology=COSMOLOGY)["dense"] == pytest.approx(told, abs=1e-9)


def test_a_factor_of_fewer_numbers_holds_for_samples_of_more(halos):
    """Cards of before know nothing of the density."""
    card = read_card(find_model("general"))
    factor = ErrorFactor(constant=0.2, slopes={"noise": 0.0}, least={"noise": 0.0}, most={"noise": 1.0})
    older = card.model_copy(update={"error_factor": factor})
    assert error_factor(older, halos(), cosmology=COSMOLOGY) == pytest.approx(np.exp(0.2))
