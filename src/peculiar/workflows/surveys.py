"""A survey from a file, with what the command line changes of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from peculiar.catalogues.survey import Survey, load_survey


def resolve_survey(
    survey: str | Path | None = None, *, magnitude_limit: float | None = None, **changes: Any
) -> Survey:
    """Return a survey with single settings changed; those that are None stay as the file has them.

    Parameters
    ----------
    survey : str or path, optional
        See `peculiar.catalogues.load_survey`; without it, the changes alone make the survey.
    magnitude_limit : float, optional
        Faintest apparent magnitude: makes the radial selection flux-limited; the rest of the file's ``flux_limit``
        stays.
    **changes
        Fields of `peculiar.catalogues.Survey`.

    Raises
    ------
    InputError
        If the file or a setting is wrong.

    Examples
    --------
    >>> resolve_survey("sdss_dr7", distances=(80.0, 200.0)).distances
    (80.0, 200.0)
    """
    base = Survey() if survey is None else load_survey(survey)
    if magnitude_limit is not None:
        known = {} if base.flux_limit is None else asdict(base.flux_limit)
        changes |= {"radial": "flux-limited", "flux_limit": known | {"faintest": magnitude_limit}}
    return base.with_changes(changes)
