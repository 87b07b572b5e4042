"""Known answers: encoders that are told the factors, decoders that undo them."""

import itertools

import numpy as np
import pytest

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.source import Source, Split
from cellfx.findings import classes as probing
from cellfx.findings import measure, subject

SIDE = 6
CLASSES = ("small", "large", "odd")


def images_of(factors):
    """(N, 3) factors in [0, 1] -> (N, 1, 3, 1) images whose pixels are the factors."""
    return factors.astype(np.float32)[:, None, :, None]


def split(repeats=2, flipped=False, order=0):
    """Every combination of three factors, ``repeats`` times; the class tells how large the first is."""
    grid = np.array(list(itertools.product(np.linspace(0, 1, SIDE), repeat=3)) * repeats, np.float32)
    grid = np.random.default_rng(order).permutation(grid)
    label = (grid[:, 0] > 0.5).astype(np.int32)
    arrays = {"x": images_of(grid), "label": 1 - label if flipped else label, "factors": grid}
    return Split(len(grid), arrays)


def source(**splits):
    found = {"train": split(order=1), "valid": split(1, order=2), "test": split(order=3), **splits}
    return Source("known", (1, 3, 1), found, CLASSES[:2], ("width", "height", "depth"))


def told(x):
    codes = np.asarray(x).reshape(len(x), -1)
    return codes, np.full_like(codes, -6.0)


def undo(z):
    return np.asarray(z).reshape(len(z), 1, 3, 1)


def measured(encode=told, decode=undo, of=None, **settings):
    settings = {"head": "logistic", "symmetries": False, "factor_votes": 60, **settings}
    options = measure.Options(**settings)
    return measure.measure(subject.Subject(of or source(), encode, decode, 7), 0, options)


@pytest.fixture(scope="module")
def perfect():
    return measured()


def test_an_encoder_that_is_told_the_factors_scores_1(perfect):
    scores = perfect.scores
    parts = scores["disentanglement"]
    assert parts["MIG"]["score"] == pytest.approx(1, abs=0.02)
    assert parts["DCI"]["score"] > 0.95
    assert parts["FactorVAE"]["score"] == 1
    assert scores["probe"]["balanced_accuracy"] == scores["probe"]["accuracy"] == 1
    assert scores["probe"]["train_images"] == 3 * SIDE**3
    assert scores["probe"]["test_images"] == scores["judged_images"] == 2 * SIDE**3
    np.testing.assert_array_equal(perfect.probed.confusion, np.diag([SIDE**3, SIDE**3]))
    assert scores["active_latents"] == 3


def test_a_decoder_that_undoes_the_encoder_has_no_error(perfect):
    assert perfect.scores["reconstruction_mse"] == 0
    np.testing.assert_array_equal(perfect.images, perfect.reconstructions)
    assert len(perfect.images) == 20
    stored = perfect.subject.source.splits["test"].arrays
    np.testing.assert_array_equal(perfect.images, stored["x"][perfect.shown])
    assert np.bincount(stored["label"][perfect.shown]).tolist() == [10, 10]


def test_every_score_says_how_it_was_measured(perfect):
    assert [name for name, part in perfect.scores["disentanglement"].items() if not part["protocol"]] == []


def test_kl_is_the_closed_form_over_real_examples_alone(perfect):
    factors = np.asarray(perfect.subject.source.splits["test"].arrays["factors"], np.float64)
    expected = (factors**2 + np.exp(-6.0) - 1 + 6).mean(axis=0) / 2
    np.testing.assert_allclose(perfect.kl, expected, rtol=1e-6)
    assert perfect.scores["kl"] == pytest.approx(expected.sum(), rel=1e-6)
    assert perfect.codes.mean.shape == (2 * SIDE**3, 3)


def test_the_error_of_a_black_decoder_is_that_of_the_images():
    found = measured(decode=lambda z: np.zeros((len(z), 1, 3, 1), np.float32), factor_votes=1)
    images = np.asarray(found.subject.source.splits["test"].arrays["x"], np.float64)
    assert found.scores["reconstruction_mse"] == pytest.approx(np.mean(images**2), rel=1e-6)


def test_an_encoder_that_guesses_scores_nothing():
    def guess(x):
        codes = np.random.default_rng(0).standard_normal((len(x), 3)).astype(np.float32)
        return codes, np.zeros_like(codes)

    found = measured(encode=guess)
    assert found.scores["disentanglement"]["MIG"]["score"] < 0.1
    assert found.scores["disentanglement"]["DCI"]["score"] < 0.3
    assert 0.4 < found.scores["probe"]["balanced_accuracy"] < 0.6


def test_an_encoder_that_says_everything_twice_has_no_gap():
    def twice(x):
        codes = np.repeat(told(x)[0], 2, axis=1)
        return codes, np.full_like(codes, -6.0)

    assert measured(encode=twice, decode=lambda z: undo(z[:, ::2])).scores["disentanglement"]["MIG"]["score"] == 0


def test_the_probe_learns_from_training_and_validation_labels_alone():
    learnt = {"train": split(flipped=True, order=1), "valid": split(1, flipped=True, order=2)}
    found = measured(of=source(**learnt), factor_votes=1)
    assert found.scores["probe"]["balanced_accuracy"] == 0


def with_classes(part):
    """Three classes, of which the third is of even thirds of the second factor."""
    label = np.where(part.arrays["factors"][:, 1] < 0.3, 2, part.arrays["label"]).astype(np.int32)
    return part._replace(arrays={**part.arrays, "label": label})


def three_classes():
    plain = source()
    return plain._replace(splits={name: with_classes(part) for name, part in plain.splits.items()}, class_names=CLASSES)


def test_classes_are_counted_as_one_or_left_out():
    found = measured(of=three_classes(), classes={"size": ("small", "large"), "other": ("odd",)}, factor_votes=1)
    assert found.probed.names == ("size", "other")
    assert found.probed.confusion.sum() == 2 * SIDE**3
    left = measured(of=three_classes(), classes={"small": ("small",), "large": ("large",)}, factor_votes=1)
    assert left.probed.confusion.sum() == np.sum(three_classes().splits["test"].arrays["label"] < 2)
    assert left.scores["probe"]["balanced_accuracy"] == 1
    assert left.scores["probe"]["classes"] == {"small": ["small"], "large": ["large"]}


def test_the_probe_learns_from_as_many_images_as_it_should():
    """Before, from 1,000 at most, whatever the data."""
    many = source(train=split(6, order=1))
    assert measured(of=many, factor_votes=1).scores["probe"]["train_images"] == 7 * SIDE**3 > 1_000
    few = measured(of=many, factor_votes=1, train_images=70).scores["probe"]
    assert few["train_images"] == 70
    assert few["test_images"] == 2 * SIDE**3
    with pytest.raises(ValueError, match=r"probe\.train_images is too small: got 0, expected 1 or more; raise it"):
        measure.Options(train_images=0).check()


def test_classes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"unknown class in probe\.classes: got 'smal', expected one of small, large;"):
        measured(classes={"a": ("smal",), "b": ("large",)}, factor_votes=1)
    other = {"odd": ("odd",), "even": ("even",)}
    with pytest.raises(
        ValueError, match=r"no image to probe: got none of the classes \['odd', 'even'\], expected some; change"
    ):
        measured(of=source()._replace(class_names=(*CLASSES, "even")), classes=other, factor_votes=1)


@pytest.mark.parametrize(
    ("classes", "got"),
    [
        ({"small": ("small",)}, "small of small"),
        ({}, "none"),
        ({"a": ("small", "large"), "b": ("large",)}, "a of small, large; b of large"),
        ({"a": ("small", "large"), "b": ()}, "a of small, large; b of none"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(classes, got):
    """Before, one class was told apart with an accuracy of 1."""
    with pytest.raises(ValueError, match=rf"probe\.classes tells no classes apart: got {got}, expected two or more"):
        measured(classes=classes, factor_votes=1)


def test_few_images_get_no_scores_of_disentanglement():
    test = split()
    few = Split(99, {name: values[:99] for name, values in test.arrays.items()})
    found = measured(of=source(test=few))
    assert "disentanglement" not in found.scores
    assert found.scores["judged_images"] == 99
    assert found.scores["probe"]["balanced_accuracy"] == 1


def test_without_labels_and_factors_there_is_no_score_of_them():
    plain = source()
    bare = {name: Split(len(part.arrays["x"]), {"x": part.arrays["x"]}) for name, part in plain.splits.items()}
    found = measured(of=plain._replace(splits=bare, class_names=(), factor_names=()))
    assert found.probed is None
    assert {"probe", "disentanglement"} & set(found.scores) == set()


@pytest.mark.parametrize("missing", [{"test": Split(0, {"x": np.zeros((0, 1, 3, 1))})}, {"test": None}])
def test_where_there_is_no_test_split_validation_judges(missing):
    of = source(**missing)
    of = of._replace(splits={name: part for name, part in of.splits.items() if part is not None})
    (batch,) = subject.batches(subject.judged_split(of), 5)
    np.testing.assert_array_equal(batch["x"][: SIDE**3], of.splits["valid"].arrays["x"])
    assert batch["mask"].sum() == SIDE**3


def test_a_model_is_not_probed_on_what_it_learnt_from():
    empty = Split(0, {name: values[:0] for name, values in split().arrays.items()})
    found = measured(of=source(valid=empty, test=empty), factor_votes=1)
    assert found.scores["judged_on"] == "train"
    assert "probe" not in found.scores
    validated = measured(of=source(test=empty), factor_votes=1)
    assert validated.scores["judged_on"] == validated.scores["probe"]["judged_on"] == "valid"
    assert validated.scores["probe"]["train_images"] == 2 * SIDE**3


def test_validation_images_judge_where_they_are_asked_to():
    asked = measured(split="valid", factor_votes=1)
    assert asked.scores["judged_on"] == asked.scores["probe"]["judged_on"] == "valid"
    assert asked.scores["judged_images"] == asked.scores["probe"]["test_images"] == SIDE**3
    assert asked.scores["probe"]["train_images"] == 2 * SIDE**3
    stored = asked.subject.source.splits["valid"].arrays
    np.testing.assert_array_equal(asked.images, stored["x"][asked.shown])
    empty = Split(0, {name: values[:0] for name, values in split().arrays.items()})
    with pytest.raises(ValueError, match="nothing to judge on: got no validation image of known, expected some"):
        measured(of=source(valid=empty), split="valid", factor_votes=1)
    with pytest.raises(ValueError, match=r"unknown probe\.split: got 'train', expected one of test, valid; correct it"):
        measure.Options(split="train").check()


def test_of_a_long_stream_only_as_much_is_read_as_is_judged(monkeypatch):
    monkeypatch.setattr(subject, "MAX_IMAGES", 300)
    read = []

    def examples():
        def rows():
            for place in range(5_000):
                read.append(place)
                yield {"x": np.zeros((1, 3, 1), np.float32), "label": np.int32(0)}

        tensors = {"x": ((1, 3, 1), np.float32), "label": ((), np.int32)}
        tf = import_tensorflow()
        kinds = {name: tf.TensorSpec(shape, dtype) for name, (shape, dtype) in tensors.items()}
        return tf.data.Dataset.from_generator(rows, output_signature=kinds)

    streamed = subject.judged_split(source(test=Split(5_000, None, examples)))
    assert sum(batch["mask"].sum() for batch in subject.batches(streamed)) == 300
    assert len(read) < 1_500


def test_stored_pixels_are_judged_as_floats():
    test = split()
    stored = test._replace(arrays={**test.arrays, "x": np.round(test.arrays["x"] * 255).astype(np.uint8)})
    (batch, _) = subject.batches(subject.judged_split(source(test=stored)), 300)
    np.testing.assert_array_equal(batch["x"], np.round(test.arrays["x"][:256] * 255) / np.float32(255))


def test_views_are_the_symmetries_of_a_square():
    image = np.random.default_rng(0).random((1, 4, 4, 2))
    expected = {np.rot90(view, k).tobytes() for view in (image[0], image[0][:, ::-1]) for k in range(4)}
    views = probing.symmetric_views(image)
    assert {view[0].tobytes() for view in views} == expected
    assert len(views) == len(expected) == 8


def test_views_without_rotations_are_the_flips():
    image = np.random.default_rng(0).random((1, 4, 4, 2))
    expected = {image[:, ::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}
    views = probing.symmetric_views(image, rotations=False)
    assert views[0].tobytes() == image.tobytes()
    assert len(views) == 4
    assert {view.tobytes() for view in views} == expected


def test_views_of_a_rectangle_keep_its_shape():
    image = np.random.default_rng(0).random((2, 3, 4, 1))
    views = probing.symmetric_views(image)
    assert [view.shape for view in views] == [image.shape] * 4
    assert len({view.tobytes() for view in views}) == 4
    assert views[0].tobytes() == image.tobytes()


def test_the_probe_averages_over_views_where_asked(perfect):
    seen = measured(symmetries=True, factor_votes=1)
    assert (perfect.scores["probe"]["views"], seen.scores["probe"]["views"]) == (1, 4)
    # The first and the last pixel of a view are the first factor as often as the third, which says nothing.
    assert 0.5 < seen.scores["probe"]["balanced_accuracy"] < 1


def test_the_summary_names_every_score(perfect):
    lines = measure.summary(perfect.scores).splitlines()
    assert lines[0] == "432 images of the test split"
    assert lines[1] == "reconstruction error 0.00000 per pixel (mean squared)"
    assert [line.split()[0] for line in lines[3:7]] == ["MIG", "DCI", "SAP", "FactorVAE"]
    assert lines[7] == "balanced accuracy of logistic on latents 1.0000"
