"""A classifier on latents: a small fully connected network with Mish."""

from collections.abc import Sequence

import jax
from flax import linen as nn

from cellfx.nn.activation import mish


class Head(nn.Module):
    """Fully connected layers, Mish and dropout after each but the last, which gives the logits.

    Soelistyo and Lowe 2024, supplement 2.2: widths 32, 16, 16, 16 and K, dropout .3 where dense, none where sparse.
    The parameters are ``{"dense0": {"kernel": (L, 32), "bias": (32,)}, "dense1": ..., "dense4": ...}``.

    Attributes:
        widths: units of the hidden layers, from the latents onwards.
        num_classes: K.
        dropout: fraction of every hidden layer's outputs that is set to zero in training.
    """

    widths: Sequence[int] = (32, 16, 16, 16)
    num_classes: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        """Logits of the classes.

        Args:
            z: (B, L).
            train: drop units; ``apply`` then takes ``rngs={"dropout": key}`` unless ``dropout`` is 0.

        Returns:
            (B, K).

        Raises:
            ValueError: an empty layer, fewer than two classes, or a dropout outside [0, 1).
        """
        self._check()
        for i, width in enumerate(self.widths):
            z = mish(nn.Dense(width, name=f"dense{i}", dtype=z.dtype)(z))
            if self.dropout > 0:
                z = nn.Dropout(self.dropout, deterministic=not train)(z)
        return nn.Dense(self.num_classes, name=f"dense{len(self.widths)}", dtype=z.dtype)(z)

    def _check(self) -> None:
        if min(self.widths, default=1) < 1 or self.num_classes < 2:
            raise ValueError(
                f"an empty layer or too few classes: got widths {tuple(self.widths)} and {self.num_classes} classes, "
                f"expected 1 unit or more in each layer and 2 classes or more; correct the head's section"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout is out of range: got {self.dropout}, expected 0 <= dropout < 1; set it in this range"
            )
