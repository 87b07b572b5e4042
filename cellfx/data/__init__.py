"""Data sets, how they are split, and the two ways in which a training step reads them."""
