import itertools

import numpy as np
import pytest

from cellfx.report.charts.topology import NEGATIVE, POSITIVE, arrange, topologies, topology
from cellfx.sparsity.compact import Compact

RNG = np.random.default_rng(0)


def network(kernels, inputs=None):
    inputs = range(len(kernels[0])) if inputs is None else inputs
    return Compact(tuple(inputs), tuple((np.asarray(k, float), np.zeros(np.shape(k)[1])) for k in kernels))


def crossings(kernels, places):
    total = 0
    for layer, kernel in enumerate(kernels):
        for (a, b), (c, d) in itertools.combinations(np.argwhere(kernel), 2):
            above = places[layer][a] - places[layer][c]
            below = places[layer + 1][b] - places[layer + 1][d]
            total += above * below < 0
    return total


def lines(figure):
    return [line for axes in figure.axes for line in axes.get_lines() if len(line.get_xdata()) == 2]


def test_every_connection_is_a_line_with_its_sign_and_magnitude():
    kernels = [np.array([[2.0, 0.0], [-1.0, 0.5]]), np.array([[0.0, -4.0], [3.0, 0.0]])]
    drawn = lines(topology(network(kernels), ["z0", "z1"], ["a", "b"]))
    weights = [w for kernel in kernels for w in kernel[kernel != 0]]
    assert [line.get_color() for line in drawn] == [POSITIVE if w > 0 else NEGATIVE for w in weights]
    widths = np.array([line.get_linewidth() for line in drawn])
    slope, start = np.polyfit(np.abs(weights), widths, 1)
    np.testing.assert_allclose(widths, start + slope * np.abs(weights), rtol=1e-6)
    assert slope > 0
    assert sorted({y for line in drawn for y in line.get_ydata()}) == [0, 1, 2]


def test_blue_is_positive_and_red_negative():
    red, _, blue = (int(POSITIVE[i : i + 2], 16) for i in (1, 3, 5))
    assert blue > 2 * red
    red, _, blue = (int(NEGATIVE[i : i + 2], 16) for i in (1, 3, 5))
    assert red > 2 * blue


def test_layers_run_from_the_inputs_above_to_the_classes_below():
    figure = topology(network([np.ones((2, 3)), np.ones((3, 2))], (4, 9)), ["z4", "z9"], ["a", "b"])
    axes = figure.axes[0]
    heights = {text.get_text(): axes.transData.transform((0, text.get_position()[1]))[1] for text in axes.texts[4:]}
    assert list(heights) == ["latents", "3 units", "classes"]
    assert heights["latents"] > heights["3 units"] > heights["classes"]
    names = [text.get_text() for text in axes.texts[:4]]
    assert names == ["z4", "z9", "a", "b"]
    assert figure.texts[0].get_text() == "How the classifier reads 2 latents"
    assert "12 connections" in figure.texts[1].get_text()


def test_units_are_sorted_until_nothing_crosses_that_need_not():
    shuffled = np.eye(6)[[3, 0, 5, 1, 4, 2]]
    kernels = [shuffled, shuffled.T]
    straight = [np.arange(6)] * 3
    assert crossings(kernels, straight) > 0
    places = arrange(kernels)
    assert crossings(kernels, places) == 0
    for place in (places[0], places[-1]):
        np.testing.assert_allclose(place, (np.arange(6) + 0.5) / 6)


def test_sorting_never_loses_a_unit_and_mostly_helps():
    before = after = 0
    for _ in range(20):
        kernels = [RNG.normal(size=(a, b)) * (RNG.uniform(size=(a, b)) < 0.3) for a, b in ((4, 7), (7, 5), (5, 2))]
        places = arrange(kernels)
        for place, size in zip(places, (4, 7, 5, 2), strict=True):
            np.testing.assert_allclose(np.sort(place), (np.arange(size) + 0.5) / size)
        before += crossings(kernels, [np.arange(n) for n in (4, 7, 5, 2)])
        after += crossings(kernels, places)
    assert after < 0.8 * before


def test_line_widths_are_shared_between_networks():
    weak, strong = network([np.array([[1.0, -1.0]])]), network([np.array([[10.0, -10.0]])])
    drawn = lines(topologies([weak, strong], ["seed 0", "seed 1"], ["a", "b"]))
    assert len(drawn) == 4
    assert drawn[0].get_linewidth() < 0.3 * drawn[2].get_linewidth()


def test_classes_are_numbered_where_there_are_many_networks():
    nets = [network([np.ones((2, 3))], (7, 8)) for _ in range(3)]
    figure = topologies(nets, ["one", "two", "three"], ["Inter phase", "b", "c"])
    assert "1\N{NO-BREAK SPACE}Inter phase" in figure.texts[1].get_text()
    assert [text.get_text() for text in figure.axes[1].texts] == ["z7", "z8", "1", "2", "3", "two"]


def test_nothing_left_is_said():
    empty = network([np.zeros((0, 2)), np.zeros((2, 2))])
    figure = topology(empty, [], ["a", "b"])
    assert "No connection is left" in figure.texts[1].get_text()
    assert "no latent left" in [text.get_text() for text in figure.axes[0].texts]
    assert lines(figure) == []


def test_names_that_do_not_fit():
    with pytest.raises(ValueError, match="got 1 for inputs and 2 for classes, expected 3 and 2; give one"):
        topology(network([np.ones((3, 2))]), ["z0"], ["a", "b"])
