"""The figures of a study: words inside, none on top of another, for few and many latents and classes; what they say."""

import itertools

import numpy as np
import pytest

from cellfx.report.charts import (
    attacks as attack_charts,
)
from cellfx.report.charts import (
    formulas,
    galleries,
    style,
    topology,
)
from cellfx.report.charts import (
    schemes as scheme_charts,
)
from cellfx.sparsity.compact import Compact

RNG = np.random.default_rng(0)
SCHEMES = ("1 image network", "2 dense head", "3 sparse head", "4 formula")
LONG = "MetaphaseAlignment"
MINUS = "\N{MINUS SIGN}"


def classes(count):
    return [f"{LONG} {i}" for i in range(count)]


def net(num_inputs, num_classes, widths=(6, 4, 5)):
    sizes = [num_inputs, *widths, num_classes]
    layers = [
        (RNG.normal(size=pair) * (RNG.uniform(size=pair) < 0.5), np.zeros(pair[1]))
        for pair in itertools.pairwise(sizes)
    ]
    return Compact(tuple(range(3, 3 + num_inputs)), tuple(layers))


def one_topology(num_inputs, num_classes, name="z{}"):
    names = [name.format(i) for i in range(3, 3 + num_inputs)]
    return topology.topology(net(num_inputs, num_classes), names, classes(num_classes))


def ten_topologies(num_inputs, num_classes, count=10):
    titles = [f"seed {i} · 97.{i} %" for i in range(count)]
    return topology.topologies([net(num_inputs, num_classes) for _ in range(count)], titles, classes(num_classes))


def surface(num_classes, third=None):
    codes = RNG.normal(size=(200, 5))
    weights = RNG.normal(size=(5, num_classes))
    score = (lambda z: z[:, 0] * z[:, 1]) if num_classes == 2 else (lambda z: z @ weights)
    names = [f"z{i} · elongation" for i in range(5)]
    return formulas.decision_surface(
        score, codes, RNG.integers(0, num_classes, 200), (0, 1), classes(num_classes), third, names
    )


def schemes(num_seeds):
    sizes = {name: RNG.integers(10, 20, num_seeds) * 20 ** (3 - i) for i, name in enumerate(SCHEMES)}
    sizes["4 formula, of the network"] = sizes["4 formula"]
    return scheme_charts.schemes(sizes, {name: RNG.uniform(0.95, 0.99, num_seeds) for name in sizes})


def attacked(count=4):
    images = RNG.uniform(size=(count, 16, 16, 1))
    truth = [("Interphase", LONG)[i % 2] for i in range(count)]
    changed = {name: np.clip(images + 0.1 * RNG.normal(size=images.shape), 0, 1) for name in SCHEMES}
    return galleries.attack_pictures(images, truth, changed, dict.fromkeys(SCHEMES, truth[::-1]), "PGD, L2.")


def odd(side=16):
    kinds = ("blank", "saturated", "shuffled", "out of focus")
    images = {kind: RNG.uniform(size=(side, side, 2)) for kind in kinds}
    return galleries.odd_images(images, images, {name: ["Interphase", LONG] * 2 for name in SCHEMES})


def curves(num_attacks):
    sizes = np.linspace(0, 1, 6)
    lines = {name: RNG.uniform(size=(3, 6)) for name in SCHEMES}
    attacks = {f"PGD {i}, L2, on images": (sizes, lines) for i in range(num_attacks)}
    return attack_charts.accuracy_curves(attacks, 0.5, {"PGD 0, L2, on images": 0.5})


def placement(latents, num_classes):
    training, labels = RNG.normal(size=(300, 10)), RNG.integers(0, max(num_classes, 1), 300)
    placed = {"blank: Interphase": 20 * RNG.normal(size=10), f"shuffled: {LONG}": RNG.normal(size=(3, 10))}
    names = [f"z{i} · elongation" for i in range(10)]
    return attack_charts.placement(
        training, placed, range(latents), names, labels if num_classes else None, classes(num_classes)
    )


def pareto(count=60):
    complexity = RNG.integers(1, 21, count)
    loss = 0.6 * np.exp(-complexity / 5) + RNG.gamma(2, 0.03, count)
    return formulas.pareto_front(complexity, loss, 1 - loss / 3, 3)


FIGURES = {
    "topology 2 2": lambda: one_topology(2, 2),
    "topology 4 2": lambda: one_topology(4, 2),
    "topology 8 16": lambda: one_topology(8, 16, "z{} · nuclear eccentricity"),
    "topologies 4 2": lambda: ten_topologies(4, 2),
    "topologies 8 16": lambda: ten_topologies(8, 16, 3),
    "one of topologies": lambda: ten_topologies(3, 5, 1),
    "pareto": pareto,
    "pareto of one": lambda: formulas.pareto_front(np.array([3]), np.array([0.2]), np.array([0.9]), 0),
    "surface": lambda: surface(2),
    "surface in thirds": lambda: surface(2, 3),
    "surface 5": lambda: surface(5, 2),
    "surface 16": lambda: surface(16, 2),
    "surface 16 alone": lambda: surface(16),
    "schemes": lambda: schemes(10),
    "schemes, one seed": lambda: schemes(1),
    "latents": lambda: scheme_charts.latents_chosen(np.array([3, 10]), 10, ["z3 · nuclear area", "z17"]),
    "latents beside": lambda: scheme_charts.latents_chosen(
        np.arange(8),
        10,
        [f"z{i}" for i in range(8)],
        RNG.uniform(size=(8, 9, 24, 24, 2)),
        np.tile([-12.0, 12.0], (8, 1)),
    ),
    "attack": attacked,
    "attack on one": lambda: attacked(1),
    "odd": odd,
    "odd and large": lambda: odd(150),
    "curves 4": lambda: curves(4),
    "curves 1": lambda: curves(1),
    "placement 2 2": lambda: placement(2, 2),
    "placement 8 16": lambda: placement(8, 16),
    "placement without classes": lambda: placement(4, 0),
}


def words(figure):
    """Every upright text of a figure that is not empty, with its box in inches."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        texts += [] if axes.get_legend() is None else axes.get_legend().get_texts()
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    renderer = figure.canvas.get_renderer()
    shown = [text for text in texts if text.get_text().strip() and text.get_rotation() in (0, 90)]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_and_no_word_is_cut_or_covered(name):
    figure = FIGURES[name]()
    assert style.to_png(figure).startswith(b"\x89PNG")
    assert figure.texts[0].get_text()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
    covered = [
        (first, second)
        for (first, box), (second, other) in itertools.combinations(words(figure), 2)
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
    ]
    assert covered == []


def test_the_front_is_what_nothing_dominates():
    complexity, loss = RNG.integers(1, 9, 200), RNG.integers(0, 30, 200) / 10
    front = formulas.undominated(complexity, loss)
    for i in range(200):
        no_worse = (complexity <= complexity[i]) & (loss <= loss[i])
        better = no_worse & ((complexity < complexity[i]) | (loss < loss[i]))
        twin_before = np.any((complexity[:i] == complexity[i]) & (loss[:i] == loss[i]))
        assert front[i] == (not better.any() and not twin_before)
    assert formulas.undominated(np.array([1, 2]), np.array([np.nan, 1.0])).tolist() == [False, True]


def test_the_chosen_formula_is_marked_in_both_charts():
    figure = formulas.pareto_front(np.array([1, 5, 9]), np.array([0.5, 0.2, 0.3]), np.array([0.7, 0.9, 0.8]), 1)
    for axes, value in zip(figure.axes, (0.2, 0.9), strict=True):
        np.testing.assert_allclose(axes.collections[-1].get_offsets(), [[5, value]])
    assert "chosen, complexity 5: 90.0 %" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "3 formulas, 2 of which" in figure.texts[1].get_text()


def ground(axes):
    return np.asarray(axes.get_images()[0].get_array())


def test_the_ground_has_the_color_of_the_decided_class():
    codes, labels = RNG.uniform(-1, 1, (100, 3)), np.zeros(100, int)
    figure = formulas.decision_surface(lambda z: z[:, 2], codes, labels, (2, 0), ["no", "yes"])
    colors = ground(figure.axes[0])
    half = colors.shape[1] // 2
    left, right = colors[:, : half - 20].reshape(-1, 3), colors[:, half + 20 :].reshape(-1, 3)
    assert np.ptp(left, axis=0).max() == np.ptp(right, axis=0).max() == 0
    assert left[0].argmax() == 2  # blue of the first class
    assert right[0].argmax() == 0  # red of the second
    logits = formulas.decision_surface(lambda z: np.stack([-z[:, 2], z[:, 2]], 1), codes, labels, (2, 0), ["no", "yes"])
    np.testing.assert_array_equal(ground(logits.axes[0]), colors)


def test_the_ground_of_a_third_is_that_of_its_own_median():
    codes = RNG.normal(size=(300, 3))
    figure = formulas.decision_surface(lambda z: z[:, 1], codes, np.zeros(300, int), (0, 2), ["no", "yes"], third=1)
    low, _, high = (ground(axes) for axes in figure.axes)
    assert low[0, 0].argmax() == 2
    assert high[0, 0].argmax() == 0
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["z1: low", "z1: medium", "z1: high"]
    shown = [
        sum(len(part.get_offsets()) for part in axes.collections if hasattr(part, "get_offsets"))
        for axes in figure.axes
    ]
    assert shown == [100, 100, 100]


def test_a_scheme_is_told_with_mean_spread_and_size():
    sizes = {"dense": np.array([9000, 9000]), "formula": np.array([11, 20])}
    figure = scheme_charts.schemes(sizes, {"dense": np.array([0.9, 0.92]), "formula": np.array([0.95, 0.95])})
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["dense\n91.0 ± 1.4 %, 9,000 nodes", "formula\n95.0 ± 0.0 %, 11 to 20 nodes"]
    alone = scheme_charts.schemes({"a": np.array([5])}, {"a": np.array([0.5])})
    assert alone.axes[0].get_legend().get_texts()[0].get_text() == "a\n50.0 %, 5 nodes"


def test_latents_stand_by_how_often_they_were_chosen():
    figure = scheme_charts.latents_chosen(np.array([1, 4, 4]), 5, ["z3", "z1", "z2"])
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["z1", "z2", "z3"]
    assert [axes.texts[1].get_text() for axes in figure.axes] == ["4 of 5", "4 of 5", "1 of 5"]
    assert [axes.patches[1].get_width() for axes in figure.axes] == [4, 4, 1]


def test_a_strip_belongs_to_its_latent():
    images = np.stack([np.full((3, 8, 8, 1), level) for level in (0.2, 0.8)])
    values = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 3.0]])
    figure = scheme_charts.latents_chosen(np.array([1, 2]), 2, ["z3", "z1"], images, values)
    bar, strip = figure.axes[:2]
    assert bar.texts[0].get_text() == "z1"
    np.testing.assert_allclose(ground(strip), 0.8, rtol=1e-6)
    assert [text.get_text() for text in strip.texts] == [f"{MINUS}2.0", "+3.0"]


def test_changes_are_red_where_brighter_and_wrong_answers_too():
    original = np.full((1, 8, 8, 1), 0.5)
    brighter = original.copy()
    brighter[0, 0] += 0.3
    brighter[0, 1] -= 0.3
    figure = galleries.attack_pictures(original, ["a"], {"net": brighter}, {"net": ["b"]})
    change = ground(figure.axes[2])
    scale = len(change) // 8
    assert change[0, 0].argmax() == 0
    assert change[scale, 0].argmax() == 2
    np.testing.assert_array_equal(change[2 * scale :], 1)
    colors = {text.get_text(): text.get_color() for text in figure.texts}
    assert colors["b"] == galleries.WRONG
    assert colors["a"] == galleries.RIGHT
    assert "by up to 0.3 of full scale" in figure.texts[1].get_text().replace("\n", " ")


def test_an_attack_that_changes_nothing_is_white():
    images = np.full((1, 8, 8, 1), 0.5)
    figure = galleries.attack_pictures(images, ["a"], {"net": images}, {"net": ["a"]})
    np.testing.assert_array_equal(ground(figure.axes[2]), 1)


def test_curves_are_means_over_seeds():
    values = np.array([[1.0, 0.5], [0.8, 0.1]])
    figure = attack_charts.accuracy_curves({"FGSM": (np.array([0.0, 1.0]), {"net": values, "one": values[0]})})
    first, second = figure.axes[0].get_lines()
    np.testing.assert_allclose(first.get_ydata(), [0.9, 0.3])
    np.testing.assert_allclose(second.get_ydata(), [1.0, 0.5])
    assert len(figure.axes[0].collections) == 1  # a band where there are seeds
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["net", "one"]


def test_odd_images_stand_in_standard_deviations_of_the_training_images():
    training = RNG.normal(3.0, 2.0, (5000, 2))
    placed = {"blank": np.array([7.0, 3.0]), "far": np.array([999.0, -999.0])}
    figure = attack_charts.placement(training, placed, [0, 1])
    marks = [[part.get_offsets()[:, 0] for part in axes.collections[1:]] for axes in figure.axes]
    np.testing.assert_allclose(np.ravel(marks), [2, 8, 0, -8], atol=0.1)
    assert "stand at 8" in figure.texts[1].get_text().replace("\n", " ")


def test_a_latent_that_never_moves_is_placed_all_the_same():
    figure = attack_charts.placement(np.ones((20, 1)), {"blank": np.array([1.5])}, [0])
    np.testing.assert_allclose(figure.axes[0].collections[-1].get_offsets()[:, 0], [0.5])
