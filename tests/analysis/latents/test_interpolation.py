import numpy as np
import pytest

from cellfx.analysis.latents.interpolation import interpolate, linear_path, spherical_path


def decode(z):
    return np.asarray(z).reshape(len(z), 1, -1, 1)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 8)), rng.normal(size=(4, 8))


@pytest.mark.parametrize("path", [linear_path, spherical_path])
def test_both_ends_are_reached(pair, path):
    images = interpolate(decode, *pair, num_steps=5, path=path)
    assert images.shape == (4, 5, 1, 8, 1)
    np.testing.assert_allclose(images[:, 0, 0, :, 0], pair[0], atol=1e-6)
    np.testing.assert_allclose(images[:, -1, 0, :, 0], pair[1], atol=1e-6)


def test_middle_of_a_line(pair):
    images = interpolate(decode, *pair, num_steps=3)
    np.testing.assert_allclose(images[:, 1, 0, :, 0], (pair[0] + pair[1]) / 2, atol=1e-6)


def test_a_great_circle_keeps_the_norm(pair):
    start, end = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in pair)
    path = spherical_path(start, end, np.linspace(0, 1, 7))
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 1, rtol=1e-12)
    steps = np.sum(path[:, 1:] * path[:, :-1], axis=-1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), rtol=1e-9)


def test_quarter_circle_closed_form():
    path = spherical_path(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([1 / 3]))
    np.testing.assert_allclose(path[0, 0], [np.cos(np.pi / 6), np.sin(np.pi / 6)], rtol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_codes_on_one_line_through_the_origin_are_joined_by_it(pair, factor):
    start, end, fractions = pair[0], factor * pair[0], np.linspace(0, 1, 5)
    np.testing.assert_allclose(
        spherical_path(start, end, fractions), linear_path(start, end, fractions), atol=1e-6, rtol=1e-6
    )


def test_codes_that_do_not_pair():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(1, 3\)"):
        interpolate(decode, np.zeros((2, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"got \(3,\) and \(3,\)"):
        interpolate(decode, np.zeros(3), np.zeros(3))


def test_one_step_is_no_path(pair):
    with pytest.raises(ValueError, match="got num_steps=1, expected 2 or more"):
        interpolate(decode, *pair, num_steps=1)
