"""The search of Xiao et al. 2024 for hyperparameters: Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peculiar.core.errors import InputError
from peculiar.core.extras import extra

Objective = Callable[[Sequence[str], int], float]


def search(
    objective: Objective,
    *,
    trials: int,
    seed: int,
    storage: Path,
    architecture: str,
    largest_boxes: int,
) -> tuple[list[str], float]:
    """Search learning rate, dropout, number of training boxes, channels and batch size for the least loss.

    Parameters
    ----------
    objective : callable
        From settings (as ``train.lr=1e-4``) and the number of the trial to a validation loss.
    trials : int
        Trials in all; those in `storage` count.
    seed : int
        Of the sampler.
    storage : path
        Journal of the study; a search that was interrupted goes on from it.
    architecture : str
        "xiao2024" (channels N1, N2 = 2 N1, N3 = 4 N1) or "residual" (width).
    largest_boxes : int
        Training boxes that there are.

    Returns
    -------
    settings : list of str
        Of the best trial.
    loss : float
        Its validation loss.

    Raises
    ------
    InputError
        If there is no trial to make or the architecture has no search space.
    """
    with extra("train"):
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

    if trials < 1:
        raise InputError(f"trials must be >= 1, got {trials}")
    if architecture not in ("xiao2024", "residual"):
        raise InputError(f"architecture must be xiao2024 or residual to be tuned, got {architecture!r}")

    def run(trial: optuna.Trial) -> float:
        changes = suggest(trial, architecture=architecture, largest_boxes=largest_boxes)
        trial.set_user_attr("settings", changes)
        return objective(changes, trial.number)

    storage.parent.mkdir(parents=True, exist_ok=True)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(storage))),
                study_name="peculiar",
                load_if_exists=True,
                sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=5),
            )
        done = len([trial for trial in study.trials if trial.state.is_finished()])
        study.optimize(run, n_trials=max(trials - done, 0))
    finally:
        optuna.logging.set_verbosity(before)
    return list(study.best_trial.user_attrs["settings"]), float(study.best_value)


def suggest(trial: Any, *, architecture: str, largest_boxes: int) -> list[str]:
    """Draw the five hyperparameters of a trial, as settings of a recipe."""
    rate = trial.suggest_float("lr", 1e-4, 5e-3, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    boxes = trial.suggest_int("boxes", min(2, largest_boxes), largest_boxes)
    channels = trial.suggest_categorical("channels", [8, 16, 32])
    batch = trial.suggest_categorical("batch_size", [1, 2, 4])
    width = (
        f"network.settings.channels=[{channels}, {2 * channels}, {4 * channels}]"
        if architecture == "xiao2024"
        else f"network.settings.width={channels}"
    )
    return [
        f"train.lr={rate!r}",
        f"network.settings.dropout={dropout!r}",
        f"data.boxes={boxes}",
        width,
        f"train.batch_size={batch}",
    ]
