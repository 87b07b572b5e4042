import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.models.cnn import cnn
from cellfx.training.optimizers import adam
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.trees import count_parameters, named_leaves
from cellfx.types import Spec

SPEC = Spec((8, 8, 1), 2, 40, class_counts=(30, 10))
SMALL = {"filters": (4, 8), "widths": (8, 4)}


def batch_of(size=40, seed=0):
    """Bright above or bright below."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, size)
    image = rng.uniform(0, 0.6, (size, 8, 8, 1)).astype(np.float32)
    for row, above in zip(image, label, strict=True):
        row[:4] += 0.3 * above
        row[4:] += 0.3 * (1 - above)
    arrays = {"x": image, "label": label.astype(np.int32), "mask": np.ones(size, np.float32)}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def test_number_of_parameters_of_the_published_layers():
    """3x3, 1-8-16-32-64; 1024-32-16-16-16 without biases; scale and offset for every channel and unit; 16 to 2."""
    shapes = jax.eval_shape(cnn(Spec((64, 64, 1), 2, 100)).init, jax.random.key(0))
    convolutions = sum(9 * i * o + 2 * o for i, o in [(1, 8), (8, 16), (16, 32), (32, 64)])
    dense = sum(i * o + 2 * o for i, o in [(1024, 32), (32, 16), (16, 16), (16, 16)])
    assert count_parameters(shapes[0]) == convolutions + dense + 17 * 2 == 58_490
    assert count_parameters(shapes[1]) == 2 * (8 + 16 + 32 + 64 + 32 + 3 * 16)


def test_it_learns_and_is_sure_without_dropout():
    model, batch = cnn(SPEC, **SMALL), batch_of()
    optimizers = {"classifier": adam(150, learning_rate=1e-2)}
    state, step = create_state(model, optimizers, jax.random.key(0)), jax.jit(train_step(model, optimizers))
    before = state.extra
    for _ in range(150):
        state, metrics = step(state, batch)
    other = batch_of(seed=1)
    predicted = np.argmax(model.predict(state.params, state.extra, other["x"]), axis=1)
    assert np.mean(predicted == np.asarray(other["label"])) > 0.95
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, state.extra)
    assert all(jax.tree.leaves(changed))
    # Half the time nothing is dropped that matters; with dropout off the same images are told apart better.
    loss = model.losses["classifier"](state.params, state.extra, batch, jax.random.key(0), jnp.int32(0), False)[0]
    assert float(loss) < float(metrics["classifier/loss"])


def test_the_loss_is_the_cross_entropy_of_the_predicted_probabilities():
    model, batch = cnn(SPEC, **SMALL, balanced=True), batch_of()
    params, extra = model.init(jax.random.key(0))
    value, (metrics, _) = model.losses["classifier"](params, extra, batch, jax.random.key(0), jnp.int32(0), False)
    logits = np.asarray(model.predict(params, extra, batch["x"]), np.float64)
    label = np.asarray(batch["label"])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    weights = np.array([40 / (2 * 30), 40 / (2 * 10)])
    expected = np.mean(-weights[label] * np.log(probabilities[np.arange(40), label]))
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(np.mean(logits.argmax(axis=1) == label))


def test_a_prediction_depends_on_no_other_image():
    model, x = cnn(SPEC, **SMALL), batch_of(6)["x"]
    params, extra = model.init(jax.random.key(0))
    together = model.predict(params, extra, x)
    alone = jnp.concatenate([model.predict(params, extra, x[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_no_layer_has_a_bias_that_batch_norm_takes_off_again():
    params, _ = cnn(SPEC, **SMALL).init(jax.random.key(0))
    biases = {name.split("/")[1] for name in named_leaves(params) if name.endswith("bias")}
    assert biases == {"conv0_norm", "conv1_norm", "dense0_norm", "dense1_norm", "dense2"}


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (SPEC._replace(num_classes=0), {}, "nothing to tell apart: got data of 0 classes, expected 2 or more; change"),
        (SPEC, {"filters": ()}, r"an empty layer: got filters \(\) and widths \(8, 4\), expected one convolution"),
        (SPEC, {"widths": (8, 0)}, r"an empty layer: got filters \(4, 8\) and widths \(8, 0\), expected"),
        (SPEC, {"dropout": 1.0}, r"model\.dropout is out of range: got 1\.0, expected 0 <= dropout < 1; set"),
        (SPEC, {"momentum": -0.1}, r"model\.momentum is out of range: got -0\.1, expected 0 <= momentum < 1; set"),
        (
            SPEC._replace(class_counts=()),
            {"balanced": True},
            r"classes cannot be weighed: got no training examples by class, expected 1 or more of each of 2 classes",
        ),
        (SPEC._replace(class_counts=(3, 0)), {"balanced": True}, r"classes cannot be weighed: got \(3, 0\) training"),
    ],
)
def test_what_cannot_be_built_is_refused(spec, settings, message):
    with pytest.raises(ValueError, match=message):
        cnn(spec, **{**SMALL, **settings})
