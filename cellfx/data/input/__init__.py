"""The two input pipelines and what they share: the feed they return, augmentation, and random numbers by position."""
