"""Frames of a cytometer: kinds in their shares, scenes within their ranges, images that show what is in the scene."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.data import frames as cytometer
from cellfx.data.source import SPLITS

COUNT = 400
KINDS = cytometer.CLASS_NAMES
SHARES = cytometer.kind_shares(cytometer.KIND_RATES)
sample_scenes = jax.jit(cytometer.sample_scenes)


@pytest.fixture(scope="module")
def source():
    return cytometer.frames(COUNT, 30, 20)


@pytest.fixture(scope="module")
def many():
    """Twenty thousand scenes, without their images."""
    scenes, _ = sample_scenes(jnp.arange(20_000, dtype=jnp.uint32), 1, SHARES)
    return {name: np.array(values) for name, values in scenes.items()}


@pytest.fixture(scope="module")
def sample():
    scenes, seeds = sample_scenes(jnp.arange(256, dtype=jnp.uint32), 5, SHARES)
    return {name: np.array(values) for name, values in scenes.items()}, np.asarray(seeds)


def of_kind(scenes, kind):
    chosen = scenes["kind"] == KINDS.index(kind)
    return {name: values[chosen] for name, values in scenes.items()}


def is_there(scenes):
    return np.arange(cytometer.MAX_OBJECTS) < scenes["num_objects"][:, None]


def light(sample, **changed):
    """Frames without noise, in gray levels."""
    scenes, seeds = sample
    noiseless = np.zeros_like(scenes["noise"])
    scenes = {**scenes, "noise": noiseless, **changed}
    return np.asarray(cytometer.render(scenes, seeds, 64))[..., 0].astype(np.float64)


def test_splits_have_the_shapes_of_the_contract(source):
    assert source.shape == (32, 32, 1)
    assert tuple(source.splits) == SPLITS
    assert source.class_names == ("single", "clump", "debris", "out_of_focus", "empty")
    for split, size in zip(source.splits.values(), (COUNT, 30, 20), strict=True):
        assert split.num_examples == size
        described = {name: (array.shape, array.dtype) for name, array in split.arrays.items()}
        assert described == {"x": ((size, 32, 32, 1), np.uint8), "label": ((size,), np.int32)}
        assert set(split.metadata) == {"Metadata_Index", "Metadata_Kind"}
        np.testing.assert_array_equal(split.metadata["Metadata_Kind"], np.array(KINDS)[split.arrays["label"]])


def test_no_two_frames_are_alike(source):
    images = np.concatenate([split.arrays["x"].reshape(-1, 32 * 32) for split in source.splits.values()])
    indices = np.concatenate([split.metadata["Metadata_Index"] for split in source.splits.values()])
    assert len(np.unique(images, axis=0)) == len(np.unique(indices)) == COUNT + 50


def test_a_larger_data_set_begins_with_the_smaller_and_seeds_differ(source):
    smaller, other = cytometer.frames(30, 20, 0), cytometer.frames(30, 20, 0, seed=1)
    for name, size in (("train", 30), ("valid", 20)):
        for key, array in smaller.splits[name].arrays.items():
            np.testing.assert_array_equal(array, source.splits[name].arrays[key][:size])
            assert (array != other.splits[name].arrays[key]).any()


def test_frames_are_the_render_of_their_scenes(source):
    scenes, seeds = sample_scenes(jnp.arange(COUNT, dtype=jnp.uint32), 0, SHARES)
    images = np.asarray(cytometer.render(scenes, seeds)).astype(int)
    # Compiled together, sampling and drawing may round single pixels differently.
    np.testing.assert_allclose(images, source.splits["train"].arrays["x"].astype(int), atol=1)
    np.testing.assert_array_equal(source.splits["train"].arrays["label"], scenes["kind"])
    part = {name: values[100:103] for name, values in scenes.items()}
    np.testing.assert_array_equal(cytometer.render(part, seeds[100:103]), images[100:103])


def test_kinds_have_their_shares(many):
    found = np.bincount(many["kind"], minlength=5) / 20_000
    for share, expected in zip(found, cytometer.KIND_RATES.values(), strict=True):
        # Five standard deviations of a binomial.
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 20_000)
    assert cytometer.KIND_RATES["single"] == 0.5


def test_shares_are_divided_by_their_sum_and_kinds_left_out_have_none():
    np.testing.assert_array_equal(cytometer.kind_shares({"debris": 3, "single": 1}), [0.25, 0, 0.75, 0, 0])
    for kind in KINDS:
        assert set(cytometer.frames(40, 0, 0, 8, kind_rates={kind: 1}).splits["train"].metadata["Metadata_Kind"]) == {
            kind
        }
    mixed = cytometer.frames(300, 0, 0, 8, kind_rates={"empty": 0.2, "clump": 0.2}).splits["train"]
    assert set(mixed.metadata["Metadata_Kind"]) == {"empty", "clump"}


def test_factors_fill_the_ranges_of_their_kind(many):
    counts = {"single": [1], "clump": [2, 3], "debris": [1, 2, 3, 4], "out_of_focus": [1], "empty": [0]}
    for index, kind in enumerate(KINDS):
        scenes = of_kind(many, kind)
        np.testing.assert_array_equal(np.unique(scenes["num_objects"]), counts[kind])
        defocus_px = (4.0, 9.0) if kind == "out_of_focus" else (0.8, 2.2)
        ranges = {"defocus_px": defocus_px, "noise": (0.005, 0.03), "orientation_rad": (0, np.pi)}
        for column, name in enumerate(cytometer.OBJECT_FACTORS):
            ranges[name] = cytometer.LOW[index, column], cytometer.HIGH[index, column]
        for name, (low, high) in ranges.items():
            values, slack = scenes[name], 0.005 * (high - low)
            assert low - 1e-6 <= values.min() <= low + slack, (kind, name)
            assert high - slack <= values.max() <= high + 1e-6, (kind, name)


def test_what_is_there_lies_around_the_middle(many):
    for kind in KINDS[:4]:
        scenes = of_kind(many, kind)
        there = is_there(scenes)
        for name in ("x_px", "y_px"):
            middle = (scenes[name] * there).sum(axis=1) / there.sum(axis=1)
            assert 3.9 < np.abs(middle).max() < 4.001


def test_nuclei_of_a_clump_touch_or_overlap(many):
    scenes = of_kind(many, "clump")
    radius = np.sqrt(scenes["area_px"] / np.pi)
    apart = np.hypot(scenes["x_px"][:, 1:] - scenes["x_px"][:, :1], scenes["y_px"][:, 1:] - scenes["y_px"][:, :1])
    ratio = (apart / (radius[:, :1] + radius[:, 1:]))[is_there(scenes)[:, 1:]]
    assert 0.599 < ratio.min() < 0.61
    assert 1.04 < ratio.max() < 1.051


def test_size_alone_does_not_tell_singles(many):
    total = np.sum(many["area_px"] * is_there(many), axis=1)
    shown = np.isin(many["kind"], [0, 1, 2])
    single = many["kind"][shown] == 0
    order = np.argsort(total[shown])
    right = np.concatenate([[0], np.cumsum(np.where(single[order], 1, -1))])
    # The best range from below and above, of all ranges.
    best = (right - np.minimum.accumulate(right)).max() + np.sum(~single)
    assert best / len(single) < 0.75
    assert np.mean(total[many["kind"] == 2] > 180) > 0.3  # debris larger than the smallest nucleus
    assert np.mean(total[many["kind"] == 1] < 900) > 0.8  # clumps smaller than the largest


def test_area_and_brightness_of_a_single_can_be_measured(sample):
    chosen = sample[0]["kind"] == 0
    scenes = {name: values[chosen] for name, values in sample[0].items()}
    images = light((scenes, sample[1][chosen]), texture=np.zeros_like(scenes["texture"])) / 255 - 0.015
    brightness, area_px = scenes["brightness"][:, 0], scenes["area_px"][:, 0]
    np.testing.assert_allclose(images.max(axis=(1, 2)), brightness, atol=0.06)
    # Half of the brightness at the rim, which is .8 of that at the center.
    np.testing.assert_allclose((images > 0.4 * brightness[:, None, None]).sum(axis=(1, 2)), area_px, rtol=0.1)


def test_light_of_several_objects_adds_up(sample):
    brightness = 0.2 * sample[0]["brightness"]  # so that nothing is saturated
    together = light(sample, brightness=brightness)
    alone = []
    for index in range(cytometer.MAX_OBJECTS):
        only = np.zeros_like(brightness)
        only[:, index] = brightness[:, index]
        alone.append(light(sample, brightness=only))
    dark = light(sample, brightness=np.zeros_like(brightness))
    assert together.max() < 255
    # Five images rounded to whole gray levels.
    np.testing.assert_allclose(together - dark, np.sum(alone, axis=0) - 4 * dark, atol=3)
    assert (together - dark).max() > 20


def test_only_objects_that_are_there_are_drawn(sample):
    brightness = np.where(is_there(sample[0]), sample[0]["brightness"], 0.9)
    np.testing.assert_array_equal(light(sample, brightness=brightness), light(sample))
    empty = light(sample)[sample[0]["kind"] == KINDS.index("empty")]
    np.testing.assert_array_equal(empty, np.full_like(empty, 4))  # .015 of 255


def test_out_of_focus_has_no_edges(sample):
    images = light(sample, texture=np.zeros_like(sample[0]["texture"]))
    slopes = np.abs(np.diff(images, axis=1)).max(axis=(1, 2)) / images.max(axis=(1, 2))
    single, blurred = (slopes[sample[0]["kind"] == KINDS.index(kind)] for kind in ("single", "out_of_focus"))
    assert blurred.max() < 0.75 * single.min()


def in_ellipse(mask):
    """Share of a mask (H, W) that lies in the ellipse of the same area and second moments."""
    at = np.argwhere(mask) - np.argwhere(mask).mean(axis=0)
    distance = np.einsum("ni,ij,nj->n", at, np.linalg.inv(np.cov(at.T)), at)
    # An ellipse reaches to twice its standard deviations.
    return np.mean(distance < 4)


def test_debris_is_ragged(sample):
    def rounded(kind):
        chosen = sample[0]["kind"] == KINDS.index(kind)
        scenes = {name: values[chosen] for name, values in sample[0].items()}
        alike = {"num_objects": 1, "texture": 0, "defocus_px": 0.8, "area_px": 250, "eccentricity": 0.5}
        changed = {name: np.full_like(scenes[name], value) for name, value in alike.items()}
        images = light((scenes, sample[1][chosen]), **changed)
        return np.mean([in_ellipse(image > 0.5 * (image.max() + image.min())) for image in images])

    assert rounded("single") > 0.97
    assert rounded("debris") < 0.94


def test_other_sizes_show_the_same_field(sample):
    large = light(sample, texture=np.zeros_like(sample[0]["texture"]))
    noiseless = {"noise": np.zeros_like(sample[0]["noise"]), "texture": np.zeros_like(sample[0]["texture"])}
    small = np.asarray(cytometer.render({**sample[0], **noiseless}, sample[1], 32))[..., 0].astype(np.float64)
    assert np.abs(small - large.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))).mean() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_valid": -1}, "number out of range: got data.num_valid=-1, expected 0 or more; correct it"),
        ({"image_size": 4}, "number out of range: got data.image_size=4, expected 8 or more; correct it"),
        ({"kind_rates": {"clumps": 1}}, "no such kind of frame: got 'clumps', expected clump; correct kind_rates"),
        ({"kind_rates": {"xyz": 1}}, "got 'xyz', expected single, clump, debris, out_of_focus, empty; correct"),
        ({"kind_rates": {"clump": -0.5}}, "got clump=-0.5, expected 0 or more; change kind_rates.clump"),
        ({"kind_rates": {"clump": "half"}}, "got clump='half', expected 0 or more"),
        ({"kind_rates": {"clump": float("inf")}}, "got clump=inf, expected"),
        ({"kind_rates": {"clump": 0}}, "got {'clump': 0}, expected one above 0; raise one"),
        ({"kind_rates": {}}, "got {}, expected one above 0; raise one"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cytometer.frames(**arguments)
