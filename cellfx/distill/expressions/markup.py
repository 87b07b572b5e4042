"""A formula typeset: LaTeX for papers, MathML for pages that need no network."""

import re
from collections.abc import Callable
from typing import NamedTuple
from xml.sax.saxutils import escape

from cellfx.distill.expressions.evaluate import guarded
from cellfx.distill.expressions.expression import Expression, apply

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4


class _Printer(NamedTuple):
    """How each piece is written in one language; text in, text out."""

    number: Callable[[float], str]
    name: Callable[[str], str]
    sign: Callable[[str], str]
    row: Callable[[list[str]], str]
    bracket: Callable[[str], str]
    size: Callable[[str], str]
    fraction: Callable[[str, str], str]
    root: Callable[[str], str]
    power: Callable[[str, str], str]
    function: Callable[[str, str], str]


def to_latex(expression: Expression, digits: int = 3, guards: bool = True) -> str:
    """LaTeX for math mode: fractions, powers and roots, ``z17`` as a letter with an index.

    Args:
        expression: the formula.
        digits: significant digits of every constant.
        guards: whether it goes on to say, in words, what an operator means outside its domain: see
            ``evaluate.GUARDS``.
    """
    text, meaning = _write(expression, _latex(digits))[0], guarded(expression) if guards else ""
    return rf"{text} \quad \text{{({meaning})}}" if meaning else text


def to_mathml(expression: Expression, digits: int = 3) -> str:
    """A ``math`` element of presentation MathML, which browsers typeset by themselves; ``digits`` as for ``to_latex``.

    Every name is escaped, so a formula cannot bring other markup into a page.
    """
    text = _write(expression, _mathml(digits))[0]
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mrow>{text}</mrow></math>'


def _write(expression: Expression, printer: _Printer) -> tuple[str, int]:
    """The text of a tree and how tightly its outermost operator binds."""
    expression = _minus_first(expression)
    op, args = expression.op, expression.args
    if op == "const":
        text = printer.number(abs(expression.value))
        level = _PRODUCT if "×" in text or r"\cdot" in text else _ATOM
        return (printer.row([printer.sign("-"), text]), _SUM) if expression.value < 0 else (text, level)
    if op == "var":
        return printer.name(expression.value), _ATOM
    if op in ("+", "-"):
        return _write_sum(expression, printer), _SUM
    if op == "neg":
        return printer.row([printer.sign("-"), _tight(args[0], _PRODUCT, printer)]), _SUM
    if op == "*":
        left, right = _tight(args[0], _PRODUCT, printer), _tight(args[1], _PRODUCT, printer)
        between = [printer.sign("*")] if _starts_with_number(args[1]) else []
        return printer.row([left, *between, right]), _PRODUCT
    inner = _write(args[0], printer)[0]
    if op == "/":
        return printer.fraction(inner, _write(args[1], printer)[0]), _PRODUCT
    if op == "square":
        return printer.power(_tight(args[0], _ATOM, printer), printer.number(2.0)), _POWER
    if op == "exp":
        return printer.power(printer.name("e"), inner), _POWER
    if op == "sqrt":
        return printer.root(inner), _ATOM
    if op == "abs":
        return printer.size(inner), _ATOM
    return printer.function(op, printer.bracket(inner)), _PRODUCT


def _write_sum(expression: Expression, printer: _Printer) -> str:
    """A sum or difference; a negative number that is added is subtracted, and the other way round."""
    left, right = expression.args
    op = expression.op
    if right.op == "const" and right.value < 0:
        op, right = "-" if op == "+" else "+", right._replace(value=-right.value)
    text, level = _write(right, printer)
    if level == _SUM and (op == "-" or right.op not in ("+", "-") or _starts_with_minus(right)):
        text = printer.bracket(text)
    return printer.row([_write(left, printer)[0], printer.sign(op), text])


def _tight(expression: Expression, level: int, printer: _Printer) -> str:
    text, own = _write(expression, printer)
    return text if own >= level else printer.bracket(text)


def _minus_first(expression: Expression) -> Expression:
    """A product that starts with a negative number as minus a product; anything else as it is."""
    factors = [expression]
    while factors[-1].op == "*":
        factors.append(factors[-1].args[0])
    number = factors.pop()
    if not factors or number.op != "const" or number.value >= 0:
        return expression
    product = number._replace(value=-number.value)
    for factor in reversed(factors):
        product = apply("*", product, factor.args[1])
    return apply("neg", product)


def _starts_with_minus(expression: Expression) -> bool:
    while expression.op in ("+", "-", "*"):
        expression = expression.args[0]
    return expression.op == "neg" or (expression.op == "const" and expression.value < 0)


def _starts_with_number(expression: Expression) -> bool:
    """Whether a factor would run into the one before it: 2 3 is no product, nor is 2 3^2."""
    while expression.op in ("*", "square"):
        expression = expression.args[0]
    return expression.op == "const" and expression.value >= 0


def _split(name: str) -> tuple[str, str]:
    """("z", "17") of "z17"; a name of any other form stays whole."""
    found = re.fullmatch(r"([A-Za-z])_?(\d+)", name)
    return (found[1], found[2]) if found else (name, "")


def _decimal(value: float, digits: int) -> tuple[str, str]:
    """Mantissa and power of ten, the latter empty for numbers that need none."""
    mantissa, _, power = f"{value:.{digits}g}".partition("e")
    return mantissa, str(int(power)) if power else ""


def _latex(digits: int) -> _Printer:
    def number(value: float) -> str:
        mantissa, power = _decimal(value, digits)
        return rf"{mantissa} \cdot 10^{{{power}}}" if power else mantissa

    def name(text: str) -> str:
        letter, index = _split(text)
        if index:
            return f"{letter}_{{{index}}}"
        return text if len(text) == 1 else r"\mathrm{" + re.sub(r"([_%&#${}])", r"\\\1", text) + "}"

    return _Printer(
        number=number,
        name=name,
        sign=lambda op: r"\cdot" if op == "*" else op,
        row=" ".join,
        bracket=lambda inner: rf"\left({inner}\right)",
        size=lambda inner: rf"\left|{inner}\right|",
        fraction=lambda over, under: rf"\frac{{{over}}}{{{under}}}",
        root=lambda inner: rf"\sqrt{{{inner}}}",
        power=lambda below, above: f"{below}^{{{above}}}",
        function=lambda op, inner: rf"\{op}{inner}",
    )


def _mathml(digits: int) -> _Printer:
    def number(value: float) -> str:
        mantissa, power = _decimal(value, digits)
        text = f"<mn>{mantissa}</mn>"
        tens = f"<msup><mn>10</mn><mn>{power.replace('-', '−')}</mn></msup>"
        return f"<mrow>{text}<mo>×</mo>{tens}</mrow>" if power else text

    def name(text: str) -> str:
        letter, index = _split(text)
        return f"<msub><mi>{letter}</mi><mn>{index}</mn></msub>" if index else f"<mi>{escape(text)}</mi>"

    def bracket(inner: str) -> str:
        return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"

    return _Printer(
        number=number,
        name=name,
        sign=lambda op: {"*": "<mo>·</mo>", "-": "<mo>−</mo>", "+": "<mo>+</mo>"}[op],
        row=lambda pieces: f"<mrow>{''.join(pieces)}</mrow>",
        bracket=bracket,
        size=lambda inner: f"<mrow><mo>|</mo>{inner}<mo>|</mo></mrow>",
        fraction=lambda over, under: f"<mfrac><mrow>{over}</mrow><mrow>{under}</mrow></mfrac>",
        root=lambda inner: f"<msqrt>{inner}</msqrt>",
        power=lambda below, above: f"<msup><mrow>{below}</mrow><mrow>{above}</mrow></msup>",
        function=lambda op, inner: f"<mrow><mi>{op}</mi><mo>&#8289;</mo>{inner}</mrow>",
    )
