"""Where an output came from, in a form that JSON holds."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from peculiar.core.records import checksum

SCHEMA_VERSION = 1


def provenance(
    settings: Mapping[str, Any], *, inputs: Sequence[Path | str] = (), seed: int | Sequence[int] | None = None
) -> dict[str, Any]:
    """Describe how an output is made.

    Parameters
    ----------
    settings : mapping
        Resolved settings; values that JSON does not know become text.
    inputs : sequence of path
        Files that are read; each is named with its size and sha256.
    seed : int or sequence of int, optional
        Of the random numbers; left out where there are none.

    Returns
    -------
    dict with package, version, revision (of the source tree, empty if there is none), schema_version, created (UTC),
    settings and inputs, and seed where one is given.
    """
    seeds = {} if seed is None else {"seed": _plain(seed)}
    return {
        "package": "peculiar",
        "version": package_version(),
        "revision": source_revision(),
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {key: _plain(value) for key, value in settings.items()},
        "inputs": {
            str(path): {"bytes": Path(path).stat().st_size, "sha256": checksum(path)} for path in inputs
        },
        **seeds,
    }


def package_version() -> str:
    """Return the version that is installed; "0+unknown" of a source tree that is not."""
    return next((found.version for found in distributions(name="peculiar")), "0+unknown")


def source_revision() -> str:
    """Return the git revision of the source tree that runs, "-dirty" added if it was changed; empty if installed."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
