import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError, InputWarning, OutOfRangeWarning
from peculiar.fields.objects import ERROR
from peculiar.inference.card_values import ErrorFactor
from peculiar.inference.draws import draws
from peculiar.inference.object_draws import standard_normal
from peculiar.inference.reconstruction import Reconstruction
from peculiar.inference.reconstructor import bias_error
from peculiar.linear.light_cone import bias_uncertainty

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(160.0, 32)


@pytest.fixture
def halos():
    rng = np.random.default_rng(1)
    return Catalogue(rng.uniform(0, 160, (300, 3)), box=BOX, redshift=0.5)


@pytest.fixture
def made(halos, residuals):
    """Fields at rest of mean density, whose velocity is less known on one side."""
    error = torch.full((1, *BOX.shape), 100.0)
    error[:, 16:] = 200.0
    fields = {
        "density": Field(torch.zeros(1, *BOX.shape), BOX, names=("density",)),
        "velocity": Field(torch.zeros(3, *BOX.shape), BOX, names=("x", "y", "z"), unit="km/s", kind="vector"),
        ERROR: Field(error, BOX, names=(ERROR,), unit="km/s"),
    }
    return Reconstruction.of(halos, fields, cosmology=COSMOLOGY, model="still", residuals=residuals())


def test_draws_scatter_by_the_error_of_each_cell(made):
    some = np.array([one["velocity"].data.numpy() for one in draws(made, 6)])
    assert some[:, :, 1:15].std() == pytest.approx(100, rel=0.07)
    assert some[:, :, 17:31].std() == pytest.approx(200, rel=0.07)
    assert {"density", "velocity"} == set(draws(made, 1)[0])


def test_draws_scatter_more_where_objects_were_chosen_so_that_more_is_left(made, residuals):
    ranks = {"ranked": 0.0}
    factor = ErrorFactor(constant=0.0, slopes={"ranked": np.log(2.0)}, least=ranks, most={"ranked": 1.0})
    alike = replace(made, catalogue=replace(made.catalogue, space="real"))
    told = replace(alike, residuals=residuals(factors={"error": factor}))
    places = np.random.default_rng(1).uniform(0, 160, (2000, 3))
    masses = np.geomspace(1e12, 1e14, 2000)
    weighed = Catalogue(places, box=BOX, redshift=0.5, masses=masses, space="real")
    plain, bare, ranked = (
        draws(one, 1)[0]["velocity"].data for one in (alike, told, replace(told, catalogue=weighed))
    )
    assert torch.equal(bare, plain)
    torch.testing.assert_close(ranked, 2 * plain)


def test_a_draw_depends_on_the_seed_and_its_number_alone(made):
    few, many, other = draws(made, 2, seed=3), draws(made, 5, seed=3), draws(made, 2, seed=4)
    for name in ("density", "velocity"):
        assert torch.equal(few[1][name].data, many[1][name].data)
        assert torch.equal(few[1][name].data, few[-1][name].data)
        assert not torch.equal(few[0][name].data, few[1][name].data)
        assert not torch.equal(few[0][name].data, other[0][name].data)
    assert len(many[1:4]) == 3


def test_waves_along_the_sight_line_are_drawn_smaller(made):
    dense = Catalogue(np.random.default_rng(1).uniform(0, 160, (30_000, 3)), box=BOX, redshift=0.5)
    of_space = {}
    for space in ("redshift", "real"):
        some = draws(replace(made, catalogue=replace(dense, space=space)), 12)
        velocity = np.array([one["velocity"].data.numpy() for one in some])
        of_space[space] = velocity.std(axis=(0, 2, 3, 4))
    x, y, z = of_space["redshift"]
    assert z < 0.93 * (x + y) / 2
    x, y, z = of_space["real"]
    assert z == pytest.approx((x + y) / 2, rel=0.06)


def test_matter_falls_towards_where_a_draw_is_denser(made):
    from peculiar.fields.calculus import divergence

    draw = draws(made, 1)[0]
    inflow, density = -divergence(draw["velocity"]).data.ravel(), (1 + draw["density"].data).log().ravel()
    assert float(torch.corrcoef(torch.stack([inflow, density]))[0, 1]) > 0.15  # of noise on small scales too
    assert draw["density"].data.min() > -1
    assert float(draw["density"].data.mean()) == pytest.approx(0, abs=1e-5)


def test_objects_have_the_covariance_of_their_draws(made):
    some = draws(made, 40)
    places = np.array([[40.0, 80.0, 80.0], [40.0, 80.0, 81.0], [120.0, 80.0, 80.0], [40.0, 10.0, 10.0]])
    at = some.at_objects(places)
    assert at.v_los.shape == at.delta.shape == (40, 4)
    assert at.velocities.shape == (40, 4, 3)
    found = some.covariance(places)
    np.testing.assert_allclose(found, found.T)
    field = np.cov(at.v_los_field.T)
    np.testing.assert_allclose(found, field + np.diag(at.v_los_scatter**2), rtol=1e-6)
    correlation = field / np.sqrt(np.outer(np.diag(field), np.diag(field)))
    assert correlation[0, 1] > 0.95  # neighbours
    assert abs(correlation[0, 3]) < 0.5
    assert field[2, 2] > 2 * field[0, 0]  # half of the box is less known


def test_an_object_has_the_same_draws_however_many_there_are_and_whoever_else_is_asked(made):
    places = np.random.default_rng(0).uniform(5, 155, (300, 3))
    few, many = draws(made, 2, seed=3).at_objects(places), draws(made, 4, seed=3).at_objects(places)
    np.testing.assert_array_equal(few.v_los, many.v_los[:2])
    order = np.random.default_rng(1).permutation(300)[:50]
    some = draws(made, 2, seed=3).at_objects(places[order])
    np.testing.assert_array_equal(some.v_los, few.v_los[:, order])
    other = draws(made, 2, seed=4).at_objects(places)
    assert np.corrcoef(few.v_los[0] - few.v_los_field[0], other.v_los[0] - other.v_los_field[0])[0, 1] < 0.2


def test_objects_outside_a_periodic_box_are_told_of_once_and_have_the_draws_of_where_they_are_taken_back_to(
    made,
):
    places = np.random.default_rng(0).uniform(5, 155, (3, 3))
    beyond = places + np.array([[0.0, 0.0, 0.0], [160.0, 0.0, 0.0], [0.0, -320.0, 0.0]])
    with pytest.warns(
        InputWarning, match="2 of 3 positions lie outside the periodic box of 160 Mpc/h"
    ) as told:
        found = draws(made, 3, seed=3).at_objects(beyond)
    assert len(told) == 1
    np.testing.assert_allclose(found.v_los, draws(made, 3, seed=3).at_objects(places).v_los, atol=1e-3)


def test_draws_at_objects_depart_from_what_a_reader_finds(made, monkeypatch):
    def reader(profile, told):
        return (np.full(len(told), 300.0), *np.full((3, len(told)), 1e4))

    places = np.random.default_rng(0).uniform(5, 155, (300, 3))
    averaged, some = draws(made, 20, seed=3).at_objects(places), draws(made, 20, seed=3)
    monkeypatch.setattr(
        "peculiar.inference.reconstruction.reader_of",
        lambda model, *, cell_size: reader if model == made.model else None,
    )
    found, answer = some.at_objects(places), made.at_objects(places)
    np.testing.assert_allclose(answer.v_los, 300.0)
    np.testing.assert_allclose(found.v_los_field - averaged.v_los_field, 300)
    np.testing.assert_allclose(found.v_los - found.v_los_field, averaged.v_los - averaged.v_los_field)


def test_places_of_draws_scatter_by_no_more_than_a_reader_errs(made, monkeypatch):
    def reader(profile, told):
        return tuple(np.full(len(told), value) for value in (300.0, 10.0, 300.0, 10.0))

    places = np.random.default_rng(0).uniform(5, 155, (300, 3))
    free = draws(made, 3, seed=3).at_objects(places)
    monkeypatch.setattr(
        "peculiar.inference.reconstruction.reader_of",
        lambda model, *, cell_size: reader if model == made.model else None,
    )
    found = draws(made, 3, seed=3).at_objects(places)
    assert (found.v_los_scatter <= np.hypot(10.0, made.at_objects(places).v_los_error) + 1e-9).all()
    assert (free.v_los_scatter > found.v_los_scatter + 1).any()


def test_cells_that_draws_were_not_measured_in_warn(made, residuals):
    low, high = np.log([2.3, 4.0])
    table = residuals()
    least, most = list(table.least), list(table.most)
    least[2], most[2] = low, high
    measured = table.model_copy(update={"least": tuple(least), "most": tuple(most)})
    with pytest.warns(OutOfRangeWarning, match=r"cells of 5 Mpc/h.* 2\.3 to 3\.9"):
        draws(
            replace(
                made, residuals=measured.model_copy(update={"most": (*most[:2], np.log(3.9), *most[3:])})
            ),
            1,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draws(replace(made, residuals=measured), 1)


def test_boxes_smaller_than_those_that_were_measured_warn(made):
    small = {name: field.replace(box=Box(120.0, 32)) for name, field in made.fields.items()}
    with pytest.warns(OutOfRangeWarning, match=r"a box of 120 Mpc/h, .* 140 Mpc/h and more"):
        draws(replace(made, fields=small), 1)


def test_deviates_are_of_places_but_for_rounding():
    places = np.random.default_rng(0).uniform(0, 225, (10_000, 3))
    near = places + np.random.default_rng(1).uniform(-1e-12, 1e-12, places.shape)
    np.testing.assert_array_equal(standard_normal(near, 3, 1), standard_normal(places, 3, 1))
    assert abs(np.corrcoef(standard_normal(places + 1e-3, 3, 1), standard_normal(places, 3, 1))[0, 1]) < 0.04


def test_deviates_of_objects_are_normal():
    places = np.random.default_rng(0).uniform(0, 225, (50_000, 3))
    one, other = standard_normal(places, 3, 1), standard_normal(places, 3, 2)
    assert one.mean() == pytest.approx(0, abs=0.015)
    assert one.std() == pytest.approx(1, abs=0.015)
    assert (one**4).mean() == pytest.approx(3, abs=0.15)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.015
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.015


def test_slopes_multiply_what_draws_scatter_about(made, residuals):
    x = torch.from_numpy(BOX.coordinates()).float()
    wave = torch.cos(2 * BOX.k_fundamental * x)[None, :, None, None].expand(3, *BOX.shape)
    sloped = residuals(velocity=((0.0, 0, 0, 0, 0), (1.5, 0, 0, 0, 0)))
    fields = {**made.fields, "velocity": made["velocity"].replace(data=300 * wave)}
    some = draws(replace(made, fields=fields, residuals=sloped), 1, seed=3)[0]["velocity"].data
    still = draws(made, 1, seed=3)[0]["velocity"].data
    torch.testing.assert_close(some - still, 450 * wave, rtol=1e-3, atol=1e-2)


def test_all_waves_of_a_draw_are_larger_or_smaller_together(made, residuals):
    x = torch.from_numpy(BOX.coordinates()).float()
    wave = torch.cos(2 * BOX.k_fundamental * x)[None, :, None, None].expand(3, *BOX.shape)
    fields = {**made.fields, "velocity": made["velocity"].replace(data=3000 * wave)}
    some = draws(replace(made, fields=fields, residuals=residuals(amplitude=(0.1, 0.0))), 20)
    scales = [float((one["velocity"].data * wave).sum() / (3000 * wave.square().sum())) for one in some]
    assert np.mean(scales) == pytest.approx(1, abs=0.08)
    assert np.std(scales) == pytest.approx(0.1, rel=0.5)


def test_their_amplitude_is_as_sure_as_the_bias(made, residuals):
    x = torch.from_numpy(BOX.coordinates()).float()
    wave = torch.cos(2 * BOX.k_fundamental * x)[None, :, None, None].expand(3, *BOX.shape)
    fields = {**made.fields, "velocity": made["velocity"].replace(data=3000 * wave)}
    sure, unsure = (
        [
            float((one["velocity"].data * wave).sum() / (3000 * wave.square().sum()))
            for one in draws(replace(made, fields=fields, residuals=residuals(amplitude=(0.0, share))), 20)
        ]
        for share in (0.0, 2.0)
    )
    added = np.subtract(unsure, sure)
    assert np.std(added) == pytest.approx(2 * bias_error(made.catalogue, cosmology=made.cosmology), rel=0.5)


def test_in_dense_cells_draws_are_slower_and_scatter_more(made, residuals):
    x = torch.from_numpy(BOX.coordinates()).float()
    wave = 100 * torch.cos(2 * BOX.k_fundamental * x)[None, None, :, None].expand(3, *BOX.shape)
    density = torch.zeros(1, *BOX.shape)
    density[:, 8:12, 8:12] = 7.0
    error = torch.full((1, *BOX.shape), 1.0)
    fields = {
        "density": made["density"].replace(data=density - density.mean()),
        "velocity": made["velocity"].replace(data=wave),
        ERROR: made[ERROR].replace(data=error),
    }
    table = residuals(slowing=(0.03, 0, 0, 0, 0), spread=(0.4, 0, 0, 0, 0))
    some = torch.stack(
        [one["velocity"].data for one in draws(replace(made, fields=fields, residuals=table), 20)]
    )
    inside, outside = some[..., 9:11, 9:11, :], some[..., 20:28, 20:28, :]
    of_wave = [
        (one * wave[:, at, at]).sum() / (20 * wave[:, at, at].square().sum())
        for one, at in ((inside, slice(9, 11)), (outside, slice(20, 28)))
    ]
    assert float(of_wave[0] / of_wave[1]) < 0.93
    assert float(inside.std(dim=0).mean() / outside.std(dim=0).mean()) > 1.4


def test_draws_are_refused_where_nothing_is_known_of_errors(made):
    with pytest.raises(InputError, match="must be of a model that knows what it leaves, got 'still'"):
        draws(replace(made, residuals=None), 3)
    with pytest.raises(InputError, match="draws must be a whole number of 1 to 1000, got 0"):
        draws(made, 0)
    with pytest.raises(InputError, match="seed must be a whole number >= 0, got -1"):
        draws(made, 2, seed=-1)
    for wrong in (1.5, True, "3"):
        with pytest.raises(InputError, match="draws must be a whole number"):
            draws(made, wrong)
    with pytest.raises(InputError, match="number must be given"):
        draws(made)
    with pytest.raises(InputError, match="got one from a file"):
        draws(replace(made, catalogue=None, residuals=None), 2)
    with pytest.raises(InputError, match="fields must exist, got no nothing"):
        draws("nothing.zarr")
    some = draws(made, 1)
    with pytest.raises(IndexError):
        some[1]
    with pytest.raises(InputError, match="at least 2 draws"):
        some.covariance()


def test_where_no_error_is_told_it_is_that_of_the_shot_noise(halos, made):
    fields = {name: made[name] for name in ("density", "velocity")}
    bare = replace(made, fields=fields)
    from peculiar.linear.reliability import linear_error

    level = linear_error(halos, cells=32, cosmology=COSMOLOGY)
    expected = level * COSMOLOGY.velocity_factor(0.5)
    found = np.std([one["velocity"].data.numpy() for one in draws(bare, 4)])
    assert found == pytest.approx(expected, rel=0.1)


def test_noise_of_a_survey_adds_nothing_to_the_waves_of_what_it_did_not_see(halos, made):
    box = Box(160.0, 32, periodic=False)
    seen = torch.zeros(1, *box.shape)
    seen[:, :12] = 1.0
    completeness = Field(seen, box, names=("completeness",), space="redshift")
    few = halos.positions[halos.positions[:, 0] < 60]
    survey = Catalogue(few, box=box, redshift=0.5, completeness=completeness)
    fields = {name: replace(made[name], box=box) for name in ("density", "velocity")}
    bare = replace(made, fields=fields | {"completeness": completeness}, catalogue=survey)
    some = np.array([one["velocity"].data.numpy() for one in draws(bare, 8)])
    assert some[:, :, 24:].std() < 1.1 * 296  # km/s, of all linear waves; 375 with the noise on top


def test_the_less_sure_bias_of_a_flux_limited_sample_is_in_its_draws(halos, made, residuals):
    """Draws of a survey without that error, and with it, differ by a factor that goes with the distance alone."""
    box = Box(160.0, 32, origin=(-80.0, -80.0, -80.0), periodic=False)
    seen = Field(torch.ones(1, *box.shape), box, names=("completeness",), space="redshift")
    positions = np.random.default_rng(1).uniform(-80, 80, (30_000, 3))
    distance = np.linalg.norm(positions, axis=1)
    chance = np.exp(-distance / 20)
    kept = np.random.default_rng(2).random(len(positions)) < chance
    survey = Catalogue(
        positions[kept],
        box=box,
        redshift=0.02,
        line_of_sight="radial",
        weights=0.05 / chance[kept],
        observer=(0.0, 0.0, 0.0),
        completeness=seen,
        light_cone=True,
        flux_limited=True,
    )
    fields = {name: replace(made[name], box=box) for name in ("density", "velocity")}
    fields["velocity"] = fields["velocity"].replace(data=torch.full((3, *box.shape), 300.0))
    bare = replace(made, fields=fields | {"completeness": seen}, catalogue=survey, redshift=0.02)
    some = draws(bare, 200, seed=3)
    known = replace(some._known, unseen=None, error=torch.zeros(()), amplitude=0.0)
    some.__dict__["_known"] = known
    found = np.array([one["velocity"].data[0, 16:, 16, 16].numpy() for one in some]) / 300
    expected = np.abs(bias_uncertainty(survey, box, cosmology=COSMOLOGY)[16:, 16, 16].numpy())
    assert expected[0] > 0.1
    np.testing.assert_allclose(np.log(found).std(axis=0), expected, rtol=0.12, atol=1e-3)
    np.testing.assert_allclose(np.abs(np.corrcoef(found.T)[0, [1, -1]]), 1, atol=0.02)
