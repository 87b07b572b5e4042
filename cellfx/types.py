"""The contract every part of cellfx agrees on.

Letters used in shapes everywhere: B batch, H W C image height, width and channels, L latents, K classes, F factors,
N rows, D features. Examples ``x`` are images (B, H, W, C), float32 in [0, 1], or vectors (B, D); latents ``z`` are
(B, L).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Key = jax.Array
PyTree = Any
Metrics = dict[str, jax.Array]

Batch = Mapping[str, jax.Array]
BATCH_KEYS = ("x", "label", "mask", "factors", "group")
"""All keys a batch may have: x (B, H, W, C) of images or (B, D) of vectors; label (B,) int32; mask (B,), 1 real and 0
padding; factors (B, F); group (B,) int32, for instance the plate."""


class Spec(NamedTuple):
    """What a model must know about data and devices; no hyperparameters.

    Attributes:
        shape: of an example, (H, W, C) of images, (D,) of vectors.
        num_classes: K, 0 where the data has no labels.
        num_examples: N of the training split; the total correlation needs it.
        axis_name: device axis that the step is mapped over, None outside a mapped program.
        class_counts: (K,) examples of each class in the training split; empty where the labels are not in memory.
    """

    shape: tuple[int, ...]
    num_classes: int
    num_examples: int
    axis_name: str | None = None
    class_counts: tuple[int, ...] = ()


LossFn = Callable[[PyTree, PyTree, Batch, Key, jax.Array, bool], tuple[jax.Array, tuple[Metrics, PyTree]]]
"""(params by player, extra, batch, key, step, training) -> (loss, (metrics, extra)).

``training`` is a Python bool: False is the loss as a trained model has it, for instance without dropout and with the
running averages of batch normalization, and leaves ``extra`` as it is.

The loss and every metric are means over the real examples (mask 1) of the *global* batch."""


class Model(NamedTuple):
    """A model as pure functions; None means that the model lacks this ability.

    A player is a group of parameters with a loss and an optimizer of its own: ``vae`` for a VAE, ``discriminator``
    and ``generator`` for an InfoGAN.

    Attributes:
        init: key -> (params by player, extra). ``extra`` holds what is no parameter, e.g. batch statistics.
        losses: player -> loss, in the order in which a step updates the players.
        encode: (params by player, extra, x) -> (mean, logvar), each (B, L).
        decode: (params by player, extra, z) -> x in [0, 1].
        predict: (params by player, extra, x) -> logits (B, K).
        sample: (params by player, extra, key, count) -> (x (count, H, W, C) in [0, 1], z (count, L)), from the prior.
        features: (params by player, extra, x) -> (B, D), what the last hidden layer makes of an image.
        translate: (params by player, extra, x) -> (B, H, W, C') in [0, 1], channels predicted from the others.
    """

    init: Callable[[Key], tuple[dict[str, PyTree], PyTree]]
    losses: Mapping[str, LossFn]
    encode: Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, jax.Array]] | None = None
    decode: Callable[[PyTree, PyTree, jax.Array], jax.Array] | None = None
    predict: Callable[[PyTree, PyTree, jax.Array], jax.Array] | None = None
    sample: Callable[[PyTree, PyTree, Key, int], tuple[jax.Array, jax.Array]] | None = None
    features: Callable[[PyTree, PyTree, jax.Array], jax.Array] | None = None
    translate: Callable[[PyTree, PyTree, jax.Array], jax.Array] | None = None


class TrainState(NamedTuple):
    """Everything that a step changes and a checkpoint keeps.

    Attributes:
        step: () int32, number of steps done.
        key: () typed key; the key of a step is ``fold_in(key, step)``, so a resumed run replays a step exactly.
        params: parameters by player.
        extra: what is no parameter, e.g. batch statistics.
        opt_state: optimizer states by player.
    """

    step: jax.Array
    key: Key
    params: dict[str, PyTree]
    extra: PyTree
    opt_state: dict[str, PyTree]


StepFn = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
