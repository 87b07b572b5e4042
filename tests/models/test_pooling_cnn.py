import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.models.pooling_cnn import pooling_cnn
from cellfx.trees import count_parameters, named_leaves
from cellfx.types import Spec

SPEC = Spec((8, 9, 2), 3, 40, class_counts=(25, 10, 5))
SMALL = {"filters": (4, 6), "hidden": 7}
LABEL = np.arange(12) % 3
BATCH = {
    "x": jax.random.uniform(jax.random.key(7), (12, *SPEC.shape)),
    "label": jnp.asarray(LABEL, jnp.int32),
    "mask": jnp.ones(12),
}


@pytest.fixture(scope="module", params=[True, False], ids=["batch norm", "no batch norm"])
def started(request):
    model = pooling_cnn(SPEC, **SMALL, normalise=request.param)
    return model, *jax.jit(model.init)(jax.random.key(0))


def test_number_of_parameters_of_the_published_filter():
    """3x3, 1-20-50, each pooled by 2, so that 32 pixels become 8; 500 units, two classes; all with biases."""
    filtering = pooling_cnn(Spec((32, 32, 1), 2, 100), filters=(20, 50), hidden=500, normalise=False)
    params, extra = jax.eval_shape(filtering.init, jax.random.key(0))
    convolutions = (9 * 1 + 1) * 20 + (9 * 20 + 1) * 50
    assert count_parameters(params) == convolutions + (64 * 50 + 1) * 500 + 501 * 2 == 1_610_752
    assert count_parameters(extra) == 0


def test_number_of_parameters_of_the_published_classifier():
    """3x3, 3-16-32-64, so that 40 pixels become 5; 512 units; scale and offset of batch norm in place of biases."""
    params, extra = jax.eval_shape(pooling_cnn(Spec((40, 40, 3), 7, 100)).init, jax.random.key(0))
    convolutions = sum(9 * i * o + 2 * o for i, o in [(3, 16), (16, 32), (32, 64)])
    assert count_parameters(params) == convolutions + 25 * 64 * 512 + 2 * 512 + 513 * 7
    assert count_parameters(extra) == 2 * (16 + 32 + 64 + 512)


def test_logits_are_a_linear_function_of_the_features(started):
    model, params, extra = started
    features = np.asarray(model.features(params, extra, BATCH["x"]), np.float64)
    assert features.shape == (12, SMALL["hidden"])
    assert features.min() == 0
    assert np.all(features.max(axis=1) > 0)
    last = params["classifier"]["logits"]
    expected = features @ np.asarray(last["kernel"], np.float64) + np.asarray(last["bias"], np.float64)
    np.testing.assert_allclose(model.predict(params, extra, BATCH["x"]), expected, rtol=1e-5, atol=1e-6)


def test_a_prediction_depends_on_no_other_image(started):
    model, params, extra = started
    together = model.predict(params, extra, BATCH["x"])
    alone = jnp.concatenate([model.predict(params, extra, BATCH["x"][i : i + 4]) for i in (0, 4, 8)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_an_odd_last_column_is_cut_behind_the_convolution(started):
    """9 columns are pooled to 4, so column 8 is seen through its neighbor 7 alone, and 4 columns to 2."""
    model, params, extra = started
    slopes = jax.grad(lambda x: jnp.sum(model.features(params, extra, x)))(BATCH["x"])
    assert bool(jnp.any(slopes[:, :, 8] != 0))
    kernel = params["classifier"]["conv0"]["kernel"].at[:, 2].set(0.0)  # looks left and ahead, not right
    blind = {"classifier": {**params["classifier"], "conv0": {**params["classifier"]["conv0"], "kernel": kernel}}}
    slopes = jax.grad(lambda x: jnp.sum(model.features(blind, extra, x)))(BATCH["x"])
    assert bool(jnp.all(slopes[:, :, 8] == 0))
    assert bool(jnp.any(slopes[:, :, 7] != 0))


def cross_entropies(model, params, extra):
    logits = np.asarray(model.predict(params, extra, BATCH["x"]), np.float64)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(12), LABEL], logits


@pytest.mark.parametrize("balanced", [True, False])
def test_balanced_classes_weigh_the_same(balanced):
    model = pooling_cnn(SPEC, **SMALL, balanced=balanced)
    params, extra = jax.jit(model.init)(jax.random.key(0))
    value, (metrics, _) = model.losses["classifier"](params, extra, BATCH, jax.random.key(0), jnp.int32(0), False)
    wrong, logits = cross_entropies(model, params, extra)
    weights = 40 / (3 * np.array([25, 10, 5])) if balanced else np.ones(3)
    assert float(value) == pytest.approx(np.mean(weights[LABEL] * wrong), rel=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(np.mean(logits.argmax(axis=1) == LABEL), rel=1e-6)


def test_the_training_loss_without_dropout_or_batch_norm_is_that_of_evaluation():
    model = pooling_cnn(SPEC, **SMALL, normalise=False, dropout=0.0)
    params, extra = jax.jit(model.init)(jax.random.key(0))
    losses = [
        float(model.losses["classifier"](params, extra, BATCH, jax.random.key(0), jnp.int32(0), training)[0])
        for training in (True, False)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] == pytest.approx(np.mean(cross_entropies(model, params, extra)[0]), rel=1e-5)


def test_no_layer_has_a_bias_that_batch_norm_takes_off_again(started):
    _, params, extra = started
    biases = {name.split("/")[1] for name in named_leaves(params) if name.endswith("bias")}
    normalised = {"conv0_norm", "conv1_norm", "hidden_norm", "logits"}
    assert biases == (normalised if extra else {"conv0", "conv1", "hidden", "logits"})


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (SPEC._replace(num_classes=1), {}, "nothing to tell apart: got data of 1 classes, expected 2 or more; change"),
        (
            SPEC,
            {"filters": ()},
            r"layers do not suit the images: got filters \(\) and 7 hidden units for images of 8 x 9, expected 1 to 3",
        ),
        (SPEC, {"filters": (4, 4, 4, 4)}, r"got filters \(4, 4, 4, 4\) .* 1 to 3 convolutions, each of which halves"),
        (SPEC, {"filters": (4, 0)}, r"got filters \(4, 0\) and 7 hidden units"),
        (SPEC, {"hidden": 0}, r"got filters \(4, 6\) and 0 hidden units .* 1 unit or more of each; correct the config"),
        (SPEC, {"dropout": 1.0}, r"model\.dropout is out of range: got 1\.0, expected 0 <= dropout < 1; set it in"),
        (SPEC, {"dropout": -0.5}, r"model\.dropout is out of range: got -0\.5"),
        (
            SPEC._replace(class_counts=()),
            {"balanced": True},
            "classes cannot be weighed: got no training examples by class, expected 1 or more of each of 3 classes",
        ),
        (SPEC._replace(class_counts=(3, 0, 2)), {"balanced": True}, r"classes cannot be weighed: got \(3, 0, 2\)"),
    ],
)
def test_what_cannot_be_built_is_refused(spec, settings, message):
    with pytest.raises(ValueError, match=message):
        pooling_cnn(spec, **{**SMALL, **settings})
