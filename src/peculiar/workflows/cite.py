"""`peculiar cite`: what a result rests on, papers and codes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from peculiar.catalogues import load_survey
from peculiar.core.errors import InputError
from peculiar.evaluation.record import Evaluation
from peculiar.fields.files import HDF5, FieldAttributes, read_attributes
from peculiar.inference.model_card import find_model, read_card
from peculiar.inference.reconstruction import Reconstruction

EXAMPLE = "sdss_dr7"
SIMULATION = "simulation"
"""What boxes and pairs of the particle mesh rest on."""
_IN_BIBTEX = ("authors", "title", "journal", "volume", "pages", "year", "doi", "arxiv")


@dataclass(frozen=True)
class Reference:
    """A paper or code, and what it is cited for.

    Attributes
    ----------
    key : str
        Of its BibTeX entry.
    what : str
        What was taken from it.
    authors : tuple of str
        "Family, Given"; "others" for those that are left out.
    title : str
    year : int
    journal, volume, pages, doi, arxiv : str
        "" where there is none.
    """

    key: str
    what: str
    authors: tuple[str, ...]
    title: str
    year: int
    journal: str = ""
    volume: str = ""
    pages: str = ""
    doi: str = ""
    arxiv: str = ""

    def __str__(self) -> str:
        first = self.authors[0].partition(",")[0].strip("{}")
        last = self.authors[-1].partition(",")[0]
        names = {1: first, 2: f"{first} & {last}" if last != "others" else f"{first} et al."}
        where = f"doi:{self.doi}" if self.doi else f"arXiv:{self.arxiv}" if self.arxiv else ""
        entries = [f"{names.get(len(self.authors), f'{first} et al.')} ({self.year})", self.title, where]
        return ", ".join(filter(None, entries)) + f": {self.what}"

    def bibtex(self) -> str:
        """Return its BibTeX entry."""
        named = {"authors": "author", "arxiv": "eprint"}
        values = {name: getattr(self, name) for name in _IN_BIBTEX if getattr(self, name)}
        values |= {"authors": " and ".join(self.authors), "title": f"{{{self.title}}}"}
        lines = [f"  {named.get(name, name)} = {{{value}}}," for name, value in values.items()]
        if self.arxiv:
            lines.append("  archivePrefix = {arXiv},")
        kind = "article" if self.journal or self.arxiv else "software"
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


def cite(result: Reconstruction | Path | str) -> tuple[Reference, ...]:
    """Return what a result rests on: its models, how it was judged, the data and the codes.

    Parameters
    ----------
    result : Reconstruction, path or str
        Fields (zarr or HDF5) of `peculiar reconstruct` or `flow`, particles of `emulate`, a box or pair of `simulate`,
        directory of `evaluate`, or a model: a name, its card or its weights.

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> [reference.key for reference in cite("wu2021")][:2]
    ['wu2021', 'fastpm2016']
    """
    table = tomllib.loads((files("peculiar") / "references.toml").read_text(encoding="utf-8"))
    keys = [*_rests(result, table), *table["rests"]["always"]]
    found = {key: table["references"][key] for key in dict.fromkeys(keys)}
    return tuple(
        Reference(key, **entry | {"authors": tuple(entry["authors"])}) for key, entry in found.items()
    )


def _rests(result: Reconstruction | Path | str, table: dict[str, Any]) -> list[str]:
    """Return the keys of the references that a result rests on."""
    judged: list[str] = []
    if isinstance(result, Reconstruction):
        names = _of_fields(result.attributes())
    elif (Path(result) / "scores.json").is_file():
        evaluation = Evaluation.open(result)
        names, judged = evaluation.models, [table["judged"][evaluation.kind]]
    elif Path(result).is_dir():
        names = _of_fields(read_attributes(result, FieldAttributes))
    elif str(result).endswith(HDF5):
        names = _of_hdf5(Path(result))
    else:
        card = read_card(find_model(result))
        names = [card.name, card.architecture]
    return [key for name in names for key in table["rests"].get(name, ())] + judged


def _of_hdf5(path: Path) -> list[str]:
    """Return the model and the data of fields or particles, or that a file is one of the simulations.

    Raises
    ------
    InputError
        If it is none of ours.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
        settings = json.loads(attributes.get("settings", "{}"))
        settings |= json.loads(attributes.get("provenance", "{}")).get("settings", {})
        simulated = "settings" in attributes and "cosmology" in attributes
        model = str(attributes.get("model", settings.get("model", SIMULATION if simulated else "")))
        names = _of_fields(attributes | {"model": model})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"result must be a whole HDF5 file of peculiar, got {path} ({error})") from None
    if not model:
        raise InputError(
            f"result must be an HDF5 file of `reconstruct --hdf5`, `emulate` or `simulate`, got {path}"
        )
    return names


def _of_fields(attributes: Mapping[str, Any]) -> list[str]:
    """Return the model and the data of fields."""
    survey = json.loads(attributes.get("provenance", "{}")).get("settings", {}).get("survey")
    example = isinstance(survey, dict) and survey.get("name") == load_survey(EXAMPLE).name
    return [attributes.get("model", ""), *(["sky"] if survey else []), *([EXAMPLE] if example else [])]
