"""What single latents mean and carry: codes, traversals, densities, outliers, and a classifier on them."""
