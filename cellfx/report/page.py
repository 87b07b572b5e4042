"""One self-contained HTML page of headings, figures, tables and formulas. Nothing in it asks a network for anything."""

import base64
import html
import json
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cellfx.checks import UserError
from cellfx.report.mathml import to_math
from cellfx.report.style import STYLE


class Card(NamedTuple):
    """A key number at the top of the page.

    Attributes:
        label: what was measured.
        value: the number with its unit, as it shall read.
        note: how it was measured, one short line.
    """

    label: str
    value: str
    note: str = ""


class Picture(NamedTuple):
    """A figure.

    Attributes:
        png: bytes of the file, see ``cellfx.report.charts.style.to_png``.
        alt: what a reader who cannot see it should know.
        caption: shown below it.
        source: file of the workdir that holds its numbers.
    """

    png: bytes
    alt: str
    caption: str = ""
    source: str = ""


class Formula(NamedTuple):
    """A formula, typeset by the browser itself; in a table it may stand in place of a value.

    Attributes:
        mathml: presentation MathML, see ``cellfx.report.mathml.to_math``.
        text: the same as plain text, to copy from and for browsers that know no MathML.
        caption: shown below it.
        source: file of the workdir that holds it.
    """

    mathml: str
    text: str
    caption: str = ""
    source: str = ""


class Table(NamedTuple):
    """Rows under named columns; numbers are aligned right and shown with four digits, a missing one is ``ABSENT``.

    Attributes:
        columns: names.
        rows: one value per column each.
        caption: shown above it.
        source: file of the workdir that holds its numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    source: str = ""


class Row(NamedTuple):
    """Words with figures, tables or formulas beside them; below them where the page is narrow.

    Attributes:
        parts: from left to right.
        title: above the words.
        text: plain text, paragraphs separated by an empty line.
    """

    parts: Sequence[Picture | Table | Formula]
    title: str = ""
    text: str = ""


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: in the page and its table of contents.
        text: plain text, paragraphs separated by an empty line.
        parts: in order.
    """

    title: str
    text: str = ""
    parts: Sequence[Picture | Table | Formula | Row] = ()


def report(
    title: str,
    sections: Sequence[Section],
    cards: Sequence[Card] = (),
    subtitle: str = "",
    config: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
) -> str:
    """A page that tells a run: readable on paper, on a telephone and in the dark, every text escaped.

    Args:
        title: heading of the page.
        sections: in order.
        cards: key numbers.
        subtitle: one line below the heading.
        config: nested settings, as a table with one row per setting, after the sections.
        versions: name -> version of what the run was made with, after the config.

    Returns:
        HTML, UTF-8, to be written to one file.

    Raises:
        ValueError: a row of a table does not have one value per column, or a formula is not MathML.
    """
    extra = []
    if config is not None:
        rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in flatten(config)]
        extra.append(Section("Settings", "Everything needed to repeat the run.", [Table(("setting", "value"), rows)]))
    if versions is not None:
        extra.append(Section("Versions", parts=[Table(("what", "version"), list(versions.items()))]))
    shown = [*sections, *extra]
    contents = "".join(f'<li><a href="#part-{i}">{_escape(part.title)}</a></li>' for i, part in enumerate(shown))
    body = "".join(_section(i, part) for i, part in enumerate(shown))
    deck = "".join(_card(card) for card in cards)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{_escape(title)}</title><style>{STYLE}</style></head>\n<body><header><h1>{_escape(title)}</h1>"
        + (f'<p class="lead">{_escape(subtitle)}</p>' if subtitle else "")
        + (f'<dl class="cards">{deck}</dl>' if deck else "")
        + f'</header>\n<nav aria-label="Contents"><ol>{contents}</ol></nav>\n<main>{body}</main></body></html>\n'
    )


def flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as ("section.name", value) pairs, in their order; an empty section shows as {}."""
    pairs: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            pairs += flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs


def _section(index: int, section: Section) -> str:
    parts = "".join(_part(part) for part in section.parts)
    return f'<section id="part-{index}"><h2>{_escape(section.title)}</h2>{_text(section.text)}{parts}</section>\n'


def _text(text: str) -> str:
    return "".join(f"<p>{_escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def _part(part: Picture | Table | Formula | Row) -> str:
    if isinstance(part, Row):
        title = f"<h3>{_escape(part.title)}</h3>" if part.title else ""
        words = f'<div class="words">{title}{_text(part.text)}</div>' if title or part.text else ""
        return f'<div class="row">{words}{"".join(f"<div>{_part(beside)}</div>" for beside in part.parts)}</div>'
    if isinstance(part, Picture):
        return _picture(part)
    return _formula(part) if isinstance(part, Formula) else _table(part)


def _card(card: Card) -> str:
    note = f'<dd class="note">{_escape(card.note)}</dd>' if card.note else ""
    return f'<div class="card"><dt>{_escape(card.label)}</dt><dd class="value">{_escape(card.value)}</dd>{note}</div>'


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    size = ""
    if picture.png[:8] == PNG_SIGNATURE:
        width, height = (int.from_bytes(picture.png[at : at + 4], "big") // 2 for at in (16, 20))
        size = f' width="{width}" height="{height}"'
    image = f'<img src="data:image/png;base64,{data}" alt="{_escape(picture.alt)}"{size} loading="lazy">'
    return f'<figure><div class="paper">{image}</div>{_caption(picture)}{_source(picture)}</figure>'


def _formula(formula: Formula) -> str:
    shown = f'<div class="formula">{to_math(formula.mathml)}</div><code>{_escape(formula.text)}</code>'
    return f"<figure>{shown}{_caption(formula)}{_source(formula)}</figure>"


def _caption(part: Picture | Formula) -> str:
    return f"<figcaption>{_escape(part.caption)}</figcaption>" if part.caption else ""


def _source(part: Picture | Formula | Table) -> str:
    return f'<p class="source">from <code>{_escape(part.source)}</code></p>' if part.source else ""


def _table(table: Table) -> str:
    wrong = [row for row in table.rows if len(row) != len(table.columns)]
    if wrong:
        raise UserError(
            f"a row does not fit its table: got {len(wrong[0])} values, expected {len(table.columns)} for the columns "
            f"{list(table.columns)}; give one value per column"
        )
    columns = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    kinds = [' class="number"' if _are_numbers(values) else "" for values in columns]
    head = "".join(f'<th scope="col"{k}>{_name(n)}</th>' for n, k in zip(table.columns, kinds, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{k}>{_cell(v)}</td>" for v, k in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_escape(table.caption)}</caption>" if table.caption else ""
    air = ' class="wide"' if _is_wide(table.columns, columns) else ""
    body = f"<table{air}>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{body}</div>{_source(table)}'


def _cell(value: Any) -> str:
    return to_math(value.mathml, display=False) if isinstance(value, Formula) else _escape(_show(value))


def _name(column: str) -> str:
    """Of a column, which may break before an @, as in enrichment@0.995."""
    return _escape(column).replace("@", "<wbr>@")


def _is_wide(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> bool:
    """Whether rows of many columns do not fit on a line with the usual air between them."""
    letters = [max(len(_show(value)) for value in (name, *values)) for name, values in zip(names, columns, strict=True)]
    return len(names) > 4 and sum(letters) + AIR * len(names) > LETTERS


def _are_numbers(values: Sequence[Any]) -> bool:
    return any(map(_is_number, values)) and all(_is_number(value) or value == ABSENT for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _show(value: Any) -> str:
    if isinstance(value, numbers.Integral) or not _is_number(value):
        return str(value)
    return f"{float(value):.4g}".replace("-", "\N{MINUS SIGN}") if float(value) != 0 else "0"


def _escape(text: Any) -> str:
    return html.escape(str(text), quote=True)


ABSENT = "\N{EN DASH}"
LETTERS, AIR = 118, 5
"""Letters of a table on a page of full width, and those that the air beside a column takes."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
