import re

import pytest

from cellfx.report.mathml import to_math

SPACE = "http://www.w3.org/1998/Math/MathML"


def test_mathematics_comes_through_with_its_structure():
    inner = "<msup><mi>z</mi><mn>2</mn></msup><mo stretchy='false'>&#8722;</mo><mfrac><mn>1</mn><mi>a</mi></mfrac>"
    shown = to_math(inner)
    assert shown == (
        '<math display="block"><mrow><msup><mi>z</mi><mn>2</mn></msup><mo stretchy="false">\N{MINUS SIGN}</mo>'
        "<mfrac><mn>1</mn><mi>a</mi></mfrac></mrow></math>"
    )


def test_a_whole_math_element_is_the_same_as_its_content():
    inner = "<mi>z</mi><mo>+</mo><mn>1</mn>"
    assert to_math(f'<math xmlns="{SPACE}" display="block">{inner}</math>') == to_math(inner)
    assert to_math(f"<math>{inner}</math>\n") == to_math(inner)


def test_a_formula_in_a_line_of_text_is_no_block():
    assert to_math("<mi>z</mi>", display=False) == "<math><mrow><mi>z</mi></mrow></math>"


def test_text_of_a_token_stays_text():
    shown = to_math('<mtext>&lt;img src=x onerror=alert(1)&gt; &amp; "q"</mtext>')
    assert "<img" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; &quot;q&quot;" in shown


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<script>alert(1)</script>", "the element <script>"),
        ("<mi>z</mi><img src='http://x'/>", "the element <img>"),
        ("<semantics><mi>z</mi></semantics>", "the element <semantics>"),
        ("<annotation-xml encoding='text/html'/>", "the element <annotation-xml>"),
        ("<math><math><mi>z</mi></math></math>", "the element <math>"),
        ("<mi href='http://x'>z</mi>", "the attribute 'href' of <mi>"),
        ("<mi onclick='alert(1)'>z</mi>", "the attribute 'onclick' of <mi>"),
        ("<mrow style='background:url(http://x)'><mi>z</mi></mrow>", "the attribute 'style' of <mrow>"),
        ("<mi xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='http://x'>z</mi>", "the attribute '{http"),
        ("<svg xmlns='http://www.w3.org/2000/svg'/>", "the element <svg> of another language"),
        ("<mi>z<b>x</b></mi>", "<mi> around 1 elements"),
        ("<msup><mi>z</mi></msup>", "<msup> around 1 elements"),
        ("<mi>z</mi> + 1", "the bare text '+ 1'"),
        ("<mrow>1<mi>z</mi></mrow>", "the bare text '1'"),
        ("<math><mi>z</mi></math> tail", "the bare text 'tail'"),
        ("<mi>z", "no well-formed XML"),
        ("</mrow><mi>z</mi>", "no well-formed XML"),
        ("<mi>&InvisibleTimes;</mi>", "no well-formed XML"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><mi>&a;</mi>", "a declaration or comment"),
        ("<!-- x --><mi>z</mi>", "a declaration or comment"),
        ("<?xml version='1.0'?><mi>z</mi>", "a declaration or comment"),
        ("", "no element"),
    ],
)
def test_anything_else_is_refused_and_named(markup, found):
    with pytest.raises(ValueError, match=r"^a formula is not presentation MathML: got ") as caught:
        to_math(markup)
    assert found in str(caught.value)
    assert re.search("expected mathematics alone; .+", str(caught.value))
