"""What a head on latents is trained with, and its optimizer."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cellfx.checks import Count, UserError, Weight
from cellfx.sparsity.allocation import counts, erdos_renyi
from cellfx.training.optimizers import DECAYS

METHODS = ("dense", "rigl", "set", "static", "magnitude")
NUMBERS = ("sparsity", "update_every", "update_rate", "end_rate", "warm_up_rate", "learning_rate")
"""Fields of a setting in which heads that are trained together may differ."""


class Setting(NamedTuple):
    """How a head is trained; the defaults are those of Soelistyo and Lowe 2024, supplement 2.2 to 2.4, where published.

    Attributes:
        method: of ``METHODS``: ``dense``, or the way to sparsity.
        widths: units of the hidden layers.
        dropout: fraction of hidden outputs dropped in training; published .3 for dense heads, 0 for sparse ones.
        sparsity: S, fraction of all weights that are zero after the warm-up.
        update_every: dT, steps from one change of the topology to the next.
        update_rate: alpha, fraction of the active weights replaced at first, falling by half a cosine.
        end_rate: T_end as a fraction of the run; counted, as published, from the end of the warm-up.
        warm_up_rate: fraction of the run that is dense.
        batch_size: B.
        num_epochs: passes over the rows.
        learning_rate: of Adam.
        decay: what becomes of the learning rate, ``constant`` or ``cosine``.
        l2: half of this times the sum of all squared weights, without biases, is added to the loss.
        balanced: whether every class weighs the same in the loss, however rare.
    """

    method: str = "rigl"
    widths: tuple[Count, ...] = (32, 16, 16, 16)
    dropout: float = 0.0
    sparsity: float = 0.951
    update_every: int = 115
    update_rate: float = 0.758
    end_rate: float = 0.75
    warm_up_rate: float = 0.2
    batch_size: int = 64
    num_epochs: int = 100
    learning_rate: float = 3e-3
    decay: str = "cosine"
    l2: Weight = 0.0
    balanced: bool = True

    def check(self) -> None:
        """Raises a ValueError for a value out of its range."""
        if self.method not in METHODS:
            raise UserError(f"unknown method: got {self.method!r}, expected one of {METHODS}; correct it")
        if self.decay not in DECAYS:
            raise UserError(f"unknown decay: got {self.decay!r}, expected one of {DECAYS}; correct it")
        positive = ("update_every", "batch_size", "num_epochs", "learning_rate", "end_rate")
        wrong = [name for name in positive if not getattr(self, name) > 0]
        wrong += [name for name in ("update_rate", "end_rate", "warm_up_rate") if not 0 <= getattr(self, name) <= 1]
        if self.method != "dense" and self.warm_up_rate >= 1:
            raise UserError(
                f"sparsity that never comes: got warm_up_rate={self.warm_up_rate} with method {self.method!r}, "
                f"expected less than 1, a fraction of the run; lower it"
            )
        wrong += [name for name in ("sparsity", "dropout") if not 0 <= getattr(self, name) < 1]
        if wrong:
            expected = "more than 0" if wrong[0] in positive[:-1] else "a fraction"
            raise UserError(
                f"{wrong[0]} is out of range: got {getattr(self, wrong[0])}, expected {expected}; correct it"
            )


def check_sparsity(setting: Setting, num_latents: int, num_classes: int) -> None:
    """Makes sure that every layer of a sparse head keeps a weight: without one it answers the same to all images.

    Args:
        setting: of the head.
        num_latents: L.
        num_classes: K.

    Raises:
        ValueError: a sparsity that leaves a layer without weights; the message says how many weights there are.
    """
    if setting.method == "dense":
        return
    widths = (num_latents, *setting.widths, num_classes)
    shapes = {f"dense{i}": shape for i, shape in enumerate(pairwise(widths))}
    total = sum(math.prod(shape) for shape in shapes.values())
    if _fills_all(shapes, 1 - setting.sparsity):
        return
    enough = next(count for count in range(len(shapes), total + 1) if _fills_all(shapes, count / total))
    left, most = round((1 - setting.sparsity) * total), math.floor(1000 * (1 - enough / total)) / 1000
    raise UserError(
        f"no way through the head: sparsity {setting.sparsity} leaves {left} of {total} weights, expected at least one "
        f"for each of {len(shapes)} layers, at most {most}; lower sparsity or widen the layers"
    )


def _fills_all(shapes: Mapping[str, tuple[int, int]], density: float) -> bool:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return min(counts(erdos_renyi(shapes, density), sizes, density).values()) >= 1


def check_warm_up(setting: Setting, num_steps: int) -> None:
    """Raises a ValueError where the weights would be dropped after the last of the run's steps only."""
    if setting.method != "dense" and round(setting.warm_up_rate * num_steps) >= num_steps:
        raise UserError(
            f"sparsity that never comes: got warm_up_rate={setting.warm_up_rate} of {num_steps} steps, expected a "
            f"warm-up that ends before the run; lower it"
        )


def check_together(settings: Sequence[Setting]) -> None:
    """Raises a ValueError for settings that are wrong, or that one program cannot train side by side."""
    for setting in settings:
        setting.check()
        different = [name for name in Setting._fields if getattr(setting, name) != getattr(settings[0], name)]
        apart = [name for name in different if name not in NUMBERS]
        if apart:
            raise UserError(
                f"heads that cannot be trained together: got {apart[0]} {getattr(settings[0], apart[0])!r} and "
                f"{getattr(setting, apart[0])!r}, expected settings that differ in {', '.join(NUMBERS)} alone; train "
                f"them one after another"
            )


def check_rows(views: np.ndarray, labels: np.ndarray, num_classes: int, batch_size: int) -> None:
    """Raises a ValueError for latents (V, N, L) and labels (N,) that K classes cannot be learnt from."""
    if views.ndim != 3 or views.shape[1] != len(labels) or not views.size:
        raise UserError(
            f"latents and labels do not belong together: got latents {views.shape} and {len(labels)} labels, expected "
            f"(views, rows, latents) and a label for each row; encode the labeled images"
        )
    bad = np.argwhere(~np.isfinite(views))
    if len(bad):
        raise UserError(
            f"latents that are no numbers: got {views[tuple(bad[0])]} in latent {bad[0][2]} of row {bad[0][1]}, "
            f"expected finite numbers; the encoder diverged or its images are broken, train it again"
        )
    if np.all(np.ptp(views, axis=(0, 1)) == 0):
        raise UserError(
            f"constant latents: got the same {views.shape[2]} numbers for all {len(labels)} rows, expected "
            f"latents that tell images apart; train the encoder longer or with a smaller model.beta"
        )
    missing = sorted(set(range(num_classes)) - set(labels.tolist()))
    if num_classes < 2 or missing or labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"training must see every class: got the labels {np.unique(labels).tolist()}, expected each of 0 to "
            f"{num_classes - 1} and no other; choose other folds or leave the class out"
        )
    if batch_size > len(labels):
        raise UserError(
            f"batch larger than the data: got a batch size of {batch_size} and {len(labels)} rows, expected at most as "
            f"many; lower batch_size"
        )
