"""Many small classifiers on cached latents, trained at once."""
