"""Pure loss terms, one value per example (B,), in nats."""
