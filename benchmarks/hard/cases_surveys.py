"""Cases of survey files and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from changes import FILE_CHANGES
from sandbox import Case, Expected

SURVEY = "reconstruct survey.fits --sky --survey survey.toml --model iterative --out out.zarr"
MASKED = "reconstruct survey.fits --sky --mask mask.fits --cell-size 8 --model iterative --out out.zarr"

SURVEY_KEYS: dict[str, tuple[str, ...]] = {
    "name": ("3", "[]"),
    "frame": ("'nonsense'", "3", "''"),
    "mask": ("'nowhere.fits'", "3", "''", "'.'", "'survey.fits'", "'/dev/null'", "[]"),
    "complete_above": ("0", "2", "nan", "-1", "'a'"),
    "randoms": ("'nowhere.fits'", "3", "'mask.fits'"),
    "distances": ("[80.0, 5.0]", "[5.0]", "[nan, 80.0]", "[-5.0, 80.0]", "[5.0, inf]", "3", "'a'",
        "[500.0, 600.0]", "[5.0, 5.0]"),
    "redshifts": ("[0.001, 0.02]", "[0.02, 0.001]", "[nan, 1.0]"),
    "radial": ("'nonsense'", "3", "'flux-limited'", "'measured'"),
    "smoothing": ("0", "-1", "nan", "inf", "'a'"),
    "flux_limit": ("3", "{}", "{faintest = nan}", "'a'"),
    "full_density": ("0", "-1", "nan", "inf", "1e30", "1e-30"),
    "columns": ("{z = 'nowhere'}", "{nonsense = 'z'}", "3", "{z = 3}", "{z = ''}", "{ra = 'dec', dec = 'ra'}"),
    "cell_size": ("0", "-1", "nan", "inf", "1e-6", "1e6", "'a'"),
    "padding": ("-1", "nan", "inf", "1e30", "'a'"),
    "box": ("3", "{size = 0, origin = [0, 0, 0]}", "{size = nan, origin = [0, 0, 0]}", "{size = 10, origin = [0, 0]}",
            "{size = 1e9, origin = [0, 0, 0]}", "{size = 10, origin = [nan, 0, 0]}",
            "{size = 5, origin = [1000, 1000, 1000]}"),
    "groups": ("'nonsense'", "3"),
    "linking": ("{perpendicular = 0, parallel = 1}", "{perpendicular = nan, parallel = 1}", "3",
        "{perpendicular = -1, parallel = 1}"),
    "nonsense": ("1",),
}  # fmt: skip
SURVEY_EITHER = {
    ("radial", "'measured'"), ("full_density", "1e-30"), ("full_density", "1e30"), ("columns",
    "{ra = 'dec', dec = 'ra'}"), ("cell_size", "1e6"),
    ("full_density", "inf"), ("smoothing", "inf"),
}  # fmt: skip


def survey_cases() -> Iterator[Case]:
    """Survey files: keys with other values, and texts that are none."""
    words, needs = tuple(SURVEY.split()), ("survey.fits", "mask.fits", "survey.toml")
    yield Case("surveys/as it is", words, needs, expected="right", nan=True)
    for key, values in SURVEY_KEYS.items():
        for value in values:

            def edit(directory: Path, key: str = key, value: str = value) -> None:
                path = directory / "survey.toml"
                lines = path.read_text().replace("[columns]\nz = ", "columns.z = ").splitlines()
                kept = [line for line in lines if not line.startswith((f"{key} ", f"{key}."))]
                path.write_text("\n".join([*kept, f"{key} = {value}"]) + "\n")

            expected: Expected = (
                "either" if (key, value) in SURVEY_EITHER or (key, value) == ("name", "3") else "refused"
            )
            yield Case(f"surveys/{key} = {value}", words, needs, edit, expected, nan=True)
    for change in FILE_CHANGES:

        def damage(directory: Path, change: Callable[[Path], None] = change.apply) -> None:
            change(directory / "survey.toml")

        free = change.name in ("without its end", "first half") or change.name.startswith("bit")
        yield Case(
            f"surveys/file/{change.name}", words, needs, damage, "either" if free else "refused", nan=True
        )


def mask_cases() -> Iterator[Case]:
    """Maps of completeness."""
    words = tuple(MASKED.split())
    needs = ("survey.fits", "mask.fits")
    for change in FILE_CHANGES:

        def damage(directory: Path, change: Callable[[Path], None] = change.apply) -> None:
            change(directory / "mask.fits")

        yield Case(f"masks/file/{change.name}", words, needs, damage, change.expected, nan=True)
    values: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Expected]] = {
        "nan": (lambda m: np.where(np.arange(len(m)) == 5, np.nan, m), "either"),
        "all nan": (lambda m: m * np.nan, "refused"),
        "zeros": (lambda m: m * 0, "refused"),
        "negative": (lambda m: -m, "refused"),
        "two": (lambda m: 2 * m, "refused"),
        "inf": (lambda m: np.where(np.arange(len(m)) == 5, np.inf, m), "refused"),
        "UNSEEN": (lambda m: np.where(np.arange(len(m)) < 20, -1.6375e30, m), "either"),
        "tiny": (lambda m: m * 1e-30, "either"),
        "one pixel": (lambda m: (np.arange(len(m)) == 5) * 1.0, "refused"),
    }
    for name, (edit, expected) in values.items():

        def write(directory: Path, edit: Callable[[np.ndarray], np.ndarray] = edit) -> None:
            import healpy

            found = healpy.read_map(directory / "mask.fits")
            healpy.write_map(directory / "mask.fits", edit(found), dtype=np.float64, overwrite=True)

        yield Case(f"masks/values {name}", words, needs, write, expected, nan=True)
    headers = {"NSIDE": (3, 0, -4, 1 << 29, "a", None), "ORDERING": ("NESTED", "nonsense", 3, None),
    "COORDSYS": ("G", "E", "nonsense", 3),
               "PIXTYPE": ("nonsense", None), "INDXSCHM": ("EXPLICIT", "nonsense"), "TFORM1": ("1024K", "16A",
                   "nonsense", None),
               "NAXIS2": (0, 3, 1 << 40, -1)}  # fmt: skip
    for key, options in headers.items():
        for value in options:

            def head(directory: Path, key: str = key, value: object = value) -> None:
                path = directory / "mask.fits"
                content = path.read_bytes()
                place = content.index(f"{key:8}=".encode(), 2880)
                shown = f"'{value}'" if isinstance(value, str) else f"{value!s:>20}"
                card = " " * 80 if value is None else f"{key:8}= {shown}".ljust(80)
                path.write_bytes(content[:place] + card.encode() + content[place + 80 :])

            free = key in ("ORDERING", "COORDSYS", "PIXTYPE", "INDXSCHM") or (key, value) in (
                ("NSIDE", None),
                ("NSIDE", "a"),
            )
            yield Case(
                f"masks/header {key} {value}", words, needs, head, "either" if free else "refused", nan=True
            )
