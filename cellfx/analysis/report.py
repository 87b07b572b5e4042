"""One self-contained HTML page from headings, figures and tables. Nothing in it asks a network for anything."""

import base64
import html
import json
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


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
        png: bytes of the file, see ``cellfx.analysis.figures.to_png``.
        alt: what a reader who cannot see it should know.
        caption: shown below it.
    """

    png: bytes
    alt: str
    caption: str = ""


class Table(NamedTuple):
    """Rows under named columns; numbers are aligned right and shown with four digits.

    Attributes:
        columns: names.
        rows: one value per column each.
        caption: shown above it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: in the page and its table of contents.
        text: plain text, paragraphs separated by an empty line.
        parts: pictures and tables, in order.
    """

    title: str
    text: str = ""
    parts: Sequence[Picture | Table] = ()


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
        ValueError: a row of a table does not have one value per column.
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
    text = "".join(f"<p>{_escape(part.strip())}</p>" for part in section.text.split("\n\n") if part.strip())
    parts = "".join(_picture(part) if isinstance(part, Picture) else _table(part) for part in section.parts)
    return f'<section id="part-{index}"><h2>{_escape(section.title)}</h2>{text}{parts}</section>\n'


def _card(card: Card) -> str:
    note = f'<dd class="note">{_escape(card.note)}</dd>' if card.note else ""
    return f'<div class="card"><dt>{_escape(card.label)}</dt><dd class="value">{_escape(card.value)}</dd>{note}</div>'


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    caption = f"<figcaption>{_escape(picture.caption)}</figcaption>" if picture.caption else ""
    size = ""
    if picture.png[:8] == PNG_SIGNATURE:
        width, height = (int.from_bytes(picture.png[at : at + 4], "big") // 2 for at in (16, 20))
        size = f' width="{width}" height="{height}"'
    image = f'<img src="data:image/png;base64,{data}" alt="{_escape(picture.alt)}"{size} loading="lazy">'
    return f'<figure><div class="paper">{image}</div>{caption}</figure>'


def _table(table: Table) -> str:
    wrong = [row for row in table.rows if len(row) != len(table.columns)]
    if wrong:
        raise ValueError(
            f"a row does not fit its table: got {len(wrong[0])} values, expected {len(table.columns)} for the columns "
            f"{list(table.columns)}; give one value per column"
        )
    numeric = [bool(table.rows) and all(_is_number(row[i]) for row in table.rows) for i in range(len(table.columns))]
    kinds = [' class="number"' if right else "" for right in numeric]
    head = "".join(f'<th scope="col"{k}>{_escape(n)}</th>' for n, k in zip(table.columns, kinds, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{k}>{_escape(_show(v))}</td>" for v, k in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _show(value: Any) -> str:
    if isinstance(value, numbers.Integral) or not _is_number(value):
        return str(value)
    return f"{float(value):.4g}".replace("-", "\N{MINUS SIGN}") if float(value) != 0 else "0"


def _escape(text: Any) -> str:
    return html.escape(str(text), quote=True)


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root{--ink:#1b2430;--muted:#5d6878;--line:#e4e7ec;--page:#fbfbfa;--card:#fff;--accent:#0b6fa4;--stripe:#f5f6f7}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--muted:#9aa5b5;--line:#2b3340;--page:#11161d;--card:#19202a;
--accent:#6cb8e0;--stripe:#161c25}}
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:1.5rem}
body{margin:0 auto;max-width:74rem;padding:3.5rem 1.5rem 5rem;background:var(--page);color:var(--ink);
font:1rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
display:grid;grid-template-columns:minmax(0,1fr);gap:0 3rem}
h1{font-size:clamp(1.7rem,4vw,2.5rem);line-height:1.15;letter-spacing:-.02em;margin:0;font-weight:680}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:0 0 .6rem;font-weight:640}
h1,h2,p,td,dd,dt,figcaption,caption,li{overflow-wrap:anywhere}
p{margin:0 0 .9rem;max-width:44rem}.lead{color:var(--muted);margin:.6rem 0 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:.9rem;margin:2rem 0 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.95rem 1.1rem 1rem}
.card dt{color:var(--muted);font-size:.82rem}.card dd{margin:0}
.value{font-size:1.35rem;line-height:1.4;font-weight:640;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.note{color:var(--muted);font-size:.8rem;line-height:1.4}
nav{margin:2.2rem 0 0;font-size:.9rem}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.3rem}
nav a{color:var(--accent);text-decoration:none}nav a:hover,nav a:focus{text-decoration:underline}
main{min-width:0}section{border-top:1px solid var(--line);padding-top:1.8rem;margin-top:2.4rem}
figure{margin:1.2rem 0 1.8rem}.paper{display:inline-block;max-width:100%;background:#fff;border:1px solid var(--line);
border-radius:10px;overflow:hidden;line-height:0}img{max-width:100%;height:auto}
figcaption{color:var(--muted);font-size:.88rem;margin-top:.5rem;max-width:44rem}
.scroll{overflow-x:auto;margin:1rem 0 1.6rem}table{border-collapse:collapse;font-size:.88rem;min-width:20rem}
caption{text-align:left;color:var(--muted);padding-bottom:.5rem}
th{text-align:left;font-weight:600;border-bottom:1.5px solid var(--line)}
th,td{padding:.38rem 1.6rem .38rem .6rem;vertical-align:top}
td{border-bottom:1px solid var(--line)}tbody tr:nth-child(even){background:var(--stripe)}
.number{text-align:right;font-variant-numeric:tabular-nums}
@media (min-width:64rem){body{grid-template-columns:12rem minmax(0,1fr)}header{grid-column:1/-1}
nav{position:sticky;top:2rem;align-self:start;margin-top:4.3rem;max-height:calc(100vh - 4rem);overflow:auto}
nav ol{display:block}nav li{margin:.35rem 0}}
@media (max-width:48rem){.paper{overflow-x:auto}.paper img{max-width:none}}
@media (prefers-color-scheme:dark){.paper{background:#e9ebee}.paper img{mix-blend-mode:multiply}}
@media print{:root{--ink:#000;--muted:#444;--line:#ccc;--page:#fff;--card:#fff;--accent:#000;--stripe:#fff}
body{display:block;max-width:none;padding:0;font-size:10pt}nav{display:none}figure,.card,tr{break-inside:avoid}
h2{break-after:avoid}.scroll{overflow:visible}
.paper{background:#fff;border:0}.paper img{mix-blend-mode:normal;max-width:100%}}
"""
