from html.parser import HTMLParser

import numpy as np
import pytest

from cellfx.analysis.report import Card, Picture, Section, Table, flatten, report

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


def test_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match=r"got 1 values, expected 2 for the columns \['a', 'b'\]"):
        report("run", [Section("s", parts=[Table(["a", "b"], [[1, 2], [3]])])])
