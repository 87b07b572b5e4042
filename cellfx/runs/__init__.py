"""From a config to a trained model in a workdir, and back."""
