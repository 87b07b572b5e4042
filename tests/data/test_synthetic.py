"""Synthetic nuclei: one seed, one data set; factors that can be measured in the images; labels that follow the law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.data import synthetic as nuclei
from cellfx.data.source import SPLITS

COUNT = 600
SEEN = {name: column for column, name in enumerate(nuclei.FACTOR_NAMES)}


@pytest.fixture(scope="module")
def source():
    return nuclei.synthetic(COUNT, 40, 30)


@pytest.fixture(scope="module")
def sample():
    factors, seeds = nuclei.sample_factors(jnp.arange(256, dtype=jnp.uint32), 5)
    return np.array(factors), np.asarray(seeds)


def _render(sample, image_size=64, **changed):
    factors, seeds = sample[0].copy(), sample[1]
    for name, value in changed.items():
        factors[:, SEEN[name]] = value
    return np.asarray(nuclei.render(factors, seeds, image_size))[..., 0].astype(np.float64)


def _smooth(sample, **changed):
    """Nothing but the nucleus, in fractions of full scale, without background."""
    images = _render(sample, texture=0, neighbours=0, noise=0, **changed) / 255
    return images - images.min(axis=(1, 2), keepdims=True)


def test_splits_have_the_shapes_of_the_contract(source):
    assert source.shape == (64, 64, 1)
    assert tuple(source.splits) == SPLITS
    for split, size in zip(source.splits.values(), (COUNT, 40, 30), strict=True):
        assert split.num_examples == size
        described = {name: (array.shape, array.dtype) for name, array in split.arrays.items()}
        assert described == {
            "x": ((size, 64, 64, 1), np.uint8),
            "label": ((size,), np.int32),
            "factors": ((size, len(source.factor_names)), np.float32),
        }
        assert {len(column) for column in split.metadata.values()} == {size}
        assert all(name.startswith("Metadata_") for name in split.metadata)


def test_splits_are_disjoint(source):
    indices = np.concatenate([split.metadata["Metadata_Index"] for split in source.splits.values()])
    images = np.concatenate([split.arrays["x"].reshape(-1, 64 * 64) for split in source.splits.values()])
    assert len(np.unique(indices)) == len(np.unique(images, axis=0)) == COUNT + 70


def test_a_larger_data_set_begins_with_the_smaller(source):
    smaller = nuclei.synthetic(30, 40, 0)
    for name, size in (("train", 30), ("valid", 40), ("test", 0)):
        for key, array in smaller.splits[name].arrays.items():
            np.testing.assert_array_equal(array, source.splits[name].arrays[key][:size])


def test_another_seed_is_another_data_set(source):
    other = nuclei.synthetic(40, 0, 0, seed=1).splits["train"].arrays
    assert not np.isin(other["factors"][:, 0], source.splits["train"].arrays["factors"][:, 0]).any()


def test_images_do_not_depend_on_chunks_or_devices(sample):
    whole = _render(sample)
    for start, stop in ((0, 1), (100, 107)):
        part = _render((sample[0][start:stop], sample[1][start:stop]))
        np.testing.assert_array_equal(part, whole[start:stop])
    mapped = jax.pmap(nuclei.render, devices=jax.devices()[:4])(*(x.reshape(4, 64, *x.shape[1:]) for x in sample))
    np.testing.assert_array_equal(np.asarray(mapped).reshape(whole.shape), whole)


def test_labels_follow_the_documented_law(source):
    for split in source.splits.values():
        f = dict(zip(source.factor_names, split.arrays["factors"].T.astype(np.float64), strict=True))
        score = f["eccentricity"] ** 2 + f["brightness"] - f["area_px"] / 500 - 0.3
        clear = np.abs(score) > 1e-6
        np.testing.assert_array_equal(split.arrays["label"][clear], score[clear] > 0)
        names = np.array(source.class_names)[split.arrays["label"]]
        np.testing.assert_array_equal(split.metadata["Metadata_State"], names)


def test_classes_are_balanced_and_no_single_factor_tells_them_apart():
    factors = np.asarray(nuclei.sample_factors(jnp.arange(20_000, dtype=jnp.uint32), 0)[0])
    label = nuclei.law(factors) > 0
    assert 0.48 < label.mean() < 0.52
    for column in factors.T:
        # The best threshold on one factor, in either direction.
        ranked = label[np.argsort(column)]
        right = np.cumsum(~ranked) + ranked.sum() - np.cumsum(ranked)
        assert max(right.max(), len(label) - right.min()) / len(label) < 0.9


def test_factors_fill_their_ranges():
    factors = np.asarray(nuclei.sample_factors(jnp.arange(20_000, dtype=jnp.uint32), 0)[0])
    low, high = nuclei.FACTOR_LOW.min(axis=0), nuclei.FACTOR_HIGH.max(axis=0)
    high[SEEN["neighbours"]] = 3
    slack = 0.002 * (high - low)
    assert (factors >= low).all()
    assert (factors <= high).all()
    assert (factors.min(axis=0) <= low + slack).all()
    assert (factors.max(axis=0) >= high - slack).all()
    np.testing.assert_array_equal(np.unique(factors[:, SEEN["neighbours"]]), [0, 1, 2, 3])


def test_area_centre_and_orientation_can_be_measured(sample):
    f = {name: sample[0][:, column] for name, column in SEEN.items()}
    images = _smooth(sample)
    # Half of the brightness at the rim, which is .8 of that at the center.
    area_px = (images > 0.4 * f["brightness"][:, None, None]).sum(axis=(1, 2))
    np.testing.assert_allclose(area_px, f["area_px"], rtol=0.06)
    axis = np.arange(64) - 31.5
    mass = images.sum(axis=(1, 2))
    x, y = (images.sum(axis=1) @ axis) / mass, (images.sum(axis=2) @ axis) / mass
    np.testing.assert_allclose(x, f["x_px"], atol=0.3)
    np.testing.assert_allclose(y, f["y_px"], atol=0.3)
    dx, dy = axis - x[:, None], axis - y[:, None]
    xx, yy = ((images * d).sum(axis=(1, 2)) / mass for d in (dx[:, None, :] ** 2, dy[:, :, None] ** 2))
    xy = (images * dx[:, None, :] * dy[:, :, None]).sum(axis=(1, 2)) / mass
    turned = 0.5 * np.arctan2(2 * xy, xx - yy) - f["orientation_rad"]
    is_long = f["eccentricity"] > 0.6
    assert np.abs((turned + np.pi / 2) % np.pi - np.pi / 2)[is_long].max() < 0.1
    half = np.hypot((xx - yy) / 2, xy)
    eccentricity = np.sqrt(1 - ((xx + yy) / 2 - half) / ((xx + yy) / 2 + half))
    # Blur makes small nuclei rounder.
    assert np.corrcoef(eccentricity, f["eccentricity"])[0, 1] > 0.97


def test_brightness_is_linear(sample):
    dim, bright = _smooth(sample, brightness=0.3), _smooth(sample, brightness=0.9)
    np.testing.assert_allclose(bright, 3 * dim, atol=2.1 / 255)
    np.testing.assert_allclose(bright.max(axis=(1, 2)), 0.9, atol=0.05)


def test_noise_has_the_documented_size(sample):
    clean, noisy = (_render(sample, neighbours=0, noise=noise) / 255 for noise in (0.0, 0.02))
    # On the background, .4 + .015 of the factor: .0083, or 2.1 gray levels, so that few are clipped at 0.
    corner = np.s_[:, :6, :6]
    np.testing.assert_allclose((noisy - clean)[corner].std(), 0.02 * 0.415, rtol=0.05)
    bright = clean > 0.6
    np.testing.assert_allclose((noisy - clean)[bright].std(), 0.02 * (0.4 + clean[bright].mean()), rtol=0.05)


def test_neighbours_add_light_away_from_the_centre(sample):
    images = [_render(sample, neighbours=count) for count in (0, 1, 2, 3)]
    light = [image.mean() for image in images]
    assert light[0] < light[1] < light[2] < light[3]
    np.testing.assert_array_equal(images[0][:, 28:36, 28:36], images[3][:, 28:36, 28:36])


def test_the_factors_of_the_law_are_seen_best_of_all(sample):
    def strength(name):
        column = SEEN[name]
        low, high = nuclei.FACTOR_LOW[:, column].min(), nuclei.FACTOR_HIGH[:, column].max()
        return ((_render(sample, **{name: high}) - _render(sample, **{name: low})) ** 2).mean()

    law = min(strength(name) for name in ("area_px", "eccentricity", "brightness"))
    assert law > max(strength(name) for name in ("x_px", "y_px", "texture", "neighbours", "defocus_px", "noise"))


def test_other_sizes_show_the_same_field(sample):
    small, large = _render(sample, 32, noise=0, texture=0), _render(sample, noise=0, texture=0)
    means = large.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))
    assert np.abs(small - means).mean() < 1
    assert nuclei.synthetic(4, 2, 2, image_size=16).splits["train"].arrays["x"].shape == (4, 16, 16, 1)


def test_fixed_factors_are_the_same_in_every_example_and_the_others_stay(source):
    fixed = {"orientation_rad": 0.0, "neighbours": 2, "brightness": 0.6}
    held = nuclei.synthetic(60, 20, 0, fixed=fixed)
    for name, size in (("train", 60), ("valid", 20)):
        split, drawn = held.splits[name], source.splits[name]
        for column, factor in enumerate(nuclei.FACTOR_NAMES):
            expected = np.float32(fixed[factor]) if factor in fixed else drawn.arrays["factors"][:size, column]
            np.testing.assert_array_equal(split.arrays["factors"][:, column], expected)
        np.testing.assert_array_equal(split.arrays["label"], nuclei.law(split.arrays["factors"]) > 0)
    factors, seeds = held.splits["train"].arrays["factors"], nuclei.sample_factors(jnp.arange(60, dtype=jnp.uint32), 0)
    np.testing.assert_array_equal(held.splits["train"].arrays["x"], nuclei.render(factors, seeds[1]))


def test_fixing_nothing_changes_nothing(source):
    for arrays in (nuclei.synthetic(30, 0, 0, fixed=fixed).splits["train"].arrays for fixed in (None, {})):
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, source.splits["train"].arrays[key][:30])


def test_every_factor_can_be_fixed_at_both_ends_of_its_range():
    high = [3 if name == "neighbours" else value for name, value in zip(SEEN, nuclei.FACTOR_HIGH.max(0), strict=True)]
    for values in (nuclei.FACTOR_LOW.min(0), high):
        fixed = {name: float(value) for name, value in zip(SEEN, values, strict=True)}
        factors = nuclei.synthetic(3, 0, 0, 16, fixed=fixed).splits["train"].arrays["factors"]
        np.testing.assert_array_equal(factors, np.tile(np.array(values, np.float32), (3, 1)))


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"neighbors": 0}, "no such factor to fix: got 'neighbors', expected neighbours; correct fixed"),
        ({"xyz": 0}, "got 'xyz', expected area_px, eccentricity, .*, noise; correct fixed"),
        ({"neighbours": 3.5}, "got neighbours=3.5, expected 0 to 3; change fixed.neighbours"),
        ({"eccentricity": 1}, "got eccentricity=1, expected 0 to 0.97; change fixed.eccentricity"),
        ({"brightness": float("nan")}, "got brightness=nan, expected 0.25 to 0.95"),
        ({"texture": "low"}, "got texture='low', expected 0 to 1"),
    ],
)
def test_impossible_fixed_factors_are_refused(fixed, message):
    with pytest.raises(ValueError, match=message):
        nuclei.synthetic(2, 0, 0, fixed=fixed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": -1}, "number out of range: got data.num_train=-1, expected 0 or more; correct it"),
        ({"num_test": 2**29 + 1}, f"num_test={2**29 + 1}"),
        ({"image_size": 7}, "number out of range: got data.image_size=7, expected 8 or more; correct it"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        nuclei.synthetic(**arguments)


def test_cells_of_one_state_have_its_columns_and_independent_factors():
    source = nuclei.synthetic(2_000, 0, 0, image_size=8, states=("interphase",))
    factors = source.splits["train"].arrays["factors"]
    assert (factors >= nuclei.FACTOR_LOW[0] - 1e-6).all()
    assert (factors <= nuclei.FACTOR_HIGH[0] + 1e-6).all()
    between = np.corrcoef(factors.T) - np.eye(len(nuclei.FACTOR_NAMES))
    assert np.abs(between).max() < 0.1


def test_both_states_are_the_default():
    one, two = (
        nuclei.synthetic(50, 0, 0, 8, **given).splits["train"].arrays["factors"]
        for given in ({}, {"states": ("metaphase", "interphase")})
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("states", "named"), [(("anaphase",), "'anaphase'"), ((), "none")])
def test_states_that_are_none_are_refused(states, named):
    with pytest.raises(ValueError, match=f"no such state: got {named}, expected some of interphase, metaphase"):
        nuclei.synthetic(10, 0, 0, 8, states=states)
