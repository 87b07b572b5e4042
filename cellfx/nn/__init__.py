"""Flax (linen) modules without opinions: convolutions, towers, an autoencoder."""
