"""Whether a training can be done, told before anything is written, cached or trained."""

from __future__ import annotations

from pathlib import Path

import torch

from peculiar.core.errors import InputError
from peculiar.core.limits import require_seeds
from peculiar.core.memory import require_memory
from peculiar.linear.inputs import InputSpec
from peculiar.models import build
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import DisplacementPair
from peculiar.training.adversarial import check_critic
from peculiar.training.counts import CountInputs
from peculiar.training.loop import check_hardware
from peculiar.training.meshes import check_meshes
from peculiar.training.recipe import Recipe
from peculiar.training.settings import AdversarialLoss
from peculiar.workflows.cards import network_settings
from peculiar.workflows.simulate import require_of_run
from peculiar.workflows.training_data import mesh_shapes

_COPIES = 5
"""Of the weights while training: themselves, their mean, gradients, and two moments of the optimiser."""


def check_plan(settings: Recipe, splits: dict[str, list[Path]], *, seed: int) -> None:
    """Refuse a training that cannot be done, before its record, its meshes or its network are made.

    Raises
    ------
    InputError
        If a simulation is not whole or not what the record of its run tells, the network, the loss or the crops cannot
        use its meshes, there is no such hardware, or the network with one batch does not fit in memory.
    """
    require_seeds([seed], name="seed")
    with torch.device("meta"):  # takes no memory, whatever the recipe asks for
        network = build(settings.network.architecture, network_settings(settings))
    training, validation = (mesh_shapes(settings, splits[name]) for name in ("train", "validation"))
    _refuse_strangers(settings, [*splits["train"], *splits["validation"]])
    if isinstance(settings.loss, AdversarialLoss):
        check_critic(training, settings.train)
    else:
        check_meshes(network, training, validation, crop=settings.train.crop, margin=settings.loss.margin)
    if not isinstance(settings.loss, AdversarialLoss):
        check_hardware(settings.train)
    _refuse_mixed(
        settings, [SimulatedBox.open(path) for path in splits["train"] if settings.task != "displace"]
    )
    weights = sum(parameter.numel() for parameter in network.parameters())
    cells = (settings.train.crop or max(pair.cells for pair in training)) ** 3
    require_memory(
        4 * (_COPIES * weights + settings.train.batch_size * cells * len(settings.inputs.names)),
        what=f"a network of {weights:.4g} weights with batches of {settings.train.batch_size}",
        remedy="take fewer channels, or a smaller train.batch_size or train.crop",
    )


def _refuse_strangers(settings: Recipe, paths: list[Path]) -> None:
    """Refuse simulations that are not of the run in whose directory they lie."""
    kind = DisplacementPair if settings.task == "displace" else SimulatedBox
    for run in dict.fromkeys(path.parent for path in paths):
        require_of_run(run, [kind.open(path) for path in paths if path.parent == run])


def _refuse_mixed(settings: Recipe, boxes: list[SimulatedBox]) -> None:
    """Refuse training boxes that differ in what a table or a painter can have one value of only."""
    spec = settings.inputs
    if isinstance(spec, InputSpec) and spec.wiener == "fitted":
        sizes = sorted({float(f"{box.box.cell_size:.5g}") for box in boxes})
        if len(sizes) > 1:
            raise InputError(
                f"inputs.wiener 'fitted' must be of boxes of one cell size, got {_listed(sizes)} Mpc/h: take "
                "'package', or runs of one"
            )
    if isinstance(spec, CountInputs) and not spec.conditions:
        redshifts = sorted({box.redshift for box in boxes})
        if len(redshifts) > 1:
            raise InputError(
                f"run must hold boxes of one redshift for a painter without conditions, got {_listed(redshifts)}: give "
                'inputs.conditions=["peak","steepness"], or train a painter for each'
            )


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
