import torch

from peculiar.models.channels import decode, encode, log_density, overdensity


def test_decode_undoes_encode():
    delta = torch.rand(1, 4, 4, 4) * 10 - 1
    velocity, momentum = torch.randn(3, 4, 4, 4) * 300, torch.randn(3, 4, 4, 4) * 900
    found = decode(encode(delta, velocity, momentum, velocity_factor=63.0), velocity_factor=63.0)
    for one, other in zip(found, (delta, velocity, momentum), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_velocities_are_linear_displacements_inside():
    encoded = encode(
        torch.zeros(1, 2, 2, 2), torch.full((3, 2, 2, 2), 63.0), torch.zeros(3, 2, 2, 2), velocity_factor=63.0
    )
    assert torch.equal(encoded[1:4], torch.ones(3, 2, 2, 2))


def test_empty_cells_are_finite():
    assert torch.isfinite(log_density(torch.tensor([-1.0, -1.0001]))).all()
    assert overdensity(torch.tensor([-100.0])) == -1
