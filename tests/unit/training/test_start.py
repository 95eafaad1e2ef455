import pytest
import torch

from peculiar.core.channels import vector
from peculiar.core.errors import InputError
from peculiar.models import build
from peculiar.models.channels import LIKELIHOOD_OUTPUTS, OUTPUTS
from peculiar.training.start import start_from

OLD = ("count", *vector("wiener_velocity"), "gone")
NEW = ("few", "many", *vector("wiener_velocity"), "bias")


def networks(**changes):
    torch.manual_seed(0)
    old = build(
        "residual",
        {"inputs": OLD, "width": 4, "levels": 2, "input_scale": {"count": 0.5, "wiener_velocity": 4.0}},
    )
    torch.nn.init.normal_(old.head.conv.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    settings = {"inputs": NEW, "width": 4, "levels": 2, "input_scale": {"few": 0.1, "wiener_velocity": 2.0}}
    return build("general", settings | changes), old


@torch.no_grad()
def test_channels_act_as_in_the_other_network():
    new, old = networks()
    start_from(new, old, {"few": ["count"]})
    random = torch.Generator().manual_seed(2)
    given = torch.randn(1, len(NEW), 8, 8, 8, generator=random)
    same = torch.cat([given[:, :1], given[:, 2:5], torch.zeros(1, 1, 8, 8, 8)], dim=1)
    found, expected = new(given), old(same)
    assert torch.allclose(found[:, : len(OUTPUTS)], expected, rtol=1e-4, atol=1e-3)
    started = new.correction(new.seen(given))
    assert torch.equal(started[:, len(OUTPUTS) :], torch.zeros(1, len(LIKELIHOOD_OUTPUTS) - 7, 8, 8, 8))


@torch.no_grad()
def test_a_channel_may_stand_for_the_mean_of_several():
    new, old = networks()
    start_from(new, old, {"few": ["count", "gone"]})
    weights = 0.5 * (0.1 / 0.5 * old.stem.conv.weight[:, 0] + 0.1 * old.stem.conv.weight[:, 4])
    assert torch.allclose(new.stem.conv.weight[:, 0], weights)


@torch.no_grad()
def test_conditions_have_no_effect_at_first():
    random = torch.Generator().manual_seed(2)
    given = torch.randn(1, len(NEW), 8, 8, 8, generator=random)
    plain, old = networks()
    start_from(plain, old, {"few": ["count"]})
    told, _ = networks(conditions=["bias"])
    start_from(told, old, {"few": ["count"]})
    assert torch.equal(told(given), plain(given))
    with pytest.raises(InputError, match="must have the conditions none, got bias"):
        start_from(networks()[0], told)


@pytest.mark.parametrize(
    ("changes", "channels", "match"),
    [
        ({"width": 8}, {}, "must have width 8"),
        ({}, {"few": ["nothing"]}, "must map few, many"),
        ({}, {"unknown": ["count"]}, "got unknown to count"),
        ({}, {"few": []}, "got few to none"),
    ],
)
def test_other_networks_and_channels_are_refused(changes, channels, match):
    with pytest.raises(InputError, match=match):
        start_from(*networks(**changes), channels)


def test_other_kinds_of_networks_start_from_their_like():
    new, _ = networks()
    with pytest.raises(InputError, match="must be of residual U-Nets with .* same settings, got Linear"):
        start_from(new, torch.nn.Linear(2, 2))
    settings = {"bins": 2, "width": 4, "blocks": 1, "hidden": 4}
    one, other = build("painter", settings), build("painter", settings)
    start_from(one, other)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    with pytest.raises(InputError, match="same settings, got Painter for Painter"):
        start_from(build("painter", settings | {"hidden": 5}), other)


def test_networks_of_the_same_settings_need_no_scales():
    settings = {"inputs": [*vector("moved"), *vector("moving"), "steps", "growth"], "width": 4, "levels": 2}
    settings |= {"slopes": {"steps": -1.5, "growth": 2.0}}
    few, again = build("few-steps", settings), build("few-steps", settings)
    torch.nn.init.normal_(few.stem.conv.weight)
    start_from(again, few)
    assert torch.equal(again.stem.conv.weight, few.stem.conv.weight)
    wider = build("few-steps", settings | {"width": 8})
    with pytest.raises(InputError, match="with the same settings, got FewSteps for FewSteps"):
        start_from(wider, few)
