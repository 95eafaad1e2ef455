"""Survey descriptions: what a redshift survey is, as data that a TOML file holds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from glob import glob
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from peculiar.catalogues.frames import RedshiftFrame
from peculiar.catalogues.groups import Linking
from peculiar.catalogues.luminosity import FluxLimit, Schechter
from peculiar.catalogues.planned import RedshiftTable, SkyPatch, patches_mask
from peculiar.catalogues.sky import SkyMask, read_mask
from peculiar.catalogues.weights import Factors, factors_of
from peculiar.core import Box, Cosmology, InputError
from peculiar.core.records import StoredSides, checked

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

RadialKind = Literal["flat", "measured", "nz", "flux-limited", "tabulated"]
GroupUse = Literal["ignore", "collapse", "replace"]
COLUMNS = ("ra", "dec", "z", "mass", "weight", "magnitude", "nz")
"""Names of columns that a survey may have."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SurveyBox(_Frozen):
    """A box in comoving coordinates with the observer at (0, 0, 0), x to ra 0, z to the north pole."""

    size: StoredSides = Field(description="side of a cube, or three sides [Mpc/h]")
    origin: tuple[float, float, float] = Field(description="lower corner [Mpc/h]")

    def box(self) -> Box:
        """Return it as a box, without a mesh."""
        return Box(self.size, origin=self.origin, periodic=False)


class LuminosityFunction(_Frozen):
    """Shape of a Schechter function: see `Schechter`."""

    M_star: float
    alpha: float

    @property
    def schechter(self) -> Schechter:
        """It as a function."""
        return Schechter(self.M_star, self.alpha)


class Survey(_Frozen):
    """A redshift survey: frame, footprint, limits, radial selection, mesh and groups.

    The fields are the keys of a survey file; paths in a file are relative to the file.
    """

    name: str = ""
    frame: RedshiftFrame | None = Field(
        None, description="rest frame of the redshifts; taken as cmb, with a warning, where not stated"
    )
    mask: Path | None = Field(None, description="HEALPix map of the angular completeness")
    complete_above: float | None = Field(None, gt=0, le=1, description="mask values above count as 1")
    sky: tuple[SkyPatch, ...] = Field((), description="patches of the sky, in place of a mask")
    randoms: tuple[Path, ...] = Field(
        (), description="catalogues of random points with the survey's selection, read as one"
    )
    weights: Factors | None = Field(
        None,
        description="columns, or sums of them, that multiply to an object's weight; the column weight, or those of "
        "BOSS and eBOSS, where not given",
    )
    random_weights: Factors | None = Field(
        None, description="of the randoms; those of the objects where not given"
    )
    distances: tuple[float, float] | None = Field(None, description="comoving limits [Mpc/h]")
    redshifts: tuple[float, float] | None = Field(
        None, description="limits, of redshifts in the frame of the CMB"
    )
    radial: RadialKind = "flat"
    smoothing: float = Field(40.0, gt=0, description="of a measured radial selection [Mpc/h]")
    flux_limit: FluxLimit | None = Field(None, description="for radial = 'flux-limited'")
    luminosity_function: LuminosityFunction | None = Field(
        None, description="of a flux-limited survey; fitted to its galaxies where not given"
    )
    n_of_z: RedshiftTable | None = Field(None, description="for radial = 'tabulated'")
    galaxies: Path | None = Field(
        None, description="the survey's catalogue, in which footprints of mocks measure n(r)"
    )
    full_density: float | None = Field(
        None,
        gt=0,
        description="number density that counts as complete [(h/Mpc)^3]; chosen from n(r) where not given",
    )
    columns: dict[str, str] = Field(default_factory=dict, description="names of columns that differ")
    cell_size: float | None = Field(None, gt=0, description="[Mpc/h]; the model's where not given")
    padding: float = Field(25.0, ge=0, description="empty margin around the survey [Mpc/h]")
    box: SurveyBox | None = Field(None, description="in place of the box around the survey")
    groups: GroupUse = Field(
        "ignore", description="collapse fingers of God, or replace galaxies by their groups, before painting"
    )
    linking: Linking = Field(Linking(), description="lengths of the group finder")

    @field_validator("randoms", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        given = (value,) if isinstance(value, str | Path) else value
        if not isinstance(given, list | tuple) or not all(isinstance(one, str | Path) for one in given):
            return given
        return [file for one in given for file in _matching(Path(one))]

    @field_validator("weights", "random_weights", mode="before")
    @classmethod
    def _factors(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            return value
        return factors_of(texts)

    @model_validator(mode="after")
    def _consistent(self) -> Survey:
        if self.distances is not None and self.redshifts is not None:
            raise ValueError("give distances or redshifts, not both")
        for name, limits in (("distances", self.distances), ("redshifts", self.redshifts)):
            if limits is not None and not 0 <= limits[0] < limits[1]:
                raise ValueError(f"{name} must be 0 <= low < high, got {limits[0]:g}, {limits[1]:g}")
        if (self.radial == "flux-limited") != (self.flux_limit is not None):
            raise ValueError(
                "radial = 'flux-limited' and a table flux_limit with the faintest magnitude belong together"
            )
        if self.luminosity_function is not None and self.radial != "flux-limited":
            raise ValueError("luminosity_function belongs to radial = 'flux-limited'")
        if (self.radial == "tabulated") != (self.n_of_z is not None):
            raise ValueError("radial = 'tabulated' and a table n_of_z belong together")
        if self.mask is not None and self.sky:
            raise ValueError("give mask or sky, not both")
        if self.weights is not None and "weight" in self.columns:
            raise ValueError("give weights, or weight among the columns, not both")
        unknown = set(self.columns) - set(COLUMNS)
        if unknown:
            raise ValueError(f"columns must map {', '.join(COLUMNS)}, got {', '.join(sorted(unknown))}")
        return self

    def sky_mask(self) -> SkyMask | None:
        """Return the mask that the file names or describes by patches of the sky; None where it does neither."""
        if self.mask is not None:
            return read_mask(self.mask, complete_above=self.complete_above)
        return patches_mask(self.sky) if self.sky else None

    def limits(self, cosmology: Cosmology) -> tuple[float, float] | None:
        """Return the limits in distance [Mpc/h]; None where there are none."""
        if self.redshifts is None:
            return self.distances
        near, far = cosmology.comoving_distance(np.array(self.redshifts))
        return float(near), float(far)

    def with_changes(self, changes: Mapping[str, Any]) -> Survey:
        """Return the survey with other settings; None leaves one as it is, columns are added to those that are there.

        Limits in distance replace those in redshift, and the reverse.

        Raises
        ------
        InputError
            If a setting is wrong.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        if "distances" in given:
            given["redshifts"] = None
        elif "redshifts" in given:
            given["distances"] = None
        if "columns" in given:
            given["columns"] = self.columns | dict(given["columns"])
        if given.get("radial", "flux-limited") != "flux-limited":
            given |= {"flux_limit": None, "luminosity_function": None}
        if given.get("radial", "tabulated") != "tabulated":
            given["n_of_z"] = None
        if "mask" in given:
            given["sky"] = ()
        settings = {name: getattr(self, name) for name in Survey.model_fields}
        return make_survey(settings | given)


def _matching(path: Path) -> list[Path]:
    """Return the files that a name with * or ? in it matches, in order; a plain name is itself."""
    if not set("*?") & set(str(path)) or path.exists():
        return [path]
    found = sorted(glob(str(path)))
    if not found:
        raise ValueError(f"randoms must be files that exist, got {str(path)!r}, which none matches")
    return [Path(name) for name in found]


def make_survey(settings: Mapping[str, Any], *, where: str = "survey") -> Survey:
    """Check settings and return the survey.

    Raises
    ------
    InputError
        If a key is unknown or a value wrong; `where` and the path of the key are told.
    """
    return checked(Survey, settings, where=where)


def survey_names() -> list[str]:
    """Return the surveys that come with the package."""
    return sorted(path.stem for path in EXAMPLES.glob("*/*.toml"))


def load_survey(survey: str | Path) -> Survey:
    """Read a survey file.

    Parameters
    ----------
    survey : str or path
        A TOML file, or a name of `survey_names`.

    Raises
    ------
    InputError
        If there is no such file, it is no TOML, or a key or value is wrong.

    Examples
    --------
    >>> load_survey("sdss_dr7").frame
    'heliocentric'
    """
    shipped = {path.stem: path for path in EXAMPLES.glob("*/*.toml")}
    path = Path(survey) if str(survey).endswith(".toml") else shipped.get(str(survey))
    if path is None or not path.is_file():
        known = ", ".join(sorted(shipped))
        raise InputError(f"survey must be a .toml file that exists or one of {known}, got {str(survey)!r}")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"survey must be a TOML file, got {path} ({error})") from None
    for key in ("mask", "randoms", "galaxies"):
        value = settings.get(key)
        if isinstance(value, str):
            settings[key] = path.parent / value
        elif isinstance(value, list) and all(isinstance(name, str) for name in value):
            settings[key] = [path.parent / name for name in value]
    return make_survey(settings, where=path.name)


def resolve_survey(
    survey: str | Path | None = None, *, magnitude_limit: float | None = None, **changes: Any
) -> Survey:
    """Return a survey with single settings changed; those that are None stay as the file has them.

    Parameters
    ----------
    survey : str or path, optional
        See `load_survey`; without it, the changes alone make the survey.
    magnitude_limit : float, optional
        Faintest apparent magnitude: makes the radial selection flux-limited; the rest of the file's ``flux_limit``
        stays.
    **changes
        Fields of `Survey`.

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
