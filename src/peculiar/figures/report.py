"""The report: one HTML file that needs nothing else, to be read on a screen and printed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from peculiar.core.errors import InputError
from peculiar.figures.style import render
from peculiar.figures.volume import library

LIMIT = 15 * 2**20
"""Largest report [bytes]."""
NARROW = 6.0
"""Width up to which two figures share a row of a printed page [inches]."""
STYLE = Path(__file__).with_name("report.css")
_TEMPLATE = Environment(
    loader=PackageLoader("peculiar", "figures"), autoescape=True, undefined=StrictUndefined
).get_template("report.html")


@dataclass(frozen=True)
class Headline:
    """One large number at the top.

    Attributes
    ----------
    value : str
        With its unit.
    label : str
        What it is.
    context : str
        What to compare it with ("" for nothing).
    """

    value: str
    label: str
    context: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with HTML below it.

    Attributes
    ----------
    title : str
    body : str
        HTML, from the functions of this module.
    """

    title: str
    body: str


@dataclass(frozen=True)
class Table:
    """A table; text is escaped.

    Attributes
    ----------
    columns : sequence of str
        Headings; the first is that of the row names.
    rows : sequence of (group, cells)
        A heading row stands where the group changes; "" for none.
    best : mapping of row number -> column number
        Cells in bold.
    note : str
        Below the table.
    title : str
        Above it.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    best: dict[int, int] = field(default_factory=dict)
    note: str = ""
    title: str = ""


def page(
    title: str,
    *,
    summary: str,
    headlines: Sequence[Headline],
    sections: Sequence[Section],
    warnings: Sequence[str] = (),
    interactive: bool = True,
) -> str:
    """Put a report together.

    Parameters
    ----------
    title, summary : str
        Plain text.
    headlines : sequence of Headline
    sections : sequence of Section
    warnings : sequence of str
        Plain text, shown before everything else.
    interactive : bool
        Whether a section holds a plotly view, so that its code must come along.

    Returns
    -------
    str
        A whole HTML document.

    Raises
    ------
    InputError
        If it is larger than 15 MB.
    """
    style, code = STYLE.read_text(encoding="utf-8"), library() if interactive else ""
    text = _part("page", title, summary, headlines, sections, warnings, style, code)
    size = len(text.encode())
    if size > LIMIT:
        raise InputError(
            f"report must be at most {LIMIT >> 20} MB, got {size / 2**20:.1f} MB: show fewer figures"
        )
    return text


def subheading(text: str) -> str:
    """Return a heading inside a section."""
    return _part("subheading", text)


def picture(figure: Figure, caption: str, *, alternative: str, vector: bool = True) -> str:
    """Return a figure with its caption, as SVG, or as WebP where it is mostly pixels."""
    kind, mime = ("svg", "svg+xml") if vector else ("webp", "webp")
    data = base64.b64encode(render(figure, kind)).decode()
    width = figure.get_figwidth()
    source = f"data:image/{mime};base64,{data}"
    return _part("picture", alternative, caption, round(width * 96), width <= NARROW, source)


def gallery(pictures: Sequence[str]) -> str:
    """Return pictures side by side where the page is wide enough."""
    return _part("gallery", pictures)


def view(html: str, caption: str, *, still: str) -> str:
    """Return an interactive view with its caption, and the picture that takes its place on paper.

    Parameters
    ----------
    html : str
        The view.
    caption : str
        Plain text.
    still : str
        From `picture`; also shown where scripts are off.
    """
    return _part("view", html, caption, still)


def table(content: Table) -> str:
    """Return a table as HTML."""
    return _part("table", content)


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Return a list of names and values."""
    return _part("facts", entries)


def record(provenance: Mapping[str, object]) -> str:
    """Return what made an output: version, revision and time, and all of its provenance folded away."""
    short = [
        ("version", f"{provenance.get('package', 'peculiar')} {provenance.get('version', '')}"),
        ("revision", str(provenance.get("revision") or "not from a source tree")),
        ("made", str(provenance.get("created", ""))),
    ]
    return facts(short) + folded("Full provenance", json.dumps(provenance, indent=1))


def folded(title: str, text: str) -> str:
    """Return preformatted text that opens when asked for."""
    return _part("folded", title, text)


def _part(name: str, *content: object) -> str:
    """Return a part of the template, as HTML."""
    return str(getattr(_TEMPLATE.module, name)(*content))
