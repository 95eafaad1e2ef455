"""The report: one HTML file that needs nothing else, to be read on a screen and printed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from peculiar.core.errors import InputError
from peculiar.figures.style import render
from peculiar.figures.volume import library

LIMIT = 15 * 2**20
"""Largest report [bytes]."""
NARROW = 6.0
"""Width up to which two figures share a row of a printed page [inches]."""
STYLE = Path(__file__).with_name("report.css")


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
    tiles = "".join(
        f'<div class="tile"><div class="value">{escape(h.value)}</div><div class="label">{escape(h.label)}</div>'
        f'<div class="context">{escape(h.context)}</div></div>'
        for h in headlines
    )
    alerts = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    if alerts:
        alerts = f'<aside class="warnings"><strong>Warnings</strong><ul>{alerts}</ul></aside>'
    names = [f"s{number}" for number in range(1, len(sections) + 1)]
    contents = "".join(
        f'<a href="#{name}">{escape(section.title)}</a>'
        for name, section in zip(names, sections, strict=True)
    )
    body = "".join(
        f'<section id="{name}"><h2>{escape(section.title)}</h2>{section.body}</section>'
        for name, section in zip(names, sections, strict=True)
    )
    code = f"<script>{library()}</script>" if interactive else ""
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style>{code}</head><body><main>"
        f'<header><p class="brand">peculiar</p><h1>{escape(title)}</h1>'
        f'<p class="summary">{escape(summary)}</p></header>'
        f'{alerts}<div class="tiles">{tiles}</div><nav>{contents}</nav>{body}</main></body></html>\n'
    )
    size = len(text.encode())
    if size > LIMIT:
        raise InputError(
            f"report must be at most {LIMIT >> 20} MB, got {size / 2**20:.1f} MB: show fewer figures"
        )
    return text


def subheading(text: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def picture(figure: Figure, caption: str, *, alternative: str, vector: bool = True) -> str:
    """Return a figure with its caption, as SVG, or as WebP where it is mostly pixels."""
    kind, mime = ("svg", "svg+xml") if vector else ("webp", "webp")
    data = base64.b64encode(render(figure, kind)).decode()
    width = round(figure.get_figwidth() * 96)
    size = "" if figure.get_figwidth() > NARROW else ' class="narrow"'
    return (
        f'<figure{size}><img style="width:{width}px" alt="{escape(alternative)}" src="data:image/{mime};base64,{data}">'
        f"<figcaption><b>{escape(alternative)}.</b> {escape(caption)}</figcaption></figure>"
    )


def gallery(pictures: Sequence[str]) -> str:
    """Return pictures side by side where the page is wide enough."""
    return f'<div class="gallery">{"".join(pictures)}</div>'


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
    shown = "<noscript><style>.view { display: none; } .still { display: block; }</style></noscript>"
    return (
        f'<figure class="view">{html}<figcaption>{escape(caption)}</figcaption></figure>'
        f'{shown}<div class="still">{still}</div>'
    )


def table(content: Table) -> str:
    """Return a table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in content.columns)
    lines, last = [], ""
    for number, (group, cells) in enumerate(content.rows):
        if group != last:
            lines.append(f'<tr class="group"><th colspan="{len(content.columns)}">{escape(group)}</th></tr>')
            last = group
        marked = content.best.get(number)
        inner = "".join(
            f'<td class="best">{escape(text)}</td>' if column == marked else f"<td>{escape(text)}</td>"
            for column, text in enumerate(cells[1:], start=1)
        )
        lines.append(f"<tr><th>{escape(cells[0])}</th>{inner}</tr>")
    note = f'<p class="note">{escape(content.note)}</p>' if content.note else ""
    rows = "".join(lines)
    heading = subheading(content.title) if content.title else ""
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'{heading}<div class="scroll">{body}</div>{note}'


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Return a list of names and values."""
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries)
    return f"<dl>{inner}</dl>"


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
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
