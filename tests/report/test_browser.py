"""A report in a real browser: no complaint, nothing asked of a network, figures shown and formulas typeset."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.distill.expressions.markup import to_mathml
from cellfx.distill.expressions.parse import parse
from cellfx.report.charts import formulas as formula_charts
from cellfx.report.charts import latents, style
from cellfx.report.page import Card, Formula, Picture, Row, Section, Table, report

_SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).parents[1] / "browser.py")
browser = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(browser)

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.REASON)

NAMES = ("z3", "z17", "z21", "z29")
FORMULAS = (
    "(z29 - 0.44*z3)*(z17^2 + z21^2) - 2.56",
    "0.71*(z17^2 + z21^2)*(z29 - z3/(1.4*sqrt(abs(z3)))) - 2.11",
    "z29*(z17^2 + z21^2) - exp(exp(z3)) + sin(z3 + 0.18) + log(z17)",
)


def middle(box):
    return (box[1] + box[3]) / 2


def typeset(text, **more):
    return Formula(to_mathml(parse(text, NAMES)), text, **more)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    bars = Picture(style.to_png(latents.kl_bars(np.linspace(0, 3, 32))), "bars", "How much.", "scores.json")
    rng = np.random.default_rng(0)
    codes, labels = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    drawn = formula_charts.decision_surface(lambda z: z[:, 0] * z[:, 1], codes, labels, (0, 1), ["a", "b"], third=2)
    surface = Picture(style.to_png(drawn), "surface")
    rows = [[text, typeset(text), 13] for text in FORMULAS]
    sections = [
        Section(
            "Formulas", "Typeset.", [typeset(FORMULAS[0], caption="Chosen.", source="a.json"), typeset(FORMULAS[1])]
        ),
        Section("All", parts=[Table(["text", "formula", "nodes"], rows, source="b.json")]),
        Section("Figures", parts=[bars, Row([surface], "z17", "Chosen by ten.\n\nIt is elongation.")]),
    ]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report("A study", sections, [Card("Accuracy", "97.4 %")], "ten seeds", {"a": 1}, {"jax": "0"}))
    return path


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser() as running:
        yield running


@pytest.fixture(scope="module")
def seen(chromium, page):
    return chromium.look_at(page)


def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(seen):
    assert seen.drawn["title"] == "A study"
    assert seen.complaints == []
    assert seen.requests == []


def test_every_figure_is_shown(seen):
    assert [image["alt"] for image in seen.drawn["images"]] == ["bars", "surface"]
    for image in seen.drawn["images"]:
        left, top, right, bottom = image["box"]
        width, height = image["pixels"]
        assert width > 500
        assert right - left > 300
        np.testing.assert_allclose((right - left) / (bottom - top), width / height, rtol=0.01)


def test_words_stand_beside_their_figure(seen):
    assert "It is elongation." in seen.drawn["words"]
    assert "from b.json" in seen.drawn["words"]


def test_every_formula_is_typeset(seen):
    formulas = seen.drawn["formulas"]
    assert len(formulas) == 5
    for formula in formulas:
        left, top, right, bottom = formula["box"]
        assert formula["namespace"] == "http://www.w3.org/1998/Math/MathML"
        assert right - left > 100
        assert bottom - top > 10
        assert len(formula["powers"]) >= 2
        for under, raised in formula["powers"]:
            assert middle(raised) < middle(under)
            assert raised[0] >= under[2]
        for letter, lowered in formula["indices"]:
            assert middle(lowered) > middle(letter)
            assert lowered[3] - lowered[1] < 1.35 * (letter[3] - letter[1])
    (above, below), *others = formulas[1]["fractions"]
    assert others == []
    assert above[3] <= below[1]


def test_the_plain_text_of_a_formula_stands_below_it(seen):
    for text in FORMULAS[:2]:
        assert text in seen.drawn["words"]


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_it_fits_a_telephone_and_the_dark(chromium, page, width, dark):
    there = chromium.look_at(page, width=width, dark=dark)
    assert there.complaints == there.requests == []
    assert there.drawn["width"][0] <= width
    assert all(image["pixels"][0] > 0 for image in there.drawn["images"])


def test_a_bad_page_would_be_noticed(chromium, page, tmp_path):
    spoilt = tmp_path / "spoilt.html"
    hostile = '<script>console.log(1)</script><img alt="lost" src="data:image/png;base64,AAAA"><img src="other.png">'
    spoilt.write_text(page.read_text().replace("</main>", f"{hostile}</main>"))
    there = chromium.look_at(spoilt)
    assert any("Content Security Policy" in complaint and "script" in complaint for complaint in there.complaints)
    assert any("Content Security Policy" in complaint and "other.png" in complaint for complaint in there.complaints)
    assert [image["pixels"] for image in there.drawn["images"] if image["alt"] == "lost"] == [[0, 0]]

    bare = tmp_path / "bare.html"
    bare.write_text('<script>console.error("oh"); throw 1</script><img src="other.png"><math><mi>z</mi></math>')
    there = chromium.look_at(bare)
    assert "oh" in there.complaints
    assert any("Uncaught" in complaint for complaint in there.complaints)
    assert [address.rpartition("/")[2] for address in there.requests] == ["other.png"]
