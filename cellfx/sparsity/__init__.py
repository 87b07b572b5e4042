"""Sparse training as optax transforms, pruning without a change of function, and what is left of a network then."""
