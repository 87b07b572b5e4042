"""Each player gets the optimizer that the config gives it."""

import jax
import jax.numpy as jnp
import pytest

from cellfx.runs.parts import load_source, make_optimizers

PLAYERS = ("discriminator", "generator")


def first_moves(section, num_steps=4):
    """Player -> length of what each of the first steps moves a parameter whose gradient is 1."""
    found = {}
    for player, optimizer in make_optimizers(section, num_steps, PLAYERS).items():
        param, moves = jnp.float32(0.0), []
        state = optimizer.init(param)
        for _ in range(num_steps):
            with jax.numpy_dtype_promotion("standard"):
                update, state = optimizer.update(jnp.float32(1.0), state, param)
            moves.append(-float(update))
        found[player] = moves
    return found


def test_players_are_alike_where_nothing_else_is_said():
    section = {"name": "adam", "learning_rate": 0.25, "b1": 0.5}
    for own in ({}, {"players": {}}, {"players": None}):
        found = first_moves({**section, **own})
        assert list(found) == list(PLAYERS)
        assert found["discriminator"] == found["generator"] == pytest.approx([0.25] * 4, rel=1e-4)


def test_a_player_may_have_settings_of_its_own_and_shares_the_others():
    section = {"name": "adam", "learning_rate": 0.25, "warm_up_rate": 0.5}
    found = first_moves({**section, "players": {"generator": {"learning_rate": 0.125, "every": 2}}})
    assert found["discriminator"] == pytest.approx([0.125, 0.25, 0.25, 0.25], rel=1e-4)
    # Of its two moves the first is the warm-up, whose only step has the whole rate.
    assert found["generator"] == pytest.approx([0.0, 0.125, 0.0, 0.125], rel=1e-4)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"name": "adam", "players": {"generatr": {"every": 2}}},
            r"unknown player in optim\.players: got 'generatr'; did you mean generator\?",
        ),
        ({"name": "adam", "players": {"vae": {}}}, r"unknown player in optim\.players: got 'vae'; expected one of"),
        ({"name": "sgd"}, r"unknown optimizer: got 'sgd', expected one of adam; correct optim\.name"),
        ({"name": "adam", "players": {"generator": {"every": 9}}}, "every is out of range: got 9, expected 1 to 4"),
        (
            {"name": "adam", "players": {"generator": {"evry": 2}}},
            r"unknown config key optim\.players\.generator\.evry; did you mean every",
        ),
    ],
)
def test_what_no_player_can_be_given_is_refused(section, message):
    with pytest.raises(ValueError, match=message):
        make_optimizers(section, 4, PLAYERS)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"preprocessing": {}}, r"config key data\.preprocessing cannot be set: .* fitted to the training images"),
        ({"grouped": 3}, r"wrong type for config key data\.grouped: got 3, expected mapping of str to sequence of str"),
        ({"grouped": {"a": "G1"}}, r"wrong type for config key data\.grouped\.a: got 'G1'"),
        ({"fold": -1}, r"got data\.fold=-1, expected 0 or more"),
        ({"valid_rate": 1}, r"got data\.valid_rate=1, expected 0 or more and below 1"),
    ],
)
def test_wrong_settings_of_data_are_refused_before_any_is_read(section, message):
    with pytest.raises(ValueError, match=message):
        load_source({"name": "flowcytometry", "folder": "nowhere", **section})
