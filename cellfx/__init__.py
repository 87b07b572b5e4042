"""Images of single cells in; disentangled latents, sparse classifiers, profiles and short formulas out."""

__version__ = "0.1.0"
