"""Presentation MathML that may stand in a page: elements of mathematics alone, read, judged and written anew.

What a formula's printer hands over is never passed through. It is parsed as XML, every element and attribute is looked
up in the short lists below, and the page gets what was understood. So nothing that a browser would follow, load or run
(links, event handlers, styles, HTML inside of text) comes in by way of a formula. The elements are those of MathML Core
(W3C 2025), which browsers draw without any script.
"""

import html
from xml.etree import ElementTree

from cellfx.checks import UserError

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
TOKENS = frozenset(("mi", "mn", "mo", "ms", "mtext"))
NUM_CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "mover": 2, "munder": 2, "munderover": 3}
GROUPS = frozenset(("mrow", "msqrt", "mspace", "mstyle", "mpadded", "mphantom", "mtable", "mtr", "mtd", *NUM_CHILDREN))
LOOKS = ("mathvariant", "displaystyle", "scriptlevel", "form", "fence", "separator", "stretchy", "symmetric", "accent")
LENGTHS = ("lspace", "rspace", "minsize", "maxsize", "width", "height", "depth", "linethickness")
ATTRIBUTES = frozenset((*LOOKS, *LENGTHS))


def to_math(markup: str, display: bool = True) -> str:
    """A formula as one ``<math>`` element.

    Args:
        markup: presentation MathML: one ``<math>`` element, or what stands inside of one. Characters are written as
            such or as numeric references; XML knows no names for them.
        display: a line of its own, or part of a line of text.

    Returns:
        HTML.

    Raises:
        ValueError: the markup is not XML, or holds anything but mathematics.
    """
    if "<!" in markup or "<?" in markup:
        raise UserError(_wrong("a declaration or comment", markup, "leave it out"))
    try:
        root = ElementTree.fromstring(f'<mrow xmlns="{NAMESPACE}">{markup}</mrow>')
    except ElementTree.ParseError as error:
        raise UserError(_wrong(f"no well-formed XML ({error})", markup, "close every element")) from None
    if len(root) == 1 and _name(root[0], markup) == "math" and not (root.text or root[0].tail or "").strip():
        root = root[0]
    if not len(root):
        raise UserError(_wrong("no element", markup, "give at least one, such as <mi>z</mi>"))
    _no_text(root, markup)
    inner = "".join(_element(child, markup) for child in root)
    style = ' display="block"' if display else ""
    return f"<math{style}><mrow>{inner}</mrow></math>"


def _element(element: ElementTree.Element, markup: str) -> str:
    name = _name(element, markup)
    if name not in TOKENS and name not in GROUPS:
        known = ", ".join(sorted(TOKENS | GROUPS))
        raise UserError(_wrong(f"the element <{name}>", markup, f"use only {known}"))
    unknown = sorted(set(element.attrib) - ATTRIBUTES)
    if unknown:
        raise UserError(_wrong(f"the attribute {unknown[0]!r} of <{name}>", markup, "leave it out"))
    expected = 0 if name in TOKENS else NUM_CHILDREN.get(name, len(element))
    if len(element) != expected:
        raise UserError(_wrong(f"<{name}> around {len(element)} elements", markup, f"give it {expected}"))
    if name not in TOKENS:
        _no_text(element, markup)
    settings = "".join(f' {key}="{_escape(value)}"' for key, value in element.attrib.items())
    text = _escape((element.text or "").strip()) if name in TOKENS else ""
    inner = "".join(_element(child, markup) for child in element)
    return f"<{name}{settings}>{text}{inner}</{name}>"


def _name(element: ElementTree.Element, markup: str) -> str:
    space, _, name = element.tag.rpartition("}")
    if space != "{" + NAMESPACE:
        raise UserError(_wrong(f"the element <{name}> of another language", markup, f"use the namespace {NAMESPACE}"))
    return name


def _no_text(element: ElementTree.Element, markup: str) -> None:
    loose = [text.strip() for text in (element.text, *(child.tail for child in element)) if text and text.strip()]
    if loose:
        raise UserError(_wrong(f"the bare text {loose[0][:40]!r}", markup, "put it into <mi>, <mn>, <mo> or <mtext>"))


def _wrong(found: str, markup: str, advice: str) -> str:
    return (
        f"a formula is not presentation MathML: got {found} in {markup[:120]!r}, expected mathematics alone; {advice}"
    )


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
