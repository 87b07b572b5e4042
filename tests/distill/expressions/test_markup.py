import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from cellfx.distill.expressions.expression import apply, constant, from_json, variable
from cellfx.distill.expressions.markup import to_latex, to_mathml
from cellfx.distill.expressions.parse import parse

_SPEC = importlib.util.spec_from_file_location("expressions", Path(__file__).parents[2] / "reference/expressions.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

NAMES = ("z3", "z17", "z21", "z29", "area")
ELEMENTS = {"math", "mrow", "mi", "mn", "mo", "msub", "msup", "mfrac", "msqrt"}


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        (
            "(z29 - 0.44*z3)*(z17^2 + z21^2) - 2.56",
            r"\left(z_{29} - 0.44 z_{3}\right) \left(z_{17}^{2} + z_{21}^{2}\right) - 2.56",
        ),
        ("exp(exp(z3))", "e^{e^{z_{3}}}"),
        ("z3/(1.4*sqrt(abs(z3)))", r"\frac{z_{3}}{1.4 \sqrt{\left|z_{3}\right|}}"),
        ("sin(z3 + 0.18)", r"\sin\left(z_{3} + 0.18\right)"),
        ("log(z3)", r"\log\left(z_{3}\right)"),
        ("sin(z3)^2", r"\left(\sin\left(z_{3}\right)\right)^{2}"),
        ("(z3/z17)^2", r"\left(\frac{z_{3}}{z_{17}}\right)^{2}"),
        ("exp(z3)^2", r"\left(e^{z_{3}}\right)^{2}"),
        ("(z3 + 1)^2", r"\left(z_{3} + 1\right)^{2}"),
        ("-z3^2", "- z_{3}^{2}"),
        ("(-2)^2", r"\left(- 2\right)^{2}"),
        ("z3 + -1.3", "z_{3} - 1.3"),
        ("z3 - -1.3", "z_{3} + 1.3"),
        ("-2.5*z3 - (z17 - 1)", r"- 2.5 z_{3} - \left(z_{17} - 1\right)"),
        ("z3 - (z17 - z21)", r"z_{3} - \left(z_{17} - z_{21}\right)"),
        ("z3 + (z17 - z21)", "z_{3} + z_{17} - z_{21}"),
        ("z3 + (-z17 - z21)", r"z_{3} + \left(- z_{17} - z_{21}\right)"),
        ("z3 - (-z17)", r"z_{3} - \left(- z_{17}\right)"),
        ("z3 + -2*z17", r"z_{3} + \left(- 2 z_{17}\right)"),
        ("z3*(-z17)", r"z_{3} \left(- z_{17}\right)"),
        ("z3*2.5", r"z_{3} \cdot 2.5"),
        ("2*3^2", r"2 \cdot 3^{2}"),
        ("0.123456*area", r"0.123 \mathrm{area}"),
        ("1234567*z3", r"1.23 \cdot 10^{6} z_{3}"),
        ("(2e-9)^2", r"\left(2 \cdot 10^{-9}\right)^{2}"),
    ],
)
def test_latex(text, latex):
    assert to_latex(parse(text, NAMES), guards=False) == latex
    guarded = {"frac": "a divisor smaller than 1e-06 counts", "log": "max(x, 1e-06)", "sqrt": "max(x, 0)"}
    wanted = [words for name, words in {**guarded, "{e}": "", "e^": "min(x, 30)"}.items() if f"\\{name}" in latex]
    assert all(words in to_latex(parse(text, NAMES)) for words in wanted)


def test_latex_says_what_operators_mean_outside_their_domain():
    assert to_latex(parse("z3 - z17*2", NAMES)) == to_latex(parse("z3 - z17*2", NAMES), guards=False)
    expected = {
        "log(z3)": r"\log\left(z_{3}\right) \quad \text{(log(x) is log(max(x, 1e-06)))}",
        "sqrt(z3)": r"\sqrt{z_{3}} \quad \text{(sqrt(x) is sqrt(max(x, 0)))}",
        "exp(z3)": r"e^{z_{3}} \quad \text{(exp(x) is exp(min(x, 30)))}",
        "1/z3": r"\frac{1}{z_{3}} \quad \text{(a divisor smaller than 1e-06 counts as 1e-06, with its sign)}",
    }
    for text, latex in expected.items():
        assert to_latex(parse(text, NAMES)) == latex


def test_digits():
    assert to_latex(constant(2 / 3), digits=5) == "0.66667"
    assert "<mn>0.67</mn>" in to_mathml(constant(2 / 3), digits=2)


def test_mathml_of_a_published_formula():
    tree = ElementTree.fromstring(to_mathml(parse("(z29 - 0.44*z3)*(z17^2 + z21^2) - 2.56", NAMES)))
    assert "".join(tree.itertext()) == "(z29−0.44z3)(z172+z212)−2.56"
    indices = ["".join(element.itertext()) for element in tree.iter(_tag("msub"))]
    assert indices == ["z29", "z3", "z17", "z21"]
    assert len(list(tree.iter(_tag("msup")))) == 2


@settings(max_examples=200, deadline=None)
@given(reference.trees())
def test_mathml_is_well_formed_and_of_known_elements(tree):
    document = ElementTree.fromstring(to_mathml(from_json(tree)))
    assert {element.tag for element in document.iter()} <= {_tag(name) for name in ELEMENTS}
    for element in document.iter():
        if element.tag in (_tag("msup"), _tag("msub"), _tag("mfrac")):
            assert len(element) == 2
        if element.tag in (_tag("mi"), _tag("mn"), _tag("mo")):
            assert len(element) == 0


@settings(max_examples=200, deadline=None)
@given(reference.trees())
def test_latex_is_balanced(tree):
    text = to_latex(from_json(tree))
    assert text.count(r"\left") == text.count(r"\right")
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


def test_names_bring_no_markup():
    expression = apply("+", variable("<script>alert(1)</script>"), variable("a&b"))
    document = ElementTree.fromstring(to_mathml(expression))
    assert {element.tag for element in document.iter()} <= {_tag(name) for name in ELEMENTS}
    assert to_latex(variable("cell_area%")) == r"\mathrm{cell\_area\%}"


def _tag(name):
    return f"{{http://www.w3.org/1998/Math/MathML}}{name}"
