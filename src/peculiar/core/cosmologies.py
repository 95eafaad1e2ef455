"""Cosmologies by name, as they are given on a command line."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

from peculiar.core import PRESETS, Cosmology, InputError


def parse_cosmology(text: str, *, base: Cosmology | None = None) -> Cosmology:
    """Return the cosmology that a text names.

    Parameters
    ----------
    text : str
        A preset of `peculiar.PRESETS`, a cosmology of astropy (``Planck18``), or values as ``Omega_m=0.3,h=0.7``; a
        name may stand first, and the values then change it. ``A_s`` may be given in place of ``sigma8``.
    base : Cosmology, optional
        What values change where no name is given; that of Xiao et al. 2024 if not given.

    Raises
    ------
    InputError
        If the name or a key is unknown, or a value is no number or out of range.

    Examples
    --------
    >>> parse_cosmology("wu2021,Omega_m=0.3").Omega_m
    0.3
    """
    cosmology = base or PRESETS["xiao2024"]
    known = {item.name for item in fields(Cosmology)} | {"A_s"}
    values: dict[str, float] = {}
    for position, part in enumerate(item.strip() for item in text.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            if position:
                raise InputError(f"cosmology must be NAME, KEY=VALUE,... or NAME,KEY=VALUE,..., got {text!r}")
            cosmology = _named(key)
            continue
        if key not in known:
            raise InputError(
                f"cosmology must have keys among {', '.join(sorted(known))}, got {key!r} in {text!r}"
            )
        if key in values:
            raise InputError(f"cosmology must have each key once, got {key!r} again in {text!r}")
        try:
            values[key] = float(value)
        except ValueError:
            raise InputError(f"cosmology {key} must be a number, got {value!r} in {text!r}") from None
    amplitude = values.pop("A_s", None)
    if amplitude is not None and "sigma8" in values:
        raise InputError(f"cosmology must have A_s or sigma8, got both in {text!r}")
    changed = replace(cosmology, **values)
    return changed if amplitude is None else changed.with_amplitude(amplitude)


def _named(name: str) -> Cosmology:
    if name in PRESETS:
        return PRESETS[name]
    from astropy.cosmology import available, realizations

    if name in available:
        return Cosmology.from_astropy(getattr(realizations, name))
    raise InputError(
        f"cosmology must be one of {', '.join(PRESETS)}, one of astropy's ({', '.join(available)}), or values such as "
        f"Omega_m=0.3,h=0.7, got {name!r}"
    )


def cosmology_settings(cosmology: Cosmology) -> dict[str, float]:
    """Return a cosmology's parameters by name."""
    return {key: float(value) for key, value in asdict(cosmology).items()}
