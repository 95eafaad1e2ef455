"""Commands about the velocities of a reconstructed field: query, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from peculiar.cli.app import Force, Space, announce, app, numbers, pairs
from peculiar.cli.surveys import Columns, Frame

FieldPath = Annotated[Path, typer.Argument(help="zarr of `peculiar reconstruct`, or a published field.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ObserverText = Annotated[
    str | None,
    typer.Option(help="Observer in the field's box [Mpc/h].", metavar="X,Y,Z", show_default="the field's"),
]
CosmologyText = Annotated[
    str | None,
    typer.Option(help="A preset, astropy's name, or Omega_m=0.3,h=0.7.", show_default="the field's"),
]


def _place(observer: str | None, cosmology: str | None) -> dict[str, Any]:
    from peculiar.core.cosmologies import parse_cosmology

    return {
        "observer": numbers("--observer", observer, 3),
        "cosmology": None if cosmology is None else parse_cosmology(cosmology),
    }


def _external(text: str | None) -> Any:
    """Return three numbers, or the path that it is."""
    if text is None or Path(text).exists():
        return text
    if "," not in text:
        from peculiar.core import InputError

        raise InputError(
            f"--external must be X,Y,Z in km/s, or a file that exists, got {text!r}: check the path"
        )
    return numbers("--external", text, 3)


@app.command()
def query(
    field: FieldPath,
    ra: Annotated[str | None, typer.Option(help="Right ascension in degrees, or several: 10,20.")] = None,
    dec: Annotated[str | None, typer.Option(help="Declination in degrees, or several.")] = None,
    z: Annotated[str | None, typer.Option(help="Redshift, or several.")] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="Table with ra, dec and z, instead of numbers.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The table with the answers beside its columns.")] = None,
    frame: Annotated[Frame | None, typer.Option(help="Rest frame of z.", show_default="cmb")] = None,
    space: Annotated[
        Space, typer.Option(help="real: z is a distance and holds no peculiar velocity.")
    ] = "redshift",
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Error of cz and motions about the field at the mean density, in km/s.", show_default="200"
        ),
    ] = None,
    unseen: Annotated[
        Literal["nan", "keep"],
        typer.Option(help="Values where the survey saw nothing: none, or what the field extrapolates."),
    ] = "nan",
    external: Annotated[
        str | None,
        typer.Option(
            help="V_ext added to the field: celestial X,Y,Z in km/s, or the output of compare.",
            metavar="X,Y,Z|PATH",
            show_default="none",
        ),
    ] = None,
    vpec: Annotated[
        bool,
        typer.Option(
            "--vpec", help="Add VPEC, VPEC_ERR (km/s) and zHD, as catalogues of supernovae have them."
        ),
    ] = False,
    observer: ObserverText = None,
    cosmology: CosmologyText = None,
    column: Columns = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Velocity, its line-of-sight part and density of a field at places on the sky."""
    from peculiar.core import InputError
    from peculiar.fields.objects import DISPERSION
    from peculiar.inference.query_result import explain
    from peculiar.workflows.query import query as ask
    from peculiar.workflows.query import query_file

    given = {"--ra": ra, "--dec": dec, "--z": z}
    some = [name for name, text in given.items() if text is not None]
    if catalogue is None and len(some) < 3:
        raise InputError(
            f"query needs --ra, --dec and --z, or --catalogue and --out, got {', '.join(some) or 'none'}"
        )
    if catalogue is not None and (some or out is None):
        raise InputError("--catalogue needs --out for the answers, and takes no --ra, --dec or --z")
    if catalogue is None and (out is not None or column):
        raise InputError("--out and --column are for --catalogue, got them with numbers")
    if vpec and catalogue is None and not json:
        raise InputError("--vpec needs --catalogue and --out, or --json, got neither")
    place = _place(observer, cosmology)
    options: dict[str, Any] = {
        "frame": frame or "cmb",
        "space": space,
        "sigma": DISPERSION if sigma is None else sigma,
        "unseen": unseen,
        "external": _external(external),
    }
    if catalogue is not None and out is not None:
        columns = pairs("--column", column)
        if frame is None:
            announce("peculiar: the rest frame of z is not stated, and taken as that of the CMB (--frame)")
        result = query_file(
            field, catalogue, out=out, columns=columns, vpec=vpec, force=force, **place, **options
        )
    else:
        places = {name[2:]: numbers(name, text, (text or "").count(",") + 1) for name, text in given.items()}
        result = ask(field, **places, **place, **options)
    for reason, line in explain(result.missing).items():
        kept = reason == "unseen" and unseen == "keep"
        announce(f"peculiar: {line}: {'values are extrapolated' if kept else 'NaN'}")
    if json:
        from json import dumps

        typer.echo(dumps(result.records(vpec=vpec), indent=1))
    elif out is not None:
        typer.echo(f"{out}")
    else:
        announce(f"peculiar: total: {result.meanings()['v_los_total_error']}")
        error = "" if result.v_los_error is None else "    error"
        typer.echo(
            f"    v_los{error}  scatter    total      own    error"
            "       vx       vy       vz    delta  z_cosmological  solutions"
        )
        for row in range(len(result)):
            error = "" if result.v_los_error is None else f"{result.v_los_error[row]:9.1f}"
            vx, vy, vz = result.velocities[row]
            typer.echo(
                f"{result.v_los[row]:9.1f}{error}{result.v_los_scatter[row]:9.1f}"
                f"{result.v_los_total_error[row]:9.1f}{result.v_los_own[row]:9.1f}{result.v_los_own_error[row]:9.1f}"
                f"{vx:9.1f}{vy:9.1f}{vz:9.1f}"
                f"{result.delta[row]:9.3f}{result.z_cosmological[row]:16.6f}{result.solutions[row]:11d}"
            )


@app.command()
def compare(
    distances: Annotated[
        Path,
        typer.Argument(
            help="Table with ra, dec or l, b; cz in km/s or z; mu and mu_error in mag, or eta and eta_error. Those of "
            "Cosmicflows-4, Pantheon+, SDSS and DESI are known."
        ),
    ],
    field: Annotated[
        list[Path],
        typer.Option(
            help="zarr of `peculiar reconstruct`, or a published field; several are compared on the same objects.",
            show_default=False,
        ),
    ],
    frame: Annotated[
        Frame | None,
        typer.Option(help="Rest frame of cz or z.", show_default="what a known table has"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory: comparison.json, the figure, the objects with velocities.")
    ] = None,
    cz: Annotated[
        str | None, typer.Option(help="LOW,HIGH: objects to use, CMB frame, km/s.", metavar="LOW,HIGH")
    ] = None,
    shells: Annotated[
        str | None, typer.Option(help="Limits of shells of cz in km/s.", show_default="4 of equal numbers")
    ] = None,
    density_bias: Annotated[float, typer.Option(help="Objects are as dense as (1 + delta)^bias.")] = 1.0,
    radial: Annotated[
        Literal["flat", "measured"],
        typer.Option(help="Density of objects with distance: even, or as counted."),
    ] = "flat",
    sigma_v: Annotated[
        float | None, typer.Option(help="Scatter about the field in km/s.", show_default="fitted")
    ] = None,
    bootstraps: Annotated[int, typer.Option(help="Sets of blocks of the sky drawn with replacement.")] = 100,
    seed: Annotated[int, typer.Option(help="Of those sets.")] = 0,
    draws: Annotated[
        bool, typer.Option("--draws", help="Average the likelihood over the draws in each field's directory.")
    ] = False,
    observer: ObserverText = None,
    cosmology: CosmologyText = None,
    column: Columns = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Test the velocities of fields against measured distances: beta, dipole, scatter, correlations, evidence."""
    from peculiar.workflows.compare import CompareOptions, compare_file
    from peculiar.workflows.comparison import summary

    options = CompareOptions(
        frame=frame,
        columns=pairs("--column", column),
        cz_range=numbers("--cz", cz, 2),
        shells=None if shells is None else numbers("--shells", shells, shells.count(",") + 1),
        density_bias=density_bias,
        radial=radial,
        sigma_v=sigma_v,
        bootstraps=bootstraps,
        seed=seed,
        draws=draws,
    )
    result = compare_file(
        distances,
        field=field,
        options=options,
        out=out,
        force=force,
        **_place(observer, cosmology),
    )
    for line in result.missing:
        announce(f"peculiar: {line} and are not used")
    if json:
        from json import dumps

        typer.echo(dumps(result.record(), indent=1))
    else:
        typer.echo(summary(result))
        if out is not None:
            typer.echo(f"{out}")
