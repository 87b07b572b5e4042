"""Generators whose images are known: the data itself, one image over and over, noise, nothing."""

import jax
import numpy as np
import pytest

from cellfx.data.source import Split, to_float
from cellfx.data.synthetic import synthetic
from cellfx.findings import generated, subject

SIZE = 16


@pytest.fixture(scope="module")
def source():
    return synthetic(num_train=240, num_valid=240, num_test=240, image_size=SIZE)


def images(source, split):
    return source.splits[split].arrays["x"]


def judged(source, sample):
    return generated.judge_generated(subject.Subject(source, None, None, 7, sample=sample), 0)


def drawn_from(pool):
    """A generator that knows these images and draws any of them."""

    def sample(key, count):
        rows = np.asarray(jax.random.randint(key, (count,), 0, len(pool)))
        return to_float(pool[rows]), np.zeros((count, 1))

    return sample


@pytest.fixture(scope="module")
def honest(source):
    return judged(source, drawn_from(images(source, "valid")))


def test_images_of_the_same_kind_are_told_apart_by_chance_alone(source):
    train, valid, test = (images(source, name) for name in ("train", "valid", "test"))
    accuracy = generated.real_or_fake(train[:120], valid[:120], train[120:], np.concatenate([valid[120:], test]), 0)
    assert 0.38 < accuracy < 0.62


def test_noise_is_told_from_images(source):
    train, test = images(source, "train"), images(source, "test")
    noise = np.random.default_rng(0).permuted(np.concatenate([train, test]).reshape(480, -1), axis=1)
    noise = noise.reshape(480, SIZE, SIZE, 1)
    assert generated.real_or_fake(train, noise[:240], test, noise[240:], 0) > 0.95


def test_accuracy_counts_both_kinds_alike(source):
    """Of the same images one kind's share of mistakes is the other's of right answers."""
    train, test = images(source, "train"), images(source, "test")
    assert generated.real_or_fake(train[:100], train[100:200], test[:60], test[:60], 0) == pytest.approx(0.5)
    assert generated.real_or_fake(train[:100], train[100:200], test[:60], np.repeat(test[:60], 3, axis=0), 0) == (
        pytest.approx(0.5)
    )


def test_a_generator_of_the_data_is_as_varied_as_the_data(honest, source):
    assert list(honest["spread"]) == ["area_px", "brightness", "eccentricity"]
    for name, value in honest["spread"].items():
        assert 0.75 < value < 1.3, name
    assert 0.9 < honest["nearest"]["ratio"] < 1.1
    assert honest["nearest"]["too_near_rate"] < 0.06
    assert (honest["judged_on"], honest["images"]) == ("test", 240)
    assert 0.3 < honest["real_or_fake"]["accuracy"] < 0.7


def test_drawn_images_are_judged_in_the_steps_of_stored_pixels(honest, source):
    stored = images(source, "valid")
    drawn = to_float(stored) + np.random.default_rng(0).uniform(-0.4, 0.4, stored.shape) / 255
    np.testing.assert_array_equal(generated._stored(drawn, stored.dtype), stored)
    assert honest["images"] == 240


def test_one_image_over_and_over_has_no_spread_and_is_found_among_those_learnt_from(source):
    copied = to_float(images(source, "train")[3])

    found = judged(source, lambda key, count: (np.repeat(copied[None], count, axis=0), np.zeros((count, 1))))
    assert list(found["spread"].values()) == [0.0, 0.0, 0.0]
    assert found["nearest"]["ratio"] == 0.0
    assert found["nearest"]["too_near_rate"] == 1.0
    assert found["real_or_fake"]["accuracy"] > 0.9


def test_images_without_a_cell_have_no_spread(source):
    found = judged(source, lambda key, count: (np.full((count, SIZE, SIZE, 1), 0.2), np.zeros((count, 1))))
    assert list(found["spread"].values()) == [0.0, 0.0, 0.0]


def test_where_no_factor_is_known_nothing_is_measured_in_the_images(source):
    found = judged(source._replace(factor_names=()), drawn_from(images(source, "valid")))
    assert "spread" not in found
    assert generated.describe(found) == [
        f"real or generated: a classifier tells with accuracy {found['real_or_fake']['accuracy']:.4f}"
    ]


def test_the_lines_tell_the_scores(honest):
    first, second = generated.describe(honest)
    assert f"{honest['real_or_fake']['accuracy']:.4f}" in first
    area, brightness = (f"{honest['spread'][name]:.2f}" for name in ("area_px", "brightness"))
    assert second.startswith(f"spread of generated against real images: area_px {area}, brightness {brightness}, ecc")


@pytest.mark.parametrize("name", ["train", "test"])
def test_streamed_data_is_not_judged(source, name):
    streamed = source._replace(splits={**source.splits, name: Split(240, None, lambda: None)})
    assert judged(streamed, drawn_from(images(source, "valid"))) is None


def test_as_many_images_as_wanted_are_drawn_and_no_batch_twice():
    keys = []

    def sample(key, count):
        keys.append(jax.random.key_data(key).tolist())
        return np.full((count, 2, 2, 1), len(keys)), None

    found = generated.draw(sample, 7, seed=3, batch_size=3)
    assert found[:, 0, 0, 0].tolist() == [1, 1, 1, 2, 2, 2, 3]
    assert len(set(map(str, keys))) == 3
