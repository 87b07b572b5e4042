"""What the stage ``embed`` says of the latents beside their values."""

import numpy as np

from cellfx.data.source import Source, Split
from cellfx.studies.stages.embed import _divergence


def test_the_kl_of_latents_counts_no_padding():
    """Before, three images were three of a batch of 256, all others black."""
    image = np.array([0.5, 1.0, 0.25], np.float32).reshape(3, 1, 1, 1)
    source = Source("three", (1, 1, 1), {"train": Split(3, {"x": image})})

    def encode(x):
        mean = np.asarray(x).reshape(len(x), 1) * 4
        return mean, np.zeros_like(mean)

    np.testing.assert_allclose(_divergence(source, encode), [np.mean((4 * image) ** 2) / 2], rtol=1e-6)
