"""Named stages that are run once, and searches for hyperparameters."""
