"""Convolutions that know whether their mesh is periodic, and the blocks made of them.

Every block takes `periodic` when it is called: True pads circularly (a whole periodic box), False pads with
zeros (a crop or a tile, whose outer cells are then not to be trusted).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.models.channel_norm import normalised

Mesh = Float[torch.Tensor, "batch channel x y z"]


def wrapped(mesh: Mesh, below: int, above: int) -> Mesh:
    """Return a periodic mesh with so many cells more below and above its faces, in the same layout of memory.

    `torch.nn.functional.pad` gives up channels-last memory: each convolution would then turn its mesh twice.
    """
    sides = mesh.shape[2:]
    last = mesh.is_contiguous(memory_format=torch.channels_last_3d)
    padded = torch.empty(
        (*mesh.shape[:2], *(side + below + above for side in sides)),
        dtype=mesh.dtype,
        device=mesh.device,
        memory_format=torch.channels_last_3d if last else torch.contiguous_format,
    )
    inner = (slice(None), slice(None), *(slice(below, below + side) for side in sides))
    padded[inner] = mesh
    for axis, side in enumerate(sides, start=2):
        padded.narrow(axis, 0, below).copy_(padded.narrow(axis, side, below))
        padded.narrow(axis, below + side, above).copy_(padded.narrow(axis, below, above))
    return padded


def lowered(mesh: Mesh) -> Mesh:
    """Return a mesh in the precision that autocast has layers compute in; itself where there is none."""
    kind = mesh.device.type
    lower = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return mesh.to(torch.get_autocast_dtype(kind)) if lower else mesh


class Conv(nn.Module):
    """A 3-D convolution of odd kernel that keeps the mesh or halves it.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int
        Odd.
    stride : int
        1 or 2.
    bias : bool
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.pad = kernel // 2
        self.conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=0 if kernel == 1 else self.pad,
            bias=bias,
        )
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Convolve."""
        if not periodic or self.pad == 0:
            return self.conv(mesh)
        # Padding by hand, so that one set of weights serves both kinds of edge.
        padded = wrapped(mesh, self.pad, self.pad)
        return functional.conv3d(padded, self.conv.weight, self.conv.bias, stride=self.conv.stride)

    def zero(self) -> Conv:
        """Set weights and bias to zero and return self: a block that ends in it starts as the identity."""
        nn.init.zeros_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        return self


class Upsample(nn.Module):
    """A transposed convolution of kernel 3 and stride 2 that doubles the mesh.

    torch pads transposed convolutions with zeros only, so a periodic mesh is wrapped by one cell at its upper
    faces first and the part that holds every contribution is cut out.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(
            in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias
        )
        # Each output cell gathers 27 / 8 taps of every input channel on average.
        nn.init.normal_(self.conv.weight, std=(2.0 / (in_channels * 27 / 8)) ** 0.5)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Double the mesh."""
        if not periodic:
            return self.conv(mesh)
        n_x, n_y, n_z = mesh.shape[-3:]
        padded = wrapped(mesh, 0, 1)
        # Output 2 i + t - 1 gathers input i by tap t: outputs 0 ... 2 n - 1 need inputs 0 ... n only.
        full = functional.conv_transpose3d(padded, self.conv.weight, self.conv.bias, stride=2, padding=1)
        return full[..., : 2 * n_x, : 2 * n_y, : 2 * n_z]


class ConvNormAct(nn.Module):
    """Convolution, dropout if any, batch normalisation, ReLU.

    Batch normalisation removes a constant, so the convolution needs no bias; some published networks count one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        up: bool = False,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv: Conv | Upsample = (
            Upsample(in_channels, out_channels, bias=bias)
            if up
            else Conv(in_channels, out_channels, kernel=kernel, stride=stride, bias=bias)
        )
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, mesh: Mesh, *, periodic: bool = True) -> Mesh:
        """Apply all four."""
        return functional.relu(self.norm(self.dropout(self.conv(mesh, periodic=periodic))))


def chain(layers: nn.ModuleList, mesh: Mesh, *, periodic: bool) -> Mesh:
    """Apply layers that know about periodic meshes, one after the other."""
    for layer in layers:
        mesh = layer(mesh, periodic=periodic)
    return mesh


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each cell alone, so that tiles equal the whole.

    The 1 added to the variance lets small values pass as they are, and bounds large ones: empty regions are not blown
    up to the size of the others, and a deep chain of blocks cannot run away.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, mesh: Mesh) -> Mesh:
        """Normalise."""
        last = mesh.permute(0, 2, 3, 4, 1)  # a view of channels-last memory
        if (mesh.dtype, mesh.device.type) == (torch.bfloat16, "cpu") and not torch.is_grad_enabled():
            normed = normalised(last.contiguous(), self.weight, self.bias, eps=1.0)
            return normed.permute(0, 4, 1, 2, 3)
        # The CPU's kernel computes in float32 by itself: autocast would make two such meshes around it.
        with torch.autocast("cpu", enabled=False):
            normed = functional.layer_norm(last, (self.channels,), self.weight, self.bias, eps=1.0)
        return normed.permute(0, 4, 1, 2, 3).to(mesh.dtype)


def activation(name: str) -> nn.Module:
    """Return an activation by name: silu, gelu or relu."""
    functions = {"silu": nn.SiLU, "gelu": nn.GELU, "relu": nn.ReLU}
    if name not in functions:
        raise InputError(f"activation must be one of {', '.join(functions)}, got {name!r}")
    return functions[name]()


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(norm(x))))), the identity at the start of training.

    Of so many `conditions` it takes a mesh, or one cell: what is normed is multiplied by 1 + a, and b added, both
    linear in them.
    """

    def __init__(
        self, channels: int, *, act: str = "silu", dropout: float = 0.0, conditions: int = 0
    ) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv1 = Conv(channels, channels)
        self.conv2 = Conv(channels, channels).zero()
        self.act = activation(act)
        self.dropout = nn.Dropout3d(dropout) if dropout > 0 else nn.Identity()
        self.modulation = Conv(conditions, 2 * channels, kernel=1).zero() if conditions else None

    def forward(self, mesh: Mesh, conditions: Mesh | None = None, *, periodic: bool = True) -> Mesh:
        """Add the block's correction."""
        inner = self.norm(mesh)
        if self.modulation is not None:
            factor, term = self.modulation(conditions).chunk(2, dim=1)
            inner = inner * (1 + factor) + term
        inner = self.act(inner)  # one name: a mesh that is not read any more is not kept
        inner = self.act(self.conv1(inner, periodic=periodic))
        return mesh + self.conv2(self.dropout(inner), periodic=periodic)


def require_divisible(mesh: torch.Tensor, stride: int, *, name: str) -> None:
    """Raise InputError unless all three sides of the mesh are multiples of the network's total stride."""
    shape = tuple(mesh.shape[-3:])
    if any(side % stride or side < 2 * stride for side in shape):
        raise InputError(
            f"mesh of model {name!r} must have sides that are multiples of {stride} and at least {2 * stride}, "
            f"got {shape}: choose another number of cells, or cut the mesh into tiles"
        )
