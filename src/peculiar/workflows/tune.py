"""Search for hyperparameters, as Xiao et al. 2024 did with Optuna."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from peculiar.core.errors import InputError, OutputExistsError
from peculiar.core.limits import Device
from peculiar.core.output import atomic_output, check_output, refuse_inputs
from peculiar.core.provenance import provenance
from peculiar.training.loop import fit
from peculiar.training.objectives import objectives
from peculiar.training.recipe import load_recipe
from peculiar.training.tune import search
from peculiar.workflows.train import build_network, device_changes
from peculiar.workflows.train_plan import check_plan
from peculiar.workflows.training_data import Runs, run_paths, split_files, training_pairs, with_tables

_MOST = 100_000


def tune(
    recipe: str | Path,
    *,
    profile: str = "cpu",
    run: Runs,
    out: str | Path,
    trials: int = 20,
    repeats: int = 1,
    changes: Sequence[str] = (),
    resume: bool = False,
    seed: int = 0,
    device: Device = "auto",
    announce: Callable[[str], None] = print,
) -> list[str]:
    """Search learning rate, dropout, number of boxes, channels and batch size for the least validation loss.

    The published network is judged by its first stage, the density.

    Parameters
    ----------
    recipe, profile, run, changes, device, announce
        As in `peculiar.workflows.train.train`; each trial is as long as the profile says.
    out : path
        Directory for the study, its trials, and ``best.json``.
    trials : int
        Sets of values to try.
    repeats : int
        Trainings of each set, from other seeds; their mean counts (the paper made at least five).
    resume : bool
        Go on with a search that was interrupted.
    seed : int
        Of the search and of the trainings.

    Returns
    -------
    list of str
        The best settings, ready for ``--set``.
    """
    for one in run_paths(run):
        refuse_inputs(out, {"--run": one})
    changes = [*changes, *device_changes(device)]
    settings = load_recipe(recipe, profile=profile, changes=changes)
    everything = settings.data.model_copy(update={"boxes": None})
    splits = split_files(run, settings.model_copy(update={"data": everything}))
    out = Path(out)
    journal = out / "study.journal"
    if journal.exists() and not resume:
        raise OutputExistsError(f"out must not hold a search, got {out}: give --resume to go on with it")
    if not journal.exists() and (taken := [*out.glob("best.json"), *out.glob("trial-*")]):
        raise OutputExistsError(
            f"out must not hold files of others, got {taken[0]} without a search's {journal.name}: choose another "
            "directory"
        )
    for name, count in (("trials", trials), ("repeats", repeats)):
        if not 1 <= count <= _MOST:
            raise InputError(f"{name} must lie in 1 to {_MOST}, got {count}")
    check_output(journal, overwrite=True)
    check_plan(settings, splits, seed=seed)

    def objective(found: Sequence[str], number: int) -> float:
        tried = load_recipe(recipe, profile=profile, changes=[*changes, *found])
        chosen = {**splits, "train": splits["train"][: tried.data.boxes]}
        training, validation = training_pairs(with_tables(tried, chosen), chosen)
        losses = []
        for repeat in range(repeats):
            result = fit(
                build_network(tried, seed=seed + repeat),
                training=training,
                validation=validation,
                objective=objectives(tried.loss, inputs=tried.inputs.names)[0],
                settings=tried.train,
                directory=out / f"trial-{number:03d}-{repeat}",
                seed=seed + repeat,
                vectors=tried.inputs.vectors,
                line_of_sight=tried.line_of_sight,
                announce=lambda _line: None,
            )
            losses.append(result["loss"])
        mean = sum(losses) / len(losses)
        announce(f"trial {number + 1} of {trials}: loss {mean:.5g} with {' '.join(found)}")
        return mean

    best, loss = search(
        objective,
        trials=trials,
        seed=seed,
        storage=journal,
        architecture=settings.network.architecture,
        largest_boxes=len(splits["train"]),
    )
    record = {"settings": best, "loss": loss, "trials": trials, "repeats": repeats}
    with atomic_output(out / "best.json", overwrite=True) as temporary:
        record["provenance"] = provenance(settings={"recipe": str(recipe), "profile": profile}, seed=seed)
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return best
