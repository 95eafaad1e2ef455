"""Weights of a survey's objects and randoms: columns that multiply by name, and those that surveys publish."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.columns import find_columns, numbers, optional_numbers
from peculiar.catalogues.units import rank
from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Table

    from peculiar.catalogues.table_file import TableFile

Factors = tuple[str, ...]

PUBLISHED = ("WEIGHT_SYSTOT", "WEIGHT_CP", "WEIGHT_NOZ")
"""Columns of BOSS and eBOSS, in place of one column of completeness weights."""
BOSS: Factors = ("WEIGHT_SYSTOT", "WEIGHT_CP + WEIGHT_NOZ - 1")
"""Reid et al. 2016 (MNRAS 455, 1553), eq. 50: close pairs and failed redshifts are counts, and add."""

_MEAN_WEIGHTS = (0.1, 2.0)  # fibre collisions and failed redshifts seldom miss half
_LARGEST_WEIGHT = 100  # times the mean: more than FKP weights and fibre collisions make
_OPERATIONS = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of a table's rows.

    Attributes
    ----------
    values : (n,) or None
        None where all are one.
    factors : tuple of str
        What was multiplied; empty where nothing was.
    relative : (n,) or None
        The part of FKP weights in the values, which counts no objects.
    unused : tuple of str
        Further columns that look like weights.
    """

    values: Float[np.ndarray, " n"] | None
    factors: Factors = ()
    relative: Float[np.ndarray, " n"] | None = None
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        used = f"weights are {' * '.join(map(_bracketed, self.factors)) or 'all 1'}"
        return used + (f"; {', '.join(self.unused)} not used (--weight)" if self.unused else "")


def factors_of(weights: str | Sequence[str]) -> Factors:
    """Return what weights multiply: columns, or their sums and quotients.

    Raises
    ------
    InputError
        If a text is no column names joined by + - * / and brackets.

    Examples
    --------
    >>> factors_of("WEIGHT_SYSTOT * (WEIGHT_NOZ + WEIGHT_CP - 1)")
    ('WEIGHT_SYSTOT', 'WEIGHT_NOZ + WEIGHT_CP - 1')
    """
    texts = [weights] if isinstance(weights, str) else list(weights)
    return tuple(ast.unparse(factor) for text in texts for factor in _multiplied(_parsed(text)))


def weigh_objects(
    table: Table | TableFile, weights: Factors | None = None, *, columns: Mapping[str, str] | None = None
) -> Weights:
    """Return the weights of a catalogue's rows.

    They count: an object of weight 2 is two. Factors of columns with FKP in their names, which are relative, are scaled
    to leave the number that the others count as it is.

    Parameters
    ----------
    table : astropy Table or TableFile
    weights : tuple of str, optional
        See `factors_of`. Where not given the column ``weight``, else those of BOSS or eBOSS, else none.
    columns : mapping, optional
        The package's names to the file's own.

    Raises
    ------
    InputError
        If columns are missing, or a weight is no number, negative, or cannot be one.
    """
    if weights is None:
        weights = _published(table, columns)
    relative = None
    if weights is None:
        values = optional_numbers(table, "weight", columns)
        found = () if values is None else tuple(find_columns(table, ("weight",), columns=columns) or ())
    else:
        values, found = _product(table, tuple(one for one in weights if not _is_relative(one))), weights
        relative = _product(table, tuple(one for one in weights if _is_relative(one)))
        if relative is not None:
            counts = np.ones(len(relative)) if values is None else values
            relative *= counts.sum() / max((counts * relative).sum(), 1e-300)
            values = counts * relative
    used = {name.lower() for name in names_in(found)}
    unused = tuple(
        name for name in table.colnames if name.lower().startswith("weight_fkp") and name.lower() not in used
    )
    return Weights(_checked(values), found, relative, unused)


def weigh_randoms(
    table: Table | TableFile,
    weights: Factors | None,
    objects: Weights,
    *,
    given: bool,
    columns: Mapping[str, str] | None = None,
) -> Float[np.ndarray, " n"] | None:
    """Return the weights of random points, or of some of them, None where all are one.

    Parameters
    ----------
    table : astropy Table or TableFile
    weights : tuple of str, optional
        Of the randoms alone, see `factors_of`.
    objects : Weights
        Of the objects, which count where `weights` are not given.
    given : bool
        Whether those were asked for by name: the randoms must have them then. Published ones are taken where the
        randoms have them.
    columns : mapping, optional
        The package's names to the file's own.

    Raises
    ------
    InputError
        As `weigh_objects`.
    """
    if weights is not None:
        values = _product(table, weights, setting="random_weights")
    elif given:
        try:
            values = _product(table, objects.factors)
        except InputError as error:
            remedy = "; weights of the randoms alone are"
            raise InputError(
                f"{error}{remedy} random_weights", command=f"{error.command}{remedy} --random-weight"
            ) from None
    elif objects.factors in (BOSS, PUBLISHED):
        values = _product(table, objects.factors) if _has_published(table) else None
    else:
        values = optional_numbers(table, "weight", columns)
    return values


def _published(table: Table | TableFile, columns: Mapping[str, str] | None) -> Factors | None:
    """Return the completeness weights of BOSS or eBOSS, where a table has them and no column `weight`."""
    alone = "weight" in (columns or {}) or "weight" in {name.lower() for name in table.colnames}
    if alone or not _has_published(table):
        return None
    pairs, failed = (_column(table, name) for name in PUBLISHED[1:])
    # Counts of neighbours in BOSS; in eBOSS rates, which multiply (Ross et al. 2020, MNRAS 498, 2354).
    whole = (pairs == np.round(pairs)).all() and (failed == np.round(failed)).all()
    return BOSS if whole else PUBLISHED


def _has_published(table: Table | TableFile) -> bool:
    return {name.lower() for name in PUBLISHED} <= {name.lower() for name in table.colnames}


def _product(
    table: Table | TableFile, factors: Factors, *, setting: str = "weights"
) -> Float[np.ndarray, " n"] | None:
    """Return the product of factors, None of none; its error names the survey's setting."""
    if not factors:
        return None
    lower = {name.lower() for name in table.colnames}
    wanted = {name: None for factor in factors for name in _names(factor)}
    missing = [name for name in wanted if name.lower() not in lower]
    if missing:
        shown = [name for name in table.colnames if "w" in name.lower()] or table.colnames
        problem = f"{setting} must be columns of the table, got {', '.join(missing)} with columns {', '.join(shown)}"
        option = "--" + setting.replace("_", "-").removesuffix("s")
        raise InputError(
            f"{problem}: correct {setting}",
            command=f"{problem}: correct {option}, or {setting} in the survey file",
        )
    values = np.ones(len(table))
    for factor in factors:
        with np.errstate(divide="ignore", invalid="ignore"):
            values *= _evaluated(_parsed(factor), table)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"weight must be >= 0, got {values[row]} of {' * '.join(map(_bracketed, factors))} at row {row}: repair it"
        )
    return values


def _checked(values: Float[np.ndarray, " n"] | None) -> Float[np.ndarray, " n"] | None:
    """Return weights; None where all are one number, which tells nothing apart.

    They count, so that a factor of all of them is one of the number density: it is said.
    """
    if values is None:
        return None
    refuse_huge(float(values.mean()), float(values.max()), row=int(values.argmax()), count=len(values))
    mean = float(values.mean())
    if len(values) > 1 and np.ptp(values) == 0:
        if mean != 1:
            warnings.warn(
                f"all {len(values)} weights are {mean:g}: they tell nothing apart, and are taken as 1",
                stacklevel=4,
            )
        return None
    if not _MEAN_WEIGHTS[0] <= mean <= _MEAN_WEIGHTS[1]:
        warnings.warn(
            f"weights are {mean:.3g} on average: they count, so that the number density, by which a model is chosen, "
            f"is {mean:.3g} times that of the rows; divide them by it if they are relative",
            stacklevel=4,
        )
    return values


def refuse_huge(mean: float, largest: float, *, row: int, count: int) -> None:
    """Refuse weights that cannot be of completeness: all 0, or one of them a hundred times the mean.

    Parameters
    ----------
    mean, largest : float
    row : int
        Of the largest.
    count : int
        Of all.
    """
    if mean == 0:
        raise InputError(
            f"weight must be > 0 for some rows, got 0 in all {count}: leave the column out or repair it"
        )
    if count > _LARGEST_WEIGHT and largest > _LARGEST_WEIGHT * mean:
        raise InputError(
            f"weight must be at most {_LARGEST_WEIGHT} times the mean of {mean:.4g}, got {largest:.6g} at row "
            f"{row}: weights count objects that were missed, about 1 for each; repair it"
        )


def _parsed(text: str) -> ast.expr:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Constant(None)
    for node in ast.walk(tree):
        known = isinstance(node, ast.Name | ast.Load | ast.operator)
        known |= isinstance(node, ast.Constant) and type(node.value) in (int, float)
        known |= isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS
        if not known:
            raise InputError(
                f"weights must be columns joined by + - * / and brackets, got {text!r}: as WEIGHT * WEIGHT_FKP"
            )
    return tree


def _multiplied(tree: ast.expr) -> list[ast.expr]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return [*_multiplied(tree.left), *_multiplied(tree.right)]
    return [tree]


def _names(factor: str) -> list[str]:
    return [node.id for node in ast.walk(_parsed(factor)) if isinstance(node, ast.Name)]


def names_in(factors: Factors) -> set[str]:
    """Return the columns that factors name."""
    return {name for factor in factors for name in _names(factor)}


def _is_relative(factor: str) -> bool:
    names = _names(factor)
    return bool(names) and all("fkp" in name.lower() for name in names)


def _evaluated(tree: ast.expr, table: Table | TableFile) -> Float[np.ndarray, " n"] | float:
    if isinstance(tree, ast.Name):
        return _column(table, tree.id)
    if isinstance(tree, ast.BinOp):
        return np.asarray(
            _OPERATIONS[type(tree.op)](_evaluated(tree.left, table), _evaluated(tree.right, table))
        )
    assert isinstance(tree, ast.Constant)  # `_parsed` lets nothing else through
    return float(tree.value)  # type: ignore[arg-type]


def _column(table: Table | TableFile, name: str) -> Float[np.ndarray, " n"]:
    found = find_columns(table, (name,))
    assert found is not None  # it is required
    return numbers(table, found, what="weights", quantities=[rank])[:, 0]


def _bracketed(factor: str) -> str:
    return f"({factor})" if " " in factor else factor
