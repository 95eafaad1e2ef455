"""Cases of settings: recipes, `--set`, cosmologies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from changes import FILE_CHANGES
from material import TRAINING
from sandbox import Case, Expected

TRAIN = TRAINING.replace("--out trained", "--out out")
RECONSTRUCT = "reconstruct halos.fits --box 40 --cells 8 --model iterative --redshift 0.5 --out out.zarr"

SETTINGS: dict[str, tuple[str, ...]] = {
    "name": ("''", "a/b", "'..'", "3", "nonsense ☕", "[]"),
    "network": ("3", "nonsense", "[]"),
    "network.architecture": ("nonsense", "3", "''", "wu2021", "painter", "xiao2024"),
    "network.settings": ("3", "[]", "{nonsense=1}"),
    "network.settings.width": ("0", "-1", "nan", "1.5", "nonsense", "1e9", "1000000", "[]"),
    "network.settings.levels": ("0", "-1", "40", "nonsense"),
    "network.settings.blocks": ("[]", "[0]", "3", "['a']", "[-1]", "[1,1,1,1,1,1,1]"),
    "network.settings.input_scale": ("[]", "{abundance=0}", "{abundance=nan}", "{nonsense=1}", "3", "nonsense"),
    "network.settings.inputs": ("[]", "['a']", "3", "nonsense"),
    "inputs.kind": ("nonsense", "3", "density", "''"),
    "inputs.smoothing": ("0", "-1", "nan", "inf", "nonsense", "1e30"),
    "inputs.bias": ("0", "-1", "nan", "nonsense"),
    "inputs.iterations": ("0", "-1", "1.5", "nonsense"),
    "inputs.abundances": ("[]", "[0]", "[nan]", "[1e-3,1e-4]", "3", "[-1]"),
    "inputs.nonsense": ("1",),
    "data.train": ("[2,1]", "[1]", "[]", "[1,600]", "nonsense", "[-5,-1]", "[7000,8000]", "[1.5,2]"),
    "data.validation": ("[1,500]", "[7000,7001]"),
    "data.boxes": ("0", "-1", "50", "nonsense", "1.5", "nan"),
    "data.variants": ("[]", "3", "nonsense", "[{}]", "[{number_density=0}]", "[{number_density=nan}]",
        "[{number_density=inf}]",
                      "[{satellite_fraction=2}]", "[{line_of_sight='w'}]", "[{nonsense=1}]", "[{space='w'}]"),
    "data.symmetries": ("nonsense", "3"),
    "data.velocity": ("nonsense",),
    "loss.kind": ("nonsense", "flow", "published", "3"),
    "loss.density": ("-1", "nan", "inf", "nonsense", "1e400"),
    "loss.velocity_scale": ("0", "nan", "-1"),
    "loss.margin": ("-1", "100", "4", "1.5", "nonsense"),
    "train": ("3", "{}", "[]", "{steps=2,nonsense=1}"),
    "train.steps": ("0", "-1", "1.5", "nan", "nonsense", "''", "9" * 30),
    "train.lr": ("0", "-1", "nan", "inf", "1e30", "nonsense"),
    "train.schedule": ("nonsense",),
    "train.warmup": ("1", "-0.1", "nan"),
    "train.optimiser": ("nonsense", "sgd"),
    "train.weight_decay": ("-1", "nan", "inf"),
    "train.clip": ("-1", "nan"),
    "train.frozen_norm": ("2", "nan"),
    "train.ema": ("1", "nan", "-1"),
    "train.crop": ("-1", "1", "3", "17", "1000000", "nonsense"),
    "train.batch_size": ("0", "-1", "100000000", "nonsense"),
    "train.precision": ("nonsense", "fp8"),
    "train.accelerator": ("nonsense", "cuda", "tpu"),
    "train.devices": ("nonsense", "0", "-5", "1000"),
    "train.strategy": ("nonsense",),
    "train.checkpoint_every": ("0", "-1"),
    "train.validate_every": ("0", "nan"),
    "train.max_minutes": ("0", "-1", "nan", "nonsense"),
    "card.redshift_range": ("[2,1]", "[nan,1]", "3", "[]"),
    "card.number_density_range": ("[2e-3,1e-3]", "[0,0]", "[nan,nan]", "nonsense"),
    "card.symmetry_average": ("0", "49", "nonsense"),
    "nonsense": ("1",),
    "train.nonsense.deeper": ("1",),
    "train.lr.deeper": ("1",),
}  # fmt: skip
SETTINGS_EITHER = {
    ("inputs.bias", "0"), ("inputs.bias", "-1"), ("network.settings", "{nonsense=1}"), ("data.variants", "[{}]"),
    ("train.lr", "1e30"), ("train.crop", "1"), ("train.crop", "3"), ("train.crop", "17"), ("loss.density", "1e400"),
    ("data.velocity", "nonsense"), ("inputs.iterations", "0"), ("network.settings.width", "1e9"),
    ("inputs.smoothing", "1e30"), ("inputs.smoothing", "0"),
    ("train", "{}"),
    ("network.settings.blocks", "[1,1,1,1,1,1,1]"), ("train.strategy", "nonsense"), ("inputs.abundances",
    "[1e-3,1e-4]"),
}  # fmt: skip
TEXTS = (
    "", "=", "=1", "train.lr", "train.lr=", ".lr=1", "train.=1", "train..lr=1", "train.lr=[", "train.lr={",
    "train.lr=1\ntrain.steps=2",
    "train.lr='", "train.lr=1979-05-27", "train.lr=true", 'train.lr="""', "train.lr=0x10", "train.lr=1_000",
    "train.lr=\x00", "train.lr=☕",
    "TRAIN.LR=1", " train.lr = 1e-3 ", "a" * 5000 + "=1", ".".join("a" * 2000) + "=1", "train.lr=" + "[" * 3000,
    "train.lr=1 # much",
    "train.lr=1]", "train = 1", "train.steps=3=4", "'train'.lr=1", "train.lr=inf", "train.lr=+nan",
    "train.lr=0o7", "train.lr=1e-4\n",
)  # fmt: skip
TEXTS_RIGHT = {" train.lr = 1e-3 ", "train.lr=1e-4\n"}
TEXTS_EITHER = {
    "train.lr=1_000",
    "train.lr=1 # much",
    "train.lr=0x10",
    "train.lr=0o7",
    "train.lr=1\ntrain.steps=2",
}

COSMOLOGIES: dict[str, Expected] = {
    "Planck18": "right", "xiao2024": "right", "wu2021,Omega_m=0.3": "right", "Omega_m=0.3,h=0.7": "right",
    " Omega_m = 0.3 ": "right",
    "Omega_m=0.3,A_s=2e-9": "right", "": "refused", ",": "refused", "=": "refused", "Omega_m": "refused",
    "Omega_m=": "refused",
    "Omega_m=abc": "refused", "Omega_m=nan": "refused", "Omega_m=inf": "refused", "Omega_m=0": "refused",
    "Omega_m=-0.3": "refused",
    "Omega_m=2": "refused", "Omega_m=0.04": "refused", "Omega_m=1": "either",
    "Omega_m=1e-3,Omega_b=1e-4": "either", "Omega_m=0.3,Omega_m=0.4": "refused",
    "Omega_b=0": "either", "Omega_b=nan": "refused", "Omega_b=-1": "refused", "Omega_b=0.267": "either",
    "Omega_b=1e-12": "either",
    "h=0": "refused", "h=nan": "refused", "h=70": "refused", "h=0.01": "either", "h=4.9": "either",
    "h=-0.7": "refused",
    "n_s=0": "refused", "n_s=nan": "refused", "n_s=4.9": "either", "n_s=-1": "refused", "sigma8=0": "refused",
    "sigma8=nan": "refused",
    "sigma8=1e-9": "either", "sigma8=4.9": "either", "A_s=0": "refused", "A_s=-2e-9": "refused",
    "A_s=nan": "refused", "A_s=inf": "refused", "A_s=1": "refused",
    "A_s=2e-9,sigma8=0.8": "refused", "A_s=1e-300": "refused", "Planck18,Planck15": "refused",
    "Omega_m=0.3,Planck18": "refused",
    "planck18": "either", "Planck99": "refused", "nonsense": "refused", "WMAP9": "right",
    "w0=-0.9": "right", "w0=nan": "refused", "w0=0.5": "refused", "w0=-0.9,wa=2": "refused", "wa=inf": "refused",
    "m_nu=0.06": "refused", "m_nu=0.06,T_cmb=2.7255": "right", "m_nu=-1,T_cmb=2.7255": "refused",
    "N_massive=1.5": "refused",
    "Planck13,": "refused",
    "available": "refused", "__doc__": "refused", "Omega_m=0.3;h=0.7": "refused", "☕": "refused",
    "x" * 10000: "refused", "Omega_m=1_0": "refused",
    "Omega_m=٠.٣": "either", "Omega_m=0.3,h": "refused", "file.toml": "refused",
}  # fmt: skip
NEUTRINOS = {"Planck18", "m_nu=0.06,T_cmb=2.7255"}
"""Those with massive neutrinos, which are no particles of the simulations."""


def recipe_cases() -> Iterator[Case]:
    """Recipes: keys by --set and in the file, and texts that are none."""
    changes = ("run/cache/*",)
    words = TRAIN.split()
    for key, values in SETTINGS.items():
        for value in values:
            expected: Expected = "either" if (key, value) in SETTINGS_EITHER else "refused"
            shown = value if len(value) < 25 else value[:10] + "..."
            yield Case(
                f"recipes/--set {key}={shown}",
                (*words, "--set", f"{key}={value}"),
                ("run",),
                expected=expected,
                changes=changes,
            )
    for number, text in enumerate(TEXTS):
        expected = "right" if text in TEXTS_RIGHT else "either" if text in TEXTS_EITHER else "refused"
        yield Case(
            f"recipes/text {number:02d} {text[:20]!r}",
            (*words, "--set", text),
            ("run",),
            expected=expected,
            changes=changes,
        )
    file = ("train", "recipe.toml", *words[2:])
    yield Case("recipes/file/as it is", file, ("run", "recipe.toml"), expected="right", changes=changes)
    for change in FILE_CHANGES:

        def damage(directory: Path, change: Callable[[Path], None] = change.apply) -> None:
            change(directory / "recipe.toml")

        free = change.name in ("without its end", "first half") or change.name.startswith("bit")
        yield Case(
            f"recipes/file/{change.name}",
            file,
            ("run", "recipe.toml"),
            damage,
            "either" if free else "refused",
            changes=changes,
        )
    tables = {
        "profiles a number": ("[profiles.smoke]", "[profilez.smoke]"),
        "no profile": ("[profiles.smoke]", "[profiles.other]"),
        "profile a number": ("[profiles.smoke]", "[profiles]\nsmoke = 3\n[other]"),
        "profiles a list": ("[profiles.smoke]", "[[profiles]]"),
        "key twice": ('name = "residual"', 'name = "residual"\nname = "other"'),
        "no name": ('name = "residual"', ""),
        "no network": ("[network]", "[nothing]"),
        "no inputs": ('kind = "moved"', ""),
        "a table a number": ("[card]", "card = 3\n[other]"),
        "a date": ("momentum = 0.03", "momentum = 1979-05-27"),
        "in Latin": ('name = "residual"', 'name = "é"'),
    }
    for name, (old, new) in tables.items():

        def edit(directory: Path, old: str = old, new: str = new) -> None:
            text = (directory / "recipe.toml").read_text()
            assert old in text
            (directory / "recipe.toml").write_text(text.replace(old, new, 1), encoding="latin-1")

        yield Case(f"recipes/file/{name}", file, ("run", "recipe.toml"), edit, changes=changes)
    for profile in ("", "nonsense", "Smoke", "x" * 500):
        changed = [
            "--profile=" + profile if word == "--profile" else word for word in words if word != "smoke"
        ]
        yield Case(f"recipes/profile {profile[:9]!r}", tuple(changed), ("run",))


def cosmology_cases() -> Iterator[Case]:
    """Cosmologies by name and value."""
    for text, expected in COSMOLOGIES.items():
        shown = text if len(text) < 30 else text[:9] + "..."
        for name, base, needs in (
            ("reconstruct", RECONSTRUCT, ("halos.fits",)),
            ("simulate", "simulate out --seeds 7 --box 64 --particles 8 --cells 8 --steps 2", ()),
        ):
            yield Case(
                f"cosmologies/{name}/{shown!r}",
                (*base.split(), f"--cosmology={text}"),
                needs,
                expected="refused" if name == "simulate" and text in NEUTRINOS else expected,
            )
