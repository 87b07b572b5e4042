from html.parser import HTMLParser

import numpy as np
import pytest

from cellfx.report.page import Card, Formula, Picture, Row, Section, Table, flatten, report

HOSTILE = "<script>alert('x')</script> & \"q\" ' onload=1 \u2028 </style> <img src=http://x>"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + (400).to_bytes(4, "big") + (200).to_bytes(4, "big")


class Page(HTMLParser):
    """Tags with attributes, visible text, and whether all tags closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def hostile():
    return report(
        HOSTILE,
        [Section(HOSTILE, HOSTILE, [Picture(PNG, HOSTILE, HOSTILE), Table([HOSTILE], [[HOSTILE]], HOSTILE)])],
        [Card(HOSTILE, HOSTILE, HOSTILE)],
        HOSTILE,
        {HOSTILE: {HOSTILE: HOSTILE}},
        {HOSTILE: HOSTILE},
    )


def test_hostile_text_stays_text():
    page = Page(hostile())
    assert page.open == []
    assert page.count("script") == 0
    assert page.count("img") == 1
    image = next(attrs for tag, attrs in page.tags if tag == "img")
    assert image["alt"] == HOSTILE
    assert set(image) == {"src", "alt", "width", "height", "loading"}
    # Title twice, subtitle, card thrice, contents, section title, text, caption, table thrice, versions twice.
    assert sum(word == HOSTILE for word in page.words) == 15


def test_nothing_is_asked_of_a_network():
    page = Page(hostile())
    for _, attrs in page.tags:
        for name in ("src", "href", "action", "srcset"):
            if name in attrs:
                assert attrs[name].startswith(("data:image/png;base64,", "#"))
    assert page.count("link") == 0
    style = hostile().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in hostile()


def test_contents_lead_to_every_section():
    page = Page(report("run", [Section("one"), Section("two")], config={"a": 1}, versions={"jax": "0"}))
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    targets = ["#" + attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert links == targets
    assert len(links) == 4


def test_figures_lie_inside_at_half_their_pixels():
    image = next(a for tag, a in Page(report("run", [Section("s", parts=[Picture(PNG, "alt")])])).tags if tag == "img")
    assert (image["width"], image["height"]) == ("200", "100")


def test_numbers_stand_right_with_four_digits():
    rows = [["mig", 0.123456, 7, True], ["sap", np.float32(-2e-7), np.int64(12345678), False]]
    text = report("run", [Section("s", parts=[Table(["score", "value", "count", "kept"], rows)])])
    for cell in ("0.1235", "\N{MINUS SIGN}2e\N{MINUS SIGN}07", ">7<", "12345678"):
        assert cell in text
    assert '<td class="number">0.1235</td>' in text
    assert "<td>mig</td>" in text
    assert "<td>True</td>" in text


def test_empty_parts_leave_no_trace():
    page = Page(report("run", []))
    assert page.open == []
    assert page.count("section") == 0
    assert page.count("dl") == 0
    assert Page(report("run", [Section("s", parts=[Table(["a"], [])])])).count("td") == 0


def test_settings_are_flattened_in_order():
    nested = {"model": {"name": "vae", "kwargs": {}, "deep": {"x": [1, 2]}}, "seed": 0}
    assert flatten(nested) == [("model.name", "vae"), ("model.kwargs", {}), ("model.deep.x", [1, 2]), ("seed", 0)]


SQUARE = "<msup><mi>z</mi><mn>2</mn></msup>"


def test_a_formula_is_typeset_with_its_text_below():
    formula = Formula(SQUARE, "z^2", "The law.", "distil/formulas.json")
    text = report("run", [Section("s", parts=[formula])])
    assert f'<math display="block"><mrow>{SQUARE}</mrow></math>' in text
    assert text.index("</math>") < text.index("<code>z^2</code>") < text.index("The law.")
    assert "from <code>distil/formulas.json</code>" in text
    assert Page(text).open == []


def test_a_formula_may_be_a_value_of_a_table():
    text = report("run", [Section("s", parts=[Table(["formula", "nodes"], [[Formula(SQUARE, "z^2"), 3]])])])
    assert f"<td><math><mrow>{SQUARE}</mrow></math></td>" in text
    assert '<td class="number">3</td>' in text


def test_a_formula_brings_nothing_else_into_the_page():
    for part in (Formula("<mi>z</mi><script>1</script>", "z"), Table(["a"], [[Formula("<img src='x'/>", "z")]])):
        with pytest.raises(ValueError, match="not presentation MathML"):
            report("run", [Section("s", parts=[part])])
    text = report("run", [Section("s", parts=[Formula(SQUARE, HOSTILE, HOSTILE, HOSTILE)])])
    page = Page(text)
    assert page.count("script") == page.count("img") == 0
    assert sum(word == HOSTILE for word in page.words) == 3


def test_words_and_parts_stand_in_one_row():
    row = Row([Picture(PNG, "alt"), Table(["a"], [[1]])], HOSTILE, "First.\n\nSecond.")
    page = Page(report("run", [Section("s", parts=[row, Row([Picture(PNG, "alone")])])]))
    assert page.open == []
    assert [attrs["class"] for tag, attrs in page.tags if attrs.get("class") in ("row", "words")] == [
        "row",
        "words",
        "row",
    ]
    assert page.count("h3") == 1
    assert page.count("p") == 2
    assert page.count("table") == 1
    assert page.count("img") == 2
    assert HOSTILE in page.words


def test_every_part_can_say_where_its_numbers_lie():
    parts = [Picture(PNG, "alt", "", "a.json"), Table(["a"], [[1]], "", "b.json"), Formula(SQUARE, "z", "", "c.json")]
    page = Page(report("run", [Section("s", parts=parts)]))
    assert [word for word in page.words if word.endswith(".json")] == ["a.json", "b.json", "c.json"]
    assert page.words.count("from ") == 3


def test_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match=r"got 1 values, expected 2 for the columns \['a', 'b'\]"):
        report("run", [Section("s", parts=[Table(["a", "b"], [[1, 2], [3]])])])


def test_rows_of_many_columns_that_do_not_fit_on_a_line_have_less_air():
    narrow, wide = ([["word " * words] * 5] for words in (3, 5))
    names = [*"abcde"]
    assert "<table>" in report("t", [Section("s", parts=[Table(names, narrow)])])
    assert '<table class="wide">' in report("t", [Section("s", parts=[Table(names, wide)])])
    few = [["word " * 50] * 4]
    assert "<table>" in report("t", [Section("s", parts=[Table(names[:4], few)])])


def test_a_missing_number_does_not_move_the_others_and_a_name_may_break_at_its_percentile():
    text = report(
        "t", [Section("s", parts=[Table(["enrichment@0.995", "what"], [[1.5, "\N{EN DASH}"], ["\N{EN DASH}", "x"]])])]
    )
    assert '<th scope="col" class="number">enrichment<wbr>@0.995</th><th scope="col">what</th>' in text
    assert '<td class="number">1.5</td><td>\N{EN DASH}</td>' in text
