"""Heads learn what can be learnt, sparse ones from few latents, and stay the same function whatever is done to them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.heads import heads
from cellfx.heads.program import draw
from cellfx.heads.setting import Setting, check_sparsity
from cellfx.nn.head import Head
from cellfx.sparsity.summary import latents_used, sparsity

LATENTS, TRUE = 12, (1, 4, 7)
SMALL = Setting(method="dense", widths=(8, 4), num_epochs=2, batch_size=16)


def made(num_rows, num_latents=LATENTS, seed=0):
    """Views and labels by the sign of a law of three latents, the others being noise."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num_rows, num_latents))
    label = (z[:, TRUE[0]] ** 2 + z[:, TRUE[1]] ** 2 + 1.5 * z[:, TRUE[2]] > 2).astype(np.int32)
    views = z[None] + 0.02 * rng.normal(size=(8, *z.shape))
    return (3 * views + 5).astype(np.float32), label


@pytest.fixture(scope="module")
def trained():
    """Two settings with two seeds each, of sparse heads trained for a moment."""
    views, labels = made(200)
    settings = [SMALL._replace(method="rigl", sparsity=s, update_every=4, warm_up_rate=0.1) for s in (0.5, 0.8)]
    return heads.train(views, labels, 2, settings, (3, 8)), settings


@pytest.fixture(scope="module")
def learnt():
    """Dense and sparse heads that were trained for long enough."""
    views, labels = made(2000)
    dense = Setting(method="dense", widths=(32, 16, 16, 16), dropout=0.3, num_epochs=40)
    found = {"dense": heads.train(views, labels, 2, dense, range(3))}
    found["rigl"] = heads.train(views, labels, 2, dense._replace(method="rigl", dropout=0.0), range(3))
    return found


def test_a_sparse_head_is_as_good_as_a_dense_one_and_rests_on_the_latents_of_the_law(learnt):
    views, labels = made(2000, seed=1)
    accuracy = {name: heads.judge(found, views[0], labels).accuracy.mean() for name, found in learnt.items()}
    assert accuracy["dense"] > 0.93
    assert accuracy["rigl"] >= accuracy["dense"] - 0.01
    pruned = heads.pruned(learnt["rigl"])
    assert (sparsity(pruned.params) >= 0.95).all()
    assert latents_used(pruned.params)[:, list(TRUE)].all()


def test_runs_are_settings_with_seeds_in_order(trained):
    found, settings = trained
    assert found.seeds == (3, 8, 3, 8)
    assert found.settings == (settings[0], settings[0], settings[1], settings[1])
    assert found.params["dense0"]["kernel"].shape == (4, LATENTS, 8)
    np.testing.assert_allclose(sparsity(found.params), [0.5, 0.5, 0.8, 0.8], atol=0.005)


def test_a_head_is_the_same_alone(trained):
    found, settings = trained
    views, labels = made(200)
    alone = heads.train(views, labels, 2, settings[1], (8,))
    for one, other in zip(jax.tree.leaves(found.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(other[0], one[3], rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_network_on_standardised_latents(trained):
    found, _ = trained
    views, _ = made(50, seed=2)
    logits = heads.logits(found, views[0])
    for run in range(4):
        params = jax.tree.map(lambda leaf, run=run: leaf[run], found.params)
        z = jnp.asarray((views[0] - found.centre) / found.scale)
        np.testing.assert_allclose(logits[run], Head((8, 4)).apply({"params": params}, z), rtol=1e-5, atol=1e-5)
        raw = jax.tree.map(lambda leaf: leaf.astype(np.float32), heads.on_raw_latents(found, run))
        np.testing.assert_allclose(Head((8, 4)).apply({"params": raw}, views[0]), logits[run], rtol=1e-4, atol=1e-4)
    of_views = np.mean([heads.logits(found, view) for view in views], axis=0)
    np.testing.assert_allclose(heads.logits(found, views), of_views, rtol=1e-5, atol=1e-5)


def test_pruning_leaves_the_function_and_no_weight_more(trained):
    found, _ = trained
    pruned = heads.pruned(found)
    views, _ = made(50, seed=2)
    np.testing.assert_allclose(heads.logits(pruned, views[0]), heads.logits(found, views[0]), rtol=1e-5, atol=1e-5)
    assert (sparsity(pruned.params) >= sparsity(found.params)).all()


def test_accuracies_are_counted_right(trained):
    found, _ = trained
    views, labels = made(60, seed=2)
    judged = heads.judge(found, views[0], labels)
    predicted = heads.logits(found, views[0]).argmax(axis=-1)
    for run in range(4):
        right = predicted[run] == labels
        assert judged.accuracy[run] == right.mean()
        np.testing.assert_allclose(
            judged.balanced_accuracy[run], (right[labels == 0].mean() + right[labels == 1].mean()) / 2
        )
        assert judged.confusion[run, 1, 0] == np.sum(~right & (labels == 1))
    only = heads.judge(found, views[0][labels == 1], labels[labels == 1])
    np.testing.assert_allclose(only.balanced_accuracy, only.accuracy)


def test_heads_survive_their_file(trained, tmp_path):
    found, _ = trained
    heads.save(tmp_path / "heads.npz", found)
    loaded = heads.load(tmp_path / "heads.npz")
    assert (loaded.settings, loaded.seeds, loaded.num_classes) == (found.settings, found.seeds, 2)
    assert jax.tree.structure(loaded.params) == jax.tree.structure(found.params)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_selected_heads_keep_what_belongs_to_them(trained):
    found, settings = trained
    some = heads.select(found, [3, 0])
    assert (some.settings, some.seeds) == ((settings[1], settings[0]), (8, 3))
    np.testing.assert_array_equal(some.params["dense1"]["bias"], found.params["dense1"]["bias"][[3, 0]])
    np.testing.assert_array_equal(some.loss, found.loss[[3, 0]])


def test_a_balanced_loss_finds_the_rare_class():
    rng = np.random.default_rng(0)
    labels = (np.arange(600) % 12 == 0).astype(np.int32)
    views = (rng.normal(size=(1, 600, 3)) + 0.8 * labels[None, :, None]).astype(np.float32)
    setting = SMALL._replace(num_epochs=10)
    rates = [
        heads.judge(heads.train(views, labels, 2, setting._replace(balanced=balanced), (0,)), views[0], labels)
        for balanced in (True, False)
    ]
    assert rates[0].balanced_accuracy[0] > rates[1].balanced_accuracy[0] + 0.1
    assert rates[0].accuracy[0] < rates[1].accuracy[0]


def test_an_epoch_takes_every_row_once_and_views_at_random():
    draws = jax.vmap(lambda step: draw(jax.random.key(5), step, 50, 8, 16))(jnp.arange(6))
    rows, views = (np.asarray(part) for part in draws)
    for epoch in (rows[:3].ravel(), rows[3:].ravel()):
        assert len(np.unique(epoch)) == 48
        assert 0 <= epoch.min() <= epoch.max() < 50
    assert not np.array_equal(rows[:3], rows[3:])
    assert set(views.ravel().tolist()) == set(range(8))
    other, _ = draw(jax.random.key(6), jnp.int32(0), 50, 8, 16)
    assert not np.array_equal(rows[0], other)


def test_no_latent_is_blown_up_by_standardisation():
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, 400, 4)) * np.array([2.0, 1.0, 1e-3, 0.0])
    centre, scale = heads.standardisation(views.astype(np.float32) + np.float32(7))
    np.testing.assert_allclose(centre, 7, atol=0.2)
    np.testing.assert_allclose(scale, [2.0, 1.0, 0.2, 0.2], rtol=0.1)


VIEWS, LABELS = made(64)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (
            {"views": np.where(np.arange(LATENTS) == 3, np.nan, VIEWS)},
            "latents that are no numbers: got nan in latent 3 of row 0",
        ),
        ({"views": np.ones_like(VIEWS)}, "constant latents: got the same 12 numbers for all 64 rows"),
        ({"labels": np.zeros(64, np.int32)}, "training must see every class: got the labels [0]"),
        ({"labels": LABELS + 1}, "training must see every class: got the labels [1, 2]"),
        ({"labels": LABELS[1:]}, "latents and labels do not belong together"),
        ({"setting": SMALL._replace(batch_size=65)}, "batch larger than the data: got a batch size of 65 and 64 rows"),
        ({"setting": SMALL._replace(method="regl")}, "unknown method: got 'regl'"),
        ({"setting": SMALL._replace(decay="linear")}, "unknown decay: got 'linear'"),
        ({"setting": SMALL._replace(sparsity=1.0)}, "sparsity is out of range: got 1.0, expected a fraction"),
        (
            {"setting": SMALL._replace(learning_rate=0.0)},
            "learning_rate is out of range: got 0.0, expected more than 0",
        ),
        ({"setting": [SMALL, SMALL._replace(dropout=0.1)]}, "trained together: got dropout 0.0 and 0.1"),
        ({"setting": []}, "no head to train: got 0 settings and 1 seeds"),
        ({"seeds": ()}, "no head to train: got 1 settings and 0 seeds"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, part):
    given = {"views": VIEWS, "labels": LABELS, "setting": SMALL, "seeds": (0,), **changes}
    with pytest.raises(ValueError, match=re.escape(part)):
        heads.train(given["views"], given["labels"], 2, given["setting"], given["seeds"])


def test_a_run_that_diverges_is_named():
    with pytest.raises(ValueError, match="a head diverged: got a loss of nan with seed 0"):
        heads.train(VIEWS, LABELS, 2, SMALL._replace(learning_rate=1e38), (0,))


@pytest.mark.parametrize("sparsity", [0.995, 1 - 1e-9, 0.975])
def test_a_head_that_would_keep_no_weight_somewhere_is_refused_with_counts(sparsity):
    """6 * 8 + 8 * 4 + 4 * 2 = 88 weights in 3 layers: 3 are the fewest, 1 - 3 / 88 = .9659."""
    setting = Setting(widths=(8, 4), sparsity=sparsity, num_epochs=6, batch_size=32)
    left = round((1 - sparsity) * 88)
    with pytest.raises(
        ValueError, match=f"sparsity {sparsity} leaves {left} of 88 weights, expected at least one for ea"
    ):
        check_sparsity(setting, 6, 2)
    with pytest.raises(ValueError, match=re.escape("for each of 3 layers, at most 0.965; lower sparsity")):
        heads.train(VIEWS[..., :6], LABELS, 2, setting, (0,))
    for allowed in (setting._replace(sparsity=0.965), setting._replace(method="dense")):
        check_sparsity(allowed, 6, 2)


def test_a_warm_up_that_ends_with_the_run_is_refused():
    for rate in (1.0, 0.9999):
        setting = SMALL._replace(method="rigl", warm_up_rate=rate)
        with pytest.raises(ValueError, match=r"sparsity that never comes: got warm_up_rate="):
            heads.train(VIEWS, LABELS, 2, setting, (0,))
