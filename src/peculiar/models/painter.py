"""Our painter of halos: counts in mass bins, cell by cell, from a 2LPT density, with a likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.models.blocks import ChannelNorm, Conv, Mesh, ResidualBlock, activation
from peculiar.models.count_distribution import CountDistribution
from peculiar.models.registry import register
from peculiar.models.sublattices import OFFSETS, REACH, around, cut, drawn, join, places, split, wrap

_AT_ONCE = 2**16
"""Cells of a sublattice that are drawn at once: larger tensors would not be kept by the allocator from one step to the
next, and half of the time would go into memory pages."""
_PLANES = 64  # of cells, for which hidden channels are kept at once
LARGEST_SURPRISE, LARGEST_RISE = 4.0, 2.0
"""Bounds of surprises, and of logarithms by which halos nearby raise a rate or a weight: what was hardly seen in
training cannot feed on itself in a draw."""
EXPECTED = "expected_"
"""What names of input channels begin with that hold ln of a bin's mean count in a cell of the universe."""


@dataclass(frozen=True, kw_only=True)
class PainterConfig:
    """Settings of `Painter`.

    Parameters
    ----------
    inputs : tuple of str
        Names of the input channels. Without those of `EXPECTED` the network finds mean counts by itself.
    bins : int
        Mass bins, from light to massive.
    width : int
        Channels of the network that sees the density.
    blocks : int
        Its residual blocks; each reaches two cells further.
    hidden : int
        Channels of the small networks that join density and counts.
    free_counts : int
        How many weights of `CountDistribution` are free.
    start : tuple of float
        Mean counts of each bin in a cell, from which training starts and by which it weighs the bins
        (`peculiar.training.count_objective`); one number holds for all bins.
    act : "silu", "gelu" or "relu"

    Raises
    ------
    InputError
        If a number is out of range.
    """

    inputs: tuple[str, ...] = ("log_density",)
    bins: int = 4
    width: int = 16
    blocks: int = 3
    hidden: int = 16
    free_counts: int = 3
    start: tuple[float, ...] = (0.05,)
    act: str = "silu"

    def __post_init__(self) -> None:
        for name in ("bins", "width", "blocks", "hidden", "free_counts"):
            if getattr(self, name) < 1:
                raise InputError(f"painter.{name} must be >= 1, got {getattr(self, name)}")
        if len(self.expected) not in (0, self.bins) or not self.seen:
            raise InputError(
                f"painter.inputs must hold an expected count for each of the {self.bins} bins or none, and others, got "
                f"{self.inputs}"
            )
        if len(self.start) not in (1, self.bins) or min(self.start) <= 0:
            raise InputError(
                f"painter.start must hold one number > 0, or one for each of the {self.bins} bins, got {self.start}"
            )

    @property
    def expected(self) -> list[int]:
        """Places of the channels of expected counts."""
        return [i for i, name in enumerate(self.inputs) if name.startswith(EXPECTED)]

    @property
    def seen(self) -> list[int]:
        """Places of the channels that the network sees."""
        return [i for i, name in enumerate(self.inputs) if not name.startswith(EXPECTED)]


class Modulation(nn.Module):
    """Every channel times a factor, plus a term, that depend on conditions: exp(a c) x + b c, the identity at first."""

    def __init__(self, conditions: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(conditions, 2 * width, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, mesh: Mesh, conditions: Float[torch.Tensor, "batch condition"]) -> Mesh:
        """Modulate."""
        with torch.autocast(mesh.device.type, enabled=False):
            factor, term = self.linear(conditions.float())[..., None, None, None].chunk(2, dim=1)
        return mesh * factor.exp().to(mesh.dtype) + term.to(mesh.dtype)


class DensityEncoder(nn.Module):
    """Features of the density around each cell, which conditions modulate before, between and after the blocks."""

    stride = 1

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.stem = Conv(1, config.width)
        self.blocks = nn.ModuleList(ResidualBlock(config.width, act=config.act) for _ in range(config.blocks))
        self.norm = ChannelNorm(config.width)
        self.act = activation(config.act)
        known = len(config.seen) - 1
        self.modulations = nn.ModuleList(
            Modulation(known, config.width) for _ in range(config.blocks + 2 if known else 0)
        )

    @property
    def reach(self) -> int:
        """Cells that one output cell sees to each side."""
        return 1 + 2 * len(self.blocks)

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Map ln(2 + delta) and conditions, (batch, channel, x, y, z), to features (batch, width, x, y, z)."""
        conditions = inputs[:, 1:, 0, 0, 0]
        mesh = self.stem(inputs[:, :1], periodic=periodic)
        for i, block in enumerate(self.blocks):
            mesh = block(self._modulated(mesh, i, conditions), periodic=periodic)
        mesh = self.norm(self._modulated(mesh, -2, conditions))
        return self.act(self._modulated(mesh, -1, conditions))

    def _modulated(self, mesh: Mesh, place: int, conditions: Float[torch.Tensor, "batch condition"]) -> Mesh:
        return self.modulations[place](mesh, conditions) if len(self.modulations) else mesh


class CountStage(nn.Module):
    """Distribution of one bin's counts, from features, heavier halos nearby, and this bin's counts drawn before.

    Counts enter as surprises, counts less their mean given the density: a cell that is not drawn yet is no surprise.
    """

    def __init__(self, config: PainterConfig, heavier: int) -> None:
        super().__init__()
        hidden = config.hidden
        self.features = Conv(config.width, hidden, kernel=1)
        self.own = nn.Conv3d(1, hidden, 2 * REACH + 1, bias=False)
        self.heavier = nn.Conv3d(heavier, hidden, 3, bias=False) if heavier else None
        self.sublattice = nn.Embedding(len(OFFSETS), hidden)
        self.last = Conv(hidden, 1 + config.free_counts, kernel=1)
        self.act = activation(config.act)
        # A start without neighbours: Poisson with the mean's rate, which the painter adds.
        for layer in (self.own, self.heavier, self.sublattice):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)
        self.last.zero()

    def context(self, heavier: Mesh | None, features: Mesh, *, step: int = 1) -> Mesh:
        """Sum of what does not depend on this bin's own counts, (batch, hidden, x, y, z).

        Parameters
        ----------
        heavier : (batch, bins above, ...), optional
            Surprises with the neighbours of the first and last cells of `features`.
        features : (batch, width, x, y, z)
        step : int
            Cells of `heavier` to one of `features`: 2 on a sublattice.
        """
        mesh = _pointwise(self.features, features)
        if self.heavier is not None and heavier is not None:
            mesh = mesh + _packed(functional.conv3d(heavier, self.heavier.weight, stride=step))
        return mesh

    def forward(self, context: Mesh, own: Mesh, log_mean: Mesh, *, order: torch.Tensor) -> Mesh:
        """Return the channels of `CountDistribution.of_channels` on sublattices.

        Parameters
        ----------
        context : (batch, hidden, x/2, y/2, z/2)
        own : (batch, 1, x + 3, y + 3, z + 3)
            Surprises of this bin, zero where not drawn, with the neighbours of the sublattice's first and last cells.
        log_mean : (batch, 1, x/2, y/2, z/2)
            Of the mean given the density.
        order : (batch,)
            Which of `OFFSETS` each batch entry is.
        """
        place = self.sublattice(order)[:, :, None, None, None]
        mesh = self.act(context + _packed(functional.conv3d(own, self.own.weight, stride=2)) + place)
        with torch.autocast(mesh.device.type, enabled=False):
            parameters = _pointwise(self.last, mesh.float())
        rate = parameters[:, :1].clamp(max=LARGEST_RISE) + log_mean
        return torch.cat([rate, parameters[:, 1:].clamp(max=LARGEST_RISE)], dim=1)


@register("painter", PainterConfig)
class Painter(nn.Module):
    """Counts of halos in mass bins given a density, drawn from the most massive bin to the lightest.

    p(counts | density) is a product over bins and cells. A cell's distribution (`CountDistribution`) depends on the
    density within `reach` cells, on heavier halos in it and the 26 cells around it, and on those halos of its own bin
    within two cells that lie on sublattices drawn before: eight passes in place of one for each cell. So halos exclude
    each other, a halo missing here may stand next door, and a draw scatters like halos do.

    Where the inputs tell how many halos a cell of the universe holds on average, the network says by what factor a cell
    holds more; its other inputs may be conditions, one number in all cells.

    Examples
    --------
    >>> painter = Painter(PainterConfig(bins=2, width=4, blocks=1))
    >>> painter(torch.zeros(1, 1, 8, 8, 8)).shape
    torch.Size([1, 2, 8, 8, 8])
    """

    stride = 1

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = DensityEncoder(config)
        self.hidden = Conv(config.width, config.hidden, kernel=1)
        self.mean = Conv(config.hidden, config.bins, kernel=1)
        self.act = activation(config.act)
        # stages[b] belongs to bin b and sees the bins above it.
        self.stages = nn.ModuleList(CountStage(config, config.bins - 1 - b) for b in range(config.bins))
        nn.init.normal_(self.mean.conv.weight, std=0.02)
        if not config.expected:
            with torch.no_grad():
                self.mean.conv.bias.copy_(torch.tensor([math.log(count) for count in config.start]))  # type: ignore[union-attr]

    @property
    def reach(self) -> int:
        """Cells of density that the mean of one cell sees to each side."""
        return self.encoder.reach

    def forward(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Return ln of the mean counts given the density, (batch, bins, x, y, z) float32.

        Parameters
        ----------
        inputs : (batch, channel, x, y, z)
            As the configuration names them: ln(2 + delta) of the 2LPT density, and others.
        periodic : bool
            Circular padding (a whole periodic box), or zeros (a crop).
        """
        return self.log_mean(self.features(inputs, periodic=periodic), self.expected(inputs))

    def features(self, inputs: Mesh, *, periodic: bool = True) -> Mesh:
        """Return the encoder's features of the inputs."""
        return self.encoder(inputs[:, self.config.seen], periodic=periodic)

    def expected(self, inputs: Mesh) -> Mesh | float:
        """Return ln of the expected counts among the inputs, (batch, bins, 1, 1, 1); 0 where there are none."""
        rows = self.config.expected
        return inputs[:, rows, :1, :1, :1].float() if rows else 0.0

    def conditions(self, inputs: Mesh) -> Float[torch.Tensor, "batch condition"]:
        """Return the conditions among the inputs: what the network sees beside the density."""
        return inputs[:, self.config.seen[1:], 0, 0, 0]

    def log_mean(self, features: Mesh, expected: Mesh | float = 0.0) -> Mesh:
        """Return ln of the mean counts from features and expected counts."""
        # Single precision: in bfloat16 the mean would come in steps of 2 percent.
        with torch.autocast(features.device.type, enabled=False):
            slabs = [
                _pointwise(self.mean, self.act(_pointwise(self.hidden, slab.float())))
                for slab in features.split(_PLANES, dim=2)
            ]
            return (torch.cat(slabs, dim=2) + expected).clamp(-15, 4.5)

    def log_likelihood(self, inputs: Mesh, counts: Mesh, *, periodic: bool = True) -> tuple[Mesh, Mesh]:
        """Return ln p(counts | density, counts drawn before), and that of Poisson counts about the mean alone.

        Parameters
        ----------
        inputs : (batch, channel, x, y, z)
            As in `forward`; sides are even.
        counts : (batch, bins, x, y, z)
        periodic : bool
            False for a crop, whose outer `reach` + 3 cells are then not to be trusted.

        Returns
        -------
        Two meshes (batch, bins, x, y, z), double precision.
        """
        features = self.features(inputs, periodic=periodic)
        log_mean = self.log_mean(features, self.expected(inputs))
        fixed = log_mean.detach()  # the mean learns from the Poisson likelihood alone
        surprise = _surprise(counts, fixed)
        order = torch.arange(len(OFFSETS), device=inputs.device).repeat_interleave(len(inputs))
        values = []
        for b in range(self.config.bins):
            stage = cast(CountStage, self.stages[b])
            heavier = wrap(surprise[:, b + 1 :], 1) if b + 1 < self.config.bins else None
            context = split(stage.context(heavier, features))
            own = torch.cat([around(drawn(surprise[:, b : b + 1], p), p) for p in range(len(OFFSETS))])
            parameters = stage(context, own, split(fixed[:, b : b + 1]), order=order)
            found = CountDistribution.of_channels(parameters).log_prob(split(counts[:, b : b + 1])[:, 0])
            values.append(join(found[:, None], len(inputs)))
        wide = log_mean.double()
        poisson = counts * wide - wide.exp() - torch.lgamma(counts.double() + 1)
        return torch.cat(values, dim=1), poisson

    @torch.no_grad()
    def draw(
        self,
        features: Mesh,
        log_mean: Mesh,
        *,
        generator: torch.Generator,
        log_rate: Mesh | None = None,
        advance: Callable[[int], None] = lambda units: None,
    ) -> Float[torch.Tensor, "bins x y z"]:
        """Draw counts of a whole periodic box.

        Parameters
        ----------
        features : (1, width, x, y, z)
            Sides are even.
        log_mean : (1, bins, x, y, z)
        generator : torch.Generator
            On the device of the features. Equal seeds give equal counts on one kind of device.
        log_rate : (1, bins, x, y, z), optional
            ln of the mean counts, calibrated (`CountCalibration`). Default: as they are.
        advance : callable
            Called with 1 after each of the bins * 8 passes.

        Returns
        -------
        (bins, x, y, z) float32.
        """
        shape = features.shape[2:]
        if any(side % 2 for side in shape):
            raise InputError(f"cells must be even along each side to paint halos, got {tuple(shape)}")
        # What convolutions see is kept in the precision in which they work, and each sublattice in one piece.
        kind = torch.bfloat16 if torch.is_autocast_enabled(features.device.type) else features.dtype
        counts = torch.empty_like(log_mean)
        log_means = [log_mean[places(offset)].clone() for offset in OFFSETS]
        log_rates = log_means if log_rate is None else [log_rate[places(offset)] for offset in OFFSETS]
        parts = [_packed(features[places(offset)].to(kind)) for offset in OFFSETS]
        surprise = torch.zeros_like(counts, dtype=kind)
        planes = max(1, _AT_ONCE // (shape[1] * shape[2] // 4))
        for b in reversed(range(self.config.bins)):
            stage = cast(CountStage, self.stages[b])
            own = surprise[:, b : b + 1]
            heavier = wrap(surprise[:, b + 1 :], 1) if b + 1 < self.config.bins else None
            for p, offset in enumerate(OFFSETS):
                mean, rate = (several[p][:, b : b + 1] for several in (log_means, log_rates))
                near_own = around(own, p)
                above = None if heavier is None else cut(heavier, p)
                order = torch.tensor([p], device=features.device)
                uniform = torch.rand(mean[:, 0].shape, generator=generator, device=features.device)
                found = torch.empty_like(mean)
                for start in range(0, mean.shape[2], planes):
                    slab = slice(start, start + planes)
                    stop = min(start + planes, mean.shape[2])
                    near = None if above is None else above[:, :, 2 * start : 2 * stop + 1]
                    context = stage.context(near, parts[p][:, :, slab], step=2)
                    cells = near_own[:, :, 2 * start : 2 * stop + 2 * REACH - 1]
                    parameters = stage(context, cells, rate[:, :, slab], order=order)
                    distribution = CountDistribution.of_channels(parameters)
                    found[:, 0, slab] = distribution.draw(uniform[:, slab])
                place = places(offset)
                counts[:, b : b + 1][place] = found
                own[place] = _surprise(found, mean).to(kind)
                advance(1)
        return counts[0]


def _pointwise(layer: Conv, mesh: Mesh) -> Mesh:
    """Apply a convolution of 1^3 as the product of matrices that it is, several times faster on a CPU."""
    conv = layer.conv
    return functional.linear(mesh.movedim(1, -1), conv.weight.flatten(1), conv.bias).movedim(-1, 1)


def _packed(mesh: Mesh) -> Mesh:
    """Put the channels of a cell next to each other in memory."""
    return mesh.contiguous(memory_format=torch.channels_last_3d)


def _surprise(counts: Mesh, log_mean: Mesh) -> Mesh:
    """(n - mean) / (1 + mean)^1/2: of order one in dense cells, n where a halo is rare."""
    mean = log_mean.exp()
    return ((counts - mean) / (1 + mean).sqrt()).clamp(max=LARGEST_SURPRISE)
