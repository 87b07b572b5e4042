"""Whether latents stand for the factors of the data: scores against known factors, and rankings without them."""
