"""Round trips bit for bit; every kind of damage named and passed over; a full disk that leaves older steps whole."""

import errno
import json
import re
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from cellfx.training import checkpoint, manifest
from cellfx.training.state import create_state
from cellfx.trees import named_leaves

OPTIMIZERS = {"vae": optax.adam(1e-2)}


def make_state(seed=0):
    return create_state(toy.model(), OPTIMIZERS, jax.random.key(seed))


@pytest.fixture(scope="module")
def states():
    """States of steps 2, 4 and 6 whose numbers differ."""
    state = make_state()
    params = [jax.tree.map(lambda x, i=i: x + np.float32(i), state.params) for i in range(3)]
    return [state._replace(step=np.int32(2 * i + 2), params=params[i]) for i in range(3)]


@pytest.fixture(scope="module")
def saved(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    for state in states:
        checkpoint.save(folder, state)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def target():
    return jax.eval_shape(lambda key: create_state(toy.model(), OPTIMIZERS, key), jax.random.key(0))


def largest(folder, step):
    files = [path for path in (folder / str(step) / "state").rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for name, leaf in named_leaves(want).items():
        other = named_leaves(got)[name]
        assert other.dtype == leaf.dtype, name
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf, other = jax.random.key_data(leaf), jax.random.key_data(other)
        assert np.asarray(other).tobytes() == np.asarray(leaf).tobytes(), name


def test_round_trip_of_every_bit(saved, states, target):
    messages = []
    assert_same(checkpoint.restore(saved, target, messages.append), states[2])
    assert not messages
    assert checkpoint.latest_step(saved) == 6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "bool"])
def test_round_trip_of_other_dtypes(tmp_path, dtype):
    leaves = {"a/b": jnp.asarray([[0.0, 1.0, -0.0]]).astype(dtype), "none": {}}
    state = make_state()._replace(extra={**leaves, "key": jax.random.split(jax.random.key(1, impl="rbg"), 3)})
    checkpoint.save(tmp_path, state)
    assert_same(checkpoint.restore(tmp_path, state, print), state)


def test_only_the_newest_are_kept(folder, states, target):
    newer = states[0]._replace(step=np.int32(8))
    checkpoint.save(folder, newer, keep=2)
    assert sorted(path.name for path in folder.iterdir()) == ["6", "8"]
    assert_same(checkpoint.restore(folder, target, print), newer)
    with pytest.raises(ValueError, match="too few checkpoints to keep: got 0"):
        checkpoint.save(folder, newer, keep=0)


def test_nothing_was_ever_saved(tmp_path, target):
    messages = []
    assert checkpoint.restore(tmp_path / "none", target, messages.append) is None
    assert checkpoint.latest_step(tmp_path / "none") is None
    (tmp_path / "2.saving" / "state.orbax-checkpoint-tmp").mkdir(parents=True)
    (tmp_path / "4.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.restore(tmp_path, target, messages.append) is None
    assert [("2.saving" in text, "never ended" in text) for text in messages] == [(True, True), (False, True)]


def flip(folder):
    path = largest(folder, 6)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(folder):
    path = largest(folder, 6)
    path.write_bytes(path.read_bytes()[:-1])


def empty(folder):
    shutil.rmtree(folder / "6")
    (folder / "6").mkdir()


def drop_manifest(folder):
    (folder / "6" / "manifest.json").unlink()


def drop_file(folder):
    largest(folder, 6).unlink()


def cut_manifest(folder):
    path = folder / "6" / "manifest.json"
    path.write_bytes(path.read_bytes()[:-9])


def rename_step(folder):
    shutil.rmtree(folder / "6")
    (folder / "4").rename(folder / "6")


def hollow_manifest(folder):
    (folder / "6" / "manifest.json").write_text(json.dumps({"step": 6, "files": {}}))


def consistent_nonsense(folder):
    largest(folder, 6).write_bytes(b"nonsense")
    (folder / "6" / "manifest.json").unlink()
    manifest.write_manifest(folder / "6", 6)


DAMAGE = {
    flip: "the sha256 of state/",
    truncate: r"bytes instead of \d",
    empty: "its folder is empty",
    drop_manifest: "manifest.json is missing",
    drop_file: "is missing",
    cut_manifest: "manifest.json is not readable",
    rename_step: "manifest.json is that of step 4",
    hollow_manifest: "manifest.json names no file",
    consistent_nonsense: "orbax cannot read it",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_passed_over(folder, states, target, damage):
    damage(folder)
    messages = []
    restored = checkpoint.restore(folder, target, messages.append)
    assert_same(restored, states[0] if damage is rename_step else states[1])
    (message,) = messages
    assert re.search(rf"step 6: .*{DAMAGE[damage]}", message), message
    # The run goes on from the older step and saves the damaged one anew.
    checkpoint.save(folder, states[2])
    assert_same(checkpoint.restore(folder, target, messages.append), states[2])
    assert len(messages) == 1


def test_every_flipped_byte_of_every_file_is_noticed(folder):
    paths = [path for path in (folder / "6").rglob("*") if path.is_file()]
    rng = np.random.default_rng(0)
    for path in paths:
        good = path.read_bytes()
        for position in rng.integers(0, max(len(good), 1), 5) if good else []:
            data = bytearray(good)
            data[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(data)
            whitespace = path.name == "manifest.json" and json_equal(good, bytes(data))
            assert whitespace or manifest.find_damage(folder / "6") is not None, path
        path.write_bytes(good)
    assert manifest.find_damage(folder / "6") is None


def json_equal(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_newer_damaged_steps_are_removed_by_the_next_save(folder, states):
    flip(folder)
    checkpoint.save(folder, states[1]._replace(step=np.int32(5)))
    assert sorted(path.name for path in folder.iterdir()) == ["2", "4", "5"]


def test_all_damaged(folder, target):
    for step in (2, 4, 6):
        (folder / str(step) / "manifest.json").unlink()
    messages = []
    with pytest.raises(checkpoint.CheckpointError, match=r"got 3 damaged steps \[2, 4, 6\]") as caught:
        checkpoint.restore(folder, target, messages.append)
    assert caught.value.filename == str(folder)
    assert len(messages) == 3
    assert checkpoint.latest_step(folder) is None


def test_another_model_is_refused_rather_than_cast(saved, target):
    def changed(leaf):
        return target._replace(params={"vae": {**target.params["vae"], "decoder": leaf}})

    with pytest.raises(ValueError, match=r"got \(\(4, 9\), 'float32'\) for 'params/vae/decoder'.*expected \(\(4, 8\)"):
        checkpoint.restore(saved, changed(jax.ShapeDtypeStruct((4, 8), jnp.float32)), print)
    with pytest.raises(ValueError, match=r"expected \(\(4, 9\), 'bfloat16'\)"):
        checkpoint.restore(saved, changed(jax.ShapeDtypeStruct((4, 9), jnp.bfloat16)), print)
    other = create_state(toy.model(), {"vae": optax.sgd(1e-2)}, jax.random.key(0))
    with pytest.raises(ValueError, match=r"for 'opt_state/vae/0/count'.*expected nothing \(\d+ leaves differ\)"):
        checkpoint.restore(saved, other, print)


def full_disk_message(caught, folder):
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(folder / "8")
    assert "the checkpoint of step 8 could not be written" in str(caught.value)
    assert "older steps are untouched" in str(caught.value)


def test_a_really_full_disk(tmp_path, states, target, caplog):
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    try:
        folder = tmp_path / "checkpoints"
        checkpoint.save(folder, states[0])
        noise = np.random.default_rng(0).normal(size=(700, 1000)).astype(np.float32)
        with pytest.raises(OSError, match="No space left") as caught:
            checkpoint.save(folder, states[1]._replace(step=np.int32(8), extra={"mean": noise}))
        full_disk_message(caught, folder)
        assert not caplog.records
        assert [path.name for path in folder.iterdir()] == ["2"]
        assert_same(checkpoint.restore(folder, target, print), states[0])
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("RESOURCE_EXHAUSTED: [No space left on device]")],
)
@pytest.mark.parametrize("place", ["_write_arrays", "write_manifest"])
def test_a_full_disk_at_any_point(folder, states, monkeypatch, error, place):
    def fail(*_):
        raise error

    monkeypatch.setattr(checkpoint, place, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoint.save(folder, states[0]._replace(step=np.int32(8)))
    full_disk_message(caught, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["2", "4", "6"]


def test_an_error_of_another_kind_passes(folder, states, monkeypatch):
    def fail(*_):
        raise TypeError("a defect")

    monkeypatch.setattr(checkpoint, "_write_arrays", fail)
    with pytest.raises(TypeError, match="a defect"):
        checkpoint.save(folder, states[0]._replace(step=np.int32(8)))
    assert not list(folder.glob("*.saving"))
