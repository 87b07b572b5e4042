import numpy as np
import pytest

from cellfx.report.charts import latents, style

RNG = np.random.default_rng(0)
STEPS = np.arange(100)


def inside(figure):
    """Nothing that is drawn is cut off by the edge of the figure."""
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def curves(names):
    return {name: (STEPS, RNG.normal(size=100)) for name in names}


FIGURES = {
    "curves": lambda: latents.learning_curves(
        curves(["loss", "kl"]), {"loss": (STEPS[::50], np.ones(2))}, {"kl": "nats"}
    ),
    "one curve": lambda: latents.learning_curves({"loss": (1000 * STEPS, -1e5 * STEPS)}, {}, {}),
    "seven curves": lambda: latents.learning_curves(curves("abcdefg"), {}, {}),
    "kl": lambda: latents.kl_bars(np.linspace(0, 3, 32)),
    "collapsed": lambda: latents.kl_bars(np.zeros(4)),
    "scatter": lambda: latents.latent_scatter(RNG.normal(size=(50, 3)), (2, 0), np.arange(50) % 2, ["a", "b"]),
    "no labels": lambda: latents.latent_scatter(RNG.normal(size=(50, 3)), (2, 0)),
    "correlations": lambda: latents.factor_correlations(RNG.uniform(-1, 1, (5, 3)), range(5), ["area", "x", "y"]),
    "confusion": lambda: latents.confusion(RNG.integers(0, 50, (2, 2)), ["Interphase", "Metaphase"]),
    "long names": lambda: latents.confusion(RNG.integers(0, 50, (5, 5)), ["MetaphaseAlignment"] * 5),
    "many long names": lambda: latents.confusion(
        RNG.integers(0, 50, (24, 24)), ["kinase inhibitor of a long name"] * 24
    ),
    "empty class": lambda: latents.confusion(np.array([[3, 1], [0, 0]]), ["a", "b"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_and_keeps_its_words_inside(name):
    figure = FIGURES[name]()
    assert style.to_png(figure).startswith(b"\x89PNG")
    assert figure.texts[0].get_text()
    assert inside(figure)


def test_kl_bars_are_sorted_and_counted():
    figure = latents.kl_bars(np.array([0.005, 2.0, 1.0]))
    assert figure.texts[0].get_text() == "2 of 3 latents carry information"
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [2.0, 1.0, 0.005]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "2", "0"]
    assert bars[2].get_facecolor() != bars[1].get_facecolor()


def test_long_curves_have_a_running_mean_over_their_steps():
    values = np.arange(400.0)
    figure = latents.learning_curves({"loss": (np.arange(400), values)}, {}, {})
    raw, mean = figure.axes[0].get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), values)
    np.testing.assert_allclose(np.interp(200, *mean.get_data()), 200, atol=0.51)


def test_confusion_states_shares_and_counts():
    figure = latents.confusion(np.array([[3, 1], [0, 0]]), ["a", "b"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["75%\n3", "25%\n1", "0%\n0", "0%\n0"]


def test_confusion_says_what_it_counts():
    figure = latents.confusion(np.array([[3, 1], [0, 0]]), ["a", "b"], unit="treatments")
    assert figure.texts[1].get_text().replace("\n", " ").endswith("number of treatments.")


def test_confusion_is_no_wider_than_a_page_and_of_many_classes_shows_numbers_only():
    for number in (8, 12):
        shown = latents.confusion(np.eye(number, dtype=int), ["a mechanism of action"] * number)
        assert shown.get_size_inches()[0] < 9  # an inch is 100 pixels of a page, which has 896
    counts = 7 * np.eye(20, dtype=int)
    counts[0, 1] = 2
    figure = latents.confusion(counts, [f"mechanism {i:02d}" for i in range(20)])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(filter(None, texts)) == ["2"] + ["7"] * 20
    assert "color is the share of the row" in figure.texts[1].get_text().replace("\n", " ")
    assert figure.get_size_inches()[0] < 9


def test_validation_is_never_cut_off():
    valid = (np.array([100, 300]), np.array([-50.0, 900.0]))
    figure = latents.learning_curves({"loss": (np.arange(400), np.ones(400))}, {"loss": valid}, {})
    low, high = figure.axes[0].get_ylim()
    assert low < -50
    assert high > 900
